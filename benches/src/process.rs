//! Child processes that cannot hang the run: every wait has an end, every child its own group.
//!
//! A child sits in a process group of its own, so that a Ctrl-C at the terminal reaches only the
//! parent, which then ends its children and cleans up behind them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use core::sync::atomic::{AtomicBool, Ordering};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::failure::{Context, Failure, Outcome};

/// How long a killed process may take to vanish before it is left alone.
const KILL_GRACE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(2);

/// Raised by SIGINT, SIGTERM or SIGHUP; everything that waits looks at it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Starts to listen; a second signal ends the process at once.
    ///
    /// # Errors
    /// When the operating system refuses a signal handler.
    pub fn install() -> io::Result<Self> {
        let raised = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, raised.clone())?;
            signal_hook::flag::register(signal, raised.clone())?;
        }
        Ok(Self(raised))
    }

    /// Whether the person asked to stop.
    #[must_use]
    pub fn raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Starts `command` in a process group of its own, both outputs to `log`.
///
/// # Errors
/// When the log cannot be made or the program cannot be started.
pub fn spawn(mut command: Command, log: &Path) -> Outcome<Child> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = File::create(log).context(log.display())?;
    let err = out.try_clone().context(log.display())?;
    command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0);
    command.spawn().context(format_args!("starting {name}"))
}

/// Waits for `child` at most `limit`; kills its whole group when that is over or on interrupt.
///
/// # Errors
/// When it took too long, or the person asked to stop.
pub fn wait(child: &mut Child, limit: Duration, interrupt: &Interrupt) -> Outcome<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("waiting for a child")? {
            return Ok(status);
        }
        if interrupt.raised() {
            kill(child);
            return Err(Failure::interrupted());
        }
        if start.elapsed() > limit {
            kill(child);
            return Err(Failure::new(format!(
                "took longer than {} s",
                limit.as_secs()
            )));
        }
        sleep(POLL);
    }
}

/// Kills the group of `child` and waits a little; a process stuck in the kernel is left alone.
pub fn kill(child: &mut Child) {
    if matches!(child.try_wait(), Ok(Some(_))) {
        return;
    }
    if let Some(pid) = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0)) {
        // Fails only when the group is gone, which is what is wanted.
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let start = Instant::now();
    while start.elapsed() < KILL_GRACE && !matches!(child.try_wait(), Ok(Some(_))) {
        sleep(POLL);
    }
}

/// Runs `command` to its end.
///
/// # Errors
/// When it cannot be started, takes longer than `limit` or ends with another status than 0; the
/// failure quotes the end of what it printed.
pub fn run(command: Command, limit: Duration, log: &Path, interrupt: &Interrupt) -> Outcome<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = spawn(command, log)?;
    let status = wait(&mut child, limit, interrupt).map_err(|failure| Failure {
        what: format!("{name}: {failure}"),
        interrupted: failure.interrupted,
    })?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{name} ended with {status}: {}",
        tail(log)
    )))
}

/// The last line or two of a log, for messages.
#[must_use]
pub fn tail(log: &Path) -> String {
    let mut text = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(400)))?;
        file.read_to_end(&mut text)
    });
    if read.is_err() || text.is_empty() {
        return "it printed nothing".into();
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(2)..].join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_hung_child_ends_at_its_limit_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let start = Instant::now();
        let limit = Duration::from_millis(200);
        let result = run(
            shell("sleep 60 & sleep 60"),
            limit,
            &log,
            &Interrupt::default(),
        );
        assert!(result.unwrap_err().what.contains("longer than"));
        assert!(start.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn a_failing_child_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let limit = Duration::from_secs(5);
        let failure = run(
            shell("echo why >&2; exit 3"),
            limit,
            &log,
            &Interrupt::default(),
        )
        .unwrap_err();
        assert!(
            failure.what.contains('3') && failure.what.contains("why"),
            "{failure}"
        );
    }

    #[test]
    fn an_interrupt_ends_the_wait() {
        let dir = tempfile::tempdir().unwrap();
        let interrupt = Interrupt(Arc::new(AtomicBool::new(true)));
        let limit = Duration::from_secs(60);
        let failure = run(
            shell("sleep 60"),
            limit,
            &dir.path().join("log"),
            &interrupt,
        );
        assert!(failure.unwrap_err().interrupted);
    }
}

//! What a process that holds keys owes: no core dumps, no debugger, a log that outlives a terminal.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use coffer_fusefs::Log;
use rustix::fs::{Access, access};
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::failure::{Code, Failure, Outcome};
use crate::terminal::note;

/// Printed on standard output when a mount answers.
pub(crate) const READY: &str = "READY";

/// Keeps key material out of core dumps and away from debuggers of the same user.
pub(crate) fn harden() {
    // Where the system refuses, there is nothing better to do than to go on.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = rustix::process::setrlimit(Resource::Core, none);
}

/// How a person calls this program: by its name where the shell finds it, else by its path.
pub(crate) fn program() -> PathBuf {
    let name = env!("CARGO_BIN_NAME");
    let path = std::env::var_os("PATH").unwrap_or_default();
    match std::env::current_exe() {
        Ok(own) if !is_found(name, &path) => own,
        _ => name.into(),
    }
}

/// Is there a program of this name in one of the directories of `path`?
fn is_found(name: &str, path: &OsStr) -> bool {
    std::env::split_paths(path)
        .any(|directory| access(directory.join(name), Access::EXEC_OK).is_ok())
}

/// Where messages of a mount go: standard error, and the system's log once in the background.
#[derive(Clone, Default)]
pub(crate) struct Journal {
    background: Arc<AtomicBool>,
}

impl Journal {
    pub(crate) fn log(&self) -> Log {
        let journal = self.clone();
        Arc::new(move |message| journal.write(message))
    }

    pub(crate) fn write(&self, message: &str) {
        if !self.background.load(Ordering::Relaxed) {
            note(message);
            return;
        }
        // Facility daemon, severity error, as syslog(3) writes it.
        let line = format!("<27>coffer[{}]: {message}", std::process::id());
        if let Ok(socket) = UnixDatagram::unbound() {
            let _ = socket.set_nonblocking(true);
            let _ = socket.send_to(line.as_bytes(), "/dev/log");
        }
    }

    /// Panics of any thread go to the log; the handlers of requests catch them afterwards.
    pub(crate) fn catch_panics(&self) {
        let journal = self.clone();
        std::panic::set_hook(Box::new(move |panic| journal.write(&panic.to_string())));
    }

    /// Leaves the terminal: a session of its own, no working directory, no standard streams.
    pub(crate) fn go_to_background(&self) -> std::io::Result<()> {
        let nowhere = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        self.background.store(true, Ordering::Relaxed);
        // Fails only for the leader of a process group, which has its own session already.
        let _ = rustix::process::setsid();
        rustix::process::chdir("/")?;
        rustix::stdio::dup2_stdin(&nowhere)?;
        rustix::stdio::dup2_stdout(&nowhere)?;
        rustix::stdio::dup2_stderr(&nowhere)?;
        Ok(())
    }
}

/// Runs this command again as a process of its own and waits until it says that it is ready.
///
/// A fresh process instead of fork(2): nothing of this one's threads and locks is copied. It reads
/// passphrases by itself, from the same terminal, files and descriptors.
pub(crate) fn spawn_background() -> Outcome<ExitCode> {
    let failed = |error| Failure::io("cannot start the background process", &error);
    let mut process = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .arg("--daemon-process")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut first = String::new();
    if let Some(stdout) = process.stdout.take() {
        BufReader::new(stdout)
            .read_line(&mut first)
            .map_err(failed)?;
    }
    if first.trim_end() == READY {
        return Ok(ExitCode::SUCCESS);
    }
    let status = process.wait().map_err(failed)?;
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        // It has said why on standard error.
        Some(code) if code != 0 => Ok(ExitCode::from(code)),
        _ => Err(Failure::new(
            Code::General,
            format!("the background process ended before the mount was ready ({status})"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_name_only_in_the_path() {
        assert!(is_found("sh", "/nowhere:/bin".as_ref()));
        assert!(!is_found("sh", "/nowhere:/etc".as_ref()));
        // A file that nobody may run is no program.
        assert!(!is_found("passwd", "/etc".as_ref()));
        assert!(!is_found("sh", "".as_ref()));
    }

    #[test]
    fn outside_the_path_the_program_is_called_by_its_path() {
        let program = program();
        assert!(program.as_os_str() == "coffer" || program.is_absolute());
    }
}

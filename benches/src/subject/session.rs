//! One subject in one place: made, mounted, remounted cold, left. Dropping it unmounts by force.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Ready, Subject};
use crate::failure::{Failure, Outcome};
use crate::machine::{self, Usage};
use crate::process::{self, Interrupt};
use crate::step::{Done, Step};
use crate::workdir::{Place, unmount_below};

/// How long making, mounting and unmounting may take each.
const MOUNT_LIMIT: Duration = Duration::from_secs(60);

/// How long a mount may be busy after the last step on it: a file that a step had open may be
/// released a moment after the step has ended.
const BUSY_LIMIT: Duration = Duration::from_secs(10);

/// A subject at work.
#[derive(Debug)]
pub struct Session<'a> {
    subject: &'a dyn Subject,
    place: Place,
    scratch: &'a Path,
    interrupt: &'a Interrupt,
    step_limit: Duration,
    daemon: Option<Child>,
    peak_memory: Option<u64>,
}

impl<'a> Session<'a> {
    /// Makes an empty store and mounts it.
    ///
    /// # Errors
    /// When one of the subject's commands fails or takes too long.
    pub fn start(
        subject: &'a dyn Subject,
        place: Place,
        scratch: &'a Path,
        interrupt: &'a Interrupt,
        step_limit: Duration,
    ) -> Outcome<Self> {
        if let Some(init) = subject.init(&place) {
            process::run(init, MOUNT_LIMIT, &place.log, interrupt)?;
        }
        let daemon = None;
        let mut session = Self {
            subject,
            place,
            scratch,
            interrupt,
            step_limit,
            daemon,
            peak_memory: None,
        };
        session.mount()?;
        Ok(session)
    }

    /// Where the user's files are seen.
    #[must_use]
    pub fn files(&self) -> &Path {
        self.subject.files(&self.place)
    }

    /// Times one step.
    ///
    /// # Errors
    /// When it fails or takes too long; the mount may hang then, so the session should end.
    pub fn step(&self, step: &Step) -> Outcome<Done> {
        step.run(self.step_limit, self.scratch, self.interrupt)
    }

    /// Unmounts, mounts again and drops all caches: what comes next is cold.
    ///
    /// # Errors
    /// When a command of the subject fails.
    pub fn cool(&mut self) -> Outcome<()> {
        self.leave()?;
        self.mount()?;
        machine::drop_caches()
    }

    /// Makes everything durable that anybody has written, so that it disturbs no later step.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn settle(&self) -> Outcome<f64> {
        machine::sync(self.scratch)
    }

    /// Unmounts and makes everything durable; returns the seconds that took.
    ///
    /// # Errors
    /// When a command of the subject fails.
    pub fn leave(&mut self) -> Outcome<f64> {
        let start = Instant::now();
        if self.subject.remounts() {
            self.unmount()?;
        }
        self.settle()?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Mounts, unless it is mounted.
    ///
    /// # Errors
    /// When the mount fails or takes too long.
    pub fn mount(&mut self) -> Outcome<()> {
        if self.daemon.is_some() {
            return Ok(());
        }
        let Some(command) = self.subject.mount(&self.place) else {
            return Ok(());
        };
        self.daemon = Some(process::spawn(command, &self.place.log)?);
        let start = Instant::now();
        while !self.answers() {
            let daemon = self
                .daemon
                .as_mut()
                .and_then(|daemon| daemon.try_wait().ok()?);
            if let Some(status) = daemon {
                self.daemon = None;
                let why = process::tail(&self.place.log);
                return Err(Failure::new(format!(
                    "the mount ended with {status}: {why}"
                )));
            }
            if self.interrupt.raised() {
                return Err(Failure::interrupted());
            }
            if start.elapsed() > MOUNT_LIMIT {
                return Err(Failure::new("the mount did not answer in time"));
            }
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn answers(&self) -> bool {
        let said = match self.subject.ready() {
            Ready::Mounted => true,
            Ready::Line(line) => fs::read_to_string(&self.place.log)
                .is_ok_and(|log| log.lines().any(|said| said.starts_with(line))),
        };
        said && machine::is_mounted(&self.place.mount)
    }

    /// Unmounts and waits for the daemon to end.
    ///
    /// # Errors
    /// When the command fails, or the daemon does not end or ends badly.
    fn unmount(&mut self) -> Outcome<()> {
        let Some(mut daemon) = self.daemon.take() else {
            return Ok(());
        };
        let peak = machine::peak_memory(daemon.id());
        self.peak_memory = self.peak_memory.max(peak);
        let log = self.scratch.join("unmount.log");
        let left = self
            .detach(&log)
            .and_then(|()| process::wait(&mut daemon, MOUNT_LIMIT, self.interrupt));
        match left {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                let why = process::tail(&self.place.log);
                Err(Failure::new(format!(
                    "the daemon ended with {status}: {why}"
                )))
            }
            Err(failure) => {
                self.daemon = Some(daemon);
                Err(failure)
            }
        }
    }

    /// Runs the command that unmounts, again while something still looks at the mount.
    fn detach(&self, log: &Path) -> Outcome<()> {
        let start = Instant::now();
        loop {
            let command = self.subject.unmount(&self.place);
            let left = process::run(command, MOUNT_LIMIT, log, self.interrupt);
            let is_busy = left.is_err() && process::tail(log).contains("busy");
            if !is_busy || start.elapsed() > BUSY_LIMIT {
                return left;
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Bytes the subject takes on the disk, if it takes any; only right after [`Session::leave`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn usage(&self) -> Outcome<Option<Usage>> {
        self.subject
            .stored(&self.place)
            .map(machine::usage)
            .transpose()
    }

    /// Seconds of a core that the daemon has used since it was mounted, its children included.
    #[must_use]
    pub fn cpu_seconds(&self) -> Option<f64> {
        machine::cpu_seconds(self.daemon.as_ref()?.id())
    }

    /// Memory of the daemon now.
    #[must_use]
    pub fn resident_memory(&self) -> Option<u64> {
        machine::resident_memory(self.daemon.as_ref()?.id())
    }

    /// Peak memory of the daemon so far, as of the last time it was unmounted or is now.
    #[must_use]
    pub fn peak_memory(&self) -> Option<u64> {
        let now = self
            .daemon
            .as_ref()
            .and_then(|daemon| machine::peak_memory(daemon.id()));
        self.peak_memory.max(now)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else {
            return;
        };
        // A healthy mount goes quietly; a hung one only when its daemon is gone.
        let command = self.subject.unmount(&self.place);
        let log = self.scratch.join("unmount.log");
        let limit = Duration::from_secs(10);
        let quiet = process::run(command, limit, &log, &Interrupt::default())
            .and_then(|()| process::wait(&mut daemon, limit, &Interrupt::default()));
        if quiet.is_err() {
            process::kill(&mut daemon);
        }
        unmount_below(&self.place.mount);
    }
}

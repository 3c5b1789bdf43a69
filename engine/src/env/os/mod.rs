//! The environment of the operating system: one directory, real time, real threads.
//!
//! - The directory is opened once; all files are reached from its descriptor, so a later rename
//!   or replacement of a path component cannot lead elsewhere, and no symbolic link is followed.
//! - Files are made exclusively, for their owner alone (mode 0600).
#![allow(
    clippy::disallowed_methods,
    reason = "time and threads enter the store here and nowhere else"
)]

extern crate std;

mod ahead;
mod around;
mod file;
mod fs;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use core::time::Duration;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::env::{Clock, Entropy, Env, Silent, Spawner, Task};
use crate::error::{Error, Result};

pub use fs::OsFs;

/// The environment for the store in the directory `path`, which must exist.
///
/// # Errors
/// `Invalid` where `path` is no directory, `Io` where it cannot be opened.
pub fn env(path: &Path) -> Result<Env> {
    Ok(Env {
        fs: Arc::new(OsFs::open(path)?),
        clock: Arc::new(OsClock(Instant::now())),
        entropy: Arc::new(OsEntropy),
        spawner: Arc::new(OsSpawner),
        listener: Arc::new(Silent),
    })
}

/// Threads of the operating system, for environments whose other parts are not.
#[must_use]
pub fn spawner() -> Arc<dyn Spawner> {
    Arc::new(OsSpawner)
}

/// The error of a system call.
fn failed(what: &'static str, errno: Errno) -> Error {
    let error = match errno {
        Errno::NOSPC => Error::no_space("the disk is full"),
        Errno::DQUOT => Error::no_space("the disk quota is used up"),
        _ => Error::io(what),
    };
    error.because(std::io::Error::from(errno))
}

struct OsClock(Instant);

impl Clock for OsClock {
    fn now(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, buf: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < buf.len() {
            match getrandom(&mut buf[filled..], GetRandomFlags::empty()) {
                Ok(len) => filled += len,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed("the system gives no random bytes", errno)),
            }
        }
        Ok(())
    }
}

struct OsSpawner;

impl Spawner for OsSpawner {
    fn spawn(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) -> Option<Box<dyn Task>> {
        let thread = std::thread::Builder::new().name(name.to_string());
        let handle = thread.spawn(work).ok()?;
        Some(Box::new(OsTask(handle)))
    }

    fn parallelism(&self) -> usize {
        std::thread::available_parallelism().map_or(1, Into::into)
    }
}

struct OsTask(std::thread::JoinHandle<()>);

impl Task for OsTask {
    fn join(self: Box<Self>) {
        // A panic of the task has been reported by the panic hook already.
        let _ = self.0.join();
    }
}

fn not_a_directory(path: &Path, errno: Errno) -> Error {
    match errno {
        Errno::NOENT => Error::invalid(format!("there is no directory {}", path.display())),
        Errno::NOTDIR => Error::invalid(format!("{} is not a directory", path.display())),
        _ => failed("cannot open the store directory", errno),
    }
}

#[cfg(test)]
mod tests;

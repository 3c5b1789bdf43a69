//! Time and threads of the operating system, for mounts that bring none of their own.

use alloc::boxed::Box;
use core::time::Duration;
use std::time::{Instant, SystemTime};

use coffer_blobstore::env::{Clock, Spawner, Task};

use crate::attr::Time;

/// The clock of the operating system.
#[derive(Debug)]
pub(crate) struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// The clock, with its monotonic time beginning here.
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
    }
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock's time as a time of an inode.
pub(crate) fn now(clock: &dyn Clock) -> Time {
    let now = clock.now();
    Time {
        secs: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        nanos: now.subsec_nanos(),
    }
}

/// Threads of the operating system.
#[derive(Debug)]
pub(crate) struct SystemThreads;

struct Thread(std::thread::JoinHandle<()>);

impl Task for Thread {
    fn join(self: Box<Self>) {
        // A worker that panicked has ended too; its panic was reported on its own thread.
        let _ended = self.0.join();
    }
}

impl Spawner for SystemThreads {
    fn spawn(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) -> Option<Box<dyn Task>> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(work);
        thread.ok().map(|thread| Box::new(Thread(thread)) as _)
    }
    fn parallelism(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}

//! Work behind the scenes, one piece at a time, in the thread of whoever calls.
//!
//! - Order: batches that waited in memory for too long, full memtables, compactions, files that
//!   nobody reads any more.
//! - One flush at a time, and compactions that do not touch each other; two threads that maintain
//!   do not wait for each other.

use core::time::Duration;

use crate::db::Db;
use crate::error::Result;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Mutex};

/// How long a batch may wait in memory before it is handed to the operating system.
const PENDING_AGE_MAX: Duration = Duration::from_secs(1);

/// How long to wait for the work of others before looking again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What a call of `maintain` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Something: there may be more.
    Did,
    /// Nothing was to be done.
    Idle,
}

/// Lets workers wait for work and writers for its outcome.
#[derive(Default)]
pub(super) struct WorkSignal {
    asked: Mutex<bool>,
    ask: Condvar,
    /// Grows with each piece of work that ended.
    done_count: Mutex<u64>,
    done: Condvar,
    /// Does somebody work whenever there is work?
    attended: AtomicBool,
    /// Has a worker ever waited for work?
    has_worker: AtomicBool,
}

impl WorkSignal {
    /// There is work.
    pub(super) fn ask(&self) {
        *self.asked.lock() = true;
        self.ask.notify_one();
    }

    /// A piece of work ended.
    pub(super) fn progress(&self) {
        *self.done_count.lock() += 1;
        self.done.notify_all();
    }

    /// Nobody waits for work.
    pub(super) fn leave_alone(&self) {
        self.attended.store(false, Ordering::Relaxed);
    }

    /// Is there a worker, and was it not missed since it was seen last?
    pub(super) fn is_attended(&self) -> bool {
        self.attended.load(Ordering::Relaxed)
    }

    /// How many pieces of work ended so far. Who waits for one asks this first, looks then whether
    /// there is anything to wait for, and misses nothing that ends between the two.
    pub(super) fn done_count(&self) -> u64 {
        *self.done_count.lock()
    }

    /// Waits until more than `seen` pieces of work ended, for `timeout` at most; `false` when that
    /// time is over.
    pub(super) fn wait_for_progress(&self, seen: u64, timeout: Duration) -> bool {
        let mut count = self.done_count.lock();
        if *count == seen {
            count = self.done.wait_timeout(&self.done_count, count, timeout);
        }
        *count != seen
    }

    /// Somebody works who is no writer.
    fn see_worker(&self) {
        let has_worker = self.has_worker.load(Ordering::Relaxed);
        self.attended.store(has_worker, Ordering::Relaxed);
    }

    fn wait_for_work(&self, timeout: Duration) {
        self.has_worker.store(true, Ordering::Relaxed);
        self.see_worker();
        let mut asked = self.asked.lock();
        if !*asked {
            asked = self.ask.wait_timeout(&self.asked, asked, timeout);
        }
        *asked = false;
    }
}

/// A right that one thread has at a time.
#[derive(Default)]
pub(super) struct Turns {
    is_taken: Mutex<bool>,
    given_back: Condvar,
}

impl Turns {
    /// Takes the turn unless somebody has it.
    pub(super) fn try_take(&self) -> Option<Turn<'_>> {
        let was_taken = core::mem::replace(&mut *self.is_taken.lock(), true);
        // Lazily: a turn that is made and dropped would end that of its holder.
        (!was_taken).then(|| Turn(self))
    }

    /// Does somebody have it?
    pub(super) fn is_taken(&self) -> bool {
        *self.is_taken.lock()
    }

    /// Waits for the turn.
    pub(super) fn take(&self) -> Turn<'_> {
        let mut is_taken = self.is_taken.lock();
        while *is_taken {
            is_taken = self.given_back.wait(&self.is_taken, is_taken);
        }
        *is_taken = true;
        Turn(self)
    }
}

/// The right of whoever holds this, given back when dropped.
pub(super) struct Turn<'a>(&'a Turns);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.is_taken.lock() = false;
        self.0.given_back.notify_one();
    }
}

impl Db {
    /// Does one piece of the work that is due.
    ///
    /// # Errors
    /// Those of the medium. The store stays usable unless it is poisoned.
    pub fn maintain(&self) -> Result<Work> {
        self.check_writable()?;
        self.work.see_worker();
        let did = self.write_out_old()?
            || self.try_flush()?
            || self.try_compact()?
            || self.remove_obsolete();
        Ok(if did { Work::Did } else { Work::Idle })
    }

    /// Waits until there may be work, at most for `timeout`. Whoever calls this in a loop with
    /// `maintain` takes the work off the writers.
    pub fn wait_for_work(&self, timeout: Duration) {
        self.work.wait_for_work(timeout);
    }

    /// Wakes whoever waits for work.
    pub fn wake(&self) {
        self.work.ask();
    }

    /// Hands batches that are too old to the log file, so that they survive this process.
    fn write_out_old(&self) -> Result<bool> {
        let now = self.env.clock.monotonic();
        let mut writer = self.writer.lock();
        let is_old = |since: Duration| now.saturating_sub(since) >= PENDING_AGE_MAX;
        if let Some(wal) = &mut writer.wal
            && wal.pending_since().is_some_and(is_old)
        {
            self.write_out(wal)?;
            writer.lacks_name = true;
        }
        // Where the manifest could not take its name, it is tried again.
        if !writer.lacks_name {
            return Ok(false);
        }
        let is_registered = writer.is_registered;
        drop(writer);
        if !is_registered {
            self.flush_recovered()?;
            self.register_wals(&mut self.manifest.lock())?;
        }
        self.writer.lock().lacks_name = false;
        Ok(true)
    }

    /// Ends all work and gives the store back, with everything durable. A poisoned store is only
    /// given back.
    ///
    /// # Errors
    /// Those of the medium; the store is given back anyway.
    pub fn close(&self) -> Result<()> {
        // Held until the end: who closes at the same time waits for it.
        let mut lock = self.lock.lock();
        if lock.is_none() {
            return Ok(());
        }
        // Before the last flush, so that nothing is accepted that it would miss. Work in other
        // threads sees it and ends.
        self.closed.store(true, Ordering::Release);
        let flushed = if self.is_poisoned() {
            Ok(())
        } else {
            self.flush_all()
        };
        let _whole = self.claim_whole();
        let _flushing = self.flushing.take();
        let ended = self.end_manifest(flushed);
        lock.take();
        ended
    }

    /// Takes no more edits and, if all went well, records where the manifest ends, so that an
    /// attacker cannot cut off what it says last.
    fn end_manifest(&self, flushed: Result<()>) -> Result<()> {
        let mut manifest = self.manifest.lock();
        manifest.is_closed = true;
        flushed?;
        if self.is_poisoned() {
            return Ok(());
        }
        if !manifest.log.is_whole() {
            // Its last edit is counted, and the full medium did not take it.
            self.renew_manifest(&mut manifest)?;
        }
        manifest.log.close(&self.place)
    }
}

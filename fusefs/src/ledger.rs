//! How much memory the unwritten takes, and who waits for it to become less.
//!
//! - Every byte added is taken off again exactly once.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use crate::sync::{Condvar, Mutex};

/// Memory of the unwritten.
#[derive(Default)]
pub(crate) struct Ledger {
    held: AtomicUsize,
    seals: AtomicUsize,
    waiting: Mutex<usize>,
    freed: Condvar,
}

impl Ledger {
    /// Bytes held.
    pub(crate) fn held_len(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Replaces a charge by another.
    pub(crate) fn change(&self, from: usize, to: usize) {
        if to > from {
            self.held.fetch_add(to - from, Ordering::Relaxed);
        } else if from > to {
            self.held.fetch_sub(from - to, Ordering::Relaxed);
            self.wake();
        }
    }

    /// Seals under way.
    pub(crate) fn seal_count(&self) -> usize {
        self.seals.load(Ordering::Relaxed)
    }

    /// A seal begins.
    pub(crate) fn seal_begins(&self) {
        self.seals.fetch_add(1, Ordering::Relaxed);
    }

    /// A seal has ended.
    pub(crate) fn seal_ends(&self) {
        self.seals.fetch_sub(1, Ordering::Relaxed);
        self.wake();
    }

    fn wake(&self) {
        if *self.waiting.lock() > 0 {
            self.freed.notify_all();
        }
    }

    /// Waits until something was freed or sealed, for `timeout` at most; not at all where no more
    /// than `len_max` bytes are held.
    pub(crate) fn wait(&self, len_max: usize, timeout: Duration) {
        let mut waiting = self.waiting.lock();
        *waiting += 1;
        // Looked at under the lock, which `wake` takes after every change.
        if self.held_len() > len_max {
            waiting = self.freed.wait_timeout(waiting, timeout);
        }
        *waiting -= 1;
    }
}

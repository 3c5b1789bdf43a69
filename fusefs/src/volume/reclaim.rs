//! Space that was deleted on a full medium comes back while the file system is mounted.
//!
//! - What a deletion frees is known only when a compaction passes it. Where a write has found no
//!   space, all of the store is compacted on a worker, once in a while, until one finds some.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use core::time::Duration;

use coffer_blobstore::{Error, ErrorKind, Result};

use crate::volume::Volume;

/// Time between two compactions for want of space.
const RECLAIM_INTERVAL: Duration = Duration::from_secs(3);

impl Volume {
    /// Passes on what the tree answered, and remembers where it had no space.
    pub(super) fn note_space<T>(&self, outcome: Result<T>) -> Result<T> {
        if outcome.as_ref().is_err_and(is_full) {
            self.wants_space.store(true, Ordering::Relaxed);
        }
        outcome
    }

    /// Compacts the store on a worker, if a write has found no space since the last time.
    pub(crate) fn reclaim(self: &Arc<Self>) {
        let now = self.clock.monotonic();
        let mut reclaimed_at = self.reclaimed_at.lock();
        let is_soon = now.saturating_sub(*reclaimed_at) < RECLAIM_INTERVAL;
        if is_soon || !self.wants_space.swap(false, Ordering::Relaxed) {
            return;
        }
        *reclaimed_at = now;
        drop(reclaimed_at);
        let volume = Arc::clone(self);
        self.pool.submit_long(move || {
            // Where this fails, the next write that finds no space asks for it again.
            let _failed = volume.tree.compact(&mut |_| ());
            *volume.reclaimed_at.lock() = volume.clock.monotonic();
        });
    }
}

fn is_full(error: &Error) -> bool {
    error.kind() == ErrorKind::NoSpace
}

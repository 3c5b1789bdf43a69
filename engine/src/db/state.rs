//! What readers hold on to: snapshots, and the set of places where entries are.
//!
//! - A super version never changes; every rotation, flush and compaction installs a new one.
//! - A reader takes the super version first and the visible sequence number second: everything
//!   that was visible when it took the super version is in it.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::memtable::Memtable;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::SeqNo;
use crate::version::Version;

/// All places where entries are at one moment.
#[derive(Clone)]
pub(super) struct SuperVersion {
    /// Takes writes.
    pub(super) memtable: Arc<Memtable>,
    /// Wait for their flush, newest first.
    pub(super) immutables: Vec<Arc<Immutable>>,
    pub(super) version: Arc<Version>,
}

/// A full memtable.
pub(super) struct Immutable {
    pub(super) memtable: Arc<Memtable>,
    /// The number of its log.
    pub(super) wal: u64,
    /// Its newest entry.
    pub(super) last_seqno: SeqNo,
}

/// The snapshots in use.
#[derive(Default)]
pub(super) struct SnapshotList {
    counts: Mutex<BTreeMap<SeqNo, usize>>,
}

impl SnapshotList {
    /// A snapshot of what is visible now. The number is read under the lock, so that a compaction
    /// either knows of the snapshot or began before anything that it sees was written.
    pub(super) fn take(self: &Arc<Self>, visible: &AtomicU64) -> Snapshot {
        let mut counts = self.counts.lock();
        let seqno = visible.load(Ordering::Acquire);
        *counts.entry(seqno).or_insert(0) += 1;
        Snapshot {
            seqno,
            list: Arc::clone(self),
        }
    }

    /// All of them.
    pub(super) fn seqnos(&self) -> Vec<SeqNo> {
        self.counts.lock().keys().copied().collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.counts.lock().values().sum()
    }
}

/// The store as it was at one moment. What it sees is kept until it is dropped.
pub struct Snapshot {
    seqno: SeqNo,
    list: Arc<SnapshotList>,
}

impl Snapshot {
    /// The newest entry that it sees.
    #[must_use]
    pub fn seqno(&self) -> SeqNo {
        self.seqno
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut counts = self.list.counts.lock();
        if let Some(count) = counts.get_mut(&self.seqno) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.seqno);
            }
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot at {}", self.seqno)
    }
}

//! Counts and lengths that tell how a store is doing.

use core::time::Duration;

use crate::types::SeqNo;
pub use crate::version::LEVEL_COUNT;

/// A look at a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Tables and their bytes on disk, by level.
    pub levels: [LevelStats; LEVEL_COUNT],
    /// Memory of the memtable that takes writes.
    pub memtable_len: u64,
    /// Memtables that wait for their flush.
    pub immutable_count: usize,
    /// Bytes of the write-ahead log that takes writes.
    pub wal_len: u64,
    /// The newest entry.
    pub last_seqno: SeqNo,
    /// Snapshots in use.
    pub snapshot_count: usize,
    /// Memory of the block cache.
    pub cache_len: u64,
    /// Blocks found in the cache.
    pub cache_hit_count: u64,
    /// Blocks not found in the cache.
    pub cache_miss_count: u64,
    /// Waits of writers for flush and compaction.
    pub stalls: StallStats,
    /// Compactions that run.
    pub compaction_count: usize,
    /// Memory of the row cache.
    pub row_cache_len: u64,
    /// Answers found in the row cache.
    pub row_cache_hit_count: u64,
    /// A compaction met damage beyond repair; none is picked until the store is opened again.
    pub is_uncompactable: bool,
    /// Edits of the manifest since the store was made.
    pub edit_count: u64,
}

/// One level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelStats {
    /// Tables.
    pub table_count: usize,
    /// Bytes on disk.
    pub len: u64,
    /// Entries, tombstones among them.
    pub entry_count: u64,
    /// Tombstones.
    pub tombstone_count: u64,
}

/// Waits of writers since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StallStats {
    /// Writers that were stopped because full memtables waited for their flush.
    pub memtable_count: u64,
    /// Writers that were stopped because level 0 was too long.
    pub level0_count: u64,
    /// How long writers were stopped, together.
    pub waited: Duration,
    /// The longest stop.
    pub waited_max: Duration,
    /// Batches that were slowed.
    pub slowdown_count: u64,
    /// How long batches were slowed, together.
    pub slowed: Duration,
}

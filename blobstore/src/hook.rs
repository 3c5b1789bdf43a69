//! What the engine asks of the blob store: order of syncs, recovery, garbage, relocation.
//!
//! - Frames are durable before any log or table that points to them.
//! - The death of a pointer is recorded in the annex with the very edit that drops the entry.
//! - Values of victims move to the active blob file when a compaction passes them; a value that
//!   cannot be read stays where it is, and its file with it. Those of shared files stay for the walk
//!   over all keys, which moves a value once for all of its keys.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use coffer_engine::env::Env;
use coffer_engine::sync::RwLock;
use coffer_engine::{AnnexUpdates, ErrorKind, IndirectHook, IndirectSession, Result};

use crate::blobfile::{BlobFiles, Claim, StagedFrames};
use crate::garbage::dead_update;
use crate::pointer::BlobPointer;

/// The engine's view of the blob files of a store.
pub(crate) struct Hook(Arc<Shared>);

struct Shared {
    files: Arc<BlobFiles>,
    /// Numbers of garbage records: no two sessions of a store meet, they start at random.
    next_record: AtomicU64,
    /// Files that are being emptied.
    victims: RwLock<BTreeSet<u64>>,
}

impl Hook {
    pub(crate) fn new(env: &Env, files: Arc<BlobFiles>) -> Result<Self> {
        let mut seed = [0; 8];
        env.entropy.fill(&mut seed)?;
        Ok(Self(Arc::new(Shared {
            files,
            next_record: AtomicU64::new(u64::from_le_bytes(seed) >> 1),
            victims: RwLock::default(),
        })))
    }

    /// Empties these files from now on, wherever a compaction meets a pointer into them.
    pub(crate) fn set_victims(&self, victims: BTreeSet<u64>) {
        *self.0.victims.write() = victims;
    }
}

impl IndirectHook for Hook {
    fn session(&self) -> Box<dyn IndirectSession> {
        Box::new(Session {
            shared: Arc::clone(&self.0),
            dead: BTreeMap::new(),
            moved: Vec::new(),
        })
    }

    fn present(&self, pointer: &[u8]) -> Result<bool> {
        match BlobPointer::decode(pointer) {
            Ok(pointer) => self.0.files.is_present(&pointer),
            Err(_) => Ok(false),
        }
    }

    fn before_flush(&self) -> Result<()> {
        self.0.files.sync()
    }
}

/// One flush or compaction.
struct Session {
    shared: Arc<Shared>,
    /// Bytes that died, by blob file.
    dead: BTreeMap<u64, u64>,
    /// Values that moved, and how many bytes they take now.
    moved: Vec<(Claim, u64)>,
}

impl Session {
    fn count_dead(&mut self, pointer: &BlobPointer) {
        let dead_len = self.dead.entry(pointer.file).or_insert(0);
        *dead_len = dead_len.saturating_add(pointer.disk_len());
    }
}

impl IndirectSession for Session {
    fn dropped(&mut self, pointer: &[u8]) {
        // A pointer that does not decode was reported to whoever read it; nothing is counted.
        if let Ok(pointer) = BlobPointer::decode(pointer) {
            self.count_dead(&pointer);
        }
    }

    fn relocate(&mut self, _key: &[u8], pointer: &[u8]) -> Result<Option<Vec<u8>>> {
        if self.shared.victims.read().is_empty() {
            return Ok(None);
        }
        let Ok(pointer) = BlobPointer::decode(pointer) else {
            return Ok(None);
        };
        let is_victim = self.shared.victims.read().contains(&pointer.file);
        if !is_victim || self.shared.files.is_shared(pointer.file) {
            return Ok(None);
        }
        let staged = match self.shared.files.copy(&pointer) {
            // A compaction goes on without: it may be what makes space.
            Err(error) if error.kind() == ErrorKind::NoSpace => None,
            staged => staged?,
        };
        let Some(StagedFrames {
            pointer: moved,
            claim,
        }) = staged
        else {
            return Ok(None);
        };
        self.count_dead(&pointer);
        self.moved.push((claim, moved.disk_len()));
        Ok(Some(moved.encode()))
    }

    fn finish(self: Box<Self>) -> Result<AnnexUpdates> {
        for (claim, disk_len) in self.moved {
            claim.settle(disk_len);
        }
        let record = |(number, dead_len): (&u64, &u64)| {
            let record = self.shared.next_record.fetch_add(1, Ordering::Relaxed);
            dead_update(*number, record, *dead_len)
        };
        Ok(self.dead.iter().map(record).collect())
    }
}

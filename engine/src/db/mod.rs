//! The engine: one store, open.
//!
//! - Writes are batches; a batch is visible as a whole or not at all, and history after a crash is
//!   a prefix of the history before it.
//! - What `sync` returned for is durable. Reads never wait for a sync.
//! - After a failed sync, or a failed write to a log, the store is poisoned: reads go on, writes
//!   are refused until it is opened again.
//! - There are no hidden threads: `maintain` does one piece of work at a time, for whoever calls.
//! - Locks are taken in this order: manifest, writer, super version; the others stand alone. None
//!   but that of the manifest is held during a sync.

mod backpressure;
mod changes;
mod checkpoint;
mod compact;
mod conditional;
mod flush;
mod ingest;
mod limiter;
mod maintain;
mod multi_get;
mod read;
mod recover;
mod replay;
mod state;
mod subcompact;
mod sync;
mod write;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::block::Block;
use crate::cache::Cache;
use crate::compaction::Claims;
use crate::crypto::Tag;
use crate::env::{Env, Event};
use crate::error::{Error, ErrorKind, Result};
use crate::file::FileRoot;
use crate::hook::IndirectHook;
use crate::manifest::{Manifest, Place, State};
use crate::options::{KvProtection, Options};
use crate::stats::{LevelStats, Stats};
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, RwLock};
use crate::table::{LiveTable, TableOpener};
use crate::types::{FileId, FileKind, SeqNo};
use crate::version::{AnnexUpdates, VersionEdit};

pub use compact::Progress;
pub(crate) use flush::Flush;
pub use maintain::Work;
pub(crate) use recover::{number_after, opener};
pub use state::Snapshot;
pub use write::WriteOptions;

use state::{SnapshotList, SuperVersion};
use write::Writer;

/// An open store.
pub struct Db {
    env: Env,
    options: Arc<Options>,
    hook: Option<Arc<dyn IndirectHook>>,
    place: Place,
    opener: Arc<TableOpener>,
    cache: Arc<Cache<Block>>,
    /// Takes writes, one batch at a time.
    writer: Mutex<Writer>,
    /// The newest entry that readers see.
    visible: AtomicU64,
    super_version: RwLock<Arc<SuperVersion>>,
    snapshots: Arc<SnapshotList>,
    manifest: Mutex<LiveManifest>,
    annex: RwLock<Arc<BTreeMap<Vec<u8>, Vec<u8>>>>,
    next_number: Arc<AtomicU64>,
    /// The newest entry that recovery left in memory.
    recovered_seqno: SeqNo,
    syncing: Mutex<sync::Syncing>,
    synced: Condvar,
    work: maintain::WorkSignal,
    backpressure: backpressure::Backpressure,
    /// Held by whoever flushes.
    flushing: maintain::Turns,
    /// Held by whoever adds tables; writers wait meanwhile.
    ingesting: maintain::Turns,
    /// What is being compacted.
    compacting: Mutex<Claims>,
    /// Threads that work on compactions beyond those that called.
    extra_workers: Arc<AtomicUsize>,
    limiter: Arc<limiter::RateLimiter>,
    /// A compaction met damage beyond repair.
    uncompactable: AtomicBool,
    /// Tables that no version names any more, until nobody reads them.
    obsolete: Mutex<Vec<Arc<LiveTable>>>,
    poisoned: Arc<AtomicBool>,
    closed: AtomicBool,
    /// Given back when the store is closed or dropped.
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

/// The manifest and what it says.
struct LiveManifest {
    log: Manifest,
    state: State,
    /// Its end is recorded: nothing is appended any more.
    is_closed: bool,
}

/// A file that belongs to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveFile {
    /// Kind and number.
    pub id: FileId,
    /// Length and root, where the file is finished.
    pub root: Option<FileRoot>,
}

impl Db {
    /// Opaque records of the layer above, as last written.
    #[must_use]
    pub fn annex(&self) -> Arc<BTreeMap<Vec<u8>, Vec<u8>>> {
        Arc::clone(&self.annex.read())
    }

    /// Changes records of the annex, all or none, durable on return.
    ///
    /// # Errors
    /// `Poisoned`, and those of the medium, which poison the store.
    pub fn write_annex(&self, updates: AnnexUpdates) -> Result<()> {
        self.check_writable()?;
        let mut manifest = self.manifest.lock();
        self.install(
            &mut manifest,
            VersionEdit {
                annex: updates,
                ..VersionEdit::default()
            },
            |_| (),
        )
    }

    /// A file number that no file of the store has or had.
    pub fn allocate_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// The files that the engine needs now: tables, logs, manifest.
    #[must_use]
    pub fn live_files(&self) -> Vec<LiveFile> {
        let manifest = self.manifest.lock();
        let state = &manifest.state;
        let tables = state.version.tables().map(|(_, table)| {
            let meta = table.meta();
            LiveFile {
                id: meta.file(),
                root: Some(meta.root),
            }
        });
        let wals = state
            .wals
            .keys()
            .map(|&number| FileId::new(FileKind::Wal, number));
        let logs = wals.chain([manifest.log.id(), crate::manifest::CURRENT]);
        tables
            .chain(logs.map(|id| LiveFile { id, root: None }))
            .collect()
    }

    /// The counter and the chain tag of the last edit, and the session that wrote it: what an
    /// anchor outside of the store remembers.
    #[must_use]
    pub fn anchor(&self) -> (u64, Option<Tag>, [u8; 16]) {
        let manifest = self.manifest.lock();
        (
            manifest.state.counter,
            manifest.log.last_tag(),
            manifest.state.session,
        )
    }

    /// Counts and lengths.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (memtable_len, wal_len) = {
            let writer = self.writer.lock();
            (writer.memtable.byte_len() as u64, writer.wal_len())
        };
        let view = self.super_version();
        let (cache_hit_count, cache_miss_count) = self.cache.counts();
        let mut stats = Stats {
            memtable_len,
            wal_len,
            immutable_count: view.immutables.len(),
            last_seqno: self.last_seqno(),
            snapshot_count: self.snapshots.len(),
            row_cache_len: self.opener.rows.len() as u64,
            row_cache_hit_count: self.opener.rows.counts().0,
            cache_len: self.cache.len() as u64,
            cache_hit_count,
            cache_miss_count,
            stalls: self.backpressure.stats(),
            compaction_count: self.compacting.lock().len(),
            is_uncompactable: self.is_uncompactable(),
            edit_count: self.manifest.lock().state.counter,
            ..Stats::default()
        };
        for (level, table) in view.version.tables() {
            let LevelStats {
                table_count,
                len,
                entry_count,
                tombstone_count,
            } = &mut stats.levels[level];
            *table_count += 1;
            *len += table.meta().root.len;
            *entry_count += table.meta().entry_count;
            *tombstone_count += table.meta().tombstone_count;
        }
        stats
    }

    /// The cache of blocks, for the layer above to keep its own blocks in: file numbers are given
    /// once, whatever the kind of file.
    #[must_use]
    pub const fn block_cache(&self) -> &Arc<Cache<Block>> {
        &self.cache
    }

    /// A snapshot of everything written so far.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshots.take(&self.visible)
    }

    /// The newest entry.
    #[must_use]
    pub fn last_seqno(&self) -> SeqNo {
        self.visible.load(Ordering::Acquire)
    }

    /// Has an earlier sync failed?
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    fn super_version(&self) -> Arc<SuperVersion> {
        Arc::clone(&self.super_version.read())
    }

    /// A super version and a number such that everything up to the number is in it. A reader who
    /// only shows what it finds may take the two one after the other; whoever concludes something
    /// from what it does not find may not, since a new memtable may begin in between, or tables that
    /// were never in memory become part of the version.
    fn view_of_now(&self) -> (Arc<SuperVersion>, SeqNo) {
        loop {
            let view = self.super_version();
            let seqno = self.last_seqno();
            // Memtables and tables are in the super version before their entries are visible.
            if Arc::ptr_eq(&view, &self.super_version()) {
                return (view, seqno);
            }
        }
    }

    fn with_digests(&self) -> bool {
        self.options.kv_protection == KvProtection::On
    }

    fn check_writable(&self) -> Result<()> {
        if self.is_poisoned() {
            return Err(poisoned());
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        Ok(())
    }

    /// Poisons the store if `result` is an error.
    fn poison_on<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.poison();
        }
        result
    }

    fn poison(&self) {
        if !self.poisoned.swap(true, Ordering::AcqRel) {
            self.env.listener.event(&Event::Poisoned);
            self.wake_all();
        }
    }

    /// Whoever waits looks again.
    fn wake_all(&self) {
        self.synced.notify_all();
        self.work.progress();
    }

    /// Commits an edit: durable in the manifest first, then seen by readers, together with
    /// `change`. An error means that the edit is not in the store, or that the store is poisoned.
    fn install(
        &self,
        manifest: &mut LiveManifest,
        mut edit: VersionEdit,
        change: impl FnOnce(&mut SuperVersion),
    ) -> Result<()> {
        if self.is_poisoned() {
            return Err(poisoned());
        }
        if manifest.is_closed {
            return Err(closed());
        }
        if !manifest.log.is_whole() {
            self.renew_manifest(manifest)?;
        }
        edit.counter = manifest.state.counter + 1;
        edit.session = manifest.state.session;
        edit.next_number = Some(self.next_number.load(Ordering::Relaxed));
        let next = manifest.state.apply(&edit)?;
        let appended = manifest.log.append(&edit);
        if manifest.log.is_failed() {
            self.poison();
        }
        appended?;
        manifest.state = next;
        *self.annex.write() = Arc::clone(&manifest.state.annex);
        {
            let mut current = self.super_version.write();
            let mut next = SuperVersion::clone(&current);
            next.version = Arc::clone(&manifest.state.version);
            change(&mut next);
            *current = Arc::new(next);
        }
        self.work.progress();
        if manifest.log.is_long(self.options.manifest_len) {
            // The edit is committed. Where this fails for want of space the old manifest goes on,
            // still long; any other error has poisoned the store, which the next call tells.
            let _ = self.renew_manifest(manifest);
        }
        Ok(())
    }

    /// Begins a new manifest with a whole picture of the state. Without space the old one stays.
    fn renew_manifest(&self, manifest: &mut LiveManifest) -> Result<()> {
        let old = manifest.log.id();
        let number = self.allocate_number();
        manifest.state.next_number = self.next_number.load(Ordering::Relaxed);
        match Manifest::create(&self.place, number, &manifest.state) {
            Ok(log) => manifest.log = log,
            Err(error) => {
                if error.kind() == ErrorKind::NoSpace {
                    // `CURRENT` does not name it: the rest of it would only fill the medium more.
                    self.remove_file(FileId::new(FileKind::Manifest, number));
                    self.remove_file(FileId::new(FileKind::Temp, number));
                } else {
                    self.poison();
                }
                return Err(error);
            }
        }
        self.remove_file(old);
        Ok(())
    }

    /// Removes a file that the manifest does not name. What cannot be removed now is removed when
    /// the store is opened next.
    fn remove_file(&self, id: FileId) {
        let _ = self.env.fs.remove(id);
    }

    fn before_flush(&self) -> Result<()> {
        match &self.hook {
            Some(hook) => self.poison_on(hook.before_flush()),
            None => Ok(()),
        }
    }
}

#[cold]
fn poisoned() -> Error {
    let message =
        "an earlier write or sync failed; writes are refused until the store is opened again";
    Error::poisoned(message)
}

#[cold]
fn closed() -> Error {
    Error::canceled("the store is closed")
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Db of store {}", self.place.store_id)
    }
}

#[cfg(test)]
mod tests;

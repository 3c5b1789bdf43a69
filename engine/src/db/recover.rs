//! Opening a store: what the manifest says, what the logs add, and a new beginning.
//!
//! - `CURRENT` leads to the manifest, the manifest to tables and logs. What it names must be there,
//!   with the length it had; what it does not name is removed, blob files excepted.
//! - Logs are replayed in order. The last one may be torn, or end before a pointer that leads
//!   nowhere; history ends there. Anything else that is missing is an error.
//! - What was replayed waits in memory for its flush, and its logs with it: the first sync flushes it
//!   before the manifest names a log of this run. What is longer than a memtable becomes tables at once.
//! - A new manifest, under a new session, begins with a whole picture. Nothing is ever appended to a
//!   file of an earlier run.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::block::{Block, BlockKind};
use crate::cache::Cache;
use crate::compaction::Claims;
use crate::compress::ScratchPool;
use crate::crypto::KeySource;
use crate::db::backpressure::Backpressure;
use crate::db::flush::Flush;
use crate::db::limiter::RateLimiter;
use crate::db::maintain::{Turns, WorkSignal};
use crate::db::replay::Replay;
use crate::db::state::{SnapshotList, SuperVersion};
use crate::db::sync::Syncing;
use crate::db::write::Writer;
use crate::db::{Db, LiveManifest};
use crate::env::{Env, OpenMode};
use crate::error::{Error, Result};
use crate::file::open_file;
use crate::hook::IndirectHook;
use crate::log::{LogEnd, LogReader};
use crate::manifest::{CURRENT, Manifest, Place, State, read_manifest};
use crate::memtable::Memtable;
use crate::options::{KvProtection, Options};
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use crate::sync::{Condvar, Mutex, RwLock};
use crate::table::{Lender, TableOpener};
use crate::types::{FileId, FileKind, StoreId};

/// Files with larger numbers are none of ours: nobody counts that far.
const NUMBER_MAX: u64 = 1 << 62;

impl Db {
    /// Is there a store?
    ///
    /// # Errors
    /// Those of the medium.
    pub fn exists(env: &Env) -> Result<bool> {
        Ok(env.fs.list()?.contains(&CURRENT))
    }

    /// Opens the store; creates an empty one where there is none.
    ///
    /// # Errors
    /// `Locked` where another holds it, `Corruption` naming the file that is damaged or missing,
    /// `Authentication` where a file is not the one that belongs there, `KeyMissing`,
    /// `Unsupported`, and those of the medium.
    pub fn open(
        env: Env,
        keys: Arc<dyn KeySource>,
        store_id: StoreId,
        options: Options,
        hook: Option<Arc<dyn IndirectHook>>,
    ) -> Result<Self> {
        let lock = env.fs.lock()?;
        let place = Place {
            env: env.clone(),
            keys,
            store_id,
            transform: options.transform,
        };
        let files = env.fs.list()?;
        let mut state = read_state(&place, &files)?;
        let next_number = AtomicU64::new(state.next_number.max(number_after(&files)));
        let cache = Arc::new(Cache::<Block>::new(options.cache_len));
        let opener = Arc::new(opener(&place, &cache, options.row_cache_len));
        let replay = Replay {
            place: &place,
            flush: awaited_flush(&opener, &options, hook.as_deref()),
            next_number: &next_number,
        };
        let recovered = replay.run(&mut state)?;
        let log = begin_manifest(&place, &mut state, &next_number)?;
        remove_orphans(&env, &state, log.id(), &files)?;
        let memtable = Arc::new(Memtable::new(options.kv_protection == KvProtection::On));
        let flushed_seqno = state.last_seqno;
        let last_seqno = recovered
            .as_ref()
            .map_or(flushed_seqno, |immutable| immutable.last_seqno);
        let super_version = SuperVersion {
            memtable: Arc::clone(&memtable),
            immutables: recovered.into_iter().map(Arc::new).collect(),
            version: Arc::clone(&state.version),
        };
        let limiter = RateLimiter::new(Arc::clone(&env.clock), options.compaction_bytes_per_s_max);
        Ok(Self {
            env,
            hook,
            place,
            opener,
            cache,
            writer: Mutex::new(Writer::new(memtable, last_seqno)),
            visible: AtomicU64::new(last_seqno),
            super_version: RwLock::new(Arc::new(super_version)),
            snapshots: Arc::new(SnapshotList::default()),
            annex: RwLock::new(Arc::clone(&state.annex)),
            manifest: Mutex::new(LiveManifest {
                log,
                state,
                is_closed: false,
            }),
            next_number: Arc::new(next_number),
            recovered_seqno: last_seqno,
            syncing: Mutex::new(Syncing::at(flushed_seqno)),
            synced: Condvar::new(),
            work: WorkSignal::default(),
            backpressure: Backpressure::default(),
            flushing: Turns::default(),
            ingesting: Turns::default(),
            compacting: Mutex::new(Claims::default()),
            extra_workers: Arc::new(AtomicUsize::new(0)),
            limiter: Arc::new(limiter),
            uncompactable: AtomicBool::new(false),
            obsolete: Mutex::new(Vec::new()),
            poisoned: Arc::new(AtomicBool::new(false)),
            closed: AtomicBool::new(false),
            lock: Mutex::new(Some(lock)),
            options: Arc::new(options),
        })
    }
}

fn awaited_flush<'a>(
    opener: &'a TableOpener,
    options: &'a Options,
    hook: Option<&'a dyn IndirectHook>,
) -> Flush<'a> {
    Flush {
        opener,
        options,
        hook,
        obsolete: Vec::new(),
        sync: &|file| file.sync(),
        is_awaited: true,
    }
}

pub(crate) fn opener(
    place: &Place,
    cache: &Arc<Cache<Block>>,
    row_cache_len: usize,
) -> TableOpener {
    TableOpener {
        env: place.env.clone(),
        keys: Arc::clone(&place.keys),
        store_id: place.store_id,
        transform: place.transform,
        cache: Arc::clone(cache),
        rows: Arc::new(Cache::with_door(row_cache_len)),
        scratches: Arc::new(ScratchPool::new()),
        lender: Arc::new(Lender::new(&place.env.spawner)),
    }
}

/// A number that is larger than those of all files.
pub(crate) fn number_after(files: &[FileId]) -> u64 {
    let numbers = files.iter().map(|id| id.number);
    let largest = numbers.filter(|number| *number < NUMBER_MAX).max();
    largest.map_or(1, |number| number + 1)
}

/// What the store says of itself before its logs are read.
fn read_state(place: &Place, files: &[FileId]) -> Result<State> {
    if !files.contains(&CURRENT) {
        check_fresh(files)?;
        return Ok(State::empty());
    }
    let (state, last_wal) = read_manifest(place)?;
    check_live(&place.env, &state, files)?;
    check_unnamed(place, files, last_wal)?;
    Ok(state)
}

/// A log that the manifest does not name yet holds nothing durable. If one says that it does, the
/// end of the manifest is gone.
fn check_unnamed(place: &Place, files: &[FileId], last_wal: u64) -> Result<()> {
    let later = files
        .iter()
        .filter(|id| id.kind == FileKind::Wal && id.number > last_wal);
    for &id in later {
        if durable_count(place, id).is_ok_and(|count| count > 0) {
            let message =
                "the end of the manifest is missing: a log that it must name is not named";
            let error = Error::corruption(message).part("manifest record");
            return Err(error.because(alloc::format!("{id} has durable records")));
        }
    }
    Ok(())
}

/// Records of a log that later records vouch for.
fn durable_count(place: &Place, id: FileId) -> Result<u32> {
    let Place {
        env,
        keys,
        store_id,
        ..
    } = place;
    let (file, context) = open_file(env, &**keys, id, *store_id, OpenMode::Read)?;
    let mut log = LogReader::new(file, context, BlockKind::WalRecord, LogEnd::Open)?;
    while log.next()?.is_some() {}
    Ok(log.durable_count())
}

/// Without `CURRENT` there must be nothing that a store leaves behind: a new store writes its
/// manifest, then `CURRENT`, and only then anything else.
fn check_fresh(files: &[FileId]) -> Result<()> {
    let leftover = files
        .iter()
        .find(|id| matches!(id.kind, FileKind::Wal | FileKind::Table | FileKind::Blob));
    match leftover {
        Some(id) => {
            let message = "the store has files but no CURRENT; restore it from a backup";
            Err(Error::corruption(message)
                .in_file(CURRENT)
                .because(alloc::format!("found {id}")))
        }
        None => Ok(()),
    }
}

/// Every file that the manifest names must be there, and tables must have their length.
fn check_live(env: &Env, state: &State, files: &[FileId]) -> Result<()> {
    let files: BTreeSet<_> = files.iter().collect();
    let missing = |id: FileId| Error::corruption("a file of the store is missing").in_file(id);
    for (_, table) in state.version.tables() {
        let id = table.meta().file();
        if !files.contains(&id) {
            return Err(missing(id));
        }
        let len = env.fs.open(id, OpenMode::Read)?.len()?;
        if len != table.meta().root.len {
            let message = "a table does not have the length that the manifest knows";
            return Err(Error::corruption(message).in_file(id).at(len));
        }
    }
    for &number in state.wals.keys() {
        let id = FileId::new(FileKind::Wal, number);
        if !files.contains(&id) {
            return Err(missing(id));
        }
    }
    Ok(())
}

/// Writes the whole picture as a new manifest under a new session.
fn begin_manifest(place: &Place, state: &mut State, next_number: &AtomicU64) -> Result<Manifest> {
    let number = next_number.fetch_add(1, crate::sync::atomic::Ordering::Relaxed);
    place.env.entropy.fill(&mut state.session)?;
    state.counter += 1;
    state.next_number = number + 1;
    Manifest::create(place, number, state)
}

/// Removes what the manifest does not name. Blob files and keys belong to the layer above.
fn remove_orphans(env: &Env, state: &State, manifest: FileId, files: &[FileId]) -> Result<()> {
    let tables: BTreeSet<_> = state
        .version
        .tables()
        .map(|(_, table)| table.meta().file())
        .collect();
    for &id in files {
        let is_orphan = match id.kind {
            FileKind::Table => !tables.contains(&id),
            FileKind::Manifest => id != manifest,
            FileKind::Wal => !state.wals.contains_key(&id.number),
            FileKind::Temp => true,
            FileKind::Keyring
            | FileKind::Current
            | FileKind::Lock
            | FileKind::Blob
            | FileKind::Aside => false,
        };
        if is_orphan {
            env.fs.remove(id)?;
        }
    }
    Ok(())
}

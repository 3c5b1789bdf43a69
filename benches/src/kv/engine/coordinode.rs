//! coordinode-lsm-tree: a tree without a log; flushes and compactions are the caller's to run.
//!
//! - A worker thread does here what Coffer's own worker does there: flush what is full, compact by
//!   levels; writers wait while two full memtables do, or level 0 is long.
//! - It does not encrypt blob files, so under encryption values stay in its tables.
//! - Without a log a sync can only be a flush.

use core::sync::atomic::{AtomicBool, Ordering};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use lsm_tree::compaction::Leveled;
use lsm_tree::config::CompressionPolicy;
use lsm_tree::runtime_config::EccScheme;
use lsm_tree::{AbstractTree, Aes256GcmProvider, AnyTree, Cache, CompressionType, Config, Guard};
use lsm_tree::{KvSeparationOptions, SequenceNumberCounter};

use crate::failure::{Context, Failure, Outcome};
use crate::kv::engine::{CACHE_LEN, Engine, INLINE_LEN_MAX, Look, LookEntry, MEMTABLE_LEN};
use crate::kv::engine::{Packing, ROOT_KEY, Seen};

/// Tables at level 0 at which writers are stopped: what Coffer has.
const LEVEL0_STALL: usize = 24;
/// Full memtables that may wait: what Coffer has.
const SEALED_MAX: usize = 2;
const TABLE_LEN: u64 = 64 << 20;
const NAP: Duration = Duration::from_millis(200);

struct Shared {
    tree: AnyTree,
    seqno: SequenceNumberCounter,
    stopping: AtomicBool,
    work: Mutex<bool>,
    wake: Condvar,
}

struct Coordinode {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

pub(super) fn describe(sealed: bool, packing: Packing) -> (String, String) {
    let codec = match packing {
        Packing::Own => "zstd 1",
        Packing::None => "uncompressed",
    };
    let shape = if sealed {
        "AES-256-GCM, parity xor 16, values in tables (its blob files are not encrypted)"
    } else {
        "values apart in blob files"
    };
    (
        format!("7.4.0: {codec}, {shape}, one worker thread"),
        "NO LOG: a commit is in memory alone; sync: flush of the memtable, fsync".into(),
    )
}

fn config(sealed: bool, dir: &Path, seqno: &SequenceNumberCounter, packing: Packing) -> Config {
    let codec = match packing {
        Packing::Own => CompressionType::Zstd(1),
        Packing::None => CompressionType::None,
    };
    let config = Config::new(dir, seqno.clone(), SequenceNumberCounter::default())
        .use_cache(Arc::new(Cache::with_capacity_bytes(CACHE_LEN as u64)))
        .data_block_compression_policy(CompressionPolicy::all(codec));
    if sealed {
        let scheme = EccScheme::Xor { data_shards: 16 };
        return config
            .with_encryption(Some(Arc::new(Aes256GcmProvider::new(&ROOT_KEY))))
            .page_ecc(true)
            .ecc_scheme(scheme);
    }
    let apart = KvSeparationOptions::default().separation_threshold(INLINE_LEN_MAX as u32 + 1);
    config
        .with_kv_separation(Some(apart))
        .blob_compression(codec)
}

pub(super) fn open(sealed: bool, dir: &Path, packing: Packing) -> Outcome<Box<dyn Engine>> {
    let seqno = SequenceNumberCounter::default();
    let tree = config(sealed, dir, &seqno, packing)
        .open()
        .context("coordinode")?;
    if let Some(highest) = tree.get_highest_seqno() {
        seqno.fetch_max(highest + 1);
    }
    let shared = Arc::new(Shared {
        tree,
        seqno,
        stopping: AtomicBool::new(false),
        work: Mutex::new(false),
        wake: Condvar::new(),
    });
    let worker = spawn({
        let shared = Arc::clone(&shared);
        move || shared.maintain()
    });
    Ok(Box::new(Coordinode {
        shared,
        worker: Some(worker),
    }))
}

impl Shared {
    /// Until stopped: flushes what is full, then compacts by levels as long as there is something.
    fn maintain(&self) {
        let leveled = Arc::new(Leveled::default());
        while !self.stopping.load(Ordering::Acquire) {
            // A failure shows when the test thread flushes or compacts itself.
            let flushed = {
                let lock = self.tree.get_flush_lock();
                self.tree.flush(&lock, self.seqno.get())
            };
            let compacted = self.tree.compact(leveled.clone(), self.seqno.get());
            let did = matches!(flushed, Ok(Some(_)))
                || compacted.is_ok_and(|result| result.tables_in > 0);
            if !did
                && let Ok(work) = self.work.lock()
                && !*work
            {
                let _ = self.wake.wait_timeout(work, NAP);
            }
            if let Ok(mut work) = self.work.lock() {
                *work = false;
            }
        }
    }

    fn wake(&self) {
        if let Ok(mut work) = self.work.lock() {
            *work = true;
            self.wake.notify_all();
        }
    }

    fn flush(&self) -> Outcome<()> {
        self.tree
            .flush_active_memtable(self.seqno.get())
            .context("flush")
    }
}

impl Engine for Coordinode {
    fn put(&self, key: &[u8], value: &[u8], sync: bool) -> Outcome<()> {
        let shared = &*self.shared;
        let (_, memtable_len) = shared.tree.insert(key, value, shared.seqno.next());
        if sync {
            return shared.flush();
        }
        if memtable_len > MEMTABLE_LEN as u64 {
            while shared.tree.sealed_memtable_count() >= SEALED_MAX
                || shared.tree.level_table_count(0).unwrap_or(0) >= LEVEL0_STALL
            {
                shared.wake();
                sleep(Duration::from_millis(1));
            }
            shared.tree.rotate_memtable();
            shared.wake();
        }
        Ok(())
    }

    fn get(&self, key: &[u8], look: &mut Look<'_>) -> Outcome<bool> {
        match self
            .shared
            .tree
            .get(key, lsm_tree::SeqNo::MAX)
            .context("get")?
        {
            Some(value) => look(&[&*value]).map(|()| true),
            None => Ok(false),
        }
    }

    fn scan(&self, with_values: bool, look: &mut LookEntry<'_>) -> Outcome<()> {
        for guard in self.shared.tree.iter(lsm_tree::SeqNo::MAX, None) {
            if with_values {
                let (key, value) = guard.into_inner().context("scan")?;
                look(&key, Seen::Value(&[&*value]))?;
            } else {
                look(&guard.key().context("scan")?, Seen::Key)?;
            }
        }
        Ok(())
    }

    fn compact(&self) -> Outcome<()> {
        self.shared.flush()?;
        let watermark = self.shared.seqno.get();
        self.shared
            .tree
            .major_compact(TABLE_LEN, watermark)
            .map(drop)
            .context("compact")
    }

    fn close(mut self: Box<Self>) -> Outcome<()> {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.wake();
        if let Some(worker) = self.worker.take() {
            worker
                .join()
                .map_err(|_| Failure::new("the worker panicked"))?;
        }
        self.shared.flush()
    }
}

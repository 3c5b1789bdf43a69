//! The blob tree: an ordered map from keys to values of any length, sealed, durable, snapshotted.
//!
//! - Small values lie in the engine's tables; large ones in blob files, past log and memtable, and
//!   the table holds a pointer.
//! - Nothing is acknowledged before what it points to: blob files are synced before the log.
//! - A store is opened by one process at a time, and only if its keyring is at least as new as the
//!   one it was last opened with.
//! - Nothing is lost by dropping an open tree but what was never synced.

mod ahead;
mod batch;
mod behind;
mod census;
mod collect;
mod copies;
mod read;
mod scan;
mod shared;
mod stream;
mod verify;
mod worker;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use coffer_engine::cache::BlockCache;
use coffer_engine::crypto::{KeySource, NoKeys};
use coffer_engine::env::{Env, Space, Task, mem};
use coffer_engine::sync::{Mutex, RwLock, RwLockReadGuard};
use coffer_engine::{AnnexUpdates, Cipher, Db, Error, FileKind, Progress, Result, StoreId, Work};

use crate::blobfile::{BlobFiles, Catalog};
use crate::credentials::Credential;
use crate::garbage::{Ledger, keyring_update};
use crate::hook::Hook;
use crate::keyring::{KdfCost, Keyring};
use crate::options::{OpenOptions, StoreOptions};
use crate::pins::Pins;

pub use batch::{BlobBatch, Staged};
pub use collect::Garbage;
pub use read::Window;
pub use scan::{Scan, ValueRef, ValueView};
pub use shared::SharedValue;
pub use verify::VerifyReport;

/// An open store.
pub struct BlobTree {
    core: Arc<Core>,
    worker: Mutex<Option<Box<dyn Task>>>,
}

/// The store as it is at one moment.
pub struct TreeSnapshot {
    at: coffer_engine::Snapshot,
    core: Arc<Core>,
    _pin: crate::pins::Pin,
}

/// The gate, held by a writer.
type Gate<'a> = RwLockReadGuard<'a, BTreeSet<u64>>;

/// What tree, snapshots and worker share.
struct Core {
    env: Env,
    store_id: StoreId,
    db: Arc<Db>,
    files: Arc<BlobFiles>,
    behind: Arc<behind::Behind>,
    frame_cache: Option<Arc<BlockCache>>,
    hook: Arc<Hook>,
    pins: Arc<Pins>,
    /// Files that are being emptied. Held shared by writers, alone by whoever replaces pointers by others
    /// to the same bytes.
    gate: RwLock<BTreeSet<u64>>,
    collector: Mutex<collect::Collector>,
    stopping: AtomicBool,
    closed: AtomicBool,
}

impl Catalog for Db {
    fn allocate_number(&self) -> Result<u64> {
        Ok(Self::allocate_number(self))
    }

    fn commit(&self, updates: AnnexUpdates) -> Result<()> {
        self.write_annex(updates)
    }
}

impl BlobTree {
    /// Does the directory hold a store, or parts of one?
    ///
    /// # Errors
    /// Those of the medium.
    pub fn exists(env: &Env) -> Result<bool> {
        let is_ours = |id: &coffer_engine::FileId| {
            !matches!(id.kind, FileKind::Lock | FileKind::Temp | FileKind::Aside)
        };
        Ok(env.fs.list()?.iter().any(is_ours))
    }

    /// Makes a new store in an empty directory and opens it.
    ///
    /// The key derivation takes about a second when Argon2 is compiled with optimisation, and tens of
    /// seconds when it is not. For debug builds put into the `Cargo.toml` of the workspace:
    ///
    /// ```toml
    /// [profile.dev.package."*"]
    /// opt-level = 3
    /// ```
    ///
    /// Tests may choose [`KdfCost::FLOOR`] instead.
    ///
    /// # Errors
    /// `Invalid` where a store is there already, or an option or the credential is unfit; `Locked`;
    /// those of the medium.
    pub fn create(env: Env, credential: &Credential, options: StoreOptions) -> Result<Self> {
        Self::create_with(env, credential, options, &OpenOptions::default())
    }

    /// As [`BlobTree::create`], with other choices for this opening.
    ///
    /// # Errors
    /// As [`BlobTree::create`].
    pub fn create_with(
        env: Env,
        credential: &Credential,
        options: StoreOptions,
        opening: &OpenOptions,
    ) -> Result<Self> {
        options.validate()?;
        let lock = env.fs.lock()?;
        if Self::exists(&env)? {
            return Err(Error::invalid(
                "the directory holds a store already, or the rest of one whose creation was interrupted",
            ));
        }
        let mut store_id = StoreId::default();
        env.entropy.fill(&mut store_id.0)?;
        let settings = options.encode();
        let mut keyring = Keyring::create(&env, store_id, credential, options.kdf, &settings)?;
        drop(lock);
        Self::start(env, &mut keyring, options, opening)
    }

    /// Opens a store.
    ///
    /// Takes as long as the key derivation of its slots, and much longer without optimisation:
    /// [`BlobTree::create`] says what helps.
    ///
    /// # Errors
    /// `Authentication` for a wrong credential or bytes that are not those of this store,
    /// `Corruption` naming the damaged or missing file, `Locked`, `KeyMissing`, `Unsupported`; those
    /// of the medium.
    pub fn open(env: Env, credential: &Credential, opening: &OpenOptions) -> Result<Self> {
        if !Self::exists(&env)? {
            return Err(Error::invalid("there is no store in this directory"));
        }
        let mut keyring = Keyring::open(&env, credential)?;
        Self::open_with_keyring(env, &mut keyring, opening)
    }

    /// As [`BlobTree::open`], with a keyring that is open already. From then on the store refuses
    /// older ones: this is how it learns of a change at once.
    ///
    /// # Errors
    /// As [`BlobTree::open`]; `Invalid` where the keyring on the medium was changed since.
    pub fn open_with_keyring(
        env: Env,
        keyring: &mut Keyring,
        opening: &OpenOptions,
    ) -> Result<Self> {
        if !Db::exists(&env)? {
            let current = coffer_engine::FileId::new(FileKind::Current, 0);
            let message = "the file that names the manifest is missing: it was deleted, or the creation \
                           of this store was interrupted";
            return Err(Error::corruption(message).in_file(current));
        }
        let options = StoreOptions::decode(keyring.settings())?;
        Self::start(env, keyring, options, opening)
    }

    /// A tree in memory, for tests of the layers above: everything sealed, cheap key derivation.
    ///
    /// # Errors
    /// None in practice.
    pub fn in_memory() -> Result<Self> {
        let options = StoreOptions {
            kdf: KdfCost::FLOOR,
            ..StoreOptions::default()
        };
        Self::create(mem::env(), &Credential::passphrase(b"in memory"), options)
    }

    fn start(
        env: Env,
        keyring: &mut Keyring,
        options: StoreOptions,
        opening: &OpenOptions,
    ) -> Result<Self> {
        let keys: Arc<dyn KeySource> = match options.transform.cipher {
            Cipher::None => Arc::new(NoKeys),
            Cipher::Aes256Gcm => Arc::new(keyring.keys()),
        };
        let engine = opening.engine(&options);
        let store_id = keyring.store_id();
        let files = Arc::new(BlobFiles::new(
            env.clone(),
            Arc::clone(&keys),
            store_id,
            options,
            opening.blob_reader_count_max,
        ));
        let hook = Arc::new(Hook::new(&env, Arc::clone(&files))?);
        let db = Db::open(env.clone(), keys, store_id, engine, Some(hook.clone()))?;
        // The lock of the store is held from here on.
        keyring.refuse_if_changed(&env)?;
        let ledger = Ledger::read(&db.annex())?;
        if keyring.generation() < ledger.keyring_generation {
            return Err(Error::authentication(
                "the keyring is older than the one this store was last opened with: it was put back",
            )
            .part("keyring"));
        }
        let db = Arc::new(db);
        let catalog: Arc<dyn Catalog> = db.clone();
        let catalog: Weak<dyn Catalog> = Arc::downgrade(&catalog);
        files.attach(catalog, &ledger)?;
        if keyring.generation() > ledger.keyring_generation {
            db.write_annex(vec![keyring_update(keyring.generation())])?;
        }
        keyring.heal(&env)?;
        let now = env.clock.monotonic();
        let may_queue = opening.background && !files.options().sync_writes;
        let core = Arc::new(Core {
            behind: behind::Behind::new(&files, may_queue.then_some(&env.spawner)),
            env,
            store_id,
            frame_cache: opening.cache_frames.then(|| Arc::clone(db.block_cache())),
            db,
            files,
            hook,
            pins: Arc::default(),
            gate: RwLock::default(),
            collector: Mutex::new(collect::Collector::new(opening.garbage_percent_min, now)),
            stopping: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let worker = if opening.background {
            worker::spawn(&core)
        } else {
            None
        };
        Ok(Self {
            core,
            worker: Mutex::new(worker),
        })
    }

    /// The name of the store.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.core.store_id
    }

    /// The environment that it was opened with.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.core.env
    }

    /// The options that the store was made with.
    #[must_use]
    pub fn store_options(&self) -> &StoreOptions {
        self.core.files.options()
    }

    /// Everything written before this call is durable when it returns.
    ///
    /// # Errors
    /// `Poisoned`; those of the medium, which poison the store.
    pub fn sync(&self) -> Result<()> {
        self.core.settle_told()?;
        self.core.db.sync()
    }

    /// The store as it is now. Reads at the snapshot see nothing that is written later.
    #[must_use]
    pub fn snapshot(&self) -> TreeSnapshot {
        self.core.settle();
        let pin = self.core.pins.take();
        TreeSnapshot {
            at: self.core.db.snapshot(),
            core: Arc::clone(&self.core),
            _pin: pin,
        }
    }

    /// Does one unit of flush, compaction or garbage collection.
    ///
    /// # Errors
    /// Those of the medium, `Poisoned`.
    pub fn maintain(&self) -> Result<Work> {
        self.core.maintain()
    }

    /// Compacts everything, to the end.
    ///
    /// # Errors
    /// Those of the medium, `Poisoned`.
    pub fn compact(&self, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        self.core.settle_told()?;
        self.core.db.compact_all(progress)?;
        self.collect_garbage()?;
        Ok(())
    }

    /// Space on the medium.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn space(&self) -> Result<Space> {
        self.core.env.fs.space()
    }

    /// Did an earlier sync fail? Reads go on, writes are refused until the store is opened again.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.core.db.is_poisoned() || self.core.files.is_poisoned()
    }

    /// Numbers of the engine.
    #[must_use]
    pub fn stats(&self) -> coffer_engine::Stats {
        self.core.db.stats()
    }

    /// Ends the worker, makes everything durable, finishes the active blob file and gives the store
    /// back. A second call does nothing.
    ///
    /// # Errors
    /// Those of the medium, `Poisoned`; the store is given back even then.
    pub fn close(&self) -> Result<()> {
        if self.core.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let settled = self.core.settle_for_good();
        self.stop_worker();
        let finished = self
            .core
            .db
            .flush()
            .and_then(|()| self.core.files.finish_all());
        let closed = self.core.db.close();
        settled.and(finished).and(closed)
    }

    fn stop_worker(&self) {
        self.core.stopping.store(true, Ordering::Release);
        if let Some(worker) = self.worker.lock().take() {
            self.core.db.wake();
            worker.join();
        }
    }
}

impl Drop for BlobTree {
    fn drop(&mut self) {
        self.core.behind.stop();
        self.stop_worker();
    }
}

/// How long the worker sleeps when nobody wakes it.
const NAP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

//! Inodes and their content between memory and the tree, without names.
//!
//! - The record of an inode and the chunks it describes go to the tree in one batch, under the
//!   lock of the inode. No record is put while content that it counts is only in memory.
//! - No lock is held during a sync of the tree.
//! - What could not be written out stays in memory, is told, and is tried again.

mod base;
mod commit;
mod flow;
mod holes;
mod read;
mod reap;
mod reclaim;
mod refer;
mod seal;
mod trim;
mod write;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;

use coffer_blobstore::env::Clock;
use coffer_blobstore::{BlobTree, Error};

use crate::attr::{Ino, Time};
use crate::cache::ChunkCache;
use crate::errno::{Errno, FsError, FsResult};
use crate::inode::{Inode, State};
use crate::key;
use crate::ledger::Ledger;
use crate::options::MountOptions;
use crate::pool::Pool;
use crate::record::InodeRecord;
use crate::spares::Spares;
use crate::sync::Mutex;
use crate::table::Table;

pub(crate) use read::Access;
pub(crate) use refer::{Place, REFER_COUNT_MAX};

/// Inodes and their content.
pub(crate) struct Volume {
    pub(crate) tree: Arc<BlobTree>,
    pub(crate) options: MountOptions,
    pub(crate) pool: Pool,
    cache: ChunkCache,
    spares: Arc<Spares>,
    ledger: Ledger,
    pub(crate) table: Table,
    clock: Arc<dyn Clock>,
    /// Inodes with something unwritten.
    queue: Mutex<flow::Queue>,
    /// Inodes without names and users.
    orphans: Mutex<VecDeque<Ino>>,
    next_epoch: AtomicU64,
    flushing: AtomicBool,
    reaping: Mutex<()>,
    prefetch_count: AtomicUsize,
    closed: AtomicBool,
    /// A write-out has failed since the mount.
    has_failed: AtomicBool,
    /// A write has found no space.
    wants_space: AtomicBool,
    /// When the last compaction for want of space began or ended.
    reclaimed_at: Mutex<Duration>,
}

impl Volume {
    /// A volume over a tree.
    pub(crate) fn new(tree: Arc<BlobTree>, options: MountOptions) -> Self {
        let env = tree.env();
        let spares = Arc::new(Spares::default());
        Self {
            pool: Pool::new(&*env.spawner, options.worker_count),
            clock: Arc::clone(&env.clock),
            cache: ChunkCache::new(options.chunk_cache_len, Arc::clone(&spares)),
            spares,
            ledger: Ledger::default(),
            table: Table::new(options.inode_cache_count),
            queue: Mutex::default(),
            orphans: Mutex::default(),
            next_epoch: AtomicU64::new(1),
            flushing: AtomicBool::new(false),
            reaping: Mutex::default(),
            prefetch_count: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            wants_space: AtomicBool::new(false),
            reclaimed_at: Mutex::default(),
            options,
            tree,
        }
    }

    /// The time for times of inodes.
    pub(crate) fn now(&self) -> Time {
        Time::from(self.clock.now())
    }

    /// Refuses changes where they cannot be kept.
    pub(crate) fn must_be_writable(&self) -> FsResult<()> {
        if self.options.read_only {
            return Err(Errno::EROFS.into());
        }
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::canceled("the file system is closed").into());
        }
        if self.tree.is_poisoned() {
            let error = Error::poisoned("an earlier sync failed; unmount and mount again");
            return Err(error.into());
        }
        Ok(())
    }

    /// The inode with this number; `ESTALE` where there is none.
    pub(crate) fn inode(&self, ino: Ino) -> FsResult<Arc<Inode>> {
        loop {
            let inode = self.table.find_or_insert(ino);
            if inode.is_ready() || self.load(&inode)? {
                return Ok(inode);
            }
        }
    }

    /// Fills an inode from the tree; `false` where another one has taken its place in the table.
    pub(crate) fn load(&self, inode: &Arc<Inode>) -> FsResult<bool> {
        let mut state = inode.lock();
        if inode.is_ready() {
            return Ok(true);
        }
        if state.reaped {
            return Ok(false);
        }
        let found = match self.tree.get(&key::inode(inode.ino)) {
            Ok(Some(bytes)) => InodeRecord::decode(&bytes).map_err(FsError::from),
            Ok(None) => Err(Errno::ESTALE.into()),
            Err(error) => Err(error.into()),
        };
        match found {
            Ok(record) => {
                *state = State::new(record, true, self.new_epoch());
                inode.set_ready();
                Ok(true)
            }
            Err(error) => {
                // Not kept: the next who asks looks again, and so does whoever waits for this one.
                state.reaped = true;
                self.table.remove(inode);
                Err(error)
            }
        }
    }

    /// The inode, if it is in memory.
    pub(crate) fn in_memory(&self, ino: Ino) -> Option<Arc<Inode>> {
        self.table.find(ino).filter(|inode| inode.is_ready())
    }

    /// Has a write-out failed since the mount?
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// Notes that what is unwritten of an inode could not be written out.
    fn note_failure(&self, state: &mut State, error: FsError) {
        self.has_failed.store(true, Ordering::Relaxed);
        state.failed = Some(error);
    }

    /// Drops a new inode that did not get into the tree.
    pub(crate) fn abandon(&self, inode: &Arc<Inode>) {
        self.forget(inode, &mut inode.lock());
    }

    /// A new inode, just before it is in the tree under a name: there must be one per number, and
    /// who finds the name first would load another.
    pub(crate) fn adopt(&self, ino: Ino, record: InodeRecord) -> Arc<Inode> {
        let state = State::new(record, true, self.new_epoch());
        let inode = Arc::new(Inode::new(ino, state));
        self.table.insert(Arc::clone(&inode));
        inode
    }

    /// Refuses all changes from now on.
    pub(crate) fn set_closed(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Memory of what is not in the tree yet.
    pub(crate) fn unwritten_len(&self) -> u64 {
        self.ledger.held_len() as u64
    }

    /// Drops an inode of which the tree has nothing any more.
    pub(crate) fn forget(&self, inode: &Arc<Inode>, state: &mut State) {
        self.discard(state);
        state.reaped = true;
        self.table.remove(inode);
    }

    fn new_epoch(&self) -> u64 {
        self.next_epoch.fetch_add(1, Ordering::Relaxed)
    }
}

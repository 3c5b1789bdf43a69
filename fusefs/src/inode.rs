//! An inode in memory: its record, its unwritten content, and the locks around both.
//!
//! - `record` is what programs see. It differs from the tree's record only while `changed`.
//! - `content.base_len` <= `content.stored_len`: bytes from `base_len` on were cut off since the
//!   tree was written; `base_len` <= `record.size`.
//! - `record.hole_count` counts the chunks below `record.size` that are neither unwritten nor,
//!   below `base_len`, in the tree.
//! - Lock order: names of directories (ancestors first) before states (ascending inode number)
//!   before anything of the volume.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use coffer_blobstore::Staged;

use crate::attr::{Attr, Ino, Kind, Time};
use crate::buffer::Buffer;
use crate::errno::{Errno, FsError, FsResult};
use crate::extent::chunk_count;
use crate::record::InodeRecord;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// An inode in memory.
pub(crate) struct Inode {
    /// Its number.
    pub(crate) ino: Ino,
    /// Held while names of this directory change.
    pub(crate) names: Mutex<()>,
    /// Notified when a seal ends.
    pub(crate) sealed: Condvar,
    state: Mutex<State>,
    /// Open handles that may write.
    pub(crate) writer_count: AtomicU32,
    ready: AtomicBool,
    used: AtomicBool,
}

/// What the state lock of an inode guards.
pub(crate) struct State {
    /// What programs see.
    pub(crate) record: InodeRecord,
    /// The tree has a record of this inode.
    pub(crate) stored: bool,
    /// The tree has the mark of an orphan.
    pub(crate) orphan: bool,
    /// The record is newer than the tree's.
    pub(crate) changed: bool,
    /// In the queue of the unwritten.
    pub(crate) queued: bool,
    /// Handed to the reaper.
    pub(crate) reaped: bool,
    /// Open handles.
    pub(crate) open_count: u32,
    /// The last write-out failed, and no later one has succeeded.
    pub(crate) failed: Option<FsError>,
    /// Content of regular files.
    pub(crate) content: Content,
}

/// Content of a regular file that is not in the tree, and where the tree's content ends.
#[derive(Default)]
pub(crate) struct Content {
    /// Unwritten chunks.
    pub(crate) chunks: BTreeMap<u64, Unwritten>,
    /// The tree has chunks below this length only.
    pub(crate) stored_len: u64,
    /// The tree's bytes count below this length only.
    pub(crate) base_len: u64,
    /// Seals under way.
    pub(crate) sealing_count: usize,
    /// Unwritten chunks that are sealed.
    pub(crate) sealed_count: usize,
    /// Number of the next seal.
    pub(crate) next_seal: u64,
    /// Changes when all cached chunks of this inode are void.
    pub(crate) cache_epoch: u64,
    /// Pages laid over chunks, as far as known.
    pub(crate) patches: BTreeMap<u64, u32>,
    /// Chunks that were filled to the brim and wait for an early seal.
    pub(crate) full: alloc::vec::Vec<u64>,
}

/// One unwritten chunk.
pub(crate) struct Unwritten {
    /// How far it is on its way to the tree.
    pub(crate) stage: Stage,
    /// The tree has an older version.
    pub(crate) based: bool,
    /// Bytes charged to the ledger.
    pub(crate) charge: usize,
}

/// How far an unwritten chunk is on its way to the tree.
pub(crate) enum Stage {
    /// Still written to.
    Dirty(Buffer),
    /// A worker seals it.
    Sealing {
        /// Which seal; another number means that the result is void.
        seal: u64,
        /// The content.
        buffer: Arc<Buffer>,
    },
    /// In the blob file, waiting for its key.
    Sealed {
        /// The content.
        buffer: Arc<Buffer>,
        /// Where it is.
        staged: Staged,
    },
}

impl Stage {
    /// The content, unless somebody else holds it too.
    pub(crate) fn into_buffer(self) -> Option<Buffer> {
        match self {
            Self::Dirty(buffer) => Some(buffer),
            Self::Sealing { buffer, .. } | Self::Sealed { buffer, .. } => Arc::into_inner(buffer),
        }
    }

    /// The content.
    pub(crate) fn buffer(&self) -> &Buffer {
        match self {
            Self::Dirty(buffer) => buffer,
            Self::Sealing { buffer, .. } | Self::Sealed { buffer, .. } => buffer,
        }
    }
}

impl Unwritten {
    /// The content for writing; voids a seal.
    pub(crate) fn buffer_mut(&mut self, sealed_count: &mut usize) -> &mut Buffer {
        if !matches!(self.stage, Stage::Dirty(_)) {
            let old = core::mem::replace(&mut self.stage, Stage::Dirty(Buffer::default()));
            if matches!(old, Stage::Sealed { .. }) {
                *sealed_count -= 1;
            }
            if let Stage::Sealing { buffer, .. } | Stage::Sealed { buffer, .. } = old {
                self.stage = Stage::Dirty(Arc::unwrap_or_clone(buffer));
            }
        }
        match &mut self.stage {
            Stage::Dirty(buffer) => buffer,
            Stage::Sealing { .. } | Stage::Sealed { .. } => unreachable!("made dirty above"),
        }
    }
}

impl State {
    /// The state of an inode with this record.
    pub(crate) fn new(record: InodeRecord, stored: bool, cache_epoch: u64) -> Self {
        let content = Content {
            stored_len: record.size.max(record.trim_len),
            base_len: record.size,
            cache_epoch,
            ..Content::default()
        };
        let is_file = record.kind == Kind::File;
        Self {
            record,
            stored,
            orphan: false,
            changed: false,
            queued: false,
            reaped: false,
            open_count: 0,
            failed: None,
            content: if is_file { content } else { Content::default() },
        }
    }

    /// As stat(2) shows it.
    pub(crate) fn attr(&self, ino: Ino) -> Attr {
        self.record.attr(ino)
    }

    /// Is anything here newer than the tree?
    pub(crate) fn is_unwritten(&self) -> bool {
        self.changed || !self.content.chunks.is_empty()
    }

    /// Does the tree keep bytes that were cut off?
    pub(crate) fn trim_pending(&self) -> bool {
        self.content.base_len < self.content.stored_len
    }

    /// Must it stay in memory?
    pub(crate) fn is_pinned(&self) -> bool {
        self.is_unwritten()
            || self.open_count > 0
            || self.record.nlink == 0
            || self.content.sealing_count > 0
    }

    /// `ENOTDIR` for anything but a directory.
    pub(crate) fn must_be_directory(&self) -> FsResult<()> {
        match self.record.kind {
            Kind::Directory => Ok(()),
            _ => Err(Errno::ENOTDIR.into()),
        }
    }

    /// `EISDIR` for a directory, `EINVAL` for anything else but a regular file.
    pub(crate) fn must_be_file(&self) -> FsResult<()> {
        match self.record.kind {
            Kind::File => Ok(()),
            Kind::Directory => Err(Errno::EISDIR.into()),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    /// Chunks below the length that programs see.
    pub(crate) fn chunk_count(&self) -> u64 {
        chunk_count(self.record.size)
    }

    /// The content changed now.
    pub(crate) fn touch(&mut self, now: Time) {
        self.record.mtime = now;
        self.record.ctime = now;
        self.changed = true;
    }
}

impl Inode {
    /// An inode that is still to be loaded.
    pub(crate) fn unloaded(ino: Ino) -> Self {
        let nothing = InodeRecord::new(Kind::File, 0, 0, 0, Time::default());
        let inode = Self::new(ino, State::new(nothing, false, 0));
        inode.ready.store(false, Ordering::Release);
        inode
    }

    /// An inode with this state.
    pub(crate) fn new(ino: Ino, state: State) -> Self {
        Self {
            ino,
            names: Mutex::new(()),
            sealed: Condvar::new(),
            state: Mutex::new(state),
            writer_count: AtomicU32::new(0),
            ready: AtomicBool::new(true),
            used: AtomicBool::new(true),
        }
    }

    /// Has it been loaded?
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// It has been loaded.
    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Notes that it was used; tells whether that is news.
    pub(crate) fn set_used(&self, used: bool) -> bool {
        self.used.load(Ordering::Relaxed) != used && self.used.swap(used, Ordering::Relaxed) != used
    }

    /// Waits for the state.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The state, unless somebody holds it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        self.state.try_lock()
    }
}

/// The states of several inodes, locked in ascending order, each once.
pub(crate) struct Locked<'a>(alloc::vec::Vec<(Ino, MutexGuard<'a, State>)>);

impl<'a> Locked<'a> {
    /// Locks them all.
    pub(crate) fn new(inodes: &[&'a Inode]) -> Self {
        let mut sorted = inodes.to_vec();
        sorted.sort_by_key(|inode| inode.ino);
        sorted.dedup_by_key(|inode| inode.ino);
        Self(
            sorted
                .into_iter()
                .map(|inode| (inode.ino, inode.lock()))
                .collect(),
        )
    }

    /// The state of one of them.
    pub(crate) fn of(&mut self, ino: Ino) -> &mut State {
        let found = self.0.iter_mut().find(|(number, _)| *number == ino);
        let (_, state) = found.expect("only states that were locked are asked for");
        state
    }
}

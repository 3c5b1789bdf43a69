//! One blob file of this session, while frames are appended to it.
//!
//! - Ordinals are handed out before sealing, so frames are sealed in parallel and land in any order.
//! - Whoever holds a [`Claim`] keeps the file from being finished: what it appended, or will append,
//!   is not yet in the tree.
//! - After a failed append nothing is appended any more: the tail of the file is undefined.
//! - A file is finished once, by its footer; it is never opened for appending again.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use coffer_engine::block::{FileContext, ORDINAL_MAX, Sealed};
use coffer_engine::env::File;
use coffer_engine::file::{FileRoot, RootHasher, seal_footer};
use coffer_engine::sync::Mutex;
use coffer_engine::{Error, ErrorKind, FileId, FileKind, Result};

/// A blob file that is being written.
pub(crate) struct BlobWriter {
    number: u64,
    file: Arc<dyn File>,
    context: Arc<FileContext>,
    next_ordinal: AtomicU32,
    tail: Mutex<Tail>,
    /// Bytes so far; changed under the lock of the tail.
    len: AtomicU64,
    /// Bytes that are durable; changed under the lock of the sync.
    synced_len: AtomicU64,
    syncing: Mutex<()>,
    claim_count: AtomicUsize,
    live_len: AtomicU64,
}

struct Tail {
    root: RootHasher,
    broken: Option<ErrorKind>,
}

impl BlobWriter {
    /// A writer at the end of a new file, which holds its header only.
    pub(super) fn new(number: u64, file: Arc<dyn File>, context: Arc<FileContext>) -> Result<Self> {
        let len = file.len()?;
        let tail = Tail {
            root: RootHasher::new(),
            broken: None,
        };
        Ok(Self {
            number,
            file,
            context,
            next_ordinal: AtomicU32::new(0),
            tail: Mutex::new(tail),
            len: AtomicU64::new(len),
            synced_len: AtomicU64::new(len),
            syncing: Mutex::new(()),
            claim_count: AtomicUsize::new(0),
            live_len: AtomicU64::new(0),
        })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn id(&self) -> FileId {
        FileId::new(FileKind::Blob, self.number)
    }

    pub(crate) fn context(&self) -> &Arc<FileContext> {
        &self.context
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// May frames still be appended?
    pub(crate) fn is_broken(&self) -> bool {
        self.tail.lock().broken.is_some()
    }

    /// Does anybody still hold what is not in the tree yet?
    pub(crate) fn is_claimed(&self) -> bool {
        self.claim_count.load(Ordering::Acquire) > 0
    }

    /// Takes `count` consecutive ordinals and returns the first.
    ///
    /// # Errors
    /// `Invalid` where the file has no more: a value of 2^32 frames does not fit a file.
    pub(crate) fn reserve(&self, count: u32) -> Result<u32> {
        let take = |next: u32| next.checked_add(count).filter(|end| *end <= ORDINAL_MAX);
        self.next_ordinal
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .map_err(|_| Error::invalid("the blob file has no more ordinals").in_file(self.id()))
    }

    /// Appends sealed blocks, which `sealed` describes in order, and returns where they start.
    ///
    /// # Errors
    /// Those of the medium, now or at an earlier append to this file.
    pub(crate) fn append(&self, bytes: &[u8], sealed: &[Sealed]) -> Result<u64> {
        let mut tail = self.tail.lock();
        self.check(&tail)?;
        if let Err(error) = self.file.append(bytes) {
            tail.broken = Some(error.kind());
            return Err(error.in_file(self.id()));
        }
        sealed.iter().for_each(|block| tail.root.push(&block.tag));
        Ok(self.len.fetch_add(bytes.len() as u64, Ordering::AcqRel))
    }

    fn check(&self, tail: &Tail) -> Result<()> {
        let Some(kind) = tail.broken else {
            return Ok(());
        };
        let message =
            "this blob file takes no more: an append to it failed, or it is finished; write again";
        Err(Error::new(kind, message).in_file(self.id()))
    }

    /// Makes durable everything appended before this call.
    ///
    /// # Errors
    /// Those of the medium; they poison the store.
    pub(crate) fn sync(&self) -> Result<()> {
        let wanted = self.len();
        if self.synced_len.load(Ordering::Acquire) >= wanted {
            return Ok(());
        }
        let _turn = self.syncing.lock();
        // Whoever waited for the turn may find its bytes synced by the one before.
        if self.synced_len.load(Ordering::Acquire) >= wanted {
            return Ok(());
        }
        let len = self.len();
        self.file.sync().map_err(|error| error.in_file(self.id()))?;
        self.synced_len.store(len, Ordering::Release);
        Ok(())
    }

    /// Bytes that are not durable yet.
    pub(crate) fn unsynced_len(&self) -> u64 {
        self.len()
            .saturating_sub(self.synced_len.load(Ordering::Acquire))
    }

    /// Appends the footer and makes the file durable. REQUIRES: no claims.
    ///
    /// # Errors
    /// `Invalid` where it is finished already; those of the medium.
    pub(super) fn finish(&self) -> Result<FileRoot> {
        debug_assert!(!self.is_claimed());
        let mut tail = self.tail.lock();
        self.check(&tail)?;
        tail.broken = Some(ErrorKind::Invalid);
        let mut footer = Vec::new();
        let hasher = core::mem::take(&mut tail.root);
        let root = seal_footer(&self.context, hasher, &[], self.len(), &mut footer)?;
        self.file
            .append(&footer)
            .map_err(|error| error.in_file(self.id()))?;
        self.len.fetch_add(footer.len() as u64, Ordering::AcqRel);
        drop(tail);
        self.sync()?;
        Ok(root)
    }

    /// Bytes that the tree was given pointers to.
    pub(super) fn live_len(&self) -> u64 {
        self.live_len.load(Ordering::Acquire)
    }
}

/// Keeps a blob file unfinished until what was appended is in the tree, or given up.
pub(crate) struct Claim {
    writer: Arc<BlobWriter>,
}

impl Claim {
    pub(super) fn new(writer: Arc<BlobWriter>) -> Self {
        writer.claim_count.fetch_add(1, Ordering::AcqRel);
        Self { writer }
    }

    pub(crate) fn writer(&self) -> &Arc<BlobWriter> {
        &self.writer
    }

    /// The tree has a pointer to `disk_len` bytes of the file now.
    pub(crate) fn settle(self, disk_len: u64) {
        self.writer.live_len.fetch_add(disk_len, Ordering::AcqRel);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.writer.claim_count.fetch_sub(1, Ordering::AcqRel);
    }
}

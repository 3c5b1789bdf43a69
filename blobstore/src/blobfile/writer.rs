//! One blob file of this session, while frames are appended to it.
//!
//! - Ordinals are handed out before sealing, so frames are sealed in parallel and land in any order.
//! - Whoever holds a [`Claim`] keeps the file from being finished: what it appended, or will append,
//!   is not yet in the tree.
//! - After a failed append nothing is appended any more: the tail of the file is undefined. What a
//!   full medium refused is cut off again, and the file goes on.
//! - A file is finished once, by its footer, which is sealed once; it is never opened for appending
//!   again.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use coffer_engine::block::{FileContext, ORDINAL_MAX, Sealed};
use coffer_engine::env::File;
use coffer_engine::file::{FileRoot, RootHasher, seal_footer};
use coffer_engine::sync::Mutex;
use coffer_engine::{Error, ErrorKind, FileId, FileKind, Result};

/// Longest stretch between two syncs that makes zeros ahead worth writing.
const SYNC_STRETCH_MAX: u64 = 256 << 10;

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
    /// Little was appended between the last two syncs: a length that grows costs more than the bytes.
    syncs_often: AtomicBool,
    claim_count: AtomicUsize,
    live_len: AtomicU64,
}

struct Tail {
    root: RootHasher,
    broken: Option<ErrorKind>,
    footer: Option<Footer>,
}

/// The sealed end of a file.
struct Footer {
    root: FileRoot,
    /// Its bytes, until they are appended.
    bytes: Vec<u8>,
}

impl BlobWriter {
    /// A writer at the end of a new file, which holds its header only.
    pub(super) fn new(number: u64, file: Arc<dyn File>, context: Arc<FileContext>) -> Result<Self> {
        let len = file.len()?;
        let tail = Tail {
            root: RootHasher::new(),
            broken: None,
            footer: None,
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
            syncs_often: AtomicBool::new(false),
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

    /// Has an append failed for good?
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
        if let Some(kind) = tail.broken {
            let message = "an earlier append to this blob file failed; write again";
            return Err(Error::new(kind, message).in_file(self.id()));
        }
        assert!(tail.footer.is_none(), "a claimed file has no end");
        let offset = self.append_whole(&mut tail, bytes)?;
        sealed.iter().for_each(|block| tail.root.push(&block.tag));
        Ok(offset)
    }

    /// Appends all of `bytes` or, where the medium is full, nothing; returns where they start.
    fn append_whole(&self, tail: &mut Tail, bytes: &[u8]) -> Result<u64> {
        let reserved = if self.syncs_often.load(Ordering::Relaxed) {
            self.file.reserve(bytes.len() as u64)
        } else {
            Ok(())
        };
        if let Err(error) = reserved.and_then(|()| self.file.append(bytes)) {
            let is_full = error.kind() == ErrorKind::NoSpace;
            if !is_full || self.file.truncate(self.len()).is_err() {
                tail.broken = Some(error.kind());
            }
            return Err(error.in_file(self.id()));
        }
        Ok(self.len.fetch_add(bytes.len() as u64, Ordering::AcqRel))
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
        let stretch = len - self.synced_len.load(Ordering::Acquire);
        let is_short = stretch <= SYNC_STRETCH_MAX;
        self.syncs_often.store(is_short, Ordering::Relaxed);
        self.file.sync().map_err(|error| error.in_file(self.id()))?;
        self.synced_len.store(len, Ordering::Release);
        Ok(())
    }

    /// Bytes that are not durable yet.
    pub(crate) fn unsynced_len(&self) -> u64 {
        self.len()
            .saturating_sub(self.synced_len.load(Ordering::Acquire))
    }

    /// Appends the footer, if it is not there yet; it is durable after a sync. REQUIRES: nobody claims
    /// the file, now or later.
    ///
    /// # Errors
    /// Those of the medium; on a full one the call may be repeated.
    pub(super) fn end(&self) -> Result<FileRoot> {
        debug_assert!(!self.is_claimed());
        let mut tail = self.tail.lock();
        let Footer { root, bytes } = match tail.footer.take() {
            Some(footer) => footer,
            None => {
                let hasher = core::mem::take(&mut tail.root);
                let mut bytes = Vec::new();
                let root = seal_footer(&self.context, hasher, &[], self.len(), &mut bytes)?;
                Footer { root, bytes }
            }
        };
        let appended = if bytes.is_empty() {
            Ok(())
        } else {
            self.append_last(&mut tail, &bytes)
        };
        let bytes = if appended.is_ok() { Vec::new() } else { bytes };
        tail.footer = Some(Footer { root, bytes });
        appended.map(|()| root)
    }

    /// Cuts off the zeros that were written ahead, and appends the footer.
    fn append_last(&self, tail: &mut Tail, bytes: &[u8]) -> Result<()> {
        self.syncs_often.store(false, Ordering::Relaxed);
        if self.file.len()? > self.len() {
            let cut = self.file.truncate(self.len());
            cut.map_err(|error| error.in_file(self.id()))?;
        }
        self.append_whole(tail, bytes).map(|_| ())
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

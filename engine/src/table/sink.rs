//! Where the blocks of a table go to and come from: one file, sealed blocks, a footer.
//!
//! - Ordinals count up from 0 in the order in which blocks are begun, so each is used once.
//! - Data blocks wait to be sealed, a bounded number of them, so that other threads can seal them
//!   while more are filled. Which of them wait follows from what was added alone: the file is the
//!   same whoever seals.
//! - Blocks are collected and handed to the file in pieces of [`WRITE_LEN`].
//! - A file opens only under the root that the manifest names.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::block::{
    Block, BlockHandle, BlockKind, Expect, FileContext, Sealed, open_block, read_block,
};
use crate::cache::Cache;
use crate::codec::Reader;
use crate::compress::ScratchPool;
use crate::crypto::KeySource;
use crate::env::{Env, File, OpenMode};
use crate::error::Result;
use crate::file::{
    DATA_OFFSET, FileRoot, RootHasher, create_file, open_file, open_footer, seal_footer,
};
use crate::options::BlockTransform;
use crate::table::jobs::{JobQueue, Lender, Work, first_of};
use crate::table::meta::TableMeta;
use crate::table::reader::Row;
use crate::table::sealing::{SealJob, Unsealed, seal};
use crate::types::{FileId, FileKind, StoreId};

/// Bytes collected before they are written.
const WRITE_LEN: usize = 512 * 1024;

/// Data blocks that wait at most: how many, and bytes of plaintext.
const WAITING_COUNT_MAX: usize = 32;
const WAITING_LEN_MAX: usize = 1 << 20;

/// A new file that takes blocks.
pub(crate) struct BlockSink {
    file: Arc<dyn File>,
    context: Arc<FileContext>,
    scratches: Arc<ScratchPool>,
    /// Where others may find blocks to seal.
    queue: Option<Arc<JobQueue>>,
    waiting: VecDeque<Waiting>,
    waiting_len: usize,
    root: RootHasher,
    buffer: Vec<u8>,
    written_len: u64,
    /// Plaintext of all blocks that have their place.
    placed_len: u64,
    ordinal: u32,
    /// For the next block.
    memory: Vec<u8>,
}

/// A data block that has no place in the file yet.
struct Waiting {
    job: Arc<SealJob>,
    ordinal: u32,
    raw_len: usize,
}

impl BlockSink {
    /// Lets those who help at `queue` seal data blocks.
    pub(crate) fn sealed_at(mut self, queue: &Arc<JobQueue>) -> Self {
        self.queue = Some(Arc::clone(queue));
        self
    }

    /// Begins a data block that holds `plain`. It gets its place when
    /// [`BlockSink::place_next`] returns its handle.
    pub(super) fn begin(&mut self, plain: Vec<u8>) {
        let (ordinal, raw_len) = (self.ordinal, plain.len());
        let unsealed = Unsealed {
            context: Arc::clone(&self.context),
            scratches: Arc::clone(&self.scratches),
            kind: BlockKind::Data,
            ordinal,
            plain,
        };
        let job = Arc::new(SealJob::new(unsealed, seal));
        self.ordinal += 1;
        match &self.queue {
            Some(queue) => queue.offer(Arc::clone(&job) as _),
            None => {
                job.run();
            }
        }
        self.waiting_len += raw_len;
        self.waiting.push_back(Waiting {
            job,
            ordinal,
            raw_len,
        });
    }

    /// Do more data blocks wait than may?
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() > WAITING_COUNT_MAX || self.waiting_len > WAITING_LEN_MAX
    }

    /// Gives the first data block that waits its place in the file; `None` where none waits.
    pub(super) fn place_next(&mut self) -> Result<Option<BlockHandle>> {
        let jobs = self.waiting.iter().map(|waiting| &waiting.job);
        let Some(sealed) = first_of(jobs) else {
            return Ok(None);
        };
        let Some(Waiting {
            ordinal, raw_len, ..
        }) = self.waiting.pop_front()
        else {
            return Ok(None);
        };
        self.waiting_len -= raw_len;
        let bytes = sealed?;
        self.memory = bytes.plain;
        let offset = self.file_len();
        self.buffer.extend_from_slice(&bytes.disk);
        self.placed(&bytes.sealed, raw_len)?;
        let handle = bytes.sealed.handle(offset, raw_len as u32, ordinal);
        Ok(Some(handle))
    }

    /// Memory for a block.
    pub(super) fn memory(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.memory)
    }

    /// Seals `plain` at once and gives it its place, before all data blocks that wait.
    pub(super) fn append(&mut self, kind: BlockKind, plain: &[u8]) -> Result<BlockHandle> {
        let offset = self.file_len();
        let (ordinal, raw_len) = (self.ordinal, plain.len() as u32);
        let (context, buffer) = (&self.context, &mut self.buffer);
        let sealed = self
            .scratches
            .with(|scratch| context.seal(kind, ordinal, 0, 0, &[], plain, scratch, buffer))?;
        self.ordinal += 1;
        self.placed(&sealed, plain.len())?;
        Ok(sealed.handle(offset, raw_len, ordinal))
    }

    fn placed(&mut self, sealed: &Sealed, raw_len: usize) -> Result<()> {
        self.root.push(&sealed.tag);
        self.placed_len += raw_len as u64;
        if self.buffer.len() >= WRITE_LEN {
            self.write_out()?;
        }
        Ok(())
    }

    /// Bytes of the file so far, about: blocks that wait count as if they shrank like the others.
    pub(crate) fn len(&self) -> u64 {
        let (placed_len, file_len) = (self.placed_len, self.file_len());
        let waiting_len = self.waiting_len as u64;
        file_len
            + match placed_len {
                0 => waiting_len,
                _ => (waiting_len * (file_len - DATA_OFFSET) / placed_len).min(2 * waiting_len),
            }
    }

    /// Bytes of the blocks that have their place.
    fn file_len(&self) -> u64 {
        self.written_len + self.buffer.len() as u64
    }

    /// Writes the footer, which leads to the meta block. The caller makes the file durable.
    /// REQUIRES: no block waits.
    pub(super) fn finish(mut self, meta: &BlockHandle) -> Result<(FileRoot, Arc<dyn File>)> {
        debug_assert!(self.waiting.is_empty());
        let mut payload = Vec::new();
        meta.encode(&mut payload);
        let root = core::mem::take(&mut self.root);
        let root = seal_footer(
            &self.context,
            root,
            &payload,
            self.file_len(),
            &mut self.buffer,
        )?;
        self.write_out()?;
        Ok((root, self.file))
    }

    fn write_out(&mut self) -> Result<()> {
        self.file.append(&self.buffer)?;
        self.written_len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// An open table file that gives blocks.
pub(crate) struct BlockSource {
    file: Arc<dyn File>,
    context: Arc<FileContext>,
    scratches: Arc<ScratchPool>,
}

impl BlockSource {
    /// Reads a block; it must be the one behind the handle.
    pub(crate) fn read(&self, handle: &BlockHandle, kind: BlockKind) -> Result<Block> {
        let expect = Expect::new(kind, handle);
        self.scratches
            .with(|scratch| read_block(&*self.file, &self.context, handle, &expect, scratch))
    }

    /// As [`BlockSource::read`], from bytes that were read before they were asked for.
    pub(crate) fn open(&self, handle: &BlockHandle, kind: BlockKind, disk: &[u8]) -> Result<Block> {
        let expect = Expect::new(kind, handle);
        let disk = self.context.checked_disk_len(handle).map(|_| disk.to_vec());
        self.scratches
            .with(|scratch| open_block(&self.context, handle, &expect, disk, scratch))
    }

    /// Raw bytes from `offset` on, as many as there are, `len` at most.
    pub(crate) fn read_raw(&self, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        out.resize(len, 0);
        let found = self.file.read_at(offset, out)?;
        out.truncate(found);
        Ok(())
    }

    pub(crate) fn file(&self) -> FileId {
        self.context.id()
    }
}

/// Creates and opens the tables of one store.
pub(crate) struct TableOpener {
    pub(crate) env: Env,
    pub(crate) keys: Arc<dyn KeySource>,
    pub(crate) store_id: StoreId,
    pub(crate) transform: BlockTransform,
    pub(crate) cache: Arc<Cache<Block>>,
    pub(crate) rows: Arc<Cache<Row>>,
    pub(crate) scratches: Arc<ScratchPool>,
    /// Threads for long scans.
    pub(crate) lender: Arc<Lender>,
}

impl TableOpener {
    /// A new file for the table with this number.
    pub(crate) fn create(&self, number: u64) -> Result<BlockSink> {
        let id = FileId::new(FileKind::Table, number);
        let (file, context) =
            create_file(&self.env, &*self.keys, id, self.store_id, self.transform)?;
        Ok(BlockSink {
            file,
            context,
            scratches: Arc::clone(&self.scratches),
            queue: None,
            waiting: VecDeque::new(),
            waiting_len: 0,
            root: RootHasher::new(),
            buffer: Vec::with_capacity(WRITE_LEN + 64 * 1024),
            written_len: DATA_OFFSET,
            placed_len: 0,
            ordinal: 0,
            memory: Vec::new(),
        })
    }

    /// Opens the file of a table; returns it with the handle of its meta block.
    pub(crate) fn open(&self, meta: &TableMeta) -> Result<(BlockSource, BlockHandle)> {
        let id = meta.file();
        let (file, context) = open_file(&self.env, &*self.keys, id, self.store_id, OpenMode::Read)?;
        let footer = self
            .scratches
            .with(|scratch| open_footer(&*file, &context, Some(&meta.root), scratch))?;
        let handle = BlockHandle::decode(&mut Reader::new(&footer.payload))
            .map_err(|error| error.in_file(id).part("footer"))?;
        let scratches = Arc::clone(&self.scratches);
        Ok((
            BlockSource {
                file,
                context,
                scratches,
            },
            handle,
        ))
    }
}

//! Where the blocks of a table go to and come from: one file, sealed blocks, a footer.
//!
//! - Ordinals count up from 0 in the order of the file, so each is used once.
//! - Blocks are collected and handed to the file in pieces of [`WRITE_LEN`].
//! - A file opens only under the root that the manifest names.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::block::{Block, BlockHandle, BlockKind, Expect, FileContext, open_block, read_block};
use crate::cache::Cache;
use crate::codec::Reader;
use crate::compress::{Scratch, ScratchPool};
use crate::crypto::KeySource;
use crate::env::{Env, File, OpenMode};
use crate::error::Result;
use crate::file::{
    DATA_OFFSET, FileRoot, RootHasher, create_file, open_file, open_footer, seal_footer,
};
use crate::options::BlockTransform;
use crate::table::meta::TableMeta;
use crate::table::reader::Row;
use crate::types::{FileId, FileKind, StoreId};

/// Bytes collected before they are written.
const WRITE_LEN: usize = 512 * 1024;

/// A new file that takes blocks.
pub(crate) struct BlockSink {
    file: Arc<dyn File>,
    context: Arc<FileContext>,
    scratch: Scratch,
    root: RootHasher,
    buffer: Vec<u8>,
    written_len: u64,
    ordinal: u32,
}

impl BlockSink {
    /// Seals `plain` as the next block.
    pub(crate) fn append(&mut self, kind: BlockKind, plain: &[u8]) -> Result<BlockHandle> {
        let offset = self.len();
        let (ordinal, raw_len) = (self.ordinal, plain.len() as u32);
        let (context, scratch) = (&self.context, &mut self.scratch);
        let sealed = context.seal(kind, ordinal, 0, 0, &[], plain, scratch, &mut self.buffer)?;
        self.ordinal += 1;
        self.root.push(&sealed.tag);
        if self.buffer.len() >= WRITE_LEN {
            self.write_out()?;
        }
        Ok(sealed.handle(offset, raw_len, ordinal))
    }

    /// Bytes of the file so far.
    pub(crate) fn len(&self) -> u64 {
        self.written_len + self.buffer.len() as u64
    }

    /// Writes the footer, which leads to the meta block. The caller makes the file durable.
    pub(crate) fn finish(mut self, meta: &BlockHandle) -> Result<(FileRoot, Arc<dyn File>)> {
        let mut payload = Vec::new();
        meta.encode(&mut payload);
        let root = core::mem::take(&mut self.root);
        let root = seal_footer(&self.context, root, &payload, self.len(), &mut self.buffer)?;
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
            scratch: Scratch::new(),
            root: RootHasher::new(),
            buffer: Vec::with_capacity(WRITE_LEN + 64 * 1024),
            written_len: DATA_OFFSET,
            ordinal: 0,
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

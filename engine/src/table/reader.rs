//! Reads a table: point reads through filter, index and data block; cursors both ways.
//!
//! - A damaged or foreign block is an error, never a miss: a miss would fall through to an older
//!   version of the key.
//! - The partitions stay in memory; all blocks go through the cache.
//! - What the file says of itself must be what the manifest says of it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use spin::Once;

use crate::block::{Block, BlockHandle, BlockKind};
use crate::cache::{Cache, Rounds};
use crate::codec::Reader;
use crate::entry::Value;
use crate::error::{Error, Result};
use crate::filter::may_contain;
use crate::table::entries::EntriesCursor;
use crate::table::extra::{Bounds, Sections};
use crate::table::index::{Partition, Partitions, decode_meta, partition_for};
use crate::table::jobs::Lender;
use crate::table::meta::TableMeta;
use crate::table::sink::{BlockSource, TableOpener};
use crate::types::SeqNo;

/// A cached block that a cursor holds on to.
#[derive(Clone)]
pub(crate) struct Pinned(pub(super) Arc<Block>);

impl AsRef<[u8]> for Pinned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A table that is part of a version; its file is opened when it is first needed.
pub(crate) struct LiveTable {
    meta: TableMeta,
    reader: Once<Arc<TableReader>>,
}

impl LiveTable {
    pub(crate) fn new(meta: TableMeta) -> Arc<Self> {
        Arc::new(Self {
            meta,
            reader: Once::new(),
        })
    }

    pub(crate) fn meta(&self) -> &TableMeta {
        &self.meta
    }

    /// The open table. Two who need it first may open it twice; one of them is kept.
    pub(crate) fn reader(&self, opener: &TableOpener) -> Result<&Arc<TableReader>> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        let reader = Arc::new(TableReader::open(opener, &self.meta)?);
        Ok(self.reader.call_once(|| reader))
    }
}

impl core::fmt::Debug for LiveTable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.meta.fmt(f)
    }
}

/// An answer to a point read, by itself: found without its block.
pub(crate) struct Row {
    key: Vec<u8>,
    value: Value,
}

/// An open table.
pub(crate) struct TableReader {
    pub(super) source: BlockSource,
    pub(super) number: u64,
    pub(super) with_digests: bool,
    first_seqno: SeqNo,
    last_seqno: SeqNo,
    base_seqno: SeqNo,
    sections: Sections,
    pub(super) partitions: Partitions,
    /// For each partition of entries.
    held: Vec<HeldMetadata>,
    held_len: AtomicUsize,
    pub(super) cache: Arc<Cache<Block>>,
    rows: Arc<Cache<Row>>,
    pub(super) lender: Arc<Lender>,
}

/// Filter and index of a partition that point reads have met, as long as the table is open: the cache
/// is asked for neither any more.
#[derive(Default)]
struct HeldMetadata {
    filter: Once<Arc<Block>>,
    index: Once<Arc<Block>>,
}

impl Drop for TableReader {
    fn drop(&mut self) {
        self.cache.let_go(*self.held_len.get_mut());
    }
}

impl TableReader {
    fn open(opener: &TableOpener, meta: &TableMeta) -> Result<Self> {
        let (source, meta_handle) = opener.open(meta)?;
        let block = source.read(&meta_handle, BlockKind::Meta)?;
        let named = |error: Error| error.in_file(meta.file()).at(meta_handle.offset);
        let (mut found, partitions, sections) = decode_meta(&block).map_err(named)?;
        found.root = meta.root;
        if meta.is_unnumbered {
            (found.first_seqno, found.last_seqno) = (meta.first_seqno, meta.last_seqno);
        }
        if found != *meta {
            let error = Error::authentication("the table is not the one the manifest names");
            return Err(named(error).part("table meta"));
        }
        Ok(Self {
            source,
            number: meta.number,
            with_digests: meta.with_digests,
            first_seqno: meta.first_seqno,
            last_seqno: meta.last_seqno,
            base_seqno: meta.base_seqno(),
            sections,
            held: partitions
                .entries
                .iter()
                .map(|_| HeldMetadata::default())
                .collect(),
            held_len: AtomicUsize::new(0),
            partitions,
            cache: Arc::clone(&opener.cache),
            rows: Arc::clone(&opener.rows),
            lender: Arc::clone(&opener.lender),
        })
    }

    /// The newest entry of `key` at or before `seqno`; a tombstone is an entry too, also one that
    /// covers a range. `hash` is the filter hash of `key`.
    pub(crate) fn find(
        self: &Arc<Self>,
        key: &[u8],
        hash: u64,
        seqno: SeqNo,
    ) -> Result<Option<Value>> {
        let found = self.find_entry(key, hash, seqno)?;
        if !self.has_ranges() {
            return Ok(found);
        }
        Ok(Value::unless_covered(found, self.covering(key, seqno)?))
    }

    fn find_entry(&self, key: &[u8], hash: u64, seqno: SeqNo) -> Result<Option<Value>> {
        if !self.may_hold(key, hash, seqno)? {
            return Ok(None);
        }
        if let Some(row) = self.row(key, hash, seqno) {
            return Ok(Some(row));
        }
        let Some(handle) = self.locate(key, seqno)? else {
            return Ok(None);
        };
        let block = self.block(&handle, BlockKind::Data, Fill::Keep)?;
        self.find_in(block, &handle, key, hash, seqno)
    }

    /// `false`: the filter knows that the key is not here.
    pub(super) fn may_hold(&self, key: &[u8], hash: u64, seqno: SeqNo) -> Result<bool> {
        let Some((partition, held)) = self.partition(key, seqno) else {
            return Ok(false);
        };
        match &partition.filter {
            Some(filter) => self.with_metadata(&held.filter, filter, BlockKind::Filter, |filter| {
                Ok(may_contain(filter, hash))
            }),
            None => Ok(true),
        }
    }

    /// The data block that would hold the key.
    pub(super) fn locate(&self, key: &[u8], seqno: SeqNo) -> Result<Option<BlockHandle>> {
        let Some((partition, held)) = self.partition(key, seqno) else {
            return Ok(None);
        };
        let found = self.with_metadata(&held.index, &partition.index, BlockKind::Index, |bytes| {
            let index = EntriesCursor::new(bytes, false)?;
            let Some(found) = index.lower_bound(key, seqno)? else {
                return Ok(None);
            };
            BlockHandle::decode(&mut Reader::new(index.value_of(&found)?)).map(Some)
        });
        self.named(found)
    }

    fn partition(&self, key: &[u8], seqno: SeqNo) -> Option<(&Partition, &HeldMetadata)> {
        let index = partition_for(&self.partitions.entries, key, seqno);
        Some((self.partitions.entries.get(index)?, self.held.get(index)?))
    }

    /// Looks into a block of metadata, which stays in memory from now on where there is room.
    fn with_metadata<T>(
        &self,
        held: &Once<Arc<Block>>,
        handle: &BlockHandle,
        kind: BlockKind,
        look: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        if let Some(block) = held.get() {
            return look(block);
        }
        let Pinned(block) = self.block(handle, kind, Fill::Keep)?;
        let len = block.memory_len();
        if self.cache.may_hold(len) {
            let mut is_first = false;
            held.call_once(|| {
                is_first = true;
                Arc::clone(&block)
            });
            match is_first {
                true => self.held_len.fetch_add(len, Ordering::Relaxed),
                false => {
                    self.cache.let_go(len);
                    0
                }
            };
        }
        look(&block)
    }

    /// The answer that a data block gives, remembered as a row where it is that of the present.
    pub(super) fn find_in(
        &self,
        block: Pinned,
        handle: &BlockHandle,
        key: &[u8],
        hash: u64,
        seqno: SeqNo,
    ) -> Result<Option<Value>> {
        let at = |error: Error| self.at(error, handle);
        let data = self.entries(block).map_err(at)?;
        let Some(entry) = data.find(key, seqno).map_err(at)? else {
            return Ok(None);
        };
        entry.verify().map_err(at)?;
        let (kind, bytes, at) = (entry.kind, entry.value.to_vec(), entry.seqno);
        let value = Value {
            kind,
            bytes,
            seqno: at,
        };
        if seqno >= self.last_seqno
            && self.rows.keeps_anything()
            && self.rows.admits(self.number, hash)
        {
            let len = key.len() + value.bytes.len() + size_of::<Row>();
            let row = Arc::new(Row {
                key: key.to_vec(),
                value: value.clone(),
            });
            self.rows.insert(self.number, hash, &row, len, Rounds::Data);
        }
        Ok(Some(value))
    }

    /// The answer that is remembered for `key`: that of whoever sees all entries of the table.
    pub(super) fn row(&self, key: &[u8], hash: u64, seqno: SeqNo) -> Option<Value> {
        if seqno < self.last_seqno || !self.rows.keeps_anything() {
            return None;
        }
        let row = self.rows.find(self.number, hash)?;
        (row.key == key).then(|| row.value.clone())
    }

    /// Are there range tombstones?
    pub(super) const fn has_ranges(&self) -> bool {
        !self.partitions.ranges.is_empty()
    }

    /// The entries of a data block, with the numbers that they stand for.
    pub(super) fn entries<B: AsRef<[u8]>>(&self, block: B) -> Result<EntriesCursor<B>> {
        let entries = EntriesCursor::new(block, self.with_digests)?;
        Ok(entries.raised_by(self.base_seqno))
    }

    /// The bounds of its data blocks, where they are known.
    pub(super) fn bounds(&self) -> Result<Option<Bounds>> {
        let Some(handle) = &self.sections.bounds else {
            return Ok(None);
        };
        let block = self.source.read(handle, BlockKind::Meta)?;
        let bounds = Bounds::decode(&block, self.first_seqno);
        bounds.map(Some).map_err(|error| self.at(error, handle))
    }

    /// Keys that cut the table into parts of about the same length.
    pub(crate) fn separators(&self) -> impl Iterator<Item = &[u8]> {
        let partitions = self.partitions.entries.iter();
        partitions.map(|part| part.separator.0.as_slice())
    }

    pub(super) fn block(
        &self,
        handle: &BlockHandle,
        kind: BlockKind,
        fill: Fill,
    ) -> Result<Pinned> {
        self.block_by(handle, kind, fill, || self.source.read(handle, kind))
    }

    /// A block from the cache, or else as `read` brings it.
    pub(super) fn block_by(
        &self,
        handle: &BlockHandle,
        kind: BlockKind,
        fill: Fill,
        read: impl FnOnce() -> Result<Block>,
    ) -> Result<Pinned> {
        let rounds = if kind == BlockKind::Data {
            Rounds::Data
        } else {
            Rounds::Metadata
        };
        if fill == Fill::Pass && rounds == Rounds::Data {
            let found = self.cache.find(self.number, handle.offset);
            return match found {
                Some(block) => Ok(Pinned(block)),
                None => read().map(|block| Pinned(Arc::new(block))),
            };
        }
        let (file, offset) = (self.number, handle.offset);
        let block = self
            .cache
            .find_or_read(file, offset, rounds, Block::memory_len, read);
        block.map(Pinned)
    }

    pub(super) fn index_cursor(
        &self,
        partition: &Partition,
        fill: Fill,
    ) -> Result<EntriesCursor<Pinned>> {
        let block = self.block(&partition.index, BlockKind::Index, fill)?;
        EntriesCursor::new(block, false).map_err(|error| self.at(error, &partition.index))
    }

    pub(super) fn at(&self, error: Error, handle: &BlockHandle) -> Error {
        error.in_file(self.source.file()).at(handle.offset)
    }

    pub(super) fn named<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| error.in_file(self.source.file()))
    }
}

/// Do blocks that were read stay in the cache?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Yes.
    Keep,
    /// No: the reader passes by once, as compactions do. Metadata stays.
    Pass,
}

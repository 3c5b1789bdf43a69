//! Reads a table: point reads through filter, index and data block; cursors both ways.
//!
//! - A damaged or foreign block is an error, never a miss: a miss would fall through to an older
//!   version of the key.
//! - The partitions stay in memory; all blocks go through the cache.
//! - What the file says of itself must be what the manifest says of it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use spin::Once;

use crate::block::{Block, BlockHandle, BlockKind};
use crate::cache::{Cache, Rounds};
use crate::codec::Reader;
use crate::entry::{EntryCursor, EntryRef, Value};
use crate::error::{Error, Result};
use crate::filter::may_contain;
use crate::table::entries::EntriesCursor;
use crate::table::extra::{Bounds, Sections};
use crate::table::index::{Partition, Partitions, decode_meta, partition_for};
use crate::table::jobs::Lender;
use crate::table::meta::TableMeta;
use crate::table::readahead::Readahead;
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
    with_digests: bool,
    first_seqno: SeqNo,
    last_seqno: SeqNo,
    base_seqno: SeqNo,
    sections: Sections,
    pub(super) partitions: Partitions,
    pub(super) cache: Arc<Cache<Block>>,
    rows: Arc<Cache<Row>>,
    pub(super) lender: Arc<Lender>,
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
        let index = partition_for(&self.partitions.entries, key, seqno);
        let Some(partition) = self.partitions.entries.get(index) else {
            return Ok(false);
        };
        match &partition.filter {
            Some(filter) => {
                let filter = self.block(filter, BlockKind::Filter, Fill::Keep)?;
                Ok(may_contain(&filter.0, hash))
            }
            None => Ok(true),
        }
    }

    /// The data block that would hold the key.
    pub(super) fn locate(&self, key: &[u8], seqno: SeqNo) -> Result<Option<BlockHandle>> {
        let index = partition_for(&self.partitions.entries, key, seqno);
        let Some(partition) = self.partitions.entries.get(index) else {
            return Ok(None);
        };
        let index = self.index_cursor(partition, Fill::Keep)?;
        let Some(found) = self.named(index.lower_bound(key, seqno))? else {
            return Ok(None);
        };
        let value = self.named(index.value_of(&found))?;
        let handle = self.named(BlockHandle::decode(&mut Reader::new(value)))?;
        Ok(Some(handle))
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

    /// A cursor over all entries.
    pub(crate) fn cursor(self: &Arc<Self>, fill: Fill) -> TableCursor {
        TableCursor {
            table: Arc::clone(self),
            section: Section::Entries,
            fill,
            readahead: match fill {
                Fill::Keep => Readahead::default(),
                Fill::Pass => Readahead::eager(),
            },
            partition: 0,
            index: None,
            data: None,
        }
    }

    /// A cursor over all range tombstones.
    pub(super) fn range_cursor(self: &Arc<Self>) -> TableCursor {
        TableCursor {
            section: Section::Ranges,
            ..self.cursor(Fill::Keep)
        }
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

/// What a cursor walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Entries,
    Ranges,
}

/// Walks a table.
pub(crate) struct TableCursor {
    table: Arc<TableReader>,
    section: Section,
    fill: Fill,
    readahead: Readahead,
    partition: usize,
    index: Option<EntriesCursor<Pinned>>,
    data: Option<EntriesCursor<Pinned>>,
}

impl TableCursor {
    fn partitions(&self) -> &[Partition] {
        match self.section {
            Section::Entries => &self.table.partitions.entries,
            Section::Ranges => &self.table.partitions.ranges,
        }
    }

    /// Opens the index of a partition; `false` where there is no such partition.
    fn open_partition(&mut self, partition: usize) -> Result<bool> {
        self.data = None;
        self.index = None;
        let Some(found) = self.partitions().get(partition) else {
            return Ok(false);
        };
        self.index = Some(self.table.index_cursor(found, self.fill)?);
        self.partition = partition;
        Ok(true)
    }

    /// Opens the data block under the index cursor; `false` where it stands on none.
    fn open_data(&mut self) -> Result<bool> {
        self.data = None;
        let Some(entry) = self.index.as_ref().and_then(EntriesCursor::current) else {
            return Ok(false);
        };
        let handle = self
            .table
            .named(BlockHandle::decode(&mut Reader::new(entry.value)))?;
        let (table, readahead) = (&self.table, &mut self.readahead);
        let kind = match self.section {
            Section::Entries => BlockKind::Data,
            Section::Ranges => BlockKind::RangeTombstones,
        };
        let index = self.index.as_ref();
        let read = || readahead.read(table, &handle, kind, index);
        let block = table.block_by(&handle, kind, self.fill, read)?;
        let data = match self.section {
            Section::Entries => table.entries(block),
            // Where these are, entries have numbers of their own.
            Section::Ranges => EntriesCursor::over_ranges(block, table.with_digests),
        };
        self.data = Some(data.map_err(|error| table.at(error, &handle))?);
        Ok(true)
    }

    /// Runs `step` on the index, then opens the data block that it stands on.
    fn move_index(
        &mut self,
        step: impl FnOnce(&mut EntriesCursor<Pinned>) -> Result<()>,
    ) -> Result<bool> {
        if let Some(index) = &mut self.index {
            self.table.named(step(index))?;
        }
        self.open_data()
    }

    fn move_data(
        &mut self,
        step: impl FnOnce(&mut EntriesCursor<Pinned>) -> Result<()>,
    ) -> Result<()> {
        match &mut self.data {
            Some(data) => self.table.named(step(data)),
            None => Ok(()),
        }
    }

    /// Is there an entry under the cursor?
    pub(crate) fn is_placed(&self) -> bool {
        self.data.as_ref().is_some_and(EntriesCursor::is_placed)
    }

    /// Goes on to later blocks until the cursor stands on an entry.
    fn skip_ahead(&mut self) -> Result<()> {
        while self.index.is_some() && !self.is_placed() {
            let found = self.move_index(EntriesCursor::next)?
                || (self.open_partition(self.partition + 1)?
                    && self.move_index(EntriesCursor::seek_first)?);
            if found {
                self.move_data(EntriesCursor::seek_first)?;
            }
        }
        Ok(())
    }

    /// Goes back to earlier blocks until the cursor stands on an entry.
    fn skip_back(&mut self) -> Result<()> {
        while self.index.is_some() && !self.is_placed() {
            let before = self.partition.wrapping_sub(1);
            let found = self.move_index(EntriesCursor::prev)?
                || (self.open_partition(before)? && self.move_index(EntriesCursor::seek_last)?);
            if found {
                self.move_data(EntriesCursor::seek_last)?;
            }
        }
        Ok(())
    }
}

impl EntryCursor for TableCursor {
    fn current(&self) -> Option<EntryRef<'_>> {
        self.data.as_ref()?.current()
    }

    fn seek(&mut self, key: &[u8], seqno: SeqNo) -> Result<()> {
        let partition = partition_for(self.partitions(), key, seqno);
        if self.open_partition(partition)? && self.move_index(|index| index.seek(key, seqno))? {
            self.move_data(|data| data.seek(key, seqno))?;
        }
        self.skip_ahead()
    }

    fn seek_back(&mut self, key: &[u8], seqno: SeqNo) -> Result<()> {
        let partition = partition_for(self.partitions(), key, seqno);
        if !self.open_partition(partition)? {
            return self.seek_last();
        }
        if self.move_index(|index| index.seek(key, seqno))? {
            self.move_data(|data| data.seek_back(key, seqno))?;
        }
        self.skip_back()
    }

    fn seek_last(&mut self) -> Result<()> {
        let last = self.partitions().len().wrapping_sub(1);
        if self.open_partition(last)? && self.move_index(EntriesCursor::seek_last)? {
            self.move_data(EntriesCursor::seek_last)?;
        }
        self.skip_back()
    }

    fn next(&mut self) -> Result<()> {
        self.move_data(EntriesCursor::next)?;
        self.skip_ahead()
    }

    fn prev(&mut self) -> Result<()> {
        self.move_data(EntriesCursor::prev)?;
        self.skip_back()
    }
}

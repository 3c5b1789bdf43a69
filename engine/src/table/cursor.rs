//! Walks the entries or the range tombstones of a table, both ways.

use alloc::sync::Arc;

use crate::block::{BlockHandle, BlockKind};
use crate::codec::Reader;
use crate::entry::{EntryCursor, EntryRef};
use crate::error::Result;
use crate::table::entries::EntriesCursor;
use crate::table::index::{Partition, partition_for};
use crate::table::readahead::Readahead;
use crate::table::reader::{Fill, Pinned, TableReader};
use crate::types::SeqNo;

impl TableReader {
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
    #[cfg(test)]
    pub(super) const fn readahead(&self) -> &Readahead {
        &self.readahead
    }

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

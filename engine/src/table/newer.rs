//! Walks the entries of a table that are newer than a sequence number, ahead only.
//!
//! - Blocks whose bounds say that they hold nothing newer are not read, nor are the index blocks of
//!   partitions that hold no other.

use alloc::sync::Arc;

use crate::block::{BlockHandle, BlockKind};
use crate::codec::Reader;
use crate::entry::{EntryCursor, EntryRef, compare};
use crate::error::{Error, Result};
use crate::table::entries::EntriesCursor;
use crate::table::extra::Bounds;
use crate::table::readahead::Readahead;
use crate::table::reader::{Fill, Pinned, TableReader};
use crate::types::SeqNo;

/// A cursor over the newer part of a table.
pub(crate) struct NewerCursor {
    table: Arc<TableReader>,
    since: SeqNo,
    bounds: Bounds,
    readahead: Readahead,
    partition: usize,
    block: usize,
    index: Option<EntriesCursor<Pinned>>,
    data: Option<EntriesCursor<Pinned>>,
}

impl NewerCursor {
    /// Over what is newer than `since`.
    pub(crate) fn new(table: Arc<TableReader>, since: SeqNo) -> Result<Self> {
        let bounds = table.bounds()?.unwrap_or_default();
        Ok(Self {
            table,
            since,
            bounds,
            readahead: Readahead::default(),
            partition: 0,
            block: 0,
            index: None,
            data: None,
        })
    }

    /// Moves the index to the next data block; `false` at the end of the table.
    fn next_block(&mut self) -> Result<bool> {
        loop {
            if let Some(index) = &mut self.index {
                self.block += 1;
                self.table.named(index.next())?;
            } else {
                let Some(partition) = self.table.partitions.entries.get(self.partition) else {
                    return Ok(false);
                };
                if !self.bounds.is_partition_newer(self.partition, self.since) {
                    self.partition += 1;
                    continue;
                }
                let mut index = self.table.index_cursor(partition, Fill::Pass)?;
                self.table.named(index.seek_first())?;
                self.index = Some(index);
                self.block = 0;
            }
            if self.index.as_ref().is_some_and(|i| i.current().is_none()) {
                self.index = None;
                self.partition += 1;
            } else if self.bounds.is_newer(self.partition, self.block, self.since) {
                return Ok(true);
            }
        }
    }

    /// Opens the data block under the index.
    fn open_data(&mut self) -> Result<()> {
        let Some(entry) = self.index.as_ref().and_then(EntriesCursor::current) else {
            return Ok(());
        };
        let table = &self.table;
        let handle = table.named(BlockHandle::decode(&mut Reader::new(entry.value)))?;
        let readahead = &mut self.readahead;
        let read = || readahead.read(table, &handle, BlockKind::Data, None);
        let block = table.block_by(&handle, BlockKind::Data, Fill::Pass, read)?;
        let data = table.entries(block).and_then(|mut data| {
            data.seek_first()?;
            Ok(data)
        });
        self.data = Some(data.map_err(|error| table.at(error, &handle))?);
        Ok(())
    }

    /// Goes on until the cursor stands on an entry that is newer.
    fn skip_ahead(&mut self) -> Result<()> {
        loop {
            while let Some(data) = &mut self.data
                && let Some(entry) = data.current()
            {
                if entry.seqno > self.since {
                    return Ok(());
                }
                self.table.named(data.next())?;
            }
            self.data = None;
            if !self.next_block()? {
                return Ok(());
            }
            self.open_data()?;
        }
    }
}

impl EntryCursor for NewerCursor {
    fn current(&self) -> Option<EntryRef<'_>> {
        self.data.as_ref()?.current()
    }

    fn seek(&mut self, key: &[u8], seqno: SeqNo) -> Result<()> {
        (self.partition, self.index, self.data) = (0, None, None);
        self.skip_ahead()?;
        let is_before =
            |entry: EntryRef<'_>| compare((entry.key, entry.seqno), (key, seqno)).is_lt();
        while self.current().is_some_and(is_before) {
            self.next()?;
        }
        Ok(())
    }

    fn seek_back(&mut self, _: &[u8], _: SeqNo) -> Result<()> {
        Err(ahead_only())
    }

    fn seek_last(&mut self) -> Result<()> {
        Err(ahead_only())
    }

    fn next(&mut self) -> Result<()> {
        if let Some(data) = &mut self.data {
            self.table.named(data.next())?;
        }
        self.skip_ahead()
    }

    fn prev(&mut self) -> Result<()> {
        Err(ahead_only())
    }
}

fn ahead_only() -> Error {
    Error::invalid("this cursor walks ahead only")
}

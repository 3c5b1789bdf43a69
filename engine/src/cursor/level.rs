//! Walks all tables of a level below 0 as one: they ascend and do not overlap.
//!
//! - At most one table is under the cursor; it is opened when the cursor reaches it.

use alloc::sync::Arc;

use crate::entry::{EntryCursor, EntryRef};
use crate::error::Result;
use crate::table::{Fill, TableCursor, TableOpener};
use crate::types::SeqNo;
use crate::version::Version;

/// A cursor over one level.
pub(crate) struct LevelCursor {
    version: Arc<Version>,
    level: usize,
    opener: Arc<TableOpener>,
    fill: Fill,
    index: usize,
    table: Option<TableCursor>,
}

impl LevelCursor {
    pub(crate) fn new(
        version: Arc<Version>,
        level: usize,
        opener: Arc<TableOpener>,
        fill: Fill,
    ) -> Self {
        Self {
            version,
            level,
            opener,
            fill,
            index: 0,
            table: None,
        }
    }

    /// Opens the table with this index; none where there is no such table.
    fn open(&mut self, index: usize) -> Result<Option<&mut TableCursor>> {
        if self.table.is_some() && self.index == index {
            return Ok(self.table.as_mut());
        }
        self.table = None;
        let Some(table) = self.version.level(self.level).get(index) else {
            return Ok(None);
        };
        self.index = index;
        self.table = Some(table.reader(&self.opener)?.cursor(self.fill));
        Ok(self.table.as_mut())
    }

    /// The first table whose largest key is at or behind `key`.
    fn index_for(&self, key: &[u8]) -> usize {
        let tables = self.version.level(self.level);
        tables.partition_point(|table| *table.meta().largest < *key)
    }

    fn skip_ahead(&mut self) -> Result<()> {
        while self.table.is_some() && self.current().is_none() {
            if let Some(table) = self.open(self.index + 1)? {
                table.seek_first()?;
            }
        }
        Ok(())
    }

    fn skip_back(&mut self) -> Result<()> {
        while self.table.is_some() && self.current().is_none() {
            if let Some(table) = self.open(self.index.wrapping_sub(1))? {
                table.seek_last()?;
            }
        }
        Ok(())
    }
}

impl EntryCursor for LevelCursor {
    fn current(&self) -> Option<EntryRef<'_>> {
        self.table.as_ref()?.current()
    }

    fn seek(&mut self, key: &[u8], seqno: SeqNo) -> Result<()> {
        let index = self.index_for(key);
        if let Some(table) = self.open(index)? {
            table.seek(key, seqno)?;
        }
        self.skip_ahead()
    }

    fn seek_back(&mut self, key: &[u8], seqno: SeqNo) -> Result<()> {
        let index = self.index_for(key);
        match self.open(index)? {
            Some(table) => table.seek_back(key, seqno)?,
            None => return self.seek_last(),
        }
        self.skip_back()
    }

    fn seek_last(&mut self) -> Result<()> {
        let last = self.version.level(self.level).len().wrapping_sub(1);
        if let Some(table) = self.open(last)? {
            table.seek_last()?;
        }
        self.skip_back()
    }

    fn next(&mut self) -> Result<()> {
        if let Some(table) = &mut self.table {
            table.next()?;
        }
        self.skip_ahead()
    }

    fn prev(&mut self) -> Result<()> {
        if let Some(table) = &mut self.table {
            table.prev()?;
        }
        self.skip_back()
    }
}

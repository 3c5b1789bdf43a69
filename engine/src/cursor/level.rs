//! Walks tables that ascend and do not overlap as one: a level below 0, or a part of it.
//!
//! - At most one table is under the cursor; it is opened when the cursor reaches it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::entry::{EntryCursor, EntryRef};
use crate::error::Result;
use crate::table::{Fill, LiveTable, TableCursor, TableOpener};
use crate::types::SeqNo;
use crate::version::Version;

/// Which tables.
enum Run {
    Level(Arc<Version>, usize),
    Some(Vec<Arc<LiveTable>>),
}

impl Run {
    fn tables(&self) -> &[Arc<LiveTable>] {
        match self {
            Self::Level(version, level) => version.level(*level),
            Self::Some(tables) => tables,
        }
    }
}

/// A cursor over a sorted run of tables.
pub(crate) struct LevelCursor {
    run: Run,
    opener: Arc<TableOpener>,
    fill: Fill,
    index: usize,
    table: Option<TableCursor>,
}

impl LevelCursor {
    /// Over a whole level.
    pub(crate) fn new(
        version: Arc<Version>,
        level: usize,
        opener: Arc<TableOpener>,
        fill: Fill,
    ) -> Self {
        Self::over(Run::Level(version, level), opener, fill)
    }

    /// Over these tables of one level, in their order.
    pub(crate) fn over_tables(
        tables: Vec<Arc<LiveTable>>,
        opener: Arc<TableOpener>,
        fill: Fill,
    ) -> Self {
        Self::over(Run::Some(tables), opener, fill)
    }

    const fn over(run: Run, opener: Arc<TableOpener>, fill: Fill) -> Self {
        Self {
            run,
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
        let Some(table) = self.run.tables().get(index) else {
            return Ok(None);
        };
        self.index = index;
        self.table = Some(table.reader(&self.opener)?.cursor(self.fill));
        Ok(self.table.as_mut())
    }

    /// The first table whose largest key is at or behind `key`.
    fn index_for(&self, key: &[u8]) -> usize {
        let tables = self.run.tables();
        tables.partition_point(|table| *table.meta().largest < *key)
    }

    fn skip_ahead(&mut self) -> Result<()> {
        while self.table.as_ref().is_some_and(|table| !table.is_placed()) {
            if let Some(table) = self.open(self.index + 1)? {
                table.seek_first()?;
            }
        }
        Ok(())
    }

    fn skip_back(&mut self) -> Result<()> {
        while self.table.as_ref().is_some_and(|table| !table.is_placed()) {
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
        let last = self.run.tables().len().wrapping_sub(1);
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

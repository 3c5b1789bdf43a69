//! The range tombstones of tables: what covers a key, and all of them in order.
//!
//! - They lie in blocks of their own, which are read when somebody looks; fragments do not overlap,
//!   so the last one that begins at or before a key is the one that may cover it.
//! - A fragment has one entry for each of its tombstones.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use crate::entry::EntryCursor;
use crate::error::Result;
use crate::table::cursor::TableCursor;
use crate::table::reader::{LiveTable, TableReader};
use crate::table::sink::TableOpener;
use crate::tombstone::{Fragment, FragmentSource, Window};
use crate::types::{SEQNO_MAX, SeqNo};

impl TableReader {
    /// The newest range tombstone at or before `seqno` that covers `key`; 0 where there is none.
    pub(super) fn covering(self: &Arc<Self>, key: &[u8], seqno: SeqNo) -> Result<SeqNo> {
        let mut cursor = self.range_cursor();
        cursor.seek_back(key, 0)?;
        let covers = |cursor: &TableCursor| {
            let entry = cursor.current()?;
            (*key < *entry.value).then(|| entry.key.to_vec())
        };
        match covers(&cursor) {
            Some(start) => newest(&mut cursor, &start, seqno),
            None => Ok(0),
        }
    }

    /// The stretch around `key` that is covered as `key` is, for a reader at `seqno`.
    fn window(self: &Arc<Self>, key: &[u8], seqno: SeqNo) -> Result<Window> {
        let mut cursor = self.range_cursor();
        cursor.seek_back(key, 0)?;
        let owned = |cursor: &TableCursor| {
            let entry = cursor.current()?;
            Some((entry.key.to_vec(), entry.value.to_vec()))
        };
        let before = owned(&cursor);
        if let Some((start, end)) = before.as_ref().filter(|(_, end)| *key < **end) {
            let covering = newest(&mut cursor, start, seqno)?;
            return Ok(Window::between(Some(start), Some(end), covering));
        }
        cursor.seek(key, 0)?;
        let behind = owned(&cursor).map(|(start, _)| start);
        let first = before.as_ref().map(|(_, end)| &**end);
        Ok(Window::between(first, behind.as_deref(), 0))
    }
}

/// The newest tombstone at or before `seqno` of the fragment that begins at `start`.
fn newest(cursor: &mut TableCursor, start: &[u8], seqno: SeqNo) -> Result<SeqNo> {
    cursor.seek(start, seqno)?;
    let Some(entry) = cursor.current().filter(|entry| entry.key == start) else {
        return Ok(0);
    };
    entry.verify()?;
    Ok(entry.seqno)
}

/// Tables with range tombstones that ascend and do not overlap, as one place for a cursor.
pub(crate) struct RunWindows {
    pub(crate) tables: Vec<Arc<LiveTable>>,
    pub(crate) opener: Arc<TableOpener>,
}

impl RunWindows {
    /// The stretch around `key` that is covered as `key` is, for a reader at `seqno`.
    pub(crate) fn window(&self, key: &[u8], seqno: SeqNo) -> Result<Window> {
        let tables = &self.tables;
        let index = tables.partition_point(|table| *table.meta().largest < *key);
        let at = tables.get(index).map(|table| (table, table.meta()));
        if let Some((table, meta)) = at.filter(|(_, meta)| meta.covers(key)) {
            let within = Window {
                first: Bound::Included(meta.smallest.clone()),
                last: Bound::Included(meta.largest.clone()),
                seqno: 0,
            };
            let window = table.reader(&self.opener)?.window(key, seqno)?;
            return Ok(window.and(&within));
        }
        let before = index.checked_sub(1).and_then(|before| tables.get(before));
        let first = before.map(|table| table.meta().largest.clone());
        let last = at.map(|(_, meta)| meta.smallest.clone());
        Ok(Window {
            first: first.map_or(Bound::Unbounded, Bound::Excluded),
            last: last.map_or(Bound::Unbounded, Bound::Excluded),
            seqno: 0,
        })
    }
}

/// Gives the range tombstones of tables that ascend and do not overlap.
pub(crate) struct RunFragments {
    tables: alloc::vec::IntoIter<Arc<LiveTable>>,
    opener: Arc<TableOpener>,
    first: Vec<u8>,
    cursor: Option<TableCursor>,
}

impl RunFragments {
    /// All that reach to `first` or behind it.
    pub(crate) fn new(tables: &[Arc<LiveTable>], opener: &Arc<TableOpener>, first: &[u8]) -> Self {
        let reach =
            |table: &&Arc<LiveTable>| table.meta().has_ranges() && *first <= *table.meta().largest;
        let tables: Vec<_> = tables.iter().filter(reach).cloned().collect();
        Self {
            tables: tables.into_iter(),
            opener: Arc::clone(opener),
            first: first.to_vec(),
            cursor: None,
        }
    }

    /// Goes on to the next table; `false` behind the last one.
    fn open_next(&mut self) -> Result<bool> {
        let Some(table) = self.tables.next() else {
            return Ok(false);
        };
        let mut cursor = table.reader(&self.opener)?.range_cursor();
        cursor.seek_back(&self.first, 0)?;
        let start = cursor.current().map(|entry| entry.key.to_vec());
        match start {
            Some(start) => cursor.seek(&start, SEQNO_MAX)?,
            None => cursor.seek_first()?,
        }
        self.cursor = Some(cursor);
        Ok(true)
    }
}

impl FragmentSource for RunFragments {
    fn next(&mut self) -> Result<Option<Fragment>> {
        loop {
            if let Some(cursor) = &mut self.cursor
                && let Some(entry) = cursor.current()
            {
                let mut fragment = Fragment::of(&entry)?;
                cursor.next()?;
                while let Some(entry) = cursor.current().filter(|entry| entry.key == fragment.start)
                {
                    fragment.add_older(&entry)?;
                    cursor.next()?;
                }
                return Ok(Some(fragment));
            }
            self.cursor = None;
            if !self.open_next()? {
                return Ok(None);
            }
        }
    }
}

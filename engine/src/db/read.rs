//! The path of a read: memtable, memtables that wait, level 0 newest first, deeper levels.
//!
//! - The first place that knows the key answers; a tombstone is an answer.
//! - An error ends the search: what is below may be older.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::{Bound, RangeBounds};

use crate::cursor::{Cursor, KeyRange, LevelCursor, MergeCursor, Shade, ShadePlace, prefix_range};
use crate::db::Db;
use crate::db::multi_get::find_in_memory;
use crate::db::state::{Snapshot, SuperVersion};
use crate::entry::{BoxCursor, Value};
use crate::error::Result;
use crate::filter::filter_hash;
use crate::table::{Fill, RunWindows, TableMeta};
use crate::types::{KeyKind, SeqNo};
use crate::version::LEVEL_COUNT;

impl Db {
    /// The value of `key`, now or at a snapshot.
    ///
    /// # Errors
    /// `Corruption`, `Authentication`, `Io`: the bytes that hold the answer cannot be read.
    pub fn get(&self, key: &[u8], at: Option<&Snapshot>) -> Result<Option<Value>> {
        let view = self.super_version();
        self.find(&view, key, self.seqno_of(at))
    }

    /// A cursor over the keys of `range`, now or at a snapshot.
    ///
    /// # Errors
    /// Where a table cannot be opened.
    pub fn range<'a>(
        &self,
        range: impl RangeBounds<&'a [u8]>,
        at: Option<&Snapshot>,
    ) -> Result<Cursor> {
        let own = |bound: Bound<&&[u8]>| bound.map(|key| key.to_vec());
        self.cursor((own(range.start_bound()), own(range.end_bound())), at)
    }

    /// A cursor over the keys that begin with `prefix`, now or at a snapshot.
    ///
    /// # Errors
    /// Where a table cannot be opened.
    pub fn prefix(&self, prefix: &[u8], at: Option<&Snapshot>) -> Result<Cursor> {
        self.cursor(prefix_range(prefix), at)
    }

    pub(super) fn seqno_of(&self, at: Option<&Snapshot>) -> SeqNo {
        at.map_or_else(|| self.last_seqno(), Snapshot::seqno)
    }

    fn find(&self, view: &SuperVersion, key: &[u8], seqno: SeqNo) -> Result<Option<Value>> {
        let found = self.newest(view, key, seqno)?;
        Ok(found.filter(|value| value.kind != KeyKind::Delete))
    }

    pub(super) fn newest(
        &self,
        view: &SuperVersion,
        key: &[u8],
        seqno: SeqNo,
    ) -> Result<Option<Value>> {
        if let Some(value) = find_in_memory(view, key, seqno)? {
            return Ok(Some(value));
        }
        let hash = filter_hash(key);
        let level_0 = view
            .version
            .level(0)
            .iter()
            .filter(|table| table.meta().covers(key));
        let deeper = (1..LEVEL_COUNT).filter_map(|level| view.version.table_for(level, key));
        for table in level_0.chain(deeper) {
            if table.meta().first_seqno > seqno {
                continue;
            }
            if let Some(value) = table.reader(&self.opener)?.find(key, hash, seqno)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn cursor(&self, range: KeyRange, at: Option<&Snapshot>) -> Result<Cursor> {
        let view = self.super_version();
        let seqno = self.seqno_of(at);
        let mut children: Vec<BoxCursor> = Vec::new();
        // What comes into an empty one from now on is newer than this cursor.
        if !view.memtable.is_empty() {
            children.push(Box::new(view.memtable.cursor()));
        }
        for immutable in &view.immutables {
            children.push(Box::new(immutable.memtable.cursor()));
        }
        for table in view.version.level(0) {
            if may_hold(&range, table.meta()) {
                children.push(Box::new(table.reader(&self.opener)?.cursor(Fill::Keep)));
            }
        }
        for level in 1..LEVEL_COUNT {
            let first = match &range.0 {
                Bound::Included(key) | Bound::Excluded(key) => key.as_slice(),
                Bound::Unbounded => &[],
            };
            let hit = view.version.first_from(level, first);
            if hit.is_some_and(|table| starts_before_end(&range.1, table.meta())) {
                let (version, opener) = (Arc::clone(&view.version), Arc::clone(&self.opener));
                children.push(Box::new(LevelCursor::new(
                    version,
                    level,
                    opener,
                    Fill::Keep,
                )));
            }
        }
        let version = Arc::clone(&view.version);
        let shade = Shade::new(self.shade_places(&view), seqno);
        let merge = MergeCursor::new(children);
        Ok(Cursor::new(merge, shade, version, range, seqno))
    }

    /// All places with range tombstones that a reader of this moment may see.
    fn shade_places(&self, view: &SuperVersion) -> Vec<ShadePlace> {
        let waiting = view.immutables.iter().map(|immutable| &immutable.memtable);
        let memtables = core::iter::once(&view.memtable).chain(waiting);
        let memtables = memtables.filter(|memtable| memtable.has_ranges());
        let mut places: Vec<_> = memtables
            .map(Arc::clone)
            .map(ShadePlace::Memtable)
            .collect();
        let runs = view.version.with_ranges().iter();
        places.extend(runs.map(|tables| {
            ShadePlace::Run(RunWindows {
                tables: tables.clone(),
                opener: Arc::clone(&self.opener),
            })
        }));
        places
    }
}

/// May a table hold keys of the range?
fn may_hold(range: &KeyRange, table: &TableMeta) -> bool {
    let reaches_start = match &range.0 {
        Bound::Included(first) => *first <= table.largest,
        Bound::Excluded(first) => *first < table.largest,
        Bound::Unbounded => true,
    };
    reaches_start && starts_before_end(&range.1, table)
}

/// Does a table begin before the end of a range?
fn starts_before_end(end: &Bound<Vec<u8>>, table: &TableMeta) -> bool {
    match end {
        Bound::Included(last) => *last >= table.smallest,
        Bound::Excluded(last) => *last > table.smallest,
        Bound::Unbounded => true,
    }
}

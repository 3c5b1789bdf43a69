//! What changed since a sequence number: for incremental copies and for replication.
//!
//! - Tables and blocks that hold nothing newer are not read.
//! - The super version is taken before the number of the newest spent tombstone is read: what a
//!   compaction drops meanwhile makes the answer more careful, never less.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::cursor::{Changes, MergeCursor};
use crate::db::Db;
use crate::entry::BoxCursor;
use crate::error::Result;
use crate::table::NewerCursor;
use crate::types::SeqNo;

impl Db {
    /// A cursor over all entries that are newer than `since`, tombstones included.
    ///
    /// It shows, of each key that was written since, its newest entry. Of older versions, those
    /// newer than `since` too, it shows what is still there: a compaction drops a version that a
    /// newer one hides from every snapshot. Of a key that was deleted since it shows the tombstone,
    /// unless a compaction has dropped that: [`Changes::is_complete`] says whether any tombstone
    /// newer than `since` may be gone, or a range of keys may have been deleted since, which no
    /// entry shows. No tombstone goes while a snapshot at or before `since` is held.
    ///
    /// Applied to a copy of the store as it was at `since`, oldest first for each key, what a
    /// complete scan shows gives the store as it is at [`Changes::last_seqno`].
    ///
    /// # Errors
    /// Where a table cannot be opened.
    pub fn scan_since(&self, since: SeqNo) -> Result<Changes> {
        let (view, last_seqno) = self.view_of_now();
        let spent_seqno = self.manifest.lock().state.spent_seqno;
        // Range tombstones are no entries: what they deleted since is not shown.
        let immutables = view.immutables.iter().map(|old| &old.memtable);
        let mut memtables = core::iter::once(&view.memtable).chain(immutables);
        let mut tables = view.version.tables().map(|(_, table)| table.meta());
        let hides_some = memtables.any(|memtable| memtable.has_ranges())
            || tables.any(|meta| meta.has_ranges() && meta.last_seqno > since);
        let mut children: Vec<BoxCursor> = Vec::new();
        let immutables = view.immutables.iter().map(|old| &old.memtable);
        for memtable in core::iter::once(&view.memtable).chain(immutables) {
            children.push(Box::new(memtable.cursor()));
        }
        for (_, table) in view.version.tables() {
            if table.meta().last_seqno > since {
                let reader = table.reader(&self.opener)?;
                children.push(Box::new(NewerCursor::new(Arc::clone(reader), since)?));
            }
        }
        Ok(Changes::new(
            MergeCursor::new(children),
            Arc::clone(&view.version),
            since,
            last_seqno,
            spent_seqno <= since && !hides_some,
        ))
    }
}

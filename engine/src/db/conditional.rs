//! Batches that are applied only if nobody was faster: compare-and-set for one key or several.
//!
//! - What a caller has seen of a key is the sequence number of its entry, or that there is none. A
//!   number is given once, so a key that was changed and changed back is another one.
//! - The keys are compared before the lock of the writer is taken; under it only what was written
//!   since is looked at. That lies in memory, or in tables younger than the comparison.

use crate::batch::WriteBatch;
use crate::db::Db;
use crate::db::WriteOptions;
use crate::db::state::SuperVersion;
use crate::error::Result;
use crate::filter::filter_hash;
use crate::types::{KeyKind, SEQNO_MAX, SeqNo};

/// A key and the sequence number of the entry that the caller saw; `None`: it saw none.
type Seen<'a> = (&'a [u8], Option<SeqNo>);

impl Db {
    /// Applies `batch` if each key of `seen` still has the entry with that sequence number, or still
    /// has none; `None` where one of them has not, and then nothing was done.
    ///
    /// The keys that are compared need not be those that the batch writes.
    ///
    /// # Errors
    /// Those of [`Db::write`] and [`Db::get`].
    pub fn write_if(
        &self,
        batch: WriteBatch,
        seen: &[Seen<'_>],
        options: WriteOptions,
    ) -> Result<Option<SeqNo>> {
        let (view, compared_at) = self.view_of_now();
        for &(key, expected) in seen {
            let newest = self.newest(&view, key, compared_at)?;
            let found = newest.filter(|value| value.kind != KeyKind::Delete);
            if found.map(|value| value.seqno) != expected {
                return Ok(None);
            }
        }
        drop(view);
        self.write_unless(&batch, options, &|| self.is_any_newer(seen, compared_at))
    }

    /// Was one of the keys written behind `seqno`? REQUIRES: the lock of the writer.
    pub(super) fn is_any_newer(&self, seen: &[Seen<'_>], seqno: SeqNo) -> Result<bool> {
        let view = self.super_version();
        for (key, _) in seen {
            if self.is_newer(&view, key, seqno)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_newer(&self, view: &SuperVersion, key: &[u8], seqno: SeqNo) -> Result<bool> {
        let waiting = view.immutables.iter();
        let waiting = waiting.filter(|other| other.last_seqno > seqno);
        let waiting = waiting.map(|other| &other.memtable);
        for memtable in core::iter::once(&view.memtable).chain(waiting) {
            let found = memtable.find(key, SEQNO_MAX)?;
            if found.is_some_and(|value| value.seqno > seqno) {
                return Ok(true);
            }
        }
        let younger = view.version.tables().filter(|(_, table)| {
            let meta = table.meta();
            meta.last_seqno > seqno && meta.covers(key)
        });
        for (_, table) in younger {
            let reader = table.reader(&self.opener)?;
            let found = reader.find(key, filter_hash(key), SEQNO_MAX)?;
            if found.is_some_and(|value| value.seqno > seqno) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

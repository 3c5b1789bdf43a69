//! Point reads of many keys at once: level by level, each block once.
//!
//! - All answers are of the same moment.
//! - A key goes on to the next place only while nothing has answered it: an error is an answer, as
//!   what is below may be older.

use alloc::vec::Vec;

use crate::db::Db;
use crate::db::state::{Snapshot, SuperVersion};
use crate::entry::Value;
use crate::error::Result;
use crate::filter::filter_hash;
use crate::table::{Ask, LiveTable};
use crate::types::{KeyKind, SeqNo};
use crate::version::LEVEL_COUNT;

/// Answers by the place of their key; `None`: not found yet.
type Answers = Vec<Option<Result<Value>>>;

impl Db {
    /// The values of several keys, all at the same moment.
    #[must_use]
    pub fn multi_get(&self, keys: &[&[u8]], at: Option<&Snapshot>) -> Vec<Result<Option<Value>>> {
        let view = self.super_version();
        let seqno = self.seqno_of(at);
        let mut answers: Answers = keys.iter().map(|_| None).collect();
        let mut asks: Vec<Ask<'_>> = Vec::with_capacity(keys.len());
        for (index, key) in keys.iter().enumerate() {
            match find_in_memory(&view, key, seqno) {
                Ok(None) => {
                    let hash = filter_hash(key);
                    asks.push(Ask { key, hash, index });
                }
                Ok(Some(value)) => answers[index] = Some(Ok(value)),
                Err(error) => answers[index] = Some(Err(error)),
            }
        }
        asks.sort_by_key(|ask| ask.key);
        for level in 0..LEVEL_COUNT {
            for table in view.version.level(level) {
                if asks.is_empty() {
                    break;
                }
                let meta = table.meta();
                let from = asks.partition_point(|ask| *ask.key < *meta.smallest);
                let to = asks.partition_point(|ask| *ask.key <= *meta.largest);
                if from < to && meta.first_seqno <= seqno {
                    self.ask(table, &asks[from..to], seqno, &mut answers);
                    asks.retain(|ask| answers[ask.index].is_none());
                }
            }
        }
        let shown = |value: Value| Some(value).filter(|value| value.kind != KeyKind::Delete);
        let answers = answers.into_iter();
        answers
            .map(|answer| answer.map_or(Ok(None), |found| found.map(shown)))
            .collect()
    }

    fn ask(&self, table: &LiveTable, asks: &[Ask<'_>], seqno: SeqNo, answers: &mut Answers) {
        match table.reader(&self.opener) {
            Ok(reader) => reader.find_many(asks, seqno, &mut |index, answer| {
                answers[index] = answer.transpose();
            }),
            Err(error) => {
                for ask in asks {
                    answers[ask.index] = Some(Err(error.duplicate()));
                }
            }
        }
    }
}

/// What the memtables say of a key, the newest first.
pub(super) fn find_in_memory(
    view: &SuperVersion,
    key: &[u8],
    seqno: SeqNo,
) -> Result<Option<Value>> {
    let waiting = view.immutables.iter().map(|immutable| &immutable.memtable);
    for memtable in core::iter::once(&view.memtable).chain(waiting) {
        if let Some(value) = memtable.find(key, seqno)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

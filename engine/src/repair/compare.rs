//! What the contents of tables say: which of two is newer, and whether some hold what others do.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::cursor::MergeCursor;
use crate::entry::{BoxCursor, EntryCursor};
use crate::error::Result;
use crate::table::{Fill, LiveTable, RunFragments, TableCursor, TableOpener};
use crate::tombstone::FragmentSource;
use crate::types::{KeyKind, SEQNO_MAX};

/// A table with what is known of it.
pub(super) struct Side<'a> {
    pub(super) table: &'a Arc<LiveTable>,
    /// The level that it was written for.
    pub(super) level: Option<u8>,
}

/// `Less`: for every key that both hold, the entries of `a` are newer. `Equal`: they share none.
///
/// Whichever has only newer sequence numbers is newer. A table that was written later, and for no
/// deeper a level, lies above one that it overlaps: to get below it would have been merged with it.
/// Otherwise the first key that both hold tells. Where that cannot be read, the older file does not
/// lie below the younger one, which was written for a deeper level.
pub(super) fn newer(opener: &Arc<TableOpener>, a: &Side<'_>, b: &Side<'_>) -> Result<Ordering> {
    let (first, second) = (a.table.meta(), b.table.meta());
    if first.first_seqno > second.last_seqno {
        return Ok(Ordering::Less);
    }
    if second.first_seqno > first.last_seqno {
        return Ok(Ordering::Greater);
    }
    let by_number = second.number.cmp(&first.number);
    if let (Some(a), Some(b)) = (a.level, b.level) {
        let (older, younger) = if first.number < second.number {
            (a, b)
        } else {
            (b, a)
        };
        if younger <= older {
            return Ok(by_number);
        }
    }
    let by_contents = by_contents(opener, a.table, b.table);
    Ok(by_contents.unwrap_or_else(|_| match (a.level, b.level) {
        (Some(_), Some(_)) => by_number.reverse(),
        _ => second.last_seqno.cmp(&first.last_seqno),
    }))
}

fn by_contents(
    opener: &Arc<TableOpener>,
    a: &Arc<LiveTable>,
    b: &Arc<LiveTable>,
) -> Result<Ordering> {
    let (mut left, mut right) = (cursor(opener, a)?, cursor(opener, b)?);
    left.seek(&b.meta().smallest, SEQNO_MAX)?;
    right.seek(&a.meta().smallest, SEQNO_MAX)?;
    while let (Some(x), Some(y)) = (left.current(), right.current()) {
        match x.key.cmp(y.key) {
            Ordering::Less => {
                let key = y.key.to_vec();
                left.seek(&key, SEQNO_MAX)?;
            }
            Ordering::Greater => {
                let key = x.key.to_vec();
                right.seek(&key, SEQNO_MAX)?;
            }
            Ordering::Equal => match y.seqno.cmp(&x.seqno) {
                Ordering::Equal => left.next()?,
                order => return Ok(order),
            },
        }
    }
    Ok(
        match (covers_older(opener, a, b)?, covers_older(opener, b, a)?) {
            (Some(true), _) | (_, Some(false)) => Ordering::Less,
            (Some(false), _) | (_, Some(true)) => Ordering::Greater,
            _ => Ordering::Equal,
        },
    )
}

/// Is the first range tombstone of `a` that covers an entry of `b` newer than that?
fn covers_older(
    opener: &Arc<TableOpener>,
    a: &Arc<LiveTable>,
    b: &Arc<LiveTable>,
) -> Result<Option<bool>> {
    let mut fragments = RunFragments::new(core::slice::from_ref(a), opener, &b.meta().smallest);
    let mut entries = cursor(opener, b)?;
    while let Some(fragment) = fragments.next()? {
        entries.seek(&fragment.start, SEQNO_MAX)?;
        let Some(entry) = entries.current() else {
            break;
        };
        if *entry.key < *fragment.end {
            return Ok(Some(fragment.next_newer(entry.seqno).is_some()));
        }
    }
    Ok(None)
}

fn cursor(opener: &Arc<TableOpener>, table: &Arc<LiveTable>) -> Result<TableCursor> {
    Ok(table.reader(opener)?.cursor(Fill::Pass))
}

/// Does `outputs` hold, of each key in `inputs`, its newest entry or a newer one? A tombstone may be
/// wanting where no other table can hold older entries of its key.
pub(super) fn covers(
    opener: &Arc<TableOpener>,
    inputs: Vec<Arc<LiveTable>>,
    outputs: Vec<Arc<LiveTable>>,
    may_be_below: &dyn Fn(&[u8]) -> bool,
) -> Result<bool> {
    if inputs.iter().any(|table| table.meta().has_ranges()) {
        // What they hide is in no output, and an output may hold nothing else.
        return Ok(false);
    }
    let merge = |tables: Vec<Arc<LiveTable>>| -> Result<MergeCursor> {
        let children = tables
            .iter()
            .map(|table| Ok(Box::new(cursor(opener, table)?) as BoxCursor));
        let mut merge = MergeCursor::new(children.collect::<Result<_>>()?);
        merge.seek_first()?;
        Ok(merge)
    };
    let (mut inputs, mut outputs) = (merge(inputs)?, merge(outputs)?);
    let mut key: Option<Vec<u8>> = None;
    while let Some(entry) = inputs.current() {
        if key.as_deref() == Some(entry.key) {
            inputs.next()?;
            continue;
        }
        while outputs.current().is_some_and(|other| other.key < entry.key) {
            outputs.next()?;
        }
        let is_there = outputs
            .current()
            .is_some_and(|other| other.key == entry.key && other.seqno >= entry.seqno);
        let is_spent = || entry.kind == KeyKind::Delete && !may_be_below(entry.key);
        if !is_there && !is_spent() {
            return Ok(false);
        }
        key = Some(entry.key.to_vec());
        inputs.next()?;
    }
    Ok(true)
}

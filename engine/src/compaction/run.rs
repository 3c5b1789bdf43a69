//! Carries out a flush or a compaction, or a piece of one: entries in, tables out.
//!
//! - Input is in internal order; the output holds, for every reader, the same answers.
//! - Tables are cut between two keys, never between two versions of one.
//! - Every entry is checked against its digest before it is written.
//! - Range tombstones go along: entries that they hide from everybody are left out, and told.
//! - Nothing is installed here: the caller commits the tables and the annex updates together.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::compaction::ranges::Ranges;
use crate::compaction::retention::{Fate, Retention};
use crate::compaction::split::Cutter;
use crate::entry::{EntryCursor, EntryRef, KEY_LEN_MAX};
use crate::env::File;
use crate::error::Result;
use crate::hook::IndirectSession;
use crate::table::{TableMeta, TableWriter};
use crate::tombstone::{Fragment, Sweep, successor};
use crate::types::{KeyKind, SEQNO_MAX, SeqNo};
use crate::version::AnnexUpdates;

/// Work between two calls of `Job::between`: entries, and KiB of them.
const WORK_BETWEEN: usize = 1024;

/// What a flush or compaction needs besides its input.
pub(crate) struct Job<'a> {
    pub(crate) retention: Retention,
    /// May levels deeper than the output hold this key?
    pub(crate) may_be_below: &'a dyn Fn(&[u8]) -> bool,
    /// May they hold keys from the first one on, before the second one?
    pub(crate) may_overlap_below: &'a dyn Fn(&[u8], &[u8]) -> bool,
    /// Range tombstones of the input, within the keys of the job.
    pub(crate) ranges: Sweep,
    pub(crate) session: Option<Box<dyn IndirectSession>>,
    /// Opens the next table.
    pub(crate) new_table: &'a mut dyn FnMut() -> Result<TableWriter>,
    /// Makes a whole table durable.
    pub(crate) sync: &'a dyn Fn(&dyn File) -> Result<()>,
    pub(crate) cutter: Cutter,
    /// Keys from here on, and before there; `None` is the end of all keys.
    pub(crate) first: &'a [u8],
    pub(crate) end: Option<&'a [u8]>,
    /// Called now and then with the bytes written since: lets urgent work go first, slows this
    /// one down, or ends it.
    pub(crate) between: &'a mut dyn FnMut(u64) -> Result<()>,
}

/// What came out.
#[derive(Default)]
pub(crate) struct Output {
    pub(crate) tables: Vec<TableMeta>,
    pub(crate) annex: AnnexUpdates,
    /// Does any entry hold a pointer?
    pub(crate) has_pointers: bool,
    /// The newest tombstone that was left out because it hid nothing any more.
    pub(crate) spent_seqno: SeqNo,
    /// What watched the work; to be finished when all of it is done.
    sessions: Vec<Box<dyn IndirectSession>>,
}

impl Output {
    /// Bytes of all tables.
    pub(crate) fn len(&self) -> u64 {
        self.tables.iter().map(|table| table.root.len).sum()
    }

    /// Adds the outcome of the next piece.
    pub(crate) fn append(&mut self, other: Self) {
        self.tables.extend(other.tables);
        self.annex.extend(other.annex);
        self.has_pointers |= other.has_pointers;
        self.spent_seqno = self.spent_seqno.max(other.spent_seqno);
        self.sessions.extend(other.sessions);
    }

    /// Ends the watch: the updates of the annex are those of all that came out.
    pub(crate) fn end_sessions(&mut self) -> Result<()> {
        for session in self.sessions.drain(..) {
            self.annex.extend(session.finish()?);
        }
        Ok(())
    }
}

/// Reads `cursor` over the keys of the job and writes what survives.
pub(crate) fn run(cursor: &mut dyn EntryCursor, job: Job<'_>) -> Result<Output> {
    let mut run = Run {
        ranges: Ranges::new(job.ranges)?,
        retention: job.retention,
        may_be_below: job.may_be_below,
        may_overlap_below: job.may_overlap_below,
        session: job.session,
        new_table: job.new_table,
        sync: job.sync,
        cutter: job.cutter,
        between: job.between,
        writer: None,
        output: Output::default(),
        key: Vec::new(),
        work: 0,
        told_len: 0,
    };
    let mut at_start = true;
    cursor.seek(job.first, SEQNO_MAX)?;
    while let Some(entry) = cursor.current() {
        if at_start || run.key != entry.key {
            if job.end.is_some_and(|end| entry.key >= end) {
                break;
            }
            run.begin_key(entry.key)?;
            at_start = false;
        }
        run.take(&entry)?;
        cursor.next()?;
    }
    run.end()
}

/// A job under way.
struct Run<'a> {
    ranges: Ranges,
    retention: Retention,
    may_be_below: &'a dyn Fn(&[u8]) -> bool,
    may_overlap_below: &'a dyn Fn(&[u8], &[u8]) -> bool,
    session: Option<Box<dyn IndirectSession>>,
    new_table: &'a mut dyn FnMut() -> Result<TableWriter>,
    sync: &'a dyn Fn(&dyn File) -> Result<()>,
    cutter: Cutter,
    between: &'a mut dyn FnMut(u64) -> Result<()>,
    writer: Option<TableWriter>,
    output: Output,
    /// The current key.
    key: Vec<u8>,
    work: usize,
    told_len: u64,
}

impl Run<'_> {
    fn begin_key(&mut self, key: &[u8]) -> Result<()> {
        if self.cutter.ends_before(key, self.table_len()) {
            if let Some(fragment) = self.ranges.cut_behind(&self.key)? {
                self.write_fragment(fragment)?;
            }
            self.end_table()?;
        }
        self.pass(Some(key))?;
        self.key.clear();
        self.key.extend_from_slice(key);
        self.retention.next_key();
        Ok(())
    }

    fn take(&mut self, entry: &EntryRef<'_>) -> Result<()> {
        if self.keep(entry) {
            self.output.has_pointers |= entry.kind == KeyKind::Indirect;
            self.add(entry)?;
        }
        self.account((entry.key.len() + entry.value.len()) / 1024)
    }

    /// Writes what is left.
    fn end(mut self) -> Result<Output> {
        self.pass(None)?;
        self.end_table()?;
        let len = self.output.len();
        (self.between)(len.saturating_sub(self.told_len))?;
        self.output.spent_seqno = self.retention.spent_seqno();
        self.output.sessions.extend(self.session);
        Ok(self.output)
    }

    /// Writes the fragments that end at or before `key`; all that are left where there is no key.
    fn pass(&mut self, key: Option<&[u8]>) -> Result<()> {
        while let Some(mut fragment) = self.ranges.pass(key)? {
            let (start, len) = (&fragment.start, self.table_len());
            // Not before the last key, which is in the table.
            let may_end = *self.key < **start && start.len() <= KEY_LEN_MAX;
            if may_end && self.cutter.ends_before(start, len) {
                let reaches = |writer: &TableWriter| *fragment.start <= *writer.largest();
                if self.writer.as_ref().is_some_and(reaches) {
                    // The table claims the first key of the fragment: then it gets it, too.
                    let rest = fragment.split_off(&successor(&fragment.start))?;
                    self.write_fragment(fragment)?;
                    self.end_table()?;
                    match rest {
                        Some(rest) => fragment = rest,
                        None => continue,
                    }
                }
                self.end_table()?;
            }
            self.write_fragment(fragment)?;
            self.account(0)?;
        }
        Ok(())
    }

    /// Writes those tombstones of a fragment that are still needed.
    fn write_fragment(&mut self, mut fragment: Fragment) -> Result<()> {
        let may_be_below = (self.may_overlap_below)(&fragment.start, &fragment.end);
        self.retention.thin_out(&mut fragment, may_be_below);
        if fragment.is_empty() {
            return Ok(());
        }
        let writer = self.writer()?;
        fragment
            .entries()
            .try_for_each(|entry| writer.add_range(&entry))
    }

    /// Counts an entry or a fragment of about so many KiB, and lets others have their turn.
    fn account(&mut self, kib: usize) -> Result<()> {
        self.work += 1 + kib;
        if self.work >= WORK_BETWEEN {
            self.work = 0;
            let len = self.output.len() + self.table_len();
            (self.between)(len.saturating_sub(self.told_len))?;
            self.told_len = len;
        }
        Ok(())
    }

    /// Bytes of the table that is being written.
    fn table_len(&self) -> u64 {
        self.writer.as_ref().map_or(0, TableWriter::len)
    }

    fn writer(&mut self) -> Result<&mut TableWriter> {
        Ok(match &mut self.writer {
            Some(writer) => writer,
            none => none.insert((self.new_table)()?),
        })
    }

    fn end_table(&mut self) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            let (table, file) = writer.finish()?;
            (self.sync)(&*file)?;
            self.output.tables.push(table);
        }
        Ok(())
    }

    /// Does this entry survive? Tells the session where it does not.
    fn keep(&mut self, entry: &EntryRef<'_>) -> bool {
        let below = || (self.may_be_below)(entry.key);
        let fate = self.retention.fate(entry.seqno, entry.kind, below);
        let is_hidden = || self.ranges.hides(entry.key, entry.seqno, &self.retention);
        if fate == Fate::Keep && !is_hidden() {
            return true;
        }
        if entry.kind == KeyKind::Indirect
            && let Some(session) = &mut self.session
        {
            session.dropped(entry.value);
        }
        false
    }

    /// Writes an entry, with another pointer where the session wants that.
    fn add(&mut self, entry: &EntryRef<'_>) -> Result<()> {
        if entry.kind == KeyKind::Indirect
            && let Some(session) = &mut self.session
        {
            entry.verify()?;
            if let Some(pointer) = session.relocate(entry.key, entry.value)? {
                return self.writer()?.add(&EntryRef {
                    value: &pointer,
                    digest: None,
                    ..*entry
                });
            }
        }
        self.writer()?.add(entry)
    }
}

//! Carries out a flush or a compaction, or a piece of one: entries in, tables out.
//!
//! - Input is in internal order; the output holds, for every reader, the same answers.
//! - Tables are cut between two keys, never between two versions of one.
//! - Every entry is checked against its digest before it is written.
//! - Nothing is installed here: the caller commits the tables and the annex updates together.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::compaction::retention::{Fate, Retention};
use crate::compaction::split::Cutter;
use crate::entry::{EntryCursor, EntryRef};
use crate::env::File;
use crate::error::Result;
use crate::hook::IndirectSession;
use crate::table::{TableMeta, TableWriter};
use crate::types::{KeyKind, SEQNO_MAX, SeqNo};
use crate::version::AnnexUpdates;

/// Work between two calls of `Job::between`: entries, and KiB of them.
const WORK_BETWEEN: usize = 1024;

/// What a flush or compaction needs besides its input.
pub(crate) struct Job<'a> {
    pub(crate) retention: Retention,
    /// May levels deeper than the output hold this key?
    pub(crate) may_be_below: &'a dyn Fn(&[u8]) -> bool,
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
pub(crate) fn run(cursor: &mut dyn EntryCursor, mut job: Job<'_>) -> Result<Output> {
    let mut output = Output::default();
    let mut writer: Option<TableWriter> = None;
    let mut key = Vec::new();
    let (mut work, mut told_len) = (0, 0);
    let mut at_start = true;
    cursor.seek(job.first, SEQNO_MAX)?;
    while let Some(entry) = cursor.current() {
        let new_key = at_start || key != entry.key;
        if new_key {
            if job.end.is_some_and(|end| entry.key >= end) {
                break;
            }
            key.clear();
            key.extend_from_slice(entry.key);
            job.retention.next_key();
            at_start = false;
            let len = writer.as_ref().map_or(0, TableWriter::len);
            if job.cutter.ends_before(entry.key, len) {
                job.finish(&mut writer, &mut output)?;
            }
        }
        work += 1 + (entry.key.len() + entry.value.len()) / 1024;
        if job.keep(&entry) {
            let writer = match &mut writer {
                Some(writer) => writer,
                none => none.insert((job.new_table)()?),
            };
            output.has_pointers |= entry.kind == KeyKind::Indirect;
            job.add(&entry, writer)?;
        }
        if work >= WORK_BETWEEN {
            work = 0;
            let len = output.len() + writer.as_ref().map_or(0, TableWriter::len);
            (job.between)(len.saturating_sub(told_len))?;
            told_len = len;
        }
        cursor.next()?;
    }
    job.finish(&mut writer, &mut output)?;
    (job.between)(output.len().saturating_sub(told_len))?;
    output.spent_seqno = job.retention.spent_seqno();
    output.sessions.extend(job.session);
    Ok(output)
}

impl Job<'_> {
    fn finish(&self, writer: &mut Option<TableWriter>, output: &mut Output) -> Result<()> {
        if let Some(writer) = writer.take() {
            let (table, file) = writer.finish()?;
            (self.sync)(&*file)?;
            output.tables.push(table);
        }
        Ok(())
    }

    /// Does this entry survive? Tells the session where it does not.
    fn keep(&mut self, entry: &EntryRef<'_>) -> bool {
        let below = || (self.may_be_below)(entry.key);
        if self.retention.fate(entry.seqno, entry.kind, below) == Fate::Keep {
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
    fn add(&mut self, entry: &EntryRef<'_>, writer: &mut TableWriter) -> Result<()> {
        if entry.kind == KeyKind::Indirect
            && let Some(session) = &mut self.session
        {
            entry.verify()?;
            if let Some(pointer) = session.relocate(entry.key, entry.value)? {
                return writer.add(&EntryRef {
                    value: &pointer,
                    digest: None,
                    ..*entry
                });
            }
        }
        writer.add(entry)
    }
}

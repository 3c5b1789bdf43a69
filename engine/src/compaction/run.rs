//! Carries out a flush or a compaction: entries in, tables out.
//!
//! - Input is in internal order; the output holds, for every reader, the same answers.
//! - Tables are cut between two keys, never between two versions of one.
//! - Every entry is checked against its digest before it is written.
//! - Nothing is installed here: the caller commits the tables and the annex updates together.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::compaction::retention::{Fate, Retention};
use crate::entry::{EntryCursor, EntryRef};
use crate::env::File;
use crate::error::Result;
use crate::hook::IndirectSession;
use crate::table::{TableMeta, TableWriter};
use crate::types::KeyKind;
use crate::version::AnnexUpdates;

/// Entries between two calls of `Job::between`.
const ENTRIES_BETWEEN: u32 = 1024;

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
    /// Bytes after which a table ends.
    pub(crate) table_len: u64,
    /// Called now and then: lets urgent work go first, or ends this one.
    pub(crate) between: &'a mut dyn FnMut() -> Result<()>,
}

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) tables: Vec<TableMeta>,
    pub(crate) annex: AnnexUpdates,
    /// Does any entry hold a pointer?
    pub(crate) has_pointers: bool,
}

impl Output {
    /// Bytes of all tables.
    pub(crate) fn len(&self) -> u64 {
        self.tables.iter().map(|table| table.root.len).sum()
    }
}

/// Reads `cursor` to its end and writes what survives.
pub(crate) fn run(cursor: &mut dyn EntryCursor, mut job: Job<'_>) -> Result<Output> {
    let mut output = Output::default();
    let mut writer: Option<TableWriter> = None;
    let mut key = Vec::new();
    let mut until_between = ENTRIES_BETWEEN;
    let mut at_start = true;
    cursor.seek_first()?;
    while let Some(entry) = cursor.current() {
        let new_key = at_start || key != entry.key;
        if new_key {
            key.clear();
            key.extend_from_slice(entry.key);
            job.retention.next_key();
            at_start = false;
            if writer
                .as_ref()
                .is_some_and(|writer| writer.len() >= job.table_len)
            {
                job.finish(&mut writer, &mut output)?;
            }
        }
        if job.keep(&entry) {
            let writer = match &mut writer {
                Some(writer) => writer,
                none => none.insert((job.new_table)()?),
            };
            output.has_pointers |= entry.kind == KeyKind::Indirect;
            job.add(&entry, writer)?;
        }
        until_between -= 1;
        if until_between == 0 {
            until_between = ENTRIES_BETWEEN;
            (job.between)()?;
        }
        cursor.next()?;
    }
    job.finish(&mut writer, &mut output)?;
    if let Some(session) = job.session {
        output.annex = session.finish()?;
    }
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

//! Sorted entries that become tables without log and memtable, and part of the store at once.
//!
//! - The tables are written first, whole and durable, beside everything else that goes on. Their
//!   entries have no number yet: the edit that installs them gives them one, newer than all before.
//! - In that moment nothing is in memory, and no writer gets in: who comes waits until the edit is
//!   there. So neither memory nor a log holds anything older that would hide them.
//! - They go where they overlap nothing, as deep as that is, or to level 0.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::db::Db;
use crate::db::compact::Claimed;
use crate::entry::{EntryRef, KEY_LEN_MAX, VALUE_LEN_MAX};
use crate::error::{Error, Result};
use crate::sync::atomic::Ordering;
use crate::table::{Lineage, TableMeta, TableWriter};
use crate::types::{KeyKind, SEQNO_MAX, SeqNo};
use crate::version::{LEVEL_COUNT, Version, VersionEdit};

/// Takes sorted entries, each key once.
pub struct Ingest<'a> {
    db: &'a Db,
    writer: Option<TableWriter>,
    last_key: Vec<u8>,
    tables: VecDeque<TableMeta>,
    /// Files that were made.
    numbers: Vec<u64>,
}

impl Ingest<'_> {
    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// `Invalid` where `key` does not stand behind the one before, or is too long, or `value` is;
    /// those of the medium.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let is_first = self.tables.is_empty() && self.writer.is_none();
        if !is_first && *key <= *self.last_key {
            return Err(Error::invalid("the keys of an ingest must ascend"));
        }
        if key.len() > KEY_LEN_MAX || value.len() > VALUE_LEN_MAX {
            let message = "a key or value is too long (keys: 32 KiB, values: 8 MiB)";
            return Err(Error::invalid(message));
        }
        let len = self.writer.as_ref().map_or(0, TableWriter::len);
        if len >= self.db.options.table_len {
            self.end_table()?;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                self.db.check_writable()?;
                let number = self.db.allocate_number();
                self.numbers.push(number);
                let sink = self.db.opener.create(number)?;
                // Level 0, as after a flush: it is not known yet how deep it goes.
                let lineage = Lineage {
                    obsolete: self.db.obsolete_numbers(),
                    ..Lineage::default()
                };
                let writer = TableWriter::new(sink, number, &self.db.options);
                none.insert(writer.unnumbered().descends(lineage))
            }
        };
        let (seqno, kind, digest) = (0, KeyKind::Put, None);
        writer.add(&EntryRef {
            key,
            seqno,
            kind,
            value,
            digest,
        })?;
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        Ok(())
    }

    fn end_table(&mut self) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            let (table, file) = writer.finish()?;
            self.db.poison_on(file.sync())?;
            self.tables.push_back(table);
        }
        Ok(())
    }

    /// Makes the tables durable.
    fn end(&mut self) -> Result<()> {
        self.end_table()?;
        self.db.poison_on(self.db.env.fs.sync_dir())
    }
}

impl core::fmt::Debug for Ingest<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Ingest")
    }
}

impl Db {
    /// Adds what `fill` gives, sorted by key and each key once, as tables of their own, all or none.
    /// Returns the sequence number of all of it: it is newer than all that was written before, and
    /// durable on return.
    ///
    /// Costs neither log nor memtable. Writers are held off for a moment at the end, while what is
    /// in memory is flushed.
    ///
    /// # Errors
    /// Those of `fill`, of the calls of `put`, of [`Db::flush`], and of the medium; nothing was added
    /// then; but where the store is poisoned, all of it may be found when it is opened again.
    pub fn ingest(&self, fill: impl FnOnce(&mut Ingest<'_>) -> Result<()>) -> Result<SeqNo> {
        self.check_writable()?;
        let mut ingest = Ingest {
            db: self,
            writer: None,
            last_key: Vec::new(),
            tables: VecDeque::new(),
            numbers: Vec::new(),
        };
        let filled = fill(&mut ingest).and_then(|()| ingest.end());
        let Ingest {
            tables, numbers, ..
        } = ingest;
        if let Err(error) = filled {
            self.remove_tables(numbers);
            return Err(error);
        }
        if tables.is_empty() {
            return Ok(self.last_seqno());
        }
        // Most of what is in memory goes before anybody has to wait.
        let added = self.flush().and_then(|()| self.add_tables(tables.into()));
        if added.is_err() && !self.is_poisoned() {
            self.remove_tables(numbers);
        }
        added
    }

    fn add_tables(&self, tables: Vec<TableMeta>) -> Result<SeqNo> {
        let turn = self.ingesting.take();
        let added = self.flush().and_then(|()| self.install_tables(tables));
        drop(turn);
        self.work.progress();
        self.work.ask();
        added
    }

    /// REQUIRES: the turn to ingest; nothing is in memory.
    fn install_tables(&self, mut tables: Vec<TableMeta>) -> Result<SeqNo> {
        let (smallest, largest) = match (tables.first(), tables.last()) {
            (Some(first), Some(last)) => (first.smallest.clone(), last.largest.clone()),
            _ => return Ok(self.last_seqno()),
        };
        let (level, _claimed) = self.place_tables(&smallest, &largest);
        let mut manifest = self.manifest.lock();
        let mut writer = self.writer.lock();
        let seqno = writer.last_seqno + 1;
        if seqno >= SEQNO_MAX {
            return Err(Error::invalid("the store has used up its sequence numbers"));
        }
        // Where a compaction was faster with tables that lie in the way, only level 0 is left.
        let deepest = deepest_level(&manifest.state.version, &smallest, &largest);
        let level = if deepest < level { 0 } else { level };
        for table in &mut tables {
            (table.first_seqno, table.last_seqno) = (seqno, seqno);
        }
        let edit = VersionEdit {
            added: tables.into_iter().map(|meta| (level, meta)).collect(),
            last_seqno: Some(seqno),
            ..VersionEdit::default()
        };
        self.install(&mut manifest, edit, |_| ())?;
        writer.last_seqno = seqno;
        self.visible.store(seqno, Ordering::Release);
        drop((writer, manifest));
        self.mark_synced(seqno);
        Ok(seqno)
    }

    /// The level for tables with these keys, and the right to add them there.
    fn place_tables(&self, smallest: &[u8], largest: &[u8]) -> (usize, Option<Claimed<'_>>) {
        let mut claims = self.compacting.lock();
        let version = Arc::clone(&self.super_version().version);
        let level = deepest_level(&version, smallest, largest);
        let id = match level {
            0 => None,
            _ => claims.claim_output(level, smallest, largest),
        };
        drop(claims);
        match id {
            Some(id) => (level, Some(Claimed::of(self, id))),
            None => (0, None),
        }
    }
}

/// The deepest level that can be reached without passing a table that overlaps.
fn deepest_level(version: &Version, smallest: &[u8], largest: &[u8]) -> usize {
    let is_free = |level: &usize| version.overlapping(*level, smallest, largest).is_empty();
    let free_count = (0..LEVEL_COUNT).take_while(is_free).count();
    free_count.saturating_sub(1)
}

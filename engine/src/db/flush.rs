//! Memtables become tables of level 0.
//!
//! - Oldest first, so that the store on disk is always a prefix of history.
//! - The table is durable before the manifest names it; only then does its log go.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::compaction::{Cutter, Job, Output, Retention, run};
use crate::db::Db;
use crate::db::maintain::Turn;
use crate::db::state::Immutable;
use crate::entry::EntryCursor;
use crate::env::{Event, File};
use crate::error::Result;
use crate::hook::IndirectHook;
use crate::memtable::Memtable;
use crate::options::Options;
use crate::table::{JobQueue, LentThread, Lineage, TableOpener, TableWriter};
use crate::tombstone::{FragmentSource, Sweep};
use crate::types::{FileId, FileKind, SeqNo};
use crate::version::VersionEdit;

impl Db {
    /// Writes everything that is in memory to tables; durable on return.
    ///
    /// # Errors
    /// `Poisoned`, `NoSpace`, `Io`. Without space nothing is lost: what was in memory stays there.
    pub fn flush(&self) -> Result<()> {
        self.check_writable()?;
        self.flush_all()
    }

    /// As [`Db::flush`], also while the store is being closed.
    pub(super) fn flush_all(&self) -> Result<()> {
        let target = {
            let mut writer = self.writer.lock();
            self.rotate(&mut writer)?;
            writer.last_seqno
        };
        let turn = self.flushing.take();
        let waits = |old: &Arc<Immutable>| old.last_seqno <= target;
        let mut flushed = Ok(true);
        while flushed.is_ok() && self.super_version().immutables.last().is_some_and(waits) {
            flushed = self.flush_oldest(true);
        }
        self.end_flush(turn);
        flushed.map(drop)
    }

    /// Flushes what recovery left in memory: its logs are of an earlier run, and no log of this one may
    /// follow them.
    pub(super) fn flush_recovered(&self) -> Result<()> {
        if self.is_flushed(self.recovered_seqno) {
            return Ok(());
        }
        let turn = self.flushing.take();
        // Somebody may have flushed it meanwhile, or closed the store without.
        let flushed = match self.is_flushed(self.recovered_seqno) {
            true => Ok(false),
            false => self.check_writable().and_then(|()| self.flush_oldest(true)),
        };
        self.end_flush(turn);
        flushed.map(drop)
    }

    /// Is nothing up to `seqno` in memory alone?
    fn is_flushed(&self, seqno: SeqNo) -> bool {
        let view = self.super_version.read();
        view.immutables
            .last()
            .is_none_or(|immutable| immutable.last_seqno > seqno)
    }

    /// Whoever found the turn taken looks again.
    fn end_flush(&self, turn: Turn<'_>) {
        drop(turn);
        self.work.progress();
    }

    /// Flushes one memtable, if one waits and nobody flushes.
    pub(super) fn try_flush(&self) -> Result<bool> {
        if self.super_version.read().immutables.is_empty() {
            return Ok(false);
        }
        match self.flushing.try_take() {
            Some(turn) => {
                let flushed = self.flush_oldest(false);
                self.end_flush(turn);
                flushed
            }
            None => Ok(false),
        }
    }

    /// REQUIRES: the turn to flush. `is_awaited`: nothing else goes on before it ends.
    fn flush_oldest(&self, is_awaited: bool) -> Result<bool> {
        let Some(immutable) = self.super_version().immutables.last().cloned() else {
            return Ok(false);
        };
        let snapshots = self.snapshots.seqnos();
        let mut number = || self.allocate_number();
        let flush = Flush {
            opener: &self.opener,
            options: &self.options,
            hook: self.hook.as_deref(),
            obsolete: self.obsolete_numbers(),
            sync: &|file| self.poison_on(file.sync()),
            is_awaited: is_awaited || self.opener.env.spawner.parallelism() > 2,
        };
        let output = flush.write(&immutable.memtable, snapshots, &mut number)?;
        if output.has_pointers {
            self.before_flush()?;
        }
        self.poison_on(self.env.fs.sync_dir())?;
        let gone = {
            let mut manifest = self.manifest.lock();
            let is_gone = |&number: &u64| number <= immutable.wal;
            let wals = manifest.state.wals.keys().copied();
            let wals_removed: Vec<u64> = wals.filter(is_gone).collect();
            let edit = VersionEdit {
                added: output.tables.iter().map(|meta| (0, meta.clone())).collect(),
                wals_removed: wals_removed.clone(),
                last_seqno: Some(immutable.last_seqno),
                annex: output.annex,
                ..VersionEdit::default()
            };
            let installed = self.install(&mut manifest, edit, |view| {
                view.immutables
                    .retain(|other| !Arc::ptr_eq(other, &immutable));
            });
            self.settle(installed, output.tables.iter().map(|meta| meta.number))?;
            // Those of an earlier run the manifest alone knows, those that nobody synced the writer alone.
            let mut gone: BTreeSet<u64> = wals_removed.into_iter().collect();
            let mut writer = self.writer.lock();
            gone.extend(writer.retired.iter().map(|wal| wal.number).filter(is_gone));
            writer.retired.retain(|wal| !is_gone(&wal.number));
            gone
        };
        for number in gone {
            self.remove_file(FileId::new(FileKind::Wal, number));
        }
        self.mark_synced(immutable.last_seqno);
        let file = output.tables.first().map(|meta| meta.file());
        self.env.listener.event(&Event::Flushed { file });
        self.work.ask();
        Ok(true)
    }
}

impl Db {
    /// Removes new tables again where they certainly did not become part of the store.
    pub(super) fn settle(
        &self,
        installed: Result<()>,
        tables: impl Iterator<Item = u64>,
    ) -> Result<()> {
        if installed.is_err() && !self.is_poisoned() {
            tables.for_each(|number| self.remove_file(FileId::new(FileKind::Table, number)));
        }
        installed
    }
}

/// Memtables from this length on are worth a thread that helps.
const SHARED_LEN_MIN: usize = 1 << 20;

/// Writes the table of a memtable: for a running store and for recovery.
pub(crate) struct Flush<'a> {
    pub(crate) opener: &'a TableOpener,
    pub(crate) options: &'a Options,
    pub(crate) hook: Option<&'a dyn IndirectHook>,
    /// Tables whose files are still there although no version names them.
    pub(crate) obsolete: Vec<u64>,
    /// Makes a whole table durable.
    pub(crate) sync: &'a dyn Fn(&dyn File) -> Result<()>,
    /// Nothing else goes on before it ends: another thread may help.
    pub(crate) is_awaited: bool,
}

impl Flush<'_> {
    /// One table; none where nothing survives. On an error its file is removed again.
    pub(crate) fn write(
        &self,
        memtable: &Arc<Memtable>,
        snapshots: Vec<SeqNo>,
        number: &mut dyn FnMut() -> u64,
    ) -> Result<Output> {
        let mut cursor = memtable.cursor();
        let mut sources: Vec<Box<dyn FragmentSource>> = Vec::new();
        if memtable.has_ranges() {
            sources.push(Box::new(memtable.fragments()));
        }
        let ranges = Sweep::new(sources, &[], None)?;
        let seals = JobQueue::new();
        let is_worth_it = self.is_awaited && memtable.byte_len() >= SHARED_LEN_MIN;
        let spawner = &*self.opener.env.spawner;
        let _lent = is_worth_it.then(|| LentThread::at(&seals, spawner));
        self.write_from(&mut cursor, ranges, (snapshots, &seals), number)
    }

    fn write_from(
        &self,
        cursor: &mut dyn EntryCursor,
        ranges: Sweep,
        (snapshots, seals): (Vec<SeqNo>, &Arc<JobQueue>),
        number: &mut dyn FnMut() -> u64,
    ) -> Result<Output> {
        let mut numbers = Vec::new();
        let mut new_table = || {
            let number = number();
            numbers.push(number);
            let sink = self.opener.create(number)?.sealed_at(seals);
            let lineage = Lineage {
                obsolete: self.obsolete.clone(),
                ..Lineage::default()
            };
            Ok(TableWriter::new(sink, number, self.options).descends(lineage))
        };
        let job = Job {
            retention: Retention::new(snapshots),
            may_be_below: &|_| true,
            may_overlap_below: &|_, _| true,
            ranges,
            session: self.hook.map(IndirectHook::session),
            new_table: &mut new_table,
            sync: self.sync,
            cutter: Cutter::never(),
            first: &[],
            end: None,
            between: &mut |_| Ok(()),
        };
        let written = run(cursor, job).and_then(|mut output| {
            output.end_sessions()?;
            Ok(output)
        });
        written.inspect_err(|_| {
            for number in &numbers {
                let _ = self
                    .opener
                    .env
                    .fs
                    .remove(FileId::new(FileKind::Table, *number));
            }
        })
    }
}

//! Compactions of a running store: picked by need or asked for by range.
//!
//! - While a compaction runs, memtables that are full are flushed in between.
//! - Inputs stay on disk until no version and no reader needs them.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use crate::compaction::{Job, Output, Plan, Retention, pick, pick_range, pick_rewrite, run};
use crate::cursor::MergeCursor;
use crate::db::Db;
use crate::db::maintain::Turn;
use crate::entry::BoxCursor;
use crate::env::Event;
use crate::error::{ErrorKind, Result};
use crate::hook::IndirectHook;
use crate::table::{Fill, TableWriter};
use crate::types::{FileId, FileKind};
use crate::version::{LEVEL_COUNT, VersionEdit};

/// How far a compaction of a range has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of tables read so far.
    pub done_len: u64,
    /// Bytes of tables to read, as known so far.
    pub total_len: u64,
}

impl Db {
    /// Compacts all keys in `smallest..=largest` down to the last level, and rewrites what is there
    /// already; `None` stands for the last key of all. Dead entries go, pointers may be relocated.
    ///
    /// # Errors
    /// Those of the medium; `Canceled` where the store is closed meanwhile.
    pub fn compact_range(
        &self,
        smallest: &[u8],
        largest: Option<&[u8]>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        self.flush()?;
        let _turn = self.wait_for_turn(&self.compacting);
        let before = self.next_number.load(Ordering::Relaxed);
        let mut done = Progress::default();
        let mut level = 0;
        while level < LEVEL_COUNT {
            let version = Arc::clone(&self.super_version().version);
            done.total_len = done.done_len
                + version
                    .tables()
                    .map(|(_, t)| t.meta().root.len)
                    .sum::<u64>();
            let is_last = (level + 1..LEVEL_COUNT).all(|level| version.level(level).is_empty());
            let plan = if is_last && level > 0 {
                pick_rewrite(&version, level, smallest, largest, before)
            } else {
                pick_range(&version, &self.options, level, smallest, largest)
            };
            match plan {
                Some(plan) => {
                    let len = plan.input_len();
                    self.carry_out(plan)?;
                    done.done_len += len;
                    progress(done);
                }
                None => level += 1,
            }
        }
        self.remove_obsolete();
        Ok(())
    }

    /// Compacts everything; see [`Db::compact_range`].
    ///
    /// # Errors
    /// As [`Db::compact_range`].
    pub fn compact_all(&self, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        self.compact_range(&[], None, progress)
    }

    /// Carries out the compaction that is needed most, if nobody compacts.
    ///
    /// Where an input is damaged beyond repair the error is returned once, and no compaction is
    /// picked any more until the store is opened again: reads and writes go on without.
    pub(super) fn try_compact(&self) -> Result<bool> {
        if self.is_uncompactable() {
            return Ok(false);
        }
        let Some(_turn) = Turn::take(&self.compacting) else {
            return Ok(false);
        };
        let version = Arc::clone(&self.super_version().version);
        let Some(plan) = pick(&version, &self.options) else {
            return Ok(false);
        };
        let done = self.carry_out(plan);
        if let Err(error) = &done {
            let is_damage = matches!(
                error.kind(),
                ErrorKind::Corruption | ErrorKind::Authentication
            );
            self.uncompactable.fetch_or(is_damage, Ordering::AcqRel);
        }
        done.map(|()| true)
    }

    /// Has a compaction met damage beyond repair?
    pub(super) fn is_uncompactable(&self) -> bool {
        self.uncompactable.load(Ordering::Acquire)
    }

    /// REQUIRES: the turn to compact.
    fn carry_out(&self, plan: Plan) -> Result<()> {
        let level = plan.level as u32;
        let read_len = if plan.trivial { 0 } else { plan.input_len() };
        let removed = plan
            .inputs()
            .map(|(level, table)| (level, table.meta().number))
            .collect();
        let mut edit = VersionEdit {
            removed,
            ..VersionEdit::default()
        };
        let mut write_len = 0;
        if plan.trivial {
            let moved = plan
                .upper
                .iter()
                .map(|table| (plan.output_level, table.meta().clone()));
            edit.added = moved.collect();
        } else {
            let output = self.merge(&plan)?;
            if output.has_pointers {
                self.before_flush()?;
            }
            self.poison_on(self.env.fs.sync_dir())?;
            write_len = output.len();
            edit.added = output
                .tables
                .into_iter()
                .map(|t| (plan.output_level, t))
                .collect();
            edit.annex = output.annex;
        }
        let outputs: Vec<u64> = edit.added.iter().map(|(_, meta)| meta.number).collect();
        let installed = self.install(&mut self.manifest.lock(), edit, |_| ());
        let outputs = outputs.into_iter().filter(|_| !plan.trivial);
        self.settle(installed, outputs)?;
        if !plan.trivial {
            let inputs = plan.inputs().map(|(_, table)| Arc::clone(table));
            self.obsolete.lock().extend(inputs);
        }
        drop(plan);
        self.remove_obsolete();
        self.env.listener.event(&Event::Compacted {
            level,
            read_len,
            write_len,
        });
        Ok(())
    }

    /// Writes the output tables; on an error their files are removed again.
    fn merge(&self, plan: &Plan) -> Result<Output> {
        let mut children: Vec<BoxCursor> = Vec::new();
        for (_, table) in plan.inputs() {
            children.push(Box::new(table.reader(&self.opener)?.cursor(Fill::Pass)));
        }
        let mut cursor = MergeCursor::new(children);
        let version = Arc::clone(&self.super_version().version);
        let mut numbers = Vec::new();
        let mut new_table = || {
            let number = self.allocate_number();
            numbers.push(number);
            Ok(TableWriter::new(
                self.opener.create(number)?,
                number,
                &self.options,
            ))
        };
        let job = Job {
            retention: Retention::new(self.snapshots.seqnos()),
            may_be_below: &|key| version.holds_below(plan.output_level, key),
            session: self.hook.as_deref().map(IndirectHook::session),
            new_table: &mut new_table,
            sync: &|file| self.poison_on(file.sync()),
            table_len: self.options.table_len,
            between: &mut || {
                self.check_writable()?;
                self.try_flush().map(|_| ())
            },
        };
        run(&mut cursor, job).inspect_err(|_| {
            for number in &numbers {
                self.remove_file(FileId::new(FileKind::Table, *number));
            }
        })
    }

    /// Removes the files of tables that nobody reads any more.
    pub(super) fn remove_obsolete(&self) -> bool {
        let mut obsolete = self.obsolete.lock();
        let (gone, kept): (Vec<_>, Vec<_>) = obsolete
            .drain(..)
            .partition(|table| Arc::strong_count(table) == 1);
        *obsolete = kept;
        drop(obsolete);
        for table in &gone {
            self.cache.forget(table.meta().number);
            self.remove_file(table.meta().file());
        }
        !gone.is_empty()
    }
}

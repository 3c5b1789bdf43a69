//! Compactions of a running store: picked by need or asked for by range.
//!
//! - While a compaction runs, memtables that are full are flushed in between.
//! - Several run at once where they do not touch each other; a compaction of a range runs alone.
//! - Inputs stay on disk until no version and no reader needs them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::compaction::{Plan, pick, pick_range, pick_rewrite};
use crate::db::Db;
use crate::db::maintain::LOOK_AGAIN;
use crate::env::Event;
use crate::error::{ErrorKind, Result};
use crate::sync::atomic::Ordering;
use crate::types::{FileId, FileKind};
use crate::version::{LEVEL_COUNT, Version, VersionEdit};

/// How far a compaction of a range has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of tables read so far.
    pub done_len: u64,
    /// Bytes of tables to read, as known so far.
    pub total_len: u64,
}

/// The right to run one compaction, or to be alone with the store; given back when dropped.
pub(super) struct Claimed<'a> {
    db: &'a Db,
    /// `None` is the whole store.
    id: Option<u64>,
}

impl<'a> Claimed<'a> {
    /// The claim with this number.
    pub(super) const fn of(db: &'a Db, id: u64) -> Self {
        Self { db, id: Some(id) }
    }
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        let mut claims = self.db.compacting.lock();
        match self.id {
            Some(id) => claims.release(id),
            None => claims.release_whole(),
        }
        drop(claims);
        self.db.work.progress();
    }
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
        let _whole = self.claim_whole();
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
                pick_rewrite(&version, &self.options, level, smallest, largest, before)
            } else {
                pick_range(&version, &self.options, level, smallest, largest)
            };
            match plan {
                Some(plan) => {
                    let len = plan.input_len();
                    self.carry_out(plan, version)?;
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

    /// Waits until no compaction runs, and lets none begin.
    pub(super) fn claim_whole(&self) -> Claimed<'_> {
        self.compacting.lock().wait_for_whole();
        loop {
            let seen = self.work.done_count();
            if self.compacting.lock().claim_whole() {
                return Claimed { db: self, id: None };
            }
            self.work.wait_for_progress(seen, LOOK_AGAIN);
        }
    }

    /// Carries out the compaction that is needed most among those that may run now.
    ///
    /// Where an input is damaged beyond repair the error is returned once, and no compaction is
    /// picked any more until the store is opened again: reads and writes go on without.
    pub(super) fn try_compact(&self) -> Result<bool> {
        if self.is_uncompactable() {
            return Ok(false);
        }
        let (plan, version, _claimed) = {
            let mut claims = self.compacting.lock();
            // Under the lock: what a claim that is gone has changed is in it.
            let version = Arc::clone(&self.super_version().version);
            let Some(plan) = pick(&version, &self.options, &claims) else {
                return Ok(false);
            };
            let id = Some(claims.claim(&plan));
            (plan, version, Claimed { db: self, id })
        };
        // There may be another one for another thread.
        self.work.ask();
        let done = self.carry_out(plan, version);
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

    /// REQUIRES: a claim on the plan, which was made for `version`.
    fn carry_out(&self, plan: Plan, version: Arc<Version>) -> Result<()> {
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
            let output = self.merge(&plan, &version)?;
            if output.has_pointers {
                self.before_flush()?;
            }
            self.poison_on(self.env.fs.sync_dir())?;
            write_len = output.len();
            edit.spent_seqno = (output.spent_seqno > 0).then_some(output.spent_seqno);
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
        drop((plan, version));
        self.remove_obsolete();
        self.env.listener.event(&Event::Compacted {
            level,
            read_len,
            write_len,
        });
        Ok(())
    }

    /// Removes tables that did not become part of the store.
    pub(super) fn remove_tables(&self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.remove_file(FileId::new(FileKind::Table, number));
        }
    }

    /// Tables whose files are still there for readers of old versions.
    pub(super) fn obsolete_numbers(&self) -> Vec<u64> {
        let obsolete = self.obsolete.lock();
        obsolete.iter().map(|table| table.meta().number).collect()
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
            self.opener.rows.forget(table.meta().number);
            self.remove_file(table.meta().file());
        }
        !gone.is_empty()
    }
}

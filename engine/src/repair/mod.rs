//! Rebuilds the manifest and `CURRENT` from the files of a directory.
//!
//! - Tables say where they come from: of a compaction either the inputs are taken or the outputs.
//!   On which level a table may stand follows from what is in it.
//! - An ingested table is taken only where a manifest that can be read has its number.
//! - Logs are read as far as they go; what is not in tables yet becomes a table.
//! - Nothing is removed: what is not taken gets another name, which nobody reads, and is reported.
//!   Until `CURRENT` is written last, a repair can begin again.
//! - Nobody vouches for the outcome: an old table that somebody put back is taken like any other.
//!   The layer above must look after its annex: only a manifest that can be read, wholly or up to
//!   some edit, has it.

mod arrange;
mod choose;
mod compare;
mod logs;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::cache::Cache;
use crate::crypto::KeySource;
use crate::db::{Flush, number_after, opener};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::hook::IndirectHook;
use crate::manifest::{CURRENT, Manifest, Place, Replayed, State, salvage_manifest};
use crate::memtable::Memtable;
use crate::options::{KvProtection, Options};
use crate::table::{Lineage, LiveTable, TableMeta, TableOpener};
use crate::types::{FileId, FileKind, SEQNO_MAX, SeqNo, StoreId};
use crate::version::{LEVEL_COUNT, Version};
use crate::wal::batches;

use logs::Salvaged;

/// Why a file is not part of the store any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A table that outputs of a compaction stand for.
    Superseded,
    /// A table of a compaction that did not come to its end.
    Unfinished,
    /// An ingested table: its entries have no number of their own, and no manifest that can be read
    /// has it. Nor is it known whether the ingest came to its end.
    Unnumbered,
    /// It cannot be read.
    Unreadable,
    /// A log whose contents are in tables.
    Replayed,
    /// A manifest, `CURRENT`, or what was to become one.
    Replaced,
}

/// A file that was not taken.
#[derive(Debug)]
pub struct SetAside {
    /// What it was.
    pub file: FileId,
    /// The name that it has now.
    pub name: FileId,
    /// Why.
    pub reason: Reason,
    /// What reading it ended with, where that was an error.
    pub error: Option<Error>,
}

/// What a repair did.
#[derive(Debug, Default)]
pub struct RepairReport {
    /// Tables that were there and are part of the store.
    pub taken: Vec<FileId>,
    /// Tables that were written from logs.
    pub written: Vec<FileId>,
    /// Files that are not part of the store any more.
    pub set_aside: Vec<SetAside>,
    /// Batches of the logs that were in no table.
    pub batch_count: u64,
    /// Sequence numbers, from the first on and before the second, that no log and no table has.
    pub gaps: Vec<(SeqNo, SeqNo)>,
    /// Records of the annex that a manifest still had.
    pub annex_count: usize,
    /// The newest entry.
    pub last_seqno: SeqNo,
}

/// Rebuilds manifest and `CURRENT` of the store in `env`. `hook` is asked what pointers in the logs
/// lead to; nothing else is told to it.
///
/// # Errors
/// `Locked`; `Invalid` where there is nothing to build from; `KeyMissing` and `Unsupported` of any
/// file, and the first error of all where no file can be read: nothing is changed then. Those of
/// the medium.
pub fn repair(
    env: &Env,
    keys: &Arc<dyn KeySource>,
    store_id: StoreId,
    options: &Options,
    hook: Option<&dyn IndirectHook>,
) -> Result<RepairReport> {
    let _lock = env.fs.lock()?;
    let place = Place {
        env: env.clone(),
        keys: Arc::clone(keys),
        store_id,
        transform: options.transform,
    };
    let files = env.fs.list()?;
    let mut repair = Repair {
        opener: Arc::new(opener(&place, &Arc::new(Cache::new(options.cache_len)), 0)),
        options,
        hook,
        has_pointers: false,
        next_number: AtomicU64::new(number_after(&files)),
        place,
        state: State::empty(),
        manifest: None,
        tables: BTreeMap::new(),
        aside: Vec::new(),
        report: RepairReport::default(),
    };
    repair.read_manifests(&files);
    let next_number = repair.state.next_number;
    repair.next_number.fetch_max(next_number, Ordering::Relaxed);
    repair.read_tables(&files)?;
    repair.read_logs(&files)?;
    repair.arrange()?;
    repair.commit(&files)
}

struct Found {
    table: Arc<LiveTable>,
    lineage: Option<Lineage>,
}

struct Repair<'a> {
    place: Place,
    opener: Arc<TableOpener>,
    options: &'a Options,
    hook: Option<&'a dyn IndirectHook>,
    /// Was a pointer taken from a log?
    has_pointers: bool,
    next_number: AtomicU64,
    /// What will be committed.
    state: State,
    /// The manifest that knows most.
    manifest: Option<Replayed>,
    /// Tables that are taken.
    tables: BTreeMap<u64, Found>,
    aside: Vec<(FileId, Reason, Option<Error>)>,
    report: RepairReport,
}

impl Repair<'_> {
    /// Takes the annex and the counters from the manifest that knows most.
    fn read_manifests(&mut self, files: &[FileId]) {
        let manifests = files.iter().filter(|id| id.kind == FileKind::Manifest);
        let found = manifests.filter_map(|&id| salvage_manifest(&self.place, id));
        if let Some(newest) = found.max_by_key(|found| found.state.counter) {
            self.state = newest.state.clone();
            self.state.wals.clear();
            self.manifest = Some(newest);
        }
        self.report.annex_count = self.state.annex.len();
        for &id in files {
            let kinds = [FileKind::Manifest, FileKind::Current, FileKind::Temp];
            if kinds.contains(&id.kind) {
                self.aside.push((id, Reason::Replaced, None));
            }
        }
    }

    /// Reads what all tables say of themselves, and decides which of them belong to the store.
    fn read_tables(&mut self, files: &[FileId]) -> Result<()> {
        let mut all = BTreeSet::new();
        let mut found = BTreeMap::new();
        for &id in files.iter().filter(|id| id.kind == FileKind::Table) {
            all.insert(id.number);
            match self.opener.examine(id) {
                Ok((meta, lineage)) => {
                    let table = LiveTable::new(self.numbered(meta));
                    found.insert(id.number, Found { table, lineage });
                }
                Err(error) => self.leave(id, error)?,
            }
        }
        let lineages = found.iter().map(|(&n, found)| (n, found.lineage.clone()));
        let lineages: BTreeMap<u64, Option<Lineage>> = lineages.collect();
        let fates = choose::choose(&lineages, &all, &mut |inputs, outputs| {
            self.covers(&found, inputs, outputs)
        });
        for (number, found) in found {
            let id = found.table.meta().file();
            let reason = match fates.get(&number) {
                Some(choose::Fate::Superseded) => Reason::Superseded,
                Some(choose::Fate::Unfinished) => Reason::Unfinished,
                _ if self.is_forgotten(&found) => Reason::Superseded,
                _ if found.table.meta().lacks_number() => Reason::Unnumbered,
                _ => {
                    self.report.taken.push(id);
                    self.tables.insert(number, found);
                    continue;
                }
            };
            self.aside.push((id, reason, None));
        }
        Ok(())
    }

    /// An ingested table with the number that the manifest gave it, if that can be read.
    fn numbered(&self, meta: TableMeta) -> TableMeta {
        if !meta.lacks_number() {
            return meta;
        }
        let mut named = self.state.version.tables().map(|(_, table)| table.meta());
        let same = named.find(|other| other.number == meta.number && other.root == meta.root);
        same.cloned().unwrap_or(meta)
    }

    /// Do the outputs of a compaction answer for all that is readable of its inputs?
    fn covers(&self, found: &BTreeMap<u64, Found>, inputs: &[u64], outputs: &[u64]) -> bool {
        let tables = |numbers: &[u64]| -> Vec<_> {
            let tables = numbers.iter().filter_map(|number| found.get(number));
            tables.map(|found| Arc::clone(&found.table)).collect()
        };
        let is_other = |number: &u64| !inputs.contains(number) && !outputs.contains(number);
        let others = found.iter().filter(|(number, _)| is_other(number));
        let others: Vec<_> = others.map(|(_, other)| other.table.meta()).collect();
        let first = outputs.first().and_then(|output| found.get(output));
        let lineage = first.and_then(|found| found.lineage.as_ref());
        let is_deepest = lineage.is_some_and(|l| usize::from(l.level) + 1 >= LEVEL_COUNT);
        let may_be_below = |key: &[u8]| !is_deepest && others.iter().any(|meta| meta.covers(key));
        let (inputs, outputs) = (tables(inputs), tables(outputs));
        // What cannot be compared is not known to be covered.
        compare::covers(&self.opener, inputs, outputs, &may_be_below).unwrap_or(false)
    }

    /// A table that does not say where it comes from is taken unless a manifest says that it was no
    /// part of the store any more: edits that cannot be read may have added it.
    fn is_forgotten(&self, found: &Found) -> bool {
        let number = found.table.meta().number;
        let is_lost = |manifest: &Replayed| manifest.has_lost(number);
        found.lineage.is_none() && self.manifest.as_ref().is_some_and(is_lost)
    }

    /// A file that cannot be read is set aside, unless another key or version could read it.
    fn leave(&mut self, id: FileId, error: Error) -> Result<()> {
        match error.kind() {
            ErrorKind::KeyMissing | ErrorKind::Unsupported => Err(error),
            _ => {
                self.aside.push((id, Reason::Unreadable, Some(error)));
                Ok(())
            }
        }
    }

    /// Everything up to here is in tables.
    fn flushed_seqno(&self) -> SeqNo {
        let flushed = self.tables.values().filter_map(|found| {
            let lineage = found.lineage.as_ref()?;
            Some(match lineage.compaction {
                0 => found.table.meta().last_seqno,
                _ => lineage.flushed_seqno,
            })
        });
        let flushed = flushed.filter(|seqno| *seqno < SEQNO_MAX);
        flushed.fold(self.state.last_seqno, SeqNo::max)
    }

    /// Makes tables of what logs hold and tables do not.
    fn read_logs(&mut self, files: &[FileId]) -> Result<()> {
        let mut last_seqno = self.flushed_seqno();
        let mut wals: Vec<FileId> = files.to_vec();
        wals.retain(|id| id.kind == FileKind::Wal);
        wals.sort_unstable();
        let mut memtable = self.new_memtable();
        for id in wals {
            match self.read_log(id, &mut memtable, &mut last_seqno) {
                Ok(()) => self.aside.push((id, Reason::Replayed, None)),
                Err(error) => self.leave(id, error)?,
            }
        }
        self.end_memtable(&mut memtable)?;
        let tables = self
            .tables
            .values()
            .map(|found| found.table.meta().last_seqno);
        self.state.last_seqno = tables.fold(last_seqno, SeqNo::max);
        self.report.last_seqno = self.state.last_seqno;
        Ok(())
    }

    fn read_log(
        &mut self,
        id: FileId,
        memtable: &mut Arc<Memtable>,
        last_seqno: &mut SeqNo,
    ) -> Result<()> {
        let hook = self.hook;
        Salvaged::read(&self.place, id)?.for_each_group(hook, |group| {
            for batch in group.iter().flat_map(batches) {
                let batch = batch?;
                if batch.first <= *last_seqno {
                    continue;
                }
                if batch.first - 1 > *last_seqno {
                    self.report.gaps.push((*last_seqno + 1, batch.first));
                }
                memtable.insert_behind(&batch, 0)?;
                *last_seqno = batch.first + u64::from(batch.count) - 1;
                self.report.batch_count += u64::from(!batch.continues);
            }
            self.has_pointers |= memtable.has_pointers();
            if memtable.byte_len() >= self.options.memtable_len {
                self.end_memtable(memtable)?;
            }
            Ok(())
        })
    }

    fn new_memtable(&self) -> Arc<Memtable> {
        let with_digests = self.options.kv_protection == KvProtection::On;
        Arc::new(Memtable::new(with_digests))
    }

    fn end_memtable(&mut self, memtable: &mut Arc<Memtable>) -> Result<()> {
        if memtable.is_empty() {
            return Ok(());
        }
        let flush = Flush {
            opener: &self.opener,
            options: self.options,
            hook: None,
            obsolete: Vec::new(),
            sync: &|file| file.sync(),
        };
        let mut number = || self.next_number.fetch_add(1, Ordering::Relaxed);
        let output = flush.write(memtable, Vec::new(), &mut number)?;
        for meta in output.tables {
            self.report.written.push(meta.file());
            let found = Found {
                table: LiveTable::new(meta.clone()),
                lineage: Some(Lineage::default()),
            };
            self.tables.insert(meta.number, found);
        }
        // Its name before that of the next one: what is found later was flushed in order.
        self.place.env.fs.sync_dir()?;
        *memtable = self.new_memtable();
        Ok(())
    }

    /// Puts the tables that are taken on levels.
    fn arrange(&mut self) -> Result<()> {
        let tables: Vec<&Found> = self.tables.values().collect();
        let metas: Vec<&TableMeta> = tables.iter().map(|found| found.table.meta()).collect();
        let levels = arrange::arrange(&metas, &mut |a, b| {
            compare::newer(&self.opener, &side(tables[a]), &side(tables[b]))
        })?;
        let added = tables.iter().map(|found| Arc::clone(&found.table));
        let added: Vec<_> = levels.into_iter().zip(added).collect();
        self.state.version = Arc::new(Version::empty().apply(&[], &added)?);
        Ok(())
    }

    /// Writes the manifest, sets aside what was not taken, and makes the store one again.
    fn commit(mut self, files: &[FileId]) -> Result<RepairReport> {
        let was_read = |(_, reason, _): &(_, Reason, _)| *reason == Reason::Replayed;
        if self.tables.is_empty() && self.state.counter == 0 && !self.aside.iter().any(was_read) {
            let first = self.aside.into_iter().find_map(|(_, _, error)| error);
            let nothing = || Error::invalid("there is nothing to rebuild a store from");
            return Err(first.unwrap_or_else(nothing));
        }
        if let Some(hook) = self.hook.filter(|_| self.has_pointers) {
            hook.before_flush()?;
        }
        let env = self.place.env.clone();
        env.fs.sync_dir()?;
        self.name_aside(files);
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let state = &mut self.state;
        env.entropy.fill(&mut state.session)?;
        state.counter += 1;
        // Which tombstones are gone cannot be known.
        state.spent_seqno = state.last_seqno;
        state.next_number = number + 1;
        let manifest = Manifest::write(&self.place, number, state)?;
        for left in &self.report.set_aside {
            env.fs.rename(left.file, left.name)?;
        }
        env.fs.sync_dir()?;
        manifest.switch_to(&self.place)?;
        Ok(self.report)
    }

    /// Finds names that nobody reads for files that are not taken.
    fn name_aside(&mut self, files: &[FileId]) {
        let mut used: BTreeSet<FileId> = files.iter().copied().collect();
        for (file, reason, error) in self.aside.drain(..) {
            let mut name = FileId::new(FileKind::Aside, file.number);
            if file == CURRENT || !used.insert(name) {
                name.number = self.next_number.fetch_add(1, Ordering::Relaxed);
            }
            self.report.set_aside.push(SetAside {
                file,
                name,
                reason,
                error,
            });
        }
    }
}

fn side(found: &Found) -> compare::Side<'_> {
    compare::Side {
        table: &found.table,
        level: found.lineage.as_ref().map(|lineage| lineage.level),
    }
}

#[cfg(test)]
mod tests;

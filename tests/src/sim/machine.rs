//! One process after another on one medium: a workload runs, and the model with it.
//!
//! - Every answer is compared with the model at once; an error needs a cause.
//! - What fails goes on: a poisoned store is opened again, an opening that failed is tried again.

use coffer_engine::env::Fs;
use coffer_engine::{Result, Snapshot, WriteBatch, WriteOptions};
use std::sync::Arc;
use std::time::Duration;

use super::model::{Keys, Model, Moment, key};
use super::store::{Store, Trouble, annex_key};
use super::workload::{Change, KEY_COUNT, Op, Workload};
use super::{Finding, Kind};
use crate::crash::CrashFs;
use crate::fault::{FaultFs, Rule};

/// A call, and what the model knew around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// Changes of the medium before the call.
    pub(super) start: usize,
    /// Changes of the medium when it was answered.
    pub(super) end: usize,
    pub(super) keys: Moment,
    pub(super) annex: Moment,
}

/// A checkpoint that was asked for.
#[derive(Clone, Copy)]
pub(super) struct Checkpoint {
    pub(super) directory: u32,
    /// Changes of the medium when it was asked for, and when it was answered well.
    pub(super) start: usize,
    pub(super) end: Option<usize>,
    pub(super) keys: Keys,
    /// It was copied from wrong reads: damage is found by whoever reads the copy.
    pub(super) is_doubtful: bool,
}

/// A machine on which a workload runs.
pub(super) struct Machine<'a> {
    pub(super) workload: &'a Workload,
    pub(super) medium: CrashFs,
    pub(super) faults: FaultFs,
    pub(super) kind: Kind,
    pub(super) model: Model,
    pub(super) marks: Vec<Mark>,
    pub(super) checkpoints: Vec<Checkpoint>,
    snapshots: Vec<(Snapshot, Keys)>,
    store: Option<Store>,
    /// The next operation.
    op: usize,
}

impl<'a> Machine<'a> {
    /// Goes on with operation `op` on `medium`, where `kind` of fault meets the operation of the
    /// medium with index `at`.
    pub(super) fn new(
        workload: &'a Workload,
        op: usize,
        medium: CrashFs,
        model: Model,
        kind: Kind,
        at: usize,
    ) -> Self {
        let faults = FaultFs::before(&medium);
        faults.watch();
        if let Some((fault, count)) = kind.fault(at as u64) {
            faults.add(Rule::any(fault).times_after(count, at as u64));
        }
        let mark = Mark {
            start: 0,
            end: 0,
            keys: model.keys.now(),
            annex: model.annex.now(),
        };
        Self {
            workload,
            medium,
            faults,
            kind,
            model,
            marks: vec![mark],
            checkpoints: Vec::new(),
            snapshots: Vec::new(),
            store: None,
            op,
        }
    }

    pub(super) fn is_hit(&self) -> bool {
        self.faults.hit_count() > 0
    }

    /// The next operation of the workload, if there is one.
    pub(super) fn next_op(&self) -> Option<&'a Op> {
        self.workload.ops.get(self.op)
    }

    /// Runs the next operation, in a store that is opened first where none is. `false`: damage keeps
    /// the store shut, or cut it off from its state.
    pub(super) fn step(&mut self) -> std::result::Result<bool, Finding> {
        let Some(op) = self.next_op() else {
            return Ok(false);
        };
        let seed = self.workload.seed * 1_000 + self.op as u64;
        for attempt in 0.. {
            if self.store.is_some() {
                break;
            }
            let hits = self.faults.hit_count();
            let opened = self.call(|machine| machine.open(seed + attempt * 100_000));
            match opened {
                Ok(()) => {}
                Err(Trouble::Wrong(what)) => return Err(Finding(what)),
                Err(Trouble::Named(error)) => {
                    let has_cause = self.faults.hit_count() > hits;
                    if self.kind.is_damage() && self.is_hit() {
                        return Ok(false);
                    }
                    if !has_cause || attempt > 60 {
                        return Err(Finding(format!("does not open: {error:?}")));
                    }
                }
            }
        }
        self.op += 1;
        let hits = self.faults.hit_count();
        let done = self.call(|machine| machine.run(op));
        match done {
            Ok(()) => Ok(true),
            Err(Trouble::Wrong(what)) => Err(Finding(format!("{op:?}: {what}"))),
            Err(Trouble::Named(error)) => {
                let has_cause = self.faults.hit_count() > hits
                    || (self.kind.is_damage() && self.is_hit())
                    || self.is_poisoned();
                if !has_cause {
                    return Err(Finding(format!("{op:?} fails for no cause: {error:?}")));
                }
                Ok(true)
            }
        }
    }

    fn is_poisoned(&self) -> bool {
        let is_poisoned = self.store.as_ref().is_some_and(|s| s.db.is_poisoned());
        self.is_hit() && is_poisoned
    }

    /// Makes one call and remembers what the model knew around it.
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Self) -> std::result::Result<T, Trouble>,
    ) -> std::result::Result<T, Trouble> {
        let start = self.medium.change_count();
        let result = call(self);
        self.marks.push(Mark {
            start,
            end: self.medium.change_count(),
            keys: self.model.keys.now(),
            annex: self.model.annex.now(),
        });
        result
    }

    fn open(&mut self, seed: u64) -> std::result::Result<(), Trouble> {
        let hits = self.faults.hit_count();
        let fs: Arc<dyn Fs> = Arc::new(self.faults.clone());
        let store = Store::open(&self.workload.options, Arc::clone(&fs), fs, seed)?;
        let is_new = self.faults.hit_count() > hits;
        let slack = self.kind.slack(is_new, self.faults.astray_len());
        let (keys, annex) = (store.dump(&self.model)?, store.annex());
        if !self.model.keys.allowed_now(slack).contains(&keys) {
            let allowed = self.model.keys.allowed_now(slack);
            let what = super::recovery::differ(&keys, allowed);
            return Err(Trouble::Wrong(format!("opened with another state: {what}")));
        }
        if !self.model.annex.allowed_now(slack).contains(&annex) {
            return Err(Trouble::Wrong(format!("opened with annex {annex:?}")));
        }
        self.model.keys.go_on(keys, slack);
        self.model.annex.resume(annex);
        self.store = Some(store);
        Ok(())
    }

    /// REQUIRES: an open store.
    fn run(&mut self, op: &Op) -> std::result::Result<(), Trouble> {
        let Some(store) = self.store.take() else {
            return Ok(());
        };
        let result = match op {
            Op::Close | Op::Kill | Op::Cut(_) => return self.end(op, store),
            Op::Read(index) => self.check_read(&store, *index),
            Op::Scan => self.check(&store),
            Op::TakeSnapshot => {
                let keys = *self.model.keys.last();
                self.snapshots.push((store.db.snapshot(), keys));
                Ok(())
            }
            Op::DropSnapshot => self.check_snapshot(&store),
            Op::Checkpoint => self.checkpoint(&store).map_err(Trouble::from),
            other => self.change(&store, other).map_err(Trouble::from),
        };
        self.store = Some(store);
        result
    }

    /// Calls that change the store.
    fn change(&mut self, store: &Store, op: &Op) -> Result<()> {
        let db = &store.db;
        match op {
            Op::Write(changes, sync) => self.write(store, changes, *sync, None),
            Op::WriteIf(key, is_right, changes, sync) => {
                self.write(store, changes, *sync, Some((*key, *is_right)))
            }
            Op::Ingest(entries) => self.ingest(store, entries),
            Op::Annex(index) => self.write_annex(store, *index),
            Op::Sync => db.sync().map(|()| self.model.keys.promise()),
            Op::Flush => db.flush().map(|()| self.model.keys.promise()),
            Op::Compact => {
                let done = db.compact_all(&mut |_| ());
                done.map(|()| self.model.keys.promise())
            }
            Op::CompactRange(first, last) => {
                let done = db.compact_range(&key(*first), Some(&key(*last)), &mut |_| ());
                done.map(|()| self.model.keys.promise())
            }
            _ => {
                store.world.advance(Duration::from_millis(300));
                db.maintain().map(drop)
            }
        }
    }

    fn write(
        &mut self,
        store: &Store,
        changes: &[(usize, Change)],
        sync: bool,
        condition: Option<(usize, bool)>,
    ) -> Result<()> {
        let mut next = *self.model.keys.last();
        let mut batch = WriteBatch::new();
        for &(index, change) in changes {
            next[index] = match change {
                Change::Delete => {
                    batch.delete(&key(index));
                    0
                }
                Change::DeleteRange(count) => {
                    batch.delete_range(&key(index), &key(index + count));
                    let end = KEY_COUNT.min(index + count);
                    next[index..end].fill(0);
                    next[index]
                }
                Change::Put(len) => {
                    let number = self.model.number(len);
                    batch.put(&key(index), &super::model::value(number, len));
                    number
                }
                Change::Indirect(len) => {
                    let number = self.model.number(len);
                    batch.put_indirect(&key(index), &store.blobs.append(number, len)?);
                    number
                }
            };
        }
        let (db, options) = (&store.db, WriteOptions { sync });
        let (before, was_poisoned) = (db.last_seqno(), db.is_poisoned());
        let result = match condition {
            None => db.write(batch, options).map(Some),
            Some((index, is_right)) => {
                let found = db.get(&key(index), None)?;
                let seen = found.map(|value| value.seqno);
                let seen = if is_right { seen } else { Some(u64::MAX >> 9) };
                db.write_if(batch, &[(&key(index), seen)], options)
            }
        };
        if db.last_seqno() > before {
            self.model.keys.push(next);
        } else if db.is_poisoned() && !was_poisoned {
            // The records of a long batch may all be on the medium.
            self.model.keys.push_unseen(next);
        }
        if result?.is_some() && sync {
            self.model.keys.promise();
        }
        Ok(())
    }

    fn ingest(&mut self, store: &Store, entries: &[(usize, usize)]) -> Result<()> {
        let mut next = *self.model.keys.last();
        for &(index, len) in entries {
            next[index] = self.model.number(len);
        }
        let was_poisoned = store.db.is_poisoned();
        let result = store.db.ingest(|sink| {
            let mut entries = entries.iter();
            entries.try_for_each(|&(index, len)| {
                sink.put(&key(index), &super::model::value(next[index], len))
            })
        });
        if result.is_ok() {
            self.model.keys.push(next);
            self.model.keys.promise();
        } else if store.db.is_poisoned() && !was_poisoned {
            // Its edit may be on the medium. Nobody has seen it, until the store is opened again.
            self.model.keys.push_unseen(next);
        }
        result.map(drop)
    }

    fn write_annex(&mut self, store: &Store, index: usize) -> Result<()> {
        let mut next = *self.model.annex.last();
        next[index] = self.model.number(4);
        let value = next[index].to_le_bytes().to_vec();
        let result = store.db.write_annex(vec![(annex_key(index), Some(value))]);
        // After an error that did not poison, the edit is certainly not in the store.
        if result.is_ok() || store.db.is_poisoned() {
            self.model.annex.push(next);
        }
        result.map(|()| self.model.annex.promise())
    }

    fn checkpoint(&mut self, store: &Store) -> Result<()> {
        // One that failed early may have left nothing in its directory.
        let next = self.checkpoints.last().map_or(0, |last| last.directory + 1);
        let directory = self.medium.unused_directory().max(next);
        self.checkpoints.push(Checkpoint {
            directory,
            start: self.medium.change_count(),
            end: None,
            keys: *self.model.keys.last(),
            is_doubtful: false,
        });
        let hits = self.faults.hit_count();
        store
            .db
            .checkpoint(Arc::new(self.faults.directory(directory)))?;
        self.model.keys.promise();
        if let Some(last) = self.checkpoints.last_mut() {
            last.end = Some(self.medium.change_count());
            last.is_doubtful = self.faults.hit_count() > hits;
        }
        Ok(())
    }

    fn check_read(&self, store: &Store, index: usize) -> std::result::Result<(), Trouble> {
        let (found, expected) = (
            store.read(&self.model, index, None)?,
            self.model.keys.last(),
        );
        if found != expected[index] {
            let what = format!("key {index} is {found}, not {}", expected[index]);
            return Err(Trouble::Wrong(what));
        }
        Ok(())
    }

    /// Everything, now and at all snapshots.
    fn check(&self, store: &Store) -> std::result::Result<(), Trouble> {
        let found = store.dump(&self.model)?;
        if found != *self.model.keys.last() {
            let what = super::recovery::differ(&found, &[*self.model.keys.last()]);
            return Err(Trouble::Wrong(what));
        }
        for (snapshot, keys) in &self.snapshots {
            if store.scan(&self.model, Some(snapshot))? != *keys {
                return Err(Trouble::Wrong("a snapshot changed".to_owned()));
            }
        }
        Ok(())
    }

    fn check_snapshot(&mut self, store: &Store) -> std::result::Result<(), Trouble> {
        if self.snapshots.is_empty() {
            return Ok(());
        }
        let (snapshot, keys) = self.snapshots.remove(0);
        for (index, expected) in keys.iter().enumerate().take(KEY_COUNT) {
            if store.read(&self.model, index, Some(&snapshot))? != *expected {
                return Err(Trouble::Wrong(format!("key {index} changed in a snapshot")));
            }
        }
        Ok(())
    }

    fn end(&mut self, op: &Op, store: Store) -> std::result::Result<(), Trouble> {
        self.snapshots.clear();
        if !matches!(op, Op::Close) {
            return Ok(());
        }
        let was_poisoned = store.db.is_poisoned();
        match store.db.close() {
            // What a fault left behind may be noticed only now.
            Err(_) if self.is_hit() && store.db.is_poisoned() => return Ok(()),
            closed => closed?,
        }
        if !was_poisoned && !store.db.is_poisoned() {
            self.model.keys.promise();
        }
        Ok(())
    }

    /// Reads everything once more, if a store is open.
    pub(super) fn check_at_end(&self) -> std::result::Result<(), Finding> {
        let hits = self.faults.hit_count();
        match self.store.as_ref().map(|store| self.check(store)) {
            Some(Err(Trouble::Wrong(what))) => Err(Finding(format!("at the end: {what}"))),
            Some(Err(Trouble::Named(error)))
                if !self.kind.is_damage() && self.faults.hit_count() == hits =>
            {
                Err(Finding(format!("at the end, for no cause: {error:?}")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::FileKind;

    fn put_len((_, change): &(usize, Change)) -> usize {
        match change {
            Change::Put(len) => *len,
            _ => 0,
        }
    }

    /// Without that the faults would meet none of it.
    #[test]
    fn workloads_renew_manifests_split_batches_and_ingest_several_tables() {
        let (mut renewal_count, mut split_count, mut ingest_count) = (0, 0, 0);
        for seed in 1..5 {
            let (medium, model) = (CrashFs::new(), Model::new());
            let workload = Workload::new(seed);
            let mut machine = Machine::new(&workload, 0, medium, model, Kind::PowerCut, 0);
            let manifest = |machine: &Machine<'_>| {
                let files = machine.store.as_ref()?.db.live_files().into_iter();
                let mut ids = files.map(|file| file.id);
                ids.find(|id| id.kind == FileKind::Manifest)
            };
            while let Some(op) = machine.next_op() {
                let before = manifest(&machine);
                machine.step().unwrap();
                let after = manifest(&machine);
                let was_renewed = before.is_some() && after.is_some() && before != after;
                renewal_count += usize::from(was_renewed);
                let len: usize = match op {
                    Op::Write(changes, _) => changes.iter().map(put_len).sum(),
                    Op::Ingest(entries) => entries.iter().map(|(_, len)| len).sum(),
                    _ => 0,
                };
                let options = &workload.options;
                let is_split = matches!(op, Op::Write(changes, _) if changes.len() > 2)
                    && len > options.wal_record_len_max;
                split_count += usize::from(is_split);
                let is_long = matches!(op, Op::Ingest(_)) && len as u64 > options.table_len + 300;
                ingest_count += usize::from(is_long);
            }
        }
        let counts = [renewal_count, split_count, ingest_count];
        assert!(counts.iter().all(|count| *count > 2), "{counts:?}");
    }
}

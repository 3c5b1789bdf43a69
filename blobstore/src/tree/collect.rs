//! Garbage collection: dead blob files go, mostly dead ones are emptied first.
//!
//! - A file is removed only after the manifest that no longer names it is durable, and only when no
//!   reader can come upon a pointer into it.
//! - Emptying copies what lives and then swaps each pointer, if it is still the current one, while no
//!   writer is between its look and its write. A crash in the middle leaves both copies or the old one.
//! - Before an emptied file goes, everything is flushed: no log can bring an old pointer back.
//! - A value that cannot be read keeps its file: damage is never made worse.
//! - A move draws on half of what values leave free, and begins only where all of it fits: a full
//!   store gets its space back, and deleting goes on meanwhile.
//! - A value that several keys point to moves once, and all of them follow. While a file is being emptied
//!   no further key comes to point into it.
//! - It needs neither compactions that happen to pass nor writers: an idle store is collected too.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;
use core::time::Duration;

use coffer_engine::{KeyKind, Result, Work, WriteBatch, WriteOptions};

use crate::blobfile::{Claim, StagedFrames};
use crate::garbage::{Annex, Entry, Ledger};
use crate::pointer::BlobPointer;
use crate::tree::census::Census;
use crate::tree::{BlobTree, Core};

/// Garbage records in the annex that are worth an edit to sum them up.
const FOLD_COUNT_MIN: usize = 64;
/// Values swapped at one time, and their bytes.
const BATCH_COUNT_MAX: usize = 256;
const BATCH_LEN_MAX: u64 = 8 << 20;
/// Live bytes copied in one round.
const ROUND_LEN_MAX: u64 = 256 << 20;
/// How long little garbage may wait for more, so that one walk over the tree serves many files.
const PATIENCE: Duration = Duration::from_secs(60);

/// Blob files and what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Blob files.
    pub file_count: usize,
    /// Bytes of finished blob files.
    pub len: u64,
    /// Bytes of them that the tree points to; of those that keys share, at most.
    pub live_len: u64,
    /// Blob files that an earlier session left unfinished; what lives in them is not counted.
    pub inherited_count: usize,
}

/// What the garbage collection of one session knows.
pub(super) struct Collector {
    percent_min: u8,
    /// The annex when it was last looked at.
    annex: Option<Arc<Annex>>,
    /// Files that nothing current points to, and the moment of which all pins must be gone.
    doomed: BTreeMap<u64, u64>,
    /// Files that hold a value that could not be moved.
    stuck: BTreeSet<u64>,
    /// Live bytes in shared files and those of an earlier session, and their dead bytes when that was measured.
    measured: BTreeMap<u64, (u64, u64)>,
    /// When files were last emptied, or the store was opened.
    emptied: Duration,
    /// The last attempt ended in an error: the next one waits, however much there is.
    failed: bool,
    /// There is garbage that waits for more.
    waiting: bool,
}

impl Collector {
    pub(super) fn new(percent_min: u8, now: Duration) -> Self {
        Self {
            percent_min,
            annex: None,
            doomed: BTreeMap::new(),
            stuck: BTreeSet::new(),
            measured: BTreeMap::new(),
            emptied: now,
            failed: false,
            waiting: false,
        }
    }

    fn is_candidate(&self, number: u64) -> bool {
        !self.doomed.contains_key(&number) && !self.stuck.contains(&number)
    }
}

impl BlobTree {
    /// Collects all garbage that there is, without waiting for more.
    ///
    /// # Errors
    /// Those of the medium, `Poisoned`.
    pub fn collect_garbage(&self) -> Result<Garbage> {
        self.core.settle_told()?;
        self.core.db.flush()?;
        let mut collector = self.core.collector.lock();
        loop {
            while self.core.files.finish_one()? {}
            if self.core.collect(&mut collector, true)? == Work::Idle {
                break;
            }
        }
        drop(collector);
        self.garbage()
    }

    /// What blob files there are and how much of them lives.
    ///
    /// # Errors
    /// `Corruption` for records that cannot be read.
    pub fn garbage(&self) -> Result<Garbage> {
        self.core.settle();
        let ledger = Ledger::read(&self.core.db.annex())?;
        let mut garbage = Garbage {
            file_count: ledger.files.len(),
            ..Garbage::default()
        };
        for (number, entry) in &ledger.files {
            let file_len = entry.record.end.map_or(0, |end| end.root.len);
            garbage.len = garbage.len.saturating_add(file_len);
            garbage.live_len = garbage.live_len.saturating_add(entry.live_len());
            garbage.inherited_count += usize::from(self.core.files.is_inherited(*number));
        }
        Ok(garbage)
    }
}

impl Core {
    pub(super) fn maintain(&self) -> Result<Work> {
        if self.db.maintain()? == Work::Did
            || self.files.sync_ahead()?
            || self.files.finish_one()?
        {
            return Ok(Work::Did);
        }
        self.collect(&mut self.collector.lock(), false)
    }

    /// Does one step: graves first, then files to empty.
    fn collect(&self, collector: &mut Collector, now: bool) -> Result<Work> {
        let annex = self.db.annex();
        let unchanged = collector
            .annex
            .as_ref()
            .is_some_and(|seen| Arc::ptr_eq(seen, &annex));
        if unchanged && collector.doomed.is_empty() && !collector.waiting && !now {
            return Ok(Work::Idle);
        }
        let ledger = Ledger::read(&annex)?;
        collector.annex = Some(annex);
        let did = self.bury(collector, &ledger)?
            || self.fold(&ledger)?
            || self.empty_some(collector, &ledger, now)?;
        Ok(if did { Work::Did } else { Work::Idle })
    }

    /// Removes the doomed files that no reader can come upon any more.
    fn bury(&self, collector: &mut Collector, ledger: &Ledger) -> Result<bool> {
        let dead = ledger.whole_dead();
        if dead
            .iter()
            .any(|number| !collector.doomed.contains_key(number))
        {
            let moment = self.pins.doom();
            for number in dead {
                collector.doomed.entry(number).or_insert(moment);
            }
        }
        let past = |(_, moment): &(&u64, &u64)| self.pins.is_past(**moment);
        let ready: Vec<u64> = collector
            .doomed
            .iter()
            .filter(past)
            .map(|(n, _)| *n)
            .collect();
        if ready.is_empty() {
            return Ok(false);
        }
        let updates = ready
            .iter()
            .flat_map(|number| ledger.forget(*number))
            .collect();
        self.db.write_annex(updates)?;
        for number in ready {
            collector.doomed.remove(&number);
            collector.measured.remove(&number);
            self.files.remove(number)?;
            if let Some(cache) = &self.frame_cache {
                cache.forget(number);
            }
        }
        Ok(true)
    }

    /// Sums garbage records up where they are many.
    fn fold(&self, ledger: &Ledger) -> Result<bool> {
        if ledger.foldable_count() < FOLD_COUNT_MIN {
            return Ok(false);
        }
        self.db.write_annex(ledger.fold())?;
        Ok(true)
    }

    /// Empties victims, if they are worth a walk over the tree.
    fn empty_some(&self, collector: &mut Collector, ledger: &Ledger, now: bool) -> Result<bool> {
        self.measure(collector, ledger)?;
        let (room_len, is_short) = self.files.room_to_move()?;
        if is_short && self.retire_garbage(collector, ledger) {
            return Ok(true);
        }
        let victims = self.victims(collector, ledger, room_len);
        self.hook.set_victims(victims.clone());
        collector.waiting =
            !victims.is_empty() || !self.victims(collector, ledger, u64::MAX).is_empty();
        if victims.is_empty() {
            return Ok(false);
        }
        let time = self.env.clock.monotonic();
        let many = (victims.len() >= 4 || is_short) && !collector.failed;
        if !now && !many && time.saturating_sub(collector.emptied) < PATIENCE {
            return Ok(false);
        }
        let result = self.empty(&victims);
        collector.emptied = self.env.clock.monotonic();
        collector.failed = result.is_err();
        let stuck = result?;
        let moment = self.pins.doom();
        for number in victims {
            if stuck.contains(&number) {
                collector.stuck.insert(number);
            } else {
                collector.doomed.insert(number, moment);
            }
        }
        self.hook.set_victims(BTreeSet::new());
        collector.waiting = false;
        Ok(true)
    }

    /// The files to empty next, if no more than `room_len` may be moved.
    fn victims(&self, collector: &Collector, ledger: &Ledger, room_len: u64) -> BTreeSet<u64> {
        let lens = (ROUND_LEN_MAX, room_len);
        let chosen = ledger.victims(collector.percent_min, lens, |number, entry| {
            if !collector.is_candidate(number) {
                return None;
            }
            match entry.is_counted() {
                true => Some(entry.live_len()),
                false => self.measured_live_len(collector, number, entry),
            }
        });
        chosen.into_iter().collect()
    }

    /// On a short medium a file that is mostly dead must not wait until it is full: it may never be.
    fn retire_garbage(&self, collector: &Collector, ledger: &Ledger) -> bool {
        self.files.retire_active(|number, len, given_len| {
            let dead_len = ledger.files.get(&number).map_or(0, |entry| entry.dead_len);
            let garbage_len = len.saturating_sub(given_len.saturating_sub(dead_len));
            dead_len > 0 && is_percent(garbage_len, len, collector.percent_min)
        })
    }

    /// What lives in a file without an account, if it is worth emptying: when that is little, or when the
    /// file is a small one of an earlier session.
    fn measured_live_len(&self, collector: &Collector, number: u64, entry: &Entry) -> Option<u64> {
        let (live_len, _) = *collector.measured.get(&number)?;
        let is_inherited = entry.record.end.is_none();
        let small = self.files.options().blob_file_len / 4;
        let file_len = self.files.len_of(number).ok().flatten()?;
        let garbage_len = file_len.saturating_sub(live_len);
        let is_wanted = (is_inherited && live_len <= small)
            || is_percent(garbage_len, file_len, collector.percent_min);
        is_wanted.then_some(live_len)
    }

    /// Counts what lives in shared files and in those of an earlier session, where that is not known or has
    /// changed much.
    fn measure(&self, collector: &mut Collector, ledger: &Ledger) -> Result<()> {
        let step = self.files.options().blob_file_len / 8;
        let is_stale = |(number, entry): &(&u64, &Entry)| {
            let seen_len = collector.measured.get(number).map(|seen| seen.1);
            let is_due = match entry.record.end {
                Some(_) => entry.is_shared && entry.is_due(seen_len),
                None => {
                    let is_fresh = |seen_len: u64| entry.dead_len < seen_len.saturating_add(step);
                    self.files.is_inherited(**number) && !seen_len.is_some_and(is_fresh)
                }
            };
            is_due && collector.is_candidate(**number)
        };
        let stale: BTreeMap<u64, &Entry> = (ledger.files.iter())
            .filter(is_stale)
            .map(|(number, entry)| (*number, entry))
            .collect();
        if stale.is_empty() {
            return Ok(());
        }
        let mut census = Census::of(stale.keys().copied());
        self.each_pointer(&mut |_, _, pointer| {
            if census.has(pointer.file) {
                census.add(&pointer, self.files.is_shared(pointer.file));
            }
            Ok(())
        })?;
        for (number, live_len) in census.counts() {
            let dead_len = stale.get(&number).map_or(0, |entry| entry.dead_len);
            collector.measured.insert(number, (live_len, dead_len));
        }
        Ok(())
    }

    /// Moves everything that lives out of `victims`; returns those that still hold something.
    pub(super) fn empty(&self, victims: &BTreeSet<u64>) -> Result<BTreeSet<u64>> {
        // From here on no copy of a key begins to point into them: the walk meets all that do.
        self.gate.write().clone_from(victims);
        let result = self.empty_closed(victims);
        self.gate.write().clear();
        result
    }

    fn empty_closed(&self, victims: &BTreeSet<u64>) -> Result<BTreeSet<u64>> {
        let mut stuck = BTreeSet::new();
        let mut moves = Moves::default();
        let mut shared = BTreeMap::new();
        let walked = self.each_pointer(&mut |key, encoded, pointer| {
            if !victims.contains(&pointer.file) {
                return Ok(());
            }
            if let Some(moved) = shared.get(&encoded) {
                let moved: &BlobPointer = moved;
                self.files.share(&BTreeSet::from([moved.file]))?;
                moves.push(key, encoded, moved.clone(), None);
            } else if let Some(StagedFrames {
                pointer: moved,
                claim,
            }) = self.files.copy(&pointer)?
            {
                if self.files.is_shared(pointer.file) {
                    shared.insert(encoded.clone(), moved.clone());
                }
                moves.push(key, encoded, moved, Some(claim));
            } else {
                stuck.insert(pointer.file);
            }
            if moves.is_full() {
                self.swap(core::mem::take(&mut moves))?;
                // Writers must not wait for flushes because this goes on.
                while self.db.maintain()? == Work::Did {}
            }
            Ok(())
        });
        // Also after an error: what was copied and is not used takes space twice.
        self.swap(moves)?;
        walked?;
        self.db.flush()?;
        Ok(stuck)
    }

    /// Replaces each pointer that is still the current one.
    fn swap(&self, moves: Moves) -> Result<()> {
        let mut entries = WriteBatch::new();
        let mut settled = Vec::new();
        let _gate = self.gate.write();
        for Move {
            key,
            old,
            new,
            claim,
        } in moves.moves
        {
            let current = self.db.get(&key, None)?;
            let is_same =
                current.is_some_and(|value| value.kind == KeyKind::Indirect && value.bytes == old);
            if is_same {
                entries.put_indirect(&key, &new.encode());
                settled.extend(claim.map(|claim| (claim, new.disk_len())));
            }
        }
        if !entries.is_empty() {
            self.db.write(entries, WriteOptions::default())?;
        }
        for (claim, disk_len) in settled {
            claim.settle(disk_len);
        }
        Ok(())
    }

    /// Shows every current pointer, with its key and as it is encoded. Pointers that do not decode
    /// are passed over: whoever reads the key gets the error.
    fn each_pointer(
        &self,
        visit: &mut dyn FnMut(Vec<u8>, Vec<u8>, BlobPointer) -> Result<()>,
    ) -> Result<()> {
        let everything: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Unbounded, Bound::Unbounded);
        let mut cursor = self.db.range(everything, None)?;
        while let Some(entry) = cursor.next()? {
            if entry.kind != KeyKind::Indirect {
                continue;
            }
            if let Ok(pointer) = BlobPointer::decode(&entry.value) {
                visit(entry.key, entry.value, pointer)?;
            }
            if self.stopping.load(core::sync::atomic::Ordering::Acquire) {
                return Err(coffer_engine::Error::canceled("the store is being closed"));
            }
        }
        Ok(())
    }
}

/// Is `part_len` at least this many percent of `len`?
fn is_percent(part_len: u64, len: u64, percent: u8) -> bool {
    part_len.saturating_mul(100) >= len.saturating_mul(percent.min(100).into())
}

/// Pointers about to be swapped.
#[derive(Default)]
struct Moves {
    moves: Vec<Move>,
    len: u64,
}

struct Move {
    key: Vec<u8>,
    old: Vec<u8>,
    new: BlobPointer,
    /// None where a key before this one brought the value.
    claim: Option<Claim>,
}

impl Moves {
    fn push(&mut self, key: Vec<u8>, old: Vec<u8>, new: BlobPointer, claim: Option<Claim>) {
        self.len += new.disk_len();
        self.moves.push(Move {
            key,
            old,
            new,
            claim,
        });
    }

    fn is_full(&self) -> bool {
        self.moves.len() >= BATCH_COUNT_MAX || self.len >= BATCH_LEN_MAX
    }
}

//! What the logs of an earlier run hold comes back into memory.
//!
//! - Logs are replayed in order, record by record; only what nobody vouches for makes the reader look
//!   at all later records first.
//! - One memtable waits for its flush. More than that becomes tables at once, all of it: a log counts
//!   as a whole or not at all.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::db::flush::Flush;
use crate::db::state::Immutable;
use crate::env::Event;
use crate::error::{Error, Result};
use crate::hook::{has_pointers, leads_somewhere};
use crate::log::{LogEnd, Record};
use crate::manifest::{LiveWal, Place, State};
use crate::memtable::Memtable;
use crate::options::KvProtection;
use crate::sync::atomic::AtomicU64;
use crate::types::{FileId, FileKind};
use crate::version::VersionEdit;
use crate::wal::{WalReader, batches};

/// What was replayed so far.
struct Replayed {
    /// What no table holds yet.
    memtable: Arc<Memtable>,
    has_pointers: bool,
    has_tables: bool,
}

/// Replays the logs that the manifest names.
pub(super) struct Replay<'a> {
    pub(super) place: &'a Place,
    pub(super) flush: Flush<'a>,
    pub(super) next_number: &'a AtomicU64,
}

impl Replay<'_> {
    /// What the logs hold, as a memtable that waits for its flush; `None` where there is nothing, or
    /// where it became tables of `state`. Nothing is committed here.
    pub(super) fn run(&self, state: &mut State) -> Result<Option<Immutable>> {
        let flushed_seqno = state.last_seqno;
        let wals: Vec<_> = state
            .wals
            .iter()
            .map(|(&number, &wal)| (number, wal))
            .collect();
        let mut replayed = Replayed {
            memtable: self.new_memtable(),
            has_pointers: false,
            has_tables: false,
        };
        for (index, &(number, wal)) in wals.iter().enumerate() {
            if wal.closed.is_none() && index + 1 < wals.len() {
                let id = FileId::new(FileKind::Wal, number);
                return Err(Error::corruption("a log did not end, but is not the last").in_file(id));
            }
            self.replay_one(number, &wal, state, &mut replayed)?;
        }
        let recovered = match wals.last() {
            Some(&(wal, _)) if !replayed.has_tables && !replayed.memtable.is_empty() => {
                // The logs stay what counts until it is flushed.
                let last_seqno = core::mem::replace(&mut state.last_seqno, flushed_seqno);
                let memtable = Arc::clone(&replayed.memtable);
                Some(Immutable {
                    memtable,
                    wal,
                    last_seqno,
                })
            }
            _ => {
                self.end_memtable(state, &mut replayed)?;
                state.wals.clear();
                None
            }
        };
        if replayed.has_pointers
            && let Some(hook) = self.flush.hook
        {
            hook.before_flush()?;
        }
        Ok(recovered)
    }

    fn replay_one(
        &self,
        number: u64,
        wal: &LiveWal,
        state: &mut State,
        replayed: &mut Replayed,
    ) -> Result<()> {
        let place = self.place;
        let end = wal.closed.map_or(LogEnd::Open, LogEnd::Closed);
        let mut log = WalReader::open(
            &place.env,
            &*place.keys,
            place.store_id,
            number,
            &wal.salt,
            end,
        )?;
        let mut group = Vec::new();
        loop {
            let is_whole = log.next_group(&mut group)?;
            let Some(first) = group.first() else {
                return Ok(());
            };
            let (file, offset) = (log.id(), first.offset);
            let named = |error: Error| error.in_file(file).at(offset);
            // What is there, and leads nowhere else, needs nobody who vouches for it.
            if end == LogEnd::Open
                && (!is_whole || has_pointers(&group)?)
                && !log.is_vouched(first)?
                && (!is_whole || !leads_somewhere(self.flush.hook, &group)?)
            {
                place.env.listener.event(&Event::TornTail {
                    file,
                    offset,
                    len: 0,
                });
                return Ok(());
            }
            if !is_whole {
                return Err(named(Error::corruption("the end of a batch is missing")));
            }
            for record in &group {
                let named = |error: Error| error.in_file(file).at(record.offset);
                replay_record(record, state, &replayed.memtable).map_err(named)?;
            }
            replayed.has_pointers |= replayed.memtable.has_pointers();
            if replayed.memtable.byte_len() >= self.flush.options.memtable_len {
                self.end_memtable(state, replayed)?;
            }
        }
    }

    fn end_memtable(&self, state: &mut State, replayed: &mut Replayed) -> Result<()> {
        if replayed.memtable.is_empty() {
            return Ok(());
        }
        replayed.has_tables = true;
        let mut number = || {
            self.next_number
                .fetch_add(1, crate::sync::atomic::Ordering::Relaxed)
        };
        let output = self
            .flush
            .write(&replayed.memtable, Vec::new(), &mut number)?;
        let edit = VersionEdit {
            counter: state.counter,
            session: state.session,
            added: output.tables.into_iter().map(|meta| (0, meta)).collect(),
            annex: output.annex,
            ..VersionEdit::default()
        };
        *state = state.apply(&edit)?;
        replayed.memtable = self.new_memtable();
        Ok(())
    }

    fn new_memtable(&self) -> Arc<Memtable> {
        Arc::new(Memtable::new(
            self.flush.options.kv_protection == KvProtection::On,
        ))
    }
}

/// Applies the batches of a record; history has no gaps.
fn replay_record(record: &Record, state: &mut State, memtable: &Memtable) -> Result<()> {
    for batch in batches(record) {
        let batch = batch?;
        if batch.first != state.last_seqno + 1 {
            return Err(Error::corruption("history has a gap before this record"));
        }
        batch.entries().try_for_each(|entry| entry?.verify())?;
        // Nobody reads before the store is open.
        if memtable.insert_behind(&batch, 0)? != batch.count {
            return Err(Error::corruption("a batch has another length than it says"));
        }
        state.last_seqno += u64::from(batch.count);
    }
    Ok(())
}

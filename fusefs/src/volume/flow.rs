//! When the unwritten goes to the tree: on demand, by age, for room.
//!
//! - Memory of the unwritten is bounded: a writer who finds too much of it works on it himself.
//! - Nothing of an inode without a name is written out, except for room.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::time::Duration;

use crate::errno::{Errno, FsResult};
use crate::extent::len_in_chunk;
use crate::inode::{Inode, Stage, State};
use crate::volume::Volume;
use crate::volume::seal::Goal;

/// Memory that an inode in the queue is charged with.
pub(super) const INODE_CHARGE: usize = 1 << 10;
/// So many chunks are worth the workers.
const PARALLEL_COUNT_MIN: usize = 2;
/// A single chunk of at most so many bytes goes into the log when a sync follows, so that the sync
/// needs no blob file.
const LOGGED_LEN_MAX: usize = 32 << 10;
/// How long a writer waits for seals before he looks again.
const WAIT: Duration = Duration::from_millis(20);

/// What follows a write-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    Sync,
}

/// Inodes with something unwritten.
#[derive(Default)]
pub(super) struct Queue {
    /// By the time when it began.
    waiting: VecDeque<(Duration, Arc<Inode>)>,
    /// Those that somebody took to write them out, and has not yet.
    taken: Vec<Arc<Inode>>,
}

/// An inode that was taken from the queue to be written out. After a panic it is queued again.
struct Taken<'a> {
    volume: &'a Volume,
    inode: Arc<Inode>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.inode.lock();
            if state.is_unwritten() {
                self.volume.enqueue(&self.inode, &mut state);
            }
        }
        let taken = &mut self.volume.queue.lock().taken;
        if let Some(place) = taken.iter().position(|one| Arc::ptr_eq(one, &self.inode)) {
            taken.swap_remove(place);
        }
    }
}

/// The one flush behind writers. Another may begin afterwards, also when this one panicked.
struct Flush(Arc<Volume>);

impl Drop for Flush {
    fn drop(&mut self) {
        self.0.flushing.store(false, Ordering::Relaxed);
    }
}

impl Volume {
    /// Notes that an inode has something unwritten.
    pub(crate) fn enqueue(&self, inode: &Arc<Inode>, state: &mut State) {
        if !state.queued && !state.reaped {
            state.queued = true;
            self.ledger.change(0, INODE_CHARGE);
            let since = self.clock.monotonic();
            let waits = (since, Arc::clone(inode));
            self.queue.lock().waiting.push_back(waits);
        }
    }

    /// The inode that has waited longest, if it has waited since `before`.
    fn dequeue(&self, before: Duration) -> Option<Taken<'_>> {
        let mut queue = self.queue.lock();
        if (queue.waiting.front()).is_none_or(|(since, _)| *since > before) {
            return None;
        }
        let (_, inode) = queue.waiting.pop_front()?;
        queue.taken.push(Arc::clone(&inode));
        drop(queue);
        inode.lock().queued = false;
        self.ledger.change(INODE_CHARGE, 0);
        let volume = self;
        Some(Taken { volume, inode })
    }

    /// Takes what has waited longest, as somebody does who is about to write it out.
    #[cfg(test)]
    pub(crate) fn take_oldest(&self) -> Option<impl Drop> {
        self.dequeue(Duration::MAX)
    }

    fn waiting_count(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    /// Puts everything unwritten of an inode into the tree, without a sync.
    pub(crate) fn write_out(self: &Arc<Self>, inode: &Arc<Inode>) -> FsResult<()> {
        self.write_out_before(inode, Next::Nothing)
    }

    /// As [`Volume::write_out`], for a caller who syncs the tree next.
    pub(crate) fn write_out_to_sync(self: &Arc<Self>, inode: &Arc<Inode>) -> FsResult<()> {
        self.write_out_before(inode, Next::Sync)
    }

    fn write_out_before(self: &Arc<Self>, inode: &Arc<Inode>, next: Next) -> FsResult<()> {
        let mut guard = inode.lock();
        if !guard.is_unwritten() || guard.reaped {
            return Ok(());
        }
        if self.pool.has_threads() && guard.content.chunks.len() >= PARALLEL_COUNT_MIN {
            let keep = self.patchable(inode, &mut guard)?;
            let open_count = Self::open_chunks(&guard, &keep).count();
            if open_count >= PARALLEL_COUNT_MIN || guard.content.sealing_count > 0 {
                let seals = self.seal_all(inode, &mut guard, &keep);
                let mark = guard.content.next_seal;
                drop(guard);
                self.submit(seals);
                while self.pool.help() {}
                guard = inode.lock();
                while Self::is_sealing_below(&guard, mark) {
                    guard = inode.sealed.wait(guard);
                }
            }
        }
        let outcome = self.write_out_locked_before(inode, &mut guard, next);
        if outcome.is_err() {
            self.enqueue(inode, &mut guard);
        }
        outcome
    }

    /// Is a seal under way that began before the one with this number?
    fn is_sealing_below(state: &State, mark: u64) -> bool {
        let mut chunks = state.content.chunks.values();
        chunks.any(|chunk| matches!(chunk.stage, Stage::Sealing { seal, .. } if seal < mark))
    }

    /// As [`Volume::write_out`], under the lock of the inode, with all work on this thread.
    pub(crate) fn write_out_locked(&self, inode: &Arc<Inode>, state: &mut State) -> FsResult<()> {
        self.write_out_locked_before(inode, state, Next::Nothing)
    }

    fn write_out_locked_before(
        &self,
        inode: &Arc<Inode>,
        state: &mut State,
        next: Next,
    ) -> FsResult<()> {
        if !state.is_unwritten() || state.reaped {
            return Ok(());
        }
        let outcome = self.seal_and_commit(inode, state, next);
        if let Err(error) = &outcome {
            Self::untake(state);
            self.note_failure(state, error.duplicate());
        }
        outcome
    }

    fn seal_and_commit(&self, inode: &Arc<Inode>, state: &mut State, next: Next) -> FsResult<()> {
        self.must_be_writable()?;
        self.prepare_trim(inode, state)?;
        let keep = self.patchable(inode, state)?;
        let open: Vec<u64> = Self::open_chunks(state, &keep).collect();
        let goal = match *open {
            [index] if next == Next::Sync && Self::is_short(state, index) => Goal::Log,
            _ => Goal::BlobFile,
        };
        for index in open {
            self.seal_now(inode, state, index, goal)?;
        }
        self.commit(inode, state)
    }

    /// The chunks that are neither sealed nor among those that `keep` names.
    fn open_chunks(state: &State, keep: &[u64]) -> impl Iterator<Item = u64> {
        let chunks = state.content.chunks.iter();
        chunks
            .filter(|(index, unwritten)| {
                !matches!(unwritten.stage, Stage::Sealed { .. }) && !keep.contains(index)
            })
            .map(|(&index, _)| index)
    }

    /// Is the chunk so short that a sync of the log alone is cheaper, and no other in a blob file
    /// already?
    fn is_short(state: &State, index: u64) -> bool {
        len_in_chunk(state.record.size, index) <= LOGGED_LEN_MAX && state.content.sealed_count == 0
    }

    /// Waits or works until the unwritten takes less memory than allowed.
    pub(crate) fn make_room(self: &Arc<Self>) -> FsResult<()> {
        let len_max = self.options.dirty_len_max;
        if self.ledger.held_len() > len_max / 2 {
            self.flush_behind();
        }
        let mut tries = self.waiting_count() + 1;
        while self.ledger.held_len() > len_max {
            if self.pool.help() {
                continue;
            }
            if self.ledger.seal_count() > 0 {
                self.ledger.wait(len_max, WAIT);
                continue;
            }
            match self.dequeue(Duration::MAX) {
                Some(taken) => {
                    let outcome = self.write_out(&taken.inode);
                    tries = tries.saturating_sub(1);
                    // One file that cannot be written out does not stop the others.
                    if tries == 0 {
                        outcome?;
                    }
                }
                // Others are at work on what there is.
                None => self.ledger.wait(len_max, WAIT),
            }
        }
        Ok(())
    }

    /// Writes out the oldest on a worker, until a quarter of the room is taken.
    fn flush_behind(self: &Arc<Self>) {
        if !self.pool.has_threads() || self.flushing.swap(true, Ordering::Relaxed) {
            return;
        }
        let flush = Flush(Arc::clone(self));
        self.pool.submit_long(move || {
            let volume = &flush.0;
            let enough = volume.options.dirty_len_max / 4;
            let mut tries = volume.waiting_count();
            while volume.ledger.held_len() > enough && tries > 0 {
                tries -= 1;
                let Some(taken) = volume.dequeue(Duration::MAX) else {
                    break;
                };
                let inode = &taken.inode;
                let is_stream = {
                    let mut state = inode.lock();
                    let is_stream = state.content.sealing_count > 0 || state.record.nlink == 0;
                    if is_stream {
                        volume.enqueue(inode, &mut state);
                    }
                    is_stream
                };
                // A failure stays with the inode, which is queued again.
                if !is_stream && volume.write_out(inode).is_err() {
                    break;
                }
            }
        });
    }

    /// Writes out what is older than the limit; what fails is tried again.
    pub(crate) fn write_out_old(self: &Arc<Self>) {
        let age = Duration::from_millis(self.options.dirty_age_ms_max);
        let Some(before) = self.clock.monotonic().checked_sub(age) else {
            return;
        };
        let mut tries = self.waiting_count();
        while tries > 0
            && let Some(taken) = self.dequeue(before)
        {
            let inode = &taken.inode;
            tries -= 1;
            let mut state = inode.lock();
            if state.record.nlink == 0 {
                if state.is_unwritten() {
                    self.enqueue(inode, &mut state);
                }
                continue;
            }
            drop(state);
            // Told by the next fsync or close; the inode is queued again.
            let _failed = self.write_out(inode);
        }
    }

    /// Writes out everything that has a name, also what others have taken to write it out; the
    /// first failure is told after all were tried.
    pub(crate) fn write_out_all(self: &Arc<Self>) -> FsResult<()> {
        let all: Vec<Arc<Inode>> = {
            let queue = self.queue.lock();
            let waiting = queue.waiting.iter().map(|(_, inode)| inode);
            waiting.chain(&queue.taken).cloned().collect()
        };
        let mut outcome = Ok(());
        for inode in all {
            let has_name = inode.lock().record.nlink > 0;
            if has_name {
                outcome = outcome.and(self.write_out(&inode));
            }
        }
        // Nothing is left of those that were written out but their place in the queue.
        self.forget_written();
        outcome
    }

    /// Takes those from the queue of which nothing is unwritten.
    fn forget_written(&self) {
        let mut tries = self.waiting_count();
        while tries > 0
            && let Some(taken) = self.dequeue(Duration::MAX)
        {
            tries -= 1;
            let mut state = taken.inode.lock();
            if state.is_unwritten() {
                self.enqueue(&taken.inode, &mut state);
            }
        }
    }

    /// What is unwritten of an inode will never be needed.
    pub(crate) fn discard(&self, state: &mut State) {
        self.drop_chunks(state, 0);
        state.content.full.clear();
        state.changed = false;
        state.failed = None;
    }

    /// The failure that closing a file must tell.
    pub(crate) fn told_at_close(state: &State) -> FsResult<()> {
        match &state.failed {
            Some(error) if state.is_unwritten() => Err(error.duplicate()),
            _ => Ok(()),
        }
    }

    /// Refuses an operation on an inode that is gone.
    pub(crate) fn must_have_name(state: &State) -> FsResult<()> {
        if state.record.nlink == 0 {
            return Err(Errno::ENOENT.into());
        }
        Ok(())
    }
}

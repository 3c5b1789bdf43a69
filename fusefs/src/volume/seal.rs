//! Sealing unwritten chunks into blob files, on the workers or here.
//!
//! - A seal works on a frozen buffer without the lock of the inode. A write, a truncation or a
//!   second seal of the chunk meanwhile voids it.
//! - While a chunk is being sealed nothing else replaces it in the tree, so its base holds still.
//! - However a seal ends, it is counted out and whoever waits for it goes on.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::panic::AssertUnwindSafe;

use coffer_blobstore::{Effort, Error, Staged};

use crate::buffer::Buffer;
use crate::cache::Chunk;
use crate::errno::FsResult;
use crate::extent::{CHUNK_LEN, len_in_chunk};
use crate::inode::{Inode, Stage, State};
use crate::volume::Volume;
use crate::volume::base::Base;

/// So many sealed chunks of a stream are put in one batch, where there is room for them.
const COMMIT_COUNT: usize = 64;
/// An inode with so many unwritten chunks is a stream: full chunks are sealed at once.
const STREAM_COUNT: usize = 8;

/// Where the bytes of a chunk go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Into a blob file, but for the smallest.
    BlobFile,
    /// Into the log, beside the record.
    Log,
}

/// A chunk on its way to a blob file.
pub(super) struct Seal {
    inode: Arc<Inode>,
    index: u64,
    number: u64,
    buffer: Arc<Buffer>,
    len: usize,
    beneath: Beneath,
}

/// A seal that somebody works on.
struct UnderWay<'a> {
    volume: &'a Volume,
    inode: Arc<Inode>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.inode.lock();
        state.content.sealing_count -= 1;
        if std::thread::panicking() {
            Volume::untake(&mut state);
            let error = Error::io("writing a chunk out panicked");
            self.volume.note_failure(&mut state, error.into());
        }
        self.inode.sealed.notify_all();
        drop(state);
        self.volume.ledger.seal_ends();
    }
}

/// What lies under the buffer.
enum Beneath {
    Nothing,
    Known(Chunk, usize),
    InTree(Base),
}

impl Volume {
    /// Freezes a dirty chunk for a seal on a worker.
    fn begin_seal(&self, inode: &Arc<Inode>, state: &mut State, index: u64) -> Option<Seal> {
        let beneath = self.beneath(inode, state, index);
        let content = &mut state.content;
        let unwritten = content.chunks.get_mut(&index)?;
        let Stage::Dirty(buffer) = &mut unwritten.stage else {
            return None;
        };
        let buffer = Arc::new(core::mem::take(buffer));
        let number = content.next_seal;
        content.next_seal += 1;
        content.sealing_count += 1;
        unwritten.stage = Stage::Sealing {
            seal: number,
            buffer: Arc::clone(&buffer),
        };
        self.ledger.seal_begins();
        Some(Seal {
            inode: Arc::clone(inode),
            index,
            number,
            buffer,
            len: len_in_chunk(state.record.size, index),
            beneath,
        })
    }

    /// What lies under an unwritten chunk.
    fn beneath(&self, inode: &Inode, state: &State, index: u64) -> Beneath {
        let based = state
            .content
            .chunks
            .get(&index)
            .is_some_and(|unwritten| unwritten.based && !unwritten.stage.buffer().is_whole());
        let base = Self::base(inode, state, index);
        if !based || base.cut == 0 {
            return Beneath::Nothing;
        }
        match self.cache.peek(base.id) {
            Some(chunk) => Beneath::Known(chunk, base.cut),
            None => Beneath::InTree(base),
        }
    }

    /// `count` chunks, or as many as a quarter of the room holds; at least one.
    fn part_of_room(&self, count: usize) -> usize {
        (self.options.dirty_len_max / (4 * CHUNK_LEN)).clamp(1, count)
    }

    /// Freezes the chunks of a stream that are full.
    pub(super) fn seal_full(&self, inode: &Arc<Inode>, state: &mut State) -> Vec<Seal> {
        if state.content.chunks.len() < self.part_of_room(STREAM_COUNT) {
            return Vec::new();
        }
        let full = core::mem::take(&mut state.content.full);
        full.into_iter()
            .filter_map(|index| {
                let unwritten = state.content.chunks.get(&index)?;
                let whole = unwritten.stage.buffer().is_whole();
                whole.then(|| self.begin_seal(inode, state, index))?
            })
            .collect()
    }

    /// Freezes all dirty chunks but those that `keep` names.
    pub(super) fn seal_all(
        &self,
        inode: &Arc<Inode>,
        state: &mut State,
        keep: &[u64],
    ) -> Vec<Seal> {
        state.content.full.clear();
        let dirty: Vec<u64> = state
            .content
            .chunks
            .iter()
            .filter(|(index, unwritten)| {
                matches!(unwritten.stage, Stage::Dirty(_)) && !keep.contains(index)
            })
            .map(|(&index, _)| index)
            .collect();
        dirty
            .into_iter()
            .filter_map(|index| self.begin_seal(inode, state, index))
            .collect()
    }

    /// Hands seals to the workers. The caller holds no lock.
    pub(super) fn submit(self: &Arc<Self>, seals: Vec<Seal>) {
        for seal in seals {
            let volume = Arc::clone(self);
            self.pool.submit(move || volume.run_seal(seal));
        }
    }

    fn run_seal(&self, seal: Seal) {
        let _ends = UnderWay {
            volume: self,
            inode: Arc::clone(&seal.inode),
        };
        let work =
            AssertUnwindSafe(|| self.stage(&seal.buffer, seal.len, &seal.beneath, Goal::BlobFile));
        let outcome = std::panic::catch_unwind(work)
            .unwrap_or_else(|_| Err(Error::io("sealing a chunk panicked").into()));
        let mut guard = seal.inode.lock();
        let state = &mut *guard;
        if let Some(unwritten) = state.content.chunks.get_mut(&seal.index)
            && let Stage::Sealing { seal: number, .. } = unwritten.stage
            && number == seal.number
        {
            match outcome {
                Ok(staged) => {
                    let buffer = seal.buffer;
                    unwritten.stage = Stage::Sealed { buffer, staged };
                    state.content.sealed_count += 1;
                }
                Err(error) => {
                    unwritten.buffer_mut(&mut state.content.sealed_count);
                    self.note_failure(state, error);
                }
            }
        }
        if state.content.sealed_count >= self.part_of_room(COMMIT_COUNT)
            && state.failed.is_none()
            && let Err(error) = self.commit_sealed(&seal.inode, state)
        {
            // Told by the next fsync or close, after another try.
            Self::untake(state);
            self.note_failure(state, error);
        }
    }

    /// Seals a chunk here and now, under the lock of the inode. Voids a seal under way.
    pub(super) fn seal_now(
        &self,
        inode: &Inode,
        state: &mut State,
        index: u64,
        goal: Goal,
    ) -> FsResult<()> {
        let beneath = self.beneath(inode, state, index);
        let len = len_in_chunk(state.record.size, index);
        let content = &mut state.content;
        let Some(unwritten) = content.chunks.get_mut(&index) else {
            return Ok(());
        };
        if matches!(unwritten.stage, Stage::Sealed { .. }) {
            return Ok(());
        }
        let buffer = unwritten.buffer_mut(&mut content.sealed_count);
        let staged = self.stage(buffer, len, &beneath, goal)?;
        let buffer = Arc::new(core::mem::take(buffer));
        unwritten.stage = Stage::Sealed { buffer, staged };
        content.sealed_count += 1;
        Ok(())
    }

    fn stage(
        &self,
        buffer: &Buffer,
        len: usize,
        beneath: &Beneath,
        goal: Goal,
    ) -> FsResult<Staged> {
        if let Some(bytes) = buffer.as_slice(len) {
            return self.stage_bytes(bytes, goal);
        }
        let bytes = match beneath {
            Beneath::Nothing => buffer.over(&[], len),
            Beneath::Known(chunk, cut) => buffer.over(&chunk[..(*cut).min(chunk.len())], len),
            Beneath::InTree(base) => {
                let chunk = self.load_base(base)?;
                buffer.over(&chunk[..base.cut.min(chunk.len())], len)
            }
        };
        self.stage_bytes(&bytes, goal)
    }

    fn stage_bytes(&self, bytes: &[u8], goal: Goal) -> FsResult<Staged> {
        if goal == Goal::Log {
            return Ok(self.tree.stage_inline(bytes));
        }
        // While more waits than the workers can seal, they compress less.
        let is_behind = self.ledger.held_len() > self.options.dirty_len_max / 4 * 3;
        let effort = match is_behind {
            true => Effort::Low,
            false => Effort::Normal,
        };
        Ok(self.note_space(self.tree.stage_with(bytes, effort))?)
    }
}

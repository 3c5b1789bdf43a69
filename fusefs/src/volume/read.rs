//! Reading: unwritten bytes over cached chunks over the tree, and prefetching.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use crate::cache::{Chunk, Found};
use crate::errno::FsResult;
use crate::extent::{Piece, chunk_count, index_of, pieces, within};
use crate::inode::{Inode, State};
use crate::view::ReadData;
use crate::volume::Volume;
use crate::volume::base::Base;

/// Chunks on their way ahead of readers at most.
const PREFETCH_COUNT_MAX: usize = 16;

/// One chunk on its way. The place is free again afterwards, also when fetching panicked.
struct Turn(Arc<Volume>);

impl Turn {
    fn take(volume: &Arc<Volume>) -> Option<Self> {
        let turn = Self(Arc::clone(volume));
        let others = volume.prefetch_count.fetch_add(1, Ordering::Relaxed);
        (others < PREFETCH_COUNT_MAX).then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.prefetch_count.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Source {
    /// The bytes, complete.
    Done(ReadData),
    /// A chunk of the tree of which so many bytes count.
    Chunk(Chunk, usize),
}

impl Volume {
    /// Up to `len` bytes from `offset`; fewer only at the end of the file.
    pub(crate) fn read(&self, inode: &Inode, offset: u64, len: usize) -> FsResult<ReadData> {
        let rest = inode.lock().record.size.saturating_sub(offset);
        let len = len.min(usize::try_from(rest).unwrap_or(usize::MAX));
        if len == 0 {
            return Ok(ReadData::default());
        }
        let mut parts = pieces(offset, len);
        let first = parts.next().expect("there is at least one byte");
        if first.len == len {
            return self.read_piece(inode, first);
        }
        let mut out = Vec::with_capacity(len);
        for piece in core::iter::once(first).chain(parts) {
            out.extend_from_slice(&self.read_piece(inode, piece)?);
        }
        Ok(out.into())
    }

    fn read_piece(&self, inode: &Inode, piece: Piece) -> FsResult<ReadData> {
        let end = piece.offset + piece.len;
        Ok(match self.source(inode, piece)? {
            Source::Done(data) => data,
            Source::Chunk(chunk, cut) if end <= cut.min(chunk.len()) => {
                ReadData::shared(&chunk, piece.offset..end)
            }
            Source::Chunk(chunk, cut) => copy(piece, &chunk, cut).into(),
        })
    }

    fn source(&self, inode: &Inode, piece: Piece) -> FsResult<Source> {
        loop {
            let state = inode.lock();
            if state.content.chunks.contains_key(&piece.index) {
                return self.unwritten(inode, &state, piece).map(Source::Done);
            }
            let base = Self::base(inode, &state, piece.index);
            if base.cut == 0 {
                return Ok(Source::Done(vec![0; piece.len].into()));
            }
            let load = match self.cache.find(base.id) {
                Found::Ready(chunk) => return Ok(Source::Chunk(chunk, base.cut)),
                Found::Load(load) => load,
                Found::Busy => {
                    drop(state);
                    self.cache.wait(base.id);
                    continue;
                }
            };
            drop(state);
            match self.load_base(&base) {
                Ok(bytes) => {
                    let chunk = Arc::new(bytes);
                    if load.finish(&chunk) {
                        return Ok(Source::Chunk(chunk, base.cut));
                    }
                }
                Err(error) => {
                    drop(load);
                    if Self::still(inode, &base) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Is the chunk still the one that `base` tells of?
    fn still(inode: &Inode, base: &Base) -> bool {
        let state = inode.lock();
        state.content.cache_epoch == base.id.epoch
            && !state.content.chunks.contains_key(&base.id.index)
            && (state.record.patch_count > 0) == base.patched
    }

    fn unwritten(&self, inode: &Inode, state: &State, piece: Piece) -> FsResult<ReadData> {
        let unwritten = state.content.chunks.get(&piece.index);
        let unwritten = unwritten.expect("the caller has looked");
        let buffer = unwritten.stage.buffer();
        let mut out = if buffer.covers(piece.offset, piece.len) || !unwritten.based {
            vec![0; piece.len]
        } else {
            let base = Self::base(inode, state, piece.index);
            copy(piece, &self.cached(&base)?, base.cut)
        };
        buffer.copy_over(piece.offset, &mut out);
        Ok(out.into())
    }

    /// Fetches up to `count` chunks behind `offset` on the workers.
    pub(crate) fn prefetch(self: &Arc<Self>, inode: &Arc<Inode>, offset: u64, count: u64) {
        if !self.pool.has_threads() {
            return;
        }
        let first = index_of(offset) + u64::from(within(offset) > 0);
        let state = inode.lock();
        let last = chunk_count(state.content.base_len).min(first.saturating_add(count));
        let unknown = |&index: &u64| {
            let base = Self::base(inode, &state, index);
            !state.content.chunks.contains_key(&index) && !self.cache.knows(base.id)
        };
        let wanted: Vec<u64> = (first..last).filter(unknown).collect();
        drop(state);
        for index in wanted {
            let Some(turn) = Turn::take(self) else {
                return;
            };
            let inode = Arc::clone(inode);
            self.pool.submit(move || turn.0.fetch(&inode, index));
        }
    }

    fn fetch(&self, inode: &Inode, index: u64) {
        let state = inode.lock();
        let base = Self::base(inode, &state, index);
        if base.cut == 0 || state.content.chunks.contains_key(&index) {
            return;
        }
        let Found::Load(load) = self.cache.find(base.id) else {
            return;
        };
        drop(state);
        // An error is told to the reader who comes for the chunk.
        if let Ok(bytes) = self.load_base(&base) {
            load.finish(&Arc::new(bytes));
        }
    }
}

/// A copy of a piece of a chunk of which `cut` bytes count; zeros behind.
fn copy(piece: Piece, chunk: &[u8], cut: usize) -> Vec<u8> {
    let held = &chunk[..cut.min(chunk.len())];
    let held = held.get(piece.offset..).unwrap_or_default();
    let mut out = held[..held.len().min(piece.len)].to_vec();
    out.resize(piece.len, 0);
    out
}

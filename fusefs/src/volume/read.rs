//! Reading: unwritten bytes over cached chunks over the tree, and prefetching.
//!
//! - A small read that is part of no run takes from the tree the frames it touches, where the chunk
//!   is cut into several: a chunk that nobody reads on in is not worth decoding.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use crate::cache::{Chunk, Found};
use crate::errno::FsResult;
use crate::extent::{CHUNK_LEN, Piece, chunk_count, index_of, pieces, within};
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

/// Longest read that may be served by a part of a chunk.
const PART_LEN_MAX: usize = CHUNK_LEN / 4;

/// How a reader moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// On from where it was: what lies near will be wanted too.
    Run,
    /// Here and there.
    Jump,
}

enum Source {
    /// The bytes, complete.
    Done(ReadData),
    /// Bytes of a chunk of the tree.
    Held(Held),
}

/// Bytes of a chunk as the tree holds it.
struct Held {
    bytes: Chunk,
    /// Where in the chunk they begin.
    first: usize,
    /// Bytes of the chunk that count.
    cut: usize,
    /// They are the whole chunk.
    is_whole: bool,
}

impl Volume {
    /// Up to `len` bytes from `offset`; fewer only at the end of the file.
    pub(crate) fn read(
        &self,
        inode: &Inode,
        offset: u64,
        len: usize,
        access: Access,
    ) -> FsResult<ReadData> {
        let rest = inode.lock().record.size.saturating_sub(offset);
        let len = len.min(usize::try_from(rest).unwrap_or(usize::MAX));
        if len == 0 {
            return Ok(ReadData::default());
        }
        let mut parts = pieces(offset, len);
        let first = parts.next().expect("there is at least one byte");
        if first.len == len {
            return self.read_piece(inode, first, access);
        }
        let mut out = Vec::with_capacity(len);
        for piece in core::iter::once(first).chain(parts) {
            out.extend_from_slice(&self.read_piece(inode, piece, access)?);
        }
        Ok(out.into())
    }

    fn read_piece(&self, inode: &Inode, piece: Piece, access: Access) -> FsResult<ReadData> {
        Ok(match self.source(inode, piece, access)? {
            Source::Done(data) => data,
            Source::Held(held) => held.read(piece),
        })
    }

    fn source(&self, inode: &Inode, piece: Piece, access: Access) -> FsResult<Source> {
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
                Found::Ready(chunk) => return Ok(Source::Held(Held::whole(chunk, base.cut))),
                Found::Load(load) => load,
                Found::Busy => {
                    drop(state);
                    self.cache.wait(base.id);
                    continue;
                }
            };
            drop(state);
            match self.load_for(&base, piece, access) {
                Ok(held) => {
                    let valid = if held.is_whole {
                        load.finish(&held.bytes)
                    } else {
                        load.is_valid()
                    };
                    if valid {
                        return Ok(Source::Held(held));
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

    /// The chunk from the tree, or as much of it as a reader who jumps needs.
    fn load_for(&self, base: &Base, piece: Piece, access: Access) -> FsResult<Held> {
        if access == Access::Run || piece.len > PART_LEN_MAX || base.patched {
            return Ok(Held::whole(Arc::new(self.load_base(base)?), base.cut));
        }
        let (bytes, first, is_whole) = self.load_part(base, piece)?;
        Ok(Held {
            bytes: Arc::new(bytes),
            first,
            cut: base.cut,
            is_whole,
        })
    }

    /// Is the chunk still the one that `base` tells of?
    fn still(inode: &Inode, base: &Base) -> bool {
        let state = inode.lock();
        let index = base.id.index;
        !state.content.chunks.contains_key(&index) && Self::base(inode, &state, index) == *base
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

    /// Is the chunk of the tree decoded in memory, or on its way?
    #[cfg(test)]
    pub(crate) fn keeps(&self, inode: &Inode, index: u64) -> bool {
        let state = inode.lock();
        self.cache.knows(Self::base(inode, &state, index).id)
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

impl Held {
    fn whole(bytes: Chunk, cut: usize) -> Self {
        Self {
            bytes,
            first: 0,
            cut,
            is_whole: true,
        }
    }

    fn read(self, piece: Piece) -> ReadData {
        let cut = self.cut.saturating_sub(self.first);
        let piece = Piece {
            offset: piece.offset.saturating_sub(self.first),
            ..piece
        };
        let end = piece.offset + piece.len;
        if end <= cut.min(self.bytes.len()) {
            return ReadData::shared(&self.bytes, piece.offset..end);
        }
        copy(piece, &self.bytes, cut).into()
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

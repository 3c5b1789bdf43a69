//! Writing and truncating, in memory.
//!
//! - A change is made whole or not at all: everything that can fail comes before the first byte.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::buffer::Buffer;
use crate::cache::Chunk;
use crate::errno::{Errno, FsResult};
use crate::extent::{
    CHUNK_LEN, FILE_LEN_MAX, Piece, chunk_count, index_of, len_in_chunk, pieces, within,
};
use crate::inode::{Inode, Stage, State, Unwritten};
use crate::key;
use crate::volume::Volume;

/// One piece of a write, with what it needs from the tree.
struct Prepared {
    piece: Piece,
    based: bool,
    fill: Option<(u32, Chunk)>,
}

impl Volume {
    /// Writes `data` at `offset`, or at the end without one.
    pub(crate) fn write(
        self: &Arc<Self>,
        inode: &Arc<Inode>,
        offset: Option<u64>,
        data: &[u8],
        change: impl FnOnce(&mut State),
    ) -> FsResult<()> {
        self.make_room()?;
        let mut state = inode.lock();
        state.must_be_file()?;
        if data.is_empty() {
            return Ok(());
        }
        let offset = offset.unwrap_or(state.record.size);
        if offset
            .checked_add(data.len() as u64)
            .is_none_or(|end| end > FILE_LEN_MAX)
        {
            return Err(Errno::EFBIG.into());
        }
        self.overwrite(inode, &mut state, offset, data)?;
        state.touch(self.now());
        change(&mut state);
        self.enqueue(inode, &mut state);
        let seals = self.seal_full(inode, &mut state);
        drop(state);
        self.submit(seals);
        Ok(())
    }

    /// Lays `data` over the content, under the lock of the inode.
    pub(super) fn overwrite(
        &self,
        inode: &Inode,
        state: &mut State,
        offset: u64,
        data: &[u8],
    ) -> FsResult<()> {
        for piece in self.prepare(inode, state, offset, data.len())? {
            self.apply(state, &piece, data);
        }
        Ok(())
    }

    fn prepare(
        &self,
        inode: &Inode,
        state: &State,
        offset: u64,
        len: usize,
    ) -> FsResult<Vec<Prepared>> {
        let nothing = Buffer::default();
        pieces(offset, len)
            .map(|piece| {
                let unwritten = state.content.chunks.get(&piece.index);
                let (based, buffer) = match unwritten {
                    Some(unwritten) => (unwritten.based, unwritten.stage.buffer()),
                    None => (self.exists(inode, state, piece.index)?, &nothing),
                };
                let mut fill = None;
                if based {
                    let base = Self::base(inode, state, piece.index);
                    let pages = buffer.missing(piece.offset, piece.len, base.cut);
                    if pages != 0 {
                        fill = Some((pages, self.cached(&base)?));
                    }
                }
                Ok(Prepared { piece, based, fill })
            })
            .collect()
    }

    fn apply(&self, state: &mut State, prepared: &Prepared, data: &[u8]) {
        let Prepared { piece, based, fill } = prepared;
        let chunk_count = state.chunk_count();
        let base_len = len_in_chunk(state.content.base_len, piece.index);
        let content = &mut state.content;
        let unwritten = content.chunks.entry(piece.index).or_insert_with(|| {
            if piece.index >= chunk_count {
                state.record.hole_count += piece.index - chunk_count;
            } else if !based {
                state.record.hole_count = state.record.hole_count.saturating_sub(1);
            }
            Unwritten {
                stage: Stage::Dirty(Buffer::default()),
                based: *based,
                charge: 0,
            }
        });
        let buffer = unwritten.buffer_mut(&mut content.sealed_count);
        if let Some((pages, chunk)) = fill {
            buffer.fill(*pages, &chunk[..base_len.min(chunk.len())]);
        }
        if buffer.is_fresh() && piece.offset == 0 && piece.len > CHUNK_LEN / 2 {
            *buffer = Buffer::in_memory(self.spares.take());
        }
        let was_whole = buffer.is_whole();
        buffer.write(
            piece.offset,
            &data[piece.position..piece.position + piece.len],
        );
        if buffer.is_whole() && !was_whole {
            content.full.push(piece.index);
        }
        let charge = buffer.memory_len();
        self.ledger.change(unwritten.charge, charge);
        unwritten.charge = charge;
        let end = piece.index * CHUNK_LEN as u64 + (piece.offset + piece.len) as u64;
        state.record.size = state.record.size.max(end);
    }

    /// Cuts or extends a regular file to `len` bytes.
    pub(crate) fn truncate(&self, inode: &Inode, state: &mut State, len: u64) -> FsResult<()> {
        state.must_be_file()?;
        if len > FILE_LEN_MAX {
            return Err(Errno::EFBIG.into());
        }
        let old_count = state.chunk_count();
        let new_count = chunk_count(len);
        if len >= state.record.size {
            state.record.hole_count += new_count - old_count;
            state.record.size = len;
            return Ok(());
        }
        if state.record.hole_count > 0 {
            let gone = old_count - new_count;
            let present = self.present_from(inode, state, new_count)?;
            let holes = gone.saturating_sub(present);
            state.record.hole_count = state.record.hole_count.saturating_sub(holes);
        }
        self.drop_chunks(state, new_count);
        let content = &mut state.content;
        if let Some(unwritten) = content.chunks.get_mut(&index_of(len)) {
            let buffer = unwritten.buffer_mut(&mut content.sealed_count);
            buffer.truncate(within(len));
        }
        content.base_len = content.base_len.min(len);
        state.record.size = len;
        Ok(())
    }

    /// Chunks from `first` on that are unwritten or in the tree.
    fn present_from(&self, inode: &Inode, state: &State, first: u64) -> FsResult<u64> {
        let mut count = state.content.chunks.range(first..).count() as u64;
        let behind = chunk_count(state.content.base_len);
        if first >= behind {
            return Ok(count);
        }
        let from = key::chunk(inode.ino, first);
        let mut scan = self.tree.scan(&key::chunks(inode.ino), &from)?;
        while let Some((key, _)) = scan.next()? {
            match key::number_at(&key, 9) {
                Some(index) if index < behind => {
                    count += u64::from(!state.content.chunks.contains_key(&index));
                }
                _ => break,
            }
        }
        Ok(count)
    }

    /// Forgets the unwritten chunks from `first` on.
    pub(super) fn drop_chunks(&self, state: &mut State, first: u64) {
        for unwritten in state.content.chunks.split_off(&first).into_values() {
            self.dropped(state, &unwritten);
        }
    }

    /// Forgets one unwritten chunk.
    pub(super) fn drop_chunk(&self, state: &mut State, index: u64) {
        if let Some(unwritten) = state.content.chunks.remove(&index) {
            self.dropped(state, &unwritten);
        }
    }

    fn dropped(&self, state: &mut State, unwritten: &Unwritten) {
        self.ledger.change(unwritten.charge, 0);
        if matches!(unwritten.stage, Stage::Sealed { .. }) {
            state.content.sealed_count -= 1;
        }
    }
}

//! Putting sealed chunks, patches and the record of an inode in one batch.
//!
//! - A whole commit leaves nothing unwritten. A partial one puts the sealed chunks of a stream
//!   and a record that counts exactly the chunks in the tree.
//! - After a failed batch everything is dirty again.

use alloc::vec::Vec;

use coffer_blobstore::BlobBatch;

use crate::attr::Kind;
use crate::buffer::Buffer;
use crate::errno::FsResult;
use crate::extent::{chunk_count, chunk_end, index_of, len_in_chunk, pages_of, within};
use crate::inode::{Inode, Stage, State};
use crate::key;
use crate::record::{InodeRecord, ORPHAN};
use crate::volume::Volume;

/// Bytes of a chunk that are worth patching instead of sealing it anew.
const PATCHED_LEN_MIN: usize = 16 << 10;
/// Pages of one chunk put as patches at once.
const PATCH_COUNT_MAX: u32 = 4;
/// Pages that lie over a chunk before it is sealed anew.
const PATCHES_PER_CHUNK_MAX: u32 = 24;

/// The number of a seal that no worker has.
const COMMITTING: u64 = u64::MAX;

/// A batch in the making.
struct Commit {
    batch: BlobBatch,
    record: InodeRecord,
    /// Chunks put, and for patched ones the pages that lie over them now.
    put: Vec<(u64, u32)>,
}

impl Volume {
    /// The unwritten chunks of which a few pages are put over what the tree has.
    pub(super) fn patchable(&self, inode: &Inode, state: &mut State) -> FsResult<Vec<u64>> {
        let base_len = state.content.base_len;
        let cut_off = state.trim_pending().then(|| index_of(base_len));
        let few: Vec<(u64, u32)> = state
            .content
            .chunks
            .iter()
            .filter(|&(&index, unwritten)| {
                unwritten.based
                    && matches!(unwritten.stage, Stage::Dirty(_))
                    && len_in_chunk(base_len, index) >= PATCHED_LEN_MIN
                    && Some(index) != cut_off
            })
            .map(|(&index, unwritten)| (index, unwritten.stage.buffer().present()))
            .filter(|(_, pages)| pages.count_ones() <= PATCH_COUNT_MAX)
            .collect();
        let mut found = Vec::new();
        for (index, pages) in few {
            let over = self.patch_mask(inode.ino, state, index)? | pages;
            if over.count_ones() <= PATCHES_PER_CHUNK_MAX {
                found.push(index);
            }
        }
        Ok(found)
    }

    /// Puts everything. All chunks are sealed or patchable.
    pub(super) fn commit(&self, inode: &Inode, state: &mut State) -> FsResult<()> {
        let mut commit = Commit::new(state.record.clone());
        let filled = self
            .take_sealed(&mut commit, inode, state)
            .and_then(|()| self.take_pages(&mut commit, inode, state))
            .and_then(|()| {
                let Commit { batch, record, put } = &mut commit;
                let is_put = |index| put.iter().any(|&(number, _)| number == index);
                self.trim_near(batch, record, inode, state, is_put)
            });
        commit.record.trim_len = 0;
        filled.and_then(|()| self.put(commit, inode, state))
    }

    /// Puts the chunks that are sealed; for streams, whose other chunks are still filling.
    pub(super) fn commit_sealed(&self, inode: &Inode, state: &mut State) -> FsResult<()> {
        if state.trim_pending() || state.reaped {
            return Ok(());
        }
        let mut commit = Commit::new(state.record.clone());
        self.take_sealed(&mut commit, inode, state)?;
        let size = state.record.size;
        let ends = commit
            .put
            .iter()
            .map(|&(index, _)| chunk_end(index, size))
            .max();
        let stored = state.content.stored_len.max(ends.unwrap_or(0));
        let is_put = |index| commit.put.iter().any(|&(put, _)| put == index);
        let holes = Self::holes_below(state, chunk_count(stored), is_put);
        commit.record.size = stored;
        commit.record.hole_count = holes;
        commit.record.trim_len = 0;
        self.put(commit, inode, state)
    }

    /// Moves the sealed chunks into the batch; what lay over them goes.
    fn take_sealed(&self, commit: &mut Commit, inode: &Inode, state: &mut State) -> FsResult<()> {
        let sealed: Vec<u64> = state
            .content
            .chunks
            .iter()
            .filter(|(_, unwritten)| matches!(unwritten.stage, Stage::Sealed { .. }))
            .map(|(&index, _)| index)
            .collect();
        for index in sealed {
            let over = self.patch_mask(inode.ino, state, index)?;
            let content = &mut state.content;
            let unwritten = content.chunks.get_mut(&index).expect("just found");
            let committing = Stage::Sealing {
                seal: COMMITTING,
                buffer: alloc::sync::Arc::default(),
            };
            let Stage::Sealed { buffer, staged } =
                core::mem::replace(&mut unwritten.stage, committing)
            else {
                continue;
            };
            let seal = COMMITTING;
            unwritten.stage = Stage::Sealing { seal, buffer };
            content.sealed_count -= 1;
            for page in pages_of(over) {
                commit.batch.delete(&key::patch(inode.ino, index, page));
            }
            let laid = u64::from(over.count_ones());
            commit.record.patch_count = commit.record.patch_count.saturating_sub(laid);
            let key = key::chunk(inode.ino, index);
            commit.batch.put_staged(&key, staged);
            commit.put.push((index, 0));
        }
        Ok(())
    }

    /// Puts the pages of the chunks that stayed dirty.
    fn take_pages(&self, commit: &mut Commit, inode: &Inode, state: &mut State) -> FsResult<()> {
        let dirty: Vec<u64> = state
            .content
            .chunks
            .iter()
            .filter(|(_, unwritten)| matches!(unwritten.stage, Stage::Dirty(_)))
            .map(|(&index, _)| index)
            .collect();
        for index in dirty {
            let over = self.patch_mask(inode.ino, state, index)?;
            let len = len_in_chunk(state.record.size, index);
            let unwritten = state.content.chunks.get(&index).expect("just found");
            let buffer = unwritten.stage.buffer();
            let pages = buffer.present();
            for page in pages_of(pages) {
                let key = key::patch(inode.ino, index, page);
                commit.batch.put(&key, &buffer.page(page, len));
            }
            commit.record.patch_count += u64::from((pages & !over).count_ones());
            commit.put.push((index, over | pages));
        }
        Ok(())
    }

    fn put(&self, commit: Commit, inode: &Inode, state: &mut State) -> FsResult<()> {
        let Commit {
            mut batch,
            record,
            put,
        } = commit;
        batch.put(&key::inode(inode.ino), &record.encode());
        let orphan = record.nlink == 0 && !state.orphan;
        if orphan {
            batch.put(&key::orphan(inode.ino), &ORPHAN);
        }
        self.note_space(self.tree.write(batch, false))?;
        state.orphan |= orphan;
        state.stored = true;
        let trimmed = state.trim_pending();
        for (index, over) in put {
            if let Some(unwritten) = state.content.chunks.remove(&index) {
                self.ledger.change(unwritten.charge, 0);
                let buffer = unwritten.stage.into_buffer();
                self.spares
                    .give(buffer.map_or_else(Vec::new, Buffer::into_memory));
            }
            self.cache.forget(Self::base(inode, state, index).id);
            if over == 0 {
                state.content.patches.remove(&index);
            } else {
                state.content.patches.insert(index, over);
            }
        }
        if trimmed {
            let last = index_of(state.content.base_len);
            state.content.patches.retain(|&index, _| index < last);
            state.content.cache_epoch = self.new_epoch();
        }
        let whole = state.content.chunks.is_empty() && record.size == state.record.size;
        if record.kind == Kind::File {
            state.content.stored_len = record.size;
            state.content.base_len = record.size;
        }
        state.record.patch_count = record.patch_count;
        state.record.trim_len = 0;
        if whole {
            state.changed = false;
            state.failed = None;
        }
        Ok(())
    }

    /// Makes chunks dirty again that a failed commit had taken.
    pub(super) fn untake(state: &mut State) {
        let content = &mut state.content;
        for unwritten in content.chunks.values_mut() {
            if let Stage::Sealing { seal, .. } = unwritten.stage
                && seal == COMMITTING
            {
                unwritten.buffer_mut(&mut content.sealed_count);
            }
        }
    }

    /// The boundary chunk of a pending truncation, where it was cut within.
    pub(super) fn cut_chunk(state: &State) -> Option<u64> {
        let base_len = state.content.base_len;
        (state.trim_pending() && within(base_len) > 0).then(|| index_of(base_len))
    }
}

impl Commit {
    fn new(record: InodeRecord) -> Self {
        Self {
            batch: BlobBatch::new(),
            record,
            put: Vec::new(),
        }
    }
}

//! Holes: finding them, making them, and what lies between them.
//!
//! - A hole is a chunk that is neither unwritten nor in the tree; only whole chunks are holes. The
//!   rest of a range that is punched is overwritten with zeros.
//! - Chunks and the pages over them go in bounded batches, each with the record that counts them.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use coffer_blobstore::BlobBatch;

use crate::errno::{Errno, FsResult};
use crate::extent::{CHUNK_LEN, FILE_LEN_MAX, chunk_count, index_of, pages_of};
use crate::inode::{Inode, State};
use crate::key;
use crate::record::ORPHAN;
use crate::volume::Volume;

/// Chunks deleted in one batch, each with the pages over it.
const PUNCH_COUNT: usize = 128;

impl Volume {
    /// Makes `start..end` read as zeros, as far as the file reaches, and gives whole chunks back.
    pub(crate) fn punch(
        self: &Arc<Self>,
        inode: &Arc<Inode>,
        range: Range<u64>,
        change: impl FnOnce(&mut State),
    ) -> FsResult<()> {
        self.make_room()?;
        // With all workers, so that little is left to do under the lock.
        self.write_out(inode)?;
        let mut guard = inode.lock();
        let state = &mut *guard;
        state.must_be_file()?;
        let size = state.record.size;
        let (start, end) = (range.start, range.end.min(size));
        if start < end {
            self.write_out_locked(inode, state)?;
            // What an error leaves half done is written out like anything else.
            change(state);
            state.changed = true;
            self.enqueue(inode, state);
            let first = start.div_ceil(CHUNK_LEN as u64);
            let behind = match end == size {
                true => chunk_count(size),
                false => index_of(end),
            };
            if first < behind {
                self.drop_stored(inode, state, first..behind)?;
                let first = first * CHUNK_LEN as u64;
                let behind = behind.saturating_mul(CHUNK_LEN as u64);
                self.zero(inode, state, start..first)?;
                self.zero(inode, state, behind..end)?;
            } else {
                let border = end.min(first.saturating_mul(CHUNK_LEN as u64));
                self.zero(inode, state, start..border)?;
                self.zero(inode, state, border..end)?;
            }
        } else {
            change(state);
            state.changed = true;
            self.enqueue(inode, state);
        }
        Ok(())
    }

    /// Overwrites a part of one chunk with zeros, where there is one.
    fn zero(&self, inode: &Inode, state: &mut State, range: Range<u64>) -> FsResult<()> {
        if range.is_empty() {
            return Ok(());
        }
        let index = index_of(range.start);
        if state.content.chunks.contains_key(&index) || self.exists(inode, state, index)? {
            let len = usize::try_from(range.end - range.start).unwrap_or(CHUNK_LEN);
            self.overwrite(inode, state, range.start, &vec![0; len])?;
        }
        Ok(())
    }

    /// Deletes the chunks of a range from the tree. Nothing of the inode is unwritten.
    fn drop_stored(&self, inode: &Inode, state: &mut State, mut range: Range<u64>) -> FsResult<()> {
        loop {
            let doomed = self.stored_in(inode, state, &range, PUNCH_COUNT)?;
            if doomed.is_empty() {
                return Ok(());
            }
            let mut batch = BlobBatch::new();
            let mut record = state.record.clone();
            for &index in &doomed {
                let over = self.patch_mask(inode.ino, state, index)?;
                for page in pages_of(over) {
                    batch.delete(&key::patch(inode.ino, index, page));
                }
                let laid = u64::from(over.count_ones());
                record.patch_count = record.patch_count.saturating_sub(laid);
                batch.delete(&key::chunk(inode.ino, index));
            }
            record.hole_count =
                (record.hole_count + doomed.len() as u64).min(chunk_count(record.size));
            batch.put(&key::inode(inode.ino), &record.encode());
            let orphan = record.nlink == 0 && !state.orphan;
            if orphan {
                batch.put(&key::orphan(inode.ino), &ORPHAN);
            }
            self.note_space(self.tree.write(batch, false))?;
            state.orphan |= orphan;
            state.stored = true;
            state.record = record;
            // Not from the start again: the cursor would step over what was just deleted.
            range.start = doomed.last().map_or(range.end, |last| last + 1);
            for index in doomed {
                state.content.patches.remove(&index);
                self.cache.forget(Self::base(inode, state, index).id);
            }
        }
    }

    /// Up to `count` chunks of a range that the tree has.
    fn stored_in(
        &self,
        inode: &Inode,
        state: &State,
        range: &Range<u64>,
        count: usize,
    ) -> FsResult<Vec<u64>> {
        let behind = range.end.min(chunk_count(state.content.base_len));
        let mut found = Vec::new();
        if range.start >= behind {
            return Ok(found);
        }
        let from = key::chunk(inode.ino, range.start);
        let mut scan = self.tree.scan(&key::chunks(inode.ino), &from)?;
        while found.len() < count
            && let Some((key, _)) = scan.next()?
        {
            match key::number_at(&key, 9) {
                Some(index) if index < behind => found.push(index),
                _ => break,
            }
        }
        Ok(found)
    }

    /// The first offset from `offset` on that lies in a chunk, if there is one.
    pub(crate) fn next_data(
        &self,
        inode: &Inode,
        state: &State,
        offset: u64,
    ) -> FsResult<Option<u64>> {
        if offset >= state.record.size {
            return Ok(None);
        }
        let index = index_of(offset);
        if state.record.hole_count == 0 {
            return Ok(Some(offset));
        }
        let unwritten = state.content.chunks.range(index..).next();
        let unwritten = unwritten.map(|(&index, _)| index);
        let stored = self.stored_in(inode, state, &(index..u64::MAX), 1)?;
        let next = unwritten.into_iter().chain(stored).min();
        Ok(next.map(|index| offset.max(index.saturating_mul(CHUNK_LEN as u64))))
    }

    /// The first offset from `offset` on that lies in no chunk; at most the length of the file.
    pub(crate) fn next_hole(&self, inode: &Inode, state: &State, offset: u64) -> FsResult<u64> {
        let size = state.record.size;
        if state.record.hole_count == 0 || offset >= size {
            return Ok(size);
        }
        let first = index_of(offset);
        let behind = chunk_count(state.content.base_len);
        let mut index = first;
        let mut scan = None;
        while index < state.chunk_count() {
            if !state.content.chunks.contains_key(&index) {
                if index >= behind {
                    break;
                }
                let from = key::chunk(inode.ino, index);
                let scan = match &mut scan {
                    Some(scan) => scan,
                    None => scan.insert(self.tree.scan(&key::chunks(inode.ino), &from)?),
                };
                let mut stored = None;
                while stored.is_none_or(|stored| stored < index)
                    && let Some((key, _)) = scan.next()?
                {
                    stored = key::number_at(&key, 9);
                }
                if stored != Some(index) {
                    break;
                }
            }
            index += 1;
        }
        let start = index.saturating_mul(CHUNK_LEN as u64);
        Ok(start.max(offset).min(size))
    }

    /// Refuses to promise space that there is not; the file grows where it may.
    pub(crate) fn allocate(
        &self,
        inode: &Arc<Inode>,
        range: Range<u64>,
        grows: bool,
        change: impl FnOnce(&mut State),
    ) -> FsResult<()> {
        let mut guard = inode.lock();
        let state = &mut *guard;
        state.must_be_file()?;
        if range.end > FILE_LEN_MAX {
            return Err(Errno::EFBIG.into());
        }
        let size = state.record.size;
        let behind = range.end.saturating_sub(range.start.max(size));
        let within = range.end.min(size).saturating_sub(range.start);
        let holes = state.record.hole_count.saturating_mul(CHUNK_LEN as u64);
        let wanted = behind.saturating_add(within.min(holes));
        if wanted > 0 {
            let free = self.tree.space()?.free_len;
            if wanted > free.saturating_sub(self.unwritten_len()) {
                return Err(Errno::ENOSPC.into());
            }
        }
        if grows && range.end > size {
            self.truncate(inode, state, range.end)?;
            state.record.mtime = self.now();
        }
        change(state);
        state.changed = true;
        self.enqueue(inode, state);
        Ok(())
    }
}

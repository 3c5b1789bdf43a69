//! Holes: finding them, making them, and what lies between them.
//!
//! - A hole is a chunk that is neither unwritten nor in the tree; only whole chunks are holes. The
//!   rest of a range that is punched is overwritten with zeros.
//! - Chunks and the pages over them go in bounded batches, each with the record that counts what
//!   stays in the tree. Of what is unwritten nothing is written out for that: what lies in the
//!   range is dropped, once the tree has nothing older of it.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use coffer_blobstore::BlobBatch;

use crate::errno::{Errno, FsResult};
use crate::extent::{CHUNK_LEN, FILE_LEN_MAX, chunk_count, chunk_end, index_of, pages_of};
use crate::inode::{Inode, State};
use crate::key;
use crate::record::{InodeRecord, ORPHAN};
use crate::volume::Volume;

/// Chunks deleted in one batch, each with the pages over it.
const PUNCH_COUNT: usize = 128;

impl Volume {
    /// Makes `range` read as zeros, as far as the file reaches, and gives whole chunks back. Works
    /// without space as far as chunks are whole, and lets others at the inode in between.
    pub(crate) fn punch(
        self: &Arc<Self>,
        inode: &Arc<Inode>,
        range: Range<u64>,
        change: impl FnOnce(&mut State),
    ) -> FsResult<()> {
        {
            let mut state = inode.lock();
            state.must_be_file()?;
            change(&mut state);
            state.changed = true;
            self.enqueue(inode, &mut state);
        }
        let mut from = 0;
        while let Some(next) = self.punch_some(inode, &range, from)? {
            from = next;
        }
        let needs_room = edges(&range, inode.lock().record.size)
            .iter()
            .any(|edge| !edge.is_empty());
        if needs_room {
            self.make_room()?;
            let mut state = inode.lock();
            for edge in edges(&range, state.record.size) {
                self.zero(inode, &mut state, edge)?;
            }
            // It may have been written out while room was made.
            state.changed = true;
            self.enqueue(inode, &mut state);
        }
        Ok(())
    }

    /// Gives some of the chunks back that lie in `range` as a whole, from index `from` on; answers
    /// where to go on.
    fn punch_some(
        &self,
        inode: &Arc<Inode>,
        range: &Range<u64>,
        from: u64,
    ) -> FsResult<Option<u64>> {
        let mut guard = inode.lock();
        let state = &mut *guard;
        // The file may have become longer or shorter since the last time.
        let whole = whole_chunks(range, state.record.size);
        let whole = whole.start.max(from)..whole.end;
        if whole.is_empty() {
            return Ok(None);
        }
        let mut doomed = self.stored_in(inode, state, &whole, PUNCH_COUNT)?;
        let next = match doomed.last() {
            Some(last) if doomed.len() == PUNCH_COUNT => Some(last + 1),
            _ => None,
        };
        let unwritten = state
            .content
            .chunks
            .range(whole.start..next.unwrap_or(whole.end));
        let unwritten: Vec<(u64, bool)> = unwritten
            .map(|(&index, unwritten)| (index, unwritten.based))
            .collect();
        // The tree should have them; where it lost them they go all the same.
        for &(index, based) in &unwritten {
            if based && doomed.binary_search(&index).is_err() {
                doomed.push(index);
                doomed.sort_unstable();
            }
        }
        if !doomed.is_empty() {
            self.drop_stored(inode, state, &doomed)?;
        }
        let mut gone = doomed.len() as u64;
        for (index, based) in unwritten {
            self.drop_chunk(state, index);
            gone += u64::from(!based);
        }
        state.record.hole_count = (state.record.hole_count + gone).min(state.chunk_count());
        Ok(next)
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

    /// Deletes chunks from the tree, in one batch with the record of what stays there.
    fn drop_stored(&self, inode: &Inode, state: &mut State, doomed: &[u64]) -> FsResult<()> {
        let mut batch = BlobBatch::new();
        let mut record = Self::stored_record(state);
        for &index in doomed {
            let over = self.patch_mask(inode.ino, state, index)?;
            for page in pages_of(over) {
                batch.delete(&key::patch(inode.ino, index, page));
            }
            let laid = u64::from(over.count_ones());
            record.patch_count = record.patch_count.saturating_sub(laid);
            batch.delete(&key::chunk(inode.ino, index));
        }
        record.hole_count = (record.hole_count + doomed.len() as u64).min(chunk_count(record.size));
        batch.put(&key::inode(inode.ino), &record.encode());
        let orphan = record.nlink == 0 && !state.orphan;
        if orphan {
            batch.put(&key::orphan(inode.ino), &ORPHAN);
        }
        self.note_space(self.tree.write(batch, false))?;
        state.orphan |= orphan;
        state.stored = true;
        state.record.patch_count = record.patch_count;
        state.record.trim_len = record.trim_len;
        for &index in doomed {
            state.content.patches.remove(&index);
            self.cache.forget(Self::base(inode, state, index).id);
        }
        Ok(())
    }

    /// A record that counts what the tree has, and nothing that is unwritten. Where a truncation
    /// is pending it says up to where chunks are void.
    fn stored_record(state: &State) -> InodeRecord {
        let content = &state.content;
        InodeRecord {
            size: content.base_len,
            trim_len: match state.trim_pending() {
                true => content.stored_len,
                false => 0,
            },
            hole_count: Self::holes_below(state, chunk_count(content.base_len), |_| false),
            ..state.record.clone()
        }
    }

    /// Chunks below `count` that the tree lacks, once it has those that `is_put` names.
    pub(super) fn holes_below(state: &State, count: u64, is_put: impl Fn(u64) -> bool) -> u64 {
        let waits = |from: u64, to: u64| {
            let chunks = state.content.chunks.range(from..to);
            chunks.filter(|&(&index, _)| !is_put(index))
        };
        let behind = state.chunk_count().saturating_sub(count);
        let behind_holes = behind.saturating_sub(waits(count, u64::MAX).count() as u64);
        let absent = waits(0, count).filter(|(_, chunk)| !chunk.based).count() as u64;
        state.record.hole_count.saturating_sub(behind_holes) + absent
    }

    /// Up to `count` chunks of a range that the tree has.
    pub(super) fn stored_in(
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
        if behind > 0 || within.min(holes) > 0 {
            let free = self.tree.space()?.free_len;
            let free = free.saturating_sub(self.unwritten_len());
            // The holes may lie elsewhere: looked for only where that matters.
            if behind.saturating_add(within.min(holes)) > free {
                let lacking = self.holes_in(inode, state, range.start..range.end.min(size))?;
                if behind.saturating_add(lacking) > free {
                    return Err(Errno::ENOSPC.into());
                }
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

    /// Bytes of a range of the file that lie in holes.
    fn holes_in(&self, inode: &Inode, state: &State, range: Range<u64>) -> FsResult<u64> {
        let mut lacking = range.end.saturating_sub(range.start);
        let mut found = |index: u64| {
            let start = index.saturating_mul(CHUNK_LEN as u64).max(range.start);
            let end = chunk_end(index, range.end);
            lacking = lacking.saturating_sub(end.saturating_sub(start));
        };
        let (first, behind) = (index_of(range.start), chunk_count(range.end));
        if first >= behind {
            return Ok(0);
        }
        let unwritten = &state.content.chunks;
        unwritten
            .range(first..behind)
            .for_each(|(&index, _)| found(index));
        let behind = behind.min(chunk_count(state.content.base_len));
        let from = key::chunk(inode.ino, first);
        let mut scan = self.tree.scan(&key::chunks(inode.ino), &from)?;
        while let Some((key, _)) = scan.next()? {
            match key::number_at(&key, 9) {
                Some(index) if index < behind => {
                    if !unwritten.contains_key(&index) {
                        found(index);
                    }
                }
                _ => break,
            }
        }
        Ok(lacking)
    }
}

/// The chunks that lie in `range` as a whole, as far as a file of `size` bytes has them.
fn whole_chunks(range: &Range<u64>, size: u64) -> Range<u64> {
    let first = range.start.div_ceil(CHUNK_LEN as u64);
    match range.end >= size {
        true => first..chunk_count(size),
        false => first..index_of(range.end),
    }
}

/// What remains of `range` before and behind whole chunks; each part within one chunk, perhaps
/// without bytes.
fn edges(range: &Range<u64>, size: u64) -> [Range<u64>; 2] {
    let end = range.end.min(size);
    let whole = whole_chunks(range, size);
    let border = whole.start.saturating_mul(CHUNK_LEN as u64).min(end);
    let behind = match whole.is_empty() {
        true => border,
        false => whole.end.saturating_mul(CHUNK_LEN as u64),
    };
    [range.start..border, behind..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_chunks_and_edges_are_the_range_as_far_as_the_file_reaches() {
        let chunk = CHUNK_LEN as u64;
        let places: Vec<u64> = [0, 1, 2, 3]
            .into_iter()
            .flat_map(|index| [0, 1, chunk - 1].map(|within| index * chunk + within))
            .collect();
        for &size in &places {
            for &start in &places {
                for &end in places.iter().filter(|&&end| end > start) {
                    let whole = whole_chunks(&(start..end), size);
                    let parts = edges(&(start..end), size);
                    let what = format!("{start}..{end} of {size}: {whole:?} {parts:?}");
                    let covers = |at: u64| {
                        let in_part = parts.iter().filter(|part| part.contains(&at)).count();
                        in_part + usize::from(whole.contains(&index_of(at)))
                    };
                    for &at in &places {
                        for at in [at, at.saturating_sub(1)] {
                            // The rest of the last chunk holds nothing.
                            let behind = at >= size && whole.contains(&index_of(at));
                            let expected = (start..end.min(size)).contains(&at) || behind;
                            assert_eq!(covers(at), usize::from(expected), "{at} in {what}");
                        }
                    }
                    for part in parts.iter().filter(|part| !part.is_empty()) {
                        assert_eq!(index_of(part.start), index_of(part.end - 1), "{what}");
                    }
                }
            }
        }
    }
}

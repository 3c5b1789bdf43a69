//! Deleting the chunks that a truncation cut off.
//!
//! - A truncation becomes durable in one batch: the new length with all deletions when they are
//!   few; else first a record that says up to where chunks are void, then deletions in bounded
//!   batches, then the record of the end.
//! - The chunk in which the cut lies is sealed anew, unless nothing of it lies behind the cut.

use alloc::vec::Vec;

use coffer_blobstore::BlobBatch;

use crate::buffer::Buffer;
use crate::errno::FsResult;
use crate::extent::{CHUNK_LEN, chunk_count, within};
use crate::inode::{Inode, Stage, State, Unwritten};
use crate::key;
use crate::record::InodeRecord;
use crate::volume::Volume;
use crate::volume::base::patch_page;

/// Chunks deleted together with the record.
const NEAR_COUNT_MAX: u64 = 256;
/// Keys deleted in one batch.
pub(super) const DELETE_COUNT: usize = 1024;

impl Volume {
    /// Makes a pending truncation ready for the commit.
    pub(super) fn prepare_trim(&self, inode: &Inode, state: &mut State) -> FsResult<()> {
        if !state.trim_pending() {
            return Ok(());
        }
        let behind = chunk_count(state.content.stored_len);
        if behind - chunk_count(state.content.base_len) > NEAR_COUNT_MAX {
            self.trim_far(inode, state)?;
        }
        let Some(index) = Self::cut_chunk(state) else {
            return Ok(());
        };
        if state.content.chunks.contains_key(&index) || !self.exists(inode, state, index)? {
            return Ok(());
        }
        let stored = self.tree.len_of(&key::chunk(inode.ino, index))?;
        let longer = stored.is_some_and(|len| len > within(state.content.base_len) as u64);
        if longer || self.patch_mask(inode.ino, state, index)? != 0 {
            let empty = Unwritten {
                stage: Stage::Dirty(Buffer::default()),
                based: true,
                charge: 0,
            };
            state.content.chunks.insert(index, empty);
        }
        Ok(())
    }

    /// Adds the deletions of a near truncation to the batch of the commit.
    pub(super) fn trim_near(
        &self,
        batch: &mut BlobBatch,
        record: &mut InodeRecord,
        inode: &Inode,
        state: &State,
        is_put: impl Fn(u64) -> bool,
    ) -> FsResult<()> {
        if !state.trim_pending() {
            return Ok(());
        }
        let base_len = state.content.base_len;
        let first = chunk_count(base_len);
        for index in first..chunk_count(state.content.stored_len) {
            if !is_put(index) {
                batch.delete(&key::chunk(inode.ino, index));
            }
        }
        if record.patch_count > 0 {
            let from = key::chunk_patches(inode.ino, first);
            let mut scan = self.tree.scan(&key::patches(inode.ino), &from)?;
            while let Some((key, _)) = scan.next()? {
                patch_page(&key)?;
                if key::number_at(&key, 9).is_some_and(|index| !is_put(index)) {
                    batch.delete(&key);
                    record.patch_count = record.patch_count.saturating_sub(1);
                }
            }
        }
        Ok(())
    }

    /// Deletes the chunks behind a cut, in bounded batches under a record that tells of them.
    fn trim_far(&self, inode: &Inode, state: &mut State) -> FsResult<()> {
        let base_len = state.content.base_len;
        let first = chunk_count(base_len);
        let mut record = state.record.clone();
        record.size = base_len;
        record.trim_len = state.content.stored_len;
        record.hole_count = self.absent_below(inode, state, first)?;
        let patches = key::patches(inode.ino);
        let chunks = key::chunks(inode.ino);
        let mut batch = BlobBatch::new();
        loop {
            batch.put(&key::inode(inode.ino), &record.encode());
            self.tree.write(batch, false)?;
            state.record.patch_count = record.patch_count;
            state.record.trim_len = record.trim_len;
            let mut keys = self.keys(&chunks, &key::chunk(inode.ino, first))?;
            if keys.is_empty() && record.patch_count > 0 {
                keys = self.keys(&patches, &key::chunk_patches(inode.ino, first))?;
                record.patch_count = record.patch_count.saturating_sub(keys.len() as u64);
            }
            if keys.is_empty() {
                break;
            }
            batch = BlobBatch::new();
            for key in keys {
                batch.delete(&key);
            }
        }
        let content = &mut state.content;
        content.patches.retain(|&index, _| index < first);
        content.stored_len = first.saturating_mul(CHUNK_LEN as u64).max(base_len);
        content.cache_epoch = self.new_epoch();
        state.changed = true;
        Ok(())
    }

    /// Chunks below `first` that the tree lacks.
    fn absent_below(&self, inode: &Inode, state: &State, first: u64) -> FsResult<u64> {
        let unbased = state.content.chunks.range(..first);
        if state.record.hole_count == 0 {
            return Ok(unbased.filter(|(_, chunk)| !chunk.based).count() as u64);
        }
        let mut absent = first;
        let mut scan = self.tree.scan(&key::chunks(inode.ino), &[])?;
        while let Some((key, _)) = scan.next()? {
            match key::number_at(&key, 9) {
                Some(index) if index < first => absent = absent.saturating_sub(1),
                _ => break,
            }
        }
        Ok(absent)
    }

    /// Up to [`DELETE_COUNT`] keys with `prefix`, from `from` on.
    pub(super) fn keys(&self, prefix: &[u8], from: &[u8]) -> FsResult<Vec<Vec<u8>>> {
        let mut scan = self.tree.scan(prefix, from)?;
        let mut keys = Vec::new();
        while keys.len() < DELETE_COUNT
            && let Some((key, _)) = scan.next()?
        {
            keys.push(key);
        }
        Ok(keys)
    }
}

//! Chunks as the tree holds them: the chunk itself and the pages laid over it.
//!
//! - A chunk that must exist and does not is `Corruption`, never zeros.

use alloc::sync::Arc;
use alloc::vec::Vec;

use coffer_blobstore::Error;

use crate::attr::Ino;
use crate::cache::{Chunk, ChunkId, Found};
use crate::errno::{FsError, FsResult};
use crate::extent::{CHUNK_LEN, PAGE_COUNT, PAGE_LEN, Piece, len_in_chunk};
use crate::inode::{Inode, State};
use crate::key;
use crate::volume::Volume;

/// Shorter chunks are not worth memory of the length of a whole one.
const SPARED_LEN_MIN: usize = CHUNK_LEN / 4 * 3;

/// What is known of a chunk in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// Its name in the cache.
    pub(super) id: ChunkId,
    /// Bytes of it that count.
    pub(super) cut: usize,
    /// It may be a hole.
    pub(super) may_miss: bool,
    /// Pages may lie over it.
    pub(super) patched: bool,
}

impl Volume {
    /// What is known of chunk `index` of an inode.
    pub(super) fn base(inode: &Inode, state: &State, index: u64) -> Base {
        let based = state.content.chunks.get(&index).is_some_and(|c| c.based);
        Base {
            id: ChunkId {
                ino: inode.ino,
                index,
                epoch: state.content.cache_epoch,
            },
            cut: len_in_chunk(state.content.base_len, index),
            may_miss: !based && state.record.hole_count > 0,
            patched: state.record.patch_count > 0,
        }
    }

    /// Does the tree have a chunk `index`, which is not unwritten?
    pub(super) fn exists(&self, inode: &Inode, state: &State, index: u64) -> FsResult<bool> {
        if len_in_chunk(state.content.base_len, index) == 0 {
            return Ok(false);
        }
        if state.record.hole_count == 0 {
            return Ok(true);
        }
        let len = self.tree.len_of(&key::chunk(inode.ino, index))?;
        Ok(len.is_some())
    }

    /// The chunk of the tree, through the cache. The caller holds the lock of the inode.
    pub(super) fn cached(&self, base: &Base) -> FsResult<Chunk> {
        loop {
            match self.cache.find(base.id) {
                Found::Ready(chunk) => return Ok(chunk),
                Found::Busy => self.cache.wait(base.id),
                Found::Load(load) => {
                    let chunk = Arc::new(self.load_base(base)?);
                    load.finish(&chunk);
                    return Ok(chunk);
                }
            }
        }
    }

    /// The chunk of the tree, from the tree.
    pub(super) fn load_base(&self, base: &Base) -> FsResult<Vec<u8>> {
        let ChunkId { ino, index, .. } = base.id;
        let mut bytes = match base.cut {
            SPARED_LEN_MIN.. => self.spares.take(),
            _ => Vec::new(),
        };
        if !self.tree.read_into(&key::chunk(ino, index), &mut bytes)? && !base.may_miss {
            return Err(missing());
        }
        if bytes.len() < SPARED_LEN_MIN {
            bytes.shrink_to_fit();
        }
        if bytes.len() > CHUNK_LEN {
            return Err(too_long());
        }
        if base.patched {
            let mut scan = self.tree.scan(&key::chunk_patches(ino, index), &[])?;
            while let Some((key, value)) = scan.next()? {
                let page = patch_page(&key)?;
                lay_over(&mut bytes, page, &value.bytes(&self.tree)?)?;
            }
        }
        Ok(bytes)
    }

    /// Bytes of the chunk of the tree that hold a piece of it, where in the chunk they begin, and
    /// whether they are all of it. REQUIRES: no pages lie over it.
    pub(super) fn load_part(&self, base: &Base, piece: Piece) -> FsResult<(Vec<u8>, usize, bool)> {
        let key = key::chunk(base.id.ino, base.id.index);
        let window = self.tree.window(&key, piece.offset as u64, piece.len)?;
        match window {
            Some(window) if window.value_len > CHUNK_LEN as u64 => Err(too_long()),
            // Within a chunk, so it fits.
            Some(window) => Ok((window.bytes, window.offset as usize, window.is_whole)),
            None if base.may_miss => Ok((Vec::new(), 0, true)),
            None => Err(missing()),
        }
    }

    /// The pages laid over chunk `index`.
    pub(super) fn patch_mask(&self, ino: Ino, state: &mut State, index: u64) -> FsResult<u32> {
        if state.record.patch_count == 0 {
            return Ok(0);
        }
        if let Some(&mask) = state.content.patches.get(&index) {
            return Ok(mask);
        }
        let mut mask = 0;
        let mut scan = self.tree.scan(&key::chunk_patches(ino, index), &[])?;
        while let Some((key, _)) = scan.next()? {
            mask |= 1 << patch_page(&key)?;
        }
        state.content.patches.insert(index, mask);
        Ok(mask)
    }
}

#[cold]
fn missing() -> FsError {
    Error::corruption("a chunk of a file is missing").into()
}

#[cold]
fn too_long() -> FsError {
    Error::corruption("a chunk of a file is too long").into()
}

/// The page in the key of a patch.
pub(super) fn patch_page(key: &[u8]) -> FsResult<usize> {
    let page = key.get(17).map(|&page| usize::from(page));
    page.filter(|&page| page < PAGE_COUNT && key.len() == 18)
        .ok_or_else(|| Error::corruption("the key of a patch makes no sense").into())
}

fn lay_over(bytes: &mut Vec<u8>, page: usize, patch: &[u8]) -> FsResult<()> {
    if patch.len() > PAGE_LEN {
        return Err(Error::corruption("a patch is longer than a page").into());
    }
    let first = page * PAGE_LEN;
    let end = first + patch.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    let (_, rest) = bytes.split_at_mut(first);
    let (target, behind) = rest.split_at_mut(patch.len());
    target.copy_from_slice(patch);
    let stale = behind.len().min(PAGE_LEN - patch.len());
    behind[..stale].fill(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_lie_over_chunks() {
        let mut bytes = vec![1; 5000];
        lay_over(&mut bytes, 0, &[2; 10]).unwrap();
        lay_over(&mut bytes, 3, &[3; 1]).unwrap();
        assert_eq!(bytes.len(), 3 * PAGE_LEN + 1);
        assert_eq!(bytes[..11], [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0]);
        assert_eq!(bytes[PAGE_LEN - 1..PAGE_LEN + 1], [0, 1]);
        assert_eq!(bytes[4999..5001], [1, 0]);
        assert_eq!(bytes[3 * PAGE_LEN], 3);
        assert!(lay_over(&mut bytes, 0, &[0; PAGE_LEN + 1]).is_err());
    }

    #[test]
    fn keys_of_patches_are_checked() {
        assert_eq!(patch_page(&key::patch(1, 2, 31)).unwrap(), 31);
        let mut key = key::patch(1, 2, 31);
        key[17] = 32;
        assert!(patch_page(&key).is_err());
        assert!(patch_page(&key[..17]).is_err());
    }
}

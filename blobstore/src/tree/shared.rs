//! Values shared with the cache instead of copied out of it.
//!
//! - The parts of a value are its frames, each where the cache holds it; they stay as long as the
//!   value, whatever the cache forgets meanwhile.
//! - What the cache holds altogether needs no file: frames never change, and file numbers never come
//!   again.

use alloc::sync::Arc;
use alloc::vec::Vec;

use coffer_engine::block::Block;
use coffer_engine::{KeyKind, Result, Snapshot, Value};

use crate::pointer::{BlobPointer, Frames};
use crate::tree::read::Found;
use crate::tree::{BlobTree, Core, TreeSnapshot};

/// A value in parts, which lie one behind the other in it.
#[derive(Clone, Debug)]
pub struct SharedValue(Parts);

#[derive(Clone, Debug)]
enum Parts {
    Inline(Vec<u8>),
    One(Arc<Block>),
    Many(Vec<Arc<Block>>),
}

impl SharedValue {
    /// Bytes of the value.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.parts().map(|part| part.len() as u64).sum()
    }

    /// Is it a value without bytes?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, part by part: one for a value of up to one frame, then one for each frame.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let (first, rest): (Option<&[u8]>, &[Arc<Block>]) = match &self.0 {
            Parts::Inline(bytes) => (Some(bytes), &[]),
            Parts::One(block) => (Some(block), &[]),
            Parts::Many(blocks) => (None, blocks),
        };
        first.into_iter().chain(rest.iter().map(|block| &***block))
    }

    /// The bytes, where they lie in one part.
    #[must_use]
    pub fn as_slice(&self) -> Option<&[u8]> {
        match &self.0 {
            Parts::Inline(bytes) => Some(bytes),
            Parts::One(block) => Some(block),
            Parts::Many(_) => None,
        }
    }

    /// The bytes, copied.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len() as usize);
        self.parts().for_each(|part| out.extend_from_slice(part));
        out
    }

    pub(super) const fn inline(bytes: Vec<u8>) -> Self {
        Self(Parts::Inline(bytes))
    }

    pub(super) fn of(mut blocks: Vec<Arc<Block>>) -> Self {
        match (blocks.pop(), blocks.is_empty()) {
            (Some(block), true) => Self(Parts::One(block)),
            (last, _) => {
                blocks.extend(last);
                Self(Parts::Many(blocks))
            }
        }
    }
}

impl Core {
    fn shared(&self, key: &[u8], at: Option<&Snapshot>) -> Result<Option<SharedValue>> {
        let Some(Value { kind, bytes, .. }) = self.db.get(key, at)? else {
            return Ok(None);
        };
        if kind == KeyKind::Put {
            return Ok(Some(SharedValue::inline(bytes)));
        }
        if let Some(cached) = self.cached(&BlobPointer::decode(&bytes)?) {
            return Ok(Some(cached));
        }
        // Once more from the start: the pointer may have moved since.
        Ok(match self.find(key, at)? {
            None => None,
            Some(Found::Inline(bytes)) => Some(SharedValue::inline(bytes)),
            Some(Found::Blob(blob)) => Some(SharedValue::of(blob.blocks()?)),
        })
    }

    /// The value behind `pointer`, where the cache holds all of it.
    pub(super) fn cached(&self, pointer: &BlobPointer) -> Option<SharedValue> {
        let cache = self.frame_cache.as_ref()?;
        let Frames::Listed(frames) = &pointer.frames else {
            return None;
        };
        let find = |index: u64, offset: u64| {
            let block = cache.find(pointer.file, offset)?;
            (block.len() == pointer.shape.raw_len_of(index) as usize).then_some(block)
        };
        if let [frame] = frames.as_slice() {
            return find(0, frame.offset).map(|block| SharedValue(Parts::One(block)));
        }
        let blocks = (0..)
            .zip(frames)
            .map(|(index, frame)| find(index, frame.offset));
        Some(SharedValue(Parts::Many(blocks.collect::<Option<_>>()?)))
    }
}

impl BlobTree {
    /// As [`BlobTree::get`], without copying what the cache holds: the fastest way to large values.
    ///
    /// # Errors
    /// As [`BlobTree::get`].
    pub fn shared(&self, key: &[u8]) -> Result<Option<SharedValue>> {
        self.core.settle();
        self.core.shared(key, None)
    }
}

impl TreeSnapshot {
    /// As [`BlobTree::shared`], at the snapshot.
    ///
    /// # Errors
    /// As [`BlobTree::get`].
    pub fn shared(&self, key: &[u8]) -> Result<Option<SharedValue>> {
        self.core().shared(key, Some(self.at()))
    }
}

//! Reading values and ranges of values, now or at a snapshot.
//!
//! - A range opens only the frames that it touches.
//! - A pointer may move between being read and being followed: then it is looked up again. A pointer
//!   that stays and leads to no file of the store is corruption.

use alloc::sync::Arc;
use alloc::vec::Vec;

use coffer_engine::block::Block;
use coffer_engine::cache::BlockCache;
use coffer_engine::{Error, FileId, FileKind, KeyKind, Result, Snapshot, Value};

use crate::blobfile::BlobReader;
use crate::pointer::{self, BlobPointer, Frame};
use crate::scratch::with_scratch;
use crate::tree::{BlobTree, Core, TreeSnapshot};

/// Most bytes reserved before anything is read.
const RESERVE_LEN_MAX: u64 = 16 << 20;

/// Longest value whose frames go through the cache.
const CACHED_LEN_MAX: u64 = 4 << 20;

/// A value ready to be read: its bytes, or its frames.
pub(super) enum Found {
    Inline(Vec<u8>),
    Blob(Blob),
}

/// A stretch of a value: the whole frames that a range touches, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Where in the value the bytes begin.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Bytes of the whole value.
    pub value_len: u64,
    /// Are they the whole value?
    pub is_whole: bool,
}

/// A value in an open blob file; it stays readable whatever happens to the file's name.
pub(super) struct Blob {
    pub(super) pointer: BlobPointer,
    reader: BlobReader,
    frames: Vec<Frame>,
    /// Where its frames stay, unless they would drive out everything else.
    cache: Option<Arc<BlockCache>>,
}

impl Blob {
    pub(super) fn len(&self) -> u64 {
        self.pointer.shape.raw_len
    }

    /// Appends bytes `offset..offset + len` to `out`; fewer at the end of the value.
    pub(super) fn read(&self, offset: u64, len: u64, out: &mut Vec<u8>) -> Result<()> {
        // A length from a sealed pointer: not more than a reader asks for, and than a value has.
        let wanted = len
            .min(self.len().saturating_sub(offset))
            .min(RESERVE_LEN_MAX);
        out.reserve(wanted as usize);
        let (shape, frames, range) = (self.pointer.shape, &self.frames, (offset, len));
        if self.cache.is_none() {
            return with_scratch(|scratch| self.reader.read(shape, frames, range, scratch, out));
        }
        self.each_block(range, &mut |index, block| {
            let part = shape.part(index, offset, len);
            out.extend_from_slice(block.get(part).unwrap_or_default());
        })
    }

    /// All frames, decoded.
    pub(super) fn blocks(&self) -> Result<Vec<Arc<Block>>> {
        let mut blocks = Vec::new();
        self.each_block((0, u64::MAX), &mut |_, block| blocks.push(block))?;
        Ok(blocks)
    }

    fn each_block(&self, range: (u64, u64), visit: &mut dyn FnMut(u64, Arc<Block>)) -> Result<()> {
        let (cache, shape) = (self.cache.as_deref(), self.pointer.shape);
        with_scratch(|scratch| {
            self.reader
                .each_block(cache, shape, &self.frames, range, scratch, visit)
        })
    }
}

impl Core {
    /// Opens what `pointer` leads to; `None` where its file is not one of the store.
    pub(super) fn follow(&self, pointer: BlobPointer) -> Result<Option<Blob>> {
        let Some(reader) = self.files.reader(pointer.file)? else {
            return Ok(None);
        };
        let frames = with_scratch(|scratch| reader.frames(&pointer, scratch))?;
        let is_small = pointer.shape.raw_len <= CACHED_LEN_MAX;
        let cache = self.frame_cache.as_ref().filter(|_| is_small).cloned();
        Ok(Some(Blob {
            pointer,
            reader,
            frames,
            cache,
        }))
    }

    /// The value of `key`, ready to be read.
    pub(super) fn find(&self, key: &[u8], at: Option<&Snapshot>) -> Result<Option<Found>> {
        let mut last = None;
        loop {
            let Some(Value { kind, bytes, .. }) = self.db.get(key, at)? else {
                return Ok(None);
            };
            if kind == KeyKind::Put {
                return Ok(Some(Found::Inline(bytes)));
            }
            let pointer = BlobPointer::decode(&bytes)?;
            let file = pointer.file;
            if let Some(blob) = self.follow(pointer)? {
                return Ok(Some(Found::Blob(blob)));
            }
            if last.as_ref() == Some(&bytes) {
                return Err(missing_file(file));
            }
            last = Some(bytes);
        }
    }

    fn get(&self, key: &[u8], at: Option<&Snapshot>) -> Result<Option<Vec<u8>>> {
        match self.find(key, at)? {
            None => Ok(None),
            Some(Found::Inline(value)) => Ok(Some(value)),
            Some(Found::Blob(blob)) => {
                let mut out = Vec::new();
                blob.read(0, u64::MAX, &mut out)?;
                Ok(Some(out))
            }
        }
    }

    fn read_into(&self, key: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        out.clear();
        match self.find(key, None)? {
            None => return Ok(false),
            Some(Found::Inline(value)) => out.extend_from_slice(&value),
            Some(Found::Blob(blob)) => blob.read(0, u64::MAX, out)?,
        }
        Ok(true)
    }

    fn get_range(
        &self,
        key: &[u8],
        offset: u64,
        len: usize,
        at: Option<&Snapshot>,
    ) -> Result<Option<Vec<u8>>> {
        match self.find(key, at)? {
            None => Ok(None),
            Some(Found::Inline(mut value)) => {
                let start = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(value.len());
                value.truncate(start.saturating_add(len));
                value.drain(..start);
                Ok(Some(value))
            }
            Some(Found::Blob(blob)) => {
                let mut out = Vec::new();
                blob.read(offset, len as u64, &mut out)?;
                Ok(Some(out))
            }
        }
    }

    fn window(&self, key: &[u8], offset: u64, len: usize) -> Result<Option<Window>> {
        Ok(match self.find(key, None)? {
            None => None,
            Some(Found::Inline(bytes)) => Some(Window {
                offset: 0,
                value_len: bytes.len() as u64,
                bytes,
                is_whole: true,
            }),
            Some(Found::Blob(blob)) => {
                let mut bytes = Vec::new();
                let shape = blob.pointer.shape;
                let (offset, len) = shape.span_of(shape.touched(offset, len as u64));
                blob.read(offset, len, &mut bytes)?;
                Some(Window {
                    offset,
                    value_len: blob.len(),
                    is_whole: bytes.len() as u64 == blob.len(),
                    bytes,
                })
            }
        })
    }

    fn len_of(&self, key: &[u8], at: Option<&Snapshot>) -> Result<Option<u64>> {
        let Some(Value { kind, bytes, .. }) = self.db.get(key, at)? else {
            return Ok(None);
        };
        match kind {
            KeyKind::Indirect => pointer::raw_len_of(&bytes).map(Some),
            _ => Ok(Some(bytes.len() as u64)),
        }
    }
}

pub(super) fn missing_file(number: u64) -> Error {
    let message = "a value lies in a blob file that the store does not have";
    Error::corruption(message).in_file(FileId::new(FileKind::Blob, number))
}

impl BlobTree {
    /// The value of `key`.
    ///
    /// # Errors
    /// `Corruption` and `Authentication` naming file and offset; those of the medium.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.core.settle();
        self.core.get(key, None)
    }

    /// As [`BlobTree::get`], in memory of the caller, which is cleared first; `false` where no such key.
    ///
    /// # Errors
    /// As [`BlobTree::get`]; `out` holds anything then.
    pub fn read_into(&self, key: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        self.core.settle();
        self.core.read_into(key, out)
    }

    /// At most `len` bytes from `offset`; fewer at the end of the value; `None` where no such key.
    ///
    /// # Errors
    /// As [`BlobTree::get`].
    pub fn get_range(&self, key: &[u8], offset: u64, len: usize) -> Result<Option<Vec<u8>>> {
        self.core.settle();
        self.core.get_range(key, offset, len, None)
    }

    /// As [`BlobTree::get_range`], with everything else that had to be decoded for it: for callers
    /// who keep what they have paid for.
    ///
    /// # Errors
    /// As [`BlobTree::get`].
    pub fn window(&self, key: &[u8], offset: u64, len: usize) -> Result<Option<Window>> {
        self.core.settle();
        self.core.window(key, offset, len)
    }

    /// Bytes of the value of `key`, without reading it.
    ///
    /// # Errors
    /// As [`BlobTree::get`].
    pub fn len_of(&self, key: &[u8]) -> Result<Option<u64>> {
        self.core.settle();
        self.core.len_of(key, None)
    }
}

impl TreeSnapshot {
    /// As [`BlobTree::get`], at the snapshot.
    ///
    /// # Errors
    /// As [`BlobTree::get`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.core.get(key, Some(&self.at))
    }

    /// As [`BlobTree::get_range`], at the snapshot.
    ///
    /// # Errors
    /// As [`BlobTree::get`].
    pub fn get_range(&self, key: &[u8], offset: u64, len: usize) -> Result<Option<Vec<u8>>> {
        self.core.get_range(key, offset, len, Some(&self.at))
    }

    /// As [`BlobTree::len_of`], at the snapshot.
    ///
    /// # Errors
    /// As [`BlobTree::get`].
    pub fn len_of(&self, key: &[u8]) -> Result<Option<u64>> {
        self.core.len_of(key, Some(&self.at))
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(super) fn at(&self) -> &Snapshot {
        &self.at
    }
}

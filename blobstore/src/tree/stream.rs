//! Values of any length, in and out as streams.
//!
//! - Memory stays at a few frames, whatever the length of the value.
//! - A stream that ends in an error changes nothing: the key keeps its value.

use alloc::vec::Vec;
use std::io::{self, Read, Write};

use coffer_engine::{Error, Result, Snapshot};

use crate::blobfile::Effort;
use crate::tree::batch::{BlobBatch, Place, Staged};
use crate::tree::read::Found;
use crate::tree::{BlobTree, Core, TreeSnapshot};

/// Frames handed to the sink at one time.
const READ_FRAMES: u64 = 8;

impl BlobTree {
    /// Seals everything that `source` gives; it becomes visible by a batch.
    ///
    /// # Errors
    /// As [`BlobTree::stage`]; `Io` where `source` fails.
    pub fn stage_stream(&self, source: &mut dyn Read) -> Result<Staged> {
        let options = self.core.files.options();
        let inline_len_max = options.inline_len_max as usize;
        let frame_len = options.frame_len as usize;
        // Read as much as could stay in the tree, and one byte more, before choosing.
        let mut head = Vec::new();
        fill(source, &mut head, inline_len_max + 1)?;
        if head.len() <= inline_len_max {
            return Ok(Staged(Place::Inline(head)));
        }
        let mut head = head.as_slice();
        let staged = self
            .core
            .files
            .stage_pieces(Effort::Normal, &mut |piece, _| {
                let (first, rest) = head.split_at(head.len().min(frame_len));
                piece.extend_from_slice(first);
                head = rest;
                fill(source, piece, frame_len)
            })?;
        let staged = staged.expect("the head is not empty");
        Ok(Staged(Place::Blob(staged)))
    }

    /// Sets `key` to everything that `source` gives, and returns how many bytes that were.
    ///
    /// # Errors
    /// As [`BlobTree::stage_stream`] and [`BlobTree::write`].
    pub fn put_stream(&self, key: &[u8], source: &mut dyn Read) -> Result<u64> {
        let staged = self.stage_stream(source)?;
        let len = staged.len();
        let mut batch = BlobBatch::new();
        batch.put_staged(key, staged);
        self.write(batch, false)?;
        Ok(len)
    }

    /// Writes bytes `offset..offset + len` of the value of `key` to `sink`, fewer at its end, and
    /// returns how many; `None` where no such key.
    ///
    /// # Errors
    /// As [`BlobTree::get`]; `Io` where `sink` fails. Everything written before is right.
    pub fn get_stream(
        &self,
        key: &[u8],
        offset: u64,
        len: u64,
        sink: &mut dyn Write,
    ) -> Result<Option<u64>> {
        self.core.settle();
        self.core.get_stream(key, offset, len, sink, None)
    }
}

impl TreeSnapshot {
    /// As [`BlobTree::get_stream`], at the snapshot.
    ///
    /// # Errors
    /// As [`BlobTree::get_stream`].
    pub fn get_stream(
        &self,
        key: &[u8],
        offset: u64,
        len: u64,
        sink: &mut dyn Write,
    ) -> Result<Option<u64>> {
        self.core()
            .get_stream(key, offset, len, sink, Some(self.at()))
    }
}

impl Core {
    fn get_stream(
        &self,
        key: &[u8],
        offset: u64,
        len: u64,
        sink: &mut dyn Write,
        at: Option<&Snapshot>,
    ) -> Result<Option<u64>> {
        let blob = match self.find(key, at)? {
            None => return Ok(None),
            Some(Found::Inline(value)) => {
                let clamp = |at: u64| at.min(value.len() as u64) as usize;
                let part = clamp(offset)..clamp(offset.saturating_add(len));
                let part = value.get(part).unwrap_or_default();
                sink.write_all(part).map_err(sink_failed)?;
                return Ok(Some(part.len() as u64));
            }
            Some(Found::Blob(blob)) => blob,
        };
        let end = offset.saturating_add(len).min(blob.len());
        let stride = READ_FRAMES << blob.pointer.shape.frame_log2;
        let mut position = offset;
        let mut plain = Vec::new();
        while position < end {
            // Up to the next boundary, so that no frame is opened twice.
            let next = (position / stride + 1).saturating_mul(stride).min(end);
            plain.clear();
            blob.read(position, next - position, &mut plain)?;
            sink.write_all(&plain).map_err(sink_failed)?;
            position = next;
        }
        Ok(Some(end.saturating_sub(offset)))
    }
}

/// Fills `buf` up to `len` bytes; fewer only at the end of `source`.
fn fill(source: &mut dyn Read, buf: &mut Vec<u8>, len: usize) -> Result<()> {
    let mut filled = buf.len();
    buf.resize(len.max(filled), 0);
    while filled < len {
        match source.read(buf.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(read_len) => filled += read_len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                buf.truncate(filled);
                return Err(Error::io("the source of the value cannot be read").because(error));
            }
        }
    }
    buf.truncate(filled);
    Ok(())
}

fn sink_failed(error: io::Error) -> Error {
    Error::io("the value cannot be written to its destination").because(error)
}

//! Reads frames of one blob file.
//!
//! - Only the frames that a range touches are read, verified and opened; the unit is a whole frame.
//! - Frames that lie one behind the other are read by one call, up to [`READ_LEN_MAX`].
//! - A file is read by pread, so a file that was cut short is an error and not a signal.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use coffer_engine::block::{
    Block, BlockHandle, BlockKind, Expect, FLAG_LAST, FileContext, open_block_at, read_block,
};
use coffer_engine::cache::{BlockCache, Rounds};
use coffer_engine::compress::Scratch;
use coffer_engine::env::{File, read_exact_at};
use coffer_engine::{Error, Result};

use crate::pointer::{BlobPointer, Frame, Frames, Shape, decode_index};
use crate::scratch::{give_buffer, take_buffer};

/// Most bytes read by one call.
const READ_LEN_MAX: u64 = 1 << 20;

/// Is shown frames: index in the value, place, sealed bytes.
type Visit<'a> = dyn FnMut(u64, &Frame, &mut [u8]) -> Result<()> + 'a;

/// An open blob file.
#[derive(Clone)]
pub(crate) struct BlobReader {
    file: Arc<dyn File>,
    context: Arc<FileContext>,
}

impl BlobReader {
    pub(super) fn new(file: Arc<dyn File>, context: Arc<FileContext>) -> Self {
        Self { file, context }
    }

    pub(super) fn len(&self) -> Result<u64> {
        self.file.len()
    }

    pub(super) fn sync(&self) -> Result<()> {
        self.file
            .sync()
            .map_err(|error| error.in_file(self.context.id()))
    }

    /// The frames that `pointer` leads to, read from its index block where it has one.
    ///
    /// # Errors
    /// `Corruption` and `Authentication` naming the index block.
    pub(crate) fn frames(
        &self,
        pointer: &BlobPointer,
        scratch: &mut Scratch,
    ) -> Result<Vec<Frame>> {
        match &pointer.frames {
            Frames::Listed(frames) => Ok(frames.clone()),
            Frames::Indexed { index, .. } => {
                let expect = Expect::new(BlockKind::FrameIndex, index);
                let block = read_block(&*self.file, &self.context, index, &expect, scratch)?;
                decode_index(&block, pointer.shape)
                    .map_err(|error| error.in_file(self.context.id()).at(index.offset))
            }
        }
    }

    /// Appends bytes `offset..offset + len` of the value to `out`; fewer at its end.
    ///
    /// # Errors
    /// `Corruption` and `Authentication` naming file and offset of the frame.
    pub(crate) fn read(
        &self,
        shape: Shape,
        frames: &[Frame],
        range: (u64, u64),
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        self.each_frame(shape, frames, range, &mut |index, frame, disk| {
            self.open_frame((shape, index, frame), disk, range, scratch, out)
        })
    }

    /// Shows the frames that a range touches, opened: out of `cache` where they are there, and into it
    /// where they are not.
    ///
    /// # Errors
    /// As [`BlobReader::read`].
    pub(crate) fn each_block(
        &self,
        cache: Option<&BlockCache>,
        shape: Shape,
        frames: &[Frame],
        range: (u64, u64),
        scratch: &mut Scratch,
        visit: &mut dyn FnMut(u64, Arc<Block>),
    ) -> Result<()> {
        let number = self.context.id().number;
        let touched = shape.touched(range.0, range.1);
        let mut index = touched.start;
        while index < touched.end {
            let frame = frames
                .get(index as usize)
                .ok_or_else(|| Error::corruption("a blob pointer lists too few frames"))?;
            if let Some(block) = cache.and_then(|cache| cache.find(number, frame.offset)) {
                self.check_block(shape, index, frame, &block)?;
                visit(index, block);
                index += 1;
                continue;
            }
            let first = index;
            let is_missing = |index: u64| {
                let frame = frames.get(index as usize);
                frame.is_some_and(|frame| {
                    cache.is_none_or(|cache| !cache.contains(number, frame.offset))
                })
            };
            index += 1;
            while index < touched.end && is_missing(index) {
                index += 1;
            }
            let missing = shape.span_of(first..index);
            self.each_frame(shape, frames, missing, &mut |index, frame, disk| {
                let block = Arc::new(self.open_block((shape, index, frame), disk, scratch)?);
                if let Some(cache) = cache {
                    let len = block.memory_len();
                    cache.insert(number, frame.offset, &block, len, Rounds::Data);
                }
                visit(index, block);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The frames will be read soon, unless `cache` holds them: the medium may fetch them meanwhile.
    pub(crate) fn will_read(&self, cache: Option<&BlockCache>, frames: &[Frame]) {
        let number = self.context.id().number;
        let is_cached =
            |frame: &Frame| cache.is_some_and(|cache| cache.contains(number, frame.offset));
        if let (Some(first), Some(last)) = (frames.first(), frames.last())
            && !is_cached(first)
            && let Some(end) = last.offset.checked_add(u64::from(last.disk_len))
        {
            self.file
                .will_read(first.offset, end.saturating_sub(first.offset));
        }
    }

    /// Is what the cache holds as long as the pointer says? Both were sealed: anything else is ours.
    fn check_block(&self, shape: Shape, index: u64, frame: &Frame, block: &Block) -> Result<()> {
        if block.len() == shape.raw_len_of(index) as usize {
            return Ok(());
        }
        let error = Error::corruption("two pointers lead to one frame and mean different ones");
        Err(error.in_file(self.context.id()).at(frame.offset))
    }

    fn open_block(
        &self,
        (shape, index, frame): (Shape, u64, &Frame),
        disk: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<Block> {
        let handle = handle_of(shape, index, frame);
        let expect = expect(shape, index, &handle);
        open_block_at(&self.context, &handle, &expect, disk, scratch)
    }

    /// Reads the frames that a range touches and shows their bytes.
    fn each_frame(
        &self,
        shape: Shape,
        frames: &[Frame],
        range: (u64, u64),
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let touched = shape.touched(range.0, range.1);
        let mut index = touched.start;
        let listed = frames
            .get(touched.start as usize..touched.end as usize)
            .ok_or_else(|| Error::corruption("a blob pointer lists too few frames"))?;
        let mut disk = take_buffer();
        for group in groups(listed) {
            let group = listed.get(group).expect("groups are parts of the list");
            let (Some(first), Some(last)) = (group.first(), group.last()) else {
                continue;
            };
            let end = last.offset + u64::from(last.disk_len);
            self.check_lens(shape, index, group)?;
            disk.resize((end - first.offset) as usize, 0);
            read_exact_at(&*self.file, first.offset, &mut disk)
                .map_err(|error| error.in_file(self.context.id()).part("frame"))?;
            let mut rest = disk.as_mut_slice();
            for frame in group {
                let (bytes, behind) = rest.split_at_mut(frame.disk_len as usize);
                rest = behind;
                visit(index, frame, bytes)?;
                index += 1;
            }
        }
        give_buffer(disk);
        Ok(())
    }

    /// Is every frame behind `pointer` there and undamaged, or healable? Looks at checksums alone
    /// where they are right.
    ///
    /// # Errors
    /// Those of [`BlobReader::read`].
    pub(super) fn look(&self, pointer: &BlobPointer, scratch: &mut Scratch) -> Result<()> {
        let (shape, everything) = (pointer.shape, (0, u64::MAX));
        let frames = self.frames(pointer, scratch)?;
        let mut plain = Vec::new();
        self.each_frame(shape, &frames, everything, &mut |index, frame, disk| {
            let handle = handle_of(shape, index, frame);
            if self.context.is_intact(&expect(shape, index, &handle), disk) {
                return Ok(());
            }
            plain.clear();
            self.open_frame((shape, index, frame), disk, everything, scratch, &mut plain)
        })
    }

    /// Shows every frame as it was compressed: decrypted and proven, not decompressed.
    ///
    /// # Errors
    /// Those of [`BlobReader::read`].
    pub(super) fn each_packed(
        &self,
        shape: Shape,
        frames: &[Frame],
        visit: &mut dyn FnMut(u64, &Expect<'_>, &[u8]),
    ) -> Result<()> {
        self.each_frame(shape, frames, (0, u64::MAX), &mut |index, frame, disk| {
            let expect = expect(shape, index, &handle_of(shape, index, frame));
            let body = self.context.open_packed(&expect, disk).map_err(|error| {
                error
                    .in_file(self.context.id())
                    .at(frame.offset)
                    .part("frame")
            })?;
            visit(index, &expect, &disk[body]);
            Ok(())
        })
    }

    /// Writes everything that `pointer` leads to once more, as it is, into the same place: a process
    /// whose sync failed may have left bytes that reads show and the disk does not have, and no sync
    /// would bring them there.
    ///
    /// # Errors
    /// Those of the medium.
    pub(super) fn write_again(
        &self,
        file: &dyn File,
        pointer: &BlobPointer,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let frames = self.frames(pointer, scratch)?;
        let frames = frames
            .iter()
            .map(|frame| (frame.offset, u64::from(frame.disk_len)));
        let index = match &pointer.frames {
            Frames::Listed(_) => None,
            Frames::Indexed { index, .. } => Some((index.offset, u64::from(index.disk_len))),
        };
        let mut disk = take_buffer();
        for (offset, len) in frames.chain(index) {
            disk.resize(len as usize, 0);
            read_exact_at(file, offset, &mut disk)?;
            file.write_at(offset, &disk)?;
        }
        give_buffer(disk);
        Ok(())
    }

    /// Opens every frame behind `pointer` and keeps nothing.
    ///
    /// # Errors
    /// Those of [`BlobReader::read`].
    pub(crate) fn verify(&self, pointer: &BlobPointer, scratch: &mut Scratch) -> Result<()> {
        let frames = self.frames(pointer, scratch)?;
        let frame_len = 1u64 << pointer.shape.frame_log2;
        let mut plain = Vec::new();
        for index in 0..pointer.shape.frame_count() {
            plain.clear();
            let range = (index * frame_len, frame_len);
            self.read(pointer.shape, &frames, range, scratch, &mut plain)?;
        }
        Ok(())
    }

    /// No frame is longer than its plaintext allows: nothing is allocated beyond that.
    fn check_lens(&self, shape: Shape, first_index: u64, group: &[Frame]) -> Result<()> {
        for (index, frame) in (first_index..).zip(group) {
            let longest = self.context.disk_len(shape.raw_len_of(index) as usize);
            if frame.disk_len as usize > longest {
                let error = Error::corruption("a blob pointer names a length that no frame has");
                return Err(error.in_file(self.context.id()).at(frame.offset));
            }
        }
        Ok(())
    }

    fn open_frame(
        &self,
        (shape, index, frame): (Shape, u64, &Frame),
        disk: &mut [u8],
        range: (u64, u64),
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let handle = handle_of(shape, index, frame);
        let expect = expect(shape, index, &handle);
        let start = out.len();
        let opened = self
            .context
            .open_into(&expect, disk, scratch, out)
            .map_err(|error| {
                error
                    .in_file(self.context.id())
                    .at(frame.offset)
                    .part("frame")
            })?;
        if opened.healed {
            self.context.tell_healed(frame.offset);
        }
        let part = shape.part(index, range.0, range.1);
        out.truncate(start + part.end);
        out.drain(start..start + part.start);
        Ok(())
    }
}

/// What the reader knows of frame `index`; the last one says that it is the last.
fn expect(shape: Shape, index: u64, handle: &BlockHandle) -> Expect<'static> {
    let flags = if shape.is_last(index) { FLAG_LAST } else { 0 };
    Expect::new(BlockKind::Frame, handle).with_flags(flags)
}

fn handle_of(shape: Shape, index: u64, frame: &Frame) -> BlockHandle {
    BlockHandle {
        offset: frame.offset,
        disk_len: frame.disk_len,
        raw_len: shape.raw_len_of(index),
        ordinal: frame.ordinal,
        codec: frame.codec,
    }
}

/// Cuts a list of frames into runs that one read can fetch.
fn groups(frames: &[Frame]) -> impl Iterator<Item = Range<usize>> {
    let mut next = 0;
    core::iter::from_fn(move || {
        let start = next;
        let mut end = frames.get(start)?.offset;
        let first_offset = end;
        while let Some(frame) = frames.get(next)
            && frame.offset == end
            && (next == start || end - first_offset + u64::from(frame.disk_len) <= READ_LEN_MAX)
        {
            end += u64::from(frame.disk_len);
            next += 1;
        }
        Some(start..next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::block::Codec;

    #[test]
    fn groups_are_contiguous_and_bounded() {
        let frame = |offset, disk_len| Frame {
            offset,
            ordinal: 0,
            disk_len,
            codec: Codec::None,
        };
        let big = READ_LEN_MAX as u32 + 5;
        let frames = [
            frame(0, 100),
            frame(100, 100),
            frame(300, big),
            frame(300 + u64::from(big), 1 << 19),
            frame(300 + u64::from(big) + (1 << 19), 1 << 19),
            frame(300 + u64::from(big) + (1 << 20), 1),
        ];
        let cut: Vec<_> = groups(&frames).collect();
        assert_eq!(cut, [0..2, 2..3, 3..5, 5..6]);
        assert_eq!(groups(&[]).count(), 0);
    }
}

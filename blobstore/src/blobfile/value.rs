//! From a value to sealed frames in the active blob file.
//!
//! - Compressing and sealing happen outside all locks; only the append itself is serial.
//! - The frames of one value go to one file, sixteen of them at a time, so a pointer that lists its
//!   frames leads to one contiguous stretch.
//! - A value that no compressor will shrink is cut into short frames, so that a page of it is read
//!   without the rest.
//! - Until the pointer is in the tree a claim keeps the file from being finished.

use alloc::vec::Vec;

use coffer_engine::block::{BlockKind, Expect, FLAG_LAST, Sealed};
use coffer_engine::compress::Scratch;
use coffer_engine::{Error, Result};

use crate::blobfile::noise::is_noise;
use crate::blobfile::space::Purpose;
use crate::blobfile::{BlobFiles, Claim};
use crate::pointer::{BlobPointer, Frame, Frames, INLINE_FRAMES_MAX, Shape, encode_index};
use crate::scratch::{give_buffer, take_buffer, with_scratch};

/// How much work compression may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// The level of the store.
    #[default]
    Normal,
    /// In haste: for writers that fall behind.
    Low,
}

/// Hands out a value piece by piece.
type NextPiece<'a> = &'a mut dyn FnMut(&mut Vec<u8>, &mut Scratch) -> Result<()>;

/// Shortest frames of noise: 8 KiB.
const NOISE_LOG2_MIN: u8 = 13;

/// A value in a blob file that the tree does not know yet.
pub(crate) struct StagedFrames {
    pub(crate) pointer: BlobPointer,
    pub(crate) claim: Claim,
}

/// Takes the frames of one value one after the other.
pub(crate) struct ValueWriter<'a> {
    files: &'a BlobFiles,
    purpose: Purpose,
    claim: Claim,
    frame_log2: u8,
    raw_len: u64,
    frames: Vec<Frame>,
    batch: Batch,
}

/// Frames that are sealed and not appended yet.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    sealed: Vec<Sealed>,
    first_ordinal: u32,
}

impl<'a> ValueWriter<'a> {
    /// A writer into the active file of `files`.
    ///
    /// # Errors
    /// Those of [`BlobFiles::claim`].
    fn new(files: &'a BlobFiles, purpose: Purpose, frame_log2: u8) -> Result<Self> {
        let claim = files.claim(purpose)?;
        let mut bytes = take_buffer();
        bytes.clear();
        Ok(Self {
            files,
            purpose,
            claim,
            frame_log2,
            raw_len: 0,
            frames: Vec::new(),
            batch: Batch {
                bytes,
                ..Batch::default()
            },
        })
    }

    /// Seals `value`, all of it.
    ///
    /// # Errors
    /// Those of sealing and of the medium.
    pub(crate) fn write_all(mut self, value: &[u8], scratch: &mut Scratch) -> Result<StagedFrames> {
        let mut pieces = value.chunks(1 << self.frame_log2).peekable();
        while let Some(piece) = pieces.next() {
            let frame_count = pieces.len() + 1;
            self.push(piece, frame_count, scratch)?;
        }
        self.finish(scratch)
    }

    /// Seals one frame: `piece` has the frame length, or less for the last one.
    /// `frame_count` is a guess of how many frames are still to come, this one included; 1 says that
    /// it is the last.
    ///
    /// # Errors
    /// Those of sealing and of the medium.
    pub(crate) fn push(
        &mut self,
        piece: &[u8],
        frame_count: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let ordinal = self.begin_frame(frame_count)?;
        let context = self.claim.writer().context();
        let out = &mut self.batch.bytes;
        let sealed = context.seal(
            BlockKind::Frame,
            ordinal,
            last_flag(frame_count == 1),
            0,
            &[],
            piece,
            scratch,
            out,
        )?;
        self.end_frame(sealed, piece.len() as u64)
    }

    /// Seals one frame anew that was decrypted and left compressed, as `expect` described it.
    fn push_packed(&mut self, expect: &Expect<'_>, body: &[u8], frame_count: usize) -> Result<()> {
        let ordinal = self.begin_frame(frame_count)?;
        let expect = Expect {
            ordinal,
            flags: last_flag(frame_count == 1),
            ..*expect
        };
        let context = self.claim.writer().context();
        let sealed = context.seal_packed(&expect, body, &mut self.batch.bytes)?;
        self.end_frame(sealed, expect.raw_len.unwrap_or_default().into())
    }

    /// The ordinal of the next frame; `frame_count` as in [`ValueWriter::push`].
    fn begin_frame(&mut self, frame_count: usize) -> Result<u32> {
        if self.batch.sealed.is_empty() {
            let count = frame_count.clamp(1, INLINE_FRAMES_MAX) as u32;
            self.batch.first_ordinal = self.claim.writer().reserve(count)?;
        }
        Ok(self.batch.first_ordinal + self.batch.sealed.len() as u32)
    }

    fn end_frame(&mut self, sealed: Sealed, raw_len: u64) -> Result<()> {
        self.batch.sealed.push(sealed);
        self.raw_len += raw_len;
        if self.batch.sealed.len() == INLINE_FRAMES_MAX {
            self.append_batch()?;
        }
        Ok(())
    }

    fn append_batch(&mut self) -> Result<()> {
        let batch = &mut self.batch;
        let len = batch.bytes.len() as u64;
        self.files.check_space(len, self.purpose)?;
        let mut offset = self.claim.writer().append(&batch.bytes, &batch.sealed)?;
        for (ordinal, sealed) in (batch.first_ordinal..).zip(&batch.sealed) {
            let Sealed {
                disk_len, codec, ..
            } = *sealed;
            self.frames.push(Frame {
                offset,
                ordinal,
                disk_len,
                codec,
            });
            offset += u64::from(disk_len);
        }
        batch.bytes.clear();
        batch.sealed.clear();
        Ok(())
    }

    /// Appends what is left, and an index where the frames are many.
    ///
    /// # Errors
    /// `Invalid` where the value has too many frames for one index; those of the medium.
    pub(crate) fn finish(mut self, scratch: &mut Scratch) -> Result<StagedFrames> {
        if !self.batch.sealed.is_empty() {
            self.append_batch()?;
        }
        give_buffer(core::mem::take(&mut self.batch.bytes));
        let shape = Shape {
            raw_len: self.raw_len,
            frame_log2: self.frame_log2,
        };
        debug_assert_eq!(shape.frame_count(), self.frames.len() as u64);
        let frames = if self.frames.len() <= INLINE_FRAMES_MAX {
            Frames::Listed(self.frames)
        } else {
            let plain = encode_index(&self.frames);
            let writer = self.claim.writer();
            let ordinal = writer.reserve(1)?;
            let mut bytes = Vec::new();
            let sealed = writer
                .context()
                .seal(
                    BlockKind::FrameIndex,
                    ordinal,
                    0,
                    0,
                    &[],
                    &plain,
                    scratch,
                    &mut bytes,
                )
                .map_err(|error| Error::invalid("the value has too many frames").because(error))?;
            let offset = writer.append(&bytes, &[sealed])?;
            let disk_len = self
                .frames
                .iter()
                .map(|frame| u64::from(frame.disk_len))
                .sum();
            let index = sealed.handle(offset, plain.len() as u32, ordinal);
            Frames::Indexed { disk_len, index }
        };
        let pointer = BlobPointer {
            file: self.claim.writer().number(),
            shape,
            frames,
        };
        Ok(StagedFrames {
            pointer,
            claim: self.claim,
        })
    }
}

impl BlobFiles {
    /// Seals `value` into the active blob file.
    ///
    /// # Errors
    /// `Poisoned`; those of sealing and of the medium.
    pub(crate) fn stage(&self, value: &[u8], effort: Effort) -> Result<StagedFrames> {
        let store_log2 = self.options().frame_log2();
        let is_noise = is_noise(value);
        let frame_log2 = if is_noise {
            noise_log2(value.len()).min(store_log2)
        } else {
            store_log2
        };
        let writer = ValueWriter::new(self, Purpose::Value, frame_log2)?;
        with_scratch(|scratch| {
            scratch.hurry(effort == Effort::Low);
            scratch.store_only(is_noise);
            let staged = writer.write_all(value, scratch);
            scratch.store_only(false);
            scratch.hurry(false);
            staged
        })
    }

    /// Seals a value that `next` hands out piece by piece: each call fills the cleared buffer with up
    /// to one frame length, less only at the end. `None` for a value without bytes.
    ///
    /// # Errors
    /// As [`BlobFiles::stage`], and those of `next`.
    pub(crate) fn stage_pieces(
        &self,
        effort: Effort,
        next: NextPiece<'_>,
    ) -> Result<Option<StagedFrames>> {
        let frame_log2 = self.options().frame_log2();
        with_scratch(|scratch| {
            let frame_len = 1 << frame_log2;
            let (mut piece, mut following) = (Vec::new(), Vec::new());
            next(&mut piece, scratch)?;
            if piece.is_empty() {
                return Ok(None);
            }
            let mut writer = ValueWriter::new(self, Purpose::Value, frame_log2)?;
            scratch.hurry(effort == Effort::Low);
            loop {
                following.clear();
                if piece.len() == frame_len {
                    next(&mut following, scratch)?;
                }
                if following.is_empty() {
                    writer.push(&piece, 1, scratch)?;
                    return writer.finish(scratch).map(Some);
                }
                writer.push(&piece, INLINE_FRAMES_MAX, scratch)?;
                core::mem::swap(&mut piece, &mut following);
            }
        })
    }

    /// Seals the value behind `pointer` anew, into the active blob file, cut and compressed as it was. `None`
    /// where it cannot be read, or its file is not known any more: then it has to stay as it is.
    ///
    /// # Errors
    /// `Poisoned`; those of sealing, and of the medium while writing.
    pub(crate) fn copy(&self, pointer: &BlobPointer) -> Result<Option<StagedFrames>> {
        let Ok(Some(reader)) = self.reader(pointer.file) else {
            return Ok(None);
        };
        let Ok(frames) = with_scratch(|scratch| reader.frames(pointer, scratch)) else {
            return Ok(None);
        };
        let (shape, count) = (pointer.shape, frames.len());
        let mut writer = ValueWriter::new(self, Purpose::Move, shape.frame_log2)?;
        let mut written = Ok(());
        let read = reader.each_packed(shape, &frames, &mut |index, expect, body| {
            if written.is_ok() {
                written = writer.push_packed(expect, body, count - index as usize);
            }
        });
        written?;
        match read {
            Ok(()) => with_scratch(|scratch| writer.finish(scratch)).map(Some),
            Err(_) => Ok(None),
        }
    }
}

const fn last_flag(is_last: bool) -> u8 {
    if is_last { FLAG_LAST } else { 0 }
}

/// The frame length of noise, as its logarithm: the shortest that leaves all frames in the pointer.
fn noise_log2(value_len: usize) -> u8 {
    let per_frame = value_len.div_ceil(INLINE_FRAMES_MAX).max(1);
    let log2 = per_frame.next_power_of_two().trailing_zeros() as u8;
    log2.max(NOISE_LOG2_MIN)
}

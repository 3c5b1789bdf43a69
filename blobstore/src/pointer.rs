//! Where a value lies that is too large for the tree, and all that its reader must expect there.
//!
//! - A value lies in one blob file, cut into frames of equal plaintext length, the last one shorter.
//! - A pointer of up to [`INLINE_FRAMES_MAX`] frames lists them itself; they lie one behind the other.
//!   A longer one leads to a sealed frame index that lists runs of frames.
//! - The plaintext length of every frame follows from the pointer, never from the frame.
//!
//! ```text
//! pointer:      form 1 | file varint | raw length varint | log2 of the frame length 1 | ...
//!   form 1:     offset varint | first ordinal varint | one entry for each frame
//!   form 2:     disk length of all frames varint | offset, disk length, raw length, ordinal of the
//!               index block, each a varint | codec of the index block 1
//! entry:        disk length * 2 + (1 where zstd) varint
//! frame index:  one run after the other: offset varint | first ordinal varint | count varint | entries
//! ```

use alloc::vec::Vec;
use core::ops::Range;

use coffer_engine::block::{BlockHandle, Codec};
use coffer_engine::codec::{Reader, put_varint};
use coffer_engine::{Error, Result};

/// Most frames that a pointer lists itself.
pub(crate) const INLINE_FRAMES_MAX: usize = 16;
/// Bounds of the frame length, as powers of two.
pub(crate) const FRAME_LOG2: core::ops::RangeInclusive<u8> = 12..=20;

const FORM_FRAMES: u8 = 1;
const FORM_INDEX: u8 = 2;

/// One sealed frame of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) offset: u64,
    pub(crate) ordinal: u32,
    pub(crate) disk_len: u32,
    pub(crate) codec: Codec,
}

/// Where the frames of a value are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frames {
    /// Here; they lie one behind the other.
    Listed(Vec<Frame>),
    /// In an index block of the same file.
    Indexed {
        /// Bytes of all frames on disk.
        disk_len: u64,
        /// The index block.
        index: BlockHandle,
    },
}

/// Leads to a value in a blob file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlobPointer {
    pub(crate) file: u64,
    pub(crate) shape: Shape,
    pub(crate) frames: Frames,
}

/// How a value is cut into frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) raw_len: u64,
    pub(crate) frame_log2: u8,
}

impl Shape {
    /// Number of frames.
    pub(crate) fn frame_count(self) -> u64 {
        self.raw_len.div_ceil(1 << self.frame_log2)
    }

    /// Plaintext length of frame `index`.
    pub(crate) fn raw_len_of(self, index: u64) -> u32 {
        let rest = self.raw_len.saturating_sub(index << self.frame_log2);
        rest.min(1 << self.frame_log2) as u32
    }

    /// Is `index` the last frame?
    pub(crate) fn is_last(self, index: u64) -> bool {
        index + 1 == self.frame_count()
    }

    /// The frames that bytes `offset..offset + len` touch; empty behind the end of the value.
    pub(crate) fn touched(self, offset: u64, len: u64) -> Range<u64> {
        let end = offset.saturating_add(len).min(self.raw_len);
        if offset >= end {
            return 0..0;
        }
        offset >> self.frame_log2..((end - 1) >> self.frame_log2) + 1
    }

    /// Offset and length of what these frames hold.
    pub(crate) fn span_of(self, frames: Range<u64>) -> (u64, u64) {
        let start = frames.start << self.frame_log2;
        let end = (frames.end << self.frame_log2).min(self.raw_len);
        (start, end.saturating_sub(start))
    }

    /// Which part of frame `index` belongs to bytes `offset..offset + len` of the value.
    pub(crate) fn part(self, index: u64, offset: u64, len: u64) -> Range<usize> {
        let frame_start = index << self.frame_log2;
        let end = offset.saturating_add(len).min(self.raw_len);
        let frame_len = u64::from(self.raw_len_of(index));
        let first = offset.saturating_sub(frame_start).min(frame_len);
        let last = end.saturating_sub(frame_start).min(frame_len);
        first as usize..last.max(first) as usize
    }
}

impl BlobPointer {
    /// Bytes on disk that die with this pointer.
    pub(crate) fn disk_len(&self) -> u64 {
        match &self.frames {
            Frames::Listed(frames) => frames.iter().map(|frame| u64::from(frame.disk_len)).sum(),
            Frames::Indexed { disk_len, index } => {
                disk_len.saturating_add(u64::from(index.disk_len))
            }
        }
    }

    /// A number that no other value of the file has.
    pub(crate) fn first_ordinal(&self) -> u32 {
        match &self.frames {
            Frames::Listed(frames) => frames.first().map_or(0, |frame| frame.ordinal),
            Frames::Indexed { index, .. } => index.ordinal,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        out.push(match self.frames {
            Frames::Listed(_) => FORM_FRAMES,
            Frames::Indexed { .. } => FORM_INDEX,
        });
        put_varint(&mut out, self.file);
        put_varint(&mut out, self.shape.raw_len);
        out.push(self.shape.frame_log2);
        match &self.frames {
            Frames::Listed(frames) => {
                let (offset, ordinal) = frames
                    .first()
                    .map_or((0, 0), |frame| (frame.offset, frame.ordinal));
                put_varint(&mut out, offset);
                put_varint(&mut out, ordinal.into());
                frames.iter().for_each(|frame| put_entry(&mut out, frame));
            }
            Frames::Indexed { disk_len, index } => {
                put_varint(&mut out, *disk_len);
                put_varint(&mut out, index.offset);
                put_varint(&mut out, index.disk_len.into());
                put_varint(&mut out, index.raw_len.into());
                put_varint(&mut out, index.ordinal.into());
                out.push(index.codec as u8);
            }
        }
        out
    }

    /// # Errors
    /// `Corruption` for bytes that no version of Coffer writes, `Unsupported` for a newer form.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        Self::decode_parts(bytes).map_err(|error| error.part("blob pointer"))
    }

    fn decode_parts(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let form = reader.u8()?;
        let file = reader.varint()?;
        let shape = Shape {
            raw_len: reader.varint()?,
            frame_log2: reader.u8()?,
        };
        if shape.raw_len == 0 || !FRAME_LOG2.contains(&shape.frame_log2) {
            return Err(Error::corruption("lengths that cannot be"));
        }
        let frames = match form {
            FORM_FRAMES => {
                let count = shape.frame_count();
                if count > INLINE_FRAMES_MAX as u64 {
                    return Err(Error::corruption("more frames than a pointer lists"));
                }
                let offset = reader.varint()?;
                let ordinal = reader.varint_u32()?;
                let mut frames = Vec::new();
                take_run(&mut reader, offset, ordinal, count, &mut frames)?;
                Frames::Listed(frames)
            }
            FORM_INDEX => {
                let disk_len = reader.varint()?;
                let index = BlockHandle {
                    offset: reader.varint()?,
                    disk_len: reader.varint_u32()?,
                    raw_len: reader.varint_u32()?,
                    ordinal: reader.varint_u32()?,
                    codec: take_codec(reader.u8()?)?,
                };
                Frames::Indexed { disk_len, index }
            }
            _ => return Err(Error::unsupported("blob pointer of a newer version")),
        };
        reader.finish()?;
        Ok(Self {
            file,
            shape,
            frames,
        })
    }
}

/// The length of the value behind an encoded pointer, without decoding the rest.
pub(crate) fn raw_len_of(bytes: &[u8]) -> Result<u64> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    reader.varint()?;
    reader.varint()
}

/// The bytes of an index block for `frames`.
pub(crate) fn encode_index(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::with_capacity(frames.len() * 4);
    let follows = |a: &Frame, b: &Frame| {
        a.offset + u64::from(a.disk_len) == b.offset && a.ordinal + 1 == b.ordinal
    };
    for run in frames.chunk_by(follows) {
        let first = run.first().expect("a chunk is not empty");
        put_varint(&mut out, first.offset);
        put_varint(&mut out, first.ordinal.into());
        put_varint(&mut out, run.len() as u64);
        run.iter().for_each(|frame| put_entry(&mut out, frame));
    }
    out
}

/// The frames that an index block lists, which must be as many as `shape` has.
///
/// # Errors
/// `Corruption` for bytes that no version of Coffer writes.
pub(crate) fn decode_index(bytes: &[u8], shape: Shape) -> Result<Vec<Frame>> {
    let mut reader = Reader::new(bytes);
    let mut frames = Vec::new();
    while !reader.is_empty() {
        let offset = reader.varint()?;
        let ordinal = reader.varint_u32()?;
        let count = reader.varint()?;
        take_run(&mut reader, offset, ordinal, count, &mut frames)?;
    }
    if frames.len() as u64 != shape.frame_count() {
        return Err(Error::corruption("a frame index of another length").part("frame index"));
    }
    Ok(frames)
}

fn put_entry(out: &mut Vec<u8>, frame: &Frame) {
    put_varint(out, u64::from(frame.disk_len) << 1 | frame.codec as u64);
}

fn take_codec(byte: u8) -> Result<Codec> {
    match byte {
        0 => Ok(Codec::None),
        1 => Ok(Codec::Zstd),
        _ => Err(Error::corruption("an unknown codec")),
    }
}

/// Takes `count` frames that lie one behind the other. Memory grows with bytes read, not with `count`.
fn take_run(
    reader: &mut Reader<'_>,
    mut offset: u64,
    mut ordinal: u32,
    count: u64,
    frames: &mut Vec<Frame>,
) -> Result<()> {
    let overflow = || Error::corruption("frames beyond the end of any file");
    for _ in 0..count {
        let entry = reader.varint()?;
        let disk_len = u32::try_from(entry >> 1).map_err(|_| overflow())?;
        let codec = take_codec((entry & 1) as u8)?;
        frames.push(Frame {
            offset,
            ordinal,
            disk_len,
            codec,
        });
        offset = offset.checked_add(disk_len.into()).ok_or_else(overflow)?;
        ordinal = ordinal.checked_add(1).ok_or_else(overflow)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(count: u32, gap_every: u32) -> Vec<Frame> {
        let mut offset = 256;
        (0..count)
            .map(|index| {
                if gap_every > 0 && index % gap_every == 0 {
                    offset += 1000;
                }
                let disk_len = 70_000 + index;
                let frame = Frame {
                    offset,
                    ordinal: index * if gap_every > 0 { 2 } else { 1 } + 5,
                    disk_len,
                    codec: if index % 3 == 0 {
                        Codec::Zstd
                    } else {
                        Codec::None
                    },
                };
                offset += u64::from(disk_len);
                frame
            })
            .collect()
    }

    #[test]
    fn pointers_round_trip() {
        for count in 1..=16u32 {
            let shape = Shape {
                raw_len: u64::from(count) << 17,
                frame_log2: 17,
            };
            let pointer = BlobPointer {
                file: 9,
                shape,
                frames: Frames::Listed(frames(count, 0)),
            };
            let bytes = pointer.encode();
            assert_eq!(BlobPointer::decode(&bytes).unwrap(), pointer);
            assert_eq!(raw_len_of(&bytes).unwrap(), shape.raw_len);
            for cut in 0..bytes.len() {
                assert!(BlobPointer::decode(&bytes[..cut]).is_err());
            }
        }
        let index = BlockHandle {
            offset: 1 << 40,
            disk_len: 80,
            raw_len: 77,
            ordinal: u32::MAX - 1,
            codec: Codec::Zstd,
        };
        let pointer = BlobPointer {
            file: u64::MAX,
            shape: Shape {
                raw_len: 1 << 40,
                frame_log2: 12,
            },
            frames: Frames::Indexed {
                disk_len: 1 << 41,
                index,
            },
        };
        assert_eq!(BlobPointer::decode(&pointer.encode()).unwrap(), pointer);
        assert_eq!(pointer.disk_len(), (1 << 41) + 80);
    }

    /// The example of `docs/FORMAT.md`.
    #[test]
    fn one_chunk_has_a_short_pointer() {
        let shape = Shape {
            raw_len: 128 << 10,
            frame_log2: 17,
        };
        let frame = Frame {
            offset: 256,
            ordinal: 0,
            disk_len: 30_000,
            codec: Codec::Zstd,
        };
        let pointer = BlobPointer {
            file: 5,
            shape,
            frames: Frames::Listed(vec![frame]),
        };
        let bytes = [1, 5, 0x80, 0x80, 8, 0x11, 0x80, 2, 0, 0xe1, 0xd4, 3];
        assert_eq!(pointer.encode(), bytes);
    }

    #[test]
    fn an_index_round_trips_with_and_without_gaps() {
        for gap_every in [0, 1, 7] {
            let shape = Shape {
                raw_len: (100 << 16) - 3,
                frame_log2: 16,
            };
            let listed = frames(100, gap_every);
            let bytes = encode_index(&listed);
            assert_eq!(decode_index(&bytes, shape).unwrap(), listed);
            let other = Shape {
                raw_len: 101 << 16,
                ..shape
            };
            assert!(decode_index(&bytes, other).is_err());
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(pointer) = BlobPointer::decode(&bytes) {
                prop_assert_eq!(pointer.encode(), bytes.clone());
                let _ = pointer.disk_len();
            }
            let _ = decode_index(&bytes, Shape { raw_len: 9 << 17, frame_log2: 17 });
        }

        #[test]
        fn parts_of_touched_frames_add_up_to_the_range(
            raw_len in 1u64..40_000,
            offset in 0u64..50_000,
            len in 0u64..50_000,
        ) {
            let shape = Shape { raw_len, frame_log2: 12 };
            let mut position = offset;
            for index in shape.touched(offset, len) {
                let part = shape.part(index, offset, len);
                prop_assert!(!part.is_empty());
                prop_assert_eq!((index << 12) + part.start as u64, position);
                position += part.len() as u64;
            }
            let end = (offset + len).min(raw_len).max(offset);
            prop_assert_eq!(position, end);
            let total: u64 = (0..shape.frame_count()).map(|i| u64::from(shape.raw_len_of(i))).sum();
            prop_assert_eq!(total, raw_len);
        }
    }
}

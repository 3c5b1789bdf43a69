//! What leads to a block, and what a reader must know before it looks at the block.
//!
//! - A handle is stored inside sealed bytes only; it carries everything the reader expects.

use alloc::vec::Vec;

use crate::codec::{Reader, put_varint};
use crate::error::{Error, Result};

/// Longest plaintext of any block.
pub const BLOCK_LEN_MAX: usize = 16 << 20;

/// Largest ordinal of a block; one above stands the footer.
pub const ORDINAL_MAX: u32 = u32::MAX - 1;

/// Flag of the last block of a sequence that the reader knows to end.
pub const FLAG_LAST: u8 = 1;

/// The role of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum BlockKind {
    /// Entries of a table.
    Data = 1,
    /// Separators and handles of the blocks below.
    Index = 2,
    /// Filter over keys.
    Filter = 3,
    /// Properties and other sections of a table.
    Meta = 4,
    /// The end of a finished file.
    Footer = 5,
    /// One record of the write-ahead log.
    WalRecord = 6,
    /// One record of the manifest.
    ManifestRecord = 7,
    /// A piece of a large value.
    Frame = 8,
    /// Handles of the frames of a very large value.
    FrameIndex = 9,
    /// The contents of `CURRENT`.
    Current = 10,
    /// The contents of the key file.
    Keyring = 11,
    /// Range tombstones of a table.
    RangeTombstones = 12,
}

impl BlockKind {
    pub(super) const ALL: [Self; 12] = [
        Self::Data,
        Self::Index,
        Self::Filter,
        Self::Meta,
        Self::Footer,
        Self::WalRecord,
        Self::ManifestRecord,
        Self::Frame,
        Self::FrameIndex,
        Self::Current,
        Self::Keyring,
        Self::RangeTombstones,
    ];

    /// The kind with this value on disk.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// For messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data block",
            Self::Index => "index block",
            Self::Filter => "filter block",
            Self::Meta => "meta block",
            Self::Footer => "footer",
            Self::WalRecord => "log record",
            Self::ManifestRecord => "manifest record",
            Self::Frame => "frame",
            Self::FrameIndex => "frame index",
            Self::Current => "current",
            Self::Keyring => "keyring",
            Self::RangeTombstones => "range tombstone block",
        }
    }
}

/// How the body of one block is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// Not: it would not pay, or nobody asked.
    None = 0,
    /// One Zstandard frame.
    Zstd = 1,
}

impl Codec {
    /// The codec with this value on disk.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::None),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Where a block stands, and what must be found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockHandle {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes on disk, with frame, checksum and parity.
    pub disk_len: u32,
    /// Bytes of plaintext.
    pub raw_len: u32,
    /// Its number among the blocks of the file.
    pub ordinal: u32,
    /// How it is compressed.
    pub codec: Codec,
}

impl BlockHandle {
    /// Longest encoding.
    pub const ENCODED_LEN_MAX: usize = 10 + 5 + 5 + 5 + 1;

    /// Appends the handle: varints of offset, disk length, plaintext length, ordinal; the codec.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.offset);
        put_varint(out, u64::from(self.disk_len));
        put_varint(out, u64::from(self.raw_len));
        put_varint(out, u64::from(self.ordinal));
        out.push(self.codec as u8);
    }

    /// Takes a handle off the front of `reader`.
    ///
    /// # Errors
    /// `Corruption` where it ends too early or holds a value that no handle holds.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let handle = Self {
            offset: reader.varint()?,
            disk_len: reader.varint_u32()?,
            raw_len: reader.varint_u32()?,
            ordinal: reader.varint_u32()?,
            codec: Codec::from_byte(reader.u8()?)
                .ok_or_else(|| Error::corruption("a handle names an unknown codec"))?,
        };
        if handle.raw_len as usize > BLOCK_LEN_MAX {
            return Err(Error::corruption("a handle names a block that is too long"));
        }
        Ok(handle)
    }
}

/// What the reader of a block knows about it. It becomes the associated data of the cipher.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// Its role.
    pub kind: BlockKind,
    /// Its number in the file.
    pub ordinal: u32,
    /// How it is compressed.
    pub codec: Codec,
    /// Bytes of plaintext; `None` for log records alone: nothing leads to them.
    pub raw_len: Option<u32>,
    /// Its flags.
    pub flags: u8,
    /// Its auxiliary value; `None` for log records alone.
    pub aux: Option<u32>,
    /// What it is chained to; empty for all but log records.
    pub chain: &'a [u8],
}

impl Expect<'static> {
    /// A block of `kind` behind `handle`, with neither flags nor auxiliary value.
    #[must_use]
    pub const fn new(kind: BlockKind, handle: &BlockHandle) -> Self {
        Self {
            kind,
            ordinal: handle.ordinal,
            codec: handle.codec,
            raw_len: Some(handle.raw_len),
            flags: 0,
            aux: Some(0),
            chain: &[],
        }
    }

    /// The same with other flags.
    #[must_use]
    pub const fn with_flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }
}

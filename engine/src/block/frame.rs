//! The MetadataFrame: what stands in clear before each body. Enough for forensics without a key.
//!
//! - Its own checksum tells whether it is damaged, before the length in it is believed.
//! - Nothing here is believed by a reader that knows better: see [`Expect`](crate::block::Expect).
//!
//! ```text
//!  0 magic "CoBk"    4 kind      5 suite     6 codec      7 flags
//!  8 aux u32        12 key epoch u32        16 raw_len u32
//! 20 body_len u32   24 ordinal u32          28 nonce 12   40 tag 16
//! 56 checksum: XXH3-64 of bytes 0..56       64
//! ```

use crate::block::handle::{BLOCK_LEN_MAX, BlockKind, Codec};
use crate::checksum::xxh3_64;
use crate::codec::Reader;
use crate::crypto::{Nonce, Tag};
use crate::error::{Error, Result};
use crate::options::Cipher;

/// Bytes of a frame.
pub const FRAME_LEN: usize = 64;

/// The first bytes of every block.
pub(crate) const MAGIC: [u8; 4] = *b"CoBk";

/// Where the tag stands, for patching it in after sealing.
const CHECKED_LEN: usize = 56;

/// What a block says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataFrame {
    /// Its role.
    pub kind: BlockKind,
    /// How it is encrypted.
    pub cipher: Cipher,
    /// How it is compressed.
    pub codec: Codec,
    /// Its flags.
    pub flags: u8,
    /// Auxiliary: for log records, how many records were known durable; else a dictionary.
    pub aux: u32,
    /// The epoch of the master key; 0 without a cipher.
    pub epoch: u32,
    /// Bytes of plaintext.
    pub raw_len: u32,
    /// Bytes of body.
    pub body_len: u32,
    /// Its number in the file.
    pub ordinal: u32,
    /// The nonce; zero without a cipher.
    pub nonce: Nonce,
    /// The tag; zero without a cipher.
    pub tag: Tag,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameFault {
    /// Magic or checksum do not match.
    Damaged,
    /// Whole, but no frame that this version writes.
    Unknown,
}

impl MetadataFrame {
    /// The frame as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME_LEN] {
        let mut bytes = [0; FRAME_LEN];
        let (head, checksum) = bytes.split_at_mut(CHECKED_LEN);
        let codes = [
            self.kind as u8,
            self.cipher as u8,
            self.codec as u8,
            self.flags,
        ];
        head[0..4].copy_from_slice(&MAGIC);
        head[4..8].copy_from_slice(&codes);
        head[8..12].copy_from_slice(&self.aux.to_le_bytes());
        head[12..16].copy_from_slice(&self.epoch.to_le_bytes());
        head[16..20].copy_from_slice(&self.raw_len.to_le_bytes());
        head[20..24].copy_from_slice(&self.body_len.to_le_bytes());
        head[24..28].copy_from_slice(&self.ordinal.to_le_bytes());
        head[28..40].copy_from_slice(&self.nonce);
        head[40..56].copy_from_slice(&self.tag);
        checksum.copy_from_slice(&xxh3_64(head).to_le_bytes());
        bytes
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// `Corruption` where it is damaged, `Unsupported` where another version wrote it.
    pub fn decode(bytes: &[u8; FRAME_LEN]) -> Result<Self> {
        Self::parse(bytes).map_err(|fault| match fault {
            FrameFault::Damaged => Error::corruption("the head of a block is damaged"),
            FrameFault::Unknown => Error::unsupported("a block of a kind unknown to this version"),
        })
    }

    pub(crate) fn parse(bytes: &[u8; FRAME_LEN]) -> Result<Self, FrameFault> {
        if !bytes.starts_with(&MAGIC) || !checksum_matches(bytes) {
            return Err(FrameFault::Damaged);
        }
        let mut reader = Reader::new(bytes);
        let frame = Self::fields(&mut reader)
            .ok()
            .flatten()
            .ok_or(FrameFault::Unknown)?;
        let lengths_fit = match frame.codec {
            Codec::None => frame.body_len == frame.raw_len,
            Codec::Zstd => frame.body_len < frame.raw_len,
        };
        if lengths_fit && frame.raw_len as usize <= BLOCK_LEN_MAX {
            Ok(frame)
        } else {
            Err(FrameFault::Unknown)
        }
    }

    fn fields(reader: &mut Reader<'_>) -> Result<Option<Self>> {
        reader.take(MAGIC.len())?;
        let [kind, cipher, codec, flags] = reader.array()?;
        let codes = (
            BlockKind::from_byte(kind),
            Cipher::from_byte(cipher),
            Codec::from_byte(codec),
        );
        let (Some(kind), Some(cipher), Some(codec)) = codes else {
            return Ok(None);
        };
        Ok(Some(Self {
            kind,
            cipher,
            codec,
            flags,
            aux: reader.u32()?,
            epoch: reader.u32()?,
            raw_len: reader.u32()?,
            body_len: reader.u32()?,
            ordinal: reader.u32()?,
            nonce: reader.array()?,
            tag: reader.array()?,
        }))
    }

    /// Finds the one flipped bit of a damaged frame, if there is just one, and flips it back.
    pub(crate) fn heal_one_bit(bytes: &mut [u8; FRAME_LEN]) -> Option<Self> {
        for bit in 0..FRAME_LEN * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(frame) = Self::parse(bytes) {
                return Some(frame);
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        None
    }
}

fn checksum_matches(bytes: &[u8; FRAME_LEN]) -> bool {
    let (head, checksum) = bytes.split_at(CHECKED_LEN);
    xxh3_64(head).to_le_bytes() == *checksum
}

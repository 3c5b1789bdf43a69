//! The header of a file, written twice: either copy is enough.
//!
//! - Readable without a key; believed only with one, because the commitment covers every field.
//!
//! ```text
//!  0 magic 8       8 version u16   10 kind      11 suite       12 ecc 4      16 number u64
//! 24 store id 16  40 key epoch u32 44 zero 4    48 salt 32     80 commitment 32
//! 112 zero 8     120 checksum: XXH3-64 of bytes 0..120         128
//! ```

use alloc::vec::Vec;

use crate::block::FileIdentity;
use crate::checksum::xxh3_64;
use crate::codec::{Reader, put_u64};
use crate::crypto::{COMMITMENT_LEN, FileKeys, KeySource, public_commitment};
use crate::env::{File, short_read};
use crate::error::{Error, Result};
use crate::options::{Cipher, Ecc};
use crate::types::{FileId, FileKind, StoreId};

/// Bytes of one copy of the header.
pub const HEADER_LEN: usize = 128;
/// The version of the format that this build writes.
pub const FORMAT_VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"\x89Coffer\n";
const CHECKED_LEN: usize = HEADER_LEN - 8;

/// The header of a file: readable without a key, believed only with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Kind, number, store and salt.
    pub identity: FileIdentity,
    /// How its blocks are encrypted.
    pub cipher: Cipher,
    /// The parity of its blocks.
    pub ecc: Ecc,
    /// The epoch of its master key; 0 without a cipher.
    pub epoch: u32,
    /// Shows whether a key is the right one.
    pub commitment: [u8; COMMITMENT_LEN],
}

impl FileHeader {
    /// One copy of the header as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let identity = &self.identity;
        let mut bytes = [0; HEADER_LEN];
        let (head, checksum) = bytes.split_at_mut(CHECKED_LEN);
        head[0..8].copy_from_slice(&MAGIC);
        head[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        head[10] = identity.id.kind as u8;
        head[11] = self.cipher as u8;
        head[12..16].copy_from_slice(&self.ecc.to_bytes());
        head[16..24].copy_from_slice(&identity.id.number.to_le_bytes());
        head[24..40].copy_from_slice(&identity.store_id.0);
        head[40..44].copy_from_slice(&self.epoch.to_le_bytes());
        head[48..80].copy_from_slice(&identity.salt);
        head[80..112].copy_from_slice(&self.commitment);
        checksum.copy_from_slice(&xxh3_64(head).to_le_bytes());
        bytes
    }

    /// Reads one copy of the header.
    ///
    /// # Errors
    /// `Corruption` where it is damaged, `Unsupported` where another version wrote it.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self> {
        let (head, checksum) = bytes.split_at(CHECKED_LEN);
        if !head.starts_with(&MAGIC) || xxh3_64(head).to_le_bytes() != *checksum {
            return Err(Error::corruption("the header is damaged").part("header"));
        }
        let mut reader = Reader::new(head);
        reader.take(MAGIC.len())?;
        if reader.u16()? != FORMAT_VERSION {
            return Err(unknown("the file was written by another version of Coffer"));
        }
        let kind = file_kind(reader.u8()?);
        let kind = kind.ok_or_else(|| unknown("a kind of file unknown to this version"))?;
        let cipher = Cipher::from_byte(reader.u8()?);
        let cipher = cipher.ok_or_else(|| unknown("a cipher unknown to this version"))?;
        let ecc = Ecc::from_bytes(reader.array()?);
        let ecc = ecc.ok_or_else(|| unknown("an error correction unknown to this version"))?;
        let number = reader.u64()?;
        let store_id = StoreId(reader.array()?);
        let epoch = reader.u32()?;
        let zero = reader.u32()?;
        let salt = reader.array()?;
        let commitment = reader.array()?;
        if zero != 0 || reader.u64()? != 0 {
            return Err(unknown("the header has fields unknown to this version"));
        }
        let id = FileId { kind, number };
        let identity = FileIdentity { id, store_id, salt };
        Ok(Self {
            identity,
            cipher,
            ecc,
            epoch,
            commitment,
        })
    }

    /// What the keys of the file are derived from, besides master key and salt.
    fn key_info(&self) -> Vec<u8> {
        let mut info = Vec::with_capacity(30);
        info.extend_from_slice(&self.identity.store_id.0);
        info.push(self.identity.id.kind as u8);
        put_u64(&mut info, self.identity.id.number);
        info.push(self.cipher as u8);
        info.extend_from_slice(&self.ecc.to_bytes());
        info
    }

    /// Keys, where there is a cipher, and the commitment that the header must show.
    pub(super) fn keys(
        &self,
        keys: &dyn KeySource,
    ) -> Result<(Option<FileKeys>, [u8; COMMITMENT_LEN])> {
        let (salt, info) = (&self.identity.salt, self.key_info());
        if self.cipher == Cipher::None {
            return Ok((None, public_commitment(salt, &info)));
        }
        let master = keys
            .master(self.epoch)
            .map_err(|error| error.in_file(self.identity.id))?;
        let keys = FileKeys::derive(&master, salt, &info);
        let commitment = *keys.commitment();
        Ok((Some(keys), commitment))
    }
}

fn unknown(message: &'static str) -> Error {
    Error::unsupported(message).part("header")
}

fn file_kind(byte: u8) -> Option<FileKind> {
    let kinds = [
        FileKind::Keyring,
        FileKind::Current,
        FileKind::Manifest,
        FileKind::Wal,
        FileKind::Table,
        FileKind::Blob,
    ];
    kinds.into_iter().find(|kind| *kind as u8 == byte)
}

/// The state of the two copies of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// Both are whole.
    Whole,
    /// One is damaged: [`FileHeader::encode`], twice, heals it.
    OneDamaged,
}

/// Reads the header of any file, without a key and without believing it.
///
/// # Errors
/// `Corruption` where both copies are damaged, `Unsupported` for another version.
pub fn read_header(file: &dyn File) -> Result<FileHeader> {
    read_copies(file).map(|(header, _)| header)
}

/// As [`read_header`], and tells whether a copy needs healing.
///
/// # Errors
/// Those of [`read_header`].
pub fn read_copies(file: &dyn File) -> Result<(FileHeader, Copies)> {
    let mut bytes = [[0; HEADER_LEN]; 2];
    let filled = file.read_at(0, bytes.as_flattened_mut())?;
    if filled < bytes.as_flattened().len() && filled as u64 != file.len()? {
        return Err(short_read(0).part("header"));
    }
    if filled < HEADER_LEN {
        return Err(Error::corruption("the file ends within its header").part("header"));
    }
    let [first, second] = &bytes;
    match (FileHeader::decode(first), FileHeader::decode(second)) {
        (Ok(header), _) if first == second => Ok((header, Copies::Whole)),
        (Ok(header), _) | (Err(_), Ok(header)) => Ok((header, Copies::OneDamaged)),
        (Err(error), Err(_)) => Err(error),
    }
}

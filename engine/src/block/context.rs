//! One open file as its blocks see it: identity, transform, keys. Seals and opens blocks.
//!
//! - Shared by all threads that work on the file; what a thread needs for itself is a `Scratch`.
//! - A (file, ordinal) is sealed at most once, ever: callers hand out ordinals, and never go on
//!   with a file of an earlier run.
//! - Plaintext leaves only after its tag was verified and its length is the expected one.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::block::frame::{FRAME_LEN, MetadataFrame};
use crate::block::handle::{BLOCK_LEN_MAX, BlockHandle, BlockKind, Codec, Expect, ORDINAL_MAX};
use crate::block::verify::{State, Verifier, tag_of};
use crate::block::{Block, Opened};
use crate::checksum::xxh3_64;
use crate::compress::Scratch;
use crate::crypto::{COMMITMENT_LEN, FileKeys, NONCE_LEN, Nonce, SALT_LEN, TAG_LEN, Tag};
use crate::ecc::Protector;
use crate::env::{Event, Listener};
use crate::error::{Error, Result};
use crate::options::{BlockTransform, Cipher, Ecc};
use crate::types::{FileId, StoreId};

/// Who a file is: bound into its keys, its checksums and every block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    /// Kind and number.
    pub id: FileId,
    /// The store.
    pub store_id: StoreId,
    /// Its random bytes.
    pub salt: [u8; SALT_LEN],
}

impl FileIdentity {
    /// A digest for the checksums of its blocks.
    pub(super) fn mix(&self) -> u64 {
        let mut bytes = [0; 16 + 8 + 8 + SALT_LEN];
        bytes[..16].copy_from_slice(&self.store_id.0);
        bytes[16] = self.id.kind as u8;
        bytes[24..32].copy_from_slice(&self.id.number.to_le_bytes());
        bytes[32..].copy_from_slice(&self.salt);
        xxh3_64(&bytes)
    }
}

/// What sealing a block made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Bytes appended.
    pub disk_len: u32,
    /// How the body is compressed.
    pub codec: Codec,
    /// The tag of the cipher; the checksum where there is no cipher.
    pub tag: Tag,
}

impl Sealed {
    /// The handle of this block at `offset`.
    #[must_use]
    pub const fn handle(&self, offset: u64, raw_len: u32, ordinal: u32) -> BlockHandle {
        BlockHandle {
            offset,
            disk_len: self.disk_len,
            raw_len,
            ordinal,
            codec: self.codec,
        }
    }
}

/// Bytes of associated data before the chain.
const AAD_LEN: usize = 32;
/// Longest associated data: a record chained to a commitment.
const AAD_LEN_MAX: usize = AAD_LEN + COMMITMENT_LEN;

/// Blocks that may be sealed under one file key: far more than ordinals are ever handed out.
pub(super) const SEAL_COUNT_MAX: u64 = u32::MAX as u64;

/// An open file as its blocks see it.
pub struct FileContext {
    identity: FileIdentity,
    transform: BlockTransform,
    epoch: u32,
    keys: Option<FileKeys>,
    commitment: [u8; COMMITMENT_LEN],
    verifier: Verifier,
    listener: Arc<dyn Listener>,
    pub(super) seal_count: AtomicU64,
}

impl FileContext {
    /// Built by `file` alone, which has checked the commitment.
    pub(crate) fn new(
        identity: FileIdentity,
        transform: BlockTransform,
        epoch: u32,
        keys: Option<FileKeys>,
        commitment: [u8; COMMITMENT_LEN],
        listener: Arc<dyn Listener>,
    ) -> Self {
        debug_assert_eq!(keys.is_some(), transform.cipher != Cipher::None);
        Self {
            identity,
            transform,
            epoch,
            keys,
            commitment,
            verifier: Verifier {
                protector: Protector::new(transform.ecc),
                mix: identity.mix(),
            },
            listener,
            seal_count: AtomicU64::new(0),
        }
    }

    /// Kind and number of the file.
    #[must_use]
    pub const fn id(&self) -> FileId {
        self.identity.id
    }

    /// The store of the file.
    #[must_use]
    pub const fn store_id(&self) -> StoreId {
        self.identity.store_id
    }

    /// The random bytes of the file.
    #[must_use]
    pub const fn salt(&self) -> &[u8; SALT_LEN] {
        &self.identity.salt
    }

    /// The epoch of its master key; 0 without a cipher.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The parity of its blocks.
    #[must_use]
    pub const fn ecc(&self) -> Ecc {
        self.transform.ecc
    }

    /// What the first record of a chain is chained to.
    #[must_use]
    pub const fn commitment(&self) -> &[u8; COMMITMENT_LEN] {
        &self.commitment
    }

    /// Bytes on disk of a block whose body has `body_len` bytes.
    #[must_use]
    pub const fn disk_len(&self, body_len: usize) -> usize {
        self.verifier.disk_len(body_len)
    }

    /// The length behind a handle, if some block of this file can have it.
    pub(crate) fn checked_disk_len(&self, handle: &BlockHandle) -> Result<usize> {
        let disk_len = handle.disk_len as usize;
        let longest = self.disk_len(handle.raw_len as usize);
        if disk_len <= longest && handle.raw_len as usize <= BLOCK_LEN_MAX {
            Ok(disk_len)
        } else {
            Err(Error::corruption(
                "a handle names a length that no block has",
            ))
        }
    }

    pub(super) const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Tells the listener that the block at `offset` was repaired.
    pub fn tell_healed(&self, offset: u64) {
        let file = self.id();
        self.listener.event(&Event::Healed { file, offset });
    }

    pub(crate) fn listener(&self) -> &dyn Listener {
        &*self.listener
    }

    /// Seals `plain` and appends the block to `out`.
    ///
    /// # Errors
    /// `Invalid` where `plain` is longer than [`BLOCK_LEN_MAX`], or ordinals or the budget of the
    /// file key are used up: a new file is needed then.
    #[expect(clippy::too_many_arguments, reason = "each is one field of the frame")]
    pub fn seal(
        &self,
        kind: BlockKind,
        ordinal: u32,
        flags: u8,
        aux: u32,
        chain: &[u8],
        plain: &[u8],
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Sealed> {
        self.check_ordinal(ordinal)?;
        let expect = Expect {
            kind,
            ordinal,
            codec: Codec::None,
            raw_len: u32::try_from(plain.len()).ok(),
            flags,
            aux: Some(aux),
            chain,
        };
        match scratch.compress(self.transform.compression, plain) {
            Some(body) => {
                let codec = Codec::Zstd;
                self.seal_body(&Expect { codec, ..expect }, body, out)
            }
            None => self.seal_body(&expect, plain, out),
        }
    }

    pub(super) fn check_ordinal(&self, ordinal: u32) -> Result<()> {
        if ordinal <= ORDINAL_MAX {
            return Ok(());
        }
        let message = "the file has no ordinals left; begin a new file";
        Err(Error::invalid(message).in_file(self.id()))
    }

    /// Seals `plain` without compression: log records, because no handle tells their plaintext
    /// length, and footers, because they are found by theirs.
    pub(crate) fn seal_uncompressed(
        &self,
        expect: &Expect<'_>,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Sealed> {
        debug_assert_eq!(expect.codec, Codec::None);
        let raw_len = u32::try_from(plain.len()).ok();
        self.seal_body(&Expect { raw_len, ..*expect }, plain, out)
    }

    pub(super) fn seal_body(
        &self,
        expect: &Expect<'_>,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Sealed> {
        let raw_len = match expect.raw_len {
            Some(raw_len) if raw_len as usize <= BLOCK_LEN_MAX => raw_len,
            _ => return Err(Error::invalid("a block is longer than 16 MiB").in_file(self.id())),
        };
        if self.seal_count.fetch_add(1, Ordering::Relaxed) >= SEAL_COUNT_MAX {
            let message = "the key of this file has sealed its last block; begin a new file";
            return Err(Error::invalid(message).in_file(self.id()));
        }
        let mut frame = MetadataFrame {
            kind: expect.kind,
            cipher: self.transform.cipher,
            codec: expect.codec,
            flags: expect.flags,
            aux: expect.aux.unwrap_or_default(),
            epoch: self.epoch,
            raw_len,
            body_len: u32::try_from(body.len()).expect("a body is no longer than its plaintext"),
            ordinal: expect.ordinal,
            nonce: [0; NONCE_LEN],
            tag: [0; TAG_LEN],
        };
        let start = out.len();
        let disk_len = self.disk_len(body.len());
        out.reserve(disk_len + AAD_LEN_MAX + 4);
        out.extend_from_slice(&[0; FRAME_LEN]);
        out.extend_from_slice(body);
        if let Some(keys) = &self.keys {
            let mut aad = [0; AAD_LEN_MAX];
            let aad = self.aad(expect, &frame, &mut aad);
            frame.nonce = nonce(keys, aad, out, start + FRAME_LEN);
            let body = &mut out[start + FRAME_LEN..];
            frame.tag = keys.aead().seal_in_place(&frame.nonce, aad, body);
        }
        out[start..start + FRAME_LEN].copy_from_slice(&frame.encode());
        self.verifier.finish(out, start);
        debug_assert_eq!(out.len(), start + disk_len);
        let tag = tag_of(&frame, &out[start..]);
        Ok(Sealed {
            disk_len: u32::try_from(disk_len).expect("blocks are far below 4 GiB"),
            codec: frame.codec,
            tag,
        })
    }

    /// What the reader expects, as bytes. `None`s of the expectation are taken from the frame.
    fn aad<'a>(
        &self,
        expect: &Expect<'_>,
        frame: &MetadataFrame,
        out: &'a mut [u8; AAD_LEN_MAX],
    ) -> &'a [u8] {
        let id = self.id();
        let codes = [
            self.transform.cipher as u8,
            expect.kind as u8,
            expect.codec as u8,
            expect.flags,
        ];
        out[0..4].copy_from_slice(&codes);
        out[4..8].copy_from_slice(&expect.aux.unwrap_or(frame.aux).to_le_bytes());
        out[8..12].copy_from_slice(&expect.ordinal.to_le_bytes());
        out[12..16].copy_from_slice(&expect.raw_len.unwrap_or(frame.raw_len).to_le_bytes());
        out[16..20].copy_from_slice(&self.epoch.to_le_bytes());
        out[20] = id.kind as u8;
        out[24..32].copy_from_slice(&id.number.to_le_bytes());
        let end = AAD_LEN + expect.chain.len();
        out[AAD_LEN..end].copy_from_slice(expect.chain);
        &out[..end]
    }

    /// Is this the frame that `expect` describes?
    fn is_expected(&self, expect: &Expect<'_>, frame: &MetadataFrame) -> bool {
        frame.kind == expect.kind
            && frame.cipher == self.transform.cipher
            && frame.codec == expect.codec
            && frame.flags == expect.flags
            && frame.epoch == self.epoch
            && frame.ordinal == expect.ordinal
            && expect.aux.is_none_or(|aux| frame.aux == aux)
            && expect
                .raw_len
                .is_none_or(|raw_len| frame.raw_len == raw_len)
    }

    /// Is `disk` the expected block, and undamaged? Looks at frame and checksums alone: several times
    /// faster than opening, and no proof against forgery.
    #[must_use]
    pub fn is_intact(&self, expect: &Expect<'_>, disk: &[u8]) -> bool {
        matches!(self.verifier.look(disk), State::Whole(frame) if self.is_expected(expect, &frame))
    }

    /// Opens the block `disk`, all its bytes, as `expect` says. Plaintext that was not compressed
    /// stays in the same memory.
    ///
    /// # Errors
    /// `Authentication` for a block that is not the expected one, `Corruption` for damage beyond
    /// repair, `Unsupported` for a block of a newer version.
    pub fn open(
        &self,
        expect: &Expect<'_>,
        mut disk: Vec<u8>,
        scratch: &mut Scratch,
    ) -> Result<Block> {
        if expect.codec != Codec::None {
            return self.open_at(expect, &mut disk, scratch);
        }
        let (opened, range, _) = self.open_body(expect, &mut disk)?;
        let bytes = disk;
        Ok(Block {
            bytes,
            range,
            opened,
        })
    }

    /// As [`FileContext::open`], from bytes that are not given away.
    ///
    /// # Errors
    /// Those of [`FileContext::open`].
    pub fn open_at(
        &self,
        expect: &Expect<'_>,
        disk: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<Block> {
        let (opened, body, raw_len) = self.open_body(expect, disk)?;
        let bytes = if expect.codec == Codec::None {
            disk[body].to_vec()
        } else {
            let mut bytes = vec![0; raw_len];
            scratch.decompress(&disk[body], &mut bytes)?;
            bytes
        };
        let range = 0..bytes.len();
        Ok(Block {
            bytes,
            range,
            opened,
        })
    }

    /// As [`FileContext::open`], in place, appending the plaintext to `out`.
    ///
    /// # Errors
    /// Those of [`FileContext::open`]; `out` is as before then.
    pub fn open_into(
        &self,
        expect: &Expect<'_>,
        disk: &mut [u8],
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Opened> {
        let (opened, body, raw_len) = self.open_body(expect, disk)?;
        let start = out.len();
        if expect.codec == Codec::None {
            out.extend_from_slice(&disk[body]);
            return Ok(opened);
        }
        out.resize(start + raw_len, 0);
        let result = scratch.decompress(&disk[body], &mut out[start..]);
        if result.is_err() {
            out.truncate(start);
        }
        result.map(|()| opened)
    }

    /// Verifies, heals and decrypts in place: where the body is, and its length decompressed.
    pub(super) fn open_body(
        &self,
        expect: &Expect<'_>,
        disk: &mut [u8],
    ) -> Result<(Opened, Range<usize>, usize)> {
        let mut state = self.verifier.look(disk);
        let healed = !matches!(state, State::Whole(_));
        if let State::Whole(frame) | State::OtherLength(frame) | State::BadBody(frame) = state
            && !self.is_expected(expect, &frame)
        {
            return Err(another_block());
        }
        if healed {
            state = self.verifier.heal(disk);
        }
        // A frame whose checksum matches can be tried: where a tag proves the body, only the
        // checksum was damaged.
        let (frame, otherwise) = match state {
            State::Whole(frame) => (frame, another_block as fn() -> Error),
            State::OtherFile(frame) if self.keys.is_some() => (frame, another_block as _),
            State::BadBody(frame) if self.keys.is_some() => (frame, damaged as _),
            State::OtherLength(_) => return Err(another_block()),
            State::Unknown => {
                return Err(Error::unsupported(
                    "a block of a kind unknown to this version",
                ));
            }
            State::OtherFile(_) | State::BadBody(_) | State::BadFrame => return Err(damaged()),
        };
        if !self.is_expected(expect, &frame) {
            return Err(another_block());
        }
        let tag = tag_of(&frame, disk);
        let body = FRAME_LEN..FRAME_LEN + frame.body_len as usize;
        if let Some(keys) = &self.keys {
            let mut aad = [0; AAD_LEN_MAX];
            let aad = self.aad(expect, &frame, &mut aad);
            let aead = keys.aead();
            let result = aead.open_in_place(&frame.nonce, aad, &mut disk[body.clone()], &frame.tag);
            result.map_err(|_| otherwise())?;
        }
        let aux = frame.aux;
        let opened = Opened { healed, tag, aux };
        Ok((opened, body, frame.raw_len as usize))
    }
}

/// The nonce for the body that starts at `start` of `out`; the rest of the message stands behind
/// it only for as long as it is hashed.
fn nonce(keys: &FileKeys, aad: &[u8], out: &mut Vec<u8>, start: usize) -> Nonce {
    let end = out.len();
    out.extend_from_slice(aad);
    out.extend_from_slice(&(aad.len() as u32).to_le_bytes());
    let nonce = keys.nonce(&out[start..]);
    out.truncate(end);
    nonce
}

#[cold]
fn another_block() -> Error {
    Error::authentication("another block stands here than the one that belongs here")
}

#[cold]
fn damaged() -> Error {
    Error::corruption("the block is damaged beyond repair")
}

impl fmt::Debug for FileContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileContext of {}", self.id())
    }
}

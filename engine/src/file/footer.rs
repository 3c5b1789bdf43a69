//! The footer of a finished file, and the root by which the manifest knows the file.
//!
//! - The footer is sealed and counts and digests the blocks before it. [`FileRoot`] binds length,
//!   digest and footer: whoever names the file keeps its root.
//! - Its length is the same for all files of one ECC: it is found from the end of the file.
//!
//! ```text
//! 0 block count u32 | 4 payload length u32 | 8 digest of all tags 32 | 40 payload 128 | 168
//! ```

use alloc::vec::Vec;

use crate::block::{Block, BlockHandle, BlockKind, Codec, Expect, FileContext, read_block};
use crate::codec::{Reader, put_u32, put_u64};
use crate::compress::Scratch;
use crate::crypto::Tag;
use crate::env::File;
use crate::error::{Error, Result};
use crate::file::{DATA_OFFSET, FileHeader, walk};

/// Bytes that a footer keeps for the kind of file.
pub const FOOTER_PAYLOAD_LEN: usize = 128;

const FOOTER_LEN: usize = 4 + 4 + 32 + FOOTER_PAYLOAD_LEN;
/// No other block has it: ordinals end below.
const FOOTER_ORDINAL: u32 = u32::MAX;

/// Digests the tags of the blocks of a file, in the order in which they stand in it.
#[derive(Clone, Debug, Default)]
pub struct RootHasher {
    hasher: blake3::Hasher,
    block_count: u32,
}

impl RootHasher {
    /// Of no blocks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more block, with the tag that sealing it returned.
    pub fn push(&mut self, tag: &Tag) {
        self.hasher.update(tag);
        self.block_count += 1;
    }
}

/// What the manifest keeps of a finished file: no other bytes open as it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileRoot {
    /// Length of the file.
    pub len: u64,
    /// BLAKE3 of the digest of all tags, the tag of the footer, and the length.
    pub root: [u8; 32],
}

impl FileRoot {
    /// Bytes of an encoded root.
    pub const ENCODED_LEN: usize = 8 + 32;

    fn new(len: u64, digest: &[u8; 32], footer: &Tag) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(digest)
            .update(footer)
            .update(&len.to_le_bytes());
        let root = hasher.finalize().into();
        Self { len, root }
    }

    /// Appends length and root.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.len);
        out.extend_from_slice(&self.root);
    }

    /// Takes a root off the front of `reader`.
    ///
    /// # Errors
    /// `Corruption` where it ends too early.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let len = reader.u64()?;
        let root = reader.array()?;
        Ok(Self { len, root })
    }
}

/// The footer of a finished file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Blocks before the footer.
    pub block_count: u32,
    /// BLAKE3 of the tags of these blocks.
    pub digest: [u8; 32],
    /// What the kind of file keeps here.
    pub payload: Vec<u8>,
    /// The root of the file that was opened.
    pub root: FileRoot,
}

const fn footer_expect(raw_len: u32) -> Expect<'static> {
    Expect {
        kind: BlockKind::Footer,
        ordinal: FOOTER_ORDINAL,
        codec: Codec::None,
        raw_len: Some(raw_len),
        flags: 0,
        aux: Some(0),
        chain: &[],
    }
}

/// Seals the footer of a file of which `len` bytes are written, and appends it to `out`.
///
/// # Errors
/// `Invalid` where `payload` is longer than [`FOOTER_PAYLOAD_LEN`].
pub fn seal_footer(
    context: &FileContext,
    hasher: RootHasher,
    payload: &[u8],
    len: u64,
    out: &mut Vec<u8>,
) -> Result<FileRoot> {
    if payload.len() > FOOTER_PAYLOAD_LEN {
        return Err(Error::invalid("the payload of a footer is too long").in_file(context.id()));
    }
    let digest: [u8; 32] = hasher.hasher.finalize().into();
    let mut plain = Vec::with_capacity(FOOTER_LEN);
    put_u32(&mut plain, hasher.block_count);
    put_u32(&mut plain, payload.len() as u32);
    plain.extend_from_slice(&digest);
    plain.extend_from_slice(payload);
    plain.resize(FOOTER_LEN, 0);
    let expect = footer_expect(FOOTER_LEN as u32);
    let sealed = context.seal_uncompressed(&expect, &plain, out)?;
    let len = len + u64::from(sealed.disk_len);
    Ok(FileRoot::new(len, &digest, &sealed.tag))
}

/// Opens the footer of a finished file; where `expected` is given, the file must be that one.
///
/// # Errors
/// `Corruption` where the file is cut off or has bytes behind its end, `Authentication` where it
/// is another file than `expected`, and those of opening a block.
pub fn open_footer(
    file: &dyn File,
    context: &FileContext,
    expected: Option<&FileRoot>,
    scratch: &mut Scratch,
) -> Result<Footer> {
    let id = context.id();
    let len = file.len()?;
    let disk_len = context.disk_len(FOOTER_LEN);
    let wrong = |message| Error::corruption(message).in_file(id).part("footer");
    match expected {
        Some(root) if len < root.len => return Err(wrong("the file is cut off")),
        Some(root) if len > root.len => {
            return Err(wrong("there are bytes behind the end of the file"));
        }
        _ => {}
    }
    let offset = len
        .checked_sub(disk_len as u64)
        .filter(|offset| *offset >= DATA_OFFSET);
    let handle = BlockHandle {
        offset: offset.ok_or_else(|| wrong("the file is cut off"))?,
        disk_len: disk_len as u32,
        raw_len: FOOTER_LEN as u32,
        ordinal: FOOTER_ORDINAL,
        codec: Codec::None,
    };
    let expect = footer_expect(handle.raw_len);
    let block = read_block(file, context, &handle, &expect, scratch)?;
    let footer = decode_footer(&block, len).map_err(|error| error.in_file(id).part("footer"))?;
    if expected.is_some_and(|root| *root != footer.root) {
        let message = "the file is whole, but not the one that the store names";
        return Err(Error::authentication(message).in_file(id).part("footer"));
    }
    Ok(footer)
}

fn decode_footer(block: &Block, len: u64) -> Result<Footer> {
    let mut reader = Reader::new(block);
    let block_count = reader.u32()?;
    let payload_len = reader.u32()? as usize;
    let digest = reader.array()?;
    let payload = reader.take(payload_len)?.to_vec();
    let root = FileRoot::new(len, &digest, &block.opened().tag);
    Ok(Footer {
        block_count,
        digest,
        payload,
        root,
    })
}

/// Does the digest of a footer match the blocks of its file? Reads the whole file, needs no key
/// beyond the one that opened the footer.
///
/// # Errors
/// `Corruption` where a block is lost, `Authentication` where the digest does not match.
pub fn verify_root(file: &dyn File, header: &FileHeader, footer: &Footer) -> Result<()> {
    let mut hasher = RootHasher::new();
    let mut walk = walk(file, header)?;
    let id = header.identity.id;
    while let Some(found) = walk.next()? {
        match (found.frame, found.tag) {
            (Some(frame), _) if frame.kind == BlockKind::Footer => {}
            (_, Some(tag)) => hasher.push(&tag),
            _ => {
                return Err(Error::corruption("a block is lost")
                    .in_file(id)
                    .at(found.offset));
            }
        }
    }
    if hasher.hasher.finalize() == footer.digest && hasher.block_count == footer.block_count {
        return Ok(());
    }
    let message = "the blocks are not those that the footer vouches for";
    Err(Error::authentication(message).in_file(id))
}

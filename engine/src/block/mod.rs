//! Sealed blocks: the one form in which bytes of a store reach the disk.
//!
//! - Seal: compress, encrypt, checksum, protect. Open: checksum (heal by parity where it does not
//!   match), decrypt, decompress. The axes are independent of each other.
//! - The associated data of the cipher is what the *reader expects*, never what the bytes under
//!   test claim: a moved, swapped, relabelled or replayed block is an authentication error.
//! - A [`Block`] is plaintext that came out of such an opening; there is no other way to make one.
//! - Checksum and parity lie over ciphertext: [`walk`] verifies and heals without a key.
//!
//! ```text
//! MetadataFrame 64 | BodyFrame body_len | checksum 16 | parity (by the ECC of the file)
//! ```

pub mod blank;
mod context;
mod frame;
mod handle;
mod packed;
mod verify;
pub mod walk;

pub use context::{FileContext, FileIdentity, Sealed};
pub use frame::{FRAME_LEN, MetadataFrame};
pub use handle::{BLOCK_LEN_MAX, BlockHandle, BlockKind, Codec, Expect, FLAG_LAST, ORDINAL_MAX};

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, Range};

use crate::compress::Scratch;
use crate::crypto::Tag;
use crate::env::{File, read_exact_at};
use crate::error::{Error, Result};

/// Bytes of the checksum behind a body.
pub const CHECKSUM_LEN: usize = 16;

/// The plaintext of a block that was opened.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    bytes: Vec<u8>,
    range: Range<usize>,
    opened: Opened,
}

/// What opening a block found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Damage was repaired: the file should be written anew.
    pub healed: bool,
    /// The tag of the cipher; the checksum where there is no cipher.
    pub tag: Tag,
    /// The auxiliary value of the frame.
    pub aux: u32,
}

impl Block {
    /// What opening it found out.
    #[must_use]
    pub const fn opened(&self) -> Opened {
        self.opened
    }

    /// Memory that this block keeps, for caches.
    #[must_use]
    pub const fn memory_len(&self) -> usize {
        self.bytes.capacity() + size_of::<Self>()
    }

    /// The plaintext as a vector of its own.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<u8> {
        self.bytes.truncate(self.range.end);
        self.bytes.drain(..self.range.start);
        self.bytes
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.range.clone()).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block of {} bytes", self.range.len())
    }
}

/// Reads the block behind `handle` and opens it as `expect` says; the listener of the file hears
/// of a repair.
///
/// # Errors
/// `Authentication` where another block stands there, `Corruption` where it is damaged beyond
/// repair or cut off; both name file, offset and part.
pub fn read_block(
    file: &dyn File,
    context: &FileContext,
    handle: &BlockHandle,
    expect: &Expect<'_>,
    scratch: &mut Scratch,
) -> Result<Block> {
    let disk_len = context.checked_disk_len(handle);
    let disk = disk_len.and_then(|disk_len| {
        let mut disk = vec![0; disk_len];
        read_exact_at(file, handle.offset, &mut disk)?;
        Ok(disk)
    });
    open_block(context, handle, expect, disk, scratch)
}

/// Opens the block behind `handle` from the bytes that were read at its place.
///
/// # Errors
/// As [`read_block`]; that of `disk`.
pub fn open_block(
    context: &FileContext,
    handle: &BlockHandle,
    expect: &Expect<'_>,
    disk: Result<Vec<u8>>,
    scratch: &mut Scratch,
) -> Result<Block> {
    let block = disk.and_then(|disk| context.open(expect, disk, scratch));
    place(context, handle, expect, block)
}

/// As [`open_block`], from bytes that are the caller's; what they hold afterwards is open.
///
/// # Errors
/// As [`read_block`].
pub fn open_block_at(
    context: &FileContext,
    handle: &BlockHandle,
    expect: &Expect<'_>,
    disk: &mut [u8],
    scratch: &mut Scratch,
) -> Result<Block> {
    let block = context.open_at(expect, disk, scratch);
    place(context, handle, expect, block)
}

/// Says where a block lies that could not be opened, and tells of one that was repaired.
fn place(
    context: &FileContext,
    handle: &BlockHandle,
    expect: &Expect<'_>,
    block: Result<Block>,
) -> Result<Block> {
    let placed = |error: Error| {
        let part = expect.kind.name();
        error.in_file(context.id()).at(handle.offset).part(part)
    };
    let block = block.map_err(placed)?;
    if block.opened.healed {
        context.tell_healed(handle.offset);
    }
    Ok(block)
}

#[cfg(test)]
mod tests;

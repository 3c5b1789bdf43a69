//! The two copies of the keyring on the medium, each with parity against flipped bits.
//!
//! - A copy is replaced through a side file, sync, rename, sync of the directory, and read back.
//! - The second copy is touched only after the first was read back and accepted.
//! - Nothing here knows a key: damage is found by checksum, healed by parity or the other copy.

use alloc::vec::Vec;

use coffer_engine::ecc::Protector;
use coffer_engine::env::{Env, OpenMode};
use coffer_engine::{Ecc, Error, FileId, FileKind, Result, StoreId};

use crate::keyring::layout::{CONTENT_LEN, Image};

/// The two copies, in the order in which they are written.
pub(crate) const COPIES: [FileId; 2] = [
    FileId::new(FileKind::Keyring, 0),
    FileId::new(FileKind::Keyring, 1),
];
const SIDE_FILE: FileId = FileId::new(FileKind::Temp, 0);
const PARITY: Ecc = Ecc::METADATA;
const COPY_LEN: usize = CONTENT_LEN + PARITY.parity_len(CONTENT_LEN);
const _: () = assert!(COPY_LEN == 6168);

/// One copy as it was read.
pub(super) struct Copy {
    pub(super) image: Image,
    /// The bytes on the medium differ from what they should be.
    pub(super) healed: bool,
}

/// Bytes of a copy on the medium: content, then parity.
fn with_parity(image: &Image) -> Vec<u8> {
    let mut bytes = image.0.to_vec();
    bytes.resize(COPY_LEN, 0);
    let (content, parity) = bytes.split_at_mut(CONTENT_LEN);
    Protector::new(PARITY).protect(content, parity);
    bytes
}

/// Reads one copy, healing it by its parity where its checksum does not fit.
///
/// # Errors
/// `Corruption` where the file is missing or damaged beyond its parity.
pub(super) fn read_copy(env: &Env, id: FileId) -> Result<Copy> {
    let file = env.fs.open(id, OpenMode::Read)?;
    let mut bytes = vec![0; COPY_LEN];
    file.read_at(0, &mut bytes)?;
    let (content, parity) = bytes.split_at_mut(CONTENT_LEN);
    if let Some(image) = Image::verify(content) {
        let whole = with_parity(&image) == bytes && file.len()? == COPY_LEN as u64;
        return Ok(Copy {
            image,
            healed: !whole,
        });
    }
    Protector::new(PARITY).repair(content, parity);
    match Image::verify(content) {
        Some(image) => Ok(Copy { image, healed: true }),
        None => Err(Error::corruption(
            "this copy of the keyring is damaged beyond its parity; the other copy or a backup may be whole",
        )
        .in_file(id)),
    }
}

/// Replaces one copy and hands what can be read back to `check`.
///
/// # Errors
/// Those of the medium and of `check`.
pub(super) fn write_copy(
    env: &Env,
    id: FileId,
    image: &Image,
    check: &mut dyn FnMut(&Image) -> Result<()>,
) -> Result<()> {
    if env.fs.list()?.contains(&SIDE_FILE) {
        env.fs.remove(SIDE_FILE)?;
    }
    let side = env.fs.open(SIDE_FILE, OpenMode::Create)?;
    side.append(&with_parity(image))?;
    side.sync()?;
    drop(side);
    env.fs.rename(SIDE_FILE, id)?;
    env.fs.sync_dir()?;
    let copy = read_copy(env, id)?;
    if copy.healed || copy.image != *image {
        return Err(
            Error::io("the keyring reads back differently from what was written").in_file(id),
        );
    }
    check(&copy.image)
}

/// The store that a copy says it belongs to; `None` where it cannot be read.
pub(crate) fn owner_of_copy(env: &Env, id: FileId) -> Option<StoreId> {
    Some(read_copy(env, id).ok()?.image.decode().ok()?.store_id)
}

/// What a scrub found in one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyState {
    /// As it was written.
    Whole,
    /// Healed by its parity or by the other copy; rewritten if so asked.
    Healed,
    /// Damaged beyond parity, and so is the other copy.
    Lost,
}

/// Verifies both copies without any key; with `repair` what is damaged is written anew, from its own
/// parity or from the other copy.
///
/// # Errors
/// Those of the medium while writing.
pub(crate) fn scrub_copies(env: &Env, repair: bool) -> Result<[CopyState; 2]> {
    let found = COPIES.map(|id| read_copy(env, id).ok());
    let mut states = [CopyState::Whole; 2];
    for (index, (state, id)) in states.iter_mut().zip(COPIES).enumerate() {
        let own = found.get(index).and_then(Option::as_ref);
        if own.is_some_and(|copy| !copy.healed) {
            continue;
        }
        let Some(source) = own.or_else(|| found.iter().flatten().next()) else {
            *state = CopyState::Lost;
            continue;
        };
        *state = CopyState::Healed;
        if repair {
            write_copy(env, id, &source.image, &mut |_| Ok(()))?;
        }
    }
    Ok(states)
}

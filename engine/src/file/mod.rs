//! Files of a store: a header that names the file and commits to its key, blocks, a footer.
//!
//! - A file opens only as what the caller expects: kind, number, store, encrypted or not; then its
//!   commitment must match, before any block is touched.
//! - A file is created under its own name, or under that of a side file which is renamed once whole.
//!
//! ```text
//! 0 header | 128 header again | 256 blocks ... | footer, where the file is finished
//! ```

mod footer;
mod header;

pub use footer::{
    FOOTER_PAYLOAD_LEN, FileRoot, Footer, RootHasher, open_footer, seal_footer, verify_root,
};
pub use header::{Copies, FORMAT_VERSION, FileHeader, HEADER_LEN, read_copies, read_header};

use alloc::sync::Arc;

use crate::block::walk::Walk;
use crate::block::{FileContext, FileIdentity};
use crate::crypto::{COMMITMENT_LEN, FileKeys, KeySource, SALT_LEN, same_commitment};
use crate::env::{Env, Event, File, OpenMode};
use crate::error::{Error, Result};
use crate::options::{BlockTransform, Cipher, Compression};
use crate::types::{FileId, StoreId};

/// Where the first block starts.
pub const DATA_OFFSET: u64 = 2 * HEADER_LEN as u64;

/// Creates the file `id` with its header, for appending blocks. Not durable before a sync of the
/// file and of the directory.
///
/// # Errors
/// `Invalid` where `transform` and `keys` disagree on whether the store is encrypted, `KeyMissing`,
/// and those of the environment.
pub fn create_file(
    env: &Env,
    keys: &dyn KeySource,
    id: FileId,
    store_id: StoreId,
    transform: BlockTransform,
) -> Result<(Arc<dyn File>, Arc<FileContext>)> {
    create_file_as(env, keys, id, id, store_id, transform)
}

/// As [`create_file`], under the name `name` from which it is renamed to `id` once whole.
///
/// # Errors
/// Those of [`create_file`].
pub fn create_file_as(
    env: &Env,
    keys: &dyn KeySource,
    name: FileId,
    id: FileId,
    store_id: StoreId,
    transform: BlockTransform,
) -> Result<(Arc<dyn File>, Arc<FileContext>)> {
    if (transform.cipher == Cipher::None) != (keys.epoch() == 0) || !transform.ecc.is_valid() {
        let message = "the transform does not fit the keys of the store";
        return Err(Error::invalid(message).in_file(id));
    }
    let mut salt = [0; SALT_LEN];
    env.entropy.fill(&mut salt)?;
    let mut header = FileHeader {
        identity: FileIdentity { id, store_id, salt },
        cipher: transform.cipher,
        ecc: transform.ecc,
        epoch: keys.epoch(),
        commitment: [0; COMMITMENT_LEN],
    };
    let (file_keys, commitment) = header.keys(keys)?;
    header.commitment = commitment;
    let file = env.fs.open(name, OpenMode::Create)?;
    file.append([header.encode(); 2].as_flattened())?;
    let context = context(env, &header, transform.compression, file_keys);
    Ok((file, context))
}

fn context(
    env: &Env,
    header: &FileHeader,
    compression: Compression,
    keys: Option<FileKeys>,
) -> Arc<FileContext> {
    let transform = BlockTransform {
        compression,
        cipher: header.cipher,
        ecc: header.ecc,
    };
    Arc::new(FileContext::new(
        header.identity,
        transform,
        header.epoch,
        keys,
        header.commitment,
        env.listener.clone(),
    ))
}

/// Opens the file `id` of the store `store_id`, for reading or repair.
///
/// # Errors
/// `Authentication` where the file is not the expected one or the key is not its key,
/// `KeyMissing`, `Corruption`, `Unsupported`, and those of the environment; all name the file.
pub fn open_file(
    env: &Env,
    keys: &dyn KeySource,
    id: FileId,
    store_id: StoreId,
    mode: OpenMode,
) -> Result<(Arc<dyn File>, Arc<FileContext>)> {
    let file = env.fs.open(id, mode)?;
    let foreign = |message| Err(Error::authentication(message).in_file(id).part("header"));
    let (header, copies) = read_copies(&*file).map_err(|error| error.in_file(id))?;
    if header.identity.store_id != store_id {
        return foreign("the file belongs to another store");
    }
    if header.identity.id != id {
        return foreign("the file is another one than its name says");
    }
    if (header.cipher == Cipher::None) != (keys.epoch() == 0) {
        return foreign("the file and its store disagree on whether they are encrypted");
    }
    if (header.cipher == Cipher::None) != (header.epoch == 0) {
        return foreign("the header contradicts itself");
    }
    let (file_keys, commitment) = header.keys(keys)?;
    if !same_commitment(&commitment, &header.commitment) {
        return foreign("the header was changed, or the key is not the key of this file");
    }
    if copies != Copies::Whole {
        env.listener.event(&Event::Healed {
            file: id,
            offset: 0,
        });
    }
    let context = context(env, &header, Compression::None, file_keys);
    Ok((file, context))
}

/// A walk over the blocks of `file`, whose header is `header`, without a key.
///
/// # Errors
/// Those of [`File::len`].
pub fn walk<'a>(file: &'a dyn File, header: &FileHeader) -> Result<Walk<'a>> {
    Walk::new(file, &header.identity, header.ecc, DATA_OFFSET)
}

#[cfg(test)]
mod tests;

//! Master keys and what is derived from them for one file.
//!
//! - `K_enc || K_nonce || commitment = HKDF-SHA256(master key, salt, identity)`: a file opens under
//!   one identity only, and its header shows by the commitment which key it wants.
//! - A commitment is compared in constant time, before anything is decrypted.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::crypto::aead::{Aead, Nonce, aes256gcm};
use crate::error::{Error, Result};

/// Bytes of the random salt of a file.
pub const SALT_LEN: usize = 32;
/// Bytes of a commitment.
pub const COMMITMENT_LEN: usize = 32;

/// A 256-bit master key. Wiped when dropped; not printed.
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// Takes over the bytes of a key; the caller wipes its own copy.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for wrapping and derivation.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

/// Where the engine gets master keys from.
///
/// Epochs start at 1. Epoch 0 says that the store is not encrypted: no file of it may claim a
/// cipher, and in any other store no file may claim to have none.
pub trait KeySource: Send + Sync {
    /// The epoch for new files.
    fn epoch(&self) -> u32;
    /// The key of an epoch.
    ///
    /// # Errors
    /// `KeyMissing` for an epoch that is not known.
    fn master(&self, epoch: u32) -> Result<Arc<MasterKey>>;
}

/// The keys of a store that is not encrypted: none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKeys;

impl KeySource for NoKeys {
    fn epoch(&self) -> u32 {
        0
    }

    fn master(&self, _epoch: u32) -> Result<Arc<MasterKey>> {
        Err(Error::key_missing("the store is opened without keys"))
    }
}

/// HKDF with SHA-256: fills `out` from `ikm` under `salt` and the concatenation of `info`.
///
/// # Panics
/// Where `out` is longer than 8160 bytes.
pub fn hkdf_sha256(ikm: &[u8], salt: &[u8], info: &[&[u8]], out: &mut [u8]) {
    Hkdf::<Sha256>::new(Some(salt), ikm)
        .expand_multi_info(info, out)
        .expect("at most 255 blocks of 32 bytes are asked for");
}

/// The keys of one file: cipher with its key schedule, nonce key, commitment.
pub struct FileKeys {
    aead: Box<dyn Aead>,
    nonce_key: Zeroizing<[u8; 32]>,
    commitment: [u8; COMMITMENT_LEN],
}

/// The label of the derivation; a new format version takes another one.
const FILE_LABEL: &[u8] = b"coffer/1/file";

impl FileKeys {
    /// Derives the keys for the file with `salt` and `identity`.
    #[must_use]
    pub fn derive(master: &MasterKey, salt: &[u8; SALT_LEN], identity: &[u8]) -> Self {
        let mut okm = Zeroizing::new([[0u8; 32]; 3]);
        hkdf_sha256(
            master.expose(),
            salt,
            &[FILE_LABEL, identity],
            okm.as_flattened_mut(),
        );
        let [enc, nonce, commitment] = &*okm;
        Self {
            aead: aes256gcm(enc),
            nonce_key: Zeroizing::new(*nonce),
            commitment: *commitment,
        }
    }

    /// Shows which key the file wants and gives nothing else away.
    #[must_use]
    pub const fn commitment(&self) -> &[u8; COMMITMENT_LEN] {
        &self.commitment
    }

    /// The cipher.
    #[must_use]
    pub fn aead(&self) -> &dyn Aead {
        &*self.aead
    }

    /// The nonce for sealing a body: the first 12 bytes of BLAKE3, keyed with the nonce key, over
    /// `message`, which is `body || associated data || its length as u32`.
    ///
    /// One slice, and the body first, because BLAKE3 is up to three times faster on one piece of
    /// memory than on several.
    #[must_use]
    pub fn nonce(&self, message: &[u8]) -> Nonce {
        let digest = blake3::keyed_hash(&self.nonce_key, message);
        let nonce = digest.as_bytes().first_chunk();
        *nonce.expect("a digest has 32 bytes")
    }
}

impl fmt::Debug for FileKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKeys")
    }
}

/// What stands in place of a commitment where nothing is encrypted: a digest of salt and identity.
#[must_use]
pub fn public_commitment(salt: &[u8; SALT_LEN], identity: &[u8]) -> [u8; COMMITMENT_LEN] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(FILE_LABEL).update(salt).update(identity);
    hasher.finalize().into()
}

/// Are two commitments equal? Takes the same time whatever they are.
#[must_use]
pub fn same_commitment(left: &[u8; COMMITMENT_LEN], right: &[u8; COMMITMENT_LEN]) -> bool {
    left.ct_eq(right).into()
}

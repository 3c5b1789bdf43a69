//! Keys and ciphers: master keys, keys of one file, AES-256-GCM behind one trait.
//!
//! - Key material is wiped when dropped and never printed.
//! - Each file has its own keys, derived from its random salt and its whole identity.
//! - The nonce is computed from the key, the associated data and the bytes to be sealed: the same
//!   key and nonce mean the same message, even in a forked process or a cloned machine.

mod aead;
mod keys;
mod portable;
#[cfg(feature = "ring")]
mod ring_arm;

pub use aead::{Aead, Forged, MakeAead, NONCE_LEN, Nonce, TAG_LEN, Tag, aes256gcm, arms};
pub use keys::{COMMITMENT_LEN, FileKeys, KeySource, MasterKey, NoKeys, SALT_LEN, hkdf_sha256};
pub use keys::{public_commitment, same_commitment};

#[cfg(test)]
mod tests;

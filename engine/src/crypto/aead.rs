//! AES-256-GCM as the engine sees it, and the registry of its implementations.
//!
//! - All implementations give the same bytes; the choice is never on disk.
//! - The key schedule is computed once, when a cipher is made.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::crypto::portable;
#[cfg(feature = "ring")]
use crate::crypto::ring_arm;

/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;
/// Bytes of a tag.
pub const TAG_LEN: usize = 16;
/// Never used twice with one key for different messages.
pub type Nonce = [u8; NONCE_LEN];
/// Proves that a message is the one that was sealed.
pub type Tag = [u8; TAG_LEN];

/// The tag does not belong to these bytes under this key; the bytes are undefined now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

/// One key of an authenticated cipher, ready for use.
pub trait Aead: Send + Sync {
    /// Encrypts `data` in place and returns its tag.
    fn seal_in_place(&self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Tag;

    /// Decrypts `data` in place if `tag` is the right one.
    ///
    /// # Errors
    /// [`Forged`]; `data` must not be used then.
    fn open_in_place(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        data: &mut [u8],
        tag: &Tag,
    ) -> Result<(), Forged>;
}

/// Makes a cipher from a key.
pub type MakeAead = fn(&[u8; 32]) -> Box<dyn Aead>;

/// All implementations in this build, by name, the fastest first.
#[must_use]
pub fn arms() -> Vec<(&'static str, MakeAead)> {
    alloc::vec![
        #[cfg(feature = "ring")]
        ("ring", ring_arm::make as MakeAead),
        ("aes-gcm", portable::make as MakeAead),
    ]
}

/// The fastest AES-256-GCM in this build, with `key`.
#[must_use]
pub fn aes256gcm(key: &[u8; 32]) -> Box<dyn Aead> {
    #[cfg(feature = "ring")]
    return ring_arm::make(key);
    #[cfg(not(feature = "ring"))]
    portable::make(key)
}

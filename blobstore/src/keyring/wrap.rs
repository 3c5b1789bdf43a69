//! Committing key wrap: AES-256-GCM does not commit to its key, so a commitment goes with it.
//!
//! - `kek || commitment = HKDF-SHA256(secret, salt, context)`; the commitment is compared first, in
//!   constant time, and nothing is opened where it differs.
//! - Each wrap draws a fresh 32-byte salt, so each kek seals exactly once and the nonce can be zero.
//! - `context` is HKDF info and associated data: it names store, place and parameters.

use coffer_engine::crypto::{aes256gcm, hkdf_sha256, same_commitment};
use coffer_engine::{Error, Result};
use zeroize::Zeroizing;

/// Each kek seals exactly one message.
const NONCE: [u8; 12] = [0; 12];

/// What stands beside a wrapped secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) salt: [u8; 32],
    pub(super) commitment: [u8; 32],
    pub(super) tag: [u8; 16],
}

/// Two keys of 32 bytes for `context`.
pub(super) fn derive(secret: &[u8], salt: &[u8; 32], context: &[u8]) -> Zeroizing<[[u8; 32]; 2]> {
    let mut out = Zeroizing::new([[0; 32]; 2]);
    hkdf_sha256(secret, salt, &[context], out.as_flattened_mut());
    out
}

/// Seals `plain` in place under a key from `secret` and the fresh `salt`.
pub(super) fn wrap(secret: &[u8], salt: [u8; 32], context: &[u8], plain: &mut [u8]) -> Seal {
    let keys = derive(secret, &salt, context);
    let [kek, commitment] = &*keys;
    let tag = aes256gcm(kek).seal_in_place(&NONCE, context, plain);
    Seal {
        salt,
        commitment: *commitment,
        tag,
    }
}

/// Opens `sealed` in place. `false` where `secret` is not the one it was wrapped with.
///
/// # Errors
/// `Authentication` where the secret is right and the wrapped bytes were altered.
pub(super) fn unwrap(
    secret: &[u8],
    seal: &Seal,
    context: &[u8],
    sealed: &mut [u8],
) -> Result<bool> {
    let keys = derive(secret, &seal.salt, context);
    let [kek, commitment] = &*keys;
    if !same_commitment(commitment, &seal.commitment) {
        return Ok(false);
    }
    aes256gcm(kek)
        .open_in_place(&NONCE, context, sealed, &seal.tag)
        .map_err(|_| Error::authentication("a wrapped key was altered").part("keyring"))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_context_and_bytes_open() {
        let mut sealed = *b"thirty-two bytes of a root key..";
        let seal = wrap(b"secret", [1; 32], b"context", &mut sealed);
        assert_ne!(&sealed, b"thirty-two bytes of a root key..");

        let open = |secret: &[u8], seal: Seal, context: &[u8], mut bytes: [u8; 32]| {
            unwrap(secret, &seal, context, &mut bytes).map(|fits| fits.then_some(bytes))
        };
        let plain = open(b"secret", seal, b"context", sealed).unwrap();
        assert_eq!(plain.as_ref(), Some(b"thirty-two bytes of a root key.."));
        assert_eq!(open(b"Secret", seal, b"context", sealed).unwrap(), None);
        assert_eq!(open(b"secret", seal, b"Context", sealed).unwrap(), None);
        let salted = Seal {
            salt: [2; 32],
            ..seal
        };
        assert_eq!(open(b"secret", salted, b"context", sealed).unwrap(), None);
        let mut flipped = sealed;
        flipped[31] ^= 1;
        assert!(open(b"secret", seal, b"context", flipped).is_err());
        let mut tag = seal.tag;
        tag[0] ^= 1;
        assert!(open(b"secret", Seal { tag, ..seal }, b"context", sealed).is_err());
    }
}

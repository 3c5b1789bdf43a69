//! AES-256-GCM by the crate `ring`: about twice as fast.
//!
//! - `ring` does not wipe its keys; this file does, in the one place where a key schedule lives.

use alloc::boxed::Box;
use core::mem::{MaybeUninit, needs_drop};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce as RingNonce, Tag as RingTag, UnboundKey};
use zeroize::Zeroize;

use crate::crypto::aead::{Aead, Forged, Nonce, Tag};

const _: () = assert!(
    !needs_drop::<LessSafeKey>(),
    "wiping a key must not skip a destructor"
);

/// Always initialized; `MaybeUninit` because a wiped key is no valid key.
struct Ring(Box<MaybeUninit<LessSafeKey>>);

pub(super) fn make(key: &[u8; 32]) -> Box<dyn Aead> {
    let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has 32 bytes");
    Box::new(Ring(Box::new(MaybeUninit::new(LessSafeKey::new(key)))))
}

impl Ring {
    fn key(&self) -> &LessSafeKey {
        // SAFETY: `make` initializes the key and only `drop` wipes it.
        unsafe { self.0.assume_init_ref() }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let place: *mut MaybeUninit<LessSafeKey> = &raw mut *self.0;
        let len = size_of::<LessSafeKey>();
        // SAFETY: the box owns `len` writable bytes there, any byte is a valid `MaybeUninit<u8>`,
        // and nobody reads the key afterwards: it has no destructor (asserted above).
        let bytes =
            unsafe { core::slice::from_raw_parts_mut(place.cast::<MaybeUninit<u8>>(), len) };
        bytes.zeroize();
    }
}

impl Aead for Ring {
    fn seal_in_place(&self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Tag {
        let nonce = RingNonce::assume_unique_for_key(*nonce);
        let tag = self
            .key()
            .seal_in_place_separate_tag(nonce, Aad::from(aad), data);
        let tag = tag.expect("blocks are far below 64 GiB");
        *tag.as_ref().first_chunk().expect("a tag has 16 bytes")
    }

    fn open_in_place(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        data: &mut [u8],
        tag: &Tag,
    ) -> Result<(), Forged> {
        let nonce = RingNonce::assume_unique_for_key(*nonce);
        let (aad, tag) = (Aad::from(aad), RingTag::from(*tag));
        match self
            .key()
            .open_in_place_separate_tag(nonce, aad, tag, data, 0..)
        {
            Ok(_) => Ok(()),
            Err(_) => Err(Forged),
        }
    }
}

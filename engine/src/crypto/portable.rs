//! AES-256-GCM by the crate `aes-gcm`: runs everywhere, wipes its keys.

use alloc::boxed::Box;

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};

use crate::crypto::aead::{Aead, Forged, Nonce, Tag};

struct Portable(Aes256Gcm);

pub(super) fn make(key: &[u8; 32]) -> Box<dyn Aead> {
    Box::new(Portable(Aes256Gcm::new(key.into())))
}

impl Aead for Portable {
    fn seal_in_place(&self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Tag {
        let data = InOutBuf::from(data);
        let tag = self.0.encrypt_inout_detached(nonce.into(), aad, data);
        tag.expect("blocks are far below 64 GiB").into()
    }

    fn open_in_place(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        data: &mut [u8],
        tag: &Tag,
    ) -> Result<(), Forged> {
        let data = InOutBuf::from(data);
        let opened = self
            .0
            .decrypt_inout_detached(nonce.into(), aad, data, tag.into());
        opened.map_err(|_| Forged)
    }
}

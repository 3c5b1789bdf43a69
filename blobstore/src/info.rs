//! What a store says about itself without a key.
//!
//! - Nothing here is authenticated: it describes bytes, it vouches for nothing.
//! - It writes nothing and takes no lock, so a mounted store can be described too.

use alloc::vec::Vec;

use coffer_engine::env::{Env, OpenMode};
use coffer_engine::file::{FORMAT_VERSION, FileHeader, read_header};
use coffer_engine::{Cipher, Ecc, Error, FileKind, Result, StoreId};

use crate::keyring::{Keyring, KeyringInfo};

/// The files of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindInfo {
    /// The kind.
    pub kind: FileKind,
    /// How many there are.
    pub count: u64,
    /// Their bytes together.
    pub len: u64,
}

/// A store as it looks without a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreInfo {
    /// Its name.
    pub store_id: StoreId,
    /// The version of the format of its files.
    pub format_version: u32,
    /// Slots and generation of the keyring.
    pub keyring: KeyringInfo,
    /// How its files are encrypted; `None` where no header can be read.
    pub cipher: Option<Cipher>,
    /// The parity of tables, logs and blob files; `None` where there are none yet.
    pub ecc: Option<Ecc>,
    /// The highest key epoch in any header; 0 without a cipher.
    pub epoch: Option<u32>,
    /// Its files.
    pub kinds: Vec<KindInfo>,
}

impl StoreInfo {
    /// Describes the store in `env`.
    ///
    /// # Errors
    /// `Invalid` where there is none, `Corruption` where neither copy of the keyring can be read; those
    /// of the medium.
    pub fn read(env: &Env) -> Result<Self> {
        if !Keyring::exists(env)? {
            return Err(Error::invalid("there is no store in this directory"));
        }
        let keyring = Keyring::inspect(env)?;
        let mut info = Self {
            store_id: keyring.store_id,
            format_version: FORMAT_VERSION.into(),
            keyring,
            cipher: None,
            ecc: None,
            epoch: None,
            kinds: Vec::new(),
        };
        let mut ids = env.fs.list()?;
        ids.sort_unstable();
        for id in ids {
            // A mounted store removes files at any time.
            let Ok(file) = env.fs.open(id, OpenMode::Read) else {
                continue;
            };
            info.count(id.kind, file.len()?);
            if !matches!(
                id.kind,
                FileKind::Keyring | FileKind::Lock | FileKind::Temp | FileKind::Aside
            ) && let Ok(header) = read_header(&*file)
            {
                info.take(id.kind, &header);
            }
        }
        Ok(info)
    }

    /// Bytes of all files.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.len).sum()
    }

    /// Is there not a byte?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn count(&mut self, kind: FileKind, len: u64) {
        match self.kinds.iter_mut().find(|info| info.kind == kind) {
            Some(info) => {
                info.count += 1;
                info.len += len;
            }
            None => self.kinds.push(KindInfo {
                kind,
                count: 1,
                len,
            }),
        }
    }

    fn take(&mut self, kind: FileKind, header: &FileHeader) {
        self.cipher = Some(header.cipher);
        self.epoch = self.epoch.max(Some(header.epoch));
        if matches!(kind, FileKind::Wal | FileKind::Table | FileKind::Blob) {
            self.ecc = Some(header.ecc);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{Credential, CredentialKind};
    use crate::keyring::KdfCost;
    use crate::options::StoreOptions;
    use crate::tree::BlobTree;
    use coffer_engine::env::mem;

    #[test]
    fn a_store_is_described_without_a_key_while_it_is_open() {
        let env = mem::env();
        assert!(StoreInfo::read(&env).is_err());
        let options = StoreOptions {
            kdf: KdfCost::FLOOR,
            ..StoreOptions::default()
        };
        let credential = Credential::key_file(&[5; 32]);
        let tree = BlobTree::create(env.clone(), &credential, options).unwrap();
        tree.put(b"k", &[1; 100_000]).unwrap();
        tree.sync().unwrap();
        let info = StoreInfo::read(&env).unwrap();
        assert_eq!(info.store_id, tree.store_id());
        assert_eq!(
            (info.cipher, info.epoch),
            (Some(Cipher::Aes256Gcm), Some(1))
        );
        assert_eq!(info.ecc, Some(Ecc::DEFAULT_STORE));
        assert_eq!(info.keyring.slots[0].kind, CredentialKind::KeyFile);
        let blob = info
            .kinds
            .iter()
            .find(|info| info.kind == FileKind::Blob)
            .unwrap();
        assert_eq!(blob.count, 1);
        assert!(blob.len > 256 && info.len() > blob.len && !info.is_empty());
    }
}

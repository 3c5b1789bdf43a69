//! The epoch table as the engine sees it: a source of master keys.
//!
//! - Keys are wiped when the last file that uses them is closed.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use coffer_engine::crypto::{KeySource, MasterKey};
use coffer_engine::{Error, Result};

use crate::keyring::layout::{Epoch, Vault};

/// The master keys of a store.
pub(crate) struct StoreKeys {
    current: u32,
    masters: BTreeMap<u32, Arc<MasterKey>>,
}

impl StoreKeys {
    pub(super) fn new(vault: &Vault) -> Self {
        let key = |epoch: &Epoch| (epoch.epoch, Arc::new(MasterKey::new(*epoch.master)));
        Self {
            current: vault.current,
            masters: vault.epochs.iter().map(key).collect(),
        }
    }
}

impl KeySource for StoreKeys {
    fn epoch(&self) -> u32 {
        self.current
    }

    fn master(&self, epoch: u32) -> Result<Arc<MasterKey>> {
        let unknown = || Error::key_missing(format!("the keyring holds no key of epoch {epoch}"));
        self.masters.get(&epoch).cloned().ok_or_else(unknown)
    }
}

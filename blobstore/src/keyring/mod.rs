//! The keyring: credentials open slots, slots wrap the root key, the root key wraps everything else.
//!
//! - The newest authentic copy decides: a credential that only an older copy knows is refused.
//! - A forged copy costs no more than a whole one beside it that opens.
//! - A store always has at least one slot, and at most [`SLOT_COUNT`] are ever tried.
//! - A change raises the generation, is written to both copies one after the other, and each is read
//!   back and unwrapped before the next is touched.
//! - The root key never leaves this module; nothing here prints a secret.

mod change;
mod copies;
mod kdf;
mod keys;
mod layout;
mod open;
mod slot;
mod wrap;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use coffer_engine::env::Env;
use coffer_engine::{Error, Result, StoreId};
use zeroize::Zeroizing;

use crate::credentials::Credential;

pub(crate) use copies::{COPIES, CopyState, owner_of_copy, scrub_copies};
pub use kdf::KdfCost;
pub(crate) use keys::StoreKeys;
pub use layout::SLOT_COUNT;
pub use slot::SlotInfo;

use layout::{Content, Epoch, EpochState, SETTINGS_LEN_MAX, Vault};
use slot::{make_slot, slot_infos};
use wrap::Seal;

/// What a keyring says without a key; nothing of it is authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyringInfo {
    /// The store it belongs to.
    pub store_id: StoreId,
    /// Grows by one with each change.
    pub generation: u64,
    /// Version of the keyring format.
    pub format_version: u32,
    /// The slots in use.
    pub slots: Vec<SlotInfo>,
}

/// An opened keyring.
pub struct Keyring {
    content: Content,
    root: Zeroizing<[u8; 32]>,
    vault: Vault,
    opened_by: u8,
    stale_copies: bool,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Keyring({}, generation {})",
            self.content.store_id, self.content.generation
        )
    }
}

impl Keyring {
    /// Does the directory hold a copy of a keyring?
    ///
    /// # Errors
    /// Those of the medium.
    pub fn exists(env: &Env) -> Result<bool> {
        Ok(env.fs.list()?.iter().any(|id| COPIES.contains(id)))
    }

    /// Makes a new keyring with one slot, a fresh root key and epoch 1, and writes both copies.
    ///
    /// The caller holds the lock of the store and knows that the directory holds no store.
    ///
    /// # Errors
    /// `Invalid` for an unfit credential, cost or settings that are too long; those of the medium.
    pub(crate) fn create(
        env: &Env,
        store_id: StoreId,
        credential: &Credential,
        cost: KdfCost,
        settings: &[u8],
    ) -> Result<Self> {
        credential.validate()?;
        cost.validate()?;
        if settings.len() > SETTINGS_LEN_MAX {
            return Err(Error::invalid("settings are too long for the keyring"));
        }
        let root = random_key(env)?;
        let now = env.clock.now().as_secs();
        let epoch = Epoch {
            epoch: 1,
            state: EpochState::Active,
            created: now,
            master: random_key(env)?,
        };
        let vault = Vault {
            current: 1,
            epochs: vec![epoch],
            settings: settings.to_vec(),
        };
        let mut slots = [const { None }; SLOT_COUNT];
        slots[0] = Some(make_slot(env, store_id, 0, credential, cost, &root)?);
        let empty = Seal {
            salt: [0; 32],
            commitment: [0; 32],
            tag: [0; 16],
        };
        let content = Content {
            store_id,
            generation: 0,
            written: now,
            slots,
            vault_seal: empty,
            vault: Box::new([0; layout::VAULT_LEN]),
        };
        let mut keyring = Self {
            content,
            root,
            vault,
            opened_by: 0,
            stale_copies: false,
        };
        let slots = keyring.content.slots.clone();
        keyring.install(env, slots, Some((0, credential)))?;
        Ok(keyring)
    }

    /// What the keyring says without a key.
    ///
    /// # Errors
    /// `Corruption` where neither copy can be read, `Unsupported` for a newer format.
    pub fn inspect(env: &Env) -> Result<KeyringInfo> {
        let mut best: Option<Content> = None;
        let mut fault = None;
        for id in COPIES {
            match copies::read_copy(env, id).and_then(|copy| copy.image.decode()) {
                Ok(content) => {
                    if best
                        .as_ref()
                        .is_none_or(|best| best.generation < content.generation)
                    {
                        best = Some(content);
                    }
                }
                Err(error) => {
                    fault.get_or_insert(error);
                }
            }
        }
        match best {
            Some(content) => Ok(KeyringInfo {
                store_id: content.store_id,
                generation: content.generation,
                format_version: layout::FORMAT_VERSION,
                slots: slot_infos(&content),
            }),
            None => Err(fault.unwrap_or_else(|| Error::corruption("the keyring is missing"))),
        }
    }

    /// The slots in use.
    #[must_use]
    pub fn slots(&self) -> Vec<SlotInfo> {
        slot_infos(&self.content)
    }

    /// The slot that the credential opened.
    #[must_use]
    pub fn opened_by(&self) -> u8 {
        self.opened_by
    }

    /// The store it belongs to.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.content.store_id
    }

    /// Grows by one with each change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.content.generation
    }

    /// The settings given at creation, authenticated.
    pub(crate) fn settings(&self) -> &[u8] {
        &self.vault.settings
    }

    /// The master keys of all epochs.
    pub(crate) fn keys(&self) -> StoreKeys {
        StoreKeys::new(&self.vault)
    }

    fn mac_key(&self) -> Zeroizing<[u8; 32]> {
        mac_key(self.content.store_id, &self.root)
    }
}

fn random_key(env: &Env) -> Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    env.entropy.fill(key.as_mut_slice())?;
    Ok(key)
}

fn mac_key(store_id: StoreId, root: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let context = [b"coffer/1/keyring-mac".as_slice(), &store_id.0].concat();
    Zeroizing::new(wrap::derive(root, &[0; 32], &context)[0])
}

fn vault_context(store_id: StoreId, generation: u64) -> Vec<u8> {
    [
        b"coffer/1/vault".as_slice(),
        &store_id.0,
        &generation.to_le_bytes(),
    ]
    .concat()
}

fn open_vault(content: &Content, root: &[u8; 32]) -> Result<Vault> {
    let mut plain = Zeroizing::new(*content.vault);
    let context = vault_context(content.store_id, content.generation);
    if !wrap::unwrap(root, &content.vault_seal, &context, plain.as_mut_slice())? {
        return Err(Error::authentication("the epoch table was altered").part("keyring"));
    }
    Vault::decode(&plain)
}

#[cfg(test)]
mod tests;

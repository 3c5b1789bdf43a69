//! The bytes of a keyring: a fixed 4,096 with nothing to parse but fields at fixed places.
//!
//! - Every length is a constant: no byte from disk decides how much is read or allocated.
//! - Before its MAC is verified nothing of a keyring is believed but what a wrong guess cannot hurt.
//!
//! ```text
//!    0    8  magic "COFFERKR"
//!    8    4  format version
//!   12    4  zero
//!   16   16  store id
//!   32    8  generation
//!   40    8  written, seconds since 1970
//!   48   16  zero
//!   64 8*192  slots
//! 1600   32  vault salt
//! 1632   32  vault commitment
//! 1664   16  vault tag
//! 1680 2048  vault, sealed under the root key: epoch table and settings
//! 3728  320  zero
//! 4048   32  MAC over bytes 0..4048 under a key from the root key
//! 4080   16  XXH3-128 over bytes 0..4080
//! ```
//! Slot: kind 1, kdf 1, zero 2, memory KiB 4, passes 4, lanes 4, created 8, salt 32, commitment 32,
//! tag 16, wrapped root key 32, zero 56.
//! Vault: current epoch 4, epoch count 2, settings length 2, 32 epochs of 48 (epoch 4, state 1,
//! zero 3, created 8, master key 32), settings 504.

use alloc::boxed::Box;
use alloc::vec::Vec;

use coffer_engine::{Error, Result, StoreId};
use xxhash_rust::xxh3::xxh3_128;
use zeroize::{Zeroize, Zeroizing};

use crate::credentials::CredentialKind;
use crate::keyring::kdf::KdfCost;
use crate::keyring::wrap::Seal;

/// Bytes of one copy without its parity.
pub(super) const CONTENT_LEN: usize = 4096;
/// Slots of a keyring, and so the number of slots ever tried.
pub const SLOT_COUNT: usize = 8;
/// Epochs of a keyring.
pub(super) const EPOCH_COUNT_MAX: usize = 32;
/// Bytes of settings that a keyring can carry.
pub(super) const SETTINGS_LEN_MAX: usize = 504;
pub(super) const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"COFFERKR";
const SLOT_LEN: usize = 192;
pub(super) const VAULT_LEN: usize = 2048;
const EPOCH_LEN: usize = 48;
const MAC_OFFSET: usize = 4048;
const CHECKSUM_OFFSET: usize = 4080;
const KDF_ARGON2ID: u8 = 1;

const _: () = assert!(8 + EPOCH_COUNT_MAX * EPOCH_LEN + SETTINGS_LEN_MAX == VAULT_LEN);
const _: () = assert!(64 + SLOT_COUNT * SLOT_LEN + 80 + VAULT_LEN + 320 == MAC_OFFSET);

/// One wrapped root key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) kind: CredentialKind,
    pub(super) cost: KdfCost,
    pub(super) created: u64,
    pub(super) seal: Seal,
    pub(super) wrapped: [u8; 32],
}

/// All that a copy says, MAC and checksum apart.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) store_id: StoreId,
    pub(super) generation: u64,
    pub(super) written: u64,
    pub(super) slots: [Option<Slot>; SLOT_COUNT],
    pub(super) vault_seal: Seal,
    pub(super) vault: Box<[u8; VAULT_LEN]>,
}

/// The bytes of one copy, its checksum verified.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Image(pub(super) Box<[u8; CONTENT_LEN]>);

impl Image {
    /// Bytes whose checksum fits; `None` where it does not.
    pub(super) fn verify(bytes: &[u8]) -> Option<Self> {
        let bytes: Box<[u8; CONTENT_LEN]> = bytes.to_vec().try_into().ok()?;
        let (covered, checksum) = bytes.split_at(CHECKSUM_OFFSET);
        let fits = xxh3_128(covered).to_le_bytes() == checksum;
        fits.then_some(Self(bytes))
    }

    /// Is the MAC the one that `key` makes?
    pub(super) fn is_authentic(&self, key: &[u8; 32]) -> bool {
        let (covered, rest) = self.0.split_at(MAC_OFFSET);
        let mac = rest
            .first_chunk::<32>()
            .expect("48 bytes behind the MAC's offset");
        blake3::keyed_hash(key, covered) == blake3::Hash::from_bytes(*mac)
    }

    /// Takes the fields apart.
    ///
    /// # Errors
    /// `Corruption` for a foreign file, `Unsupported` for one from a newer version.
    pub(super) fn decode(&self) -> Result<Content> {
        let mut fields = Fields(self.0.as_slice());
        if fields.take() != MAGIC {
            return Err(Error::corruption("not a keyring of Coffer"));
        }
        let version = u32::from_le_bytes(fields.take());
        if version != FORMAT_VERSION {
            return Err(Error::unsupported(format!(
                "keyring of format version {version}; this build knows version {FORMAT_VERSION}"
            )));
        }
        fields.skip(4);
        let store_id = StoreId(fields.take());
        let generation = u64::from_le_bytes(fields.take());
        let written = u64::from_le_bytes(fields.take());
        fields.skip(16);
        let mut slots = [const { None }; SLOT_COUNT];
        for slot in &mut slots {
            *slot = Slot::decode(&mut fields)?;
        }
        let vault_seal = Seal {
            salt: fields.take(),
            commitment: fields.take(),
            tag: fields.take(),
        };
        Ok(Content {
            store_id,
            generation,
            written,
            slots,
            vault_seal,
            vault: Box::new(fields.take()),
        })
    }
}

impl Content {
    /// The bytes of a copy, with the MAC that `mac_key` makes.
    pub(super) fn encode(&self, mac_key: &[u8; 32]) -> Image {
        let mut out = Vec::with_capacity(CONTENT_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.store_id.0);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.written.to_le_bytes());
        out.extend_from_slice(&[0; 16]);
        for slot in &self.slots {
            let end = out.len() + SLOT_LEN;
            if let Some(slot) = slot {
                slot.encode(&mut out);
            }
            out.resize(end, 0);
        }
        put_seal(&self.vault_seal, &mut out);
        out.extend_from_slice(self.vault.as_slice());
        out.resize(MAC_OFFSET, 0);
        let mac = blake3::keyed_hash(mac_key, &out);
        out.extend_from_slice(mac.as_bytes());
        let checksum = xxh3_128(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        Image(
            out.try_into()
                .unwrap_or_else(|_| unreachable!("fields add up to the content")),
        )
    }
}

impl Slot {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.kind as u8, KDF_ARGON2ID, 0, 0]);
        out.extend_from_slice(&self.cost.memory_kib.to_le_bytes());
        out.extend_from_slice(&self.cost.passes.to_le_bytes());
        out.extend_from_slice(&self.cost.lanes.to_le_bytes());
        out.extend_from_slice(&self.created.to_le_bytes());
        put_seal(&self.seal, out);
        out.extend_from_slice(&self.wrapped);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Option<Self>> {
        let [kind, kdf, ..] = fields.take::<4>();
        let memory_kib = u32::from_le_bytes(fields.take());
        let passes = u32::from_le_bytes(fields.take());
        let lanes = u32::from_le_bytes(fields.take());
        let created = u64::from_le_bytes(fields.take());
        let seal = Seal {
            salt: fields.take(),
            commitment: fields.take(),
            tag: fields.take(),
        };
        let wrapped = fields.take();
        fields.skip(56);
        if kind == 0 {
            return Ok(None);
        }
        let (Some(kind), KDF_ARGON2ID) = (CredentialKind::from_byte(kind), kdf) else {
            return Err(Error::unsupported(
                "a slot of a kind that this build does not know",
            ));
        };
        Ok(Some(Self {
            kind,
            cost: KdfCost {
                memory_kib,
                passes,
                lanes,
            },
            created,
            seal,
            wrapped,
        }))
    }
}

fn put_seal(seal: &Seal, out: &mut Vec<u8>) {
    out.extend_from_slice(&seal.salt);
    out.extend_from_slice(&seal.commitment);
    out.extend_from_slice(&seal.tag);
}

/// Is an epoch's key still used for new files?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum EpochState {
    /// New files are sealed under it.
    Active = 1,
    /// Only files that exist already.
    Retired = 2,
}

/// One master key of the store.
#[derive(Clone)]
pub(super) struct Epoch {
    pub(super) epoch: u32,
    pub(super) state: EpochState,
    pub(super) created: u64,
    pub(super) master: Zeroizing<[u8; 32]>,
}

/// What the root key seals: the epoch table and the settings of the store.
#[derive(Clone)]
pub(super) struct Vault {
    pub(super) current: u32,
    pub(super) epochs: Vec<Epoch>,
    pub(super) settings: Vec<u8>,
}

impl Vault {
    pub(super) fn encode(&self) -> Zeroizing<[u8; VAULT_LEN]> {
        let mut out = Zeroizing::new(Vec::with_capacity(VAULT_LEN));
        let epoch_count = u16::try_from(self.epochs.len()).expect("bounded where epochs are added");
        let settings_len = u16::try_from(self.settings.len()).expect("bounded at creation");
        out.extend_from_slice(&self.current.to_le_bytes());
        out.extend_from_slice(&epoch_count.to_le_bytes());
        out.extend_from_slice(&settings_len.to_le_bytes());
        for epoch in &self.epochs {
            out.extend_from_slice(&epoch.epoch.to_le_bytes());
            out.extend_from_slice(&[epoch.state as u8, 0, 0, 0]);
            out.extend_from_slice(&epoch.created.to_le_bytes());
            out.extend_from_slice(epoch.master.as_slice());
        }
        out.resize(8 + EPOCH_COUNT_MAX * EPOCH_LEN, 0);
        out.extend_from_slice(&self.settings);
        out.resize(VAULT_LEN, 0);
        let mut plain = Zeroizing::new([0; VAULT_LEN]);
        plain.copy_from_slice(&out);
        plain
    }

    /// # Errors
    /// `Unsupported` for values of a newer version: these bytes were authenticated.
    pub(super) fn decode(plain: &[u8; VAULT_LEN]) -> Result<Self> {
        let unknown = || Error::unsupported("epoch table of a newer version").part("keyring");
        let mut fields = Fields(plain.as_slice());
        let current = u32::from_le_bytes(fields.take());
        let epoch_count = usize::from(u16::from_le_bytes(fields.take()));
        let settings_len = usize::from(u16::from_le_bytes(fields.take()));
        let mut epochs = Vec::new();
        for index in 0..EPOCH_COUNT_MAX {
            let epoch = u32::from_le_bytes(fields.take());
            let [state, ..] = fields.take::<4>();
            let created = u64::from_le_bytes(fields.take());
            let mut master = fields.take::<32>();
            if index < epoch_count {
                let state = match state {
                    1 => EpochState::Active,
                    2 => EpochState::Retired,
                    _ => return Err(unknown()),
                };
                let master = Zeroizing::new(core::mem::take(&mut master));
                epochs.push(Epoch {
                    epoch,
                    state,
                    created,
                    master,
                });
            }
            master.zeroize();
        }
        let settings = fields.0.get(..settings_len).ok_or_else(unknown)?.to_vec();
        if epoch_count > EPOCH_COUNT_MAX || !epochs.iter().any(|epoch| epoch.epoch == current) {
            return Err(unknown());
        }
        Ok(Self {
            current,
            epochs,
            settings,
        })
    }
}

/// Reads fields one after the other from bytes of a constant length.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self
            .0
            .split_first_chunk()
            .expect("fields add up to the content");
        self.0 = rest;
        *field
    }

    fn skip(&mut self, len: usize) {
        self.0 = self.0.get(len..).expect("fields add up to the content");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Content {
        let seal = Seal {
            salt: [1; 32],
            commitment: [2; 32],
            tag: [3; 16],
        };
        let slot = Slot {
            kind: CredentialKind::KeyFile,
            cost: KdfCost::FLOOR,
            created: 77,
            seal,
            wrapped: [4; 32],
        };
        Content {
            store_id: StoreId([5; 16]),
            generation: 6,
            written: 7,
            slots: [
                None,
                Some(slot.clone()),
                None,
                None,
                None,
                None,
                None,
                Some(slot),
            ],
            vault_seal: seal,
            vault: Box::new([8; VAULT_LEN]),
        }
    }

    #[test]
    fn content_round_trips_and_every_byte_is_covered() {
        let key = [9; 32];
        let image = sample().encode(&key);
        assert!(image.is_authentic(&key));
        assert!(!image.is_authentic(&[8; 32]));
        assert!(Image::verify(image.0.as_slice()).unwrap().decode().unwrap() == sample());
        for offset in 0..CONTENT_LEN {
            let mut bytes = image.0.clone();
            bytes[offset] ^= 0x40;
            assert!(Image::verify(bytes.as_slice()).is_none(), "byte {offset}");
            if offset < CHECKSUM_OFFSET {
                assert!(!Image(bytes).is_authentic(&key), "byte {offset}");
            }
        }
    }

    #[test]
    fn hostile_fields_end_in_an_error_or_a_value() {
        let image = sample().encode(&[9; 32]);
        for offset in 0..MAC_OFFSET {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = image.0.clone();
                bytes[offset] = value;
                let _ = Image(bytes).decode();
            }
        }
    }

    #[test]
    fn vault_round_trips_and_refuses_nonsense() {
        let epoch = |epoch, state| Epoch {
            epoch,
            state,
            created: 9,
            master: [7; 32].into(),
        };
        let vault = Vault {
            current: 2,
            epochs: vec![epoch(1, EpochState::Retired), epoch(2, EpochState::Active)],
            settings: vec![1, 2, 3],
        };
        let plain = vault.encode();
        let back = Vault::decode(&plain).unwrap();
        assert_eq!(
            (back.current, back.epochs.len(), back.settings),
            (2, 2, vec![1, 2, 3])
        );
        assert_eq!(back.epochs[1].state, EpochState::Active);
        for (offset, value) in [(0, 9), (4, 33), (5, 1), (7, 2), (12, 3)] {
            let mut plain = plain.clone();
            plain[offset] = value;
            assert!(Vault::decode(&plain).is_err(), "byte {offset}");
        }
    }
}

//! One slot: a credential, stretched, wraps the root key.
//!
//! - The cost of the key derivation is checked before it is paid.
//! - Store, number, kind and cost are bound by the wrap: a slot opens only where it was made.

use alloc::vec::Vec;

use coffer_engine::env::Env;
use coffer_engine::{Error, ErrorKind, Result, StoreId};
use zeroize::Zeroizing;

use crate::credentials::{Credential, CredentialKind};
use crate::keyring::kdf::{self, KdfCost, Stretch};
use crate::keyring::layout::{Content, Slot};
use crate::keyring::wrap;

/// What can be said of a slot without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// Number of the slot.
    pub number: u8,
    /// What opens it.
    pub kind: CredentialKind,
    /// Cost of its key derivation.
    pub cost: KdfCost,
    /// When it was made, in seconds since 1970.
    pub created: u64,
}

/// The slots in use.
pub(super) fn slot_infos(content: &Content) -> Vec<SlotInfo> {
    let info = |(number, slot): (u8, &Option<Slot>)| {
        slot.as_ref().map(|slot| SlotInfo {
            number,
            kind: slot.kind,
            cost: slot.cost,
            created: slot.created,
        })
    };
    (0..).zip(&content.slots).filter_map(info).collect()
}

fn slot_context(store_id: StoreId, number: u8, kind: CredentialKind, cost: KdfCost) -> Vec<u8> {
    let mut context = [
        b"coffer/1/slot".as_slice(),
        &store_id.0,
        &[number, kind as u8],
    ]
    .concat();
    for part in [cost.memory_kib, cost.passes, cost.lanes] {
        context.extend_from_slice(&part.to_le_bytes());
    }
    context
}

/// Wraps `root` in slot `number` for `credential`.
///
/// # Errors
/// `Invalid` for a cost out of bounds; those of the entropy.
pub(super) fn make_slot(
    env: &Env,
    store_id: StoreId,
    number: u8,
    credential: &Credential,
    cost: KdfCost,
    root: &[u8; 32],
) -> Result<Slot> {
    let mut salt = [0; 32];
    env.entropy.fill(&mut salt)?;
    let kind = credential.kind();
    let stretched = kdf::stretch(credential, &salt, cost)?;
    let mut wrapped = *root;
    let context = slot_context(store_id, number, kind, cost);
    let seal = wrap::wrap(stretched.as_slice(), salt, &context, &mut wrapped);
    Ok(Slot {
        kind,
        cost,
        created: env.clock.now().as_secs(),
        seal,
        wrapped,
    })
}

/// `None` where the credential does not fit the slot; `stretch` is [`kdf::stretch`], or counts.
///
/// # Errors
/// `Authentication` where the slot was altered.
pub(super) fn open_slot(
    store_id: StoreId,
    number: u8,
    slot: &Slot,
    credential: &Credential,
    stretch: &mut Stretch<'_>,
) -> Result<Option<Zeroizing<[u8; 32]>>> {
    if slot.cost.validate().is_err() {
        return Err(Error::new(
            ErrorKind::Authentication,
            format!("the key derivation cost of slot {number} is out of bounds: it was altered"),
        )
        .part("keyring"));
    }
    let stretched = stretch(credential, &slot.seal.salt, slot.cost)?;
    let context = slot_context(store_id, number, slot.kind, slot.cost);
    let mut root = Zeroizing::new(slot.wrapped);
    let fits = wrap::unwrap(
        stretched.as_slice(),
        &slot.seal,
        &context,
        root.as_mut_slice(),
    )?;
    Ok(fits.then_some(root))
}

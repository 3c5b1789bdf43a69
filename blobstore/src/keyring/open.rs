//! Opening: which of the two copies counts, and what may be computed to learn it.
//!
//! - The cheaper copy is tried first: beside a copy that opens, another can at most double the work.
//! - Once a copy opens, its MAC key judges the other one; only a newer one that is authentic is
//!   stretched as well, and then that one counts, whether the credential opens it or not.

use alloc::vec::Vec;
use core::cmp::Reverse;

use coffer_engine::env::Env;
use coffer_engine::{Error, ErrorKind, Result};

use crate::credentials::{Credential, CredentialKind};
use crate::keyring::kdf::{self, Stretch};
use crate::keyring::layout::Image;
use crate::keyring::slot::open_slot;
use crate::keyring::{COPIES, Keyring, copies, mac_key, open_vault};

impl Keyring {
    /// Opens the keyring of the store in `env`.
    ///
    /// # Errors
    /// `Authentication` for a wrong credential, an altered or weakened keyring, and a credential that
    /// was removed; `Corruption` where neither copy can be read; `Unsupported` for a newer format.
    pub fn open(env: &Env, credential: &Credential) -> Result<Self> {
        Self::open_by(env, credential, &mut kdf::stretch)
    }

    /// As [`Keyring::open`], with another key derivation.
    pub(super) fn open_by(
        env: &Env,
        credential: &Credential,
        stretch: &mut Stretch<'_>,
    ) -> Result<Self> {
        let mut images: Vec<Image> = Vec::new();
        let mut stale_copies = false;
        let mut first_fault = None;
        for id in COPIES {
            match copies::read_copy(env, id) {
                Ok(copy) => {
                    stale_copies |= copy.healed;
                    if !images.contains(&copy.image) {
                        images.push(copy.image);
                    }
                }
                Err(error) => {
                    stale_copies = true;
                    first_fault.get_or_insert(error);
                }
            }
        }
        stale_copies |= images.len() > 1;
        images.sort_by_key(|image| order(image, credential.kind()));
        let mut refused = None;
        for (index, image) in images.iter().enumerate() {
            match Self::open_image(image, credential, stretch) {
                Ok(keyring) => {
                    let (tried, untried) = images.split_at(index);
                    keyring.refuse_older(tried)?;
                    let mut keyring = keyring.or_newer(untried, credential, stretch)?;
                    keyring.stale_copies = stale_copies;
                    return Ok(keyring);
                }
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
        }
        Err(refused
            .or(first_fault)
            .unwrap_or_else(|| Error::corruption("the keyring is missing")))
    }

    fn open_image(
        image: &Image,
        credential: &Credential,
        stretch: &mut Stretch<'_>,
    ) -> Result<Self> {
        let content = image.decode()?;
        let kind = credential.kind();
        for (number, slot) in (0..).zip(&content.slots) {
            let Some(slot) = slot.as_ref().filter(|slot| slot.kind == kind) else {
                continue;
            };
            let Some(root) = open_slot(content.store_id, number, slot, credential, stretch)? else {
                continue;
            };
            if !image.is_authentic(&mac_key(content.store_id, &root)) {
                return Err(Error::authentication("the keyring was altered").part("keyring"));
            }
            let vault = open_vault(&content, &root)?;
            return Ok(Self {
                content,
                root,
                vault,
                opened_by: number,
                stale_copies: false,
            });
        }
        Err(Error::authentication(format!(
            "no slot of the keyring opens with this {}",
            kind.word()
        )))
    }

    /// Is the image of this store, and newer?
    fn is_older_than(&self, image: &Image) -> Result<bool> {
        Ok(image.is_authentic(&self.mac_key())
            && image.decode()?.generation > self.content.generation)
    }

    /// A newer copy among those that the credential did not open means that it was removed.
    fn refuse_older(&self, tried: &[Image]) -> Result<()> {
        for image in tried {
            if self.is_older_than(image)? {
                return Err(only_older());
            }
        }
        Ok(())
    }

    /// The newer copy among those not tried yet, if there is one.
    fn or_newer(
        self,
        untried: &[Image],
        credential: &Credential,
        stretch: &mut Stretch<'_>,
    ) -> Result<Self> {
        let mut best = self;
        for image in untried {
            if best.is_older_than(image)? {
                best = Self::open_image(image, credential, stretch).map_err(|error| match error
                    .kind()
                {
                    ErrorKind::Authentication => only_older(),
                    _ => error,
                })?;
            }
        }
        Ok(best)
    }
}

fn only_older() -> Error {
    Error::authentication(
        "this credential opens only an older copy of the keyring: it was changed or removed",
    )
}

/// Cheapest first, and of two that cost the same the newest; nothing of it is authenticated.
fn order(image: &Image, kind: CredentialKind) -> (u64, Reverse<u64>) {
    let Ok(content) = image.decode() else {
        return (u64::MAX, Reverse(0));
    };
    let tried = content.slots.iter().flatten();
    let work = tried
        .filter(|slot| slot.kind == kind)
        .fold(0, |sum: u64, slot| sum.saturating_add(slot.cost.work()));
    (work, Reverse(content.generation))
}

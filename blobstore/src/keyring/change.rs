//! Changing an opened keyring: each change is one more generation, written to both copies.
//!
//! - A copy is read back, and unwrapped with the credential just added, before the next one is touched.
//! - The last slot is never removed. Where a change fails, the object says what it said before.

use alloc::boxed::Box;

use coffer_engine::env::Env;
use coffer_engine::{Error, Result};

use crate::credentials::Credential;
use crate::keyring::layout::{Content, Image, SLOT_COUNT, Slot};
use crate::keyring::slot::{make_slot, open_slot};
use crate::keyring::{COPIES, KdfCost, Keyring, copies, kdf, open_vault, vault_context, wrap};

impl Keyring {
    /// Adds a slot for `credential` and returns its number.
    ///
    /// # Errors
    /// `Invalid` where all slots are in use or the credential is unfit, `Locked` while another
    /// process holds the store; those of the medium, after which both copies still open.
    pub fn add(&mut self, env: &Env, credential: &Credential, cost: KdfCost) -> Result<u8> {
        let free = self
            .content
            .slots
            .iter()
            .position(Option::is_none)
            .ok_or_else(|| {
                Error::invalid(format!(
                    "all {SLOT_COUNT} slots are in use; remove one first"
                ))
            })?;
        let number = u8::try_from(free).expect("few slots");
        self.replace_slot(env, number, credential, cost)?;
        Ok(number)
    }

    /// Puts `credential` in the place of the slot that opened this keyring.
    ///
    /// # Errors
    /// As [`Keyring::add`].
    pub fn change(&mut self, env: &Env, credential: &Credential, cost: KdfCost) -> Result<()> {
        self.replace_slot(env, self.opened_by, credential, cost)
    }

    /// Removes slot `number`.
    ///
    /// # Errors
    /// `Invalid` for an empty slot and for the last one, `Locked` while another process holds the
    /// store; those of the medium.
    pub fn remove(&mut self, env: &Env, number: u8) -> Result<()> {
        let mut slots = self.content.slots.clone();
        let slot = slots
            .get_mut(usize::from(number))
            .filter(|slot| slot.is_some());
        let Some(slot) = slot else {
            return Err(Error::invalid(format!("slot {number} is not in use")));
        };
        *slot = None;
        if slots.iter().all(Option::is_none) {
            return Err(Error::invalid(
                "this is the last slot; without it nobody could open the store again",
            ));
        }
        let _lock = env.fs.lock()?;
        self.refuse_if_changed(env)?;
        self.install(env, slots, None)
    }

    /// Writes both copies anew where one of them was damaged, missing or older.
    ///
    /// The caller holds the lock of the store.
    ///
    /// # Errors
    /// Those of the medium.
    pub(crate) fn heal(&mut self, env: &Env) -> Result<()> {
        if self.stale_copies {
            self.write_copies(env, None)?;
        }
        Ok(())
    }

    fn replace_slot(
        &mut self,
        env: &Env,
        number: u8,
        credential: &Credential,
        cost: KdfCost,
    ) -> Result<()> {
        credential.validate()?;
        cost.validate()?;
        let _lock = env.fs.lock()?;
        self.refuse_if_changed(env)?;
        let slot = make_slot(
            env,
            self.content.store_id,
            number,
            credential,
            cost,
            &self.root,
        )?;
        let mut slots = self.content.slots.clone();
        slots[usize::from(number)] = Some(slot);
        self.install(env, slots, Some((number, credential)))
    }

    /// Makes the next generation of `slots` and writes it; on an error the object stays as it was.
    pub(super) fn install(
        &mut self,
        env: &Env,
        slots: [Option<Slot>; SLOT_COUNT],
        test: Option<(u8, &Credential)>,
    ) -> Result<()> {
        let generation = self.content.generation + 1;
        let mut salt = [0; 32];
        env.entropy.fill(&mut salt)?;
        let mut vault = self.vault.encode();
        let context = vault_context(self.content.store_id, generation);
        let vault_seal = wrap::wrap(self.root.as_slice(), salt, &context, vault.as_mut_slice());
        let content = Content {
            store_id: self.content.store_id,
            generation,
            written: env.clock.now().as_secs(),
            slots,
            vault_seal,
            vault: Box::new(*vault),
        };
        let before = core::mem::replace(&mut self.content, content);
        let written = self.write_copies(env, test);
        if written.is_err() {
            self.content = before;
        }
        written
    }

    fn write_copies(&mut self, env: &Env, test: Option<(u8, &Credential)>) -> Result<()> {
        let image = self.content.encode(&self.mac_key());
        for id in COPIES {
            copies::write_copy(env, id, &image, &mut |image| self.test_unwrap(image, test))?;
        }
        self.stale_copies = false;
        Ok(())
    }

    /// Would this image open, with the credential just added and with the root key?
    fn test_unwrap(&self, image: &Image, test: Option<(u8, &Credential)>) -> Result<()> {
        let wrong = || Error::io("the keyring just written does not open").part("keyring");
        let content = image.decode()?;
        if !image.is_authentic(&self.mac_key()) {
            return Err(wrong());
        }
        open_vault(&content, &self.root)?;
        if let Some((number, credential)) = test {
            let slot = content.slots[usize::from(number)]
                .as_ref()
                .ok_or_else(wrong)?;
            let root = open_slot(
                content.store_id,
                number,
                slot,
                credential,
                &mut kdf::stretch,
            )?
            .ok_or_else(wrong)?;
            if root != self.root {
                return Err(wrong());
            }
        }
        Ok(())
    }

    /// Did somebody change the keyring since this one was opened?
    ///
    /// The caller holds the lock of the store.
    ///
    /// # Errors
    /// `Invalid` where a newer authentic copy is there.
    pub(crate) fn refuse_if_changed(&self, env: &Env) -> Result<()> {
        let key = self.mac_key();
        let copies = COPIES.map(|id| copies::read_copy(env, id));
        for image in copies.into_iter().flatten().map(|copy| copy.image) {
            if image.is_authentic(&key) && image.decode()?.generation > self.content.generation {
                return Err(Error::invalid(
                    "the keyring changed meanwhile; open it again",
                ));
            }
        }
        Ok(())
    }
}

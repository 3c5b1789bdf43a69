//! `key`: what opens a store.
//!
//! - What is stored stays as it is: only the keyring changes, in both copies, one after the other.
//! - The store learns of the change at once, so that the key file of before is refused when it is put
//!   back; a keyring that the store refuses already is not changed.

use std::path::Path;

use coffer_blobstore::env::Env;
use coffer_blobstore::{
    BlobTree, CredentialKind, Error, ErrorKind, Keyring, OpenOptions, SlotInfo,
};
use serde::Serialize;

use super::init::kdf_cost;
use crate::args::{KeyAdd, KeyCommand, KeyRemove, OneStore};
use crate::failure::{Failure, Outcome};
use crate::moment::rfc3339;
use crate::store;
use crate::terminal::{Results, human_len, note};

/// What no change of the keyring reaches.
const OLD_COPIES: &str =
    "an old copy of the store, where there is one, still opens with the old secret";

/// One slot, as `key list --json` and `info --json` show it. The keys are stable.
#[derive(Serialize)]
pub(super) struct SlotEntry {
    slot: u8,
    kind: &'static str,
    created: String,
    kdf: KdfEntry,
}

#[derive(Serialize)]
struct KdfEntry {
    algorithm: &'static str,
    memory_len: u64,
    passes: u32,
    lanes: u32,
}

impl SlotEntry {
    pub(super) fn new(slot: &SlotInfo) -> Self {
        Self {
            slot: slot.number,
            kind: match slot.kind {
                CredentialKind::Passphrase => "passphrase",
                CredentialKind::KeyFile => "key-file",
            },
            created: rfc3339(i64::try_from(slot.created).unwrap_or(0), None),
            kdf: KdfEntry {
                algorithm: "argon2id",
                memory_len: u64::from(slot.cost.memory_kib) << 10,
                passes: slot.cost.passes,
                lanes: slot.cost.lanes,
            },
        }
    }

    pub(super) fn line(&self) -> String {
        format!(
            "slot {}  {:10}  made {}  argon2id {}, {} passes, {} lanes",
            self.slot,
            self.kind,
            self.created,
            human_len(self.kdf.memory_len),
            self.kdf.passes,
            self.kdf.lanes
        )
    }
}

pub(crate) fn key(command: &KeyCommand, quiet: bool) -> Outcome {
    match command {
        KeyCommand::List { json, store } => list(store, *json),
        KeyCommand::Add(args) => add(args, quiet),
        KeyCommand::Change(args) => change(args, quiet),
        KeyCommand::Remove(args) => remove(args, quiet),
    }
}

fn list(store: &Path, json: bool) -> Outcome {
    let env = store::env(store)?;
    store::keyring_is_there(&env, store)?;
    let failed = |error| {
        Failure::from(error)
            .context(store.display())
            .of_store(store)
    };
    let info = Keyring::inspect(&env).map_err(failed)?;
    let slots: Vec<_> = info.slots.iter().map(SlotEntry::new).collect();
    let mut results = Results::new();
    if json {
        results.json(&slots)?;
    } else {
        for slot in &slots {
            results.line(slot.line())?;
        }
    }
    results.finish()
}

/// Opens the keyring, lets it be changed and makes the store know the newest one.
fn edit(at: &OneStore, change: impl FnOnce(&Env, &mut Keyring) -> Outcome) -> Outcome {
    let (env, mut keyring) = store::open_keyring(&at.store, &at.secrets)?;
    // One that was put back must not become the newest by being changed. A store that is damaged is
    // no reason to keep a secret that others know.
    if let Err(error) = make_known(&env, &mut keyring)
        && error.kind() == ErrorKind::Authentication
    {
        return Err(store::cannot_open(&at.store, error));
    }
    change(&env, &mut keyring)?;
    if let Err(error) = make_known(&env, &mut keyring) {
        note(format_args!(
            "the store cannot be opened and does not know of this ({error}): open it once, until then \
             it takes the old key file for the newest where somebody puts it back"
        ));
    }
    Ok(())
}

/// Opens the store, which remembers the generation of its keyring.
fn make_known(env: &Env, keyring: &mut Keyring) -> Result<(), Error> {
    let opening = OpenOptions {
        background: false,
        ..OpenOptions::default()
    };
    BlobTree::open_with_keyring(env.clone(), keyring, &opening)?.close()
}

fn add(args: &KeyAdd, quiet: bool) -> Outcome {
    edit(&args.at, |env, keyring| {
        let cost = kdf_cost(&args.kdf)?;
        let credential = args.new.credential(&args.at.store)?;
        let number = keyring.add(env, &credential, cost)?;
        if !quiet {
            note(format_args!("slot {number} opens the store now too"));
        }
        Ok(())
    })
}

fn change(args: &KeyAdd, quiet: bool) -> Outcome {
    edit(&args.at, |env, keyring| {
        let cost = kdf_cost(&args.kdf)?;
        let credential = args.new.credential(&args.at.store)?;
        let number = keyring.opened_by();
        keyring.change(env, &credential, cost)?;
        if !quiet {
            note(format_args!("slot {number} is changed"));
            note(OLD_COPIES);
        }
        Ok(())
    })
}

fn remove(args: &KeyRemove, quiet: bool) -> Outcome {
    edit(&args.at, |env, keyring| {
        let number = args.slot.unwrap_or_else(|| keyring.opened_by());
        keyring.remove(env, number)?;
        if !quiet {
            note(format_args!("slot {number} is removed"));
            note(OLD_COPIES);
        }
        Ok(())
    })
}

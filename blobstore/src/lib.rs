//! The key-value separated blob tree of Coffer: keyring, blob files, range reads, garbage collection.
#![allow(
    dead_code,
    unused_imports,
    reason = "the tree over the engine comes next"
)]

extern crate alloc;

mod blobfile;
mod credentials;
mod garbage;
mod keyring;
mod options;
mod pointer;
mod scratch;
mod stub;

pub use credentials::{Credential, CredentialKind};
pub use keyring::{KdfCost, Keyring, KeyringInfo, SlotInfo};
pub use options::{OpenOptions, StoreOptions};
pub use stub::*;

//! The key-value separated blob tree of Coffer: keyring, blob files, range reads, garbage collection.
//!
//! - A module imports only modules above it in the floors of `docs/ARCHITECTURE.md`.
//! - Everything outside comes through `coffer_engine::env::Env`.

extern crate alloc;

mod blobfile;
mod credentials;
mod garbage;
mod hook;
mod info;
mod keyring;
mod options;
mod pins;
mod pointer;
mod scratch;
mod scrub;
mod tree;

pub use blobfile::Effort;
pub use coffer_engine::{BlockTransform, Cipher, Compression, Ecc, KvProtection, Preset};
pub use coffer_engine::{Error, ErrorKind, FileId, FileKind, Place, Progress, Result, Stats};
pub use coffer_engine::{StoreId, Work, env};
pub use credentials::{CREDENTIAL_LEN_MAX, Credential, CredentialKind, KEY_FILE_LEN_MIN};
pub use info::{KindInfo, StoreInfo};
pub use keyring::{KdfCost, Keyring, KeyringInfo, SLOT_COUNT, SlotInfo};
pub use options::{OpenOptions, StoreOptions};
pub use scrub::{FileReport, ScrubProgress, ScrubReport, Stretch, scrub};
pub use tree::{BlobBatch, BlobTree, Garbage, Scan, Staged, TreeSnapshot, ValueRef, VerifyReport};

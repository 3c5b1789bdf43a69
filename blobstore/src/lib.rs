//! The key-value separated blob tree of Coffer: keyring, blob files, range reads, garbage collection.
//!
//! - A module imports only modules above it in the floors of `docs/ARCHITECTURE.md`.
//! - Everything outside comes through `coffer_engine::env::Env`.
//!
//! ```
//! use coffer_blobstore::{BlobTree, Credential, KdfCost, OpenOptions, StoreOptions, env};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::tempdir()?;
//! # let directory = home.path();
//! let passphrase = Credential::passphrase(b"correct horse battery staple");
//! // The least cost, for examples and tests: leave `kdf` out where the passphrase counts.
//! let options = StoreOptions { kdf: KdfCost::FLOOR, ..StoreOptions::default() };
//! let tree = BlobTree::create(env::os::env(directory)?, &passphrase, options)?;
//! tree.put(b"photos/1", &[7; 1 << 20])?;
//! tree.sync()?; // Now it survives a power cut.
//! tree.close()?;
//!
//! let tree = BlobTree::open(env::os::env(directory)?, &passphrase, &OpenOptions::default())?;
//! assert_eq!(tree.get_range(b"photos/1", 100, 3)?, Some(vec![7; 3]));
//! assert_eq!(tree.get(b"photos/2")?, None);
//! tree.close()?;
//! # Ok(())
//! # }
//! ```

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
pub use tree::{BlobBatch, BlobTree, Garbage, Scan, Staged, TreeSnapshot, ValueRef, ValueView};
pub use tree::{SharedValue, VerifyReport, Window};

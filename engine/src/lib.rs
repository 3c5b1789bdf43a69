//! The LSM engine of Coffer: sealed blocks, log, memtable, tables, manifest, compaction.
//!
//! - `no_std` with `alloc`; everything outside comes through [`env::Env`].
//! - A module imports only modules above it in the floors of `docs/ARCHITECTURE.md`.
#![no_std]

extern crate alloc;

pub mod block;
pub mod checksum;
pub mod codec;
pub mod compress;
pub mod crypto;
pub mod ecc;
pub mod env;
mod error;
pub mod file;
pub mod log;
mod options;
pub mod sync;
mod types;

pub use error::{Error, ErrorKind, Place, Result};
pub use options::{BlockTransform, Cipher, Compression, Ecc, KvProtection, Options, Preset};
pub use types::{FileId, FileKind, KeyKind, SEQNO_MAX, SeqNo, StoreId};

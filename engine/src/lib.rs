//! The LSM engine of Coffer: sealed blocks, log, memtable, tables, manifest, compaction.
//!
//! - `no_std` with `alloc`; everything outside comes through [`env::Env`].
//! - A module imports only modules above it in the floors of `docs/ARCHITECTURE.md`.
#![no_std]

extern crate alloc;

mod batch;
pub mod block;
mod cache;
pub mod checksum;
pub mod codec;
mod compaction;
pub mod compress;
pub mod crypto;
mod cursor;
mod db;
pub mod ecc;
mod entry;
pub mod env;
mod error;
pub mod file;
mod filter;
mod hook;
pub mod log;
mod manifest;
mod memtable;
mod options;
pub mod stats;
pub mod sync;
mod table;
mod types;
mod version;
mod wal;

pub use batch::WriteBatch;
pub use cursor::Cursor;
pub use db::{Db, LiveFile, Progress, Snapshot, Work, WriteOptions};
pub use entry::{Entry, Value};
pub use error::{Error, ErrorKind, Place, Result};
pub use hook::{IndirectHook, IndirectSession};
pub use options::{BlockTransform, Cipher, Compression, Ecc, KvProtection, Options, Preset};
pub use stats::Stats;
pub use types::{FileId, FileKind, KeyKind, SeqNo, StoreId};
pub use version::AnnexUpdates;

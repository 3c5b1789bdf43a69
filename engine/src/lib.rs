//! The LSM engine of Coffer: sealed blocks, log, memtable, tables, manifest, compaction.
//!
//! - `no_std` with `alloc`; everything outside comes through [`env::Env`].
//! - A module imports only modules above it in the floors of `docs/ARCHITECTURE.md`.
//!
//! This is the map alone: small values, no keyring. Encryption needs a
//! [`KeySource`](crypto::KeySource); `coffer-blobstore` brings one, and values of any length.
//!
//! ```
//! use coffer_engine::crypto::NoKeys;
//! use coffer_engine::{Db, Options, StoreId, WriteBatch, WriteOptions, env};
//! use std::sync::Arc;
//!
//! # fn main() -> coffer_engine::Result<()> {
//! // In memory; `env::os::env(path)` is a directory.
//! let db = Db::open(env::mem::env(), Arc::new(NoKeys), StoreId([1; 16]), Options::default(), None)?;
//! let mut batch = WriteBatch::new();
//! batch.put(b"a", b"1");
//! batch.put(b"b", b"2");
//! db.write(batch, WriteOptions { sync: true })?;
//! assert_eq!(db.get(b"a", None)?.map(|value| value.bytes), Some(b"1".to_vec()));
//! db.maintain()?; // One piece of work, flush or compaction: there is no hidden thread.
//! db.close()?;
//! # Ok(())
//! # }
//! ```
#![no_std]

extern crate alloc;

mod batch;
pub mod block;
pub mod cache;
pub mod checksum;
pub mod codec;
mod compaction;
pub mod compress;
pub mod crypto;
pub mod cursor;
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
pub mod repair;
pub mod stats;
pub mod sync;
mod table;
mod tombstone;
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

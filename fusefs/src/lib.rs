//! The POSIX namespace of Coffer over a blob tree, and its FUSE adapter.
//!
//! - [`FileSystem`] knows POSIX and no FUSE; the adapter unpacks requests, calls it and replies.
//! - A module imports only modules above it in the floors of `docs/ARCHITECTURE.md`.

extern crate alloc;

pub mod attr;
mod buffer;
mod cache;
mod errno;
mod extent;
mod filesystem;
mod inode;
mod key;
mod ledger;
mod options;
pub mod path;
mod pool;
mod record;
mod sync;
mod system;
mod table;
mod view;
mod volume;

pub use errno::{Errno, FsError, FsResult};
pub use filesystem::FileSystem;
pub use options::{Atime, MountOptions};
pub use view::ReadData;

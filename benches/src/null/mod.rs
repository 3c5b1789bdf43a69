//! A file system that keeps everything in memory and forgets it: what FUSE itself costs.
//!
//! Promises nothing, checks no permissions (the kernel does), and loses all at unmount. It asks the
//! kernel for every cache that a sole owner of its data may ask for, so it is the floor for Coffer.

mod adapter;
mod nodes;

use std::path::Path;

use fuser::{Config, MountOption, Session};

use crate::failure::{Context, Outcome};

/// Mounts at `point` and serves until it is unmounted.
///
/// # Errors
/// When it cannot be mounted.
pub fn serve(point: &Path) -> Outcome<()> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("null".into()),
        MountOption::Subtype("null".into()),
        MountOption::DefaultPermissions,
    ];
    // As many as Coffer has.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    config.n_threads = Some((cores + 1).clamp(2, 4));
    config.clone_fd = true;
    let session = Session::new(adapter::Null::default(), point, &config);
    session
        .context(point.display())?
        .run()
        .context(point.display())
}

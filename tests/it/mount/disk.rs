//! A small disk of its own, for a store that is to fill it.

use coffer_tests::process::{Mounted, is_mounted, limited, must};
use std::path::PathBuf;

/// A file system in memory, taken down in the end.
pub(super) struct SmallDisk {
    point: PathBuf,
    _home: tempfile::TempDir,
}

impl SmallDisk {
    /// A disk of so many MiB, and a new store on it, mounted.
    pub(super) fn new(len_mib: u32) -> (Self, Mounted) {
        let home = tempfile::tempdir().unwrap();
        let point = home.path().join("disk");
        std::fs::create_dir(&point).unwrap();
        let disk = Self { point, _home: home };
        let mut tmpfs = limited(20, "mount");
        let options = format!("size={len_mib}m");
        tmpfs.args(["-t", "tmpfs", "-o", &options, "none"]);
        must(tmpfs.arg(&disk.point));
        let mut mounted = Mounted::at(disk._home.path());
        let store = disk.point.join("store");
        std::fs::create_dir(&store).unwrap();
        std::os::unix::fs::symlink(store, mounted.store()).unwrap();
        mounted.create(&[]);
        (disk, mounted)
    }

    /// Gives the disk another length.
    pub(super) fn resize(&self, len_mib: u32) {
        assert!(is_mounted(&self.point));
        let mut tmpfs = limited(20, "mount");
        tmpfs.args(["-o", &format!("remount,size={len_mib}m")]);
        must(tmpfs.arg(&self.point));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = limited(20, "umount").arg("-l").arg(&self.point).status();
    }
}

//! The ends of a mount that nobody planned: all that was written is there afterwards, or the exit
//! code says that it is not.

use super::disk::SmallDisk;
use coffer_tests::process::{Mounted, detach, is_mounted, limited, must};
use coffer_tests::random::Rng;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// The exit code that says: not everything could be written.
const NOT_WRITTEN: i32 = 8;

/// Files with content that nobody synced.
fn fill(mounted: &Mounted, seed: u64) -> Vec<(PathBuf, Vec<u8>)> {
    let mut rng = Rng::new(seed);
    let files = (0..20).map(|index| {
        let path = mounted.path(&format!("file-{seed}-{index}"));
        let len = rng.below(800_000);
        (path, rng.bytes(len))
    });
    let files: Vec<_> = files.collect();
    for (path, bytes) in &files {
        std::fs::write(path, bytes).unwrap();
    }
    files
}

fn check(files: &[(PathBuf, Vec<u8>)]) {
    for (path, bytes) in files {
        assert!(std::fs::read(path).unwrap() == *bytes, "{}", path.display());
    }
}

#[test]
#[cfg_attr(
    not(all(can_fuse, can_tmpfs)),
    ignore = "SKIPPED: needs FUSE and root, to unmount by force"
)]
fn a_forced_unmount_loses_nothing() {
    let mut mounted = Mounted::new();
    let files = fill(&mounted, 1);
    let open = File::open(&files[0].0).unwrap();
    // Busy or not, the kernel has cut the connection.
    let _busy = limited(20, "umount")
        .arg("-f")
        .arg(mounted.point())
        .output();
    mounted.ended();
    drop(open);
    detach(&mounted.point());
    mounted.mount();
    check(&files);
    mounted.unmount();
}

#[test]
#[cfg_attr(
    not(all(can_fuse, can_tmpfs)),
    ignore = "SKIPPED: needs FUSE and root, to unmount lazily"
)]
fn a_lazy_unmount_waits_for_the_last_user_and_loses_nothing() {
    let mut mounted = Mounted::new();
    let files = fill(&mounted, 2);
    let path = mounted.path("open");
    let mut open = File::create(&path).unwrap();
    must(limited(20, "umount").arg("-l").arg(mounted.point()));
    assert!(!is_mounted(&mounted.point()));
    let late = Rng::new(3).bytes(1_500_000);
    open.write_all(&late).unwrap();
    drop(open);
    mounted.ended();
    mounted.mount();
    check(&files);
    check(&[(path, late)]);
    mounted.unmount();
}

#[test]
#[cfg_attr(
    not(all(can_fuse, can_tmpfs)),
    ignore = "SKIPPED: needs FUSE and root, to make a small disk"
)]
fn what_finds_no_space_at_the_end_is_told_by_the_exit_code() {
    let (disk, mut mounted) = SmallDisk::new(32);
    let kept = Rng::new(4).bytes(5_000_000);
    let path = mounted.path("kept");
    std::fs::write(&path, &kept).unwrap();
    File::open(&path).unwrap().sync_all().unwrap();
    // It fits into memory, and not onto the disk.
    let _told_or_later = std::fs::write(mounted.path("more"), Rng::new(5).bytes(50_000_000));
    must(limited(10, "kill").args(["-s", "TERM", &mounted.pid().to_string()]));
    let (code, log) = mounted.ended_with();
    assert_eq!(code, Some(NOT_WRITTEN), "{log}");
    assert!(log.contains("not everything could be written"), "{log}");
    disk.resize(128);
    mounted.mount();
    check(&[(path, kept)]);
    mounted.unmount();
}

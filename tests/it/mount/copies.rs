//! copy_file_range(2) through the mount: what is copied takes no space of its own.

use coffer_tests::process::{Mounted, limited, must};
use coffer_tests::random::Rng;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

const CHUNK: usize = 128 << 10;

/// Copies all of a file, as cp(1) does; answers how many calls that took.
fn copy(from: &Path, to: &Path) -> usize {
    let source = File::open(from).unwrap();
    let target = File::create(to).unwrap();
    let mut calls = 0;
    loop {
        let copied = rustix::fs::copy_file_range(&source, None, &target, None, 1 << 30).unwrap();
        calls += 1;
        if copied == 0 {
            target.sync_all().unwrap();
            return calls;
        }
    }
}

/// Bytes of all files of the store.
fn store_len(mounted: &Mounted) -> u64 {
    let entries = std::fs::read_dir(mounted.store()).unwrap();
    // Tables come and go meanwhile.
    let lens = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
    lens.sum()
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_copied_file_takes_no_space_and_lives_its_own_life() {
    let mut mounted = Mounted::new();
    let [from, to, other] = ["from", "to", "other"].map(|name| mounted.path(name));
    let mut bytes = Rng::new(1).bytes(100 * CHUNK + 70_000);
    std::fs::write(&from, &bytes).unwrap();
    File::open(&from).unwrap().sync_all().unwrap();
    let before = store_len(&mounted);
    assert!(copy(&from, &to) <= 2, "all of it in one call");
    assert!(copy(&to, &other) <= 2);
    let taken = store_len(&mounted).saturating_sub(before);
    assert!(
        taken < 4 << 20,
        "{taken} bytes for copies of {}",
        bytes.len()
    );
    assert!(std::fs::read(&to).unwrap() == bytes);
    // The source is changed and cut, the copy in the middle goes.
    let copied = bytes.clone();
    let file = File::options().write(true).open(&from).unwrap();
    file.write_all_at(b"changed", 3 * CHUNK as u64 + 5).unwrap();
    file.set_len(50 * CHUNK as u64 + 7).unwrap();
    drop(file);
    bytes[3 * CHUNK + 5..][..7].copy_from_slice(b"changed");
    bytes.truncate(50 * CHUNK + 7);
    std::fs::remove_file(&to).unwrap();
    for _ in 0..2 {
        assert!(std::fs::read(&from).unwrap() == bytes);
        assert!(std::fs::read(&other).unwrap() == copied);
        mounted.remount();
    }
    std::fs::remove_file(&from).unwrap();
    mounted.unmount();
    must(mounted.command("compact").arg(mounted.store()));
    mounted.mount();
    assert!(std::fs::read(&other).unwrap() == copied, "alone");
    mounted.unmount();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn cp_copies_by_reference_and_holes_stay_holes() {
    let mut mounted = Mounted::new();
    let [from, to, sparse, again] = ["f", "t", "s", "a"].map(|name| mounted.path(name));
    let bytes = Rng::new(2).bytes(40 * CHUNK);
    std::fs::write(&from, &bytes).unwrap();
    File::open(&from).unwrap().sync_all().unwrap();
    let file = File::create(&sparse).unwrap();
    file.write_all_at(&bytes[..CHUNK], 80 * CHUNK as u64)
        .unwrap();
    file.sync_all().unwrap();
    drop(file);
    let before = store_len(&mounted);
    must(limited(60, "cp").arg("--reflink=auto").args([&from, &to]));
    copy(&sparse, &again);
    let taken = store_len(&mounted).saturating_sub(before);
    assert!(taken < 2 << 20, "{taken} bytes for copies");
    assert!(std::fs::read(&to).unwrap() == bytes);
    let copied = std::fs::read(&again).unwrap();
    let (hole, data) = copied.split_at(80 * CHUNK);
    assert!(data == &bytes[..CHUNK] && hole.iter().all(|byte| *byte == 0));
    assert_eq!(again.metadata().unwrap().blocks(), CHUNK as u64 / 512);
    mounted.unmount();
}

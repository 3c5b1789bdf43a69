//! Long names, many entries, huge sparse files, full disks.

use super::disk::SmallDisk;
use super::kill::setting;
use coffer_tests::process::Mounted;
use coffer_tests::random::Rng;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn names_have_255_bytes_at_most() {
    let mut mounted = Mounted::new();
    let name = "n".repeat(255);
    std::fs::write(mounted.path(&name), b"x").unwrap();
    std::fs::create_dir(mounted.path("d")).unwrap();
    std::fs::rename(mounted.path(&name), mounted.path("d").join(&name)).unwrap();
    let error = std::fs::write(mounted.path(&"n".repeat(256)), b"x").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(36), "ENAMETOOLONG, not {error}");
    mounted.remount();
    assert_eq!(std::fs::read(mounted.path("d").join(&name)).unwrap(), b"x");
    mounted.unmount();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn many_entries_in_one_directory() {
    let count = setting("COFFER_ENTRIES", 5_000) as usize;
    let mut mounted = Mounted::new();
    let folder = mounted.path("many");
    std::fs::create_dir(&folder).unwrap();
    for index in 0..count {
        File::create(folder.join(format!("entry-{index}"))).unwrap();
    }
    mounted.remount();
    let list = || -> BTreeSet<String> {
        let entries = std::fs::read_dir(&folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    let all: BTreeSet<String> = (0..count).map(|index| format!("entry-{index}")).collect();
    assert!(list() == all, "the listing differs");
    // Removing while listing skips nothing that stays.
    let mut removed = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().ends_with('7') {
            std::fs::remove_file(path).unwrap();
            removed += 1;
        }
    }
    let rest: BTreeSet<String> = all
        .into_iter()
        .filter(|name| !name.ends_with('7'))
        .collect();
    assert_eq!(removed, count - rest.len());
    assert!(list() == rest, "the listing differs after removals");
    mounted.unmount();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_sparse_file_of_5_gib() {
    const LEN: u64 = 5 << 30;
    let mut mounted = Mounted::new();
    let path = mounted.path("sparse");
    let file = File::create(&path).unwrap();
    file.set_len(LEN).unwrap();
    file.write_all_at(b"middle", 3 << 30).unwrap();
    file.write_all_at(b"end", LEN - 3).unwrap();
    file.sync_all().unwrap();
    drop(file);
    mounted.remount();
    assert_eq!(path.metadata().unwrap().size(), LEN);
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let mut buf = vec![1; 1 << 20];
    for offset in [0, 1 << 30, (3 << 30) - 100, LEN - (1 << 20)] {
        file.read_exact_at(&mut buf, offset).unwrap();
        let mut expected = vec![0; 1 << 20];
        for (at, text) in [(3_u64 << 30, b"middle".as_slice()), (LEN - 3, b"end")] {
            if at >= offset && at < offset + (1 << 20) {
                let at = (at - offset) as usize;
                expected[at..at + text.len()].copy_from_slice(text);
            }
        }
        assert!(buf == expected, "wrong bytes at {offset}");
    }
    // Cut and grow again: what was cut off stays gone.
    file.set_len((3 << 30) + 3).unwrap();
    file.set_len(LEN).unwrap();
    let mut tail = [9; 6];
    file.read_exact_at(&mut tail, 3 << 30).unwrap();
    assert_eq!(&tail, b"mid\0\0\0");
    drop(file);
    let on_disk: u64 = std::fs::read_dir(mounted.store())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(on_disk < 64 << 20, "holes take {on_disk} bytes");
    mounted.unmount();
}

#[test]
#[cfg_attr(
    not(all(can_fuse, can_tmpfs)),
    ignore = "SKIPPED: needs FUSE and root, to make a small disk"
)]
fn what_is_deleted_on_a_full_disk_makes_room_without_a_remount() {
    let (_disk, mut mounted) = SmallDisk::new(64);
    let bytes = Rng::new(4).bytes(40_000_000);
    let put = |path: &std::path::Path| {
        std::fs::write(path, &bytes).and_then(|()| File::open(path)?.sync_all())
    };
    put(&mounted.path("first")).unwrap();
    let second = mounted.path("second");
    assert_eq!(put(&second).unwrap_err().kind(), ErrorKind::StorageFull);
    std::fs::remove_file(mounted.path("first")).unwrap();
    std::fs::remove_file(&second).unwrap();
    let start = std::time::Instant::now();
    while let Err(error) = put(&second) {
        assert!(start.elapsed().as_secs() < 120, "no room: {error}");
        let _ = std::fs::remove_file(&second);
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    assert!(std::fs::read(&second).unwrap() == bytes);
    mounted.unmount();
}

#[test]
#[cfg_attr(
    not(all(can_fuse, can_tmpfs)),
    ignore = "SKIPPED: needs FUSE and root, to make a small disk"
)]
fn a_full_disk_loses_nothing_that_was_synced() {
    let (disk, mut mounted) = SmallDisk::new(48);
    let mut rng = Rng::new(3);
    let mut kept = Vec::new();
    let error = loop {
        let index = kept.len();
        assert!(index < 200, "48 MiB took 100 MiB of noise");
        let bytes = rng.bytes(500_000);
        let path = mounted.path(&format!("f{index}"));
        match std::fs::write(&path, &bytes).and_then(|()| File::open(&path)?.sync_all()) {
            Ok(()) => kept.push(bytes),
            Err(error) => break error,
        }
    };
    assert!(kept.len() > 20, "full after {} files of 500 kB", kept.len());
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    let check = |mounted: &Mounted, from: usize| {
        for (index, bytes) in kept.iter().enumerate().skip(from) {
            let found = std::fs::read(mounted.path(&format!("f{index}"))).unwrap();
            assert!(found == *bytes, "f{index} changed");
        }
    };
    check(&mounted, 0);
    // Deleting is what people do then: it must work on the full disk.
    let gone = kept.len() / 2;
    for index in 0..gone {
        std::fs::remove_file(mounted.path(&format!("f{index}"))).unwrap();
    }
    File::open(mounted.point()).unwrap().sync_all().unwrap();
    mounted.kill();
    // A store on a full disk opens again, or says that the disk is full.
    match mounted.mount_with(&[]) {
        Ok(_) => {
            check(&mounted, gone);
            mounted.kill();
        }
        Err(log) => assert!(log.contains("full"), "{log}"),
    }
    disk.resize(96);
    mounted.mount();
    check(&mounted, gone);
    assert!(!mounted.path("f0").exists(), "f0 came back");
    let path = mounted.path("after");
    std::fs::write(&path, b"room again").unwrap();
    File::open(&path).unwrap().sync_all().unwrap();
    mounted.unmount();
}

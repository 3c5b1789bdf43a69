//! Damage to store files, seen through a mount: right bytes or an error, never wrong bytes.

use coffer_tests::process::Mounted;
use coffer_tests::random::Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

type Contents = BTreeMap<String, Vec<u8>>;

/// A store with files of every size, in several tables and blob files, unmounted.
fn filled() -> (Mounted, Contents) {
    let mut mounted = Mounted::new();
    let mut rng = Rng::new(11);
    let mut contents = Contents::new();
    for round in 0..3 {
        for index in 0..40 {
            let name = format!("f{index}");
            let bytes = if index % 8 == 0 {
                rng.bytes(400_000)
            } else {
                rng.value(9_000)
            };
            std::fs::write(mounted.path(&name), &bytes).unwrap();
            contents.insert(name, bytes);
        }
        if round < 2 {
            mounted.remount();
        }
    }
    mounted.unmount();
    (mounted, contents)
}

fn store_files(store: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(store)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.metadata().unwrap().len() > 0)
        .collect();
    files.sort();
    files
}

/// Mounts and reads everything. Every answer is right or an error; unlink works where listing does.
fn right_or_refused(mounted: &mut Mounted, contents: &Contents, what: &str) -> (usize, usize) {
    let (mut right, mut refused) = (0, 0);
    match mounted.mount_with(&[]) {
        Err(log) => {
            assert!(!log.contains("panicked"), "{what}: {log}");
            assert!(!log.trim().is_empty(), "{what}: refused without a word");
            return (0, contents.len());
        }
        Ok(_) => {
            for (name, bytes) in contents {
                match std::fs::read(mounted.path(name)) {
                    Ok(found) => {
                        assert!(found == *bytes, "{what}: {name} has wrong bytes");
                        right += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.raw_os_error(), Some(5), "{what}: {name}: {error}");
                        refused += 1;
                    }
                }
            }
        }
    }
    let said = mounted.said();
    assert!(!said.contains("panicked"), "{what}: {said}");
    mounted.kill();
    (right, refused)
}

fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn one_flipped_bit_in_each_kind_of_file_heals() {
    let (mut mounted, contents) = filled();
    let mut rng = Rng::new(5);
    let mut kinds = BTreeMap::new();
    for path in store_files(&mounted.store()) {
        kinds.insert(path.extension().map(ToOwned::to_owned), path.clone());
    }
    assert!(kinds.len() >= 4, "{kinds:?}");
    let copy = tempfile::tempdir().unwrap();
    copy_store(&mounted.store(), copy.path());
    for path in kinds.values() {
        for _ in 0..2 {
            let what = path.file_name().unwrap().to_string_lossy().into_owned();
            let len = path.metadata().unwrap().len() as usize;
            let bit = rng.below(len * 8);
            damage(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            let (right, refused) = right_or_refused(&mut mounted, &contents, &what);
            assert_eq!(refused, 0, "{what}, bit {bit}: only {right} files read");
            copy_store(copy.path(), &mounted.store());
        }
    }
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn burnt_regions_stay_local_or_are_named() {
    let (mut mounted, contents) = filled();
    let copy = tempfile::tempdir().unwrap();
    copy_store(&mounted.store(), copy.path());
    let mut local = 0;
    for path in store_files(&mounted.store()) {
        let what = path.file_name().unwrap().to_string_lossy().into_owned();
        let len = path.metadata().unwrap().len() as usize;
        let start = len / 2;
        damage(&path, |bytes| bytes[start..(start + 9000).min(len)].fill(0));
        let (right, refused) =
            right_or_refused(&mut mounted, &contents, &format!("zeroes in {what}"));
        if what.ends_with(".blob") {
            assert!(
                right > contents.len() / 2,
                "{what}: damage is not local: {right} right"
            );
            local += usize::from(refused > 0);
        }
        copy_store(copy.path(), &mounted.store());
        damage(&path, |bytes| bytes.truncate(start));
        right_or_refused(&mut mounted, &contents, &format!("half of {what}"));
        copy_store(copy.path(), &mounted.store());
        std::fs::remove_file(&path).unwrap();
        right_or_refused(&mut mounted, &contents, &format!("{what} missing"));
        copy_store(copy.path(), &mounted.store());
    }
    assert!(local > 0, "no damage was large enough to matter");
    let (right, _) = right_or_refused(&mut mounted, &contents, "the whole store");
    assert_eq!(right, contents.len());
}

/// Makes `to` hold exactly the files of `from`.
fn copy_store(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(to).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

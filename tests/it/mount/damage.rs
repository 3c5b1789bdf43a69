//! Damage to store files, seen through a mount: right bytes or an error, never wrong bytes.

use crate::stores;
use coffer_blobstore::BlobBatch;
use coffer_tests::process::{Mounted, must};
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

/// Damages the records of these inodes in an unmounted store.
fn damage_inodes(store: &Path, inos: &[u64]) {
    let tree = stores::open(stores::os(store)).unwrap();
    let mut batch = BlobBatch::new();
    for ino in inos {
        batch.put(&[&b"I"[..], &ino.to_be_bytes()].concat(), b"garbage");
    }
    tree.write(batch, true).unwrap();
    tree.close().unwrap();
}

fn names(folder: &Path) -> Vec<(String, bool)> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut names: Vec<_> = entries
        .map(|entry| {
            let is_dir = entry.file_type().unwrap().is_dir();
            (entry.file_name().into_string().unwrap(), is_dir)
        })
        .collect();
    names.sort();
    names
}

fn number(answer: std::io::Result<impl Sized>) -> Option<i32> {
    answer.err().and_then(|error| error.raw_os_error())
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn names_of_damaged_inodes_are_listed_and_go() {
    use std::os::unix::fs::MetadataExt;

    let mut mounted = Mounted::new();
    std::fs::create_dir(mounted.path("d")).unwrap();
    for name in ["d/bad", "d/bad2", "d/bad3", "d/whole"] {
        std::fs::write(mounted.path(name), name).unwrap();
    }
    std::fs::create_dir(mounted.path("d/dir")).unwrap();
    let inos = ["d/bad", "d/bad2", "d/bad3", "d/dir"]
        .map(|name| mounted.path(name).metadata().unwrap().ino());
    mounted.unmount();
    damage_inodes(&mounted.store(), &inos);

    let ls = |options: &[&str]| {
        let mut command = mounted.command("ls");
        let output = command.args(options).arg(mounted.store()).arg("d");
        let output = output.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr)
            .matches("error: ")
            .count();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).lines().count(),
            errors,
        )
    };
    assert_eq!(ls(&[]), (Some(0), 5, 0));
    assert_eq!(ls(&["-l"]), (Some(4), 1, 4));
    assert_eq!(ls(&["-R"]), (Some(4), 5, 4));
    must(mounted.command("rm").arg(mounted.store()).arg("d/bad3"));

    mounted.mount();
    let folder = mounted.path("d");
    let listed: Vec<_> = [
        ("bad", false),
        ("bad2", false),
        ("dir", true),
        ("whole", false),
    ]
    .map(|(name, is_dir)| (name.to_owned(), is_dir))
    .into();
    for _ in 0..2 {
        assert_eq!(names(&folder), listed);
        for name in ["d/bad", "d/bad2", "d/dir"] {
            let path = mounted.path(name);
            assert_eq!(number(path.symlink_metadata()), Some(5), "{name}");
            assert_eq!(number(std::fs::read(&path)), Some(5), "{name}");
        }
        assert_eq!(std::fs::read(mounted.path("d/whole")).unwrap(), b"d/whole");
    }
    assert_eq!(number(std::fs::read_dir(mounted.path("d/dir"))), Some(5));
    assert_eq!(number(std::fs::write(mounted.path("d/bad"), "x")), Some(5));
    std::fs::remove_file(mounted.path("d/bad")).unwrap();
    must(std::process::Command::new("rm").arg(mounted.path("d/bad2")));
    std::fs::remove_dir(mounted.path("d/dir")).unwrap();
    assert_eq!(names(&folder), [("whole".to_owned(), false)]);
    std::fs::write(mounted.path("d/bad"), "anew").unwrap();
    mounted.remount();
    assert_eq!(std::fs::read(mounted.path("d/bad")).unwrap(), b"anew");
    std::fs::remove_dir_all(mounted.path("d")).unwrap();
    assert!(!mounted.said().contains("panicked"));
    mounted.unmount();
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

//! Attacks on a file system in a store: names, directories, links, Mallory.

use super::named;
use crate::stores;
use coffer_blobstore::BlobTree;
use coffer_engine::Ecc;
use coffer_fusefs::attr::{Caller, Kind};
use coffer_fusefs::{Errno, FileSystem, FsError, MountOptions, path};
use coffer_tests::image::Image;
use coffer_tests::random::Rng;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const ROOT: Caller = Caller {
    uid: 0,
    gid: 0,
    pid: 0,
    umask: 0,
};

/// Paths, each with its content, or `None` for directories.
type Tree = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn open(folder: &Path) -> Result<FileSystem, FsError> {
    let tree = stores::open(stores::os(folder))?;
    FileSystem::open(Arc::new(tree), MountOptions::default())
}

fn allowed(error: &FsError, what: &str) {
    match error.store_error() {
        Some(error) => named(error, what),
        None => assert_eq!(error.errno(), Errno::EIO, "{what}: {error:?}"),
    }
}

/// Three sessions of files in `victim` and `mallory`, with the same names in both.
fn build(folder: &Path) -> (Image, Tree) {
    std::fs::create_dir(folder).unwrap();
    let options = stores::store_options(stores::transform(Ecc::None));
    let tree = BlobTree::create(stores::os(folder), &stores::credential(), options).unwrap();
    drop(tree);
    let mut expected = Tree::new();
    let mut rng = Rng::new(12);
    for session in 0..3 {
        let fs = open(folder).unwrap();
        for owner in ["victim", "mallory"] {
            for index in 0..12 {
                let name = format!("{owner}/dir{}/file{index}", index % 3);
                let mut bytes = format!("of {owner} in session {session}: ").into_bytes();
                bytes.extend(stores::value(&mut rng));
                path::put(
                    &fs,
                    &ROOT,
                    name.as_bytes(),
                    0o644,
                    &mut &bytes[..],
                    &mut |_| (),
                )
                .unwrap();
                expected.insert(name.into_bytes(), Some(bytes));
            }
        }
        fs.close().unwrap();
    }
    for owner in ["victim", "mallory"] {
        expected.insert(owner.as_bytes().to_vec(), None);
        for index in 0..3 {
            expected.insert(format!("{owner}/dir{index}").into_bytes(), None);
        }
    }
    (Image::read(folder), expected)
}

/// Reads below `top`; every answer is right or an error. Answers whether anything was refused.
fn judge(folder: &Path, image: &Image, expected: &Tree, top: &str, what: &str) -> bool {
    image.write(folder);
    let fs = match open(folder) {
        Ok(fs) => fs,
        Err(error) => {
            allowed(&error, what);
            return true;
        }
    };
    let mut refused = false;
    let mut seen = Vec::new();
    let listed = path::list(&fs, top.as_bytes(), true, &mut |entry| {
        seen.push((entry.path, entry.kind, entry.attr));
        true
    });
    for (name, kind, attr) in &seen {
        let shown = String::from_utf8_lossy(name);
        let Some(content) = expected.get(name) else {
            panic!("{what}: {shown} was never there");
        };
        assert_eq!(
            *kind == Kind::Directory,
            content.is_none(),
            "{what}: {shown}"
        );
        match attr {
            Ok(attr) => {
                let len = content
                    .as_ref()
                    .map_or(attr.size, |content| content.len() as u64);
                assert_eq!(attr.size, len, "{what}: {shown}");
            }
            Err(error) => {
                allowed(error, what);
                refused = true;
            }
        }
    }
    let below: Vec<_> = expected
        .iter()
        .filter(|(name, _)| name.starts_with(top.as_bytes()) && name.len() > top.len())
        .collect();
    match listed {
        Ok(()) if refused => {}
        Ok(()) => assert_eq!(seen.len(), below.len(), "{what}: names are missing"),
        Err(error) => {
            allowed(&error, what);
            refused = true;
        }
    }
    for (name, content) in below {
        let Some(content) = content else { continue };
        let mut bytes = Vec::new();
        match path::get(&fs, name, None, &mut bytes, &mut |_| ()) {
            Ok(_) => assert!(
                bytes == *content,
                "{what}: {}",
                String::from_utf8_lossy(name)
            ),
            Err(path::StreamError::Fs(error)) => {
                allowed(&error, what);
                refused = true;
            }
            Err(path::StreamError::Io(error)) => panic!("{what}: {error}"),
        }
        assert!(
            content.starts_with(&bytes),
            "{what}: wrong bytes before the error"
        );
    }
    refused
}

#[test]
fn swapped_blocks_never_move_names() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("store");
    let (image, expected) = build(&folder);
    assert!(!judge(&folder, &image, &expected, "", "nothing"));
    let blocks = image.blocks();
    let mut rng = Rng::new(13);
    let mut noticed = 0;
    for _ in 0..60 {
        let (a, b) = (rng.pick(&blocks), rng.pick(&blocks));
        let mut attacked = image.clone();
        attacked.put(a, image.bytes(b));
        let what = format!("{b:?} over {a:?}");
        noticed += usize::from(judge(&folder, &attacked, &expected, "", &what));
    }
    assert!(noticed > 20, "only {noticed} of 60 noticed");
}

#[test]
fn mallory_sees_nothing_outside_her_directory() {
    // She may put any piece of any file in any place, and reads her own directory only.
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("store");
    let (image, expected) = build(&folder);
    let blocks = image.blocks();
    let names: Vec<&String> = image.0.keys().collect();
    let mut rng = Rng::new(14);
    for round in 0..60 {
        let mut attacked = image.clone();
        let what = match round % 3 {
            0 => {
                let (a, b) = (rng.pick(&blocks), rng.pick(&blocks));
                attacked.put(a, image.bytes(b));
                format!("{b:?} over {a:?}")
            }
            1 => {
                let (from, to) = (*rng.pick(&names), *rng.pick(&names));
                attacked.0.insert(to.clone(), image.0[from].clone());
                format!("{from} over {to}")
            }
            _ => {
                let (from, to) = (*rng.pick(&names), *rng.pick(&names));
                let source = &image.0[from];
                let len = 1 + rng.below(source.len());
                let at = rng.below(source.len() - len + 1);
                let file = attacked.0.get_mut(to).unwrap();
                let to_at = rng.below(file.len());
                let end = (to_at + len).min(file.len());
                file[to_at..end].copy_from_slice(&source[at..at + end - to_at]);
                format!("{len} bytes of {from} at {at} to {to} at {to_at}")
            }
        };
        judge(&folder, &attacked, &expected, "mallory", &what);
    }
}

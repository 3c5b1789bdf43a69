//! Whole operations over a tree in memory.

use super::*;
use crate::attr::{Caller, OpenFlags, RenameFlags, SetAttr, SetXattr, WriteFlags};
use crate::record::NameRecord;
use coffer_blobstore::env::{Env, mem, os};
use coffer_blobstore::{Credential, KdfCost, OpenOptions, StoreOptions};

const ALICE: Caller = Caller {
    uid: 1000,
    gid: 100,
    pid: 1,
    umask: 0o022,
};
const RW: OpenFlags = OpenFlags {
    read: true,
    write: true,
    truncate: false,
    append: false,
    sync: false,
};

fn options(worker_count: usize) -> MountOptions {
    MountOptions {
        worker_count,
        ..MountOptions::default()
    }
}

/// An environment in memory with threads.
fn env() -> Env {
    Env {
        spawner: os::spawner(),
        ..mem::env()
    }
}

fn key() -> Credential {
    Credential::key_file(&[7; 32])
}

fn tree_in(env: Env) -> Arc<BlobTree> {
    let options = StoreOptions {
        kdf: KdfCost::FLOOR,
        ..StoreOptions::default()
    };
    Arc::new(BlobTree::create(env, &key(), options).unwrap())
}

fn tree() -> Arc<BlobTree> {
    tree_in(env())
}

/// The store again, after the last user of `tree` is gone.
fn reopen(tree: Arc<BlobTree>) -> Arc<BlobTree> {
    let env = tree.env().clone();
    tree.close().unwrap();
    drop(Arc::into_inner(tree).expect("nobody else has it"));
    Arc::new(BlobTree::open(env, &key(), &OpenOptions::default()).unwrap())
}

fn errno<T>(result: FsResult<T>) -> Errno {
    result.err().expect("an error is expected").errno()
}

fn put(fs: &FileSystem, name: &[u8], content: &[u8]) -> u64 {
    let (attr, handle) = fs.create(&ALICE, ROOT, name, 0o666, RW).unwrap();
    fs.write(attr.ino, handle, 0, content, WriteFlags::default())
        .unwrap();
    fs.release(attr.ino, handle).unwrap();
    attr.ino
}

fn content(fs: &FileSystem, ino: u64) -> Vec<u8> {
    let handle = fs.open_file(&ALICE, ino, RW).unwrap();
    let size = fs.getattr(ino).unwrap().size;
    let data = fs.read(ino, handle, 0, size as usize).unwrap().to_vec();
    fs.release(ino, handle).unwrap();
    data
}

fn keys(tree: &BlobTree, prefix: &[u8]) -> usize {
    let mut scan = tree.scan(prefix, &[]).unwrap();
    let mut count = 0;
    while scan.next().unwrap().is_some() {
        count += 1;
    }
    count
}

#[test]
fn a_file_lives_through_a_remount() {
    for workers in [0, 2] {
        let tree = tree();
        let big: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
        let fs = FileSystem::open(Arc::clone(&tree), options(workers)).unwrap();
        let small = put(&fs, b"small", b"hello");
        let large = put(&fs, b"large", &big);
        assert_eq!(content(&fs, small), b"hello");
        assert!(content(&fs, large) == big);
        fs.sync_all().unwrap();
        assert!(content(&fs, large) == big);
        drop(fs);
        let tree = reopen(tree);
        let fs = FileSystem::open(Arc::clone(&tree), options(workers)).unwrap();
        let attr = fs.lookup(ROOT, b"large").unwrap();
        assert_eq!((attr.ino, attr.size, attr.mode), (large, 3_000_000, 0o644));
        assert!(content(&fs, large) == big);
        assert_eq!(content(&fs, small), b"hello");
        fs.close().unwrap();
        assert_eq!(errno(fs.unlink(ROOT, b"small")), Errno::EIO);
    }
}

#[test]
fn nothing_is_left_of_removed_files() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    for number in 0..20_u32 {
        let name = number.to_string().into_bytes();
        let ino = put(&fs, &name, &vec![1; 200_000 * number as usize]);
        fs.setxattr(&ALICE, ino, b"user.a", b"b", SetXattr::Either)
            .unwrap();
        if number % 2 == 0 {
            fs.sync_all().unwrap();
        }
        fs.unlink(ROOT, &name).unwrap();
        fs.forget(ino, 1);
    }
    fs.mkdir(&ALICE, ROOT, b"d", 0o777).unwrap();
    fs.rmdir(ROOT, b"d").unwrap();
    assert_eq!(fs.getattr(ROOT).unwrap().nlink, 2);
    fs.close().unwrap();
    drop(fs);
    let tree = reopen(tree);
    for prefix in [&b"C"[..], b"P", b"X", b"O", b"D"] {
        assert_eq!(keys(&tree, prefix), 0, "{}", prefix.escape_ascii());
    }
    assert_eq!(keys(&tree, b"I"), 1);
}

#[test]
fn an_unlinked_file_lives_while_it_is_open_and_dies_at_the_next_mount() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let ino = put(&fs, b"f", &[7; 300_000]);
    fs.sync_all().unwrap();
    let handle = fs.open_file(&ALICE, ino, RW).unwrap();
    fs.unlink(ROOT, b"f").unwrap();
    fs.forget(ino, 1);
    fs.tick().unwrap();
    assert_eq!(fs.getattr(ino).unwrap().nlink, 0);
    assert_eq!(fs.read(ino, handle, 299_999, 10).unwrap()[..], [7]);
    drop(fs);
    assert_eq!(keys(&tree, b"C"), 3);
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    assert_eq!(keys(&tree, b"C") + keys(&tree, b"O"), 0);
    assert_eq!(errno(fs.getattr(ino)), Errno::ESTALE);
}

#[test]
fn a_rename_takes_the_content_along() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let old = put(&fs, b"config", b"old");
    fs.sync_all().unwrap();
    let new = put(&fs, b"config.tmp", b"new content");
    let plain = RenameFlags::default();
    fs.rename(&ALICE, ROOT, b"config.tmp", ROOT, b"config", plain)
        .unwrap();
    fs.forget(old, 1);
    // As after a crash: nothing was written out but what the rename wrote out.
    drop(fs);
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let attr = fs.lookup(ROOT, b"config").unwrap();
    assert_eq!((attr.ino, attr.size), (new, 11));
    assert_eq!(content(&fs, new), b"new content");
    assert_eq!(errno(fs.lookup(ROOT, b"config.tmp")), Errno::ENOENT);
}

#[test]
fn a_listing_goes_on_while_entries_come_and_go() {
    let fs = FileSystem::open(tree(), options(0)).unwrap();
    for number in 0..300_u32 {
        put(&fs, format!("stay{number}").as_bytes(), b"");
        put(&fs, format!("go{number}").as_bytes(), b"");
    }
    let mut seen = Vec::new();
    let mut cookie = 0;
    let mut round = 0;
    loop {
        let mut batch = Vec::new();
        fs.readdir(ROOT, cookie, &mut |entry| {
            batch.push((entry.name.to_vec(), entry.cookie));
            batch.len() < 8
        })
        .unwrap();
        if batch.len() == 8 {
            // The last one was refused.
            batch.pop();
        }
        let Some((_, last)) = batch.last() else {
            break;
        };
        cookie = *last;
        for (name, _) in &batch {
            if name.starts_with(b"go") {
                fs.unlink(ROOT, name).unwrap();
            }
        }
        put(&fs, format!("new{round}").as_bytes(), b"");
        round += 1;
        seen.extend(batch.into_iter().map(|(name, _)| name));
    }
    let stay = seen.iter().filter(|name| name.starts_with(b"stay"));
    assert_eq!(stay.count(), 300);
    let go = seen.iter().filter(|name| name.starts_with(b"go"));
    assert_eq!(go.count(), 300);
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "nothing twice");
    assert_eq!(fs.getattr(ROOT).unwrap().size, 300 + round);
}

#[test]
fn names_that_share_their_last_rank_do_not_lead_a_listing_in_a_circle() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let ino = put(&fs, b"f", b"x");
    // Nobody can make names that collide; a store may still hold anything.
    let target = NameRecord {
        ino,
        kind: Kind::File,
    };
    let mut batch = BlobBatch::new();
    for number in 0..400_u32 {
        let mut name = key::names_from(ROOT, (1 << 55) - 1);
        name.extend(format!("name {number}").as_bytes());
        batch.put(&name, &target.encode());
    }
    tree.write(batch, false).unwrap();
    let (mut cookie, mut count) = (0, 0);
    loop {
        let before = count;
        fs.readdir(ROOT, cookie, &mut |entry| {
            (cookie, count) = (entry.cookie, count + 1);
            count % 7 > 0
        })
        .unwrap();
        if count == before {
            break;
        }
        assert!(count < 500, "the listing goes on for ever");
    }
    assert!(count > 256, "{count}");
}

#[test]
fn whoever_waits_for_an_inode_that_did_not_load_gets_the_one_in_the_table() {
    let fs = FileSystem::open(tree(), options(0)).unwrap();
    let gone = fs.volume.table.find_or_insert(99);
    assert_eq!(errno(fs.volume.inode(99).map(|_| ())), Errno::ESTALE);
    // The number comes into use after all; `gone` has lost its place and must stay unready.
    let record = InodeRecord::new(Kind::File, 0o644, 0, 0, Time::default());
    let mut batch = BlobBatch::new();
    batch.put(&key::inode(99), &record.encode());
    fs.volume.tree.write(batch, false).unwrap();
    let held = fs.volume.inode(99).unwrap();
    assert!(!Arc::ptr_eq(&gone, &held) && !gone.is_ready());
    assert!(!fs.volume.load(&gone).unwrap() && !gone.is_ready());
}

#[test]
fn the_name_of_a_damaged_inode_is_listed_and_goes() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let whole = put(&fs, b"whole", b"hello");
    let bad = put(&fs, b"bad", b"hello");
    let bad_dir = fs.mkdir(&ALICE, ROOT, b"dir", 0o755).unwrap().ino;
    let lost = put(&fs, b"lost", b"hello");
    fs.sync_all().unwrap();
    drop(fs);
    let mut batch = BlobBatch::new();
    batch.put(&key::inode(bad), b"garbage");
    batch.put(&key::inode(bad_dir), b"garbage");
    batch.delete(&key::inode(lost));
    tree.write(batch, false).unwrap();

    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let mut listed = Vec::new();
    fs.readdirplus(ROOT, 2, &mut |entry| {
        assert_eq!(entry.attr.is_some(), entry.ino == whole);
        listed.push((entry.name.to_vec(), entry.ino, entry.kind));
        true
    })
    .unwrap();
    listed.sort();
    let expected = [
        (b"bad".to_vec(), bad, Kind::File),
        (b"dir".to_vec(), bad_dir, Kind::Directory),
        (b"lost".to_vec(), lost, Kind::File),
        (b"whole".to_vec(), whole, Kind::File),
    ];
    assert_eq!(listed, expected);

    assert!(fs.lookup(ROOT, b"bad").unwrap_err().is_damage());
    assert!(fs.lookup(ROOT, b"lost").unwrap_err().is_damage());
    let stand_in = fs.lookup_name(ROOT, b"dir").unwrap();
    assert_eq!((stand_in.ino, stand_in.kind), (bad_dir, Kind::Directory));
    assert_eq!(errno(fs.lookup_name(ROOT, b"none")), Errno::ENOENT);
    assert_eq!(errno(fs.lookup_name(bad_dir, b"none")), Errno::EIO);
    assert_eq!(errno(fs.getattr(bad)), Errno::EIO);
    assert_eq!(errno(fs.open_file(&ALICE, bad, RW)), Errno::EIO);
    let change = SetAttr::default();
    assert_eq!(errno(fs.setattr(&ALICE, bad, &change)), Errno::EIO);
    assert_eq!(errno(fs.readdir(bad_dir, 0, &mut |_| true)), Errno::EIO);

    let mut paths = Vec::new();
    crate::path::list(&fs, b"", true, &mut |entry| {
        paths.push((entry.path, entry.attr.is_ok()));
        true
    })
    .unwrap();
    let readable = |(path, is_ok): &(Vec<u8>, bool)| *is_ok == (path == b"whole");
    assert!(paths.len() == 4 && paths.iter().all(readable), "{paths:?}");

    assert_eq!(crate::path::kind(&fs, b"dir").unwrap(), Kind::Directory);
    crate::path::remove(&fs, b"dir").unwrap();
    fs.unlink(ROOT, b"bad").unwrap();
    fs.unlink(ROOT, b"lost").unwrap();
    fs.forget(bad_dir, 2);
    assert_eq!(errno(fs.lookup(ROOT, b"bad")), Errno::ENOENT);
    assert_eq!(fs.getattr(ROOT).unwrap().size, 1);
    assert_eq!(content(&fs, whole), b"hello");
}

#[test]
fn attributes_of_a_directory_are_put_at_once_also_after_a_listing() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let dir = fs.mkdir(&ALICE, ROOT, b"d", 0o755).unwrap().ino;
    // The listing moves the access time, in memory.
    fs.readdir(dir, 0, &mut |_| true).unwrap();
    let changes = SetAttr {
        mode: Some(0o700),
        gid: Some(7),
        ..SetAttr::default()
    };
    fs.setattr(&ALICE, dir, &changes).unwrap();
    drop(fs);
    let fs = FileSystem::open(tree, options(0)).unwrap();
    let attr = fs.getattr(dir).unwrap();
    assert_eq!((attr.mode, attr.gid), (0o700, 7));
}

mod content;
mod lists;
mod ranges;
mod refer;

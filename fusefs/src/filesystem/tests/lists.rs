//! Access control lists, and whiteouts.

use super::*;
use crate::acl::{ACCESS, DEFAULT};
use crate::attr::Kind;

/// The value of a list: tag, permissions, id.
fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut out = vec![2, 0, 0, 0];
    for (tag, bits, id) in entries {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&bits.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    }
    out
}

const NOBODY: u32 = u32::MAX;

fn with_mask(owner: u16, mask: u16, other: u16) -> Vec<u8> {
    list(&[
        (1, owner, NOBODY),
        (2, 6, 2000),
        (4, 5, NOBODY),
        (16, mask, NOBODY),
        (32, other, NOBODY),
    ])
}

fn set(fs: &FileSystem, ino: u64, name: &[u8], value: &[u8]) -> FsResult<()> {
    fs.setxattr(&ALICE, ino, name, value, SetXattr::Either)
}

fn chmod(fs: &FileSystem, ino: u64, mode: u32) {
    let changes = SetAttr {
        mode: Some(mode),
        ..SetAttr::default()
    };
    fs.setattr(&ALICE, ino, &changes).unwrap();
}

#[test]
fn list_and_mode_follow_each_other() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let ino = put(&fs, b"f", b"content");
    set(&fs, ino, ACCESS, &with_mask(7, 6, 4)).unwrap();
    assert_eq!(fs.getattr(ino).unwrap().mode, 0o764);
    chmod(&fs, ino, 0o4610);
    assert_eq!(
        fs.getxattr(&ALICE, ino, ACCESS).unwrap(),
        with_mask(6, 1, 0)
    );
    drop(fs);
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    assert_eq!(fs.getattr(ino).unwrap().mode, 0o4610);
    assert_eq!(fs.listxattr(&ALICE, ino).unwrap(), [ACCESS, b"\0"].concat());
    // A list that says no more than a mode becomes one.
    let plain = list(&[(1, 7, NOBODY), (4, 5, NOBODY), (32, 1, NOBODY)]);
    set(&fs, ino, ACCESS, &plain).unwrap();
    assert_eq!(fs.getattr(ino).unwrap().mode, 0o4751);
    assert_eq!(errno(fs.getxattr(&ALICE, ino, ACCESS)), Errno::ENODATA);
    assert_eq!(keys(&tree, b"X"), 0);
    set(&fs, ino, ACCESS, &with_mask(7, 7, 0)).unwrap();
    fs.removexattr(&ALICE, ino, ACCESS).unwrap();
    assert_eq!(fs.getattr(ino).unwrap().mode, 0o4770);
    chmod(&fs, ino, 0o600);
    assert_eq!(keys(&tree, b"X"), 0);
}

#[test]
fn whoever_does_not_belong_to_the_group_sets_no_list_beside_sgid() {
    let fs = FileSystem::open(tree(), options(0)).unwrap();
    let file = put(&fs, b"f", b"");
    let dir = fs.mkdir(&ALICE, ROOT, b"d", 0o777).unwrap().ino;
    let foreigner = Caller { gid: 5, ..ALICE };
    // As on ext4, where directories are no exception.
    for (caller, left) in [
        (Caller::default(), 0o2755),
        (ALICE, 0o2755),
        (foreigner, 0o755),
    ] {
        for ino in [file, dir] {
            chmod(&fs, ino, 0o2700);
            let list = with_mask(7, 5, 5);
            fs.setxattr(&caller, ino, ACCESS, &list, SetXattr::Either)
                .unwrap();
            assert_eq!(fs.getattr(ino).unwrap().mode, left, "{caller:?}");
            chmod(&fs, ino, 0o2755);
            if ino == dir {
                fs.setxattr(&caller, ino, DEFAULT, &list, SetXattr::Either)
                    .unwrap();
                assert_eq!(fs.getattr(ino).unwrap().mode, 0o2755, "a default list");
            }
        }
    }
}

#[test]
fn that_there_is_no_list_is_known_without_a_look() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let ino = put(&fs, b"f", b"");
    fs.setxattr(&ALICE, ino, b"user.a", b"b", SetXattr::Either)
        .unwrap();
    let names = [ACCESS, DEFAULT, b"security.capability"];
    let mut batch = BlobBatch::new();
    for name in names {
        batch.put(&key::xattr(ino, name), b"of which the inode knows nothing");
    }
    tree.write(batch, false).unwrap();
    for name in names {
        assert_eq!(errno(fs.getxattr(&ALICE, ino, name)), Errno::ENODATA);
    }
    assert_eq!(fs.getxattr(&ALICE, ino, b"user.a").unwrap(), b"b");
}

#[test]
fn lists_that_make_no_sense_are_refused() {
    let fs = FileSystem::open(tree(), options(0)).unwrap();
    let ino = put(&fs, b"f", b"");
    let no_mask = list(&[(1, 7, NOBODY), (2, 6, 5), (4, 5, NOBODY), (32, 1, NOBODY)]);
    for (name, value, expected) in [
        (ACCESS, &no_mask[..], Errno::EINVAL),
        (ACCESS, b"", Errno::EINVAL),
        (DEFAULT, &with_mask(7, 7, 7), Errno::EACCES),
    ] {
        assert_eq!(errno(set(&fs, ino, name, value)), expected);
    }
    let link = fs.symlink(&ALICE, ROOT, b"l", b"f").unwrap().ino;
    let refused = set(&fs, link, ACCESS, &with_mask(7, 7, 7));
    assert_eq!(errno(refused), Errno::EOPNOTSUPP);
}

#[test]
fn new_inodes_get_the_default_list_of_their_directory() {
    let fs = FileSystem::open(tree(), options(0)).unwrap();
    let dir = fs.mkdir(&ALICE, ROOT, b"d", 0o777).unwrap();
    assert_eq!(dir.mode, 0o755);
    set(&fs, dir.ino, DEFAULT, &with_mask(7, 6, 4)).unwrap();
    assert_eq!(fs.getattr(dir.ino).unwrap().mode, 0o755);
    // The umask of the caller does not count there.
    let (file, handle) = fs.create(&ALICE, dir.ino, b"f", 0o666, RW).unwrap();
    fs.release(file.ino, handle).unwrap();
    assert_eq!(file.mode, 0o664);
    assert_eq!(
        fs.getxattr(&ALICE, file.ino, ACCESS).unwrap(),
        with_mask(6, 6, 4)
    );
    let below = fs.mkdir(&ALICE, dir.ino, b"b", 0o700).unwrap();
    assert_eq!(below.mode, 0o700);
    assert_eq!(
        fs.getxattr(&ALICE, below.ino, ACCESS).unwrap(),
        with_mask(7, 0, 0)
    );
    assert_eq!(
        fs.getxattr(&ALICE, below.ino, DEFAULT).unwrap(),
        with_mask(7, 6, 4)
    );
    let link = fs.symlink(&ALICE, dir.ino, b"l", b"f").unwrap();
    assert_eq!(fs.listxattr(&ALICE, link.ino).unwrap(), b"");
    let (unnamed, handle) = fs.create_unnamed(&ALICE, dir.ino, 0o640).unwrap();
    fs.publish(handle, dir.ino, b"p").unwrap();
    assert_eq!(
        fs.getxattr(&ALICE, unnamed, ACCESS).unwrap(),
        with_mask(6, 4, 0)
    );
    // An empty list takes the default away.
    set(&fs, dir.ino, DEFAULT, &[2, 0, 0, 0]).unwrap();
    let (plain, _) = fs.create(&ALICE, dir.ino, b"g", 0o666, RW).unwrap();
    assert_eq!(plain.mode, 0o644);
}

#[test]
fn nothing_is_left_of_a_removed_inode_with_lists() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let dir = fs.mkdir(&ALICE, ROOT, b"d", 0o777).unwrap();
    set(&fs, dir.ino, DEFAULT, &with_mask(7, 6, 4)).unwrap();
    let below = fs.mkdir(&ALICE, dir.ino, b"b", 0o777).unwrap();
    fs.rmdir(dir.ino, b"b").unwrap();
    fs.rmdir(ROOT, b"d").unwrap();
    fs.forget(below.ino, 1);
    fs.forget(dir.ino, 1);
    fs.tick().unwrap();
    assert_eq!(keys(&tree, b"X") + keys(&tree, b"O"), 0);
    assert_eq!(keys(&tree, b"I"), 1);
}

#[test]
fn a_whiteout_stays_where_a_name_went() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let ino = put(&fs, b"old", b"content");
    let dir = fs.mkdir(&ALICE, ROOT, b"d", 0o755).unwrap();
    let whiteout = RenameFlags {
        whiteout: true,
        ..RenameFlags::default()
    };
    fs.rename(&ALICE, ROOT, b"old", dir.ino, b"new", whiteout)
        .unwrap();
    fs.rename(&ALICE, ROOT, b"d", ROOT, b"e", whiteout).unwrap();
    let both = RenameFlags {
        exchange: true,
        ..whiteout
    };
    let refused = fs.rename(&ALICE, ROOT, b"e", ROOT, b"old", both);
    assert_eq!(errno(refused), Errno::EINVAL);
    drop(fs);
    let fs = FileSystem::open(tree, options(0)).unwrap();
    for name in [b"old", &b"d"[..]] {
        let left = fs.lookup(ROOT, name).unwrap();
        let kind = Kind::CharDevice;
        assert_eq!((left.kind, left.rdev, left.mode), (kind, 0, 0));
        assert_eq!((left.uid, left.gid, left.nlink), (1000, 100, 1));
    }
    assert_eq!(fs.lookup(dir.ino, b"new").unwrap().ino, ino);
    let root = fs.getattr(ROOT).unwrap();
    assert_eq!((root.size, root.nlink), (3, 3));
    let inodes = fs.statfs().unwrap();
    assert_eq!(inodes.inode_count - inodes.free_inode_count, 5);
}

//! The golden store that holds a file system: every kind of inode and of content.

use crate::stores;
use coffer_blobstore::BlobTree;
use coffer_engine::env::mem;
use coffer_engine::{BlockTransform, Ecc};
use coffer_fusefs::attr::{
    Caller, Handle, Ino, Kind, OpenFlags, ROOT, RenameFlags, SetAttr, SetTime, SetXattr, Time,
    WriteFlags,
};
use coffer_fusefs::{FileSystem, MountOptions, path};
use coffer_tests::image::Image;
use coffer_tests::random::Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CALLER: Caller = Caller {
    uid: 0,
    gid: 0,
    pid: 1,
    umask: 0o022,
};
const READ_WRITE: OpenFlags = OpenFlags {
    read: true,
    write: true,
    truncate: false,
    append: false,
    sync: false,
};
const MIB: u64 = 1 << 20;
/// Pieces of files that are compared, in bytes from the start.
const PROBES: [u64; 4] = [0, MIB, 5 << 30, (5 << 30) + MIB];

fn folder() -> PathBuf {
    super::folder().join("file-system")
}

fn transform() -> BlockTransform {
    stores::transform(Ecc::Xor { data: 16 })
}

struct Maker<'a>(&'a FileSystem);

impl Maker<'_> {
    fn write(&self, ino: Ino, handle: Handle, offset: u64, bytes: &[u8]) {
        let flags = WriteFlags::default();
        self.0.write(ino, handle, offset, bytes, flags).unwrap();
    }

    fn file(&self, parent: Ino, name: &[u8], mode: u32, bytes: &[u8]) -> Ino {
        let made = self.0.create(&CALLER, parent, name, mode, READ_WRITE);
        let (attr, handle) = made.unwrap();
        self.write(attr.ino, handle, 0, bytes);
        self.0.fsync(attr.ino, handle, false).unwrap();
        self.0.release(attr.ino, handle).unwrap();
        attr.ino
    }

    fn overwrite(&self, ino: Ino, offset: u64, bytes: &[u8]) {
        let handle = self.0.open_file(&CALLER, ino, READ_WRITE).unwrap();
        self.write(ino, handle, offset, bytes);
        self.0.fsync(ino, handle, false).unwrap();
        self.0.release(ino, handle).unwrap();
    }

    fn first_session(&self) {
        let fs = self.0;
        let mut rng = Rng::new(7);
        let dir = fs.mkdir(&CALLER, ROOT, b"dir", 0o1777).unwrap().ino;
        fs.mkdir(&CALLER, dir, b"inner", 0o750).unwrap();
        let small = self.file(dir, b"small", 0o644, b"hello");
        fs.link(small, ROOT, b"hard link").unwrap();
        self.file(dir, b"empty", 0o4755, b"");
        self.file(ROOT, b"text", 0o600, &rng.text(300_000));
        self.file(ROOT, b"noise", 0o600, &rng.bytes(200_000));
        let patched = self.file(ROOT, b"patched", 0o644, &rng.text(300_000));
        self.overwrite(patched, 5_000, b"a page laid over a chunk");
        let sparse = self.file(ROOT, b"sparse", 0o644, b"start");
        self.overwrite(sparse, 5 << 30, b"far away");
        let cut = self.file(ROOT, b"cut", 0o644, &rng.bytes(280_000));
        let shorter = SetAttr {
            size: Some(100_000),
            ..SetAttr::default()
        };
        fs.setattr(&CALLER, cut, &shorter).unwrap();
        let target = [b"../".repeat(60), b"target".to_vec()].concat();
        fs.symlink(&CALLER, ROOT, b"link", &target).unwrap();
        fs.mknod(&CALLER, ROOT, b"pipe", 0o010_600, 0).unwrap();
        fs.mknod(&CALLER, ROOT, b"device", 0o020_600, 0x0105)
            .unwrap();
        self.file(ROOT, &[0xff; 255], 0o644, b"a long name of no language");
        self.file(ROOT, b"gone", 0o644, &rng.bytes(50_000));
        let text = SetXattr::Either;
        fs.setxattr(&CALLER, small, b"user.note", b"a value", text)
            .unwrap();
        fs.setxattr(&CALLER, dir, b"trusted.mark", &rng.bytes(3_000), text)
            .unwrap();
    }

    fn second_session(&self) {
        let fs = self.0;
        let moved = RenameFlags::default();
        let inner = path::resolve(fs, b"dir/inner").unwrap().ino;
        fs.rename(&CALLER, ROOT, b"noise", inner, b"moved", moved)
            .unwrap();
        fs.unlink(ROOT, b"gone").unwrap();
        let text = path::resolve(fs, b"text").unwrap().ino;
        self.overwrite(text, 299_000, &Rng::new(8).text(40_000));
        let owned = SetAttr {
            mode: Some(0o640),
            uid: Some(1000),
            gid: Some(4_000_000_000),
            mtime: Some(SetTime::At(Time { secs: -5, nanos: 7 })),
            ..SetAttr::default()
        };
        fs.setattr(&CALLER, text, &owned).unwrap();
        fs.sync_all().unwrap();
    }
}

/// Everything that does not depend on the clock.
fn dump(fs: &FileSystem) -> BTreeMap<Vec<u8>, String> {
    let mut listed = Vec::new();
    path::list(fs, b"", true, &mut |entry| {
        listed.push(entry);
        true
    })
    .unwrap();
    let mut out = BTreeMap::new();
    for entry in listed {
        let attr = fs.getattr(entry.attr.unwrap().ino).unwrap();
        let mut text = format!(
            "{:?} {:o} links {} owner {}:{} device {} size {} blocks {}",
            attr.kind, attr.mode, attr.nlink, attr.uid, attr.gid, attr.rdev, attr.size, attr.blocks
        );
        if attr.mtime.secs < 0 {
            text += &format!(" {:?}", attr.mtime);
        }
        let mut names = fs.listxattr(&CALLER, attr.ino).unwrap();
        names.pop();
        for name in names.split(|byte| *byte == 0).filter(|n| !n.is_empty()) {
            let value = fs.getxattr(&CALLER, attr.ino, name).unwrap();
            text += &format!(" {}={value:?}", name.escape_ascii());
        }
        match attr.kind {
            Kind::Symlink => text += &format!(" {:?}", fs.readlink(attr.ino).unwrap()),
            Kind::File => {
                let handle = fs.open_file(&CALLER, attr.ino, READ_WRITE).unwrap();
                for offset in PROBES {
                    let bytes = fs.read(attr.ino, handle, offset, MIB as usize).unwrap();
                    text += &format!(" {:x}", xxhash_rust::xxh3::xxh3_64(&bytes));
                }
                fs.release(attr.ino, handle).unwrap();
            }
            _ => {}
        }
        out.insert(entry.path, text);
    }
    out
}

fn open(tree: BlobTree) -> FileSystem {
    FileSystem::open(Arc::new(tree), MountOptions::default()).unwrap()
}

#[test]
#[ignore = "writes tests/golden/file-system anew; only for a new format version"]
fn make_golden_file_system() {
    let folder = folder();
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let options = stores::store_options(transform());
    let env = stores::os(&folder);
    let fs = open(BlobTree::create(env, &stores::credential(), options).unwrap());
    Maker(&fs).first_session();
    fs.close().unwrap();
    drop(fs);
    // The second session ends without close.
    let fs = open(stores::open(stores::os(&folder)).unwrap());
    Maker(&fs).second_session();
}

fn expected() -> BTreeMap<Vec<u8>, String> {
    let options = stores::store_options(transform());
    let tree = BlobTree::create(mem::env(), &stores::credential(), options).unwrap();
    let fs = open(tree);
    Maker(&fs).first_session();
    Maker(&fs).second_session();
    dump(&fs)
}

fn copy_to(place: &Path) {
    Image::read(&folder()).write(place);
}

#[test]
fn a_golden_file_system_holds_what_it_held() {
    let home = tempfile::tempdir().unwrap();
    let copy = home.path().join("store");
    copy_to(&copy);
    let fs = open(stores::open(stores::os(&copy)).unwrap());
    let (found, expected) = (dump(&fs), expected());
    assert_eq!(expected.len(), 14);
    for (name, text) in &expected {
        let found = found.get(name);
        assert_eq!(found, Some(text), "{}", name.escape_ascii());
    }
    assert_eq!(found.len(), expected.len());
    // And goes on.
    Maker(&fs).file(ROOT, b"new", 0o644, b"value");
    fs.close().unwrap();
    drop(fs);
    let fs = open(stores::open(stores::os(&copy)).unwrap());
    assert_eq!(dump(&fs).len(), expected.len() + 1);
}

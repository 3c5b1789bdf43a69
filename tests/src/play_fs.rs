//! Plays operations on a file system and on its model, and compares what both answer.
//!
//! - One [`Op`] list is the input of property tests and of fuzzing alike.
//! - Time stands still during an operation, so times must be equal to the nanosecond.

use coffer_blobstore::env::{Clock, Env, mem, os};
use coffer_blobstore::{BlobTree, Credential, KdfCost, OpenOptions, StoreOptions};
use coffer_fusefs::attr::{
    Attr, Caller, Handle, Ino, Kind, OpenFlags, ROOT, RenameFlags, SetAttr, SetTime, SetXattr,
    Time, WriteFlags,
};
use coffer_fusefs::{Errno, FileSystem, FsResult, MountOptions};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::model_fs::{Id, ModelFs, TOP};

/// Slots for open files and for references.
const SLOT_COUNT: usize = 4;
/// Chunk length of the file system.
const CHUNK: u64 = 128 << 10;

/// A path: names by number.
pub type Path = Vec<u8>;

/// A place in a file: one of a few interesting offsets, and a distance from it.
pub type Place = (u8, u16);

/// One operation.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "named as the calls that they make")]
pub enum Op {
    Create(Path, u32, usize),
    Mknod(Path, u8),
    Mkdir(Path, u32),
    Symlink(Path, u16),
    Link(Path, Path),
    Unlink(Path),
    Rmdir(Path),
    Rename(Path, Path, bool, bool),
    Publish(Path, u16, u8),
    Open(Path, usize, bool, bool),
    Close(usize),
    Write(usize, Place, u32, u8, bool),
    Read(usize, Place, u32),
    Cut(usize, Place),
    CutPath(Path, Place),
    Chmod(Path, u32),
    Chown(Path, u32, u32),
    Times(Path, i64, u32),
    SetXattr(Path, u8, u16, u8),
    RemoveXattr(Path, u8),
    Readdir(Path, u8),
    Fsync(usize),
    Tick(u16),
    SyncAll,
    Hold(Path, usize),
    Drop(usize),
    Stat(usize),
    Remount(bool),
    Crash,
}

/// A strategy for paths.
fn path() -> impl Strategy<Value = Path> {
    prop_oneof![
        6 => proptest::collection::vec(0..5_u8, 1..3),
        3 => proptest::collection::vec(0..5_u8, 3..4),
        1 => proptest::collection::vec(0..8_u8, 1..4),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    (0..12_u8, prop_oneof![Just(0), Just(1), 0..6000_u16])
}

fn length() -> impl Strategy<Value = u32> {
    prop_oneof![
        5 => 0..300_u32,
        4 => 0..9000_u32,
        2 => 0..300_000_u32,
        1 => Just(128 << 10),
        1 => Just(4096_u32),
    ]
}

/// A strategy for operations.
pub fn op() -> impl Strategy<Value = Op> {
    let slot = 0..SLOT_COUNT;
    let names = prop_oneof![
        4 => (path(), any::<u32>(), slot.clone()).prop_map(|(p, m, s)| Op::Create(p, m, s)),
        1 => (path(), any::<u8>()).prop_map(|(p, k)| Op::Mknod(p, k)),
        4 => (path(), any::<u32>()).prop_map(|(p, m)| Op::Mkdir(p, m)),
        1 => (path(), any::<u16>()).prop_map(|(p, l)| Op::Symlink(p, l)),
        2 => (path(), path()).prop_map(|(a, b)| Op::Link(a, b)),
        2 => path().prop_map(Op::Unlink),
        1 => path().prop_map(Op::Rmdir),
        6 => (path(), path(), any::<bool>(), any::<bool>())
            .prop_map(|(a, b, n, x)| Op::Rename(a, b, n && !x, x && !n)),
        1 => (path(), any::<u16>(), any::<u8>()).prop_map(|(p, l, b)| Op::Publish(p, l, b)),
    ];
    let files = prop_oneof![
        3 => (path(), slot.clone(), any::<u8>()).prop_map(|(p, s, b)| Op::Open(p, s, b < 40, b > 220)),
        2 => slot.clone().prop_map(Op::Close),
        9 => (slot.clone(), place(), length(), any::<u8>(), any::<bool>())
            .prop_map(|(s, p, l, b, k)| Op::Write(s, p, l, b, k)),
        5 => (slot.clone(), place(), length()).prop_map(|(s, p, l)| Op::Read(s, p, l)),
        3 => (slot.clone(), place()).prop_map(|(s, p)| Op::Cut(s, p)),
        1 => (path(), place()).prop_map(|(p, l)| Op::CutPath(p, l)),
        3 => slot.clone().prop_map(Op::Fsync),
    ];
    let others = prop_oneof![
        2 => (path(), any::<u32>()).prop_map(|(p, m)| Op::Chmod(p, m)),
        1 => (path(), 0..3_u32, 0..3_u32).prop_map(|(p, u, g)| Op::Chown(p, u, g)),
        1 => (path(), any::<i64>(), 0..1_000_000_000_u32).prop_map(|(p, s, n)| Op::Times(p, s, n)),
        2 => (path(), 0..6_u8, any::<u16>(), any::<u8>())
            .prop_map(|(p, n, l, h)| Op::SetXattr(p, n, l, h)),
        1 => (path(), 0..6_u8).prop_map(|(p, n)| Op::RemoveXattr(p, n)),
        1 => (path(), 1..5_u8).prop_map(|(p, s)| Op::Readdir(p, s)),
        2 => any::<u16>().prop_map(Op::Tick),
        1 => Just(Op::SyncAll),
        1 => (path(), slot.clone()).prop_map(|(p, s)| Op::Hold(p, s)),
        1 => slot.clone().prop_map(Op::Drop),
        1 => slot.prop_map(Op::Stat),
        1 => any::<bool>().prop_map(Op::Remount),
        1 => Just(Op::Crash),
    ];
    prop_oneof![5 => names, 6 => files, 3 => others]
}

/// A clock that only the player moves.
struct Hand(Mutex<Duration>);

impl Clock for Hand {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }
    fn monotonic(&self) -> Duration {
        self.now()
    }
}

/// A store in memory with threads, and numbers so small that it flushes, compacts and collects.
#[must_use]
pub fn small_store(clock: Arc<dyn Clock>) -> Arc<BlobTree> {
    let env = Env {
        clock,
        spawner: os::spawner(),
        ..mem::env()
    };
    let options = StoreOptions {
        blob_file_len: 256 << 10,
        kdf: KdfCost::FLOOR,
        ..StoreOptions::default()
    };
    Arc::new(BlobTree::create_with(env, &key(), options, &opening()).unwrap())
}

/// The store again, after a clean end or, as it seems to the store, after a crash.
#[must_use]
pub fn reopened(tree: Arc<BlobTree>) -> Arc<BlobTree> {
    let env = tree.env().clone();
    drop(Arc::into_inner(tree).expect("nobody else has the tree"));
    Arc::new(BlobTree::open(env, &key(), &opening()).unwrap())
}

fn key() -> Credential {
    Credential::key_file(&[7; 32])
}

fn opening() -> OpenOptions {
    OpenOptions {
        memtable_len: 100_000,
        cache_len: 500_000,
        ..OpenOptions::default()
    }
}

struct OpenFile {
    handle: Handle,
    ino: Ino,
    id: Id,
    flags: OpenFlags,
}

/// A file system and its model.
pub struct Player {
    fs: Option<FileSystem>,
    model: ModelFs,
    clock: Arc<Hand>,
    options: MountOptions,
    files: [Option<OpenFile>; SLOT_COUNT],
    held: [Option<(Ino, Id)>; SLOT_COUNT],
    known: BTreeMap<Id, Ino>,
    step: AtomicU64,
}

const fn name_of(number: u8) -> &'static [u8] {
    match number {
        0 => b"a",
        1 => b"b",
        2 => b"c",
        3 => b"d",
        4 => b"\xff\xfe odd \n",
        5 => &[b'n'; 255],
        6 => &[b'n'; 256],
        _ => b"",
    }
}

fn offset_of((base, distance): Place) -> u64 {
    let base = match base {
        0..=3 => 0,
        4 => 4096,
        5 => 60_000,
        6 => CHUNK - 3000,
        7 => CHUNK,
        8 => 3 * CHUNK - 100,
        9 => 7 * CHUNK,
        10 => 1 << 21,
        _ => 5 << 30,
    };
    base + u64::from(distance)
}

fn content(byte: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| byte ^ (at >> 7) as u8).collect()
}

fn errno<T>(answer: FsResult<T>) -> Result<T, Errno> {
    answer.map_err(|error| error.errno())
}

fn agree<T, U>(what: &Op, real: FsResult<T>, model: Result<U, Errno>) -> Option<(T, U)> {
    match (errno(real), model) {
        (Ok(real), Ok(model)) => Some((real, model)),
        (Err(real), Err(model)) if real == model => None,
        (real, model) => panic!(
            "{what:?}: file system {:?}, model {:?}",
            real.map(drop),
            model.map(drop)
        ),
    }
}

impl Player {
    /// A new file system in a new store.
    #[must_use]
    pub fn new(options: MountOptions) -> Self {
        let clock = Arc::new(Hand(Mutex::new(Duration::from_secs(1_700_000_000))));
        let tree = small_store(clock.clone());
        let now = time_of(&clock);
        let MountOptions {
            root_uid: uid,
            root_gid: gid,
            root_mode: mode,
            ..
        } = options;
        let fs = FileSystem::open(tree, options).unwrap();
        Self {
            fs: Some(fs),
            model: ModelFs::new(uid, gid, mode, now),
            clock,
            options,
            files: Default::default(),
            held: Default::default(),
            known: BTreeMap::from([(TOP, ROOT)]),
            step: AtomicU64::new(0),
        }
    }

    fn fs(&self) -> &FileSystem {
        self.fs.as_ref().unwrap()
    }

    /// Plays all operations, then remounts and compares everything.
    pub fn play(&mut self, ops: &[Op]) {
        for op in ops {
            let step = self.step.fetch_add(1, Ordering::Relaxed);
            *self.clock.0.lock().unwrap() += Duration::new(1, 1000 + step as u32);
            self.model.now = time_of(&self.clock);
            self.one(op);
        }
        self.compare();
        self.remount(true);
    }

    fn caller(&self) -> Caller {
        match self.step.load(Ordering::Relaxed) % 3 {
            0 => Caller::default(),
            _ => Caller {
                uid: 1000,
                gid: 100,
                pid: 1,
                umask: 0o022,
            },
        }
    }

    /// Walks along names in both; none where both fail alike.
    fn walk(&mut self, op: &Op, names: &[u8]) -> Option<(Ino, Id)> {
        let mut at = (ROOT, TOP);
        for &number in names {
            let name = name_of(number);
            let real = self.fs().lookup(at.0, name);
            let (attr, id) = agree(op, real, self.model.lookup(at.1, name))?;
            self.fs().forget(attr.ino, 1);
            assert_eq!(self.known.get(&id), Some(&attr.ino), "{op:?}: inode number");
            at = (attr.ino, id);
        }
        Some(at)
    }

    fn parent(&mut self, op: &Op, path: &Path) -> Option<(Ino, Id, &'static [u8])> {
        let (last, dirs) = path.split_last()?;
        let (ino, id) = self.walk(op, dirs)?;
        Some((ino, id, name_of(*last)))
    }

    fn same(&self, op: &Op, id: Id, attr: &Attr) {
        if let Some(difference) = self.model.node(id).difference(attr) {
            panic!("{op:?}: {difference}");
        }
    }

    /// Attributes of both are equal.
    fn stat(&self, op: &Op, ino: Ino, id: Id) {
        let attr = self.fs().getattr(ino).unwrap();
        self.same(op, id, &attr);
    }

    fn one(&mut self, op: &Op) {
        match op {
            Op::Create(..) | Op::Mknod(..) | Op::Mkdir(..) | Op::Symlink(..) => self.make(op),
            Op::Link(..) | Op::Unlink(_) | Op::Rmdir(_) | Op::Rename(..) | Op::Publish(..) => {
                self.names(op);
            }
            Op::Open(..) | Op::Close(_) | Op::Write(..) | Op::Read(..) | Op::Fsync(_) => {
                self.content(op);
            }
            Op::Cut(..) | Op::CutPath(..) | Op::Chmod(..) | Op::Chown(..) | Op::Times(..) => {
                self.attributes(op);
            }
            _ => self.rest(op),
        }
    }

    fn make(&mut self, op: &Op) {
        let caller = self.caller();
        let (Op::Create(path, ..) | Op::Mknod(path, _) | Op::Mkdir(path, _) | Op::Symlink(path, _)) =
            op
        else {
            return;
        };
        let Some((dir, dir_id, name)) = self.parent(op, path) else {
            return;
        };
        let mut flags = OpenFlags::default();
        let mut handle = None;
        let (real, kind, mode, rdev, target) = match op {
            Op::Create(_, mode, _) => {
                flags.read = true;
                flags.write = true;
                let mode = mode & 0o7777;
                let real = self.fs().create(&caller, dir, name, mode, flags);
                let real = real.map(|(attr, opened)| {
                    handle = Some(opened);
                    attr
                });
                (real, Kind::File, mode, 0, Vec::new())
            }
            Op::Mknod(_, kind) => {
                let kinds = [Kind::Fifo, Kind::Socket, Kind::CharDevice, Kind::File];
                let kind = kinds[usize::from(*kind) % kinds.len()];
                let rdev = if kind == Kind::CharDevice { 259 } else { 0 };
                let mode = kind.type_bits() | 0o640;
                let real = self.fs().mknod(&caller, dir, name, mode, rdev);
                (real, kind, 0o640, rdev, Vec::new())
            }
            Op::Mkdir(_, mode) => {
                let mode = mode & 0o1777;
                let real = self.fs().mkdir(&caller, dir, name, mode);
                (real, Kind::Directory, mode, 0, Vec::new())
            }
            Op::Symlink(_, len) => {
                let target = content(b'x', 1 + usize::from(*len) % 4095);
                let real = self.fs().symlink(&caller, dir, name, &target);
                (real, Kind::Symlink, 0o777, 0, target)
            }
            _ => return,
        };
        let model = self
            .model
            .make(&caller, dir_id, name, (kind, mode, rdev), &target);
        if let Some((attr, id)) = agree(op, real, model) {
            self.same(op, id, &attr);
            assert!(!self.known.values().any(|&ino| ino == attr.ino));
            self.known.insert(id, attr.ino);
            self.fs().forget(attr.ino, 1);
            if let (Some(handle), Op::Create(_, _, slot)) = (handle, op) {
                self.model.hold(id);
                self.put_file(*slot, attr.ino, id, handle, flags);
            }
            self.stat(op, dir, dir_id);
        }
    }

    fn put_file(&mut self, slot: usize, ino: Ino, id: Id, handle: Handle, flags: OpenFlags) {
        self.close(slot);
        self.files[slot] = Some(OpenFile {
            handle,
            ino,
            id,
            flags,
        });
    }

    fn close(&mut self, slot: usize) {
        if let Some(file) = self.files[slot].take() {
            self.fs().flush(file.ino, file.handle).unwrap();
            self.fs().release(file.ino, file.handle).unwrap();
            self.model.release(file.id);
        }
    }

    fn names(&mut self, op: &Op) {
        match op {
            Op::Link(old, new) => {
                let Some((ino, id)) = self.walk(op, old) else {
                    return;
                };
                let Some((dir, dir_id, name)) = self.parent(op, new) else {
                    return;
                };
                let real = self.fs().link(ino, dir, name);
                let model = self.model.link(id, dir_id, name);
                if let Some((attr, ())) = agree(op, real, model) {
                    self.same(op, id, &attr);
                    self.fs().forget(ino, 1);
                }
            }
            Op::Unlink(path) | Op::Rmdir(path) => {
                let Some((dir, dir_id, name)) = self.parent(op, path) else {
                    return;
                };
                if matches!(op, Op::Unlink(_)) {
                    let real = self.fs().unlink(dir, name);
                    agree(op, real, self.model.unlink(dir_id, name));
                } else {
                    let real = self.fs().rmdir(dir, name);
                    agree(op, real, self.model.rmdir(dir_id, name));
                }
                self.stat(op, dir, dir_id);
            }
            Op::Rename(old, new, no_replace, exchange) => {
                let Some((dir, dir_id, name)) = self.parent(op, old) else {
                    return;
                };
                let Some((to, to_id, to_name)) = self.parent(op, new) else {
                    return;
                };
                let flags = RenameFlags {
                    no_replace: *no_replace,
                    exchange: *exchange,
                };
                let real = self.fs().rename(dir, name, to, to_name, flags);
                let model = self.model.rename((dir_id, name), (to_id, to_name), flags);
                agree(op, real, model);
                self.stat(op, dir, dir_id);
                self.stat(op, to, to_id);
            }
            Op::Publish(path, len, byte) => self.publish(op, path, *len, *byte),
            _ => {}
        }
    }

    /// A file that gets its name last.
    fn publish(&mut self, op: &Op, path: &Path, len: u16, byte: u8) {
        let caller = self.caller();
        let Some((dir, dir_id, name)) = self.parent(op, path) else {
            return;
        };
        let old = self.model.lookup(dir_id, name);
        let is_dir = |id: Id| self.model.node(id).kind == Kind::Directory;
        if name.is_empty() || name.len() > 255 || !is_dir(dir_id) || old.is_ok_and(is_dir) {
            return;
        }
        let data = content(byte, usize::from(len));
        let (ino, handle) = self.fs().create_unnamed(&caller, dir, 0o644).unwrap();
        let written = self
            .fs()
            .write(ino, handle, 0, &data, WriteFlags::default());
        assert_eq!(written.unwrap(), data.len());
        let attr = self.fs().publish(handle, dir, name).unwrap();
        self.fs().release(ino, handle).unwrap();
        if old.is_ok() {
            self.model.unlink(dir_id, name).unwrap();
        }
        let what = (Kind::File, 0o644, 0);
        let id = self.model.make(&caller, dir_id, name, what, b"").unwrap();
        self.model.write(id, None, &data, false).unwrap();
        self.known.insert(id, ino);
        self.same(op, id, &attr);
    }

    fn content(&mut self, op: &Op) {
        let caller = self.caller();
        match op {
            Op::Open(path, slot, truncate, append) => {
                let Some((ino, id)) = self.walk(op, path) else {
                    return;
                };
                let flags = OpenFlags {
                    read: true,
                    write: true,
                    truncate: *truncate,
                    append: *append,
                    sync: ino % 7 == 0,
                };
                let real = self.fs().open_file(&caller, ino, flags);
                let model = self.model.open(&caller, id, flags);
                if let Some((handle, ())) = agree(op, real, model) {
                    self.put_file(*slot, ino, id, handle, flags);
                }
            }
            Op::Close(slot) => self.close(*slot),
            Op::Write(slot, place, len, byte, kill) => {
                let Some(file) = &self.files[*slot] else {
                    return;
                };
                let data = content(*byte, *len as usize);
                let offset = offset_of(*place);
                let flags = WriteFlags {
                    kill_suid: *kill,
                    from_cache: false,
                };
                let real = self.fs().write(file.ino, file.handle, offset, &data, flags);
                let (ino, id) = (file.ino, file.id);
                let offset = (!file.flags.append).then_some(offset);
                let model = self.model.write(id, offset, &data, *kill);
                agree(op, real, model);
                self.stat(op, ino, id);
            }
            Op::Read(slot, place, len) => {
                let Some(file) = &self.files[*slot] else {
                    return;
                };
                let offset = offset_of(*place);
                let real = self
                    .fs()
                    .read(file.ino, file.handle, offset, *len as usize)
                    .unwrap();
                let (ino, id) = (file.ino, file.id);
                let model = self.model.read(id, offset, *len as usize);
                assert!(real[..] == model[..], "{op:?}: other bytes");
                self.stat(op, ino, id);
            }
            Op::Fsync(slot) => {
                if let Some(file) = &self.files[*slot] {
                    self.fs().fsync(file.ino, file.handle, false).unwrap();
                    self.stat(op, file.ino, file.id);
                }
            }
            _ => {}
        }
    }

    fn attributes(&mut self, op: &Op) {
        let mut changes = SetAttr::default();
        let found = match op {
            Op::Cut(slot, _) => self.files[*slot].as_ref().map(|file| (file.ino, file.id)),
            Op::CutPath(path, _)
            | Op::Chmod(path, _)
            | Op::Chown(path, ..)
            | Op::Times(path, ..) => self.walk(op, path),
            _ => None,
        };
        let Some((ino, id)) = found else {
            return;
        };
        match op {
            Op::Cut(_, place) | Op::CutPath(_, place) => changes.size = Some(offset_of(*place)),
            Op::Chmod(_, mode) => changes.mode = Some(mode & 0o7777),
            Op::Chown(_, uid, gid) => {
                changes.uid = (*uid > 0).then_some(*uid);
                changes.gid = (*gid > 0).then_some(*gid);
            }
            Op::Times(_, secs, nanos) => {
                let time = Time {
                    secs: *secs,
                    nanos: *nanos,
                };
                changes.atime = (nanos % 2 == 0).then_some(SetTime::At(time));
                changes.mtime = Some(match secs % 3 {
                    0 => SetTime::Now,
                    _ => SetTime::At(time),
                });
            }
            _ => {}
        }
        let caller = self.caller();
        let real = self.fs().setattr(&caller, ino, &changes);
        let model = self.model.setattr(&caller, id, &changes);
        if let Some((attr, ())) = agree(op, real, model) {
            self.same(op, id, &attr);
        }
    }

    fn rest(&mut self, op: &Op) {
        match op {
            Op::SetXattr(..) | Op::RemoveXattr(..) => self.xattr(op),
            Op::Readdir(path, step) => {
                if let Some((ino, id)) = self.walk(op, path) {
                    let real = self.listing(ino, usize::from(*step));
                    let model = self.model.readdir(id);
                    if let Some((real, model)) = agree(op, real, model) {
                        let real: Vec<_> = real.into_keys().collect();
                        assert_eq!(real, model, "{op:?}");
                    }
                }
            }
            Op::Tick(ms) => {
                *self.clock.0.lock().unwrap() += Duration::from_millis(u64::from(*ms));
                self.model.now = time_of(&self.clock);
                self.fs().tick();
            }
            Op::SyncAll => self.fs().sync_all().unwrap(),
            Op::Hold(path, slot) => {
                if let Some((ino, id)) = self.walk(op, path) {
                    self.let_go(*slot);
                    let (last, dirs) = path.split_last().unwrap();
                    let (dir, _) = self.walk(op, dirs).unwrap();
                    self.fs().lookup(dir, name_of(*last)).unwrap();
                    self.model.hold(id);
                    self.held[*slot] = Some((ino, id));
                }
            }
            Op::Drop(slot) => self.let_go(*slot),
            Op::Stat(slot) => {
                if let Some((ino, id)) = self.held[*slot] {
                    self.stat(op, ino, id);
                }
            }
            Op::Remount(clean) => {
                self.compare();
                self.remount(*clean);
            }
            Op::Crash => self.crash(),
            _ => {}
        }
    }

    fn let_go(&mut self, slot: usize) {
        if let Some((ino, id)) = self.held[slot].take() {
            self.fs().forget(ino, 1);
            self.model.release(id);
        }
    }

    fn xattr(&mut self, op: &Op) {
        let names: [&[u8]; 6] = [
            b"user.a",
            b"user.b",
            b"trusted.c",
            b"security.capability",
            b"system.posix_acl_access",
            b"security.d",
        ];
        let (Op::SetXattr(path, number, ..) | Op::RemoveXattr(path, number)) = op else {
            return;
        };
        let caller = self.caller();
        let name = names[usize::from(*number) % names.len()];
        let Some((ino, id)) = self.walk(op, path) else {
            return;
        };
        if let Op::SetXattr(_, _, len, how) = op {
            let value = content(*how, usize::from(*len) % 6000);
            let how = match how % 5 {
                0 => SetXattr::Create,
                1 => SetXattr::Replace,
                _ => SetXattr::Either,
            };
            let real = self.fs().setxattr(&caller, ino, name, &value, how);
            let model = self.model.setxattr(&caller, id, name, &value, how);
            agree(op, real, model);
        } else {
            let real = self.fs().removexattr(&caller, ino, name);
            agree(op, real, self.model.removexattr(&caller, id, name));
        }
        self.stat(op, ino, id);
    }
}

fn time_of(clock: &Hand) -> Time {
    let now = clock.now();
    Time {
        secs: now.as_secs() as i64,
        nanos: now.subsec_nanos(),
    }
}

mod whole;

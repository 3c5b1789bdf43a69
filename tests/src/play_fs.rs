//! Plays operations on a file system and on its model, and compares what both answer.
//!
//! - One [`Op`] list is the input of property tests and of fuzzing alike.
//! - Time stands still during an operation, so times must be equal to the nanosecond.

mod files;
mod names;
mod op;
mod store;
mod whole;

use coffer_fusefs::attr::{Attr, Caller, Handle, Ino, OpenFlags, ROOT};
use coffer_fusefs::{Errno, FileSystem, FsResult, MountOptions};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model_fs::{Id, ModelFs, TOP};
use op::{SLOT_COUNT, name_of};
use store::Hand;

pub use op::{Op, Path, Place, list, op};
pub use store::{reopened, small_store};

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
        let clock = Arc::new(Hand::new(Duration::from_secs(1_700_000_000)));
        let tree = small_store(clock.clone());
        let now = clock.time();
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
            self.clock.advance(Duration::new(1, 1000 + step as u32));
            self.model.now = self.clock.time();
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
            Op::Allocate(..) | Op::Seek(..) | Op::Copy(..) => self.range(op),
            Op::Cut(..) | Op::CutPath(..) | Op::Chmod(..) | Op::Chown(..) | Op::Times(..) => {
                self.attributes(op);
            }
            _ => self.rest(op),
        }
    }

    fn rest(&mut self, op: &Op) {
        match op {
            Op::SetXattr(..) | Op::RemoveXattr(..) | Op::SetList(..) => self.xattr(op),
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
                self.clock.advance(Duration::from_millis(u64::from(*ms)));
                self.model.now = self.clock.time();
                self.fs().tick().unwrap();
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
}

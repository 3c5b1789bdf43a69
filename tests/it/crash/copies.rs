//! Power cuts under copies by reference.
//!
//! - A copy is there as a whole or not at all, and nothing else of the files is harmed.
//! - Nothing leaks: when all files are gone, neither chunks nor blob files are left.

use super::{env, seed, state_count};
use crate::stores;
use coffer_blobstore::BlobTree;
use coffer_engine::Ecc;
use coffer_fusefs::attr::{Caller, OpenFlags, ROOT, SetAttr, WriteFlags};
use coffer_fusefs::{FileSystem, MountOptions, path};
use coffer_tests::crash::CrashFs;
use coffer_tests::random::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;

const CALLER: Caller = Caller {
    uid: 0,
    gid: 0,
    pid: 0,
    umask: 0o022,
};
const CHUNK: usize = 128 << 10;
const NAMES: [&[u8]; 3] = [b"0", b"1", b"2"];
const RW: OpenFlags = OpenFlags {
    read: true,
    write: true,
    truncate: false,
    append: false,
    sync: false,
};

/// What each file holds.
type Files = BTreeMap<&'static [u8], Vec<u8>>;

struct Run {
    tree: Arc<BlobTree>,
    fs: FileSystem,
    medium: CrashFs,
    rng: Rng,
    files: Files,
    /// The files after each synced step, and the changes of the medium when it began and ended.
    steps: Vec<(usize, usize, Files)>,
}

fn noise(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes
}

fn write(fs: &FileSystem, name: &[u8], offset: usize, bytes: &[u8]) {
    let ino = path::resolve(fs, name).unwrap().ino;
    let handle = fs.open_file(&CALLER, ino, RW).unwrap();
    fs.write(ino, handle, offset as u64, bytes, WriteFlags::default())
        .unwrap();
    fs.release(ino, handle).unwrap();
}

fn cut(fs: &FileSystem, name: &[u8], len: usize) {
    let ino = path::resolve(fs, name).unwrap().ino;
    let size = SetAttr {
        size: Some(len as u64),
        ..SetAttr::default()
    };
    fs.setattr(&CALLER, ino, &size).unwrap();
}

impl Run {
    /// One change of the files, then a sync of everything.
    fn step(&mut self) {
        let start = self.medium.change_count();
        let name = NAMES[self.rng.below(3)];
        let len = self.files.get(name).map_or(0, Vec::len);
        match self.rng.below(8) {
            0..=3 if len > 0 => self.copy(name),
            4 if len > 0 => {
                path::remove(&self.fs, name).unwrap();
                self.files.remove(name);
            }
            5 if len > 0 => {
                let len = self.rng.below(len);
                cut(&self.fs, name, len);
                self.files.get_mut(name).unwrap().truncate(len);
            }
            6 if len > 0 => {
                let at = self.rng.below(len);
                let bytes = noise(&mut self.rng, 5000);
                write(&self.fs, name, at, &bytes);
                let file = self.files.get_mut(name).unwrap();
                file.resize(len.max(at + 5000), 0);
                file[at..at + 5000].copy_from_slice(&bytes);
            }
            7 => drop(self.tree.collect_garbage().unwrap()),
            _ => {
                let len = CHUNK + self.rng.below(CHUNK);
                let bytes = noise(&mut self.rng, len);
                self.target(name);
                cut(&self.fs, name, 0);
                write(&self.fs, name, 0, &bytes);
                self.files.insert(name, bytes);
            }
        }
        self.fs.sync_all().unwrap();
        let end = self.medium.change_count();
        self.steps.push((start, end, self.files.clone()));
    }

    /// A file to write to, a new one if need be.
    fn target(&mut self, name: &'static [u8]) -> u64 {
        if let Ok(attr) = path::resolve(&self.fs, name) {
            return attr.ino;
        }
        let (attr, handle) = self.fs.create(&CALLER, ROOT, name, 0o644, RW).unwrap();
        self.fs.release(attr.ino, handle).unwrap();
        self.fs.forget(attr.ino, 1);
        self.files.insert(name, Vec::new());
        attr.ino
    }

    fn copy(&mut self, from: &'static [u8]) {
        let to = NAMES[self.rng.below(3)];
        let source = path::resolve(&self.fs, from).unwrap().ino;
        let target = self.target(to);
        // Behind everything else where it is the same file.
        let index = match from == to {
            true => self.files[to].len().div_ceil(CHUNK),
            false => self.rng.below(2),
        };
        let at = index * CHUNK;
        let handles = [source, target].map(|ino| self.fs.open_file(&CALLER, ino, RW).unwrap());
        let (source_place, target_place) =
            ((source, handles[0], 0), (target, handles[1], at as u64));
        let done = self
            .fs
            .copy_range(&CALLER, source_place, target_place, u64::MAX >> 2)
            .unwrap();
        let bytes = self.files[from].clone();
        assert_eq!(done, bytes.len());
        for (ino, handle) in [source, target].into_iter().zip(handles) {
            self.fs.release(ino, handle).unwrap();
        }
        let file = self.files.get_mut(to).unwrap();
        if !bytes.is_empty() {
            file.resize(file.len().max(at + bytes.len()), 0);
            file[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }
}

fn open(env: coffer_engine::env::Env) -> (Arc<BlobTree>, FileSystem) {
    let tree = if BlobTree::exists(&env).unwrap() {
        stores::open(env).unwrap()
    } else {
        let options = stores::store_options(stores::transform(Ecc::None));
        BlobTree::create(env, &stores::credential(), options).unwrap()
    };
    let tree = Arc::new(tree);
    let fs = FileSystem::open(Arc::clone(&tree), MountOptions::default()).unwrap();
    (tree, fs)
}

fn found(fs: &FileSystem) -> Files {
    let mut files = Files::new();
    for name in NAMES {
        if path::resolve(fs, name).is_ok() {
            let mut bytes = Vec::new();
            path::get(fs, name, None, &mut bytes, &mut |_| ()).unwrap();
            files.insert(name, bytes);
        }
    }
    files
}

/// What is found after a cut: each file as before or after the step that was cut, or on the way.
fn check(run: &Run, at: usize, state: u64) {
    let cut = run.medium.record().crash(at, state);
    let what = format!("cut before {at}, state {state}");
    let (tree, fs) = open(env(&cut, 7));
    let found = found(&fs);
    let done = run.steps.partition_point(|(_, end, _)| *end <= at);
    let begun = run.steps.partition_point(|(start, _, _)| *start < at);
    let begun = begun.max(done);
    let allowed: Vec<&Files> = run.steps[done.saturating_sub(1)..begun]
        .iter()
        .map(|(_, _, files)| files)
        .collect();
    for (name, bytes) in &found {
        let fits = |files: &&Files| files.get(name).is_some_and(|file| file == bytes);
        // A new file comes without content; what is cut and written anew may be either alone.
        let is_fine = allowed.iter().any(fits) || bytes.is_empty();
        let lens = |files: &&Files| files.get(name).map(Vec::len);
        let lens: Vec<_> = allowed.iter().map(lens).collect();
        assert!(
            is_fine,
            "{what}: {} bytes of {name:?}, not {lens:?}",
            bytes.len()
        );
    }
    if begun == done {
        assert!(found == *allowed[0], "{what}: all was synced");
    }
    let report = tree.verify(&mut |_| ()).unwrap();
    assert!(report.is_whole(), "{what}: {report:?}");
    for name in found.keys() {
        path::remove(&fs, name).unwrap();
    }
    fs.close().unwrap();
    drop(fs);
    drop(tree);
    let tree = stores::open(env(&cut, 8)).unwrap();
    tree.compact(&mut |_| ()).unwrap();
    assert_eq!(tree.garbage().unwrap().file_count, 0, "{what}: a leak");
    for (key, _) in stores::dump(&tree).unwrap() {
        assert!(b"SID".contains(&key[0]), "{what}: {key:?} is left");
    }
}

#[test]
fn every_cut_of_a_copy_leaves_the_old_or_the_new_and_leaks_nothing() {
    let medium = CrashFs::new();
    let (tree, fs) = open(env(&medium, seed()));
    fs.sync_all().unwrap();
    let count = medium.change_count();
    let mut run = Run {
        tree,
        fs,
        medium,
        rng: Rng::new(seed()),
        files: Files::new(),
        steps: vec![(0, count, Files::new())],
    };
    for _ in 0..40 {
        run.step();
    }
    for at in count..=run.medium.change_count() {
        for state in 0..state_count() {
            check(&run, at, state);
        }
    }
}

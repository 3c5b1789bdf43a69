//! Power cuts under a file system.
//!
//! - The names are a state of history, not older than the last fsync that was answered.
//! - A file holds what its last fsync, or the last rename that published it, promised, or something
//!   newer that was really written.

use super::{env, seed, state_count};
use crate::stores;
use coffer_blobstore::BlobTree;
use coffer_engine::Ecc;
use coffer_engine::env::Env;
use coffer_fusefs::attr::{
    Allocate, Attr, Caller, Handle, Kind, OpenFlags, ROOT, RenameFlags, WriteFlags,
};
use coffer_fusefs::{FileSystem, FsResult, MountOptions, path};
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

/// What a path leads to: a directory, or the file with this number.
type Names = BTreeMap<String, Option<usize>>;

/// What a crash point must at least find.
#[derive(Clone)]
struct Version {
    names: Names,
    /// For each file the content that a rename up to here published, as an index of its contents.
    published: BTreeMap<usize, usize>,
}

impl Version {
    fn set(&mut self, name: &str, file: Option<usize>) {
        self.names.insert(name.to_owned(), file);
    }

    fn unset(&mut self, name: &str) {
        self.names.remove(name);
    }
}

struct Mark {
    start: usize,
    end: usize,
    version: usize,
    /// Contents of files as promised by an fsync that this call answered.
    synced: Option<(usize, usize)>,
    is_synced: bool,
    /// How many contents each file has had by now.
    content_counts: Vec<usize>,
}

fn open(env: Env) -> FileSystem {
    let tree = if BlobTree::exists(&env).unwrap() {
        stores::open(env).unwrap()
    } else {
        let options = stores::store_options(stores::transform(Ecc::None));
        BlobTree::create(env, &stores::credential(), options).unwrap()
    };
    // Everything is old enough for a tick to write and sync it.
    let options = MountOptions {
        dirty_age_ms_max: 0,
        ..MountOptions::default()
    };
    FileSystem::open(Arc::new(tree), options).unwrap()
}

fn write(fs: &FileSystem, handle: (Attr, Handle), bytes: &[u8]) -> FsResult<()> {
    for (index, part) in bytes.chunks(3_000).enumerate() {
        let offset = index as u64 * 3_000;
        fs.write(handle.0.ino, handle.1, offset, part, WriteFlags::default())?;
    }
    Ok(())
}

struct Run {
    fs: FileSystem,
    medium: CrashFs,
    rng: Rng,
    /// Everything that each file ever held, in order.
    contents: Vec<Vec<Vec<u8>>>,
    history: Vec<Version>,
    marks: Vec<Mark>,
}

impl Run {
    fn names(&self) -> &Names {
        &self.history.last().unwrap().names
    }

    /// A name that is taken by a file, if there is one.
    fn some_file(&mut self) -> Option<(String, usize)> {
        let files: Vec<(String, usize)> = self
            .names()
            .iter()
            .filter_map(|(name, file)| Some((name.clone(), (*file)?)))
            .collect();
        (!files.is_empty()).then(|| self.rng.pick(&files).clone())
    }

    fn place(&self, name: &str) -> (u64, Vec<u8>) {
        let (folder, leaf) = name.rsplit_once('/').unwrap_or(("", name));
        let parent = path::resolve(&self.fs, folder.as_bytes()).unwrap().ino;
        (parent, leaf.as_bytes().to_vec())
    }

    fn push(&mut self, change: impl FnOnce(&mut Version)) {
        let mut next = self.history.last().unwrap().clone();
        change(&mut next);
        self.history.push(next);
    }

    /// A new file under a free name, in the root or in one of two folders; sometimes synced.
    fn create(&mut self) -> Option<(usize, usize)> {
        let folder = *self.rng.pick(&["", "d0/", "d1/"]);
        let name = format!("{folder}f{}", self.rng.below(6));
        let folder_exists =
            folder.is_empty() || self.names().contains_key(folder.trim_end_matches('/'));
        if self.names().contains_key(&name) || !folder_exists {
            return None;
        }
        let file = self.contents.len();
        let bytes = stores::value(&mut self.rng);
        self.contents.push(vec![Vec::new()]);
        self.add_contents(file, &bytes, 0);
        self.push(|version| version.set(&name, Some(file)));
        let (parent, leaf) = self.place(&name);
        let flags = OpenFlags {
            read: true,
            write: true,
            ..OpenFlags::default()
        };
        let handle = self
            .fs
            .create(&CALLER, parent, &leaf, 0o644, flags)
            .unwrap();
        write(&self.fs, handle, &bytes).unwrap();
        self.finish(handle, file)
    }

    /// Replaces the content of a file, from its start.
    fn overwrite(&mut self) -> Option<(usize, usize)> {
        let (name, file) = self.some_file()?;
        let bytes = stores::value(&mut self.rng);
        self.contents[file].push(Vec::new());
        self.add_contents(file, &bytes, 0);
        let attr = path::resolve(&self.fs, name.as_bytes()).unwrap();
        let flags = OpenFlags {
            write: true,
            truncate: true,
            ..OpenFlags::default()
        };
        let handle = self.fs.open_file(&CALLER, attr.ino, flags).unwrap();
        write(&self.fs, (attr, handle), &bytes).unwrap();
        self.finish((attr, handle), file)
    }

    /// Makes a file zeros, as a whole or in part.
    fn punch(&mut self) -> Option<(usize, usize)> {
        let (name, file) = self.some_file()?;
        let mut bytes = self.contents[file].last().unwrap().clone();
        let range = match self.rng.chance(50) {
            true => 0..1 << 20,
            false => bytes.len() / 3..bytes.len() / 2 + 1,
        };
        let end = range.end.min(bytes.len());
        bytes[range.start..end].fill(0);
        self.contents[file].push(bytes);
        let attr = path::resolve(&self.fs, name.as_bytes()).unwrap();
        let flags = OpenFlags {
            write: true,
            ..OpenFlags::default()
        };
        let handle = self.fs.open_file(&CALLER, attr.ino, flags).unwrap();
        let range = range.start as u64..range.end as u64;
        self.fs
            .fallocate(&CALLER, attr.ino, handle, range, Allocate::PunchHole)
            .unwrap();
        self.finish((attr, handle), file)
    }

    /// Notes every content on the way to `bytes`, one for each write call.
    fn add_contents(&mut self, file: usize, bytes: &[u8], from: usize) {
        let mut end = from;
        while end < bytes.len() {
            end = (end + 3_000).min(bytes.len());
            self.contents[file].push(bytes[..end].to_vec());
        }
    }

    fn finish(&mut self, handle: (Attr, Handle), file: usize) -> Option<(usize, usize)> {
        let is_synced = self.rng.chance(40);
        if is_synced {
            self.fs
                .fsync(handle.0.ino, handle.1, self.rng.chance(30))
                .unwrap();
        }
        self.fs.release(handle.0.ino, handle.1).unwrap();
        is_synced.then(|| (file, self.contents[file].len() - 1))
    }

    fn rename(&mut self) {
        let Some((from, file)) = self.some_file() else {
            return;
        };
        let target = format!("f{}", self.rng.below(6));
        if target == from {
            return;
        }
        let last = self.contents[file].len() - 1;
        self.push(|version| {
            version.unset(&from);
            version.set(&target, Some(file));
            version.published.insert(file, last);
        });
        let ((parent, name), (new_parent, new_name)) = (self.place(&from), self.place(&target));
        let flags = RenameFlags::default();
        self.fs
            .rename(&CALLER, parent, &name, new_parent, &new_name, flags)
            .unwrap();
    }

    fn unlink(&mut self) {
        let Some((name, _)) = self.some_file() else {
            return;
        };
        self.push(|version| version.unset(&name));
        let (parent, leaf) = self.place(&name);
        self.fs.unlink(parent, &leaf).unwrap();
    }

    fn mkdir(&mut self) {
        let name = format!("d{}", self.rng.below(2));
        if !self.names().contains_key(&name) {
            self.push(|version| version.set(&name, None));
            self.fs
                .mkdir(&CALLER, ROOT, name.as_bytes(), 0o755)
                .unwrap();
        }
    }

    fn call(&mut self) {
        let start = self.medium.change_count();
        let mut synced = None;
        let mut is_synced = false;
        match self.rng.below(14) {
            0..=3 => synced = self.create(),
            4 | 5 => synced = self.overwrite(),
            6 | 7 => self.rename(),
            8 => self.unlink(),
            9 => self.mkdir(),
            10 | 11 => synced = self.punch(),
            12 => {
                self.fs.fsyncdir(ROOT).unwrap();
                is_synced = true;
            }
            _ => {
                self.fs.tick().unwrap();
                is_synced = true;
            }
        }
        self.marks.push(Mark {
            start,
            end: self.medium.change_count(),
            version: self.history.len() - 1,
            is_synced: is_synced || synced.is_some(),
            synced,
            content_counts: self.contents.iter().map(Vec::len).collect(),
        });
    }
}

fn found(fs: &FileSystem, what: &dyn Fn() -> String) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut out = BTreeMap::new();
    let mut listed = Vec::new();
    path::list(fs, b"", true, &mut |entry| {
        listed.push(entry);
        true
    })
    .unwrap_or_else(|error| panic!("{}{error:?}", what()));
    for entry in listed {
        let name = String::from_utf8(entry.path).unwrap();
        let size = entry.attr.unwrap().size;
        let content = (entry.kind == Kind::File).then(|| {
            let mut bytes = Vec::new();
            path::get(fs, name.as_bytes(), None, &mut bytes, &mut |_| ())
                .unwrap_or_else(|error| panic!("{}{name}: {error:?}", what()));
            assert_eq!(bytes.len() as u64, size, "{}{name}: size", what());
            bytes
        });
        out.insert(name, content);
    }
    out
}

fn check(run: &Run, at: usize, state: u64, seed: u64) {
    let record = run.medium.record();
    let what = || {
        format!(
            "seed {seed}, cut before {at}, state {state}\n{}",
            record.describe(at)
        )
    };
    let cut = record.crash(at, state);
    let fs = open(env(&cut, 5));
    let found = found(&fs, &what);
    drop(fs);
    let answered: Vec<&Mark> = run.marks.iter().filter(|mark| mark.end <= at).collect();
    let made: Vec<&Mark> = run.marks.iter().filter(|mark| mark.start <= at).collect();
    let synced = answered.iter().filter(|mark| mark.is_synced);
    let low = synced.map(|mark| mark.version).max().unwrap();
    let high = made.iter().map(|mark| mark.version).max().unwrap();
    let mut floors = BTreeMap::new();
    for mark in &answered {
        floors.extend(mark.synced);
    }
    let counts = &made.last().unwrap().content_counts;
    let fits = |version: &Version| -> Result<(), String> {
        let names: Vec<(&String, bool)> = version
            .names
            .iter()
            .map(|(name, file)| (name, file.is_some()))
            .collect();
        let seen: Vec<(&String, bool)> = found
            .iter()
            .map(|(name, bytes)| (name, bytes.is_some()))
            .collect();
        if names != seen {
            return Err(format!("names {names:?} but {seen:?}"));
        }
        for (name, file) in &version.names {
            let (Some(file), Some(bytes)) = (file, &found[name]) else {
                continue;
            };
            let floor = floors
                .get(file)
                .max(version.published.get(file))
                .copied()
                .unwrap_or(0);
            let allowed = &run.contents[*file][floor..counts[*file]];
            if !allowed.contains(bytes) {
                let lens: Vec<usize> = allowed.iter().map(Vec::len).collect();
                return Err(format!(
                    "{name} has {} bytes, not one of {lens:?}",
                    bytes.len()
                ));
            }
        }
        Ok(())
    };
    let misfits: Vec<String> = run.history[low..=high]
        .iter()
        .map_while(|version| fits(version).err())
        .collect();
    assert!(
        misfits.len() <= high - low,
        "{}no version from {low} to {high} fits:\n{}",
        what(),
        misfits.join("\n")
    );
    // A second look, after a second opening, sees the same.
    let again = open(env(&cut, 6));
    assert!(
        self::found(&again, &what) == found,
        "{}two openings differ",
        what()
    );
}

#[test]
fn every_cut_leaves_whole_files_and_a_prefix_of_the_names() {
    for workload in 0..2 {
        let seed = seed() * 100 + workload;
        let medium = CrashFs::new();
        let fs = open(env(&medium, seed));
        fs.sync_all().unwrap();
        let first = Mark {
            start: 0,
            end: medium.change_count(),
            version: 0,
            synced: None,
            is_synced: true,
            content_counts: Vec::new(),
        };
        let mut run = Run {
            fs,
            rng: Rng::new(seed),
            contents: Vec::new(),
            history: vec![Version {
                names: Names::new(),
                published: BTreeMap::new(),
            }],
            marks: vec![first],
            medium: medium.clone(),
        };
        for _ in 0..60 {
            run.call();
        }
        for at in run.marks[0].end..=medium.change_count() {
            for state in 0..state_count() {
                check(&run, at, state, seed);
            }
        }
    }
}

//! A medium that loses power: whatever was not synced may be lost, torn or reordered.
//!
//! - Every operation that changes the medium is recorded. [`Record::crash`] answers what a disk
//!   could hold if the power went just before the operation with that index.
//! - Contents become durable by `sync` of the file, names by `sync_dir`, nothing by anything else.
//! - Bytes that were not synced: each sector of 512 bytes is new, old or zero; the last one may be
//!   cut at any byte; the length lies anywhere between old and new.
//! - Names that were not synced: each creation, removal or renaming happened or did not.
//! - After a failed sync the bytes or names in question are gone for good, though reads still show
//!   them and the next sync succeeds (as Linux does). A write can go astray: see [`crate::fault`],
//!   which decides when.
//! - A medium has several directories, which lose power together.

mod disk;

use coffer_engine::env::{File, Fs, OpenMode, Space};
use coffer_engine::{Error, FileId, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use disk::{Change, Disk, Name};

/// A fault that only the medium can have: of the next sync or append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// The sync fails, and what it should have kept is gone for good.
    LostSync,
    /// The append reaches another place; the seed says which.
    Astray(u64),
}

struct State {
    disk: Disk,
    changes: Vec<Change>,
    start: Disk,
    locked: BTreeSet<u32>,
    mishap: Option<Mishap>,
}

impl State {
    fn change(&mut self, change: Change) {
        self.disk.apply(&change);
        self.changes.push(change);
    }
}

/// One directory of the medium, as a store sees it.
#[derive(Clone)]
pub struct CrashFs {
    state: Arc<Mutex<State>>,
    directory: u32,
}

/// Everything that happened to a [`CrashFs`] up to some moment.
pub struct Record {
    start: Disk,
    changes: Vec<Change>,
}

/// A [`Record`] gone through from its start, for those who try many crash points in order.
pub struct Replay<'a> {
    disk: Disk,
    changes: &'a [Change],
    at: usize,
}

impl CrashFs {
    /// An empty medium.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Disk::default())
    }

    fn over(disk: Disk) -> Self {
        let state = Arc::new(Mutex::new(State {
            start: disk.clone(),
            disk,
            changes: Vec::new(),
            locked: BTreeSet::new(),
            mishap: None,
        }));
        Self {
            state,
            directory: 0,
        }
    }

    /// Another directory of the same medium; the first has number 0.
    #[must_use]
    pub fn directory(&self, number: u32) -> Self {
        Self {
            state: Arc::clone(&self.state),
            directory: number,
        }
    }

    /// The number of a directory that holds nothing yet.
    #[must_use]
    pub fn unused_directory(&self) -> u32 {
        let last = self.state().disk.live.keys().map(|name| name.0).max();
        last.unwrap_or(0) + 1
    }

    /// A copy of the medium as it is now, unsynced bytes and all, with a record that begins here.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::over(self.state().disk.clone())
    }

    /// How many changes were made so far: the index that the next one will have.
    #[must_use]
    pub fn change_count(&self) -> usize {
        self.state().changes.len()
    }

    /// What happened so far.
    #[must_use]
    pub fn record(&self) -> Record {
        let state = self.state();
        Record {
            start: state.start.clone(),
            changes: state.changes.clone(),
        }
    }

    /// The medium after the power went now; `seed` chooses among the states that are possible.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        Self::over(self.state().disk.crash(seed))
    }

    /// Turns one bit on the disk, in whichever file `seed` says; which one that was.
    pub fn rot(&self, seed: u64) -> Option<FileId> {
        let mut state = self.state();
        let name = state.disk.rot(seed)?;
        state.start = state.disk.clone();
        Some(name.1)
    }

    /// The next sync or append has this mishap.
    pub(crate) fn expect(&self, mishap: Mishap) {
        self.state().mishap = Some(mishap);
    }

    /// Contents of all files as reads see them, by name.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<FileId, Vec<u8>> {
        let state = self.state();
        let names = state.disk.live.iter();
        names
            .filter(|(name, _)| name.0 == self.directory)
            .map(|(name, inode)| (name.1, state.disk.inodes[*inode].live.to_vec()))
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn name(&self, id: FileId) -> Name {
        (self.directory, id)
    }

    fn find(&self, id: FileId) -> Result<usize> {
        let found = self.state().disk.live.get(&self.name(id)).copied();
        found.ok_or_else(|| Error::corruption("file is missing").in_file(id))
    }
}

impl Default for CrashFs {
    fn default() -> Self {
        Self::new()
    }
}

impl Record {
    /// How many changes there were: crash points are `0..=change_count()`.
    #[must_use]
    pub fn change_count(&self) -> usize {
        self.changes.len()
    }

    /// The medium after the power went when `change_count` changes had been made; `seed` chooses
    /// among the many states that are possible then.
    #[must_use]
    pub fn crash(&self, change_count: usize, seed: u64) -> CrashFs {
        let mut replay = self.replay();
        replay.go_to(change_count);
        replay.crash(seed)
    }

    /// The medium before the first change, ready to go on.
    #[must_use]
    pub fn replay(&self) -> Replay<'_> {
        Replay {
            disk: self.start.clone(),
            changes: &self.changes,
            at: 0,
        }
    }

    /// One line per change with its index, to read what led to a crash.
    #[must_use]
    pub fn describe(&self, around: usize) -> String {
        let first = around.saturating_sub(12);
        let last = (around + 3).min(self.changes.len());
        let of_start = self.start.live.iter().map(|(name, inode)| (*inode, *name));
        let mut names: BTreeMap<usize, Name> = of_start.collect();
        let mut out = String::new();
        for (index, change) in self.changes.iter().enumerate().take(last) {
            if let Change::Create(name, inode) = change {
                names.insert(*inode, *name);
            }
            if index >= first {
                out.push_str(&format!("{index:6} {}\n", describe(change, &names)));
            }
        }
        out
    }
}

fn describe(change: &Change, names: &BTreeMap<usize, Name>) -> String {
    let shown = |name: &Name| match name.0 {
        0 => name.1.to_string(),
        directory => format!("{directory}/{}", name.1),
    };
    let name = |inode: &usize| names.get(inode).map_or_else(String::new, shown);
    match change {
        Change::Create(name, _) => format!("create {}", shown(name)),
        Change::Remove(name) => format!("remove {}", shown(name)),
        Change::Rename(from, to) => format!("rename {} to {}", shown(from), shown(to)),
        Change::Append(inode, bytes) => format!("append {} {}", name(inode), bytes.len()),
        Change::WriteAt(inode, at, bytes) => {
            format!("write {} {} at {at}", name(inode), bytes.len())
        }
        Change::Astray(inode, _, bytes, _) => {
            format!("append {} {}, but astray", name(inode), bytes.len())
        }
        Change::Truncate(inode, len) => format!("truncate {} {len}", name(inode)),
        Change::Sync(inode) => format!("sync {}", name(inode)),
        Change::FailedSync(inode) => format!("failed sync {}", name(inode)),
        Change::SyncDir(directory) => format!("sync directory {directory}"),
        Change::FailedSyncDir(directory) => format!("failed sync of directory {directory}"),
    }
}

impl Replay<'_> {
    /// Makes changes until `change_count` are made; they must not be more already.
    pub fn go_to(&mut self, change_count: usize) {
        for change in &self.changes[self.at..change_count] {
            self.disk.apply(change);
        }
        self.at = change_count;
    }

    /// The medium after the power went here; `seed` chooses among the states that are possible.
    #[must_use]
    pub fn crash(&self, seed: u64) -> CrashFs {
        CrashFs::over(self.disk.crash(seed))
    }
}

impl Fs for CrashFs {
    fn open(&self, id: FileId, mode: OpenMode) -> Result<Arc<dyn File>> {
        let found = self.find(id);
        let inode = match (mode, found) {
            (OpenMode::Create, Ok(_)) => {
                return Err(Error::io("file exists already").in_file(id));
            }
            (OpenMode::Create, Err(_)) => {
                let mut state = self.state();
                let inode = state.disk.inodes.len();
                state.change(Change::Create(self.name(id), inode));
                inode
            }
            (_, found) => found?,
        };
        let end = self.state().disk.inodes[inode].live.len();
        Ok(Arc::new(CrashFile {
            fs: self.clone(),
            id,
            inode,
            end: Mutex::new(end),
        }))
    }

    fn rename(&self, from: FileId, to: FileId) -> Result<()> {
        self.find(from)?;
        let change = Change::Rename(self.name(from), self.name(to));
        self.state().change(change);
        Ok(())
    }

    fn remove(&self, id: FileId) -> Result<()> {
        self.find(id)?;
        self.state().change(Change::Remove(self.name(id)));
        Ok(())
    }

    fn list(&self) -> Result<Vec<FileId>> {
        let state = self.state();
        let names = state.disk.live.keys();
        let here = names.filter(|name| name.0 == self.directory);
        Ok(here.map(|name| name.1).collect())
    }

    fn sync_dir(&self) -> Result<()> {
        let mut state = self.state();
        if state.mishap.take() == Some(Mishap::LostSync) {
            state.change(Change::FailedSyncDir(self.directory));
            return Err(Error::io("sync of the directory failed"));
        }
        state.change(Change::SyncDir(self.directory));
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>> {
        if !self.state().locked.insert(self.directory) {
            return Err(Error::locked("the store is open already"));
        }
        Ok(Box::new(Guard(self.clone())))
    }

    fn space(&self) -> Result<Space> {
        Ok(Space {
            total_len: 1 << 40,
            free_len: 1 << 39,
        })
    }
}

struct Guard(CrashFs);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.state().locked.remove(&self.0.directory);
    }
}

struct CrashFile {
    fs: CrashFs,
    id: FileId,
    inode: usize,
    /// Behind the last byte appended; zeros may follow.
    end: Mutex<usize>,
}

/// Zeros written ahead of appends.
const RESERVE_LEN: usize = 12 << 10;

impl File for CrashFile {
    fn len(&self) -> Result<u64> {
        Ok(self.fs.state().disk.inodes[self.inode].live.len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let state = self.fs.state();
        let live = &state.disk.inodes[self.inode].live;
        let rest = live.get(offset as usize..).unwrap_or(&[]);
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn append(&self, bytes: &[u8]) -> Result<()> {
        let mut end = self.end.lock().unwrap();
        let start = *end;
        *end += bytes.len();
        let mut state = self.fs.state();
        let is_end = start == state.disk.inodes[self.inode].live.len();
        let change = match state.mishap.take() {
            Some(Mishap::Astray(seed)) => {
                Change::Astray(self.inode, start as u64, bytes.into(), seed)
            }
            _ if is_end => Change::Append(self.inode, bytes.into()),
            _ => Change::WriteAt(self.inode, start as u64, bytes.into()),
        };
        state.change(change);
        Ok(())
    }

    fn reserve(&self, len: u64) -> Result<()> {
        let end = self.end.lock().unwrap();
        if *end as u64 + len > self.len()? {
            let zeros = vec![0; RESERVE_LEN];
            let change = Change::Append(self.inode, zeros.into());
            self.fs.state().change(change);
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let change = Change::WriteAt(self.inode, offset, bytes.into());
        self.fs.state().change(change);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.fs.state();
        if state.mishap.take() == Some(Mishap::LostSync) {
            state.change(Change::FailedSync(self.inode));
            return Err(Error::io("sync failed").in_file(self.id));
        }
        state.change(Change::Sync(self.inode));
        Ok(())
    }

    fn truncate(&self, len: u64) -> Result<()> {
        let mut end = self.end.lock().unwrap();
        *end = (len as usize).min(*end);
        self.fs.state().change(Change::Truncate(self.inode, len));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::FileKind;

    const WAL: FileId = FileId::new(FileKind::Wal, 1);
    const TEMP: FileId = FileId::new(FileKind::Temp, 2);
    const CURRENT: FileId = FileId::new(FileKind::Current, 0);

    fn states(fs: &CrashFs) -> Vec<BTreeMap<FileId, Vec<u8>>> {
        let record = fs.record();
        (0..200)
            .map(|seed| record.crash(record.change_count(), seed).contents())
            .collect()
    }

    #[test]
    fn synced_bytes_and_names_survive() {
        let fs = CrashFs::new();
        let file = fs.open(WAL, OpenMode::Create).unwrap();
        file.append(b"kept").unwrap();
        file.sync().unwrap();
        fs.sync_dir().unwrap();
        file.append(&[7; 2000]).unwrap();
        let states = states(&fs);
        assert!(states.iter().all(|state| state[&WAL].starts_with(b"kept")));
        for len in [4, 2004] {
            assert!(states.iter().any(|state| state[&WAL].len() == len));
        }
        // Torn at a byte, and a lost sector in the middle of later ones.
        assert!(states.iter().any(|state| state[&WAL].len() % 512 != 4));
        assert!(states.iter().any(|state| {
            let bytes = &state[&WAL];
            bytes.len() > 1100 && bytes[600] == 0 && bytes[1030] == 7
        }));
    }

    #[test]
    fn names_without_sync_dir_may_go() {
        let fs = CrashFs::new();
        let file = fs.open(WAL, OpenMode::Create).unwrap();
        file.append(b"x").unwrap();
        file.sync().unwrap();
        let states = states(&fs);
        assert!(states.iter().any(BTreeMap::is_empty));
        assert!(states.iter().any(|state| state.contains_key(&WAL)));
    }

    #[test]
    fn renames_are_atomic() {
        let fs = CrashFs::new();
        for (id, text) in [(CURRENT, b"old"), (TEMP, b"new")] {
            let file = fs.open(id, OpenMode::Create).unwrap();
            file.append(text).unwrap();
            file.sync().unwrap();
        }
        fs.sync_dir().unwrap();
        fs.rename(TEMP, CURRENT).unwrap();
        let (mut old, mut new) = (0, 0);
        for state in states(&fs) {
            match state[&CURRENT].as_slice() {
                b"old" => old += 1,
                b"new" => new += 1,
                other => panic!("half renamed: {other:?}"),
            }
        }
        assert!(old > 0 && new > 0);
    }

    #[test]
    fn a_failed_sync_loses_for_good() {
        let fs = CrashFs::new();
        let file = fs.open(WAL, OpenMode::Create).unwrap();
        fs.sync_dir().unwrap();
        file.append(b"lost").unwrap();
        fs.expect(Mishap::LostSync);
        assert!(file.sync().is_err());
        file.sync().unwrap();
        let mut seen = [0; 4];
        file.read_at(0, &mut seen).unwrap();
        assert_eq!(&seen, b"lost");
        assert!(states(&fs).iter().all(|state| state[&WAL] == [0; 4]));
    }

    #[test]
    fn earlier_crash_points_know_less() {
        let fs = CrashFs::new();
        let file = fs.open(WAL, OpenMode::Create).unwrap();
        fs.sync_dir().unwrap();
        let before = fs.change_count();
        file.append(b"x").unwrap();
        file.sync().unwrap();
        let record = fs.record();
        assert_eq!(record.crash(before, 1).contents()[&WAL], b"");
        assert_eq!(
            record.crash(record.change_count(), 1).contents()[&WAL],
            b"x"
        );
        assert!(record.describe(before).contains("sync 000001.wal"));
    }

    #[test]
    fn one_lock_at_a_time() {
        let fs = CrashFs::new();
        let guard = fs.lock().unwrap();
        assert!(fs.lock().is_err());
        drop(guard);
        assert!(fs.lock().is_ok());
    }
}

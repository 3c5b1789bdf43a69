//! A medium that loses power: whatever was not synced may be lost, torn or reordered.
//!
//! - Every operation that changes the medium is recorded. [`Record::crash`] answers what a disk
//!   could hold if the power went just before the operation with that index.
//! - Contents become durable by `sync` of the file, names by `sync_dir`, nothing by anything else.
//! - Bytes that were not synced: each sector of 512 bytes is new, old or zero; the last one may be
//!   cut at any byte; the length lies anywhere between old and new.
//! - Names that were not synced: each creation, removal or renaming happened or did not.
//! - After a failed sync the bytes in question are gone for good, though reads still show them and
//!   the next sync succeeds (as Linux does).

use coffer_engine::env::{File, Fs, OpenMode, Space};
use coffer_engine::{Error, FileId, FileKind, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::random::Rng;

const SECTOR_LEN: usize = 512;

/// One change of the medium; files go by the number of their creation.
#[derive(Clone, Debug)]
enum Change {
    Create(FileId, usize),
    Remove(FileId),
    Rename(FileId, FileId),
    Append(usize, Arc<[u8]>),
    WriteAt(usize, u64, Arc<[u8]>),
    Truncate(usize, u64),
    Sync(usize),
    FailedSync(usize),
    SyncDir,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    dirty: Vec<Range<usize>>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(FileId, usize),
    Unset(FileId),
    Move(FileId, FileId, usize),
}

/// What the medium holds, and what of it would survive.
#[derive(Clone, Debug, Default)]
struct Disk {
    inodes: Vec<Inode>,
    live: BTreeMap<FileId, usize>,
    durable: BTreeMap<FileId, usize>,
    pending: Vec<NameChange>,
}

impl Disk {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Create(id, inode) => {
                self.inodes
                    .resize(self.inodes.len().max(inode + 1), Inode::default());
                self.live.insert(*id, *inode);
                self.pending.push(NameChange::Set(*id, *inode));
            }
            Change::Remove(id) => {
                self.live.remove(id);
                self.pending.push(NameChange::Unset(*id));
            }
            Change::Rename(from, to) => {
                if let Some(inode) = self.live.remove(from) {
                    self.live.insert(*to, inode);
                    self.pending.push(NameChange::Move(*from, *to, inode));
                }
            }
            Change::Append(inode, bytes) => self.inodes[*inode].append(bytes),
            Change::WriteAt(inode, offset, bytes) => {
                self.inodes[*inode].write_at(*offset as usize, bytes);
            }
            Change::Truncate(inode, len) => self.inodes[*inode].live.truncate(*len as usize),
            Change::Sync(inode) => self.inodes[*inode].sync(),
            Change::FailedSync(inode) => self.inodes[*inode].dirty.clear(),
            Change::SyncDir => {
                self.durable = self.live.clone();
                self.pending.clear();
            }
        }
    }

    fn crash(&self, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut names = self.durable.clone();
        // All lost, all kept, a prefix, or each by itself.
        let mode = rng.below(4);
        let kept = rng.below(self.pending.len() + 1);
        for (index, change) in self.pending.iter().enumerate() {
            let happens = match mode {
                0 => false,
                1 => true,
                2 => index < kept,
                _ => rng.chance(50),
            };
            if happens {
                match change {
                    NameChange::Set(id, inode) => drop(names.insert(*id, *inode)),
                    NameChange::Unset(id) => drop(names.remove(id)),
                    NameChange::Move(from, to, inode) => {
                        if names.get(from) == Some(inode) {
                            names.remove(from);
                        }
                        names.insert(*to, *inode);
                    }
                }
            }
        }
        let mut after = Self::default();
        for (id, inode) in names {
            let bytes = self.inodes[inode].crash(&mut rng);
            after.live.insert(id, after.inodes.len());
            after.inodes.push(Inode {
                live: bytes.clone(),
                durable: bytes,
                dirty: Vec::new(),
            });
        }
        after.durable = after.live.clone();
        after
    }
}

impl Inode {
    fn append(&mut self, bytes: &[u8]) {
        let start = self.live.len();
        self.live.extend_from_slice(bytes);
        self.dirty.push(start..self.live.len());
    }

    fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        self.live.resize(self.live.len().max(end), 0);
        self.live[offset..end].copy_from_slice(bytes);
        self.dirty.push(offset..end);
    }

    fn sync(&mut self) {
        self.durable.resize(self.live.len(), 0);
        for range in self.dirty.drain(..) {
            let range = range.start.min(self.live.len())..range.end.min(self.live.len());
            self.durable[range.clone()].copy_from_slice(&self.live[range]);
        }
    }

    fn crash(&self, rng: &mut Rng) -> Vec<u8> {
        let (low, high) = (
            self.live.len().min(self.durable.len()),
            self.live.len().max(self.durable.len()),
        );
        // Nothing, everything, or something of what was not synced.
        let mode = rng.below(4);
        let len = match mode {
            0 => self.durable.len(),
            1 => self.live.len(),
            _ => low + rng.below(high - low + 1),
        };
        let mut out = self.durable.clone();
        out.resize(high, 0);
        for range in &self.dirty {
            let range = range.start.min(self.live.len())..range.end.min(self.live.len());
            let mut at = range.start;
            while at < range.end {
                let next = ((at / SECTOR_LEN + 1) * SECTOR_LEN).min(range.end);
                let new = match mode {
                    0 => false,
                    1 => true,
                    // A prefix, as a log that grows usually leaves it.
                    2 => at < len,
                    _ => rng.chance(50),
                };
                if new {
                    out[at..next].copy_from_slice(&self.live[at..next]);
                }
                at = next;
            }
        }
        out.truncate(len);
        out
    }
}

struct State {
    disk: Disk,
    changes: Vec<Change>,
    start: Disk,
    is_locked: bool,
    fail_sync: Option<FileKind>,
}

/// The medium, as a store sees it.
#[derive(Clone)]
pub struct CrashFs(Arc<Mutex<State>>);

/// Everything that happened to a [`CrashFs`] up to some moment.
pub struct Record {
    start: Disk,
    changes: Vec<Change>,
}

impl CrashFs {
    /// An empty medium.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Disk::default())
    }

    fn over(disk: Disk) -> Self {
        Self(Arc::new(Mutex::new(State {
            start: disk.clone(),
            disk,
            changes: Vec::new(),
            is_locked: false,
            fail_sync: None,
        })))
    }

    /// How many changes were made so far: the index that the next one will have.
    #[must_use]
    pub fn change_count(&self) -> usize {
        self.0.lock().unwrap().changes.len()
    }

    /// What happened so far.
    #[must_use]
    pub fn record(&self) -> Record {
        let state = self.0.lock().unwrap();
        Record {
            start: state.start.clone(),
            changes: state.changes.clone(),
        }
    }

    /// The next sync of a file of `kind` fails and loses what it should have kept.
    pub fn fail_next_sync(&self, kind: FileKind) {
        self.0.lock().unwrap().fail_sync = Some(kind);
    }

    /// Contents of all files as reads see them, by name.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<FileId, Vec<u8>> {
        let state = self.0.lock().unwrap();
        let names = state.disk.live.iter();
        names
            .map(|(id, inode)| (*id, state.disk.inodes[*inode].live.clone()))
            .collect()
    }

    fn change(&self, change: Change) {
        let mut state = self.0.lock().unwrap();
        state.disk.apply(&change);
        state.changes.push(change);
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
        let mut disk = self.start.clone();
        for change in &self.changes[..change_count] {
            disk.apply(change);
        }
        CrashFs::over(disk.crash(seed))
    }

    /// One line per change with its index, to read what led to a crash.
    #[must_use]
    pub fn describe(&self, around: usize) -> String {
        let first = around.saturating_sub(12);
        let last = (around + 3).min(self.changes.len());
        let mut names: BTreeMap<usize, FileId> = self
            .start
            .live
            .iter()
            .map(|(id, inode)| (*inode, *id))
            .collect();
        let mut out = String::new();
        for (index, change) in self.changes.iter().enumerate().take(last) {
            if let Change::Create(id, inode) = change {
                names.insert(*inode, *id);
            }
            let name = |inode: &usize| {
                names
                    .get(inode)
                    .map_or_else(String::new, ToString::to_string)
            };
            let line = match change {
                Change::Append(inode, bytes) => format!("append {} {}", name(inode), bytes.len()),
                Change::WriteAt(inode, at, bytes) => {
                    format!("write {} {} at {at}", name(inode), bytes.len())
                }
                Change::Sync(inode) => format!("sync {}", name(inode)),
                Change::FailedSync(inode) => format!("failed sync {}", name(inode)),
                Change::Truncate(inode, len) => format!("truncate {} {len}", name(inode)),
                other => format!("{other:?}"),
            };
            if index >= first {
                out.push_str(&format!("{index:6} {line}\n"));
            }
        }
        out
    }
}

fn missing(id: FileId) -> Error {
    Error::corruption("file is missing").in_file(id)
}

impl Fs for CrashFs {
    fn open(&self, id: FileId, mode: OpenMode) -> Result<Arc<dyn File>> {
        let found = self.0.lock().unwrap().disk.live.get(&id).copied();
        let inode = match (mode, found) {
            (OpenMode::Create, Some(_)) => {
                return Err(Error::io("file exists already").in_file(id));
            }
            (OpenMode::Create, None) => {
                let inode = self.0.lock().unwrap().disk.inodes.len();
                self.change(Change::Create(id, inode));
                inode
            }
            (_, Some(inode)) => inode,
            (_, None) => return Err(missing(id)),
        };
        let end = self.0.lock().unwrap().disk.inodes[inode].live.len();
        Ok(Arc::new(CrashFile {
            fs: self.clone(),
            id,
            inode,
            end: Mutex::new(end),
        }))
    }

    fn rename(&self, from: FileId, to: FileId) -> Result<()> {
        if !self.0.lock().unwrap().disk.live.contains_key(&from) {
            return Err(missing(from));
        }
        self.change(Change::Rename(from, to));
        Ok(())
    }

    fn remove(&self, id: FileId) -> Result<()> {
        if !self.0.lock().unwrap().disk.live.contains_key(&id) {
            return Err(missing(id));
        }
        self.change(Change::Remove(id));
        Ok(())
    }

    fn list(&self) -> Result<Vec<FileId>> {
        Ok(self.0.lock().unwrap().disk.live.keys().copied().collect())
    }

    fn sync_dir(&self) -> Result<()> {
        self.change(Change::SyncDir);
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>> {
        let mut state = self.0.lock().unwrap();
        if state.is_locked {
            return Err(Error::locked("the store is open already"));
        }
        state.is_locked = true;
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
        self.0.0.lock().unwrap().is_locked = false;
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
        Ok(self.fs.0.lock().unwrap().disk.inodes[self.inode].live.len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let state = self.fs.0.lock().unwrap();
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
        self.fs.change(if start as u64 == self.len()? {
            Change::Append(self.inode, bytes.into())
        } else {
            Change::WriteAt(self.inode, start as u64, bytes.into())
        });
        Ok(())
    }

    fn reserve(&self, len: u64) -> Result<()> {
        let end = self.end.lock().unwrap();
        if *end as u64 + len > self.len()? {
            let zeros = vec![0; RESERVE_LEN];
            self.fs.change(Change::Append(self.inode, zeros.into()));
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.fs
            .change(Change::WriteAt(self.inode, offset, bytes.into()));
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let fails = {
            let mut state = self.fs.0.lock().unwrap();
            let fails = state.fail_sync == Some(self.id.kind);
            if fails {
                state.fail_sync = None;
            }
            fails
        };
        if fails {
            self.fs.change(Change::FailedSync(self.inode));
            return Err(Error::io("sync failed").in_file(self.id));
        }
        self.fs.change(Change::Sync(self.inode));
        Ok(())
    }

    fn truncate(&self, len: u64) -> Result<()> {
        let mut end = self.end.lock().unwrap();
        *end = (len as usize).min(*end);
        self.fs.change(Change::Truncate(self.inode, len));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        fs.fail_next_sync(FileKind::Wal);
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

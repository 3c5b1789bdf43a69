//! A store directory in memory, with a clock that ticks and seeded randomness.
//!
//! - Everything that happens is decided by the calls made: two runs with the same seed are equal.
//! - An open file lives on after its name is gone, as with an operating system.
//! - A sync does nothing: what a crash would lose is the business of wrappers in the tests.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;

use crate::env::{Clock, Entropy, Env, File, Fs, OpenMode, Silent, Space, Spawner, Task};
use crate::error::{Error, Result};
use crate::sync::{Mutex, RwLock};
use crate::types::{FileId, FileKind};

/// The files of a store, shared by everybody who holds the `Arc`.
#[derive(Debug)]
pub struct MemFs {
    files: RwLock<BTreeMap<FileId, Arc<MemFile>>>,
    locked: Arc<AtomicBool>,
}

/// What [`Fs::space`] says the medium holds.
const CAPACITY: u64 = 1 << 40;

impl MemFs {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            files: RwLock::default(),
            locked: Arc::new(AtomicBool::new(false)),
        })
    }

    /// A copy of every file as it is now, unlocked: what a snapshot of the medium would hold.
    #[must_use]
    pub fn fork(&self) -> Arc<Self> {
        let fork = Self::new();
        let copies = self.files.read().iter().map(copy_of).collect();
        *fork.files.write() = copies;
        fork
    }

    /// All bytes of a file.
    #[must_use]
    pub fn contents(&self, id: FileId) -> Option<Vec<u8>> {
        let file = self.files.read().get(&id).cloned()?;
        let bytes = file.bytes.read().clone();
        Some(bytes)
    }

    /// Sets all bytes of a file, made where it is missing: the hand of an attacker.
    pub fn set_contents(&self, id: FileId, contents: Vec<u8>) {
        let file = self.files.write().entry(id).or_default().clone();
        *file.bytes.write() = contents;
    }

    fn used_len(&self) -> u64 {
        let files = self.files.read();
        files
            .values()
            .map(|file| file.bytes.read().len() as u64)
            .sum()
    }
}

fn copy_of((id, file): (&FileId, &Arc<MemFile>)) -> (FileId, Arc<MemFile>) {
    let bytes = RwLock::new(file.bytes.read().clone());
    (*id, Arc::new(MemFile { bytes }))
}

impl Fs for MemFs {
    fn open(&self, id: FileId, mode: OpenMode) -> Result<Arc<dyn File>> {
        let mut files = self.files.write();
        match (files.get(&id), mode) {
            (Some(_), OpenMode::Create) => Err(Error::io("the file is there already").in_file(id)),
            (Some(file), _) => Ok(file.clone()),
            (None, OpenMode::Create) => {
                let file = Arc::<MemFile>::default();
                files.insert(id, file.clone());
                Ok(file)
            }
            (None, _) => Err(Error::corruption("the file is missing").in_file(id)),
        }
    }

    fn rename(&self, from: FileId, to: FileId) -> Result<()> {
        let mut files = self.files.write();
        let file = files
            .remove(&from)
            .ok_or_else(|| Error::corruption("the file is missing").in_file(from))?;
        files.insert(to, file);
        Ok(())
    }

    fn remove(&self, id: FileId) -> Result<()> {
        match self.files.write().remove(&id) {
            Some(_) => Ok(()),
            None => Err(Error::corruption("the file is missing").in_file(id)),
        }
    }

    fn list(&self) -> Result<Vec<FileId>> {
        Ok(self.files.read().keys().copied().collect())
    }

    fn sync_dir(&self) -> Result<()> {
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>> {
        if self.locked.swap(true, Ordering::AcqRel) {
            return Err(Error::locked("the store is open already"));
        }
        self.files
            .write()
            .entry(FileId::new(FileKind::Lock, 0))
            .or_default();
        Ok(Box::new(MemLock(self.locked.clone())))
    }

    fn space(&self) -> Result<Space> {
        Ok(Space {
            total_len: CAPACITY,
            free_len: CAPACITY.saturating_sub(self.used_len()),
        })
    }
}

struct MemLock(Arc<AtomicBool>);

impl Drop for MemLock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[derive(Debug, Default)]
struct MemFile {
    bytes: RwLock<Vec<u8>>,
}

impl File for MemFile {
    fn len(&self) -> Result<u64> {
        Ok(self.bytes.read().len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let bytes = self.bytes.read();
        let start = usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
        let rest = bytes.get(start..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn append(&self, bytes: &[u8]) -> Result<()> {
        self.bytes.write().extend_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut file = self.bytes.write();
        let range = usize::try_from(offset)
            .ok()
            .and_then(|start| Some(start..start.checked_add(bytes.len())?));
        let place = range.and_then(|range| file.get_mut(range));
        let place = place.ok_or_else(|| Error::invalid("a repair past the end").at(offset))?;
        place.copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn truncate(&self, len: u64) -> Result<()> {
        let mut bytes = self.bytes.write();
        if len > bytes.len() as u64 {
            return Err(Error::invalid("a cut past the end").at(len));
        }
        bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }
}

/// A clock that moves by a microsecond with each look at it.
#[derive(Debug)]
struct Ticks(AtomicU64);

/// 2026-01-01 00:00 UTC.
const EPOCH_S: u64 = 1_767_225_600;

impl Clock for Ticks {
    fn now(&self) -> Duration {
        Duration::from_secs(EPOCH_S) + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// BLAKE3 of a seed as an endless stream. For tests and simulations: not secret.
struct Stream(Mutex<blake3::OutputReader>);

impl Entropy for Stream {
    fn fill(&self, buf: &mut [u8]) -> Result<()> {
        self.0.lock().fill(buf);
        Ok(())
    }
}

struct NoThreads;

impl Spawner for NoThreads {
    fn spawn(&self, _name: &'static str, _work: Box<dyn FnOnce() + Send>) -> Option<Box<dyn Task>> {
        None
    }

    fn parallelism(&self) -> usize {
        1
    }
}

/// An environment over an empty [`MemFs`]; each call of a run draws other random bytes.
#[must_use]
pub fn env() -> Env {
    static CALLS: AtomicU64 = AtomicU64::new(1 << 63);
    env_seeded(CALLS.fetch_add(1, Ordering::Relaxed))
}

/// An environment over an empty [`MemFs`] that repeats itself for the same seed.
#[must_use]
pub fn env_seeded(seed: u64) -> Env {
    env_over(MemFs::new(), seed)
}

/// An environment over any directory, with randomness from `seed` and no threads.
#[must_use]
pub fn env_over(fs: Arc<dyn Fs>, seed: u64) -> Env {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    Env {
        fs,
        clock: Arc::new(Ticks(AtomicU64::new(1))),
        entropy: Arc::new(Stream(Mutex::new(hasher.finalize_xof()))),
        spawner: Arc::new(NoThreads),
        listener: Arc::new(Silent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const WAL: FileId = FileId::new(FileKind::Wal, 7);

    #[test]
    fn an_open_file_outlives_its_name() {
        let fs = MemFs::new();
        let file = fs.open(WAL, OpenMode::Create).unwrap();
        file.append(b"abc").unwrap();
        fs.remove(WAL).unwrap();
        let mut buf = [0; 4];
        assert_eq!(file.read_at(1, &mut buf).unwrap(), 2);
        assert_eq!(&buf[..2], b"bc");
        let missing = fs.open(WAL, OpenMode::Read).err().unwrap();
        assert_eq!(missing.kind(), ErrorKind::Corruption);
        assert_eq!(missing.place().file, Some(WAL));
    }

    #[test]
    fn a_taken_name_is_not_created_again() {
        let fs = MemFs::new();
        fs.open(WAL, OpenMode::Create).unwrap();
        assert!(fs.open(WAL, OpenMode::Create).is_err());
    }

    #[test]
    fn the_lock_is_held_across_handles_until_dropped() {
        let fs = MemFs::new();
        let guard = fs.lock().unwrap();
        assert_eq!(fs.lock().err().unwrap().kind(), ErrorKind::Locked);
        drop(guard);
        fs.lock().unwrap();
    }

    #[test]
    fn a_fork_does_not_see_later_writes() {
        let fs = MemFs::new();
        let file = fs.open(WAL, OpenMode::Create).unwrap();
        file.append(b"a").unwrap();
        let fork = fs.fork();
        file.append(b"b").unwrap();
        assert_eq!(fork.contents(WAL).unwrap(), b"a");
        assert_eq!(fs.contents(WAL).unwrap(), b"ab");
    }

    #[test]
    fn reads_and_repairs_past_the_end_are_bounded() {
        let fs = MemFs::new();
        let file = fs.open(WAL, OpenMode::Create).unwrap();
        assert_eq!(file.read_at(u64::MAX, &mut [0; 4]).unwrap(), 0);
        assert!(file.write_at(u64::MAX, b"x").is_err());
        assert!(file.write_at(0, b"x").is_err());
        assert!(file.truncate(1).is_err());
    }

    #[test]
    fn seeds_decide_the_random_bytes() {
        let draw = |env: Env| {
            let mut bytes = [0; 32];
            env.entropy.fill(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(draw(env_seeded(1)), draw(env_seeded(1)));
        assert_ne!(draw(env_seeded(1)), draw(env_seeded(2)));
        assert_ne!(draw(env()), draw(env()));
    }
}

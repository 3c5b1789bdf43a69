//! The layer above of a simulated store: values outside of the engine, in files of their own.
//!
//! - A value is appended before the pointer to it is written, and synced when the engine asks.
//! - What flush and compaction drop is written down in the annex with their edit; a store never shows
//!   a pointer that stands there.

use coffer_engine::env::{File, Fs, OpenMode, read_exact_at};
use coffer_engine::{AnnexUpdates, Error, ErrorKind, FileId, FileKind, Result};
use coffer_engine::{IndirectHook, IndirectSession};
use std::sync::{Arc, Mutex};

use super::model::{number_of, value};

/// Where a value lies, how often it was moved, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    file: u64,
    offset: u64,
    len: u32,
    number: u32,
    move_count: u32,
}

impl Pointer {
    fn encode(self) -> Vec<u8> {
        let mut out = self.file.to_le_bytes().to_vec();
        out.extend(self.offset.to_le_bytes());
        for field in [self.len, self.number, self.move_count] {
            out.extend(field.to_le_bytes());
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let short = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            file: long(0)?,
            offset: long(8)?,
            len: short(16)?,
            number: short(20)?,
            move_count: short(24)?,
        })
    }

    /// The record of the annex that says that nothing points here any more.
    pub(super) fn obituary(self) -> Vec<u8> {
        let mut out = b"dead".to_vec();
        out.extend(self.number.to_le_bytes());
        out.extend(self.move_count.to_le_bytes());
        out
    }
}

#[derive(Default)]
struct Files {
    active: Option<(u64, Arc<dyn File>, u64)>,
    unsynced: Vec<Arc<dyn File>>,
    /// A sync failed: nothing is promised any more.
    is_failed: bool,
}

/// The values of one opening.
pub(super) struct Blobs {
    fs: Arc<dyn Fs>,
    files: Mutex<Files>,
}

impl Blobs {
    pub(super) fn new(fs: Arc<dyn Fs>) -> Self {
        Self {
            fs,
            files: Mutex::default(),
        }
    }

    /// Appends a value.
    pub(super) fn append(&self, number: u32, len: usize) -> Result<Vec<u8>> {
        self.append_moved(number, len, 0)
    }

    fn append_moved(&self, number: u32, len: usize, move_count: u32) -> Result<Vec<u8>> {
        let mut files = self.files.lock().unwrap();
        if files.active.is_none() {
            let ids = self.fs.list()?.into_iter();
            let blobs = ids.filter(|id| id.kind == FileKind::Blob);
            let next = blobs.map(|id| id.number).max().unwrap_or(0) + 1;
            let id = FileId::new(FileKind::Blob, next);
            let file = self.fs.open(id, OpenMode::Create)?;
            // Other names may be lost along with this one, which the engine hears when it asks.
            self.fs.sync_dir().inspect_err(|_| files.is_failed = true)?;
            files.active = Some((next, file, 0));
        }
        let Some((number_of_file, file, offset)) = files.active.take() else {
            return Err(Error::io("no file"));
        };
        // After an error the tail is undefined: the next value begins another file.
        file.append(&value(number, len))?;
        if !files.unsynced.iter().any(|other| Arc::ptr_eq(other, &file)) {
            files.unsynced.push(Arc::clone(&file));
        }
        files.active = Some((number_of_file, file, offset + len as u64));
        let pointer = Pointer {
            file: number_of_file,
            offset,
            len: len as u32,
            number,
            move_count,
        };
        Ok(pointer.encode())
    }

    /// An earlier process may have left the value unsynced, or have failed to sync it: then reads
    /// show what the disk does not have, and only bytes that are written again will be synced.
    fn adopt(&self, pointer: &[u8]) -> Result<()> {
        if let Some(pointer) = Pointer::decode(pointer) {
            let id = FileId::new(FileKind::Blob, pointer.file);
            let file = self.fs.open(id, OpenMode::Repair)?;
            let bytes = value(pointer.number, pointer.len as usize);
            file.write_at(pointer.offset, &bytes)?;
            self.files.lock().unwrap().unsynced.push(file);
        }
        Ok(())
    }

    /// The number of the value behind a pointer, if every byte of it is right.
    pub(super) fn read(&self, pointer: &[u8]) -> Result<u32> {
        let pointer = Pointer::decode(pointer).ok_or_else(|| Error::corruption("no pointer"))?;
        let id = FileId::new(FileKind::Blob, pointer.file);
        let file = self.fs.open(id, OpenMode::Read)?;
        let mut bytes = vec![0; pointer.len as usize];
        if pointer.offset + u64::from(pointer.len) > file.len()? {
            return Err(Error::corruption("the file ends before the value").in_file(id));
        }
        read_exact_at(&*file, pointer.offset, &mut bytes)
            .map_err(|error| Error::io("the file is longer than what it gives").because(error))?;
        if number_of(&bytes) == Some(pointer.number) && bytes == value(pointer.number, bytes.len())
        {
            return Ok(pointer.number);
        }
        Err(Error::corruption("another value").in_file(id))
    }
}

/// The hook of the engine.
pub(super) struct Hook(pub(super) Arc<Blobs>);

struct Session {
    blobs: Arc<Blobs>,
    updates: AnnexUpdates,
}

impl IndirectHook for Hook {
    fn session(&self) -> Box<dyn IndirectSession> {
        Box::new(Session {
            blobs: Arc::clone(&self.0),
            updates: Vec::new(),
        })
    }

    fn present(&self, pointer: &[u8]) -> Result<bool> {
        match self.0.read(pointer) {
            Ok(_) => self.0.adopt(pointer).map(|()| true),
            Err(error) if error.kind() == ErrorKind::Corruption => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn before_flush(&self) -> Result<()> {
        let mut files = self.0.files.lock().unwrap();
        if files.is_failed {
            return Err(Error::io("an earlier sync failed"));
        }
        while let Some(file) = files.unsynced.last() {
            file.sync()?;
            files.unsynced.pop();
        }
        Ok(())
    }
}

impl Session {
    fn bury(&mut self, pointer: Pointer) {
        self.updates.push((pointer.obituary(), Some(Vec::new())));
    }
}

impl IndirectSession for Session {
    fn dropped(&mut self, pointer: &[u8]) {
        if let Some(pointer) = Pointer::decode(pointer) {
            self.bury(pointer);
        }
    }

    fn relocate(&mut self, _key: &[u8], pointer: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(old) = Pointer::decode(pointer) else {
            return Ok(None);
        };
        if !(old.number + old.move_count).is_multiple_of(4) {
            return Ok(None);
        }
        self.blobs.read(pointer)?;
        let (number, len) = (old.number, old.len as usize);
        let new = self.blobs.append_moved(number, len, old.move_count + 1)?;
        self.bury(old);
        Ok(Some(new))
    }

    fn finish(self: Box<Self>) -> Result<AnnexUpdates> {
        Ok(self.updates)
    }
}

//! The seam to the world outside: files, time, randomness, threads, events.
//!
//! - Nothing else in the engine touches the operating system.
//! - Files are named by [`FileId`]; there are no paths.
//! - `dyn` stands here, so that nothing above is generic over its environment.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use crate::error::{Error, Result};
use crate::types::FileId;

pub mod mem;
#[cfg(feature = "std")]
pub mod os;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// A new file, for appending and reading; an error where the name is taken.
    Create,
    /// An existing file, for repair in place.
    Repair,
}

/// Space on the medium that holds a store, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Capacity.
    pub total_len: u64,
    /// Still free for this process.
    pub free_len: u64,
}

/// The directory of one store.
///
/// Errors: `Io` for the medium, `NoSpace` where it is full, `Corruption` naming the file where a
/// file that must exist is missing.
pub trait Fs: Send + Sync {
    /// Opens a file.
    fn open(&self, id: FileId, mode: OpenMode) -> Result<Arc<dyn File>>;
    /// Renames a file over another; durable after [`Fs::sync_dir`].
    fn rename(&self, from: FileId, to: FileId) -> Result<()>;
    /// Removes a file; durable after [`Fs::sync_dir`].
    fn remove(&self, id: FileId) -> Result<()>;
    /// All files with a name of ours, in any order; other names are passed over.
    fn list(&self) -> Result<alloc::vec::Vec<FileId>>;
    /// Makes created, renamed and removed names durable.
    fn sync_dir(&self) -> Result<()>;
    /// Takes the lock of the store until the guard is dropped; `Locked` where another holds it.
    fn lock(&self) -> Result<Box<dyn Send + Sync>>;
    /// Space on the medium.
    fn space(&self) -> Result<Space>;
    /// Where the operating system finds the directory; `None` where it knows nothing of it.
    fn host_path(&self) -> Option<String> {
        None
    }
    /// Makes the finished file `id` of another directory a file of this one: the same file under a
    /// second name where both lie on one medium, else a copy. Durable after [`Fs::sync_dir`].
    fn link_from(&self, other: &dyn Fs, id: FileId) -> Result<()> {
        copy_file(self.open(id, OpenMode::Create)?.as_ref(), other, id)
    }
}

/// Copies the contents of `id` into a new file, durable on return.
fn copy_file(to: &dyn File, other: &dyn Fs, id: FileId) -> Result<()> {
    let from = other.open(id, OpenMode::Read)?;
    let mut buffer = alloc::vec![0; 1 << 20];
    let (mut offset, end) = (0, from.len()?);
    while offset < end {
        let len = read_held_at(&*from, offset, end, &mut buffer)?;
        to.append(&buffer[..len])?;
        offset += len as u64;
    }
    to.sync()
}

/// One file of a store. Files are only appended to; repair alone writes in place.
pub trait File: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> Result<u64>;
    /// Fills `buf` from `offset`; returns how many bytes there were before the end of the file.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize>;
    /// Writes all of `bytes` behind the last byte. After an error the tail is undefined.
    fn append(&self, bytes: &[u8]) -> Result<()>;
    /// Overwrites bytes in place; only for files opened with [`OpenMode::Repair`].
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;
    /// Prepares for a sync after the next `len` bytes are appended: zeros behind the last byte that
    /// later appends go over, so that such a sync changes no length. `len` may count them. A hint:
    /// a medium that gains nothing by it, or that is full, does nothing.
    fn reserve(&self, len: u64) -> Result<()> {
        let _ = len;
        Ok(())
    }
    /// These bytes will be read soon: a medium that can fetch them meanwhile does. A hint, which
    /// takes next to no time and never fails.
    fn will_read(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }
    /// Makes contents and length durable.
    fn sync(&self) -> Result<()>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> Result<()>;
    /// Is the file empty?
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Fills `buf` from `offset`; a file that ends before is an error of kind `Corruption`.
///
/// # Errors
/// Those of [`File::read_at`], `Corruption` at the end of the file, and `Io` where the medium gives
/// less than the file holds.
pub fn read_exact_at(file: &dyn File, offset: u64, buf: &mut [u8]) -> Result<()> {
    if file.read_at(offset, buf)? == buf.len() {
        Ok(())
    } else if offset.saturating_add(buf.len() as u64) <= file.len()? {
        Err(short_read(offset))
    } else {
        Err(Error::corruption("file ends too early").at(offset))
    }
}

/// Fills `buf` with what a file of `file_len` bytes holds from `offset`; returns how much that is.
/// What the medium keeps back is never taken for the end of the file.
///
/// # Errors
/// Those of [`File::read_at`], and `Io` where the medium gives less than the file holds.
pub(crate) fn read_held_at(
    file: &dyn File,
    offset: u64,
    file_len: u64,
    buf: &mut [u8],
) -> Result<usize> {
    let held = usize::try_from(file_len.saturating_sub(offset)).unwrap_or(usize::MAX);
    let len = held.min(buf.len());
    match file.read_at(offset, &mut buf[..len])? {
        filled if filled == len => Ok(len),
        _ => Err(short_read(offset)),
    }
}

/// The error of a read that gave less than the file holds.
#[cold]
pub(crate) fn short_read(offset: u64) -> Error {
    Error::io("the medium gives less than the file holds").at(offset)
}

/// Time.
pub trait Clock: Send + Sync {
    /// Time since 1970-01-01 UTC.
    fn now(&self) -> Duration;
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
}

/// Randomness fit for keys.
pub trait Entropy: Send + Sync {
    /// Fills `buf` with random bytes.
    ///
    /// # Errors
    /// `Io` where the operating system gives none.
    fn fill(&self, buf: &mut [u8]) -> Result<()>;
}

/// A running task of a [`Spawner`].
pub trait Task: Send {
    /// Waits until the task has ended.
    fn join(self: Box<Self>);
}

/// Starts threads, or refuses to: then work is done only by calls of `maintain`.
pub trait Spawner: Send + Sync {
    /// Runs `work` on a thread of its own; `None` where this environment has no threads.
    fn spawn(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) -> Option<Box<dyn Task>>;
    /// How many tasks can run at the same time, at least 1.
    fn parallelism(&self) -> usize;
}

/// Why writers are stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StallCause {
    /// Full memtables wait for their flush.
    Memtables,
    /// Tables at level 0 wait for a compaction.
    Level0,
}

/// Something worth knowing that is not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A damaged block was read and repaired by its parity.
    Healed {
        /// The file.
        file: FileId,
        /// Offset of the block in bytes.
        offset: u64,
    },
    /// A torn tail of a log was cut at recovery.
    TornTail {
        /// The log.
        file: FileId,
        /// Offset of the first byte that was dropped.
        offset: u64,
        /// Bytes dropped.
        len: u64,
    },
    /// The memtable was written as a table.
    Flushed {
        /// The table; `None` where nothing was left to write.
        file: Option<FileId>,
    },
    /// A compaction was installed.
    Compacted {
        /// Source level.
        level: u32,
        /// Bytes read.
        read_len: u64,
        /// Bytes written.
        write_len: u64,
    },
    /// A writer was stopped until flush or compaction had made room.
    Stalled {
        /// What there was too much of.
        cause: StallCause,
        /// How long.
        waited: Duration,
    },
    /// A sync failed: the store refuses writes from now on.
    Poisoned,
}

/// Hears events. Calls must return soon and must not call back into the store.
pub trait Listener: Send + Sync {
    /// Something happened.
    fn event(&self, event: &Event);
}

/// A listener that does not listen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Listener for Silent {
    fn event(&self, _event: &Event) {}
}

/// All live parts of the environment.
#[derive(Clone)]
pub struct Env {
    /// The directory of the store.
    pub fs: Arc<dyn Fs>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Threads.
    pub spawner: Arc<dyn Spawner>,
    /// Who hears events.
    pub listener: Arc<dyn Listener>,
}

//! Open files and directories.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::attr::{Handle, OpenFlags};
use crate::errno::{Errno, FsResult};
use crate::extent::CHUNK_LEN;
use crate::inode::Inode;
use crate::sync::{Mutex, MutexGuard};
use crate::table::InoMap;

const SHARD_COUNT: u64 = 16;
/// Chunks fetched ahead of a reader who has read on for long.
const AHEAD_COUNT_MAX: u64 = 8;
/// How far from the expected place a read may be and still be of the same run: the kernel sends
/// several requests at once, and they overtake each other.
const STRAY: u64 = 4 * CHUNK_LEN as u64;

/// One open file or directory.
pub(super) struct OpenFile {
    pub(super) inode: Arc<Inode>,
    pub(super) flags: OpenFlags,
    next_offset: AtomicU64,
    run_count: AtomicU32,
}

impl OpenFile {
    /// Notes a read; answers how many chunks behind it to fetch ahead.
    pub(super) fn ahead(&self, offset: u64, len: usize) -> u64 {
        let expected = self.next_offset.load(Ordering::Relaxed);
        let end = offset.saturating_add(len as u64);
        self.next_offset
            .store(end.max(expected.min(end + STRAY)), Ordering::Relaxed);
        if offset.abs_diff(expected) > STRAY {
            self.next_offset.store(end, Ordering::Relaxed);
            self.run_count.store(0, Ordering::Relaxed);
            return 0;
        }
        let run = u64::from(self.run_count.fetch_add(1, Ordering::Relaxed).min(1000));
        // A run of small reads within the first chunks is no stream yet.
        if end < CHUNK_LEN as u64 / 2 {
            return 0;
        }
        (1 + run / 2).min(AHEAD_COUNT_MAX)
    }
}

/// All open handles.
pub(super) struct Handles {
    shards: alloc::vec::Vec<Mutex<InoMap<Arc<OpenFile>>>>,
    next: AtomicU64,
}

impl Default for Handles {
    fn default() -> Self {
        Self {
            shards: (0..SHARD_COUNT).map(|_| Mutex::default()).collect(),
            next: AtomicU64::new(1),
        }
    }
}

impl Handles {
    fn shard(&self, handle: Handle) -> MutexGuard<'_, InoMap<Arc<OpenFile>>> {
        let number = usize::try_from(handle.0 % SHARD_COUNT).unwrap_or(0);
        self.shards.get(number).expect("a remainder").lock()
    }

    /// A new handle. The caller has counted it in the inode.
    pub(super) fn open(&self, inode: Arc<Inode>, flags: OpenFlags) -> Handle {
        let handle = Handle(self.next.fetch_add(1, Ordering::Relaxed));
        inode
            .writer_count
            .fetch_add(u32::from(flags.write), Ordering::AcqRel);
        let file = OpenFile {
            inode,
            flags,
            next_offset: AtomicU64::new(0),
            run_count: AtomicU32::new(0),
        };
        self.shard(handle).insert(handle.0, Arc::new(file));
        handle
    }

    /// What a handle stands for; `EBADF` for an unknown one.
    pub(super) fn find(&self, handle: Handle) -> FsResult<Arc<OpenFile>> {
        let found = self.shard(handle).get(&handle.0).cloned();
        found.ok_or_else(|| Errno::EBADF.into())
    }

    /// Forgets a handle.
    pub(super) fn close(&self, handle: Handle) -> FsResult<Arc<OpenFile>> {
        let found = self.shard(handle).remove(&handle.0);
        let file = found.ok_or(Errno::EBADF)?;
        file.inode
            .writer_count
            .fetch_sub(u32::from(file.flags.write), Ordering::AcqRel);
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_told_from_jumps() {
        let handles = Handles::default();
        let inode = Arc::new(Inode::unloaded(5));
        let handle = handles.open(inode, OpenFlags::default());
        let file = handles.find(handle).unwrap();
        let chunk = CHUNK_LEN as u64;
        let mut ahead = 0;
        for number in 0..20 {
            ahead = file.ahead(number * chunk, CHUNK_LEN);
            assert!(ahead > 0);
        }
        assert_eq!(ahead, AHEAD_COUNT_MAX);
        assert!(file.ahead(18 * chunk, CHUNK_LEN) > 0, "overtaken");
        assert!(file.ahead(20 * chunk, CHUNK_LEN) > 0);
        assert_eq!(file.ahead(1000 * chunk, 4096), 0, "a jump");
        assert_eq!(file.ahead(77 * chunk, 4096), 0, "a jump");
        handles.close(handle).unwrap();
        assert_eq!(handles.find(handle).err().unwrap().errno(), Errno::EBADF);
    }
}

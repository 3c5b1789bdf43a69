//! fallocate, lseek, copy_file_range.
//!
//! - Space is looked for and not set aside: what is written later may still find none.
//! - A copy refers to whole chunks where they lie alike in both files; the rest moves through memory, in
//!   pieces, and reads ahead like any reader in order. It answers how many bytes there were, perhaps
//!   fewer than asked for.

use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::Ordering;

use crate::attr::{Allocate, Caller, Handle, Ino, Seek, WriteFlags};
use crate::errno::{Errno, FsResult};
use crate::extent::{CHUNK_LEN, FILE_LEN_MAX, pieces, within};
use crate::filesystem::FileSystem;
use crate::filesystem::attributes::drop_suid;
use crate::filesystem::handles::OpenFile;
use crate::inode::State;
use crate::volume::{Place, REFER_COUNT_MAX};

/// Bytes that one copy moves at most: whoever waits for it may want to be interrupted.
const COPY_LEN_MAX: u64 = 16 << 20;
/// Bytes that one copy refers to at most.
const REFER_LEN_MAX: u64 = REFER_COUNT_MAX * CHUNK_LEN as u64;

impl FileSystem {
    /// Changes where a file has space; see [`Allocate`]. Suid and sgid go, unless root does it.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL` for an empty range, `EFBIG`, `ENOSPC`, `EROFS`; errors of the store, after
    /// which a part of the range may be zero.
    pub fn fallocate(
        &self,
        caller: &Caller,
        ino: Ino,
        handle: Handle,
        range: Range<u64>,
        how: Allocate,
    ) -> FsResult<()> {
        self.volume.must_be_writable()?;
        let file = self.opened(ino, handle)?;
        if !file.flags.write {
            return Err(Errno::EBADF.into());
        }
        if range.is_empty() {
            return Err(Errno::EINVAL.into());
        }
        if range.end > FILE_LEN_MAX {
            return Err(Errno::EFBIG.into());
        }
        let volume = &self.volume;
        let inode = &file.inode;
        let now = volume.now();
        let kill = caller.unprivileged();
        let mut has_capability = false;
        let mut settle = |state: &mut State| {
            has_capability = state.record.has_capability;
            if kill.is_some() {
                drop_suid(&mut state.record, kill);
            }
            state.record.ctime = now;
        };
        match how {
            Allocate::Reserve => volume.allocate(inode, range, true, settle)?,
            Allocate::ReserveBehind => volume.allocate(inode, range, false, settle)?,
            Allocate::PunchHole | Allocate::ZeroRange => {
                let end = range.end;
                volume.punch(inode, range, |state| {
                    settle(state);
                    state.record.mtime = now;
                })?;
                let grows = how == Allocate::ZeroRange;
                let mut state = inode.lock();
                if grows && state.record.size < end {
                    volume.truncate(inode, &mut state, end)?;
                    state.changed = true;
                    volume.enqueue(inode, &mut state);
                }
            }
        }
        if kill.is_some() && has_capability {
            self.drop_capability(inode)?;
        }
        if file.flags.sync {
            self.fsync_inode(inode)?;
        }
        Ok(())
    }

    /// The next offset of what is looked for. A hole is a chunk that was never written, or all of
    /// which was given back.
    ///
    /// # Errors
    /// `ENXIO` behind the end, and where there is no more data; `EBADF`.
    pub fn seek(&self, ino: Ino, handle: Handle, offset: u64, what: Seek) -> FsResult<u64> {
        let file = self.opened(ino, handle)?;
        let state = file.inode.lock();
        if offset >= state.record.size {
            return Err(Errno::ENXIO.into());
        }
        match what {
            Seek::Hole => self.volume.next_hole(&file.inode, &state, offset),
            Seek::Data => {
                let found = self.volume.next_data(&file.inode, &state, offset)?;
                found.ok_or_else(|| Errno::ENXIO.into())
            }
        }
    }

    /// Is the file of this handle open for writing, here or elsewhere?
    ///
    /// # Errors
    /// `EBADF`.
    pub fn has_writers(&self, ino: Ino, handle: Handle) -> FsResult<bool> {
        let file = self.opened(ino, handle)?;
        Ok(file.inode.writer_count.load(Ordering::Acquire) > 0)
    }

    /// Copies up to `len` bytes from one open file to another, or to another place of the same;
    /// answers how many. Fewer at the end of the source, and of a long copy.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL` for ranges of one file that overlap, and those of reading and writing,
    /// where nothing was copied.
    pub fn copy_range(
        &self,
        caller: &Caller,
        (from, from_handle, from_offset): (Ino, Handle, u64),
        (to, to_handle, to_offset): (Ino, Handle, u64),
        len: u64,
    ) -> FsResult<usize> {
        self.volume.must_be_writable()?;
        let source = self.opened(from, from_handle)?;
        let target = self.opened(to, to_handle)?;
        if !source.flags.read || !target.flags.write || target.flags.append {
            return Err(Errno::EBADF.into());
        }
        let flags = WriteFlags {
            kill_suid: caller.unprivileged(),
            from_cache: false,
        };
        // The end as it is now: a copy behind itself does not go on with what it has written.
        let size = source.inode.lock().record.size;
        let len = len.min(size.saturating_sub(from_offset));
        let is_behind = |one: u64, other: u64| one >= other.saturating_add(len);
        let is_apart = is_behind(from_offset, to_offset) || is_behind(to_offset, from_offset);
        if from == to && len > 0 && !is_apart {
            return Err(Errno::EINVAL.into());
        }
        let copy = Copy {
            source: &source,
            target: &target,
            from_offset,
            to_offset,
            flags,
        };
        let done = self.copy_parts(&copy, len)?;
        if done > 0 {
            self.touch_atime(&source.inode);
        }
        if target.flags.sync && done > 0 {
            self.fsync_inode(&Arc::clone(&target.inode))?;
        }
        Ok(usize::try_from(done).unwrap_or(usize::MAX))
    }

    /// Up to the first chunk by bytes, chunks by reference, the rest by bytes.
    fn copy_parts(&self, copy: &Copy<'_>, len: u64) -> FsResult<u64> {
        let head = (CHUNK_LEN - within(copy.from_offset)) % CHUNK_LEN;
        let head = (head as u64).min(len);
        let is_aligned = within(copy.from_offset) == within(copy.to_offset);
        let mut done = 0;
        if is_aligned && len > head {
            done = self.copy_bytes(copy, 0, head)?;
            if done < head {
                return Ok(done);
            }
            match self.copy_chunks(copy, done, len - done) {
                Ok(count) if count >= REFER_LEN_MAX => return Ok(done + count),
                Ok(count) => done += count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done),
            }
        }
        match self.copy_bytes(copy, done, (len - done).min(COPY_LEN_MAX)) {
            Ok(count) => Ok(done + count),
            Err(error) if done == 0 => Err(error),
            Err(_) => Ok(done),
        }
    }

    /// Copies from `done` on by reference; answers how many bytes, perhaps none.
    fn copy_chunks(&self, copy: &Copy<'_>, done: u64, len: u64) -> FsResult<u64> {
        let from = Place {
            inode: &copy.source.inode,
            offset: copy.from_offset.saturating_add(done),
        };
        let to = Place {
            inode: &copy.target.inode,
            offset: copy.to_offset.saturating_add(done),
        };
        let kill = copy.flags.kill_suid;
        let now = self.volume.now();
        let mut has_capability = false;
        let count = self.volume.refer(from, to, len, |record| {
            has_capability = record.has_capability;
            if kill.is_some() {
                drop_suid(record, kill);
            }
            record.mtime = now;
            record.ctime = now;
        })?;
        if kill.is_some() && has_capability {
            self.drop_capability(&copy.target.inode)?;
        }
        Ok(count)
    }

    /// Copies `len` bytes from `done` on through memory; answers how many.
    fn copy_bytes(&self, copy: &Copy<'_>, done: u64, len: u64) -> FsResult<u64> {
        let from_offset = copy.from_offset.saturating_add(done);
        let to_offset = copy.to_offset.saturating_add(done);
        let len = usize::try_from(len).unwrap_or(0);
        let mut done = 0;
        // One chunk of the source at a time, which is a view into the chunk, and no copy of it.
        for piece in pieces(from_offset, len) {
            let position = piece.position as u64;
            let at = from_offset.saturating_add(position);
            let copied = self.read_on(copy.source, at, piece.len).and_then(|data| {
                let to_offset = to_offset.saturating_add(position);
                self.write_inode(&copy.target.inode, Some(to_offset), &data, copy.flags)?;
                Ok(data.len())
            });
            match copied {
                Ok(count) => done += count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
            // The source has become shorter.
            if done < piece.position + piece.len {
                break;
            }
        }
        Ok(done as u64)
    }
}

/// A copy between open files.
struct Copy<'a> {
    source: &'a OpenFile,
    target: &'a OpenFile,
    from_offset: u64,
    to_offset: u64,
    flags: WriteFlags,
}

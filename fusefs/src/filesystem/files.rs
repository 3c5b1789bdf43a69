//! open, read, write, flush, fsync, release of regular files.

use alloc::sync::Arc;

use crate::attr::{Caller, Handle, Ino, Kind, OpenFlags, SetAttr, Time, WriteFlags};
use crate::errno::{Errno, FsResult};
use crate::extent::CHUNK_LEN;
use crate::filesystem::FileSystem;
use crate::filesystem::attributes::drop_suid;
use crate::filesystem::handles::OpenFile;
use crate::inode::{Inode, State};
use crate::options::Atime;
use crate::view::ReadData;
use crate::volume::{Access, Volume};

const DAY_SECS: i64 = 24 * 60 * 60;

impl FileSystem {
    /// Opens a regular file.
    ///
    /// # Errors
    /// `EISDIR`, `EINVAL` for other kinds, `EROFS`, `ESTALE`.
    pub fn open_file(&self, caller: &Caller, ino: Ino, flags: OpenFlags) -> FsResult<Handle> {
        if flags.write || flags.truncate {
            self.volume.must_be_writable()?;
        }
        let inode = self.volume.inode(ino)?;
        {
            let mut state = inode.lock();
            if state.reaped {
                return Err(Errno::ESTALE.into());
            }
            state.must_be_file()?;
            state.open_count += 1;
        }
        let handle = self.handles.open(inode, flags);
        if flags.truncate {
            let cut = SetAttr {
                size: Some(0),
                ..SetAttr::default()
            };
            if let Err(error) = self.setattr(caller, ino, &cut) {
                self.release(ino, handle)?;
                return Err(error);
            }
        }
        Ok(handle)
    }

    /// The open file behind a handle, which must be one of this inode.
    pub(super) fn opened(&self, ino: Ino, handle: Handle) -> FsResult<Arc<OpenFile>> {
        let file = self.handles.find(handle)?;
        if file.inode.ino != ino {
            return Err(Errno::EBADF.into());
        }
        Ok(file)
    }

    /// Reads up to `len` bytes; fewer only at the end of the file.
    ///
    /// # Errors
    /// `EBADF`, `EISDIR`; `EIO` for a damaged range, and for that alone.
    pub fn read(&self, ino: Ino, handle: Handle, offset: u64, len: usize) -> FsResult<ReadData> {
        let file = self.opened(ino, handle)?;
        if !file.flags.read && !file.flags.write {
            return Err(Errno::EBADF.into());
        }
        let data = self.read_on(&file, offset, len)?;
        self.touch_atime(&file.inode);
        Ok(data)
    }

    /// Reads through a handle: what lies behind is fetched ahead where the handle reads in order.
    pub(super) fn read_on(&self, file: &OpenFile, offset: u64, len: usize) -> FsResult<ReadData> {
        let ahead = file.ahead(offset, len);
        if ahead > 0 {
            let end = offset.saturating_add(len as u64);
            self.volume.prefetch(&file.inode, end, ahead);
        }
        let access = if ahead > 0 || offset < CHUNK_LEN as u64 {
            Access::Run
        } else {
            Access::Jump
        };
        self.read_inode(&file.inode, offset, len, access)
    }

    /// Reads without a handle.
    pub(crate) fn read_inode(
        &self,
        inode: &Arc<Inode>,
        offset: u64,
        len: usize,
        access: Access,
    ) -> FsResult<ReadData> {
        if inode.lock().record.kind != Kind::File {
            return Err(Errno::EISDIR.into());
        }
        self.volume.read(inode, offset, len, access)
    }

    /// Moves the access time where the mount wants it.
    pub(super) fn touch_atime(&self, inode: &Arc<Inode>) {
        let options = &self.volume.options;
        if options.read_only || options.atime == Atime::Never {
            return;
        }
        let mut state = inode.lock();
        let now = self.volume.now();
        if is_atime_due(&state, now) && state.record.nlink > 0 {
            state.record.atime = now;
            state.changed = true;
            self.volume.enqueue(inode, &mut state);
        }
    }

    /// Writes all of `data`; answers its length.
    ///
    /// # Errors
    /// `EBADF`, `EFBIG`, `ENOSPC`, `EIO` (nothing was written then).
    pub fn write(
        &self,
        ino: Ino,
        handle: Handle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
    ) -> FsResult<usize> {
        self.volume.must_be_writable()?;
        let file = self.opened(ino, handle)?;
        if !file.flags.write {
            return Err(Errno::EBADF.into());
        }
        let at_end = file.flags.append && !flags.from_cache;
        let offset = (!at_end).then_some(offset);
        self.write_inode(&file.inode, offset, data, flags)?;
        if file.flags.sync {
            self.fsync_inode(&file.inode)?;
        }
        Ok(data.len())
    }

    /// Writes without a handle; at the end without an offset.
    pub(super) fn write_inode(
        &self,
        inode: &Arc<Inode>,
        offset: Option<u64>,
        data: &[u8],
        flags: WriteFlags,
    ) -> FsResult<()> {
        let mut has_capability = false;
        self.volume.write(inode, offset, data, |state| {
            has_capability = state.record.has_capability;
            if flags.kill_suid.is_some() {
                drop_suid(&mut state.record, flags.kill_suid);
            }
        })?;
        if flags.kill_suid.is_some() && has_capability {
            self.drop_capability(inode)?;
        }
        Ok(())
    }

    /// close(2) of one descriptor: tells an earlier failed write-out; writes nothing out.
    ///
    /// # Errors
    /// `EBADF`; the failure of the last write-out, if what it left is still unwritten.
    pub fn flush(&self, ino: Ino, handle: Handle) -> FsResult<()> {
        let file = self.opened(ino, handle)?;
        let state = file.inode.lock();
        Volume::told_at_close(&state)
    }

    /// Has a write-out failed since the mount? Only then `flush` may have something to tell.
    pub fn has_failed(&self) -> bool {
        self.volume.has_failed()
    }

    /// Makes content and attributes durable, and all earlier changes of the namespace with them.
    /// `data_only` makes no difference: attributes cost nothing more.
    ///
    /// # Errors
    /// `EBADF`; failures of write-out and sync. What failed stays in memory and is tried again.
    pub fn fsync(&self, ino: Ino, handle: Handle, data_only: bool) -> FsResult<()> {
        let _ = data_only;
        let file = self.opened(ino, handle)?;
        self.fsync_inode(&file.inode)
    }

    pub(super) fn fsync_inode(&self, inode: &Arc<Inode>) -> FsResult<()> {
        if self.volume.options.read_only {
            return Ok(());
        }
        // Nobody can find it after a crash.
        if inode.lock().record.nlink == 0 {
            return Ok(());
        }
        self.volume.write_out_to_sync(inode)?;
        self.volume.tree.sync()?;
        Ok(())
    }

    /// Closes a handle of a file.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn release(&self, ino: Ino, handle: Handle) -> FsResult<()> {
        self.opened(ino, handle)?;
        let file = self.handles.close(handle)?;
        let mut state = file.inode.lock();
        state.open_count = state.open_count.saturating_sub(1);
        self.settle(&file.inode, &mut state);
        Ok(())
    }
}

/// As the kernel's relatime: older than the last change, or than a day.
fn is_atime_due(state: &State, now: Time) -> bool {
    let record = &state.record;
    record.atime <= record.mtime
        || record.atime <= record.ctime
        || now.secs.saturating_sub(record.atime.secs) >= DAY_SECS
}

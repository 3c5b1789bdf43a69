//! Requests about the content of open files: each may wait.

use alloc::sync::Arc;
use core::ops::Range;

use fuser::{ReplyData, ReplyEmpty, ReplyLseek, ReplyWrite};

use super::Core;
use super::answer::{empty, written};
use crate::attr::{Allocate, Caller, Handle, Seek, WriteFlags};
use crate::errno::Errno;

const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

pub(super) fn write_flags(flags: fuser::WriteFlags, group: u32) -> WriteFlags {
    WriteFlags {
        kill_suid: flags
            .contains(fuser::WriteFlags::FUSE_WRITE_KILL_SUIDGID)
            .then_some(group),
        from_cache: flags.contains(fuser::WriteFlags::FUSE_WRITE_CACHE),
    }
}

impl Core {
    pub(super) fn read(
        self: &Arc<Self>,
        ino: u64,
        handle: Handle,
        (offset, len): (u64, u32),
        reply: ReplyData,
    ) {
        self.may_wait(move |core| {
            let data = core.call("read", ino, |fs| fs.read(ino, handle, offset, len as usize));
            match data {
                Ok(data) => reply.data(&data),
                Err(errno) => reply.error(errno),
            }
        });
    }

    pub(super) fn write(
        self: &Arc<Self>,
        ino: u64,
        handle: Handle,
        (offset, data): (u64, &[u8]),
        flags: WriteFlags,
        reply: ReplyWrite,
    ) {
        let write = move |core: &Self, data: &[u8]| {
            core.call("write", ino, |fs| {
                fs.write(ino, handle, offset, data, flags)
            })
        };
        if let Some(_leave) = self.waiters.leave() {
            written(reply, write(self, data));
        } else {
            // The data lies in the buffer of this reader, which takes the next request now.
            let (core, data) = (Arc::clone(self), data.to_vec());
            let job = move || written(reply, write(&core, &data));
            if let Err(job) = self.waiters.hand_over(job) {
                job();
            }
        }
    }

    pub(super) fn flush(self: &Arc<Self>, ino: u64, handle: Handle, reply: ReplyEmpty) {
        self.may_wait(move |core| {
            empty(reply, core.call("flush", ino, |fs| fs.flush(ino, handle)));
        });
    }

    pub(super) fn release(self: &Arc<Self>, ino: u64, handle: Handle, reply: ReplyEmpty) {
        self.may_wait(move |core| {
            let done = core.call("release", ino, |fs| fs.release(ino, handle));
            empty(reply, done);
        });
    }

    pub(super) fn fsync(
        self: &Arc<Self>,
        ino: u64,
        handle: Handle,
        data_only: bool,
        reply: ReplyEmpty,
    ) {
        self.may_wait(move |core| {
            let done = core.call("fsync", ino, |fs| fs.fsync(ino, handle, data_only));
            empty(reply, done);
        });
    }

    pub(super) fn fallocate(
        self: &Arc<Self>,
        caller: Caller,
        ino: u64,
        handle: Handle,
        (range, how): (Range<u64>, Allocate),
        reply: ReplyEmpty,
    ) {
        self.may_wait(move |core| {
            let done = core.call("fallocate", ino, |fs| {
                fs.fallocate(&caller, ino, handle, range, how)
            });
            empty(reply, done);
        });
    }

    pub(super) fn seek(
        self: &Arc<Self>,
        ino: u64,
        handle: Handle,
        (offset, whence): (i64, i32),
        reply: ReplyLseek,
    ) {
        self.may_wait(move |core| {
            let found = core.call("lseek", ino, |fs| {
                let what = match whence {
                    SEEK_DATA => Seek::Data,
                    SEEK_HOLE => Seek::Hole,
                    _ => return Err(Errno::EINVAL.into()),
                };
                let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
                let found = match what {
                    // A writer may have mapped it: then the kernel keeps bytes that it told nobody.
                    Seek::Data if fs.has_writers(ino, handle)? => fs
                        .seek(ino, handle, offset, Seek::Hole)
                        .map(|_any| offset)?,
                    Seek::Hole if fs.has_writers(ino, handle)? => {
                        fs.seek(ino, handle, offset, Seek::Hole)?;
                        fs.getattr(ino)?.size
                    }
                    _ => fs.seek(ino, handle, offset, what)?,
                };
                Ok(i64::try_from(found).map_err(|_| Errno::EOVERFLOW)?)
            });
            match found {
                Ok(offset) => reply.offset(offset),
                Err(errno) => reply.error(errno),
            }
        });
    }

    pub(super) fn copy_range(
        self: &Arc<Self>,
        caller: Caller,
        from: (u64, Handle, u64),
        to: (u64, Handle, u64),
        len: u64,
        reply: ReplyWrite,
    ) {
        self.may_wait(move |core| {
            let copied = core.call("copy_file_range", to.0, |fs| {
                fs.copy_range(&caller, from, to, len)
            });
            written(reply, copied);
        });
    }
}

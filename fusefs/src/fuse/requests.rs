//! One method per request. What is not here answers `ENOSYS` once; the kernel then stops asking.
//!
//! - `opendir` answers `ENOSYS` on purpose: listings need no handle, and the kernel then opens
//!   directories without asking and caches their listings.
//! - Access control lists are refused: they mean nothing until chmod and create honour them, and a
//!   program that could set one would believe that it does.
//! - Locks are not asked for: those of the kernel are right for a store that is mounted once.

use core::time::Duration;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, FileHandle, Generation, INodeNo, KernelConfig, LockOwner, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::answer::{attributes, empty, entry, entry_for, known, write, written, xattr};
use super::convert::{
    WANTED, change_time, file_attr, file_type, no_entry, open_flags, reply_flags, set_time,
    stand_in,
};
use super::{Adapter, BACKGROUND_COUNT_MAX, KEEP, WRITE_LEN_MAX, caller};
use crate::attr::{self, Handle, SetAttr, SetXattr};

impl fuser::Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for flag in WANTED {
            // A kernel without it works, only slower.
            let _ = config.add_capabilities(flag);
        }
        let _ = config.set_max_write(WRITE_LEN_MAX);
        let _ = config.set_max_background(BACKGROUND_COUNT_MAX);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.0.lookup(parent.0, name.as_bytes()) {
            Ok((None, keep)) => reply.entry(&keep, &no_entry(), Generation(0)),
            Ok((Some(attr), keep)) => entry_for(reply, &attr, &keep),
            Err(errno) => reply.error(errno),
        }
    }

    fn forget(&self, _request: &Request, ino: INodeNo, count: u64) {
        let _ = self.0.call("forget", ino.0, |fs| {
            fs.forget(ino.0, count);
            Ok(())
        });
    }

    fn getattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        attributes(reply, self.0.call("getattr", ino.0, |fs| fs.getattr(ino.0)));
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changes = SetAttr {
            mode: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            size,
            atime: atime.map(set_time),
            mtime: mtime.map(set_time),
            ctime: ctime.map(change_time),
        };
        let caller = caller(request, 0);
        self.0.may_wait(move |core| {
            let changed = core.call("setattr", ino.0, |fs| fs.setattr(&caller, ino.0, &changes));
            attributes(reply, changed);
        });
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        match self.0.call("readlink", ino.0, |fs| fs.readlink(ino.0)) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let caller = caller(request, umask);
        let made = self.0.call("mknod", parent.0, |fs| {
            fs.mknod(&caller, parent.0, name.as_bytes(), mode, rdev)
        });
        entry(reply, made);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let caller = caller(request, umask);
        let made = self.0.call("mkdir", parent.0, |fs| {
            fs.mkdir(&caller, parent.0, name.as_bytes(), mode)
        });
        entry(reply, made);
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.0.may_wait(move |core| {
            let done = core.call("unlink", parent.0, |fs| {
                fs.unlink(parent.0, name.as_bytes())
            });
            empty(reply, done);
        });
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self
            .0
            .call("rmdir", parent.0, |fs| fs.rmdir(parent.0, name.as_bytes()));
        empty(reply, done);
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let caller = caller(request, 0);
        let made = self.0.call("symlink", parent.0, |fs| {
            let target = target.as_os_str().as_bytes();
            fs.symlink(&caller, parent.0, name.as_bytes(), target)
        });
        entry(reply, made);
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let known = RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_EXCHANGE;
        if !known.contains(flags) {
            reply.error(fuser::Errno::EINVAL);
            return;
        }
        let flags = attr::RenameFlags {
            no_replace: flags.contains(RenameFlags::RENAME_NOREPLACE),
            exchange: flags.contains(RenameFlags::RENAME_EXCHANGE),
        };
        let (name, new_name) = (name.to_owned(), new_name.to_owned());
        self.0.may_wait(move |core| {
            let done = core.call("rename", parent.0, |fs| {
                let (name, new_name) = (name.as_bytes(), new_name.as_bytes());
                fs.rename(parent.0, name, new_parent.0, new_name, flags)
            });
            empty(reply, done);
        });
    }

    fn link(
        &self,
        _request: &Request,
        ino: INodeNo,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEntry,
    ) {
        let made = self.0.call("link", ino.0, |fs| {
            fs.link(ino.0, parent.0, name.as_bytes())
        });
        entry(reply, made);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        match self
            .0
            .create(request, parent.0, name.as_bytes(), (mode, umask, flags))
        {
            Ok((attr, handle)) => reply.created(
                &KEEP,
                &file_attr(&attr),
                Generation(attr.generation),
                FileHandle(handle.0),
                reply_flags(open_flags(flags)),
            ),
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (caller, flags) = (caller(request, 0), open_flags(flags.0));
        match self
            .0
            .call("open", ino.0, |fs| fs.open_file(&caller, ino.0, flags))
        {
            Ok(handle) => reply.opened(FileHandle(handle.0), reply_flags(flags)),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.0.may_wait(move |core| {
            let data = core.call("read", ino.0, |fs| {
                fs.read(ino.0, Handle(handle.0), offset, size as usize)
            });
            match data {
                Ok(data) => reply.data(&data),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn write(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let handle = Handle(handle.0);
        if let Some(_leave) = self.0.waiters.leave() {
            written(
                reply,
                write(&self.0, ino.0, handle, offset, data, write_flags),
            );
        } else {
            // The data lies in the buffer of this reader, which takes the next request now.
            let (core, data) = (self.0.clone(), data.to_vec());
            let job = move || {
                let done = write(&core, ino.0, handle, offset, &data, write_flags);
                written(reply, done);
            };
            if let Err(job) = self.0.waiters.hand_over(job) {
                job();
            }
        }
    }

    fn flush(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        self.0.may_wait(move |core| {
            let done = core.call("flush", ino.0, |fs| fs.flush(ino.0, Handle(handle.0)));
            empty(reply, done);
        });
    }

    fn release(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.0.may_wait(move |core| {
            let done = core.call("release", ino.0, |fs| fs.release(ino.0, Handle(handle.0)));
            empty(reply, done);
        });
    }

    fn fsync(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        data_only: bool,
        reply: ReplyEmpty,
    ) {
        self.0.may_wait(move |core| {
            let done = core.call("fsync", ino.0, |fs| {
                fs.fsync(ino.0, Handle(handle.0), data_only)
            });
            empty(reply, done);
        });
    }

    fn opendir(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn readdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.0.call("readdir", ino.0, |fs| {
            fs.readdir(ino.0, offset, &mut |entry| {
                let name = OsStr::from_bytes(entry.name);
                !reply.add(
                    INodeNo(entry.ino),
                    entry.cookie,
                    file_type(entry.kind),
                    name,
                )
            })
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdirplus(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listed = self.0.call("readdirplus", ino.0, |fs| {
            fs.readdirplus(ino.0, offset, &mut |entry| {
                // The kernel makes nothing of the dot entries, and asks anew about an inode that
                // could not be read.
                let (attr, keep) = match &entry.attr {
                    Some(attr) => (file_attr(attr), KEEP),
                    None => (stand_in(entry.ino, entry.kind), Duration::ZERO),
                };
                !reply.add(
                    INodeNo(entry.ino),
                    entry.cookie,
                    OsStr::from_bytes(entry.name),
                    &keep,
                    &attr,
                    Generation(entry.attr.map_or(0, |attr| attr.generation)),
                )
            })
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        self.0.may_wait(move |core| {
            empty(reply, core.call("fsyncdir", ino.0, |fs| fs.fsyncdir(ino.0)));
        });
    }

    fn statfs(&self, _request: &Request, ino: INodeNo, reply: ReplyStatfs) {
        match self.0.call("statfs", ino.0, |fs| fs.statfs()) {
            Ok(space) => reply.statfs(
                space.block_count,
                space.free_count,
                space.free_count,
                space.inode_count,
                space.free_inode_count,
                space.block_len,
                space.name_len_max,
                space.block_len,
            ),
            Err(errno) => reply.error(errno),
        }
    }

    fn setxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let caller = caller(request, 0);
        let how = match flags {
            0 => SetXattr::Either,
            1 => SetXattr::Create,
            2 => SetXattr::Replace,
            _ => {
                reply.error(fuser::Errno::EINVAL);
                return;
            }
        };
        let done = self.0.call("setxattr", ino.0, |fs| {
            fs.setxattr(&caller, ino.0, known(name)?, value, how)
        });
        empty(reply, done);
    }

    fn getxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        let caller = caller(request, 0);
        let value = self.0.call("getxattr", ino.0, |fs| {
            let name = known(name)?;
            self.0
                .own_xattr(ino.0, name, size == 0)
                .unwrap_or_else(|| fs.getxattr(&caller, ino.0, name))
        });
        xattr(reply, size, value);
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let caller = caller(request, 0);
        let names = self
            .0
            .call("listxattr", ino.0, |fs| fs.listxattr(&caller, ino.0));
        xattr(reply, size, names);
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let caller = caller(request, 0);
        let done = self.0.call("removexattr", ino.0, |fs| {
            fs.removexattr(&caller, ino.0, known(name)?)
        });
        empty(reply, done);
    }
}

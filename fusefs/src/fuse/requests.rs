//! One method per request. What is not here answers `ENOSYS` once; the kernel then stops asking.
//!
//! - `opendir` answers `ENOSYS` on purpose: listings need no handle, and the kernel then opens
//!   directories without asking and caches their listings.
//! - Each request is a turn of the reader that got it: see [`Turns`](crate::turns::Turns).
//! - Locks are not asked for: those of the kernel are right for a store that is mounted once.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, Generation, INodeNo, KernelConfig, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};

use super::answer::{attributes, empty, entry, entry_for, statfs, without_label, xattr};
use super::convert::{
    WANTED, allocate, change_time, file_attr, no_entry, open_flags, rename_flags, reply_flags,
    set_time,
};
use super::{Adapter, BACKGROUND_COUNT_MAX, KEEP, WRITE_LEN_MAX, caller, content};
use crate::attr::{Handle, SetAttr, SetXattr};
use crate::filesystem::FileSystem;
use crate::turns::Kind;

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
        let _turn = self.0.turns.begin(Kind::Find);
        match self.0.lookup(parent.0, name.as_bytes()) {
            Ok((None, keep)) => reply.entry(&keep, &no_entry(), Generation(0)),
            Ok((Some(attr), keep)) => entry_for(reply, &attr, &keep),
            Err(errno) => reply.error(errno),
        }
    }

    // Nobody waits for it, and many come in one request: a turn for each would keep its reader away.
    fn forget(&self, _request: &Request, ino: INodeNo, count: u64) {
        let _ = self.0.guarded("forget", ino.0, |fs| {
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
        let _turn = self.0.turns.begin(Kind::Ask);
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
        let _turn = self.0.turns.begin(Kind::Change);
        let changes = SetAttr {
            mode: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            size,
            atime: atime.map(set_time),
            mtime: mtime.map(set_time),
            ctime: ctime.map(change_time),
        };
        self.0.setattr(caller(request, 0), ino.0, changes, reply);
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        let _turn = self.0.turns.begin(Kind::Ask);
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
        let _turn = self.0.turns.begin(Kind::Make);
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
        let _turn = self.0.turns.begin(Kind::Make);
        let caller = caller(request, umask);
        let made = self.0.call("mkdir", parent.0, |fs| {
            fs.mkdir(&caller, parent.0, name.as_bytes(), mode)
        });
        entry(reply, made);
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _turn = self.0.turns.begin(Kind::Remove);
        self.0.unlink(parent.0, name, reply);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _turn = self.0.turns.begin(Kind::Remove);
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
        let _turn = self.0.turns.begin(Kind::Make);
        let caller = caller(request, 0);
        let made = self.0.call("symlink", parent.0, |fs| {
            let target = target.as_os_str().as_bytes();
            fs.symlink(&caller, parent.0, name.as_bytes(), target)
        });
        entry(reply, made);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let _turn = self.0.turns.begin(Kind::Remove);
        let Some(flags) = rename_flags(flags) else {
            reply.error(fuser::Errno::EINVAL);
            return;
        };
        let (old, new) = ((parent.0, name), (new_parent.0, new_name));
        self.0.rename(caller(request, 0), old, new, flags, reply);
    }

    fn link(
        &self,
        _request: &Request,
        ino: INodeNo,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEntry,
    ) {
        let _turn = self.0.turns.begin(Kind::Make);
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
        let _turn = self.0.turns.begin(Kind::Make);
        match self
            .0
            .create(request, parent.0, name.as_bytes(), (mode, umask, flags))
        {
            Ok((attr, handle)) => reply.created(
                &KEEP,
                &file_attr(&attr),
                Generation(attr.generation),
                FileHandle(handle.0),
                reply_flags(open_flags(flags), self.0.tells_at_close()),
            ),
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let _turn = self.0.turns.begin(Kind::Close);
        let (caller, flags) = (caller(request, 0), open_flags(flags.0));
        match self
            .0
            .call("open", ino.0, |fs| fs.open_file(&caller, ino.0, flags))
        {
            Ok(handle) => reply.opened(
                FileHandle(handle.0),
                reply_flags(flags, self.0.tells_at_close()),
            ),
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
        let _turn = self.0.turns.begin(Kind::Read);
        self.0.read(ino.0, Handle(handle.0), (offset, size), reply);
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let _turn = self.0.turns.begin(Kind::Write);
        let flags = content::write_flags(write_flags, request.gid());
        self.0
            .write(ino.0, Handle(handle.0), (offset, data), flags, reply);
    }

    fn flush(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        let _turn = self.0.turns.begin(Kind::Close);
        self.0.flush(ino.0, Handle(handle.0), reply);
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
        let _turn = self.0.turns.begin(Kind::Close);
        self.0.release(ino.0, Handle(handle.0), reply);
    }

    fn fsync(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        data_only: bool,
        reply: ReplyEmpty,
    ) {
        let _turn = self.0.turns.begin(Kind::Sync);
        self.0.fsync(ino.0, Handle(handle.0), data_only, reply);
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
        reply: ReplyDirectory,
    ) {
        let _turn = self.0.turns.begin(Kind::List);
        self.0.readdir(ino.0, offset, reply);
    }

    fn readdirplus(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let _turn = self.0.turns.begin(Kind::List);
        self.0.readdirplus(ino.0, offset, reply);
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let _turn = self.0.turns.begin(Kind::Sync);
        self.0.may_wait(move |core| {
            empty(reply, core.call("fsyncdir", ino.0, |fs| fs.fsyncdir(ino.0)));
        });
    }

    fn statfs(&self, _request: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let _turn = self.0.turns.begin(Kind::Ask);
        statfs(reply, self.0.call("statfs", ino.0, FileSystem::statfs));
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
        let _turn = self.0.turns.begin(Kind::Change);
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
            fs.setxattr(&caller, ino.0, name.as_bytes(), value, how)
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
        let _turn = self.0.turns.begin(Kind::Ask);
        let caller = caller(request, 0);
        let value = self.0.call("getxattr", ino.0, |fs| {
            let name = name.as_bytes();
            self.0
                .own_xattr(ino.0, name, size == 0)
                .unwrap_or_else(|| fs.getxattr(&caller, ino.0, name))
                .map_err(|error| without_label(name, error))
        });
        xattr(reply, size, value);
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let _turn = self.0.turns.begin(Kind::Ask);
        let caller = caller(request, 0);
        let names = self
            .0
            .call("listxattr", ino.0, |fs| fs.listxattr(&caller, ino.0));
        xattr(reply, size, names);
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _turn = self.0.turns.begin(Kind::Change);
        let caller = caller(request, 0);
        let done = self.0.call("removexattr", ino.0, |fs| {
            fs.removexattr(&caller, ino.0, name.as_bytes())
        });
        empty(reply, done);
    }

    fn fallocate(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let _turn = self.0.turns.begin(Kind::Sync);
        let Some(how) = allocate(mode) else {
            reply.error(fuser::Errno::EOPNOTSUPP);
            return;
        };
        let range = offset..offset.saturating_add(length);
        let caller = caller(request, 0);
        self.0
            .fallocate(caller, ino.0, Handle(handle.0), (range, how), reply);
    }

    fn lseek(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let _turn = self.0.turns.begin(Kind::Ask);
        self.0
            .seek(ino.0, Handle(handle.0), (offset, whence), reply);
    }

    fn copy_file_range(
        &self,
        request: &Request,
        from: INodeNo,
        from_handle: FileHandle,
        from_offset: u64,
        to: INodeNo,
        to_handle: FileHandle,
        to_offset: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let _turn = self.0.turns.begin(Kind::Sync);
        let source = (from.0, Handle(from_handle.0), from_offset);
        let target = (to.0, Handle(to_handle.0), to_offset);
        let caller = caller(request, 0);
        self.0.copy_range(caller, source, target, len, reply);
    }
}

//! Replies of the shapes that several requests share, and the two answers that take more than a call.

use core::time::Duration;

use fuser::{
    Generation, ReplyAttr, ReplyEmpty, ReplyEntry, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
};

use super::convert::{file_attr, is_exclusive, open_flags};
use super::{Core, KEEP, caller};
use crate::attr::{Attr, Handle, StatFs};
use crate::errno::{Errno, FsError};

/// The label of SELinux.
const XATTR_LABEL: &[u8] = b"security.selinux";

pub(super) type Answer<T> = Result<T, fuser::Errno>;

pub(super) fn entry(reply: ReplyEntry, answer: Answer<Attr>) {
    match answer {
        Ok(attr) => entry_for(reply, &attr, &KEEP),
        Err(errno) => reply.error(errno),
    }
}

/// An entry that the kernel may believe for so long.
pub(super) fn entry_for(reply: ReplyEntry, attr: &Attr, keep: &Duration) {
    reply.entry(keep, &file_attr(attr), Generation(attr.generation));
}

pub(super) fn attributes(reply: ReplyAttr, answer: Answer<Attr>) {
    match answer {
        Ok(attr) => reply.attr(&KEEP, &file_attr(&attr)),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn empty(reply: ReplyEmpty, answer: Answer<()>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

/// Answers a value, or only its length where the caller gave no room.
pub(super) fn xattr(reply: ReplyXattr, room: u32, answer: Answer<Vec<u8>>) {
    match answer {
        Ok(value) => match u32::try_from(value.len()) {
            Ok(len) if room == 0 => reply.size(len),
            Ok(len) if len <= room => reply.data(&value),
            _ => reply.error(fuser::Errno::ERANGE),
        },
        Err(errno) => reply.error(errno),
    }
}

/// Where SELinux runs, the kernel answers for labels and asks nobody. Elsewhere `ls -l` asks for the label
/// of every file until it hears once that there are none.
pub(super) fn without_label(name: &[u8], error: FsError) -> FsError {
    if name == XATTR_LABEL && error.errno() == Errno::ENODATA {
        return Errno::EOPNOTSUPP.into();
    }
    error
}

pub(super) fn written(reply: ReplyWrite, answer: Answer<usize>) {
    match answer.map(u32::try_from) {
        Ok(Ok(len)) => reply.written(len),
        Ok(Err(_)) => reply.error(fuser::Errno::EIO),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn statfs(reply: ReplyStatfs, answer: Answer<StatFs>) {
    match answer {
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

impl Core {
    /// What has the name, or that nothing has it, and how long the kernel may believe it.
    pub(super) fn lookup(&self, parent: u64, name: &[u8]) -> Answer<(Option<Attr>, Duration)> {
        self.call("lookup", parent, |fs| match fs.lookup(parent, name) {
            Ok(attr) => Ok((Some(attr), KEEP)),
            Err(error) if error.errno() == Errno::ENOENT => Ok((None, KEEP)),
            Err(error) if error.is_damage() => {
                // The name must be found to be removed; whoever asks for more gets `EIO`.
                self.log_error("lookup", parent, &error);
                let stand_in = fs.lookup_name(parent, name)?;
                Ok((Some(stand_in), Duration::ZERO))
            }
            Err(error) => Err(error),
        })
    }

    /// Makes a file and opens it. Where the name is taken after all, opens what has it: the kernel
    /// asks only when it believes that the name is free.
    pub(super) fn create(
        &self,
        request: &Request,
        parent: u64,
        name: &[u8],
        (mode, umask, bits): (u32, u32, i32),
    ) -> Answer<(Attr, Handle)> {
        let (caller, flags) = (caller(request, umask), open_flags(bits));
        self.call("create", parent, |fs| {
            match fs.create(&caller, parent, name, mode, flags) {
                Err(error) if error.errno() == Errno::EEXIST && !is_exclusive(bits) => {
                    let attr = fs.lookup(parent, name)?;
                    let opened = fs.open_file(&caller, attr.ino, flags);
                    if opened.is_err() {
                        fs.forget(attr.ino, 1);
                    }
                    Ok((fs.getattr(attr.ino)?, opened?))
                }
                other => other,
            }
        })
    }
}

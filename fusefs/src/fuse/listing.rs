//! Listings of directories.

use core::time::Duration;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fuser::{Generation, INodeNo, ReplyDirectory, ReplyDirectoryPlus};

use super::convert::{file_attr, file_type, stand_in};
use super::{Core, KEEP};

impl Core {
    pub(super) fn readdir(&self, ino: u64, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.call("readdir", ino, |fs| {
            fs.readdir(ino, offset, &mut |entry| {
                let name = OsStr::from_bytes(entry.name);
                let kind = file_type(entry.kind);
                !reply.add(INodeNo(entry.ino), entry.cookie, kind, name)
            })
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    pub(super) fn readdirplus(&self, ino: u64, offset: u64, mut reply: ReplyDirectoryPlus) {
        let listed = self.call("readdirplus", ino, |fs| {
            fs.readdirplus(ino, offset, &mut |entry| {
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
}

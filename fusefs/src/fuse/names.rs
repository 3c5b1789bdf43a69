//! Requests about names and attributes that may wait.

use alloc::sync::Arc;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fuser::{ReplyAttr, ReplyEmpty};

use super::Core;
use super::answer::{attributes, empty};
use crate::attr::{Caller, RenameFlags, SetAttr};

impl Core {
    pub(super) fn setattr(
        self: &Arc<Self>,
        caller: Caller,
        ino: u64,
        changes: SetAttr,
        reply: ReplyAttr,
    ) {
        self.may_wait(move |core| {
            let changed = core.call("setattr", ino, |fs| fs.setattr(&caller, ino, &changes));
            attributes(reply, changed);
        });
    }

    pub(super) fn unlink(self: &Arc<Self>, parent: u64, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.may_wait(move |core| {
            let done = core.call("unlink", parent, |fs| fs.unlink(parent, name.as_bytes()));
            empty(reply, done);
        });
    }

    pub(super) fn rename(
        self: &Arc<Self>,
        caller: Caller,
        (parent, name): (u64, &OsStr),
        (new_parent, new_name): (u64, &OsStr),
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (name, new_name) = (name.to_owned(), new_name.to_owned());
        self.may_wait(move |core| {
            let done = core.call("rename", parent, |fs| {
                let (name, new_name) = (name.as_bytes(), new_name.as_bytes());
                fs.rename(&caller, parent, name, new_parent, new_name, flags)
            });
            empty(reply, done);
        });
    }
}

//! getattr, setattr, readlink.
//!
//! - suid and sgid go as on Linux: always on chown, on truncation and writing by anyone but root;
//!   sgid stays where the group may not execute and root or a member of the group does it.
//! - A change of the mode goes into the access control list, in the same batch.
//! - Attributes of a file with unwritten content are written out together with it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use coffer_blobstore::BlobBatch;

use crate::acl;
use crate::attr::{Attr, Caller, Ino, Kind, S_ISGID, S_ISUID, S_IXGRP, SetAttr, SetTime, Time};
use crate::errno::{Errno, FsResult};
use crate::filesystem::FileSystem;
use crate::filesystem::xattr::CAPABILITY;
use crate::inode::{Inode, State};
use crate::key;
use crate::record::InodeRecord;

/// Takes suid away, and sgid where the group may execute or where whoever asks, of this group and
/// without rights, does not belong to that of the inode.
pub(super) fn drop_suid(record: &mut InodeRecord, group: Option<u32>) {
    if record.kind == Kind::Directory {
        return;
    }
    record.mode &= !S_ISUID;
    let is_foreign = group.is_some_and(|group| group != record.gid);
    if record.mode & S_IXGRP != 0 || is_foreign {
        record.mode &= !S_ISGID;
    }
}

impl FileSystem {
    /// Attributes of an inode, also of one that is unlinked but referenced or open.
    ///
    /// # Errors
    /// `ESTALE` for an unknown inode; errors of the store.
    pub fn getattr(&self, ino: Ino) -> FsResult<Attr> {
        let inode = self.volume.inode(ino)?;
        let state = inode.lock();
        if state.reaped {
            return Err(Errno::ESTALE.into());
        }
        Ok(state.attr(ino))
    }

    /// Changes attributes; `size` truncates or extends. Suid and sgid go on chown, and on
    /// truncation by anyone but root. Permissions are not checked here.
    ///
    /// # Errors
    /// `EISDIR`, `EINVAL` for a length of what has none, `EFBIG`, `EROFS`; errors of the store.
    pub fn setattr(&self, caller: &Caller, ino: Ino, changes: &SetAttr) -> FsResult<Attr> {
        self.volume.must_be_writable()?;
        if changes.size.is_some() {
            self.volume.make_room()?;
        }
        let inode = self.volume.inode(ino)?;
        let mut guard = inode.lock();
        let state = &mut *guard;
        if state.reaped {
            return Err(Errno::ESTALE.into());
        }
        if let Some(len) = changes.size {
            self.volume.truncate(&inode, state, len)?;
            state.changed = true;
            // Whatever fails below, the cut is written out.
            self.volume.enqueue(&inode, state);
        }
        let chown = changes.uid.is_some() || changes.gid.is_some();
        let group = caller.unprivileged();
        let kill = chown || (changes.size.is_some() && group.is_some());
        let mut record = state.record.clone();
        apply(
            &mut record,
            changes,
            self.volume.now(),
            kill.then_some(group),
        );
        let strip = kill && record.has_capability;
        let list = match changes.mode {
            Some(mode) => self.list_with_mode(ino, state, mode)?,
            None => None,
        };
        let is_more = strip || list.is_some();
        // What has no content may still have a new access time, which goes along.
        let has_content = state.record.kind == Kind::File && state.is_unwritten();
        let direct = is_more || (!has_content && (state.stored || state.orphan));
        if direct {
            self.put_record(&inode, state, record, strip, list)?;
        } else {
            state.record = record;
            state.changed = true;
            self.volume.enqueue(&inode, state);
        }
        Ok(state.attr(ino))
    }

    /// Puts a record, takes the capabilities of the file away where asked, and puts its list where
    /// that changes.
    fn put_record(
        &self,
        inode: &Arc<Inode>,
        state: &mut State,
        mut record: InodeRecord,
        strip: bool,
        list: Option<Vec<u8>>,
    ) -> FsResult<()> {
        if state.is_unwritten() {
            // The record counts what is in the tree: it goes there first.
            self.volume.write_out_locked(inode, state)?;
            record.patch_count = state.record.patch_count;
            record.trim_len = state.record.trim_len;
        }
        let mut batch = BlobBatch::new();
        if strip {
            batch.delete(&key::xattr(inode.ino, CAPABILITY));
            record.has_capability = false;
            record.xattr_count = record.xattr_count.saturating_sub(1);
        }
        if let Some(list) = list {
            batch.put(&key::xattr(inode.ino, acl::ACCESS), &list);
        }
        batch.put(&key::inode(inode.ino), &record.encode());
        self.volume.tree.write(batch, false)?;
        state.record = record;
        Ok(())
    }

    /// Takes the capabilities of a file away that was written to.
    pub(super) fn drop_capability(&self, inode: &Arc<Inode>) -> FsResult<()> {
        let mut state = inode.lock();
        if !state.record.has_capability {
            return Ok(());
        }
        let record = state.record.clone();
        self.put_record(inode, &mut state, record, true, None)
    }

    /// Target of a symbolic link.
    ///
    /// # Errors
    /// `EINVAL` for anything else.
    pub fn readlink(&self, ino: Ino) -> FsResult<Vec<u8>> {
        let inode = self.volume.inode(ino)?;
        let state = inode.lock();
        if state.record.kind != Kind::Symlink {
            return Err(Errno::EINVAL.into());
        }
        Ok(state.record.target.to_vec())
    }
}

/// Everything but the length.
fn apply(record: &mut InodeRecord, changes: &SetAttr, now: Time, kill: Option<Option<u32>>) {
    let at = |time: SetTime| match time {
        SetTime::Now => now,
        SetTime::At(time) => time,
    };
    if let Some(group) = kill {
        drop_suid(record, group);
    }
    if let Some(mode) = changes.mode {
        record.mode = mode & 0o7777;
    }
    record.uid = changes.uid.unwrap_or(record.uid);
    record.gid = changes.gid.unwrap_or(record.gid);
    record.atime = changes.atime.map_or(record.atime, at);
    if changes.size.is_some() {
        record.mtime = now;
    }
    record.mtime = changes.mtime.map_or(record.mtime, at);
    record.ctime = changes.ctime.unwrap_or(now);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suid_and_sgid_go_as_on_linux() {
        for (kind, group, before, after) in [
            (Kind::File, None, 0o6755, 0o0755),
            (Kind::File, None, 0o6745, 0o2745),
            (Kind::File, Some(0), 0o6745, 0o2745),
            (Kind::File, Some(7), 0o6745, 0o0745),
            (Kind::File, Some(7), 0o4644, 0o0644),
            (Kind::File, None, 0o1777, 0o1777),
            (Kind::Directory, Some(7), 0o6755, 0o6755),
        ] {
            let mut record = InodeRecord::new(kind, before, 0, 0, Time::default());
            drop_suid(&mut record, group);
            assert_eq!(record.mode, after, "{kind:?} {before:o}");
        }
    }
}

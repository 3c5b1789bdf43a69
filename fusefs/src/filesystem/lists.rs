//! Access control lists: setting them, keeping them and the mode in step, and what new inodes get.
//!
//! - The kernel checks permissions by them; here they are kept true.
//! - A list that says no more than the mode is not kept. A record has a flag for each list that is.
//! - Whatever changes mode or list changes both in one batch.

use alloc::vec::Vec;

use coffer_blobstore::{BlobBatch, Error};

use crate::acl::{self, Acl};
use crate::attr::{Caller, Ino, Kind, S_ISGID};
use crate::errno::{Errno, FsResult};
use crate::filesystem::FileSystem;
use crate::filesystem::change::Change;
use crate::inode::State;
use crate::key;
use crate::record::InodeRecord;

/// One of the two lists of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Who may do what.
    Access,
    /// What new inodes in a directory get.
    Default,
}

impl List {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Access => acl::ACCESS,
            Self::Default => acl::DEFAULT,
        }
    }

    /// Does the inode have it?
    pub(super) fn flag(self, record: &mut InodeRecord) -> &mut bool {
        match self {
            Self::Access => &mut record.has_access_list,
            Self::Default => &mut record.has_default_list,
        }
    }
}

/// What a new inode gets from its directory.
pub(super) struct Given {
    /// Permission bits.
    pub(super) mode: u32,
    /// Its access control list, where it says more than the mode.
    pub(super) access: Option<Vec<u8>>,
    /// Its default list.
    pub(super) default: Option<Vec<u8>>,
}

impl Given {
    /// Puts the lists.
    pub(super) fn put(&self, batch: &mut BlobBatch, ino: Ino) {
        for (name, list) in [(acl::ACCESS, &self.access), (acl::DEFAULT, &self.default)] {
            if let Some(list) = list {
                batch.put(&key::xattr(ino, name), list);
            }
        }
    }
}

impl FileSystem {
    fn stored_list(&self, ino: Ino, list: List) -> FsResult<(Acl, Vec<u8>)> {
        let found = self.volume.tree.get(&key::xattr(ino, list.name()))?;
        let bytes = found.ok_or_else(damaged)?;
        let list = Acl::decode(&bytes).ok().flatten().ok_or_else(damaged)?;
        Ok((list, bytes))
    }

    /// What a new inode in a directory gets: of its default list where it has one, else by the
    /// umask of the caller.
    pub(super) fn given(
        &self,
        caller: &Caller,
        dir: Ino,
        record: &InodeRecord,
        kind: Kind,
        mode: u32,
    ) -> FsResult<Given> {
        let mode = mode & 0o7777;
        if !record.has_default_list || kind == Kind::Symlink {
            return Ok(Given {
                mode: mode & !caller.umask,
                access: None,
                default: None,
            });
        }
        let (mut list, bytes) = self.stored_list(dir, List::Default)?;
        let mode = list.inherit(mode);
        Ok(Given {
            mode,
            access: (!list.is_mode()).then(|| list.encode()),
            default: (kind == Kind::Directory).then_some(bytes),
        })
    }

    /// The access control list of an inode whose mode becomes `mode`, where it has one.
    pub(super) fn list_with_mode(
        &self,
        ino: Ino,
        state: &State,
        mode: u32,
    ) -> FsResult<Option<Vec<u8>>> {
        if !state.record.has_access_list {
            return Ok(None);
        }
        let (mut list, _) = self.stored_list(ino, List::Access)?;
        list.set_mode(mode);
        Ok(Some(list.encode()))
    }

    /// Sets a list; an empty one takes it away.
    pub(super) fn set_list(
        &self,
        caller: &Caller,
        ino: Ino,
        list: List,
        value: &[u8],
    ) -> FsResult<()> {
        let new = Acl::decode(value)?;
        let inode = self.volume.inode(ino)?;
        let mut change = Change::new(&[&*inode], self.volume.now());
        let state = change.state(ino);
        if state.reaped {
            return Err(Errno::ESTALE.into());
        }
        match (state.record.kind, list) {
            (Kind::Symlink, _) => return Err(Errno::EOPNOTSUPP.into()),
            (Kind::Directory, _) | (_, List::Access) => {}
            (_, List::Default) => return Err(Errno::EACCES.into()),
        }
        self.volume.write_out_locked(&inode, state)?;
        let now = change.now;
        let record = change.record(ino);
        if list == List::Access
            && let Some(new) = &new
        {
            record.mode = record.mode & !0o777 | new.mode();
            // As far as is known here the caller is no member of the group.
            if caller.uid != 0 && caller.gid != record.gid {
                record.mode &= !S_ISGID;
            }
        }
        record.ctime = now;
        let is_kept = |new: &Acl| list == List::Default || !new.is_mode();
        let new = new.filter(is_kept);
        let was_there = core::mem::replace(list.flag(record), new.is_some());
        record.xattr_count += u32::from(new.is_some());
        record.xattr_count = record.xattr_count.saturating_sub(u32::from(was_there));
        let key = key::xattr(ino, list.name());
        match new {
            Some(new) => change.batch.put(&key, &new.encode()),
            None if was_there => change.batch.delete(&key),
            None => {}
        }
        change.commit(&self.volume.tree)?;
        Ok(())
    }
}

fn damaged() -> Error {
    Error::corruption("an access control list is missing or makes no sense").part("inode record")
}

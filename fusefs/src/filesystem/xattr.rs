//! Extended attributes.
//!
//! - `user.` is for regular files and directories; `trusted.` for root alone, to others it does
//!   not exist; `security.` is kept as it comes; the two access control lists are in `lists`.
//! - Whether an inode has any, a list or capabilities is answered from memory.

use alloc::vec::Vec;

use crate::acl;
use crate::attr::{Caller, Ino, Kind, SetXattr};
use crate::errno::{Errno, FsResult};
use crate::filesystem::FileSystem;
use crate::filesystem::change::Change;
use crate::filesystem::lists::List;
use crate::key;
use crate::record::InodeRecord;

/// The attribute that a change of content takes away.
pub(super) const CAPABILITY: &[u8] = b"security.capability";

const NAME_LEN_MAX: usize = 255;
const VALUE_LEN_MAX: usize = 64 << 10;
const LIST_LEN_MAX: usize = 64 << 10;

/// Whose attribute it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    User,
    Trusted,
    Other,
}

fn space(name: &[u8]) -> FsResult<Space> {
    if name.len() > NAME_LEN_MAX {
        return Err(Errno::ERANGE.into());
    }
    for (prefix, space) in [
        (&b"user."[..], Space::User),
        (b"trusted.", Space::Trusted),
        (b"security.", Space::Other),
    ] {
        if let Some(rest) = name.strip_prefix(prefix) {
            return match rest {
                [] => Err(Errno::EINVAL.into()),
                _ if rest.contains(&0) => Err(Errno::EINVAL.into()),
                _ => Ok(space),
            };
        }
    }
    match name {
        acl::ACCESS | acl::DEFAULT => Ok(Space::Other),
        _ => Err(Errno::EOPNOTSUPP.into()),
    }
}

/// Which access control list the attribute is, if it is one.
fn list_of(name: &[u8]) -> Option<List> {
    match name {
        acl::ACCESS => Some(List::Access),
        acl::DEFAULT => Some(List::Default),
        _ => None,
    }
}

/// May an inode with this record have the attribute? What the kernel asks for most is known
/// without a look into the tree.
fn may_have(record: &InodeRecord, name: &[u8]) -> bool {
    record.xattr_count > 0
        && match name {
            acl::ACCESS => record.has_access_list,
            acl::DEFAULT => record.has_default_list,
            CAPABILITY => record.has_capability,
            _ => true,
        }
}

/// May this caller set or remove the attribute on an inode of this kind?
fn may_change(space: Space, caller: &Caller, kind: Kind) -> FsResult<()> {
    let may = match space {
        Space::User => matches!(kind, Kind::File | Kind::Directory),
        Space::Trusted => caller.uid == 0,
        Space::Other => true,
    };
    if may {
        Ok(())
    } else {
        Err(Errno::EPERM.into())
    }
}

impl FileSystem {
    /// Value of an extended attribute, `ENODATA` where there is none.
    ///
    /// # Errors
    /// `ENODATA`, `EOPNOTSUPP` for an unknown namespace, `ERANGE` for a name over 255 bytes.
    pub fn getxattr(&self, caller: &Caller, ino: Ino, name: &[u8]) -> FsResult<Vec<u8>> {
        let inode = self.volume.inode(ino)?;
        let has = may_have(&inode.lock().record, name);
        let space = space(name)?;
        if !has || (space == Space::Trusted && caller.uid != 0) {
            return Err(Errno::ENODATA.into());
        }
        let found = self.volume.tree.get(&key::xattr(ino, name))?;
        found.ok_or_else(|| Errno::ENODATA.into())
    }

    /// Sets an extended attribute. An access control list is set whatever `how` says, and changes
    /// the mode.
    ///
    /// # Errors
    /// `EEXIST`, `ENODATA`, `EPERM`, `EOPNOTSUPP`, `ERANGE`, `E2BIG` over 64 KiB, `EROFS`; `EINVAL`
    /// for an access control list that makes no sense, `EACCES` for a default one of a file.
    pub fn setxattr(
        &self,
        caller: &Caller,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        how: SetXattr,
    ) -> FsResult<()> {
        self.volume.must_be_writable()?;
        let space = space(name)?;
        if value.len() > VALUE_LEN_MAX {
            return Err(Errno::E2BIG.into());
        }
        if let Some(list) = list_of(name) {
            return self.set_list(caller, ino, list, value);
        }
        let inode = self.volume.inode(ino)?;
        let mut change = Change::new(&[&*inode], self.volume.now());
        let state = change.state(ino);
        if state.reaped {
            return Err(Errno::ESTALE.into());
        }
        may_change(space, caller, state.record.kind)?;
        let key = key::xattr(ino, name);
        let is_there = state.record.xattr_count > 0 && self.volume.tree.len_of(&key)?.is_some();
        match how {
            SetXattr::Create if is_there => return Err(Errno::EEXIST.into()),
            SetXattr::Replace if !is_there => return Err(Errno::ENODATA.into()),
            _ => {}
        }
        self.volume.write_out_locked(&inode, state)?;
        let now = change.now;
        let record = change.record(ino);
        record.ctime = now;
        record.xattr_count += u32::from(!is_there);
        record.has_capability |= name == CAPABILITY;
        change.batch.put(&key, value);
        change.commit(&self.volume.tree)?;
        Ok(())
    }

    /// Names of the extended attributes that the caller may see, each ended by a zero byte.
    ///
    /// # Errors
    /// `E2BIG` for a list over 64 KiB; errors of the store.
    pub fn listxattr(&self, caller: &Caller, ino: Ino) -> FsResult<Vec<u8>> {
        let inode = self.volume.inode(ino)?;
        let mut list = Vec::new();
        if inode.lock().record.xattr_count == 0 {
            return Ok(list);
        }
        let mut scan = self.volume.tree.scan(&key::xattrs(ino), &[])?;
        while let Some((key, _)) = scan.next()? {
            let name = key.get(9..).unwrap_or_default();
            if caller.uid == 0 || !name.starts_with(b"trusted.") {
                list.extend_from_slice(name);
                list.push(0);
            }
        }
        if list.len() > LIST_LEN_MAX {
            return Err(Errno::E2BIG.into());
        }
        Ok(list)
    }

    /// Removes an extended attribute; an access control list also where there is none.
    ///
    /// # Errors
    /// `ENODATA`, `EPERM`, `EOPNOTSUPP`, `ERANGE`, `EROFS`.
    pub fn removexattr(&self, caller: &Caller, ino: Ino, name: &[u8]) -> FsResult<()> {
        self.volume.must_be_writable()?;
        let space = space(name)?;
        let inode = self.volume.inode(ino)?;
        let mut change = Change::new(&[&*inode], self.volume.now());
        let state = change.state(ino);
        if state.reaped {
            return Err(Errno::ESTALE.into());
        }
        may_change(space, caller, state.record.kind)?;
        let key = key::xattr(ino, name);
        if state.record.xattr_count == 0 || self.volume.tree.len_of(&key)?.is_none() {
            // The kernel sends this for a list without entries, which takes away what may be there.
            return match list_of(name) {
                Some(_) => Ok(()),
                None => Err(Errno::ENODATA.into()),
            };
        }
        self.volume.write_out_locked(&inode, state)?;
        let now = change.now;
        let record = change.record(ino);
        record.ctime = now;
        record.xattr_count = record.xattr_count.saturating_sub(1);
        record.has_capability &= name != CAPABILITY;
        if let Some(list) = list_of(name) {
            *list.flag(record) = false;
        }
        change.batch.delete(&key);
        change.commit(&self.volume.tree)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_told_apart() {
        assert_eq!(space(b"user.a").unwrap(), Space::User);
        assert_eq!(space(b"trusted.a").unwrap(), Space::Trusted);
        assert_eq!(space(CAPABILITY).unwrap(), Space::Other);
        assert_eq!(space(b"system.posix_acl_access").unwrap(), Space::Other);
        for (name, errno) in [
            (&b"user."[..], Errno::EINVAL),
            (b"user.\0", Errno::EINVAL),
            (b"system.other", Errno::EOPNOTSUPP),
            (b"", Errno::EOPNOTSUPP),
            (&[b'u'; 256], Errno::ERANGE),
        ] {
            assert_eq!(space(name).unwrap_err().errno(), errno);
        }
    }
}

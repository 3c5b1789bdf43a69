//! mknod, mkdir, symlink, create, link.

use alloc::sync::Arc;

use crate::attr::{Attr, Caller, Handle, Ino, Kind, OpenFlags, S_ISGID, Time};
use crate::errno::{Errno, FsResult};
use crate::filesystem::FileSystem;
use crate::filesystem::change::Change;
use crate::filesystem::lists::Given;
use crate::filesystem::names::{check_name, is_dots};
use crate::inode::Inode;
use crate::key;
use crate::record::{InodeRecord, NameRecord, TARGET_LEN_MAX};
use crate::volume::Volume;

/// Refuses names for something new.
pub(super) fn check_new_name(name: &[u8]) -> FsResult<()> {
    check_name(name)?;
    if is_dots(name) {
        return Err(Errno::EEXIST.into());
    }
    Ok(())
}

impl FileSystem {
    /// Makes a file, device, pipe or socket; `mode` is a full `st_mode` with type bits (none: file).
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT` in a removed directory, `ENOTDIR`, `ENAMETOOLONG`, `EPERM` for
    /// directories, `EINVAL` for other types, `EROFS`.
    pub fn mknod(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &[u8],
        mode: u32,
        rdev: u32,
    ) -> FsResult<Attr> {
        let kind = match mode >> 12 {
            0 => Some(Kind::File),
            _ => Kind::from_mode(mode),
        };
        let kind = match kind {
            Some(Kind::Directory) => return Err(Errno::EPERM.into()),
            None | Some(Kind::Symlink) => return Err(Errno::EINVAL.into()),
            Some(kind) => kind,
        };
        let (_, attr) = self.make(caller, parent, name, kind, mode, |record| {
            if matches!(kind, Kind::CharDevice | Kind::BlockDevice) {
                record.rdev = rdev;
            }
        })?;
        Ok(attr)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As [`FileSystem::mknod`]; `EMLINK` in a directory with 2^32 - 1 subdirectories.
    pub fn mkdir(&self, caller: &Caller, parent: Ino, name: &[u8], mode: u32) -> FsResult<Attr> {
        let kind = Kind::Directory;
        let (_, attr) = self.make(caller, parent, name, kind, mode & 0o1777, |record| {
            record.parent = parent;
        })?;
        Ok(attr)
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// As [`FileSystem::mknod`]; `ENOENT` for an empty target, `ENAMETOOLONG` for one of more
    /// than 4095 bytes.
    pub fn symlink(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &[u8],
        target: &[u8],
    ) -> FsResult<Attr> {
        if target.is_empty() {
            return Err(Errno::ENOENT.into());
        }
        if target.len() > TARGET_LEN_MAX {
            return Err(Errno::ENAMETOOLONG.into());
        }
        let open = Caller {
            umask: 0,
            ..*caller
        };
        let (_, attr) = self.make(&open, parent, name, Kind::Symlink, 0o777, |record| {
            record.target = target.into();
            record.size = target.len() as u64;
        })?;
        Ok(attr)
    }

    /// Makes a regular file and opens it. `EEXIST` where the name is taken, whatever it is.
    ///
    /// # Errors
    /// As [`FileSystem::mknod`].
    pub fn create(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &[u8],
        mode: u32,
        flags: OpenFlags,
    ) -> FsResult<(Attr, Handle)> {
        let (inode, attr) = self.make(caller, parent, name, Kind::File, mode, |_| ())?;
        // The reference that was counted keeps the inode until here.
        inode.lock().open_count += 1;
        Ok((attr, self.handles.open(inode, flags)))
    }

    fn make(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &[u8],
        kind: Kind,
        mode: u32,
        fill: impl FnOnce(&mut InodeRecord),
    ) -> FsResult<(Arc<Inode>, Attr)> {
        self.volume.must_be_writable()?;
        let dir = self.volume.inode(parent)?;
        dir.lock().must_be_directory()?;
        check_new_name(name)?;
        let _names = dir.names.lock();
        if self.find(parent, name)?.is_some() {
            return Err(Errno::EEXIST.into());
        }
        let ino = self.numbers.take(&self.volume.tree)?;
        let now = self.volume.now();
        let mut change = Change::new(&[&*dir], now);
        let state = change.state(parent);
        Volume::must_have_name(state)?;
        if kind == Kind::Directory && state.record.nlink == u32::MAX {
            return Err(Errno::EMLINK.into());
        }
        let given = self.given(caller, parent, &state.record, kind, mode)?;
        let mut record = new_record(caller, &state.record, kind, &given, now);
        given.put(&mut change.batch, ino);
        fill(&mut record);
        let entry = NameRecord { ino, kind };
        let name_key = key::name(parent, &self.name_key, name);
        change.count(parent, 1, i32::from(kind == Kind::Directory));
        change.batch.put(&name_key, &entry.encode());
        change.batch.put(&key::inode(ino), &record.encode());
        let attr = record.attr(ino);
        // Whoever meets the name finds this inode, and not one that he loads himself.
        let inode = self.volume.adopt(ino, record);
        let committed = change.commit(&self.volume.tree);
        let locked = committed.inspect_err(|_| self.volume.abandon(&inode))?;
        self.references.add(ino);
        self.numbers.made();
        drop(locked);
        Ok((inode, attr))
    }

    /// Gives an inode one more name. What was written to it reaches the log first.
    ///
    /// # Errors
    /// `EPERM` for directories, `EEXIST`, `ENOENT` for an inode without a name or in a removed
    /// directory, `EMLINK`, `ENOTDIR`, `ENAMETOOLONG`, `EROFS`.
    pub fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> FsResult<Attr> {
        self.volume.must_be_writable()?;
        let inode = self.volume.inode(ino)?;
        if inode.lock().record.kind == Kind::Directory {
            return Err(Errno::EPERM.into());
        }
        let dir = self.volume.inode(parent)?;
        dir.lock().must_be_directory()?;
        check_new_name(name)?;
        self.volume.write_out(&inode)?;
        let _names = dir.names.lock();
        if self.find(parent, name)?.is_some() {
            return Err(Errno::EEXIST.into());
        }
        let mut change = Change::new(&[&*dir, &*inode], self.volume.now());
        Volume::must_have_name(change.state(parent))?;
        let state = change.state(ino);
        Volume::must_have_name(state)?;
        if state.record.nlink == u32::MAX {
            return Err(Errno::EMLINK.into());
        }
        self.volume.write_out_locked(&inode, state)?;
        let entry = NameRecord {
            ino,
            kind: state.record.kind,
        };
        let now = change.now;
        let record = change.record(ino);
        record.nlink += 1;
        record.ctime = now;
        let name_key = key::name(parent, &self.name_key, name);
        change.count(parent, 1, 0);
        change.batch.put(&name_key, &entry.encode());
        let mut locked = change.commit(&self.volume.tree)?;
        self.references.add(ino);
        Ok(locked.of(ino).attr(ino))
    }
}

/// The record of a new inode in a directory: group and sgid are inherited, and what the default
/// list of the directory gives.
pub(super) fn new_record(
    caller: &Caller,
    dir: &InodeRecord,
    kind: Kind,
    given: &Given,
    now: Time,
) -> InodeRecord {
    let inherits = dir.mode & S_ISGID != 0;
    let gid = if inherits { dir.gid } else { caller.gid };
    let mut mode = given.mode;
    if inherits && kind == Kind::Directory {
        mode |= S_ISGID;
    }
    let mut record = InodeRecord::new(kind, mode, caller.uid, gid, now);
    record.has_access_list = given.access.is_some();
    record.has_default_list = given.default.is_some();
    record.xattr_count = u32::from(record.has_access_list) + u32::from(record.has_default_list);
    record
}

//! unlink, rmdir.
//!
//! - A name goes even when its inode is damaged or lost: then only the name and its count go.

use alloc::sync::Arc;

use crate::attr::{Ino, Kind};
use crate::errno::{Errno, FsResult};
use crate::filesystem::FileSystem;
use crate::filesystem::change::Change;
use crate::filesystem::names::{check_name, is_dots};
use crate::inode::{Inode, Locked};
use crate::key;
use crate::volume::Volume;

impl FileSystem {
    /// Removes a name that is not a directory.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `ENOTDIR`, `ENAMETOOLONG`, `EROFS`.
    pub fn unlink(&self, parent: Ino, name: &[u8]) -> FsResult<()> {
        self.volume.must_be_writable()?;
        let dir = self.volume.inode(parent)?;
        dir.lock().must_be_directory()?;
        check_name(name)?;
        if is_dots(name) {
            return Err(Errno::EISDIR.into());
        }
        let _names = dir.names.lock();
        let entry = self.find(parent, name)?.ok_or(Errno::ENOENT)?;
        if entry.kind == Kind::Directory {
            return Err(Errno::EISDIR.into());
        }
        let inode = self.unless_damaged(entry.ino)?;
        let now = self.volume.now();
        let mut change = match &inode {
            Some(inode) => Change::new(&[&*dir, &**inode], now),
            None => Change::new(&[&*dir], now),
        };
        let name_key = key::name(parent, &self.name_key, name);
        change.batch.delete(&name_key);
        change.count(parent, -1, 0);
        if let Some(inode) = &inode {
            self.lose_name(&mut change, inode)?;
        }
        let locked = change.commit(&self.volume.tree)?;
        self.settle_all(locked, inode.as_slice());
        Ok(())
    }

    /// The inode; none where it is damaged or lost. What may read well later stays an error.
    pub(super) fn unless_damaged(&self, ino: Ino) -> FsResult<Option<Arc<Inode>>> {
        match self.volume.inode(ino) {
            Ok(inode) => Ok(Some(inode)),
            Err(error) if error.is_damage() || error.errno() == Errno::ESTALE => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes one name off an inode that is not a directory.
    pub(super) fn lose_name(&self, change: &mut Change<'_>, inode: &Arc<Inode>) -> FsResult<()> {
        let ino = inode.ino;
        let now = change.now;
        let state = change.state(ino);
        if state.record.nlink > 1 {
            self.volume.write_out_locked(inode, state)?;
            change.record(ino).nlink -= 1;
        } else {
            change.lose(ino);
        }
        change.record(ino).ctime = now;
        Ok(())
    }

    /// Lets go of those inodes that lost everything.
    pub(super) fn settle_all(&self, mut locked: Locked<'_>, inodes: &[Arc<Inode>]) {
        for inode in inodes {
            self.settle(inode, locked.of(inode.ino));
        }
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`, `EINVAL` for `.`, `EROFS`.
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> FsResult<()> {
        self.volume.must_be_writable()?;
        let dir = self.volume.inode(parent)?;
        dir.lock().must_be_directory()?;
        check_name(name)?;
        match name {
            b"." => return Err(Errno::EINVAL.into()),
            b".." => return Err(Errno::ENOTEMPTY.into()),
            _ => {}
        }
        let _names = dir.names.lock();
        let entry = self.find(parent, name)?.ok_or(Errno::ENOENT)?;
        if entry.kind != Kind::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        let inode = self.unless_damaged(entry.ino)?;
        let child_names = inode.as_ref().map(|inode| inode.names.lock());
        let now = self.volume.now();
        let mut change = match &inode {
            Some(inode) => Change::new(&[&*dir, &**inode], now),
            None => Change::new(&[&*dir], now),
        };
        let name_key = key::name(parent, &self.name_key, name);
        change.batch.delete(&name_key);
        change.count(parent, -1, -1);
        match &inode {
            Some(inode) => Self::lose_directory(&mut change, inode.ino)?,
            None => self.must_be_empty(entry.ino)?,
        }
        let locked = change.commit(&self.volume.tree)?;
        self.settle_all(locked, inode.as_slice());
        drop(child_names);
        Ok(())
    }

    /// Takes its only name off an empty directory.
    pub(super) fn lose_directory(change: &mut Change<'_>, ino: Ino) -> FsResult<()> {
        let state = change.state(ino);
        state.must_be_directory()?;
        Volume::must_have_name(state)?;
        if state.record.size > 0 {
            return Err(Errno::ENOTEMPTY.into());
        }
        change.lose(ino);
        let now = change.now;
        change.record(ino).ctime = now;
        Ok(())
    }

    /// `ENOTEMPTY` for a directory with names, by looking.
    fn must_be_empty(&self, ino: Ino) -> FsResult<()> {
        let mut scan = self.volume.tree.scan(&key::names(ino), &[])?;
        match scan.next()? {
            Some(_) => Err(Errno::ENOTEMPTY.into()),
            None => Ok(()),
        }
    }
}

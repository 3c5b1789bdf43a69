//! Files that get their name when they are complete.
//!
//! - Until then the tree has the mark of an orphan for them: a crash leaves nothing behind.

use alloc::sync::Arc;

use coffer_blobstore::BlobBatch;

use crate::attr::{Attr, Caller, Handle, Ino, Kind, OpenFlags};
use crate::errno::{Errno, FsResult};
use crate::filesystem::FileSystem;
use crate::filesystem::change::Change;
use crate::filesystem::make::{check_new_name, new_record};
use crate::inode::Inode;
use crate::key;
use crate::record::{NameRecord, ORPHAN};
use crate::volume::Volume;

impl FileSystem {
    /// Makes a regular file without a name, to be named in directory `parent`, and opens it.
    ///
    /// # Errors
    /// `ENOTDIR`, `EROFS`; errors of the store.
    pub fn create_unnamed(
        &self,
        caller: &Caller,
        parent: Ino,
        mode: u32,
    ) -> FsResult<(Ino, Handle)> {
        self.volume.must_be_writable()?;
        let dir = self.volume.inode(parent)?;
        let (given, mut record) = {
            let state = dir.lock();
            state.must_be_directory()?;
            let kind = Kind::File;
            let given = self.given(caller, parent, &state.record, kind, mode)?;
            let now = self.volume.now();
            let record = new_record(caller, &state.record, kind, &given, now);
            (given, record)
        };
        record.nlink = 0;
        let ino = self.numbers.take(&self.volume.tree)?;
        let mut batch = BlobBatch::new();
        given.put(&mut batch, ino);
        batch.put(&key::inode(ino), &record.encode());
        batch.put(&key::orphan(ino), &ORPHAN);
        self.volume.tree.write(batch, false)?;
        let inode = self.volume.adopt(ino, record);
        self.numbers.made();
        {
            let mut state = inode.lock();
            state.orphan = true;
            state.open_count = 1;
        }
        let flags = OpenFlags {
            read: true,
            write: true,
            ..OpenFlags::default()
        };
        Ok((ino, self.handles.open(inode, flags)))
    }

    /// Gives an open file without a name its first one; a file of that name is replaced in the
    /// same batch. What was written reaches the log first. Counts no reference.
    ///
    /// # Errors
    /// `EBADF`, `EISDIR` over a directory, `EEXIST` where the inode has a name, and those of
    /// `link`.
    pub fn publish(&self, handle: Handle, parent: Ino, name: &[u8]) -> FsResult<Attr> {
        self.volume.must_be_writable()?;
        let inode = Arc::clone(&self.handles.find(handle)?.inode);
        let ino = inode.ino;
        let dir = self.volume.inode(parent)?;
        dir.lock().must_be_directory()?;
        check_new_name(name)?;
        self.volume.write_out(&inode)?;
        let _names = dir.names.lock();
        let target = self.find(parent, name)?;
        if target.is_some_and(|target| target.kind == Kind::Directory) {
            return Err(Errno::EISDIR.into());
        }
        let replaced = target.and_then(|target| self.volume.inode(target.ino).ok());
        let mut all: alloc::vec::Vec<&Inode> = alloc::vec![&*dir, &*inode];
        all.extend(replaced.as_deref());
        let mut change = Change::new(&all, self.volume.now());
        Volume::must_have_name(change.state(parent))?;
        let state = change.state(ino);
        if state.record.nlink != 0 {
            return Err(Errno::EEXIST.into());
        }
        self.volume.write_out_locked(&inode, state)?;
        let now = change.now;
        let record = change.record(ino);
        record.nlink = 1;
        record.ctime = now;
        if let Some(replaced) = &replaced {
            self.lose_name(&mut change, replaced)?;
        }
        change.count(parent, i64::from(target.is_none()), 0);
        let entry = NameRecord {
            ino,
            kind: Kind::File,
        };
        let name_key = key::name(parent, &self.name_key, name);
        change.batch.put(&name_key, &entry.encode());
        let mut locked = change.commit(&self.volume.tree)?;
        let attr = locked.of(ino).attr(ino);
        self.settle_all(locked, replaced.as_slice());
        Ok(attr)
    }
}

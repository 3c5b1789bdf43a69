//! opendir, readdir, readdirplus, fsyncdir, releasedir.
//!
//! - A listing goes by the hashes of the names. A cookie is a place among all possible hashes: it
//!   stays right whatever is added or removed, after a remount too.
//! - Entries that stay are listed once; entries that come or go during a listing may be listed.

use crate::attr::{Attr, DirEntry, Handle, Ino, Kind, OpenFlags};
use crate::errno::{Errno, FsError, FsResult};
use crate::filesystem::FileSystem;
use crate::key;
use crate::record::NameRecord;

type Sink<'a> = &'a mut dyn FnMut(&DirEntry<'_>) -> bool;

impl FileSystem {
    /// Opens a directory. `readdir` and `readdirplus` need no handle: one may be spared.
    ///
    /// # Errors
    /// `ENOTDIR`, `ESTALE`.
    pub fn opendir(&self, ino: Ino) -> FsResult<Handle> {
        let inode = self.volume.inode(ino)?;
        {
            let mut state = inode.lock();
            if state.reaped {
                return Err(Errno::ESTALE.into());
            }
            state.must_be_directory()?;
            state.open_count += 1;
        }
        Ok(self.handles.open(inode, OpenFlags::default()))
    }

    /// Lists entries behind `cookie` (0: from the first) until `sink` answers false, which says
    /// that it did not take the entry.
    ///
    /// # Errors
    /// `ENOTDIR`; errors of the store, unless entries were taken: then the next call tells.
    pub fn readdir(&self, ino: Ino, cookie: u64, sink: Sink<'_>) -> FsResult<()> {
        self.list(ino, cookie, false, sink)
    }

    /// As `readdir`, with attributes. An entry whose inode cannot be read comes without, and
    /// counts a reference like the others.
    ///
    /// # Errors
    /// As `readdir`.
    pub fn readdirplus(&self, ino: Ino, cookie: u64, sink: Sink<'_>) -> FsResult<()> {
        self.list(ino, cookie, true, sink)
    }

    fn list(&self, ino: Ino, cookie: u64, plus: bool, sink: Sink<'_>) -> FsResult<()> {
        let inode = self.volume.inode(ino)?;
        let (parent, nlink) = {
            let state = inode.lock();
            state.must_be_directory()?;
            (state.record.parent, state.record.nlink)
        };
        self.touch_atime(&inode);
        let mut taken = false;
        for (number, target, name) in [
            (key::COOKIE_DOT, ino, &b"."[..]),
            (key::COOKIE_DOT_DOT, parent, b".."),
        ] {
            if cookie < number {
                let entry = DirEntry {
                    ino: target,
                    name,
                    kind: Kind::Directory,
                    cookie: number,
                    attr: None,
                };
                if !sink(&entry) {
                    return Ok(());
                }
                taken = true;
            }
        }
        if nlink == 0 {
            return Ok(());
        }
        match self.list_names(ino, cookie, plus, sink, &mut taken) {
            Err(_) if taken => Ok(()),
            outcome => outcome,
        }
    }

    fn list_names(
        &self,
        ino: Ino,
        cookie: u64,
        plus: bool,
        sink: Sink<'_>,
        taken: &mut bool,
    ) -> FsResult<()> {
        let behind = key::split_cookie(cookie);
        let from = behind.map_or_else(
            || key::names_from(ino, 0),
            |(hash, _)| key::names_from(ino, hash),
        );
        let mut scan = self.volume.tree.scan(&key::names(ino), &from)?;
        let mut last_hash = 0;
        let mut rank = 0;
        while let Some((key, value)) = scan.next()? {
            let (hash, name) = key::split_name(&key).ok_or_else(damaged)?;
            rank = if hash == last_hash { rank + 1 } else { 0 };
            last_hash = hash;
            // Names that share the last rank are passed together: no listing goes in a circle.
            if behind.is_some_and(|(at, passed)| hash == at && rank.min(key::RANK_MAX) <= passed) {
                continue;
            }
            let target = NameRecord::decode(&value.bytes(&self.volume.tree)?)?;
            let attr = if plus { self.attr_of(target.ino) } else { None };
            let entry = DirEntry {
                ino: target.ino,
                name,
                kind: target.kind,
                cookie: key::cookie(hash, rank),
                attr,
            };
            if !sink(&entry) {
                if plus {
                    self.forget(target.ino, 1);
                }
                return Ok(());
            }
            *taken = true;
        }
        Ok(())
    }

    /// A reference for a listing, and attributes; none for an inode that is gone or damaged.
    fn attr_of(&self, ino: Ino) -> Option<Attr> {
        let Ok(inode) = self.volume.inode(ino) else {
            self.references.add(ino);
            return None;
        };
        let state = inode.lock();
        self.references.add(ino);
        (state.record.nlink > 0).then(|| state.attr(ino))
    }

    /// Makes all changes of the namespace durable, and the attributes of this directory.
    ///
    /// # Errors
    /// Failures of the sync.
    pub fn fsyncdir(&self, ino: Ino) -> FsResult<()> {
        let inode = self.volume.inode(ino)?;
        inode.lock().must_be_directory()?;
        if !self.volume.options.read_only {
            self.volume.write_out(&inode)?;
            self.volume.tree.sync()?;
        }
        Ok(())
    }

    /// Closes a handle of a directory.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn releasedir(&self, ino: Ino, handle: Handle) -> FsResult<()> {
        self.release(ino, handle)
    }
}

fn damaged() -> FsError {
    coffer_blobstore::Error::corruption("the key of a name makes no sense").into()
}

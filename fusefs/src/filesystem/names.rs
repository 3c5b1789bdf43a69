//! Finding names, and references of the kernel to inodes.
//!
//! - An inode without a name lives until nobody refers to it and no handle is open. Whoever takes
//!   away a name, a reference or a handle looks afterwards whether it was the last.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::attr::{Attr, Ino};
use crate::errno::{Errno, FsResult};
use crate::filesystem::FileSystem;
use crate::filesystem::space::NAME_LEN_MAX;
use crate::inode::{Inode, State};
use crate::key;
use crate::record::NameRecord;
use crate::sync::{Mutex, MutexGuard};
use crate::table::InoMap;

const SHARD_COUNT: u64 = 16;
/// How often a name is looked up again that changed under the search.
const TRIES_MAX: usize = 100;

/// References of the kernel, by inode.
pub(super) struct References(Vec<Mutex<InoMap<u64>>>);

impl Default for References {
    fn default() -> Self {
        Self((0..SHARD_COUNT).map(|_| Mutex::default()).collect())
    }
}

impl References {
    fn shard(&self, ino: Ino) -> MutexGuard<'_, InoMap<u64>> {
        let number = usize::try_from(ino % SHARD_COUNT).unwrap_or(0);
        self.0.get(number).expect("a remainder").lock()
    }

    /// One more.
    pub(super) fn add(&self, ino: Ino) {
        *self.shard(ino).entry(ino).or_insert(0) += 1;
    }

    /// So many less; answers whether none is left.
    fn remove(&self, ino: Ino, count: u64) -> bool {
        let mut shard = self.shard(ino);
        let Some(held) = shard.get_mut(&ino) else {
            return true;
        };
        *held = held.saturating_sub(count);
        let none = *held == 0;
        if none {
            shard.remove(&ino);
        }
        none
    }

    /// Is there one?
    fn any(&self, ino: Ino) -> bool {
        self.shard(ino).contains_key(&ino)
    }
}

/// Refuses names that no directory can hold.
pub(super) fn check_name(name: &[u8]) -> FsResult<()> {
    match name {
        [] => Err(Errno::ENOENT.into()),
        _ if name.len() > NAME_LEN_MAX => Err(Errno::ENAMETOOLONG.into()),
        _ if name.contains(&b'/') || name.contains(&0) => Err(Errno::EINVAL.into()),
        _ => Ok(()),
    }
}

/// Is it one of the two names that every directory has?
pub(super) fn is_dots(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

impl FileSystem {
    /// Finds a name in a directory. Counts one reference, as every method that answers `Attr`
    /// for a name does (lookup, mknod, mkdir, symlink, link, create, each entry taken by
    /// `readdirplus` but `.` and `..`), until `forget`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENAMETOOLONG`; `ESTALE` for an unknown directory.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> FsResult<Attr> {
        let (inode, attr) = self.walk(parent, name, |inode| self.references.add(inode.ino))?;
        drop(inode);
        Ok(attr)
    }

    /// Finds a name without a look at its inode, which may be damaged: answers a stand-in, with
    /// which the name can be removed. Counts one reference, as `lookup`.
    ///
    /// # Errors
    /// `ENOENT`; errors of the store about the name itself.
    pub(crate) fn lookup_name(&self, parent: Ino, name: &[u8]) -> FsResult<Attr> {
        self.volume.inode(parent)?.lock().must_be_directory()?;
        if is_dots(name) {
            return Err(Errno::EIO.into());
        }
        let target = self.find(parent, name)?.ok_or(Errno::ENOENT)?;
        self.references.add(target.ino);
        Ok(Attr::stand_in(target.ino, target.kind))
    }

    /// Gives back `count` references.
    pub fn forget(&self, ino: Ino, count: u64) {
        if self.references.remove(ino, count)
            && let Some(inode) = self.volume.in_memory(ino)
        {
            self.settle(&inode, &mut inode.lock());
        }
    }

    /// Finds a name and calls `found` under the lock of its inode.
    pub(crate) fn walk(
        &self,
        parent: Ino,
        name: &[u8],
        found: impl Fn(&Inode),
    ) -> FsResult<(Arc<Inode>, Attr)> {
        let dir = self.volume.inode(parent)?;
        let up = {
            let state = dir.lock();
            state.must_be_directory()?;
            state.record.parent
        };
        check_name(name)?;
        if is_dots(name) {
            let target = if name == b"." {
                dir
            } else {
                self.volume.inode(up)?
            };
            let state = target.lock();
            found(&target);
            let attr = state.attr(target.ino);
            drop(state);
            return Ok((target, attr));
        }
        for _ in 0..TRIES_MAX {
            let target = self.find(parent, name)?.ok_or(Errno::ENOENT)?;
            let inode = match self.volume.inode(target.ino) {
                Ok(inode) => inode,
                // The name is gone by now, or its inode is lost: another look tells.
                Err(error) if error.errno() == Errno::ESTALE => continue,
                Err(error) => return Err(error),
            };
            let state = inode.lock();
            if state.record.nlink > 0 {
                found(&inode);
                let attr = state.attr(inode.ino);
                drop(state);
                return Ok((inode, attr));
            }
        }
        let lost = coffer_blobstore::Error::corruption("a name leads to an inode that is lost");
        Err(lost.into())
    }

    /// What a name leads to.
    pub(crate) fn find(&self, parent: Ino, name: &[u8]) -> FsResult<Option<NameRecord>> {
        let key = key::name(parent, &self.name_key, name);
        match self.volume.tree.get(&key)? {
            Some(bytes) => Ok(Some(NameRecord::decode(&bytes)?)),
            None => Ok(None),
        }
    }

    /// Lets go of an inode that has lost its last name, user and reference.
    pub(super) fn settle(&self, inode: &Arc<Inode>, state: &mut State) {
        let alive = state.record.nlink > 0
            || state.open_count > 0
            || state.reaped
            || self.references.any(inode.ino);
        if alive {
            return;
        }
        self.numbers.removed();
        if state.orphan {
            self.volume.orphaned(inode.ino, state);
        } else {
            self.volume.forget(inode, state);
        }
    }
}

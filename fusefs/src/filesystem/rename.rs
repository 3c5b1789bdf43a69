//! rename, with `NOREPLACE`, `EXCHANGE` and `WHITEOUT`.
//!
//! - What was written to a moved file reaches the log before the batch that moves its name.
//! - Only one name at a time moves between directories, so the tree above stands still while it
//!   is searched for loops and while two directories are locked, ancestor first.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::attr::{Caller, Ino, Kind, ROOT, RenameFlags};
use crate::errno::{Errno, FsResult};
use crate::filesystem::FileSystem;
use crate::filesystem::change::Change;
use crate::filesystem::make::new_record;
use crate::filesystem::names::{check_name, is_dots};
use crate::inode::Inode;
use crate::key;
use crate::record::{InodeRecord, NameRecord};
use crate::volume::Volume;

/// A directory deeper than this cannot be moved between directories.
const DEPTH_MAX: usize = 1 << 20;

/// One end of a move.
#[derive(Clone, Copy)]
struct Place<'a> {
    dir: Ino,
    name: &'a [u8],
}

impl FileSystem {
    /// Moves a name, in one atomic batch. A whiteout belongs to the caller.
    ///
    /// # Errors
    /// `ENOENT`, `EEXIST` with `no_replace`, `ENOTDIR`, `EISDIR`, `ENOTEMPTY`, `EBUSY` for `.`
    /// and `..`, `EINVAL` for a directory moved beneath itself and for `exchange` with another
    /// flag, `EMLINK`, `ENAMETOOLONG`, `EROFS`.
    pub fn rename(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &[u8],
        new_parent: Ino,
        new_name: &[u8],
        flags: RenameFlags,
    ) -> FsResult<()> {
        self.volume.must_be_writable()?;
        if flags.exchange && (flags.no_replace || flags.whiteout) {
            return Err(Errno::EINVAL.into());
        }
        let from = self.volume.inode(parent)?;
        from.lock().must_be_directory()?;
        let to = self.volume.inode(new_parent)?;
        to.lock().must_be_directory()?;
        check_name(name)?;
        check_name(new_name)?;
        if is_dots(name) || is_dots(new_name) {
            return Err(Errno::EBUSY.into());
        }
        self.write_out_named(parent, name)?;
        if flags.exchange {
            self.write_out_named(new_parent, new_name)?;
        }
        let old = Place { dir: parent, name };
        let new = Place {
            dir: new_parent,
            name: new_name,
        };
        if parent == new_parent {
            let _names = from.names.lock();
            return self.rename_locked(caller, &from, &to, old, new, flags);
        }
        let _renames = self.renames.lock();
        // Whether one is above the other decides the order of the locks.
        let to_first = self.is_beneath(new_parent, parent)?;
        let (first, second) = if to_first { (&to, &from) } else { (&from, &to) };
        let _first = first.names.lock();
        let _second = second.names.lock();
        self.rename_locked(caller, &from, &to, old, new, flags)
    }

    /// Sends what was written to a file to the log, before its name moves.
    fn write_out_named(&self, parent: Ino, name: &[u8]) -> FsResult<()> {
        if let Some(entry) = self.find(parent, name)?
            && entry.kind == Kind::File
            && let Some(inode) = self.volume.in_memory(entry.ino)
        {
            self.volume.write_out(&inode)?;
        }
        Ok(())
    }

    /// Is directory `ino` beneath `top`, or `top` itself? `renames` is locked.
    fn is_beneath(&self, top: Ino, ino: Ino) -> FsResult<bool> {
        let mut at = ino;
        for _ in 0..DEPTH_MAX {
            if at == top {
                return Ok(true);
            }
            if at == ROOT {
                return Ok(false);
            }
            at = self.volume.inode(at)?.lock().record.parent;
        }
        Err(Errno::ELOOP.into())
    }

    fn rename_locked(
        &self,
        caller: &Caller,
        from: &Arc<Inode>,
        to: &Arc<Inode>,
        old: Place<'_>,
        new: Place<'_>,
        flags: RenameFlags,
    ) -> FsResult<()> {
        let moved = self.find(old.dir, old.name)?.ok_or(Errno::ENOENT)?;
        let target = self.find(new.dir, new.name)?;
        if target.is_some() && flags.no_replace {
            return Err(Errno::EEXIST.into());
        }
        if target.is_none() && flags.exchange {
            return Err(Errno::ENOENT.into());
        }
        if old.dir != new.dir {
            self.must_not_loop(moved, new.dir)?;
            let above = target.filter(|target| target.kind == Kind::Directory);
            if let Some(above) = above
                && self.is_beneath(above.ino, old.dir)?
            {
                let errno = if flags.exchange {
                    Errno::EINVAL
                } else {
                    Errno::ENOTEMPTY
                };
                return Err(errno.into());
            }
        }
        // Two names of one inode: nothing to do.
        if target.is_some_and(|target| target.ino == moved.ino) {
            return Ok(());
        }
        match target {
            Some(target) if flags.exchange => self.exchange(from, to, (old, moved), (new, target)),
            _ => {
                let left = flags.whiteout.then_some(caller);
                self.replace(from, to, (old, moved), (new, target), left)
            }
        }
    }

    /// `EINVAL` for a directory that would come beneath itself.
    fn must_not_loop(&self, moved: NameRecord, dir: Ino) -> FsResult<()> {
        if moved.kind == Kind::Directory && self.is_beneath(moved.ino, dir)? {
            return Err(Errno::EINVAL.into());
        }
        Ok(())
    }

    fn replace(
        &self,
        from: &Arc<Inode>,
        to: &Arc<Inode>,
        (old, moved): (Place<'_>, NameRecord),
        (new, target): (Place<'_>, Option<NameRecord>),
        whiteout: Option<&Caller>,
    ) -> FsResult<()> {
        let is_dir = moved.kind == Kind::Directory;
        match target.map(|target| target.kind == Kind::Directory) {
            Some(true) if !is_dir => return Err(Errno::EISDIR.into()),
            Some(false) if is_dir => return Err(Errno::ENOTDIR.into()),
            _ => {}
        }
        let inode = self.volume.inode(moved.ino)?;
        // What cannot be read can still be replaced, if it is no directory.
        let replaced = match target {
            Some(target) if is_dir => Some(self.volume.inode(target.ino)?),
            Some(target) => self.unless_damaged(target.ino)?,
            None => None,
        };
        let replaced_names = replaced
            .as_ref()
            .filter(|_| is_dir)
            .map(|replaced| replaced.names.lock());
        let mut all: Vec<&Inode> = alloc::vec![&**from, &**to, &*inode];
        all.extend(replaced.as_deref());
        let mut change = Change::new(&all, self.volume.now());
        Volume::must_have_name(change.state(new.dir))?;
        self.move_record(&mut change, &inode, new.dir)?;
        if let Some(replaced) = &replaced {
            if is_dir {
                Self::lose_directory(&mut change, replaced.ino)?;
            } else {
                self.lose_name(&mut change, replaced)?;
            }
        }
        change.count(
            old.dir,
            i64::from(whiteout.is_some()) - 1,
            -i32::from(is_dir),
        );
        let entries = i64::from(target.is_none());
        let subdirectories = i32::from(is_dir && target.is_none());
        if subdirectories > 0 && change.record(new.dir).nlink == u32::MAX {
            return Err(Errno::EMLINK.into());
        }
        change.count(new.dir, entries, subdirectories);
        let left = match whiteout {
            Some(caller) => Some(self.whiteout(&mut change, caller, old)?),
            None => {
                self.unname(&mut change, old);
                None
            }
        };
        self.name(&mut change, new, moved);
        let left = left.map(|(ino, record)| self.volume.adopt(ino, record));
        let committed = change.commit(&self.volume.tree);
        let locked = committed.inspect_err(|_| {
            if let Some(left) = &left {
                self.volume.abandon(left);
            }
        })?;
        if left.is_some() {
            self.numbers.made();
        }
        self.settle_all(locked, replaced.as_slice());
        drop(replaced_names);
        Ok(())
    }

    /// A new inode in a place that is left: to the upper layer of a union it says that nothing is
    /// there, whatever lies beneath.
    fn whiteout(
        &self,
        change: &mut Change<'_>,
        caller: &Caller,
        place: Place<'_>,
    ) -> FsResult<(Ino, InodeRecord)> {
        let ino = self.numbers.take(&self.volume.tree)?;
        let kind = Kind::CharDevice;
        let now = change.now;
        let dir = change.record(place.dir);
        let given = self.given(caller, place.dir, dir, kind, 0)?;
        let record = new_record(caller, dir, kind, &given, now);
        given.put(&mut change.batch, ino);
        change.batch.put(&key::inode(ino), &record.encode());
        self.name(change, place, NameRecord { ino, kind });
        Ok((ino, record))
    }

    fn exchange(
        &self,
        from: &Arc<Inode>,
        to: &Arc<Inode>,
        (old, moved): (Place<'_>, NameRecord),
        (new, target): (Place<'_>, NameRecord),
    ) -> FsResult<()> {
        let inode = self.volume.inode(moved.ino)?;
        let other = self.volume.inode(target.ino)?;
        let all: Vec<&Inode> = alloc::vec![&**from, &**to, &*inode, &*other];
        let mut change = Change::new(&all, self.volume.now());
        Volume::must_have_name(change.state(new.dir))?;
        self.move_record(&mut change, &inode, new.dir)?;
        self.move_record(&mut change, &other, old.dir)?;
        let comes = |kind: Kind| i32::from(kind == Kind::Directory);
        let gain = comes(target.kind) - comes(moved.kind);
        change.count(old.dir, 0, gain);
        change.count(new.dir, 0, -gain);
        self.name(&mut change, old, target);
        self.name(&mut change, new, moved);
        change.commit(&self.volume.tree)?;
        Ok(())
    }

    /// What a move changes in the inode itself.
    fn move_record(&self, change: &mut Change<'_>, inode: &Arc<Inode>, dir: Ino) -> FsResult<()> {
        let state = change.state(inode.ino);
        if state.record.kind == Kind::File {
            self.volume.write_out_locked(inode, state)?;
        }
        let now = change.now;
        let record = change.record(inode.ino);
        record.ctime = now;
        if record.kind == Kind::Directory {
            record.parent = dir;
        }
        Ok(())
    }

    fn name(&self, change: &mut Change<'_>, place: Place<'_>, entry: NameRecord) {
        let key = key::name(place.dir, &self.name_key, place.name);
        change.batch.put(&key, &entry.encode());
    }

    fn unname(&self, change: &mut Change<'_>, place: Place<'_>) {
        let key = key::name(place.dir, &self.name_key, place.name);
        change.batch.delete(&key);
    }
}

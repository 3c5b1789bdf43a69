//! Names of the model: looking them up, giving, taking and moving them.

use super::{Answer, Id, ModelFs, Node, TOP, lists};
use coffer_fusefs::Errno;
use coffer_fusefs::attr::{Caller, Kind, RenameFlags};
use std::collections::BTreeMap;

fn check(name: &[u8]) -> Answer<()> {
    match name.len() {
        0 => Err(Errno::ENOENT),
        1..=255 => Ok(()),
        _ => Err(Errno::ENAMETOOLONG),
    }
}

impl ModelFs {
    /// Finds a name.
    pub fn lookup(&self, dir: Id, name: &[u8]) -> Answer<Id> {
        let node = self.dir(dir)?;
        check(name)?;
        node.entries.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// A name is added to or taken from a directory.
    fn count(&mut self, dir: Id, subdirectories: i32) {
        let now = self.now;
        let node = self.at(dir);
        node.size = node.entries.len() as u64;
        node.nlink = node.nlink.saturating_add_signed(subdirectories);
        node.times[1] = now;
        node.times[2] = now;
    }

    /// Makes anything.
    pub fn make(
        &mut self,
        caller: &Caller,
        dir: Id,
        name: &[u8],
        (kind, mode, rdev): (Kind, u32, u32),
        target: &[u8],
    ) -> Answer<Id> {
        let parent = self.dir(dir)?;
        check(name)?;
        if parent.entries.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        if parent.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        let inherits = parent.mode & 0o2000 != 0;
        let gid = if inherits { parent.gid } else { caller.gid };
        let (mut mode, xattrs) = match kind {
            Kind::Symlink => (0o777, BTreeMap::new()),
            _ => lists::given(parent, kind, mode, caller.umask),
        };
        if inherits && kind == Kind::Directory {
            mode |= 0o2000;
        }
        let mut node = Node::new(kind, mode, caller.uid, gid, self.now);
        node.rdev = rdev;
        node.xattrs = xattrs;
        node.target = target.to_vec();
        node.size = target.len() as u64;
        node.parent = dir;
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, node);
        self.at(dir).entries.insert(name.to_vec(), id);
        self.count(dir, i32::from(kind == Kind::Directory));
        Ok(id)
    }

    /// One more name.
    pub fn link(&mut self, id: Id, dir: Id, name: &[u8]) -> Answer<()> {
        if self.node(id).kind == Kind::Directory {
            return Err(Errno::EPERM);
        }
        let parent = self.dir(dir)?;
        check(name)?;
        if parent.entries.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        if parent.nlink == 0 || self.node(id).nlink == 0 {
            return Err(Errno::ENOENT);
        }
        let now = self.now;
        let node = self.at(id);
        node.nlink += 1;
        node.times[2] = now;
        self.at(dir).entries.insert(name.to_vec(), id);
        self.count(dir, 0);
        Ok(())
    }

    fn lose(&mut self, id: Id) {
        let now = self.now;
        let node = self.at(id);
        node.nlink = match node.kind {
            Kind::Directory => 0,
            _ => node.nlink - 1,
        };
        node.times[2] = now;
        self.settle(id);
    }

    /// Takes a name that is no directory.
    pub fn unlink(&mut self, dir: Id, name: &[u8]) -> Answer<()> {
        let id = self.lookup(dir, name)?;
        if self.node(id).kind == Kind::Directory {
            return Err(Errno::EISDIR);
        }
        self.at(dir).entries.remove(name);
        self.count(dir, 0);
        self.lose(id);
        Ok(())
    }

    /// Takes an empty directory.
    pub fn rmdir(&mut self, dir: Id, name: &[u8]) -> Answer<()> {
        let id = self.lookup(dir, name)?;
        if self.dir(id)?.size > 0 {
            return Err(Errno::ENOTEMPTY);
        }
        self.at(dir).entries.remove(name);
        self.count(dir, -1);
        self.lose(id);
        Ok(())
    }

    fn is_beneath(&self, top: Id, mut id: Id) -> bool {
        while id != top && id != TOP {
            id = self.node(id).parent;
        }
        id == top
    }

    /// Moves a name.
    pub fn rename(
        &mut self,
        caller: &Caller,
        (dir, name): (Id, &[u8]),
        (new_dir, new_name): (Id, &[u8]),
        flags: RenameFlags,
    ) -> Answer<()> {
        if flags.exchange && (flags.no_replace || flags.whiteout) {
            return Err(Errno::EINVAL);
        }
        self.dir(dir)?;
        self.dir(new_dir)?;
        check(name)?;
        check(new_name)?;
        let id = self.lookup(dir, name)?;
        let target = self.lookup(new_dir, new_name).ok();
        if target.is_some() && flags.no_replace {
            return Err(Errno::EEXIST);
        }
        if target.is_none() && flags.exchange {
            return Err(Errno::ENOENT);
        }
        let is_dir = |id: Id| self.node(id).kind == Kind::Directory;
        if is_dir(id) && self.is_beneath(id, new_dir) {
            return Err(Errno::EINVAL);
        }
        if target.is_some_and(|target| is_dir(target) && self.is_beneath(target, dir)) {
            return Err(match flags.exchange {
                true => Errno::EINVAL,
                false => Errno::ENOTEMPTY,
            });
        }
        if target == Some(id) {
            return Ok(());
        }
        let moves = is_dir(id);
        if let Some(target) = target.filter(|_| !flags.exchange) {
            match is_dir(target) {
                true if !moves => return Err(Errno::EISDIR),
                false if moves => return Err(Errno::ENOTDIR),
                true if self.node(target).size > 0 => return Err(Errno::ENOTEMPTY),
                _ => {}
            }
        }
        if self.node(new_dir).nlink == 0 {
            return Err(Errno::ENOENT);
        }
        let comes_back = target.filter(|_| flags.exchange);
        let replaced_dir = target.is_some_and(is_dir);
        self.at(dir).entries.remove(name);
        self.at(new_dir).entries.insert(new_name.to_vec(), id);
        if let Some(target) = comes_back {
            self.at(dir).entries.insert(name.to_vec(), target);
            self.moved(target, dir);
        }
        if flags.whiteout {
            self.leave_whiteout(caller, dir, name);
        }
        self.moved(id, new_dir);
        self.count(
            dir,
            i32::from(comes_back.is_some() && replaced_dir) - i32::from(moves),
        );
        self.count(new_dir, i32::from(moves) - i32::from(replaced_dir));
        if let Some(target) = target.filter(|_| !flags.exchange) {
            self.lose(target);
        }
        Ok(())
    }

    fn leave_whiteout(&mut self, caller: &Caller, dir: Id, name: &[u8]) {
        let parent = self.node(dir);
        let gid = match parent.mode & 0o2000 {
            0 => caller.gid,
            _ => parent.gid,
        };
        let (_, xattrs) = lists::given(parent, Kind::CharDevice, 0, 0);
        let mut left = Node::new(Kind::CharDevice, 0, caller.uid, gid, self.now);
        left.xattrs = xattrs;
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, left);
        self.at(dir).entries.insert(name.to_vec(), id);
    }

    fn moved(&mut self, id: Id, dir: Id) {
        let now = self.now;
        let node = self.at(id);
        node.times[2] = now;
        node.parent = dir;
    }
}

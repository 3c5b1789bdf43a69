//! The nodes of the file system in memory.
//!
//! Every name leads to a node that exists; a node goes with its last name and last lookup.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::SystemTime;

use fuser::{Errno, FileAttr, FileType, INodeNo};

/// The inode number of the root.
pub(super) const ROOT: u64 = 1;

/// Names of a directory, found by name and walked by cookie.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_name: HashMap<OsString, (u64, u64)>,
    by_cookie: BTreeMap<u64, OsString>,
    next: u64,
}

/// What a node holds.
#[derive(Debug)]
pub(super) enum Body {
    /// A directory.
    Dir(Names),
    /// A file with its bytes.
    File(Arc<RwLock<Vec<u8>>>),
    /// A symbolic link with its target.
    Link(OsString),
    /// A device, a socket or a pipe.
    Special,
}

/// One inode.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) attr: FileAttr,
    pub(super) body: Body,
    lookups: u64,
}

/// The whole tree.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: HashMap<u64, Node>,
    next: u64,
}

impl Default for Nodes {
    fn default() -> Self {
        let mut nodes = Self {
            nodes: HashMap::new(),
            next: ROOT,
        };
        nodes.make(
            Body::Dir(Names::default()),
            FileType::Directory,
            0o755,
            (0, 0),
            0,
        );
        nodes
    }
}

type Done<T> = Result<T, Errno>;

fn exclusive(bytes: &RwLock<Vec<u8>>) -> RwLockWriteGuard<'_, Vec<u8>> {
    bytes.write().unwrap_or_else(PoisonError::into_inner)
}

impl Nodes {
    pub(super) fn node(&mut self, ino: u64) -> Done<&mut Node> {
        self.nodes.get_mut(&ino).ok_or(Errno::ENOENT)
    }

    pub(super) fn attr(&self, ino: u64) -> Done<FileAttr> {
        self.nodes
            .get(&ino)
            .map(|node| node.attr)
            .ok_or(Errno::ENOENT)
    }

    fn names(&mut self, ino: u64) -> Done<&mut Names> {
        match &mut self.node(ino)?.body {
            Body::Dir(names) => Ok(names),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn make(&mut self, body: Body, kind: FileType, perm: u16, owner: (u32, u32), rdev: u32) -> u64 {
        let (ino, now) = (self.next, SystemTime::now());
        self.next += 1;
        let attr = FileAttr {
            ino: INodeNo(ino),
            size: if let Body::Link(target) = &body {
                target.len() as u64
            } else {
                0
            },
            blocks: 0,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            kind,
            perm,
            nlink: if kind == FileType::Directory { 2 } else { 1 },
            uid: owner.0,
            gid: owner.1,
            rdev,
            blksize: 4096,
            flags: 0,
        };
        self.nodes.insert(
            ino,
            Node {
                attr,
                body,
                lookups: 0,
            },
        );
        ino
    }

    /// Finds a name and counts the lookup.
    pub(super) fn lookup(&mut self, parent: u64, name: &OsStr) -> Done<FileAttr> {
        let (ino, _) = *self.names(parent)?.by_name.get(name).ok_or(Errno::ENOENT)?;
        let node = self.node(ino)?;
        node.lookups += 1;
        Ok(node.attr)
    }

    /// Makes a node under a name and counts the lookup.
    pub(super) fn create(
        &mut self,
        (parent, name): (u64, &OsStr),
        body: Body,
        kind: FileType,
        perm: u16,
        owner: (u32, u32),
        rdev: u32,
    ) -> Done<FileAttr> {
        if self.names(parent)?.by_name.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let ino = self.make(body, kind, perm, owner, rdev);
        if kind == FileType::Directory {
            self.node(parent)?.attr.nlink += 1;
        }
        self.enter(parent, name, ino)?;
        self.lookup(parent, name)
    }

    fn enter(&mut self, parent: u64, name: &OsStr, ino: u64) -> Done<()> {
        let names = self.names(parent)?;
        names.next += 1;
        // Cookies 1 and 2 are "." and "..".
        let cookie = names.next + 2;
        names.by_name.insert(name.to_owned(), (ino, cookie));
        names.by_cookie.insert(cookie, name.to_owned());
        self.touch(parent)
    }

    fn touch(&mut self, ino: u64) -> Done<()> {
        let now = SystemTime::now();
        let attr = &mut self.node(ino)?.attr;
        (attr.mtime, attr.ctime) = (now, now);
        Ok(())
    }

    /// Takes a name away without looking at what it leads to.
    fn leave(&mut self, parent: u64, name: &OsStr) -> Done<u64> {
        let names = self.names(parent)?;
        let (ino, cookie) = names.by_name.remove(name).ok_or(Errno::ENOENT)?;
        names.by_cookie.remove(&cookie);
        self.touch(parent)?;
        Ok(ino)
    }

    /// Removes a name; `dir` says whether a directory is meant.
    pub(super) fn remove(&mut self, parent: u64, name: &OsStr, dir: bool) -> Done<()> {
        let (ino, _) = *self.names(parent)?.by_name.get(name).ok_or(Errno::ENOENT)?;
        match (&self.node(ino)?.body, dir) {
            (Body::Dir(names), true) if !names.by_name.is_empty() => return Err(Errno::ENOTEMPTY),
            (Body::Dir(_), true) => {
                self.node(parent)?.attr.nlink -= 1;
                self.node(ino)?.attr.nlink = 0;
            }
            (Body::Dir(_), false) => return Err(Errno::EISDIR),
            (_, true) => return Err(Errno::ENOTDIR),
            (_, false) => self.node(ino)?.attr.nlink -= 1,
        }
        self.leave(parent, name)?;
        self.reap(ino);
        Ok(())
    }

    fn reap(&mut self, ino: u64) {
        if self
            .nodes
            .get(&ino)
            .is_some_and(|node| node.attr.nlink == 0 && node.lookups == 0)
        {
            self.nodes.remove(&ino);
        }
    }

    /// Takes back `count` lookups.
    pub(super) fn forget(&mut self, ino: u64, count: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups = node.lookups.saturating_sub(count);
        }
        self.reap(ino);
    }

    /// A further name for a node.
    pub(super) fn link(&mut self, ino: u64, parent: u64, name: &OsStr) -> Done<FileAttr> {
        if self.names(parent)?.by_name.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        self.node(ino)?.attr.nlink += 1;
        self.enter(parent, name, ino)?;
        self.lookup(parent, name)
    }

    /// Moves a name, over another one unless `keep`.
    pub(super) fn rename(
        &mut self,
        (parent, name): (u64, &OsStr),
        (new_parent, new_name): (u64, &OsStr),
        keep: bool,
    ) -> Done<()> {
        let (ino, _) = *self.names(parent)?.by_name.get(name).ok_or(Errno::ENOENT)?;
        let dir = matches!(self.node(ino)?.body, Body::Dir(_));
        match self.names(new_parent)?.by_name.get(new_name) {
            Some(_) if keep => return Err(Errno::EEXIST),
            Some((target, _)) if *target == ino => return Ok(()),
            Some(_) => self.remove(new_parent, new_name, dir)?,
            None => {}
        }
        self.leave(parent, name)?;
        self.enter(new_parent, new_name, ino)?;
        if dir && parent != new_parent {
            self.node(parent)?.attr.nlink -= 1;
            self.node(new_parent)?.attr.nlink += 1;
        }
        Ok(())
    }

    /// Entries behind a cookie, each with the cookie that leads behind it, until `full`.
    pub(super) fn list(
        &mut self,
        ino: u64,
        after: u64,
        count_lookups: bool,
        full: &mut dyn FnMut(u64, &OsStr, &FileAttr) -> bool,
    ) -> Done<()> {
        let own = self.attr(ino)?;
        for (cookie, name) in [(1, "."), (2, "..")] {
            if after < cookie && full(cookie, OsStr::new(name), &own) {
                return Ok(());
            }
        }
        let names = self.names(ino)?;
        let mut found = Vec::new();
        for (cookie, name) in names.by_cookie.range(after.max(2) + 1..).take(1024) {
            let (child, _) = names.by_name[name];
            found.push((*cookie, name.clone(), child));
        }
        for (cookie, name, child) in found {
            let node = self.node(child)?;
            if full(cookie, &name, &node.attr) {
                break;
            }
            node.lookups += u64::from(count_lookups);
        }
        Ok(())
    }

    /// The bytes of a file.
    pub(super) fn bytes(&mut self, ino: u64) -> Done<Arc<RwLock<Vec<u8>>>> {
        match &self.node(ino)?.body {
            Body::File(bytes) => Ok(Arc::clone(bytes)),
            _ => Err(Errno::EISDIR),
        }
    }

    /// Sets the length of a file, with zeros where it grows.
    pub(super) fn resize(&mut self, ino: u64, len: u64) -> Done<()> {
        let wanted = usize::try_from(len).map_err(|_| Errno::EFBIG)?;
        let bytes = self.bytes(ino)?;
        exclusive(&bytes).resize(wanted, 0);
        self.set_len(ino, len)
    }

    fn set_len(&mut self, ino: u64, len: u64) -> Done<()> {
        let attr = &mut self.node(ino)?.attr;
        (attr.size, attr.blocks) = (len, len.div_ceil(512));
        self.touch(ino)
    }

    /// Overwrites or extends a file.
    pub(super) fn write(&mut self, ino: u64, offset: u64, data: &[u8]) -> Done<()> {
        let (from, end) = (offset as usize, offset as usize + data.len());
        let file = self.bytes(ino)?;
        let mut bytes = exclusive(&file);
        if from == bytes.len() {
            bytes.extend_from_slice(data);
        } else {
            let len = bytes.len().max(end);
            bytes.resize(len, 0);
            bytes[from..end].copy_from_slice(data);
        }
        self.set_len(ino, bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(nodes: &mut Nodes, name: &str) -> u64 {
        let place = (ROOT, OsStr::new(name));
        let body = Body::File(Arc::default());
        nodes
            .create(place, body, FileType::RegularFile, 0o644, (0, 0), 0)
            .unwrap()
            .ino
            .0
    }

    fn listed(nodes: &mut Nodes) -> Vec<String> {
        let mut names = Vec::new();
        nodes
            .list(ROOT, 2, false, &mut |_, name, _| {
                names.push(name.to_string_lossy().into_owned());
                false
            })
            .unwrap();
        names
    }

    #[test]
    fn names_come_move_and_go() {
        let mut nodes = Nodes::default();
        let ino = file(&mut nodes, "a");
        nodes.write(ino, 5, b"xyz").unwrap();
        nodes.write(ino, 8, b"!").unwrap();
        nodes.write(ino, 6, b"Y").unwrap();
        let bytes = nodes.bytes(ino).unwrap();
        assert_eq!(bytes.read().unwrap().as_slice(), b"\0\0\0\0\0xYz!");
        assert_eq!(nodes.attr(ino).unwrap().size, 9);
        file(&mut nodes, "b");
        nodes
            .rename((ROOT, OsStr::new("a")), (ROOT, OsStr::new("b")), false)
            .unwrap();
        assert_eq!(listed(&mut nodes), ["b"]);
        nodes.remove(ROOT, OsStr::new("b"), false).unwrap();
        assert!(nodes.attr(ino).is_ok(), "still looked up");
        nodes.forget(ino, 9);
        assert!(nodes.attr(ino).is_err());
        assert!(listed(&mut nodes).is_empty());
    }
}

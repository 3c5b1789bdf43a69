//! A file system as one reads about it: plain maps in memory, no caches, no log.
//!
//! - What `coffer_fusefs::FileSystem` answers must be what this answers, errno included.
//! - Times are those that the caller gives; nothing here looks at a clock.

use coffer_fusefs::Errno;
use coffer_fusefs::attr::{
    Attr, Caller, Kind, OpenFlags, RenameFlags, SetAttr, SetTime, SetXattr, Time,
};
use std::collections::BTreeMap;

/// Number of a node, never reused.
pub type Id = u64;

/// The root directory.
pub const TOP: Id = 1;

const PAGE: u64 = 4096;
const LEN_MAX: u64 = i64::MAX as u64;
const DAY: i64 = 24 * 60 * 60;

type Answer<T> = Result<T, Errno>;

/// A file, directory or anything else.
#[derive(Clone, Debug)]
pub struct Node {
    /// Type.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Names.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device.
    pub rdev: u32,
    /// Bytes; entries of a directory.
    pub size: u64,
    /// Times: access, modification, change, birth.
    pub times: [Time; 4],
    /// Target of a symbolic link.
    pub target: Vec<u8>,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Entries of a directory.
    pub entries: BTreeMap<Vec<u8>, Id>,
    parent: Id,
    pages: BTreeMap<u64, Vec<u8>>,
    users: u32,
}

/// The model.
#[derive(Clone, Debug)]
pub struct ModelFs {
    nodes: BTreeMap<Id, Node>,
    next: Id,
    /// The time of the operation.
    pub now: Time,
}

impl Node {
    fn new(kind: Kind, mode: u32, uid: u32, gid: u32, now: Time) -> Self {
        Self {
            kind,
            mode,
            nlink: if kind == Kind::Directory { 2 } else { 1 },
            uid,
            gid,
            rdev: 0,
            size: 0,
            times: [now; 4],
            target: Vec::new(),
            xattrs: BTreeMap::new(),
            entries: BTreeMap::new(),
            parent: 0,
            pages: BTreeMap::new(),
            users: 0,
        }
    }

    /// Why `attr` is not how this node looks; none if it is.
    #[must_use]
    pub fn difference(&self, attr: &Attr) -> Option<String> {
        let mine = (
            (self.kind, self.mode, self.nlink, self.uid, self.gid),
            (self.rdev, self.size, self.times),
        );
        let other = (
            (attr.kind, attr.mode, attr.nlink, attr.uid, attr.gid),
            (
                attr.rdev,
                attr.size,
                [attr.atime, attr.mtime, attr.ctime, attr.btime],
            ),
        );
        let has_data = self.pages.values().flatten().any(|&byte| byte != 0);
        if mine != other {
            Some(format!("model {mine:?}, attributes {other:?}"))
        } else if has_data && attr.blocks == 0 {
            Some("there is data, but no block".to_owned())
        } else {
            None
        }
    }

    fn drop_suid(&mut self) {
        if self.kind != Kind::Directory {
            self.mode &= !0o4000;
            if self.mode & 0o010 != 0 {
                self.mode &= !0o2000;
            }
        }
    }

    fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let len = (len as u64).min(self.size.saturating_sub(offset));
        let mut out = vec![0; len as usize];
        let end = offset + len;
        for (&page, bytes) in self.pages.range(offset / PAGE..end.div_ceil(PAGE)) {
            let first = (page * PAGE).max(offset);
            let last = ((page + 1) * PAGE).min(end);
            let from = &bytes[(first - page * PAGE) as usize..(last - page * PAGE) as usize];
            out[(first - offset) as usize..(last - offset) as usize].copy_from_slice(from);
        }
        out
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let mut at = 0;
        while at < data.len() {
            let place = offset + at as u64;
            let within = (place % PAGE) as usize;
            let len = (PAGE as usize - within).min(data.len() - at);
            let page = self.pages.entry(place / PAGE);
            let page = page.or_insert_with(|| vec![0; PAGE as usize]);
            page[within..within + len].copy_from_slice(&data[at..at + len]);
            at += len;
        }
        self.size = self.size.max(offset + data.len() as u64);
    }

    fn cut(&mut self, len: u64) {
        self.pages.split_off(&len.div_ceil(PAGE));
        if let Some(page) = self.pages.get_mut(&(len / PAGE)) {
            page[(len % PAGE) as usize..].fill(0);
        }
        self.size = len;
    }

    /// Offsets around which there is data.
    #[must_use]
    pub fn places(&self) -> Vec<u64> {
        self.pages.keys().map(|page| page * PAGE).collect()
    }
}

fn check(name: &[u8]) -> Answer<()> {
    match name.len() {
        0 => Err(Errno::ENOENT),
        1..=255 => Ok(()),
        _ => Err(Errno::ENAMETOOLONG),
    }
}

impl ModelFs {
    /// A root directory of `uid` and `gid`.
    #[must_use]
    pub fn new(uid: u32, gid: u32, mode: u32, now: Time) -> Self {
        let mut root = Node::new(Kind::Directory, mode, uid, gid, now);
        root.parent = TOP;
        Self {
            nodes: BTreeMap::from([(TOP, root)]),
            next: TOP + 1,
            now,
        }
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[&id]
    }

    /// The directory that holds a directory.
    #[must_use]
    pub fn parent(&self, id: Id) -> Id {
        self.node(id).parent
    }

    fn at(&mut self, id: Id) -> &mut Node {
        self.nodes.get_mut(&id).unwrap()
    }

    fn dir(&self, id: Id) -> Answer<&Node> {
        match self.node(id) {
            node if node.kind == Kind::Directory => Ok(node),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn file(&self, id: Id) -> Answer<&Node> {
        match self.node(id) {
            node if node.kind == Kind::File => Ok(node),
            node if node.kind == Kind::Directory => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

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
        let mut mode = match kind {
            Kind::Symlink => 0o777,
            _ => mode & !caller.umask,
        };
        if inherits && kind == Kind::Directory {
            mode |= 0o2000;
        }
        let mut node = Node::new(kind, mode, caller.uid, gid, self.now);
        node.rdev = rdev;
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

    fn settle(&mut self, id: Id) {
        let node = self.node(id);
        if node.nlink == 0 && node.users == 0 {
            self.nodes.remove(&id);
        }
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
        (dir, name): (Id, &[u8]),
        (new_dir, new_name): (Id, &[u8]),
        flags: RenameFlags,
    ) -> Answer<()> {
        if flags.no_replace && flags.exchange {
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

    fn moved(&mut self, id: Id, dir: Id) {
        let now = self.now;
        let node = self.at(id);
        node.times[2] = now;
        node.parent = dir;
    }

    /// One more handle or reference.
    pub fn hold(&mut self, id: Id) {
        self.at(id).users += 1;
    }

    /// One handle or reference less.
    pub fn release(&mut self, id: Id) {
        self.at(id).users -= 1;
        self.settle(id);
    }

    /// All handles and references are gone.
    pub fn release_all(&mut self) {
        let ids: Vec<Id> = self.nodes.keys().copied().collect();
        for id in ids {
            self.at(id).users = 0;
            self.settle(id);
        }
    }

    /// Opens a file, which counts as one user.
    pub fn open(&mut self, caller: &Caller, id: Id, flags: OpenFlags) -> Answer<()> {
        self.file(id)?;
        if flags.truncate {
            let cut = SetAttr {
                size: Some(0),
                ..SetAttr::default()
            };
            self.setattr(caller, id, &cut)?;
        }
        self.hold(id);
        Ok(())
    }

    /// Reading moves the access time, as with relatime.
    fn touch(&mut self, id: Id) {
        let now = self.now;
        let node = self.at(id);
        let [atime, mtime, ctime, _] = node.times;
        let is_due = atime <= mtime || atime <= ctime || now.secs - atime.secs >= DAY;
        if is_due && node.nlink > 0 {
            node.times[0] = now;
        }
    }

    /// Reads.
    pub fn read(&mut self, id: Id, offset: u64, len: usize) -> Vec<u8> {
        self.touch(id);
        self.node(id).read(offset, len)
    }

    /// The content without moving the access time.
    #[must_use]
    pub fn peek(&self, id: Id, offset: u64, len: usize) -> Vec<u8> {
        self.node(id).read(offset, len)
    }

    /// Names of a directory.
    pub fn readdir(&mut self, id: Id) -> Answer<Vec<Vec<u8>>> {
        self.dir(id)?;
        self.touch(id);
        Ok(self.node(id).entries.keys().cloned().collect())
    }

    /// Writes; at the end without an offset.
    pub fn write(&mut self, id: Id, offset: Option<u64>, data: &[u8], kill: bool) -> Answer<()> {
        let now = self.now;
        if data.is_empty() {
            return Ok(());
        }
        let node = self.at(id);
        let offset = offset.unwrap_or(node.size);
        if offset.saturating_add(data.len() as u64) > LEN_MAX {
            return Err(Errno::EFBIG);
        }
        node.write(offset, data);
        node.times[1] = now;
        node.times[2] = now;
        if kill {
            node.drop_suid();
            node.xattrs.remove(&b"security.capability"[..]);
        }
        Ok(())
    }

    /// Changes attributes.
    pub fn setattr(&mut self, caller: &Caller, id: Id, changes: &SetAttr) -> Answer<()> {
        let now = self.now;
        if let Some(len) = changes.size {
            self.file(id)?;
            if len > LEN_MAX {
                return Err(Errno::EFBIG);
            }
            self.at(id).cut(len);
        }
        let at = |time| match time {
            SetTime::Now => now,
            SetTime::At(time) => time,
        };
        let node = self.at(id);
        let chown = changes.uid.is_some() || changes.gid.is_some();
        if chown || (changes.size.is_some() && caller.uid != 0) {
            node.drop_suid();
            node.xattrs.remove(&b"security.capability"[..]);
        }
        node.mode = changes.mode.unwrap_or(node.mode);
        node.uid = changes.uid.unwrap_or(node.uid);
        node.gid = changes.gid.unwrap_or(node.gid);
        node.times[0] = changes.atime.map_or(node.times[0], at);
        if changes.size.is_some() {
            node.times[1] = now;
        }
        node.times[1] = changes.mtime.map_or(node.times[1], at);
        node.times[2] = changes.ctime.unwrap_or(now);
        Ok(())
    }

    /// Sets an extended attribute of the namespaces `user` and `trusted`.
    pub fn setxattr(
        &mut self,
        caller: &Caller,
        id: Id,
        name: &[u8],
        value: &[u8],
        how: SetXattr,
    ) -> Answer<()> {
        let now = self.now;
        self.may_change(caller, id, name)?;
        let node = self.at(id);
        match (how, node.xattrs.contains_key(name)) {
            (SetXattr::Create, true) => return Err(Errno::EEXIST),
            (SetXattr::Replace, false) => return Err(Errno::ENODATA),
            _ => {}
        }
        node.xattrs.insert(name.to_vec(), value.to_vec());
        node.times[2] = now;
        Ok(())
    }

    /// Removes an extended attribute.
    pub fn removexattr(&mut self, caller: &Caller, id: Id, name: &[u8]) -> Answer<()> {
        let now = self.now;
        self.may_change(caller, id, name)?;
        let node = self.at(id);
        node.xattrs.remove(name).ok_or(Errno::ENODATA)?;
        node.times[2] = now;
        Ok(())
    }

    fn may_change(&self, caller: &Caller, id: Id, name: &[u8]) -> Answer<()> {
        let kind = self.node(id).kind;
        let user = name.starts_with(b"user.");
        let trusted = name.starts_with(b"trusted.");
        let denied =
            (user && !matches!(kind, Kind::File | Kind::Directory)) || (trusted && caller.uid != 0);
        if denied { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// A node is as somebody else says: its attributes, and its bytes where they are given.
    pub fn learn(&mut self, id: Id, attr: &Attr, data: &[(u64, Vec<u8>)]) {
        let node = self.at(id);
        node.mode = attr.mode;
        node.uid = attr.uid;
        node.gid = attr.gid;
        node.times = [attr.atime, attr.mtime, attr.ctime, attr.btime];
        node.pages.clear();
        for (offset, bytes) in data {
            node.write(*offset, bytes);
        }
        node.pages
            .retain(|_, page| page.iter().any(|&byte| byte != 0));
        node.size = attr.size;
    }

    /// Extended attributes that the caller sees.
    #[must_use]
    pub fn xattrs(&self, caller: &Caller, id: Id) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut all = self.node(id).xattrs.clone();
        all.retain(|name, _| caller.uid == 0 || !name.starts_with(b"trusted."));
        all
    }
}

//! A file system as one reads about it: plain maps in memory, no caches, no log.
//!
//! - What `coffer_fusefs::FileSystem` answers must be what this answers, errno included.
//! - Times are those that the caller gives; nothing here looks at a clock.

mod lists;
mod names;
mod node;
mod ranges;

use coffer_fusefs::Errno;
use coffer_fusefs::attr::{Attr, Caller, Kind, OpenFlags, SetAttr, SetTime, SetXattr, Time};
use std::collections::{BTreeMap, BTreeSet};

pub use node::Node;

/// Number of a node, never reused.
pub type Id = u64;

/// The root directory.
pub const TOP: Id = 1;

const LEN_MAX: u64 = i64::MAX as u64;
const DAY: i64 = 24 * 60 * 60;

type Answer<T> = Result<T, Errno>;

/// The model.
#[derive(Clone, Debug)]
pub struct ModelFs {
    nodes: BTreeMap<Id, Node>,
    next: Id,
    /// The time of the operation.
    pub now: Time,
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

    fn settle(&mut self, id: Id) {
        let node = self.node(id);
        if node.nlink == 0 && node.users == 0 {
            self.nodes.remove(&id);
        }
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
    pub fn write(
        &mut self,
        id: Id,
        offset: Option<u64>,
        data: &[u8],
        kill: Option<u32>,
    ) -> Answer<()> {
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
        if kill.is_some() {
            node.drop_privileges(kill);
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
            node.drop_privileges((caller.uid != 0).then_some(caller.gid));
        }
        if let Some(mode) = changes.mode {
            node.mode = mode;
            lists::follow_mode(node);
        }
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

    /// Sets an extended attribute.
    pub fn setxattr(
        &mut self,
        caller: &Caller,
        id: Id,
        name: &[u8],
        value: &[u8],
        how: SetXattr,
    ) -> Answer<()> {
        let now = self.now;
        if lists::is_list(name) {
            return self.set_list(caller, id, name, value);
        }
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
        match node.xattrs.remove(name) {
            Some(_) => node.times[2] = now,
            None if lists::is_list(name) => {}
            None => return Err(Errno::ENODATA),
        }
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

    /// A node is as somebody else says: its attributes, its bytes where they are given, and the
    /// chunks that are no holes. What was punched stays so.
    pub fn learn(&mut self, id: Id, attr: &Attr, data: &[(u64, Vec<u8>)], chunks: BTreeSet<u64>) {
        let node = self.at(id);
        node.mode = attr.mode;
        node.uid = attr.uid;
        node.gid = attr.gid;
        node.times = [attr.atime, attr.mtime, attr.ctime, attr.btime];
        node.pages.clear();
        for (offset, bytes) in data {
            node.lay(*offset, bytes);
        }
        let back: Vec<_> = chunks.intersection(&node.punched).collect();
        assert!(back.is_empty(), "punched chunks came back: {back:?}");
        node.chunks = chunks;
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

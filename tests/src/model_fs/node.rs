//! A node of the model: attributes, content as pages that hold data, and which chunks are no holes.

use super::Id;
use coffer_fusefs::attr::{Attr, Kind, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

const PAGE: u64 = 4096;
/// Holes are whole chunks.
pub(super) const CHUNK: u64 = 128 << 10;

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
    pub(super) parent: Id,
    pub(super) pages: BTreeMap<u64, Vec<u8>>,
    /// Chunks that were written, and not given back since.
    pub(super) chunks: BTreeSet<u64>,
    /// Chunks that were given back, and not written since: no crash brings them back.
    pub(super) punched: BTreeSet<u64>,
    pub(super) users: u32,
}

impl Node {
    pub(super) fn new(kind: Kind, mode: u32, uid: u32, gid: u32, now: Time) -> Self {
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
            chunks: BTreeSet::new(),
            punched: BTreeSet::new(),
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
        if mine != other {
            Some(format!("model {mine:?}, attributes {other:?}"))
        } else if self.blocks() != attr.blocks {
            Some(format!(
                "model {} blocks, not {}",
                self.blocks(),
                attr.blocks
            ))
        } else {
            None
        }
    }

    fn blocks(&self) -> u64 {
        let count = self.chunks.len() as u64;
        match count == self.size.div_ceil(CHUNK) && self.kind == Kind::File {
            true => self.size.div_ceil(512),
            false => count * CHUNK / 512,
        }
    }

    /// The first byte from `offset` on that lies in no hole.
    #[must_use]
    pub fn next_data(&self, offset: u64) -> Option<u64> {
        let next = self.chunks.range(offset / CHUNK..).next();
        let start = next.map(|index| (index * CHUNK).max(offset));
        start.filter(|&start| start < self.size)
    }

    /// The first byte from `offset` on that lies in a hole, or the end.
    #[must_use]
    pub fn next_hole(&self, offset: u64) -> Option<u64> {
        let hole = (offset / CHUNK..).find(|index| !self.chunks.contains(index))?;
        (offset < self.size).then(|| (hole * CHUNK).max(offset).min(self.size))
    }

    fn drop_suid(&mut self, group: Option<u32>) {
        if self.kind != Kind::Directory {
            self.mode &= !0o4000;
            if self.mode & 0o010 != 0 || group.is_some_and(|group| group != self.gid) {
                self.mode &= !0o2000;
            }
        }
    }

    /// suid, sgid and capabilities go, as somebody of this group without rights does something.
    pub(super) fn drop_privileges(&mut self, group: Option<u32>) {
        self.drop_suid(group);
        self.xattrs.remove(&b"security.capability"[..]);
    }

    pub(super) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
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

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        let end = offset + data.len() as u64;
        for index in offset / CHUNK..end.div_ceil(CHUNK) {
            self.chunks.insert(index);
            self.punched.remove(&index);
        }
        self.lay(offset, data);
    }

    /// Makes a range read as zeros, as far as there are bytes; whole chunks become holes.
    pub(super) fn punch(&mut self, range: Range<u64>) {
        let end = range.end.min(self.size);
        for (&page, bytes) in self.pages.range_mut(range.start / PAGE..end.div_ceil(PAGE)) {
            let first = (page * PAGE).max(range.start) - page * PAGE;
            let last = ((page + 1) * PAGE).min(end) - page * PAGE;
            bytes[first as usize..last as usize].fill(0);
        }
        let behind = match end == self.size {
            true => end.div_ceil(CHUNK),
            false => end / CHUNK,
        };
        for index in range.start.div_ceil(CHUNK)..behind {
            self.chunks.remove(&index);
            self.punched.insert(index);
        }
    }

    /// Lays bytes over the content.
    pub(super) fn lay(&mut self, offset: u64, data: &[u8]) {
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

    pub(super) fn cut(&mut self, len: u64) {
        self.pages.split_off(&len.div_ceil(PAGE));
        self.chunks.split_off(&len.div_ceil(CHUNK));
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

//! Comparing everything, and remounting.

use super::op::{CHUNK, Op, SLOT_COUNT};
use super::{Id, Player, TOP, reopened};
use coffer_fusefs::attr::{Attr, Caller, Ino, Kind, OpenFlags, ROOT, Seek};
use coffer_fusefs::{FileSystem, FsResult};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const ROOT_CALLER: Caller = Caller {
    uid: 0,
    gid: 0,
    pid: 0,
    umask: 0,
};

impl Player {
    /// All entries of a directory, listed in calls that take `step` entries each.
    pub(super) fn listing(
        &self,
        ino: Ino,
        step: usize,
    ) -> FsResult<BTreeMap<Vec<u8>, Option<Attr>>> {
        let mut all = BTreeMap::new();
        let mut cookie = 0;
        loop {
            let mut taken = Vec::new();
            self.fs().readdirplus(ino, cookie, &mut |entry| {
                if taken.len() == step {
                    return false;
                }
                taken.push((entry.name.to_vec(), entry.cookie, entry.attr));
                true
            })?;
            let Some((_, last, _)) = taken.last() else {
                break;
            };
            assert!(*last > cookie, "cookies go up");
            cookie = *last;
            for (name, _, attr) in taken {
                if let Some(attr) = attr {
                    self.fs().forget(attr.ino, 1);
                }
                assert!(all.insert(name, attr).is_none(), "listed twice");
            }
        }
        assert!(all.remove(&b"."[..]).is_some() && all.remove(&b".."[..]).is_some());
        Ok(all)
    }

    /// Every name, attribute and byte is the same in both.
    pub(super) fn compare(&mut self) {
        let op = Op::SyncAll;
        let mut open = vec![(ROOT, TOP)];
        while let Some((ino, id)) = open.pop() {
            self.stat(&op, ino, id);
            self.compare_xattrs(ino, id);
            match self.model.node(id).kind {
                Kind::Directory => {
                    let up = self.fs().lookup(ino, b"..").unwrap();
                    self.fs().forget(up.ino, 1);
                    assert_eq!(up.ino, self.known[&self.model.parent(id)], "..");
                    let listing = self.listing(ino, 3).unwrap();
                    let names = self.model.readdir(id).unwrap();
                    let listed: Vec<_> = listing.keys().cloned().collect();
                    assert_eq!(listed, names);
                    for (name, attr) in listing {
                        let child = self.model.lookup(id, &name).unwrap();
                        let attr = attr.expect("attributes come along");
                        self.same(&op, child, &attr);
                        assert_eq!(self.known[&child], attr.ino);
                        open.push((attr.ino, child));
                    }
                }
                Kind::File => self.compare_content(ino, id),
                Kind::Symlink => {
                    let target = self.fs().readlink(ino).unwrap();
                    assert_eq!(target, self.model.node(id).target);
                }
                _ => {}
            }
        }
    }

    fn compare_xattrs(&self, ino: Ino, id: Id) {
        for caller in [
            ROOT_CALLER,
            Caller {
                uid: 7,
                ..ROOT_CALLER
            },
        ] {
            let mut found = BTreeMap::new();
            let list = self.fs().listxattr(&caller, ino).unwrap();
            for name in list
                .split(|&byte| byte == 0)
                .filter(|name| !name.is_empty())
            {
                let value = self.fs().getxattr(&caller, ino, name).unwrap();
                found.insert(name.to_vec(), value);
            }
            assert_eq!(found, self.model.xattrs(&caller, id));
        }
    }

    fn compare_content(&mut self, ino: Ino, id: Id) {
        let flags = OpenFlags {
            read: true,
            ..OpenFlags::default()
        };
        let handle = self.fs().open_file(&ROOT_CALLER, ino, flags).unwrap();
        let node = self.model.node(id);
        let mut ranges = vec![(0, 1 << 20), (node.size.saturating_sub(5000), 10_000)];
        let places = node.places().into_iter().filter(|&place| place >= 1 << 20);
        ranges.extend(places.step_by(7).map(|place| (place, 30_000)));
        for (offset, len) in ranges {
            let real = self.fs().read(ino, handle, offset, len).unwrap();
            let model = self.model.read(id, offset, len);
            let differs = real.iter().zip(&model).position(|(a, b)| a != b);
            assert!(
                real[..] == model[..],
                "inode {ino}: byte {differs:?} from {offset} differs"
            );
        }
        self.fs().release(ino, handle).unwrap();
    }

    /// Ends the mount, cleanly or after a sync only, and mounts again.
    pub(super) fn remount(&mut self, clean: bool) {
        for slot in 0..SLOT_COUNT {
            if clean {
                self.close(slot);
                self.let_go(slot);
            } else {
                self.files[slot] = None;
                self.held[slot] = None;
            }
        }
        self.model.release_all();
        self.fs().sync_all().unwrap();
        if clean {
            self.fs().tick().unwrap();
            self.audit();
        }
        let fs = self.fs.take().unwrap();
        let tree = Arc::clone(fs.tree());
        let count = fs.statfs().unwrap();
        if clean {
            fs.close().unwrap();
            let used = count.inode_count - count.free_inode_count;
            assert_eq!(used, self.alive().len() as u64, "inodes in use");
        }
        drop(fs);
        let fs = FileSystem::open(reopened(tree), self.options);
        self.fs = Some(fs.unwrap());
        self.compare();
    }

    /// The mount ends without a word, and the next one finds what is in the tree: all names, and
    /// of the content what had been written out. The model learns what that is.
    pub(super) fn crash(&mut self) {
        self.files = Default::default();
        self.held = Default::default();
        self.model.release_all();
        let fs = self.fs.take().unwrap();
        let tree = Arc::clone(fs.tree());
        drop(fs);
        self.fs = Some(FileSystem::open(tree, self.options).unwrap());
        let mut open = vec![(ROOT, TOP)];
        let mut files = BTreeSet::new();
        while let Some((ino, id)) = open.pop() {
            let mut listing = Vec::new();
            self.fs()
                .readdir(ino, 0, &mut |entry| {
                    listing.push((entry.name.to_vec(), entry.ino));
                    true
                })
                .unwrap();
            self.learn(ino, id);
            let names = self.model.node(id).entries.clone();
            assert_eq!(listing.len(), names.len() + 2);
            for (name, child) in names {
                let ino = self.known[&child];
                assert!(listing.contains(&(name, ino)), "names survive");
                match self.model.node(child).kind {
                    Kind::Directory => open.push((ino, child)),
                    Kind::File => drop(files.insert((ino, child))),
                    _ => self.learn(ino, child),
                }
            }
        }
        for (ino, id) in files {
            self.learn(ino, id);
        }
        self.compare();
    }

    /// What the file system says of a node becomes what the model says.
    fn learn(&mut self, ino: Ino, id: Id) {
        let attr = self.fs().getattr(ino).unwrap();
        let mut data = Vec::new();
        let mut chunks = BTreeSet::new();
        if attr.kind == Kind::File {
            let flags = OpenFlags {
                read: true,
                ..OpenFlags::default()
            };
            let handle = self.fs().open_file(&ROOT_CALLER, ino, flags).unwrap();
            for (offset, len) in [(0, 3 << 20), (5 << 30, 1 << 20)] {
                let bytes = self.fs().read(ino, handle, offset, len).unwrap();
                data.push((offset, bytes.to_vec()));
            }
            let mut at = 0;
            while let Ok(found) = self.fs().seek(ino, handle, at, Seek::Data) {
                chunks.insert(found / CHUNK);
                at = (found / CHUNK + 1) * CHUNK;
            }
            self.fs().release(ino, handle).unwrap();
        }
        let attr = match attr.kind {
            // Reading has moved the access time.
            Kind::File => self.fs().getattr(ino).unwrap(),
            _ => attr,
        };
        self.model.learn(id, &attr, &data, chunks);
    }

    /// Inode numbers of everything that has a name.
    fn alive(&self) -> BTreeSet<Ino> {
        let mut open = vec![TOP];
        let mut alive = BTreeSet::new();
        while let Some(id) = open.pop() {
            if alive.insert(self.known[&id]) {
                open.extend(self.model.node(id).entries.values());
            }
        }
        alive
    }

    /// The tree holds what it must hold and nothing else. Nobody uses the file system.
    fn audit(&self) {
        let tree = self.fs().tree();
        let alive = self.alive();
        let mut chunks: BTreeMap<Ino, u64> = BTreeMap::new();
        let mut scan = tree.scan(&[], &[]).unwrap();
        while let Some((key, _)) = scan.next().unwrap() {
            let (&letter, rest) = key.split_first().unwrap();
            if letter == b'S' {
                continue;
            }
            let ino = u64::from_be_bytes(rest[..8].try_into().unwrap());
            assert!(
                alive.contains(&ino) && letter != b'O',
                "left over: {}",
                key.escape_ascii()
            );
            if letter == b'C' {
                *chunks.entry(ino).or_default() += 1;
            }
        }
        for ino in alive {
            let attr = self.fs().getattr(ino).unwrap();
            if attr.kind == Kind::File {
                let count = chunks.get(&ino).copied().unwrap_or(0);
                let all = attr.size.div_ceil(CHUNK);
                let blocks = match count == all {
                    true => attr.size.div_ceil(512),
                    false => count * CHUNK / 512,
                };
                assert_eq!(attr.blocks, blocks, "inode {ino}: {count} of {all} chunks");
            }
        }
    }
}

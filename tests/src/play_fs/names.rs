//! Operations on names: make, link, unlink, rename, publish.

use super::op::{Op, Path, content};
use super::{Id, Player, agree};
use coffer_fusefs::attr::{Ino, Kind, OpenFlags, RenameFlags, WriteFlags};

impl Player {
    pub(super) fn make(&mut self, op: &Op) {
        let caller = self.caller();
        let (Op::Create(path, ..) | Op::Mknod(path, _) | Op::Mkdir(path, _) | Op::Symlink(path, _)) =
            op
        else {
            return;
        };
        let Some((dir, dir_id, name)) = self.parent(op, path) else {
            return;
        };
        let mut flags = OpenFlags::default();
        let mut handle = None;
        let (real, kind, mode, rdev, target) = match op {
            Op::Create(_, mode, _) => {
                flags.read = true;
                flags.write = true;
                let mode = mode & 0o7777;
                let real = self.fs().create(&caller, dir, name, mode, flags);
                let real = real.map(|(attr, opened)| {
                    handle = Some(opened);
                    attr
                });
                (real, Kind::File, mode, 0, Vec::new())
            }
            Op::Mknod(_, kind) => {
                let kinds = [Kind::Fifo, Kind::Socket, Kind::CharDevice, Kind::File];
                let kind = kinds[usize::from(*kind) % kinds.len()];
                let rdev = if kind == Kind::CharDevice { 259 } else { 0 };
                let mode = kind.type_bits() | 0o640;
                let real = self.fs().mknod(&caller, dir, name, mode, rdev);
                (real, kind, 0o640, rdev, Vec::new())
            }
            Op::Mkdir(_, mode) => {
                let mode = mode & 0o1777;
                let real = self.fs().mkdir(&caller, dir, name, mode);
                (real, Kind::Directory, mode, 0, Vec::new())
            }
            Op::Symlink(_, len) => {
                let target = content(b'x', 1 + usize::from(*len) % 4095);
                let real = self.fs().symlink(&caller, dir, name, &target);
                (real, Kind::Symlink, 0o777, 0, target)
            }
            _ => return,
        };
        let model = self
            .model
            .make(&caller, dir_id, name, (kind, mode, rdev), &target);
        if let Some((attr, id)) = agree(op, real, model) {
            self.same(op, id, &attr);
            assert!(!self.known.values().any(|&ino| ino == attr.ino));
            self.known.insert(id, attr.ino);
            self.fs().forget(attr.ino, 1);
            if let (Some(handle), Op::Create(_, _, slot)) = (handle, op) {
                self.model.hold(id);
                self.put_file(*slot, attr.ino, id, handle, flags);
            }
            self.stat(op, dir, dir_id);
        }
    }

    pub(super) fn names(&mut self, op: &Op) {
        match op {
            Op::Link(old, new) => {
                let Some((ino, id)) = self.walk(op, old) else {
                    return;
                };
                let Some((dir, dir_id, name)) = self.parent(op, new) else {
                    return;
                };
                let real = self.fs().link(ino, dir, name);
                let model = self.model.link(id, dir_id, name);
                if let Some((attr, ())) = agree(op, real, model) {
                    self.same(op, id, &attr);
                    self.fs().forget(ino, 1);
                }
            }
            Op::Unlink(path) | Op::Rmdir(path) => {
                let Some((dir, dir_id, name)) = self.parent(op, path) else {
                    return;
                };
                if matches!(op, Op::Unlink(_)) {
                    let real = self.fs().unlink(dir, name);
                    agree(op, real, self.model.unlink(dir_id, name));
                } else {
                    let real = self.fs().rmdir(dir, name);
                    agree(op, real, self.model.rmdir(dir_id, name));
                }
                self.stat(op, dir, dir_id);
            }
            Op::Rename(old, new, bits) => {
                let Some((dir, dir_id, name)) = self.parent(op, old) else {
                    return;
                };
                let Some((to, to_id, to_name)) = self.parent(op, new) else {
                    return;
                };
                let flags = RenameFlags {
                    no_replace: bits & 3 == 1,
                    exchange: matches!(bits, 2 | 3 | 6),
                    whiteout: matches!(bits, 3..=5),
                };
                let caller = self.caller();
                let real = self.fs().rename(&caller, dir, name, to, to_name, flags);
                let (old, new) = ((dir_id, name), (to_id, to_name));
                let model = self.model.rename(&caller, old, new, flags);
                if agree(op, real, model).is_some() && flags.whiteout {
                    self.meet(dir, dir_id, name);
                }
                self.stat(op, dir, dir_id);
                self.stat(op, to, to_id);
            }
            Op::Publish(path, len, byte) => self.publish(op, path, *len, *byte),
            _ => {}
        }
    }

    /// A node that came by itself.
    fn meet(&mut self, dir: Ino, dir_id: Id, name: &[u8]) {
        let id = self.model.lookup(dir_id, name).unwrap();
        let attr = self.fs().lookup(dir, name).unwrap();
        self.fs().forget(attr.ino, 1);
        self.known.insert(id, attr.ino);
    }

    /// A file that gets its name last.
    pub(super) fn publish(&mut self, op: &Op, path: &Path, len: u16, byte: u8) {
        let caller = self.caller();
        let Some((dir, dir_id, name)) = self.parent(op, path) else {
            return;
        };
        let old = self.model.lookup(dir_id, name);
        let is_dir = |id: Id| self.model.node(id).kind == Kind::Directory;
        if name.is_empty() || name.len() > 255 || !is_dir(dir_id) || old.is_ok_and(is_dir) {
            return;
        }
        let data = content(byte, usize::from(len));
        let (ino, handle) = self.fs().create_unnamed(&caller, dir, 0o644).unwrap();
        let written = self
            .fs()
            .write(ino, handle, 0, &data, WriteFlags::default());
        assert_eq!(written.unwrap(), data.len());
        let attr = self.fs().publish(handle, dir, name).unwrap();
        self.fs().release(ino, handle).unwrap();
        if old.is_ok() {
            self.model.unlink(dir_id, name).unwrap();
        }
        let what = (Kind::File, 0o644, 0);
        let id = self.model.make(&caller, dir_id, name, what, b"").unwrap();
        self.model.write(id, None, &data, None).unwrap();
        self.known.insert(id, ino);
        self.same(op, id, &attr);
    }
}

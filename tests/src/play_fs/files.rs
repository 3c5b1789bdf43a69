//! Operations on open files, on attributes and on extended attributes.

use super::op::{Op, Path, content, list, offset_of};
use super::{Id, OpenFile, Player, agree};
use coffer_fusefs::Errno;
use coffer_fusefs::attr::{
    Allocate, Handle, Ino, OpenFlags, Seek, SetAttr, SetTime, SetXattr, Time, WriteFlags,
};

impl Player {
    pub(super) fn put_file(
        &mut self,
        slot: usize,
        ino: Ino,
        id: Id,
        handle: Handle,
        flags: OpenFlags,
    ) {
        self.close(slot);
        self.files[slot] = Some(OpenFile {
            handle,
            ino,
            id,
            flags,
        });
    }

    pub(super) fn close(&mut self, slot: usize) {
        if let Some(file) = self.files[slot].take() {
            self.fs().flush(file.ino, file.handle).unwrap();
            self.fs().release(file.ino, file.handle).unwrap();
            self.model.release(file.id);
        }
    }

    pub(super) fn content(&mut self, op: &Op) {
        let caller = self.caller();
        match op {
            Op::Open(path, slot, truncate, append) => {
                let Some((ino, id)) = self.walk(op, path) else {
                    return;
                };
                let flags = OpenFlags {
                    read: true,
                    write: true,
                    truncate: *truncate,
                    append: *append,
                    sync: ino % 7 == 0,
                };
                let real = self.fs().open_file(&caller, ino, flags);
                let model = self.model.open(&caller, id, flags);
                if let Some((handle, ())) = agree(op, real, model) {
                    self.put_file(*slot, ino, id, handle, flags);
                }
            }
            Op::Close(slot) => self.close(*slot),
            Op::Write(slot, place, len, byte, kill) => {
                let Some(file) = &self.files[*slot] else {
                    return;
                };
                let data = content(*byte, *len as usize);
                let offset = offset_of(*place);
                let group = kill.then_some(caller.gid);
                let flags = WriteFlags {
                    kill_suid: group,
                    from_cache: false,
                };
                let real = self.fs().write(file.ino, file.handle, offset, &data, flags);
                let (ino, id) = (file.ino, file.id);
                let offset = (!file.flags.append).then_some(offset);
                let model = self.model.write(id, offset, &data, group);
                agree(op, real, model);
                self.stat(op, ino, id);
            }
            Op::Read(slot, place, len) => {
                let Some(file) = &self.files[*slot] else {
                    return;
                };
                let offset = offset_of(*place);
                let real = self
                    .fs()
                    .read(file.ino, file.handle, offset, *len as usize)
                    .unwrap();
                let (ino, id) = (file.ino, file.id);
                let model = self.model.read(id, offset, *len as usize);
                assert!(real[..] == model[..], "{op:?}: other bytes");
                self.stat(op, ino, id);
            }
            Op::Fsync(slot) => {
                if let Some(file) = &self.files[*slot] {
                    self.fs().fsync(file.ino, file.handle, false).unwrap();
                    self.stat(op, file.ino, file.id);
                }
            }
            _ => {}
        }
    }

    pub(super) fn attributes(&mut self, op: &Op) {
        let mut changes = SetAttr::default();
        let found = match op {
            Op::Cut(slot, _) => self.files[*slot].as_ref().map(|file| (file.ino, file.id)),
            Op::CutPath(path, _)
            | Op::Chmod(path, _)
            | Op::Chown(path, ..)
            | Op::Times(path, ..) => self.walk(op, path),
            _ => None,
        };
        let Some((ino, id)) = found else {
            return;
        };
        match op {
            Op::Cut(_, place) | Op::CutPath(_, place) => changes.size = Some(offset_of(*place)),
            Op::Chmod(_, mode) => changes.mode = Some(mode & 0o7777),
            Op::Chown(_, uid, gid) => {
                changes.uid = (*uid > 0).then_some(*uid);
                changes.gid = (*gid > 0).then_some(*gid);
            }
            Op::Times(_, secs, nanos) => {
                let time = Time {
                    secs: *secs,
                    nanos: *nanos,
                };
                changes.atime = (nanos % 2 == 0).then_some(SetTime::At(time));
                changes.mtime = Some(match secs % 3 {
                    0 => SetTime::Now,
                    _ => SetTime::At(time),
                });
            }
            _ => {}
        }
        let caller = self.caller();
        let real = self.fs().setattr(&caller, ino, &changes);
        let model = self.model.setattr(&caller, id, &changes);
        if let Some((attr, ())) = agree(op, real, model) {
            self.same(op, id, &attr);
        }
    }

    pub(super) fn xattr(&mut self, op: &Op) {
        let names: [&[u8]; 6] = [
            b"user.a",
            b"user.b",
            b"trusted.c",
            b"security.capability",
            b"system.posix_acl_access",
            b"security.d",
        ];
        if let Op::SetList(path, is_default, bits, kind) = op {
            self.set_list(op, path, *is_default, &list(*bits, *kind));
            return;
        }
        let (Op::SetXattr(path, number, ..) | Op::RemoveXattr(path, number)) = op else {
            return;
        };
        let caller = self.caller();
        let name = names[usize::from(*number) % names.len()];
        let Some((ino, id)) = self.walk(op, path) else {
            return;
        };
        if let Op::SetXattr(_, _, len, how) = op {
            let value = content(*how, usize::from(*len) % 6000);
            let how = match how % 5 {
                0 => SetXattr::Create,
                1 => SetXattr::Replace,
                _ => SetXattr::Either,
            };
            let real = self.fs().setxattr(&caller, ino, name, &value, how);
            let model = self.model.setxattr(&caller, id, name, &value, how);
            agree(op, real, model);
        } else {
            let real = self.fs().removexattr(&caller, ino, name);
            agree(op, real, self.model.removexattr(&caller, id, name));
        }
        self.stat(op, ino, id);
    }

    fn set_list(&mut self, op: &Op, path: &Path, is_default: bool, value: &[u8]) {
        let caller = self.caller();
        let Some((ino, id)) = self.walk(op, path) else {
            return;
        };
        let name: &[u8] = match is_default {
            true => b"system.posix_acl_default",
            false => b"system.posix_acl_access",
        };
        let how = SetXattr::Either;
        let real = self.fs().setxattr(&caller, ino, name, value, how);
        let model = self.model.setxattr(&caller, id, name, value, how);
        agree(op, real, model);
        self.stat(op, ino, id);
    }

    pub(super) fn range(&mut self, op: &Op) {
        let caller = self.caller();
        match op {
            Op::Allocate(slot, place, len, how) => {
                let Some(file) = &self.files[*slot] else {
                    return;
                };
                let how = match how % 5 {
                    0 => Allocate::Reserve,
                    1 => Allocate::ReserveBehind,
                    2 => Allocate::ZeroRange,
                    _ => Allocate::PunchHole,
                };
                let start = offset_of(*place);
                let range = start..start + u64::from(*len) * if len % 7 == 0 { 9 } else { 1 };
                let (ino, id) = (file.ino, file.id);
                let real = self
                    .fs()
                    .fallocate(&caller, ino, file.handle, range.clone(), how);
                agree(op, real, self.model.fallocate(&caller, id, range, how));
                self.stat(op, ino, id);
            }
            Op::Seek(slot, place) => self.seek(op, *slot, offset_of(*place)),
            Op::Copy(from, from_place, to, to_place, len) => {
                let (Some(source), Some(target)) = (&self.files[*from], &self.files[*to]) else {
                    return;
                };
                let (offset, to_offset) = (offset_of(*from_place), offset_of(*to_place));
                if target.flags.append {
                    return;
                }
                let (ino, id) = (target.ino, target.id);
                let from = (source.id, offset);
                let real = self.fs().copy_range(
                    &caller,
                    (source.ino, source.handle, offset),
                    (ino, target.handle, to_offset),
                    u64::from(*len),
                );
                let model = self
                    .model
                    .copy_range(&caller, from, (id, to_offset), *len as usize);
                if let Some((real, model)) = agree(op, real, model) {
                    assert_eq!(real, model, "{op:?}: bytes copied");
                }
                self.stat(op, ino, id);
            }
            _ => {}
        }
    }

    /// Data and holes are where the model has them.
    fn seek(&self, op: &Op, slot: usize, offset: u64) {
        let Some(file) = &self.files[slot] else {
            return;
        };
        let node = self.model.node(file.id);
        let seek = |what| {
            let found = self.fs().seek(file.ino, file.handle, offset, what);
            found.map_err(|error| error.errno())
        };
        let data = node.next_data(offset).ok_or(Errno::ENXIO);
        assert_eq!(seek(Seek::Data), data, "{op:?}: data");
        let hole = node.next_hole(offset).ok_or(Errno::ENXIO);
        assert_eq!(seek(Seek::Hole), hole, "{op:?}: hole");
    }
}

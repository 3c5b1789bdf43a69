//! Operations on open files, on attributes and on extended attributes.

use super::op::{Op, content, offset_of};
use super::{Id, OpenFile, Player, agree};
use coffer_fusefs::attr::{Handle, Ino, OpenFlags, SetAttr, SetTime, SetXattr, Time, WriteFlags};

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
                let flags = WriteFlags {
                    kill_suid: *kill,
                    from_cache: false,
                };
                let real = self.fs().write(file.ino, file.handle, offset, &data, flags);
                let (ino, id) = (file.ino, file.id);
                let offset = (!file.flags.append).then_some(offset);
                let model = self.model.write(id, offset, &data, *kill);
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
}

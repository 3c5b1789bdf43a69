//! One of the two sides: a directory, and the files that its clients have open.

use super::call::{CLIENT_COUNT, Call};
use rustix::fs::{
    Access, AtFlags, CWD, Gid, Mode, OFlags, SeekFrom, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What a call answers: some bytes or numbers as text, or an errno.
pub(super) type Answer = Result<String, Errno>;

/// The user of the second client.
const NOBODY: u32 = 1000;

/// One side.
pub(super) struct Side {
    root: PathBuf,
    open: [Vec<OwnedFd>; CLIENT_COUNT],
}

impl Side {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            open: Default::default(),
        }
    }

    /// How many files a client has open.
    pub(super) fn open_count(&self, client: usize) -> usize {
        self.open[client].len()
    }

    /// Closes the first open file of a client.
    pub(super) fn close_first(&mut self, client: usize) {
        drop(self.open[client].remove(0));
    }

    /// Closes everything.
    pub(super) fn close_all(&mut self) {
        self.open = Default::default();
    }

    /// A client makes a call.
    pub(super) fn run(&mut self, client: usize, call: &Call) -> Answer {
        if client == 0 {
            return self.call(client, call);
        }
        // Rights belong to a thread, and the second client has a thread without any.
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
                rustix::thread::set_thread_groups(&[gid]).unwrap();
                rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
                rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
                self.call(client, call)
            });
            thread.join().unwrap()
        })
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn stat(found: &rustix::fs::Stat) -> String {
        let kind = found.st_mode & 0o170_000;
        // The length of a directory is the business of each file system.
        let len = if kind == 0o040_000 { 0 } else { found.st_size };
        format!(
            "{:o} {} {}:{} {len} {}",
            found.st_mode, found.st_nlink, found.st_uid, found.st_gid, found.st_rdev
        )
    }

    fn call(&mut self, client: usize, call: &Call) -> Answer {
        match call {
            Call::Open(path, flags, mode) => {
                // A pipe must not wait for its other end.
                let flags = *flags | OFlags::CLOEXEC | OFlags::NONBLOCK;
                let file = rustix::fs::open(self.at(path), flags, Mode::from_bits_retain(*mode))?;
                self.open[client].push(file);
                Ok(String::new())
            }
            Call::Close(file) => {
                drop(self.open[client].remove(*file));
                Ok(String::new())
            }
            Call::Read(..)
            | Call::Write(..)
            | Call::Append(..)
            | Call::FTruncate(..)
            | Call::Allocate(..)
            | Call::Copy(..)
            | Call::Fsync(_)
            | Call::FStat(_) => Self::on_file(&self.open[client], call),
            Call::SetXattr(..)
            | Call::GetXattr(..)
            | Call::RemoveXattr(..)
            | Call::ListXattr(_) => self.on_attribute(call),
            Call::Chmod(..)
            | Call::Chown(..)
            | Call::Times(..)
            | Call::Stat(_)
            | Call::Access(..)
            | Call::Truncate(..)
            | Call::ReadLink(_)
            | Call::List(_) => self.on_path(call),
            _ => self.on_names(call),
        }
    }

    fn on_file(open: &[OwnedFd], call: &Call) -> Answer {
        let done = |()| String::new();
        match call {
            Call::Read(file, offset, len) => {
                let mut buf = vec![0; *len];
                let len = rustix::io::pread(&open[*file], &mut buf, *offset)?;
                Ok(format!(
                    "{len} {:x}",
                    xxhash_rust::xxh3::xxh3_64(&buf[..len])
                ))
            }
            Call::Write(file, offset, bytes) => {
                Ok(rustix::io::pwrite(&open[*file], bytes, *offset)?.to_string())
            }
            Call::Append(file, bytes) => {
                rustix::fs::seek(&open[*file], SeekFrom::End(0))?;
                Ok(rustix::io::write(&open[*file], bytes)?.to_string())
            }
            Call::FTruncate(file, len) => rustix::fs::ftruncate(&open[*file], *len).map(done),
            Call::Fsync(file) => rustix::fs::fsync(&open[*file]).map(done),
            Call::FStat(file) => Ok(Self::stat(&rustix::fs::fstat(&open[*file])?)),
            Call::Allocate(file, flags, offset, len) => {
                rustix::fs::fallocate(&open[*file], *flags, *offset, *len).map(done)
            }
            Call::Copy(from, offset, to, to_offset, len) => {
                let (mut offset, mut to_offset) = (*offset, *to_offset);
                let (from, to) = (&open[*from], &open[*to]);
                let copied = rustix::fs::copy_file_range(
                    from,
                    Some(&mut offset),
                    to,
                    Some(&mut to_offset),
                    *len,
                )?;
                Ok(copied.to_string())
            }
            _ => Ok(String::new()),
        }
    }

    fn on_names(&self, call: &Call) -> Answer {
        let done = |()| String::new();
        match call {
            Call::Mkdir(path, mode) => {
                rustix::fs::mkdir(self.at(path), Mode::from_bits_retain(*mode)).map(done)
            }
            Call::Mknod(path, kind) => {
                let mode = Mode::from_bits_retain(0o666);
                rustix::fs::mknodat(CWD, self.at(path), *kind, mode, 0).map(done)
            }
            Call::Rmdir(path) => rustix::fs::rmdir(self.at(path)).map(done),
            Call::Unlink(path) => rustix::fs::unlink(self.at(path)).map(done),
            Call::Rename(from, to, flags) => {
                rustix::fs::renameat_with(CWD, self.at(from), CWD, self.at(to), *flags).map(done)
            }
            Call::Link(from, to) => rustix::fs::link(self.at(from), self.at(to)).map(done),
            Call::Symlink(target, path) => {
                rustix::fs::symlink(target.as_str(), self.at(path)).map(done)
            }
            _ => Ok(String::new()),
        }
    }

    fn on_path(&self, call: &Call) -> Answer {
        let done = |()| String::new();
        match call {
            Call::Truncate(path, len) => {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
                let file = rustix::fs::open(self.at(path), flags, Mode::empty())?;
                rustix::fs::ftruncate(file, *len).map(done)
            }
            Call::ReadLink(path) => {
                let target = rustix::fs::readlink(self.at(path), Vec::new())?;
                Ok(target.into_string().unwrap_or_default())
            }
            Call::Chmod(path, mode) => {
                rustix::fs::chmod(self.at(path), Mode::from_bits_retain(*mode)).map(done)
            }
            Call::Chown(path, owner, group) => {
                let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
                rustix::fs::chown(self.at(path), owner, group).map(done)
            }
            Call::Access(path, bits) => {
                let access = Access::from_bits_retain(*bits);
                rustix::fs::accessat(CWD, self.at(path), access, AtFlags::EACCESS).map(done)
            }
            Call::Times(path, secs) => {
                let time = Timespec {
                    tv_sec: *secs,
                    tv_nsec: 999_999_999,
                };
                let times = Timestamps {
                    last_access: time,
                    last_modification: time,
                };
                let path = self.at(path);
                rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
                let found = rustix::fs::lstat(&path)?;
                Ok(format!("{}.{}", found.st_mtime, found.st_mtime_nsec))
            }
            Call::Stat(path) => Ok(Self::stat(&rustix::fs::lstat(self.at(path))?)),
            Call::List(path) => {
                let entries = std::fs::read_dir(self.at(path))
                    .map_err(|error| Errno::from_raw_os_error(error.raw_os_error().unwrap_or(0)))?;
                let mut names: Vec<String> = entries
                    .map(|entry| format!("{:?}", entry.unwrap().file_name()))
                    .collect();
                names.sort();
                Ok(names.join(" "))
            }
            _ => Ok(String::new()),
        }
    }

    fn on_attribute(&self, call: &Call) -> Answer {
        let done = |()| String::new();
        match call {
            Call::SetXattr(path, name, value, must_exist) => {
                let flags = if *must_exist {
                    XattrFlags::REPLACE
                } else {
                    XattrFlags::empty()
                };
                rustix::fs::setxattr(self.at(path), name.as_str(), value, flags).map(done)
            }
            Call::GetXattr(path, name) => {
                let mut buf = vec![0; 4096];
                let len = rustix::fs::getxattr(self.at(path), name.as_str(), &mut buf)?;
                Ok(format!("{:?}", &buf[..len]))
            }
            Call::RemoveXattr(path, name) => {
                rustix::fs::removexattr(self.at(path), name.as_str()).map(done)
            }
            Call::ListXattr(path) => {
                let mut buf = vec![0; 4096];
                let len = rustix::fs::listxattr(self.at(path), &mut buf)?;
                let mut names: Vec<&[u8]> = buf[..len].split(|byte| *byte == 0).collect();
                names.sort_unstable();
                Ok(format!("{names:?}"))
            }
            _ => Ok(String::new()),
        }
    }
}

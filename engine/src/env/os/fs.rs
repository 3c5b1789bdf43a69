//! The directory of a store, by its descriptor.
//!
//! - The lock is an advisory lock on open file descriptions: it ends with the process. The
//!   directory itself is locked beside its lock file, which others may remove or exchange.
//! - Opening never waits: what is no regular file is refused, and no reader or writer of a pipe is
//!   awaited.

extern crate std;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::env::os::around::Around;
use crate::env::os::file::{OsFile, check_regular};
use crate::env::os::{failed, not_a_directory};
use crate::env::{File, Fs, OpenMode, Space, copy_file};
use crate::error::{Error, Result};
use crate::types::{FileId, FileKind};

const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);

/// For every file. What these flags prevent waits for no attacker's pipe or terminal; regular files
/// do not notice them.
const ALWAYS: OFlags = OFlags::NOFOLLOW
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// A directory of the operating system.
#[derive(Debug)]
pub struct OsFs {
    dir: OwnedFd,
    /// For messages only.
    path: String,
    around: Arc<Around>,
}

impl OsFs {
    /// Opens the directory `path`.
    ///
    /// # Errors
    /// `Invalid` where it is no directory, `Io` where it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir =
            fs::open(path, flags, Mode::empty()).map_err(|errno| not_a_directory(path, errno))?;
        let path = path.display().to_string();
        let around = Arc::default();
        Ok(Self { dir, path, around })
    }

    fn not_locked(&self, id: FileId, errno: Errno) -> Error {
        match errno {
            Errno::WOULDBLOCK => {
                let path = &self.path;
                Error::locked(format!("another process has the store {path} open"))
            }
            _ => in_file(id, "cannot lock the store")(errno),
        }
    }
}

fn in_file(id: FileId, what: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| {
        let error = match errno {
            Errno::NOENT => Error::corruption("the file is missing"),
            Errno::LOOP => Error::corruption("a symbolic link stands in place of the file"),
            _ => failed(what, errno),
        };
        error.in_file(id)
    }
}

impl Fs for OsFs {
    fn open(&self, id: FileId, mode: OpenMode) -> Result<Arc<dyn File>> {
        let flags = match mode {
            OpenMode::Read => OFlags::RDONLY,
            OpenMode::Create => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
            OpenMode::Repair => OFlags::RDWR,
        };
        let fd = fs::openat(&self.dir, id.to_string(), flags | ALWAYS, OWNER_ONLY)
            .map_err(in_file(id, "cannot open the file"))?;
        Ok(Arc::new(OsFile::new(id, fd, &self.around)?))
    }

    fn rename(&self, from: FileId, to: FileId) -> Result<()> {
        fs::renameat(&self.dir, from.to_string(), &self.dir, to.to_string())
            .map_err(in_file(from, "cannot rename the file"))
    }

    fn remove(&self, id: FileId) -> Result<()> {
        fs::unlinkat(&self.dir, id.to_string(), AtFlags::empty())
            .map_err(in_file(id, "cannot remove the file"))
    }

    fn list(&self) -> Result<Vec<FileId>> {
        let failed = |errno| failed("cannot list the store directory", errno);
        let mut files = Vec::new();
        for entry in fs::Dir::read_from(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            files.extend(entry.file_name().to_str().ok().and_then(FileId::parse));
        }
        Ok(files)
    }

    fn sync_dir(&self) -> Result<()> {
        fs::fsync(&self.dir).map_err(|errno| failed("cannot sync the store directory", errno))
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>> {
        let id = FileId::new(FileKind::Lock, 0);
        let flags = OFlags::RDWR | OFlags::CREATE | ALWAYS;
        let file = fs::openat(&self.dir, id.to_string(), flags, OWNER_ONLY)
            .map_err(in_file(id, "cannot open the lock file"))?;
        check_regular(id, &file)?;
        fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| self.not_locked(id, errno))?;
        // A description of its own: that of `self.dir` outlives the lock.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = fs::openat(&self.dir, ".", flags, Mode::empty())
            .map_err(|errno| failed("cannot open the store directory", errno))?;
        match fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Box::new((file, dir))),
            // Network file systems lock only what is open for writing.
            Err(Errno::BADF | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOLCK) => Ok(Box::new(file)),
            Err(errno) => Err(self.not_locked(id, errno)),
        }
    }

    fn space(&self) -> Result<Space> {
        let stat = fs::fstatvfs(&self.dir)
            .map_err(|errno| failed("cannot ask for the free space", errno))?;
        Ok(Space {
            total_len: stat.f_blocks.saturating_mul(stat.f_frsize),
            free_len: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn host_path(&self) -> Option<String> {
        // By its descriptor: whatever became of the path that it was opened by.
        Some(format!("/proc/self/fd/{}", self.dir.as_raw_fd()))
    }

    fn link_from(&self, other: &dyn Fs, id: FileId) -> Result<()> {
        if let Some(path) = other.host_path() {
            let path = format!("{path}/{id}");
            let linked = fs::linkat(fs::CWD, path, &self.dir, id.to_string(), AtFlags::empty());
            match linked {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => return Err(in_file(id, "the name is taken")(Errno::EXIST)),
                // Another medium, or one without links: copied.
                Err(_) => {}
            }
        }
        copy_file(self.open(id, OpenMode::Create)?.as_ref(), other, id)
    }
}

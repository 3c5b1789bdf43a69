//! Paths and whole objects over a [`FileSystem`], for commands that work without a mount.
//!
//! - Paths are bytes, `/` separates, empty parts and `.` are passed over, `..` is `EINVAL`.
//! - Only directories are walked; symbolic links are not followed.

use alloc::sync::Arc;
use alloc::vec::Vec;
use std::io::{ErrorKind, Read, Write};

use coffer_blobstore::Error;

use crate::attr::{Attr, Caller, Handle, Ino, Kind, OpenFlags, ROOT, WriteFlags};
use crate::errno::{Errno, FsError, FsResult};
use crate::extent::CHUNK_LEN;
use crate::filesystem::FileSystem;
use crate::inode::Inode;

/// Bytes moved at once.
const STEP_LEN: usize = 8 * CHUNK_LEN;

/// What went wrong between the file system and the other side of a stream.
#[derive(Debug)]
pub enum StreamError {
    /// The file system.
    Fs(FsError),
    /// The reader or writer of the caller.
    Io(std::io::Error),
}

impl From<FsError> for StreamError {
    fn from(error: FsError) -> Self {
        Self::Fs(error)
    }
}

impl core::fmt::Display for StreamError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Fs(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StreamError {}

/// One entry of a listing.
#[derive(Debug)]
pub struct Listed {
    /// Path from the root, without a leading `/`.
    pub path: Vec<u8>,
    /// Type.
    pub kind: Kind,
    /// Attributes, or why the inode cannot be read.
    pub attr: FsResult<Attr>,
}

fn parts(path: &[u8]) -> FsResult<Vec<&[u8]>> {
    let parts: Vec<_> = path
        .split(|&byte| byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .collect();
    if parts.contains(&&b".."[..]) {
        return Err(Errno::EINVAL.into());
    }
    Ok(parts)
}

fn find(fs: &FileSystem, path: &[u8]) -> FsResult<(Arc<Inode>, Attr)> {
    let mut at = fs.walk(ROOT, b".", |_| ())?;
    for part in parts(path)? {
        at = fs.walk(at.0.ino, part, |_| ())?;
    }
    Ok(at)
}

/// Attributes of what `path` names (the root for an empty path).
///
/// # Errors
/// `ENOENT`, `ENOTDIR`, `EINVAL` for `..`.
pub fn resolve(fs: &FileSystem, path: &[u8]) -> FsResult<Attr> {
    find(fs, path).map(|(_, attr)| attr)
}

/// Attributes of what `path` names.
///
/// # Errors
/// As [`resolve`].
pub fn stat(fs: &FileSystem, path: &[u8]) -> FsResult<Attr> {
    resolve(fs, path)
}

/// Writes a whole file, making missing directories; the old content stays until all of the new
/// one is in the store, then the name moves. Durable on return. `progress` hears bytes so far.
///
/// # Errors
/// `EISDIR` where `path` names a directory, `ENOTDIR`; errors of `source` and of the store.
pub fn put(
    fs: &FileSystem,
    caller: &Caller,
    path: &[u8],
    mode: u32,
    source: &mut dyn Read,
    progress: &mut dyn FnMut(u64),
) -> Result<Attr, StreamError> {
    let parts = parts(path)?;
    let Some((name, dirs)) = parts.split_last() else {
        return Err(StreamError::Fs(Errno::EISDIR.into()));
    };
    let mut dir = ROOT;
    for part in dirs {
        dir = enter(fs, caller, dir, part)?;
    }
    if let Ok((_, attr)) = fs.walk(dir, name, |_| ())
        && attr.kind == Kind::Directory
    {
        return Err(StreamError::Fs(Errno::EISDIR.into()));
    }
    let (ino, handle) = fs.create_unnamed(caller, dir, mode)?;
    let outcome = copy_in(fs, ino, handle, source, progress)
        .and_then(|()| Ok(fs.publish(handle, dir, name)?))
        .and_then(|attr| {
            fs.fsync(ino, handle, false)?;
            Ok(attr)
        });
    fs.release(ino, handle)?;
    outcome
}

/// The directory `name` in `dir`, made where it is missing.
fn enter(fs: &FileSystem, caller: &Caller, dir: Ino, name: &[u8]) -> FsResult<Ino> {
    match fs.walk(dir, name, |_| ()) {
        Ok((_, attr)) if attr.kind == Kind::Directory => Ok(attr.ino),
        Ok(_) => Err(Errno::ENOTDIR.into()),
        Err(error) if error.errno() == Errno::ENOENT => {
            let attr = fs.mkdir(caller, dir, name, 0o755)?;
            fs.forget(attr.ino, 1);
            Ok(attr.ino)
        }
        Err(error) => Err(error),
    }
}

fn copy_in(
    fs: &FileSystem,
    ino: Ino,
    handle: Handle,
    source: &mut dyn Read,
    progress: &mut dyn FnMut(u64),
) -> Result<(), StreamError> {
    let mut step = alloc::vec![0; STEP_LEN];
    let mut offset = 0;
    loop {
        let mut filled = 0;
        while let Some(rest) = step.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match source.read(rest) {
                Ok(0) => break,
                Ok(len) => filled += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(StreamError::Io(error)),
            }
        }
        if filled == 0 {
            return Ok(());
        }
        let flags = WriteFlags::default();
        fs.write(ino, handle, offset, &step[..filled], flags)?;
        offset += filled as u64;
        progress(offset);
    }
}

/// Copies `range` (offset, length; none: everything) of a file into `sink`; answers the bytes
/// copied, fewer than asked for only at the end of the file.
///
/// # Errors
/// `EISDIR`, `EINVAL` for what is no regular file and for a range that begins at or behind the
/// end; errors of `sink` and of the store.
pub fn get(
    fs: &FileSystem,
    path: &[u8],
    range: Option<(u64, u64)>,
    sink: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, StreamError> {
    let (_, attr) = find(fs, path)?;
    let (first, len) = range.unwrap_or((0, attr.size));
    let flags = OpenFlags {
        read: true,
        ..OpenFlags::default()
    };
    let handle = fs.open_file(&Caller::default(), attr.ino, flags)?;
    let outcome = if range.is_some() && first >= attr.size {
        Err(StreamError::Fs(Errno::EINVAL.into()))
    } else {
        copy_out(fs, attr.ino, handle, (first, len), sink, progress)
    };
    fs.release(attr.ino, handle)?;
    outcome
}

fn copy_out(
    fs: &FileSystem,
    ino: Ino,
    handle: Handle,
    (first, len): (u64, u64),
    sink: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, StreamError> {
    let mut done = 0;
    while done < len {
        let offset = first.saturating_add(done);
        // Steps end where chunks end, so that no chunk is copied twice.
        let chunk_rest = CHUNK_LEN as u64 - offset % CHUNK_LEN as u64;
        let step = usize::try_from(chunk_rest.min(len - done)).unwrap_or(CHUNK_LEN);
        let data = fs.read(ino, handle, offset, step)?;
        if data.is_empty() {
            break;
        }
        sink.write_all(&data).map_err(StreamError::Io)?;
        done += data.len() as u64;
        progress(done);
    }
    Ok(done)
}

/// Type of what `path` names, by the name alone: its inode may be damaged.
///
/// # Errors
/// As [`resolve`].
pub fn kind(fs: &FileSystem, path: &[u8]) -> FsResult<Kind> {
    let parts = parts(path)?;
    let Some((name, dirs)) = parts.split_last() else {
        return Ok(Kind::Directory);
    };
    let dir = enter_all(fs, dirs)?;
    match fs.lookup_name(dir, name) {
        Ok(attr) => {
            fs.forget(attr.ino, 1);
            Ok(attr.kind)
        }
        Err(error) => Err(error),
    }
}

/// The directory at the end of a path.
fn enter_all(fs: &FileSystem, dirs: &[&[u8]]) -> FsResult<Ino> {
    let mut dir = ROOT;
    for part in dirs {
        dir = fs.walk(dir, part, |_| ())?.1.ino;
    }
    Ok(dir)
}

/// Removes a file, a link or an empty directory, also where its inode is damaged. Durable on
/// return.
///
/// # Errors
/// `ENOENT`, `ENOTEMPTY`, `EBUSY` for the root.
pub fn remove(fs: &FileSystem, path: &[u8]) -> FsResult<()> {
    let parts = parts(path)?;
    let Some((name, dirs)) = parts.split_last() else {
        return Err(Errno::EBUSY.into());
    };
    let dir = enter_all(fs, dirs)?;
    match fs.unlink(dir, name) {
        Err(error) if error.errno() == Errno::EISDIR => fs.rmdir(dir, name)?,
        outcome => outcome?,
    }
    fs.fsyncdir(dir)
}

/// Lists a directory by name (or the one file that `path` names); with `recursive` all beneath,
/// each directory before what is in it. `sink` answers false to end the listing.
///
/// # Errors
/// As [`resolve`]. Where names of a directory cannot be read, everything else is listed, then
/// the first such error is answered.
pub fn list(
    fs: &FileSystem,
    path: &[u8],
    recursive: bool,
    sink: &mut dyn FnMut(Listed) -> bool,
) -> FsResult<()> {
    let (_, attr) = find(fs, path)?;
    let top = parts(path)?.join(&b'/');
    if attr.kind != Kind::Directory {
        sink(Listed {
            path: top,
            kind: attr.kind,
            attr: Ok(attr),
        });
        return Ok(());
    }
    // Directories still to be listed, the next one last.
    let mut open = alloc::vec![(top, attr.ino)];
    let mut pending: Vec<Listed> = Vec::new();
    let mut outcome = Ok(());
    while let Some((path, ino)) = open.pop() {
        let mut found = Vec::new();
        let whole = children(fs, ino, |name, kind, attr| {
            let mut path = path.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            found.push(Listed { path, kind, attr });
        });
        outcome = outcome.and(whole);
        found.sort_by(|a, b| b.path.cmp(&a.path));
        pending.append(&mut found);
        while let Some(listed) = pending.pop() {
            let below = match &listed.attr {
                Ok(attr) if recursive && attr.kind == Kind::Directory => {
                    Some((listed.path.clone(), attr.ino))
                }
                _ => None,
            };
            if !sink(listed) {
                return outcome;
            }
            if let Some(below) = below {
                open.push(below);
                break;
            }
        }
    }
    outcome
}

/// Calls `found` for every entry but `.` and `..`.
fn children(
    fs: &FileSystem,
    ino: Ino,
    mut found: impl FnMut(&[u8], Kind, FsResult<Attr>),
) -> FsResult<()> {
    let mut last = 0;
    // A listing that fails on its way tells so when it is asked for the rest.
    loop {
        let first = last;
        fs.readdirplus(ino, first, &mut |entry| {
            last = entry.cookie;
            if entry.cookie > 2 {
                fs.forget(entry.ino, 1);
                let attr = entry.attr.map_or_else(|| fs.getattr(entry.ino), Ok);
                found(entry.name, entry.kind, attr.map_err(lost));
            }
            true
        })?;
        if last == first {
            return Ok(());
        }
    }
}

/// A listed name whose inode is gone leads nowhere.
fn lost(error: FsError) -> FsError {
    match error.errno() {
        Errno::ESTALE => Error::corruption("a name leads to an inode that is lost").into(),
        _ => error,
    }
}

/// Target of the symbolic link that `path` names.
///
/// # Errors
/// As [`resolve`]; `EINVAL` for anything but a link.
pub fn read_link(fs: &FileSystem, path: &[u8]) -> FsResult<Vec<u8>> {
    fs.readlink(resolve(fs, path)?.ino)
}

//! Paths and whole objects over a [`FileSystem`], for the object commands.
//!
//! - Paths are bytes, `/` separates, empty parts and `.` are passed over, `..` is refused.
//! - Only directories are walked; symbolic links are not followed.
#![allow(
    unused_variables,
    clippy::missing_errors_doc,
    reason = "signatures come first, bodies follow"
)]

use std::io::{Read, Write};

use crate::attr::{Attr, Caller};
use crate::errno::{Errno, FsResult};
use crate::filesystem::FileSystem;

/// What went wrong between the file system and the other side of a stream.
#[derive(Debug)]
pub enum StreamError {
    /// The file system.
    Fs(crate::errno::FsError),
    /// The reader or writer of the caller.
    Io(std::io::Error),
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Path from the root, without a leading `/`.
    pub path: Vec<u8>,
    /// Attributes.
    pub attr: Attr,
}

/// Attributes of what `path` names (the root for an empty path).
pub fn resolve(fs: &FileSystem, path: &[u8]) -> FsResult<Attr> {
    Err(Errno::ENOSYS.into())
}
/// Attributes of what `path` names.
pub fn stat(fs: &FileSystem, path: &[u8]) -> FsResult<Attr> {
    resolve(fs, path)
}
/// Writes a whole file, making missing directories; the old content stays until all of the new
/// one is in the store, then the name moves. Durable on return. `progress` hears bytes so far.
pub fn put(
    fs: &FileSystem,
    caller: &Caller,
    path: &[u8],
    mode: u32,
    source: &mut dyn Read,
    progress: &mut dyn FnMut(u64),
) -> Result<Attr, StreamError> {
    Err(StreamError::Fs(Errno::ENOSYS.into()))
}
/// Copies `range` (offset, length; none: everything) of a file into `sink`; answers the bytes copied.
/// An offset at or behind the end is `EINVAL` unless the file is empty and no range was given.
pub fn get(
    fs: &FileSystem,
    path: &[u8],
    range: Option<(u64, u64)>,
    sink: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, StreamError> {
    Err(StreamError::Fs(Errno::ENOSYS.into()))
}
/// Removes a file, a link or an empty directory. Durable on return.
pub fn remove(fs: &FileSystem, path: &[u8]) -> FsResult<()> {
    Err(Errno::ENOSYS.into())
}
/// Lists a directory by name (or the one file that `path` names); with `recursive` all beneath.
pub fn list(
    fs: &FileSystem,
    path: &[u8],
    recursive: bool,
    sink: &mut dyn FnMut(Listed) -> bool,
) -> FsResult<()> {
    Err(Errno::ENOSYS.into())
}
/// Target of the symbolic link that `path` names.
pub fn read_link(fs: &FileSystem, path: &[u8]) -> FsResult<Vec<u8>> {
    Err(Errno::ENOSYS.into())
}

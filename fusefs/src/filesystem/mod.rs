//! The file system: POSIX over the keys of a blob tree, without a word about FUSE.
//!
//! - Every method takes `&self` and may be called from several threads.
//! - Every change of the namespace is one atomic batch of the tree.
#![allow(
    unused_variables,
    clippy::unused_self,
    clippy::missing_errors_doc,
    reason = "signatures come first, bodies follow"
)]

use alloc::sync::Arc;
use core::ops::{Deref, Range};

use coffer_blobstore::BlobTree;

use crate::attr::{
    Attr, Caller, DirEntry, Handle, Ino, OpenFlags, RenameFlags, SetAttr, SetXattr, StatFs,
    WriteFlags,
};
use crate::errno::{Errno, FsResult};
use crate::options::MountOptions;

/// Bytes that a read answers with: a view into a decoded chunk, or bytes of its own.
#[derive(Clone, Debug, Default)]
pub struct ReadData {
    bytes: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Deref for ReadData {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes.get(self.range.clone()).unwrap_or_default()
    }
}

/// A mounted file system.
pub struct FileSystem {
    tree: Arc<BlobTree>,
    options: MountOptions,
}

impl FileSystem {
    /// Opens the file system in `tree`; formats an empty tree (unless read-only); reaps what was
    /// unlinked but open when the last mount ended.
    pub fn open(tree: Arc<BlobTree>, options: MountOptions) -> FsResult<Self> {
        Ok(Self { tree, options })
    }

    /// Finds a name in a directory. Counts one reference, as every method that answers `Attr`
    /// for a name does (lookup, mknod, mkdir, symlink, link, create, each entry taken by
    /// `readdirplus` but `.` and `..`), until `forget`.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> FsResult<Attr> {
        Err(Errno::ENOSYS.into())
    }
    /// Gives back `count` references.
    pub fn forget(&self, ino: Ino, count: u64) {}
    /// Attributes of an inode, also of one that is unlinked but referenced or open.
    pub fn getattr(&self, ino: Ino) -> FsResult<Attr> {
        Err(Errno::ENOSYS.into())
    }
    /// Changes attributes; `size` truncates or extends. Suid and sgid go on chown, and on
    /// truncation by anyone but root. Permissions are not checked here.
    pub fn setattr(&self, caller: &Caller, ino: Ino, changes: &SetAttr) -> FsResult<Attr> {
        Err(Errno::ENOSYS.into())
    }
    /// Target of a symbolic link.
    pub fn readlink(&self, ino: Ino) -> FsResult<Vec<u8>> {
        Err(Errno::ENOSYS.into())
    }

    /// Makes a file, device, pipe or socket; `mode` is a full `st_mode` with type bits (none: file).
    pub fn mknod(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &[u8],
        mode: u32,
        rdev: u32,
    ) -> FsResult<Attr> {
        Err(Errno::ENOSYS.into())
    }
    /// Makes a directory.
    pub fn mkdir(&self, caller: &Caller, parent: Ino, name: &[u8], mode: u32) -> FsResult<Attr> {
        Err(Errno::ENOSYS.into())
    }
    /// Makes a symbolic link.
    pub fn symlink(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &[u8],
        target: &[u8],
    ) -> FsResult<Attr> {
        Err(Errno::ENOSYS.into())
    }
    /// Gives an inode one more name.
    pub fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> FsResult<Attr> {
        Err(Errno::ENOSYS.into())
    }
    /// Removes a name that is not a directory.
    pub fn unlink(&self, parent: Ino, name: &[u8]) -> FsResult<()> {
        Err(Errno::ENOSYS.into())
    }
    /// Removes an empty directory.
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> FsResult<()> {
        Err(Errno::ENOSYS.into())
    }
    /// Moves a name, in one atomic batch.
    pub fn rename(
        &self,
        parent: Ino,
        name: &[u8],
        new_parent: Ino,
        new_name: &[u8],
        flags: RenameFlags,
    ) -> FsResult<()> {
        Err(Errno::ENOSYS.into())
    }

    /// Makes a regular file and opens it. `EEXIST` where the name is taken, whatever it is.
    pub fn create(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &[u8],
        mode: u32,
        flags: OpenFlags,
    ) -> FsResult<(Attr, Handle)> {
        Err(Errno::ENOSYS.into())
    }
    /// Opens a regular file.
    pub fn open_file(&self, caller: &Caller, ino: Ino, flags: OpenFlags) -> FsResult<Handle> {
        Err(Errno::ENOSYS.into())
    }
    /// Reads up to `len` bytes; fewer only at the end of the file.
    pub fn read(&self, ino: Ino, handle: Handle, offset: u64, len: usize) -> FsResult<ReadData> {
        Err(Errno::ENOSYS.into())
    }
    /// Writes all of `data`; answers its length.
    pub fn write(
        &self,
        ino: Ino,
        handle: Handle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
    ) -> FsResult<usize> {
        Err(Errno::ENOSYS.into())
    }
    /// close(2) of one descriptor: tells an earlier failed write-out; writes nothing out.
    pub fn flush(&self, ino: Ino, handle: Handle) -> FsResult<()> {
        Err(Errno::ENOSYS.into())
    }
    /// Makes content and attributes durable, and all earlier changes of the namespace with them.
    pub fn fsync(&self, ino: Ino, handle: Handle, data_only: bool) -> FsResult<()> {
        Err(Errno::ENOSYS.into())
    }
    /// Closes a handle of a file.
    pub fn release(&self, ino: Ino, handle: Handle) -> FsResult<()> {
        Err(Errno::ENOSYS.into())
    }

    /// Opens a directory. `readdir` and `readdirplus` need no handle: one may be spared.
    pub fn opendir(&self, ino: Ino) -> FsResult<Handle> {
        Err(Errno::ENOSYS.into())
    }
    /// Lists entries behind `cookie` (0: from the first) until `sink` answers false, which says
    /// that it did not take the entry.
    pub fn readdir(
        &self,
        ino: Ino,
        cookie: u64,
        sink: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> FsResult<()> {
        Err(Errno::ENOSYS.into())
    }
    /// As `readdir`, with attributes.
    pub fn readdirplus(
        &self,
        ino: Ino,
        cookie: u64,
        sink: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> FsResult<()> {
        Err(Errno::ENOSYS.into())
    }
    /// Makes all changes of the namespace durable.
    pub fn fsyncdir(&self, ino: Ino) -> FsResult<()> {
        Err(Errno::ENOSYS.into())
    }
    /// Closes a handle of a directory.
    pub fn releasedir(&self, ino: Ino, handle: Handle) -> FsResult<()> {
        Err(Errno::ENOSYS.into())
    }

    /// Value of an extended attribute, `ENODATA` where there is none.
    pub fn getxattr(&self, caller: &Caller, ino: Ino, name: &[u8]) -> FsResult<Vec<u8>> {
        Err(Errno::ENOSYS.into())
    }
    /// Sets an extended attribute.
    pub fn setxattr(
        &self,
        caller: &Caller,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        how: SetXattr,
    ) -> FsResult<()> {
        Err(Errno::ENOSYS.into())
    }
    /// Names of the extended attributes that the caller may see, each ended by a zero byte.
    pub fn listxattr(&self, caller: &Caller, ino: Ino) -> FsResult<Vec<u8>> {
        Err(Errno::ENOSYS.into())
    }
    /// Removes an extended attribute.
    pub fn removexattr(&self, caller: &Caller, ino: Ino, name: &[u8]) -> FsResult<()> {
        Err(Errno::ENOSYS.into())
    }

    /// Space and inodes.
    pub fn statfs(&self) -> FsResult<StatFs> {
        Err(Errno::ENOSYS.into())
    }

    /// Writes out what is older than the limit and reaps what nobody refers to any more. To be
    /// called about once a second.
    pub fn tick(&self) {}
    /// Writes out everything and makes it durable.
    pub fn sync_all(&self) -> FsResult<()> {
        Ok(())
    }
    /// Writes out everything, stops the workers, closes the tree. Every later change is `EIO`.
    pub fn close(&self) -> FsResult<()> {
        Ok(())
    }
    /// The options of this mount.
    #[must_use]
    pub fn options(&self) -> &MountOptions {
        &self.options
    }
    /// The tree beneath.
    #[must_use]
    pub fn tree(&self) -> &Arc<BlobTree> {
        &self.tree
    }
}

//! Attributes of inodes, and who asks for what.
//!
//! - Times are whole seconds, possibly negative, plus 0 to 999,999,999 nanoseconds forward.
//! - `mode` holds the twelve permission bits only; the type of the inode is its [`Kind`].

use core::time::Duration;

/// Inode number. Never given twice in the life of a store.
pub type Ino = u64;

/// The inode number of the root directory.
pub const ROOT: Ino = 1;

/// Set-user-id bit.
pub const S_ISUID: u32 = 0o4000;
/// Set-group-id bit.
pub const S_ISGID: u32 = 0o2000;
/// Group execute bit.
pub const S_IXGRP: u32 = 0o0010;

/// The type of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Named pipe.
    Fifo = 1,
    /// Character device.
    CharDevice = 2,
    /// Directory.
    Directory = 4,
    /// Block device.
    BlockDevice = 6,
    /// Regular file.
    File = 8,
    /// Symbolic link.
    Symlink = 10,
    /// Socket.
    Socket = 12,
}

impl Kind {
    /// The kind with this value on disk (the `d_type` of readdir(3)).
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Fifo),
            2 => Some(Self::CharDevice),
            4 => Some(Self::Directory),
            6 => Some(Self::BlockDevice),
            8 => Some(Self::File),
            10 => Some(Self::Symlink),
            12 => Some(Self::Socket),
            _ => None,
        }
    }

    /// The kind in the type bits of a `st_mode`; none for other bit patterns.
    #[must_use]
    pub const fn from_mode(mode: u32) -> Option<Self> {
        Self::from_byte(((mode >> 12) & 0o17) as u8)
    }

    /// The type bits of a `st_mode`.
    #[must_use]
    pub const fn type_bits(self) -> u32 {
        (self as u32) << 12
    }
}

/// A moment: seconds since 1970 and nanoseconds forward from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds since 1970-01-01 UTC, negative before.
    pub secs: i64,
    /// 0 to 999,999,999 nanoseconds after `secs`.
    pub nanos: u32,
}

impl From<Duration> for Time {
    /// The time so long after 1970.
    fn from(since: Duration) -> Self {
        Self {
            secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: since.subsec_nanos(),
        }
    }
}

/// Attributes of an inode, as stat(2) shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: Ino,
    /// Always 0: inode numbers are never reused.
    pub generation: u64,
    /// Type.
    pub kind: Kind,
    /// Permission bits, 0 to 0o7777.
    pub mode: u32,
    /// Number of names (directories: 2 and one per subdirectory).
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of device nodes.
    pub rdev: u32,
    /// Length in bytes; of a directory, the number of its entries.
    pub size: u64,
    /// Blocks of 512 bytes, counted from the length.
    pub blocks: u64,
    /// Last read.
    pub atime: Time,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of attributes.
    pub ctime: Time,
    /// Birth.
    pub btime: Time,
}

/// A new value for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The time of the operation.
    Now,
    /// This time.
    At(Time),
}

/// The changes of one setattr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length.
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<SetTime>,
    /// Modification time.
    pub mtime: Option<SetTime>,
    /// Change time; set by the kernel's writeback cache only.
    pub ctime: Option<Time>,
}

/// Who asks. Permissions are checked above (by the kernel with `default_permissions`); the file
/// system needs the caller for owners of new inodes, for suid/sgid rules and for xattr namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Process, for logs; 0 where unknown.
    pub pid: u32,
    /// Bits taken away from the mode of new inodes.
    pub umask: u32,
}

impl Caller {
    /// The group of a caller who has no right to keep suid and sgid; none for root.
    pub(crate) fn unprivileged(&self) -> Option<u32> {
        (self.uid != 0).then_some(self.gid)
    }
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlags {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Cut to length 0.
    pub truncate: bool,
    /// Every write goes to the end.
    pub append: bool,
    /// Every write is durable before it returns (`O_SYNC`, `O_DSYNC`).
    pub sync: bool,
}

/// What the caller says about one write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteFlags {
    /// Clear suid and sgid, for a writer of this group who has no right to keep them (the kernel's
    /// `FUSE_WRITE_KILL_SUIDGID`).
    pub kill_suid: Option<u32>,
    /// Comes from the kernel's writeback cache: the offset counts even for append handles.
    pub from_cache: bool,
}

/// Flags of renameat2(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenameFlags {
    /// Fail with `EEXIST` where the new name is taken.
    pub no_replace: bool,
    /// Swap the two names.
    pub exchange: bool,
    /// Leave a whiteout in the old place: a character device 0:0 without permissions.
    pub whiteout: bool,
}

/// What fallocate(2) does with a range of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// See that there is space for it; the file grows to the end of the range.
    Reserve,
    /// See that there is space for it; the length stays.
    ReserveBehind,
    /// Make it read as zeros and give its space back; the length stays.
    PunchHole,
    /// As `PunchHole`, but the file grows to the end of the range.
    ZeroRange,
}

/// What lseek(2) looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The next byte that may be other than zero.
    Data,
    /// The next byte of a hole; the end of the file counts as one.
    Hole,
}

/// An open file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub u64);

impl Attr {
    /// What the name of an inode that cannot be read shows: its number and kind, and nothing that
    /// would allow anything.
    pub(crate) fn stand_in(ino: Ino, kind: Kind) -> Self {
        Self {
            ino,
            generation: 0,
            kind,
            mode: 0,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 0,
            blocks: 0,
            atime: Time::default(),
            mtime: Time::default(),
            ctime: Time::default(),
            btime: Time::default(),
        }
    }
}

/// One entry of a directory listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// Inode number.
    pub ino: Ino,
    /// Name; `.` and `..` come first.
    pub name: &'a [u8],
    /// Type.
    pub kind: Kind,
    /// Where a listing that starts behind this entry continues.
    pub cookie: u64,
    /// Attributes, from `readdirplus` only and never for `.` and `..`.
    pub attr: Option<Attr>,
}

/// Answer to statfs(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatFs {
    /// Bytes per block; all block counts are in this unit.
    pub block_len: u32,
    /// Capacity.
    pub block_count: u64,
    /// Free blocks.
    pub free_count: u64,
    /// Inodes in use and still possible.
    pub inode_count: u64,
    /// Inodes still possible.
    pub free_inode_count: u64,
    /// Longest name in bytes.
    pub name_len_max: u32,
}

/// How setxattr treats an attribute that is there, or is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetXattr {
    /// Create or replace.
    #[default]
    Either,
    /// `EEXIST` where it is there.
    Create,
    /// `ENODATA` where it is not.
    Replace,
}

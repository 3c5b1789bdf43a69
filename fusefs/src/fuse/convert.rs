//! Numbers of the FUSE protocol to and from those of the file system. Pure.
//!
//! - fuser hands over a time before 1970 as `1970 - (seconds + fraction)` where the kernel said
//!   `1970 - seconds + fraction`; [`time`] undoes that.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, FopenFlags, INodeNo, InitFlags, TimeOrNow};
use rustix::fs::{FallocateFlags, OFlags};

use crate::attr::{Allocate, Attr, Kind, OpenFlags, RenameFlags, SetTime, Time};

/// Capabilities of the kernel that are asked for where it has them. Everything else stays off:
/// fuser accepts flags that it then does not serve.
pub(super) const WANTED: [InitFlags; 10] = [
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    // Lists are checked by the kernel; a default list takes the place of the umask.
    InitFlags::FUSE_POSIX_ACL,
    InitFlags::FUSE_DONT_MASK,
];

pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::Fifo => FileType::NamedPipe,
        Kind::CharDevice => FileType::CharDevice,
        Kind::Directory => FileType::Directory,
        Kind::BlockDevice => FileType::BlockDevice,
        Kind::File => FileType::RegularFile,
        Kind::Symlink => FileType::Symlink,
        Kind::Socket => FileType::Socket,
    }
}

pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: system_time(attr.btime),
        kind: file_type(attr.kind),
        perm: (attr.mode & 0o7777) as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: 4096,
        flags: 0,
    }
}

/// The answer "there is no such name", which the kernel may keep: inode number 0.
pub(super) fn no_entry() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

/// An entry of a directory listing of which only number and type are known.
pub(super) fn stand_in(ino: u64, kind: Kind) -> FileAttr {
    file_attr(&Attr::stand_in(ino, kind))
}

fn system_time(time: Time) -> SystemTime {
    let nanos = Duration::from_nanos(u64::from(time.nanos.min(999_999_999)));
    let seconds = Duration::from_secs(time.secs.unsigned_abs());
    let whole = if time.secs < 0 {
        UNIX_EPOCH.checked_sub(seconds)
    } else {
        UNIX_EPOCH.checked_add(seconds)
    };
    whole
        .and_then(|whole| whole.checked_add(nanos))
        .unwrap_or(UNIX_EPOCH)
}

fn time(moment: SystemTime) -> Time {
    match moment.duration_since(UNIX_EPOCH) {
        Ok(after) => Time {
            secs: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            nanos: after.subsec_nanos(),
        },
        Err(error) => {
            let before = error.duration();
            Time {
                secs: 0_i64.saturating_sub_unsigned(before.as_secs()),
                nanos: before.subsec_nanos(),
            }
        }
    }
}

pub(super) fn set_time(time_or_now: TimeOrNow) -> SetTime {
    match time_or_now {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(moment) => SetTime::At(time(moment)),
    }
}

pub(super) fn change_time(moment: SystemTime) -> Time {
    time(moment)
}

pub(super) fn open_flags(bits: i32) -> OpenFlags {
    let flags = OFlags::from_bits_retain(bits.cast_unsigned());
    let access = flags & OFlags::RWMODE;
    OpenFlags {
        read: access == OFlags::RDONLY || access == OFlags::RDWR,
        write: access == OFlags::WRONLY || access == OFlags::RDWR,
        truncate: flags.contains(OFlags::TRUNC),
        append: flags.contains(OFlags::APPEND),
        sync: flags.contains(OFlags::DSYNC),
    }
}

pub(super) fn is_exclusive(bits: i32) -> bool {
    OFlags::from_bits_retain(bits.cast_unsigned()).contains(OFlags::EXCL)
}

/// The flags of renameat2(2); none where there are others.
pub(super) fn rename_flags(bits: fuser::RenameFlags) -> Option<RenameFlags> {
    let known = fuser::RenameFlags::RENAME_NOREPLACE
        | fuser::RenameFlags::RENAME_EXCHANGE
        | fuser::RenameFlags::RENAME_WHITEOUT;
    known.contains(bits).then(|| RenameFlags {
        no_replace: bits.contains(fuser::RenameFlags::RENAME_NOREPLACE),
        exchange: bits.contains(fuser::RenameFlags::RENAME_EXCHANGE),
        whiteout: bits.contains(fuser::RenameFlags::RENAME_WHITEOUT),
    })
}

/// What a mode of fallocate(2) asks for; none for what is not built in.
pub(super) fn allocate(mode: i32) -> Option<Allocate> {
    let keep = FallocateFlags::KEEP_SIZE;
    match FallocateFlags::from_bits_retain(mode.cast_unsigned()) {
        flags if flags.is_empty() => Some(Allocate::Reserve),
        flags if flags == keep => Some(Allocate::ReserveBehind),
        flags if flags == FallocateFlags::PUNCH_HOLE | keep => Some(Allocate::PunchHole),
        flags if flags == FallocateFlags::ZERO_RANGE => Some(Allocate::ZeroRange),
        // Zeros within the length are zeros, with space behind them or without.
        flags if flags == FallocateFlags::ZERO_RANGE | keep => Some(Allocate::PunchHole),
        _ => None,
    }
}

/// How the kernel treats an open file. Its cache is always right, for every change passes through
/// it. A handle that cannot write has nothing to tell at close(2), so it sends no FLUSH.
/// Close is a request only where it may have something to tell.
pub(super) fn reply_flags(flags: OpenFlags, tells_at_close: bool) -> FopenFlags {
    let mut reply = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
    if !(flags.write && tells_at_close) {
        reply |= FopenFlags::FOPEN_NOFLUSH;
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_survive_both_ways() {
        // What fuser makes of (secs, nanos), copied from its behaviour, not from its source.
        let arrives = |secs: i64, nanos: u32| {
            if secs >= 0 {
                UNIX_EPOCH + Duration::new(secs.unsigned_abs(), nanos)
            } else {
                UNIX_EPOCH - Duration::new(secs.unsigned_abs(), nanos)
            }
        };
        for (secs, nanos) in [(0, 0), (5, 7), (-1, 0), (-1, 500_000_000), (-7, 1)] {
            assert_eq!(time(arrives(secs, nanos)), Time { secs, nanos });
        }
        let half_before = system_time(Time {
            secs: -1,
            nanos: 500_000_000,
        });
        assert_eq!(half_before, UNIX_EPOCH - Duration::from_millis(500));
        for secs in [i64::MIN, i64::MAX] {
            assert_ne!(system_time(Time { secs, nanos: 0 }), UNIX_EPOCH);
        }
    }

    #[test]
    fn open_flags_are_taken_apart() {
        let bits = |flags: OFlags| flags.bits().cast_signed();
        let flags = open_flags(bits(OFlags::RDWR | OFlags::TRUNC | OFlags::SYNC));
        assert!(flags.read && flags.write && flags.truncate && flags.sync && !flags.append);
        let flags = open_flags(bits(OFlags::WRONLY | OFlags::APPEND));
        assert!(!flags.read && flags.write && flags.append && !flags.sync);
        assert!(is_exclusive(bits(OFlags::EXCL | OFlags::CREATE)));
    }

    #[test]
    fn collapsing_and_inserting_is_not_built_in() {
        let bits = |flags: FallocateFlags| allocate(flags.bits().cast_signed());
        let (keep, punch) = (FallocateFlags::KEEP_SIZE, FallocateFlags::PUNCH_HOLE);
        assert_eq!(bits(keep | punch), Some(Allocate::PunchHole));
        assert_eq!(bits(FallocateFlags::empty()), Some(Allocate::Reserve));
        for other in [
            punch,
            FallocateFlags::COLLAPSE_RANGE,
            FallocateFlags::INSERT_RANGE,
            FallocateFlags::UNSHARE_RANGE,
            FallocateFlags::NO_HIDE_STALE,
        ] {
            assert_eq!(bits(other), None);
        }
    }

    #[test]
    fn close_asks_only_where_it_may_have_something_to_tell() {
        let writer = OpenFlags {
            write: true,
            ..OpenFlags::default()
        };
        let reader = OpenFlags::default();
        let is_silent =
            |flags, tells| reply_flags(flags, tells).contains(FopenFlags::FOPEN_NOFLUSH);
        assert!(!is_silent(writer, true) && is_silent(writer, false));
        assert!(is_silent(reader, true) && is_silent(reader, false));
    }
}

//! Calls, and random ones.

use coffer_tests::play_fs::list;
use coffer_tests::random::Rng;
use rustix::fs::{FallocateFlags, FileType, OFlags, RenameFlags};

/// Who calls: the first client is the process itself, the second has no rights.
pub(super) const CLIENT_COUNT: usize = 2;

/// One call, in terms of paths below the root and of open files by number.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Open(String, OFlags, u32),
    Close(usize),
    Read(usize, u64, usize),
    Write(usize, u64, Vec<u8>),
    Append(usize, Vec<u8>),
    FTruncate(usize, u64),
    Allocate(usize, FallocateFlags, u64, u64),
    Copy(usize, u64, usize, u64, usize),
    Fsync(usize),
    FStat(usize),
    Truncate(String, u64),
    Mkdir(String, u32),
    Mknod(String, FileType),
    Rmdir(String),
    Unlink(String),
    Rename(String, String, RenameFlags),
    Link(String, String),
    Symlink(String, String),
    ReadLink(String),
    Chmod(String, u32),
    Chown(String, Option<u32>, Option<u32>),
    Times(String, i64),
    Stat(String),
    Access(String, u32),
    List(String),
    SetXattr(String, String, Vec<u8>, bool),
    GetXattr(String, String),
    RemoveXattr(String, String),
    ListXattr(String),
    Remount,
}

fn path(rng: &mut Rng) -> String {
    let leaf = |rng: &mut Rng| match rng.below(30) {
        0 => "n".repeat(255),
        1 => "n".repeat(256),
        2 => ".".to_owned(),
        _ => (*rng.pick(&["a", "b", "c", "d", "e"])).to_owned(),
    };
    let mut out = leaf(rng);
    while rng.chance(40) {
        out = format!("{out}/{}", leaf(rng));
    }
    out
}

fn flags(rng: &mut Rng) -> OFlags {
    let mut flags = *rng.pick(&[OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR, OFlags::RDWR]);
    for (flag, percent) in [
        (OFlags::CREATE, 60),
        (OFlags::EXCL, 10),
        (OFlags::TRUNC, 15),
        (OFlags::APPEND, 10),
        (OFlags::NOFOLLOW, 10),
        (OFlags::DIRECTORY, 3),
    ] {
        if rng.chance(percent) {
            flags |= flag;
        }
    }
    // Both at once are undefined, and answered differently by different kernels.
    if flags.contains(OFlags::CREATE) {
        flags -= OFlags::DIRECTORY;
    }
    flags
}

fn offset(rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 => 0,
        1 => rng.below(300) as u64,
        2 => rng.below(200_000) as u64,
        _ => 128 * 1024 * rng.below(4) as u64,
    }
}

fn attribute(rng: &mut Rng) -> String {
    match rng.below(8) {
        0 | 1 => "system.posix_acl_access".to_owned(),
        2 => "system.posix_acl_default".to_owned(),
        3 => "trusted.t".to_owned(),
        number => format!("user.{}", number % 3),
    }
}

/// A random call; `open_count` files are open.
pub(super) fn call(rng: &mut Rng, open_count: usize) -> Call {
    match rng.below(100) {
        0..=17 => Call::Open(
            path(rng),
            flags(rng),
            *rng.pick(&[0o644, 0o666, 0o600, 0o6777]),
        ),
        18..=47 if open_count > 0 => with_file(rng, open_count),
        48..=63 => names(rng),
        64..=72 => moves(rng),
        73 => Call::Chmod(path(rng), rng.below(0o10000) as u32 | 0o700),
        74 => Call::Chmod(path(rng), rng.below(0o10000) as u32),
        75 | 76 => {
            // A chown of nothing takes suid away elsewhere; FUSE does not hear of it.
            let (owner, group) = match rng.below(3) {
                0 => (Some(*rng.pick(&[0, 1000, 2])), None),
                1 => (None, Some(*rng.pick(&[0, 1000]))),
                _ => (Some(*rng.pick(&[0, 1000])), Some(*rng.pick(&[0, 1000]))),
            };
            Call::Chown(path(rng), owner, group)
        }
        77 => Call::Times(path(rng), rng.below(2_000_000_000) as i64),
        78..=80 => Call::Stat(path(rng)),
        81 => Call::Access(path(rng), rng.below(8) as u32),
        82..=85 => Call::List(path(rng)),
        86 | 87 => {
            let len = rng.below(100);
            Call::SetXattr(path(rng), attribute(rng), rng.bytes(len), rng.chance(20))
        }
        88..=90 => {
            let value = list(rng.next_u64() as u32, rng.below(12) as u8);
            let name = ["system.posix_acl_access", "system.posix_acl_default"];
            Call::SetXattr(path(rng), (*rng.pick(&name)).to_owned(), value, false)
        }
        91..=93 => Call::GetXattr(path(rng), attribute(rng)),
        94 => Call::RemoveXattr(path(rng), attribute(rng)),
        95 | 96 => Call::ListXattr(path(rng)),
        97 if rng.chance(20) => Call::Remount,
        _ => Call::List(".".to_owned()),
    }
}

fn with_file(rng: &mut Rng, open_count: usize) -> Call {
    let file = rng.below(open_count);
    match rng.below(16) {
        0 | 1 => Call::Close(file),
        2..=4 => Call::Read(file, offset(rng), rng.below(150_000)),
        5..=8 => Call::Write(file, offset(rng), rng.value(150_000)),
        9 => Call::Append(file, rng.value(20_000)),
        10 => Call::FTruncate(file, offset(rng)),
        11 => Call::Fsync(file),
        12 => Call::FStat(file),
        13 => {
            let to = rng.below(open_count);
            Call::Copy(file, offset(rng), to, offset(rng), rng.below(300_000))
        }
        _ => {
            let modes = [
                FallocateFlags::empty(),
                FallocateFlags::KEEP_SIZE,
                FallocateFlags::ZERO_RANGE,
                FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
                FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                FallocateFlags::PUNCH_HOLE,
            ];
            Call::Allocate(file, *rng.pick(&modes), offset(rng), offset(rng))
        }
    }
}

fn names(rng: &mut Rng) -> Call {
    match rng.below(16) {
        0..=4 => Call::Mkdir(path(rng), *rng.pick(&[0o755, 0o777, 0o1777, 0o2775, 0o700])),
        5 | 6 => {
            let kinds = [
                FileType::Fifo,
                FileType::Socket,
                FileType::CharacterDevice,
                FileType::BlockDevice,
                FileType::RegularFile,
                FileType::Directory,
            ];
            Call::Mknod(path(rng), *rng.pick(&kinds))
        }
        7 => Call::Rmdir(path(rng)),
        8..=10 => Call::Unlink(path(rng)),
        11 | 12 => {
            let target = match rng.below(4) {
                0 | 1 => path(rng),
                2 => "t".repeat(1 + rng.below(2_000)),
                _ => "t".repeat(4090 + rng.below(8)),
            };
            Call::Symlink(target, path(rng))
        }
        13 => Call::ReadLink(path(rng)),
        _ => Call::Truncate(path(rng), offset(rng)),
    }
}

fn moves(rng: &mut Rng) -> Call {
    let all = [
        RenameFlags::empty(),
        RenameFlags::empty(),
        RenameFlags::empty(),
        RenameFlags::NOREPLACE,
        RenameFlags::EXCHANGE,
        RenameFlags::WHITEOUT,
        RenameFlags::WHITEOUT | RenameFlags::NOREPLACE,
        RenameFlags::WHITEOUT | RenameFlags::EXCHANGE,
    ];
    match rng.below(8) {
        0 | 1 => Call::Link(path(rng), path(rng)),
        _ => Call::Rename(path(rng), path(rng), *rng.pick(&all)),
    }
}

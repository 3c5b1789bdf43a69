//! Operations and strategies for them, and what the numbers in them stand for.

use proptest::prelude::*;

/// Slots for open files and for references.
pub(super) const SLOT_COUNT: usize = 4;
/// Chunk length of the file system.
pub(super) const CHUNK: u64 = 128 << 10;

/// A path: names by number.
pub type Path = Vec<u8>;

/// A place in a file: one of a few interesting offsets, and a distance from it.
pub type Place = (u8, u16);

/// One operation.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "named as the calls that they make")]
pub enum Op {
    Create(Path, u32, usize),
    Mknod(Path, u8),
    Mkdir(Path, u32),
    Symlink(Path, u16),
    Link(Path, Path),
    Unlink(Path),
    Rmdir(Path),
    Rename(Path, Path, u8),
    Publish(Path, u16, u8),
    Open(Path, usize, bool, bool),
    Close(usize),
    Write(usize, Place, u32, u8, bool),
    Read(usize, Place, u32),
    Cut(usize, Place),
    Allocate(usize, Place, u32, u8),
    Seek(usize, Place),
    Copy(usize, Place, usize, Place, u32),
    CutPath(Path, Place),
    Chmod(Path, u32),
    Chown(Path, u32, u32),
    Times(Path, i64, u32),
    SetXattr(Path, u8, u16, u8),
    SetList(Path, bool, u32, u8),
    RemoveXattr(Path, u8),
    Readdir(Path, u8),
    Fsync(usize),
    Tick(u16),
    SyncAll,
    Hold(Path, usize),
    Drop(usize),
    Stat(usize),
    Remount(bool),
    Crash,
}

/// A strategy for paths.
fn path() -> impl Strategy<Value = Path> {
    prop_oneof![
        6 => proptest::collection::vec(0..5_u8, 1..3),
        3 => proptest::collection::vec(0..5_u8, 3..4),
        1 => proptest::collection::vec(0..8_u8, 1..4),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    (0..12_u8, prop_oneof![Just(0), Just(1), 0..6000_u16])
}

fn length() -> impl Strategy<Value = u32> {
    prop_oneof![
        5 => 0..300_u32,
        4 => 0..9000_u32,
        2 => 0..300_000_u32,
        1 => Just(128 << 10),
        1 => Just(4096_u32),
    ]
}

/// Two places that lie alike in their chunks, and a length of about some chunks.
fn chunks() -> impl Strategy<Value = (Place, Place, u32)> {
    let border = || prop_oneof![3 => Just(0_u8), 2 => Just(7_u8), 1 => 9..12_u8];
    let distance = prop_oneof![3 => Just(0), 1 => 0..6000_u16];
    let len = (0..5_u32, prop_oneof![2 => Just(0), 1 => 0..CHUNK as u32]);
    (border(), border(), distance, len).prop_map(|(from, to, distance, (count, rest))| {
        let len = count * CHUNK as u32 + rest;
        ((from, distance), (to, distance), len)
    })
}

/// A strategy for operations.
pub fn op() -> impl Strategy<Value = Op> {
    let slot = 0..SLOT_COUNT;
    let names = prop_oneof![
        4 => (path(), any::<u32>(), slot.clone()).prop_map(|(p, m, s)| Op::Create(p, m, s)),
        1 => (path(), any::<u8>()).prop_map(|(p, k)| Op::Mknod(p, k)),
        4 => (path(), any::<u32>()).prop_map(|(p, m)| Op::Mkdir(p, m)),
        1 => (path(), any::<u16>()).prop_map(|(p, l)| Op::Symlink(p, l)),
        2 => (path(), path()).prop_map(|(a, b)| Op::Link(a, b)),
        2 => path().prop_map(Op::Unlink),
        1 => path().prop_map(Op::Rmdir),
        6 => (path(), path(), 0..16_u8).prop_map(|(a, b, f)| Op::Rename(a, b, f)),
        1 => (path(), any::<u16>(), any::<u8>()).prop_map(|(p, l, b)| Op::Publish(p, l, b)),
    ];
    let files = prop_oneof![
        3 => (path(), slot.clone(), any::<u8>()).prop_map(|(p, s, b)| Op::Open(p, s, b < 40, b > 220)),
        2 => slot.clone().prop_map(Op::Close),
        9 => (slot.clone(), place(), length(), any::<u8>(), any::<bool>())
            .prop_map(|(s, p, l, b, k)| Op::Write(s, p, l, b, k)),
        5 => (slot.clone(), place(), length()).prop_map(|(s, p, l)| Op::Read(s, p, l)),
        3 => (slot.clone(), place()).prop_map(|(s, p)| Op::Cut(s, p)),
        1 => (path(), place()).prop_map(|(p, l)| Op::CutPath(p, l)),
        3 => slot.clone().prop_map(Op::Fsync),
        3 => (slot.clone(), place(), length(), any::<u8>())
            .prop_map(|(s, p, l, h)| Op::Allocate(s, p, l, h)),
        2 => (slot.clone(), place()).prop_map(|(s, p)| Op::Seek(s, p)),
        2 => (slot.clone(), place(), slot.clone(), place(), length())
            .prop_map(|(s, p, t, q, l)| Op::Copy(s, p, t, q, l)),
        4 => (slot.clone(), slot.clone(), chunks())
            .prop_map(|(s, t, (p, q, l))| Op::Copy(s, p, t, q, l)),
    ];
    let others = prop_oneof![
        2 => (path(), any::<u32>()).prop_map(|(p, m)| Op::Chmod(p, m)),
        1 => (path(), 0..3_u32, 0..3_u32).prop_map(|(p, u, g)| Op::Chown(p, u, g)),
        1 => (path(), any::<i64>(), 0..1_000_000_000_u32).prop_map(|(p, s, n)| Op::Times(p, s, n)),
        2 => (path(), 0..6_u8, any::<u16>(), any::<u8>())
            .prop_map(|(p, n, l, h)| Op::SetXattr(p, n, l, h)),
        1 => (path(), 0..6_u8).prop_map(|(p, n)| Op::RemoveXattr(p, n)),
        2 => (path(), any::<bool>(), any::<u32>(), any::<u8>())
            .prop_map(|(p, d, b, k)| Op::SetList(p, d, b, k)),
        1 => (path(), 1..5_u8).prop_map(|(p, s)| Op::Readdir(p, s)),
        2 => any::<u16>().prop_map(Op::Tick),
        1 => Just(Op::SyncAll),
        1 => (path(), slot.clone()).prop_map(|(p, s)| Op::Hold(p, s)),
        1 => slot.clone().prop_map(Op::Drop),
        1 => slot.prop_map(Op::Stat),
        1 => any::<bool>().prop_map(Op::Remount),
        1 => Just(Op::Crash),
    ];
    prop_oneof![5 => names, 6 => files, 3 => others]
}

pub(super) const fn name_of(number: u8) -> &'static [u8] {
    match number {
        0 => b"a",
        1 => b"b",
        2 => b"c",
        3 => b"d",
        4 => b"\xff\xfe odd \n",
        5 => &[b'n'; 255],
        6 => &[b'n'; 256],
        _ => b"",
    }
}

pub(super) fn offset_of((base, distance): Place) -> u64 {
    let base = match base {
        0..=3 => 0,
        4 => 4096,
        5 => 60_000,
        6 => CHUNK - 3000,
        7 => CHUNK,
        8 => 3 * CHUNK - 100,
        9 => 7 * CHUNK,
        10 => 1 << 21,
        _ => 5 << 30,
    };
    base + u64::from(distance)
}

/// The value of an access control list: `bits` has three for each entry, `kind` says which there
/// are.
#[must_use]
pub fn list(bits: u32, kind: u8) -> Vec<u8> {
    let tags: &[(u32, u32)] = match kind % 12 {
        0 => &[],
        1 => &[(1, 0), (4, 0)],
        2 => &[(1, 0), (2, 1000), (4, 0), (32, 0)],
        3 | 4 => &[(1, 0), (4, 0), (32, 0)],
        5 | 6 => &[(1, 0), (4, 0), (16, 0), (32, 0)],
        7 => &[(1, 0), (4, 0), (8, 100), (16, 0), (32, 0)],
        _ => &[
            (1, 0),
            (2, 7),
            (2, 1000),
            (4, 0),
            (8, 100),
            (16, 0),
            (32, 0),
        ],
    };
    let mut out = vec![2, 0, 0, 0];
    for (at, &(tag, id)) in tags.iter().enumerate() {
        let id = if id == 0 { u32::MAX } else { id };
        out.extend((tag | (bits >> (3 * at) & 7) << 16).to_le_bytes());
        out.extend(id.to_le_bytes());
    }
    out
}

pub(super) fn content(byte: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| byte ^ (at >> 7) as u8).collect()
}

//! Holes, punched and found, and copies of ranges.

use super::*;
use crate::attr::{Allocate, Handle, Seek};
use crate::extent::CHUNK_LEN;

const CHUNK: u64 = CHUNK_LEN as u64;

fn open(fs: &FileSystem, ino: u64) -> Handle {
    fs.open_file(&ALICE, ino, RW).unwrap()
}

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 + 1).collect()
}

#[test]
fn a_punched_range_reads_as_zeros_and_its_chunks_are_gone() {
    for synced in [false, true] {
        let tree = tree();
        let fs = FileSystem::open(Arc::clone(&tree), options(2)).unwrap();
        let mut model = noise(10 * CHUNK_LEN + 777);
        let ino = put(&fs, b"f", &model);
        let handle = open(&fs, ino);
        if synced {
            fs.sync_all().unwrap();
        }
        for (start, end) in [
            (CHUNK + 5, 4 * CHUNK + 9),
            (6 * CHUNK, 7 * CHUNK),
            (8 * CHUNK + 1, 8 * CHUNK + 100),
            (9 * CHUNK - 3, 9 * CHUNK + 3),
            (10 * CHUNK, 1 << 40),
        ] {
            fs.fallocate(&ALICE, ino, handle, start..end, Allocate::PunchHole)
                .unwrap();
            let end = model.len().min(end as usize);
            model[start as usize..end].fill(0);
            assert!(content(&fs, ino) == model, "{start}..{end}");
        }
        // Chunks 2, 3, 6 and the last one are holes.
        assert_eq!(fs.getattr(ino).unwrap().blocks, 7 * CHUNK / 512);
        fs.sync_all().unwrap();
        assert_eq!(keys(&tree, b"C"), 7);
        drop(fs);
        let fs = FileSystem::open(Arc::clone(&tree), options(2)).unwrap();
        assert!(content(&fs, ino) == model);
        assert_eq!(fs.getattr(ino).unwrap().blocks, 7 * CHUNK / 512);
    }
}

#[test]
fn a_punched_chunk_takes_the_pages_over_it_along() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let ino = put(&fs, b"f", &noise(3 * CHUNK_LEN));
    fs.sync_all().unwrap();
    let handle = open(&fs, ino);
    fs.write(ino, handle, CHUNK + 5000, b"patch", WriteFlags::default())
        .unwrap();
    fs.sync_all().unwrap();
    assert_eq!(keys(&tree, b"P"), 1);
    let range = CHUNK..2 * CHUNK;
    fs.fallocate(&ALICE, ino, handle, range, Allocate::PunchHole)
        .unwrap();
    assert_eq!((keys(&tree, b"P"), keys(&tree, b"C")), (0, 2));
    // What is written there later lies over zeros.
    fs.write(ino, handle, CHUNK + 9000, b"new", WriteFlags::default())
        .unwrap();
    fs.sync_all().unwrap();
    drop(fs);
    let fs = FileSystem::open(tree, options(0)).unwrap();
    let all = content(&fs, ino);
    assert_eq!(all[CHUNK_LEN + 5000..][..5], [0; 5]);
    assert_eq!(all[CHUNK_LEN + 9000..][..4], *b"new\0");
}

#[test]
fn data_and_holes_are_found() {
    let fs = FileSystem::open(tree(), options(0)).unwrap();
    let ino = put(&fs, b"f", b"");
    let handle = open(&fs, ino);
    let seek = |offset, what| fs.seek(ino, handle, offset, what);
    assert_eq!(errno(seek(0, Seek::Data)), Errno::ENXIO);
    for synced in [false, true] {
        fs.write(ino, handle, 2 * CHUNK + 5, b"x", WriteFlags::default())
            .unwrap();
        fs.write(ino, handle, 1 << 40, b"y", WriteFlags::default())
            .unwrap();
        if synced {
            fs.sync_all().unwrap();
        }
        assert_eq!(seek(0, Seek::Hole).unwrap(), 0);
        assert_eq!(seek(7, Seek::Data).unwrap(), 2 * CHUNK);
        assert_eq!(seek(2 * CHUNK + 3, Seek::Data).unwrap(), 2 * CHUNK + 3);
        assert_eq!(seek(2 * CHUNK + 3, Seek::Hole).unwrap(), 3 * CHUNK);
        assert_eq!(seek(3 * CHUNK, Seek::Data).unwrap(), 1 << 40);
        assert_eq!(seek(1 << 40, Seek::Hole).unwrap(), (1 << 40) + 1);
        assert_eq!(errno(seek((1 << 40) + 1, Seek::Hole)), Errno::ENXIO);
        assert_eq!(fs.getattr(ino).unwrap().blocks, 2 * CHUNK / 512);
    }
    let longer = SetAttr {
        size: Some(2 << 40),
        ..SetAttr::default()
    };
    fs.setattr(&ALICE, ino, &longer).unwrap();
    assert_eq!(errno(seek(1 << 41, Seek::Data)), Errno::ENXIO);
    assert_eq!(errno(seek((1 << 40) + CHUNK, Seek::Data)), Errno::ENXIO);
}

#[test]
fn space_is_looked_for_and_lengths_follow() {
    let fs = FileSystem::open(tree(), options(0)).unwrap();
    let ino = put(&fs, b"f", b"abc");
    let handle = open(&fs, ino);
    let size = || fs.getattr(ino).unwrap().size;
    let allocate = |range, how| fs.fallocate(&ALICE, ino, handle, range, how);
    allocate(0..500_000, Allocate::ReserveBehind).unwrap();
    assert_eq!(size(), 3);
    allocate(2..500_000, Allocate::Reserve).unwrap();
    assert_eq!(size(), 500_000);
    allocate(1..600_000, Allocate::ZeroRange).unwrap();
    assert_eq!(
        (size(), content(&fs, ino)[..3].to_vec()),
        (600_000, b"a\0\0".to_vec())
    );
    for (range, expected) in [
        (5..5, Errno::EINVAL),
        (0..u64::MAX, Errno::EFBIG),
        (0..1 << 60, Errno::ENOSPC),
    ] {
        assert_eq!(errno(allocate(range, Allocate::Reserve)), expected);
    }
    assert_eq!(size(), 600_000);
    let reader = OpenFlags {
        read: true,
        ..OpenFlags::default()
    };
    let reader = fs.open_file(&ALICE, ino, reader).unwrap();
    let refused = fs.fallocate(&ALICE, ino, reader, 0..9, Allocate::PunchHole);
    assert_eq!(errno(refused), Errno::EBADF);
}

#[test]
fn holes_elsewhere_in_the_file_need_no_space() {
    let fs = FileSystem::open(tree(), options(0)).unwrap();
    let ino = put(&fs, b"f", b"");
    let handle = open(&fs, ino);
    let (hole, data) = (64 * CHUNK, vec![7; 64 * CHUNK_LEN]);
    fs.write(ino, handle, hole, &data, WriteFlags::default())
        .unwrap();
    // The medium has 1 TiB, of which little is used.
    let end = 2 * hole + (1 << 40) - (4 << 20);
    let allocate = |start| {
        let how = Allocate::ReserveBehind;
        fs.fallocate(&ALICE, ino, handle, start..end, how)
    };
    for synced in [false, true] {
        if synced {
            fs.sync_all().unwrap();
        }
        allocate(hole).unwrap();
        allocate(hole - (1 << 20)).unwrap();
        assert_eq!(errno(allocate(hole - (4 << 20))), Errno::ENOSPC);
        assert_eq!(errno(allocate(0)), Errno::ENOSPC);
    }
}

#[test]
fn a_punch_writes_nothing_out_and_a_crash_finds_the_rest() {
    for workers in [0, 2] {
        let tree = tree();
        let fs = FileSystem::open(Arc::clone(&tree), options(workers)).unwrap();
        let mut model = noise(8 * CHUNK_LEN);
        let ino = put(&fs, b"f", &model);
        fs.sync_all().unwrap();
        let handle = open(&fs, ino);
        // Chunks 1 and 6 have unwritten bytes, so has chunk 9, before which there is a hole.
        for at in [CHUNK + 5, 6 * CHUNK + 5, 9 * CHUNK + 5] {
            fs.write(ino, handle, at, b"unwritten", WriteFlags::default())
                .unwrap();
        }
        fs.fallocate(&ALICE, ino, handle, 0..3 * CHUNK, Allocate::PunchHole)
            .unwrap();
        assert_eq!(fs.getattr(ino).unwrap().blocks, 6 * CHUNK / 512);
        assert_eq!(keys(&tree, b"C"), 5);
        drop(fs);
        // What was unwritten is lost, and nothing else.
        let fs = FileSystem::open(Arc::clone(&tree), options(workers)).unwrap();
        model[..3 * CHUNK_LEN].fill(0);
        assert!(content(&fs, ino) == model);
        assert_eq!(fs.getattr(ino).unwrap().blocks, 5 * CHUNK / 512);
    }
}

#[test]
fn a_punch_behind_a_cut_keeps_the_cut() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let ino = put(&fs, b"f", &noise(8 * CHUNK_LEN));
    fs.sync_all().unwrap();
    let handle = open(&fs, ino);
    for size in [5 * CHUNK + 9, 20 * CHUNK] {
        let size = SetAttr {
            size: Some(size),
            ..SetAttr::default()
        };
        fs.setattr(&ALICE, ino, &size).unwrap();
    }
    fs.fallocate(&ALICE, ino, handle, CHUNK..2 * CHUNK, Allocate::PunchHole)
        .unwrap();
    let mut model = noise(5 * CHUNK_LEN + 9);
    model[CHUNK_LEN..2 * CHUNK_LEN].fill(0);
    let blocks = 5 * CHUNK / 512;
    assert_eq!(fs.getattr(ino).unwrap().blocks, blocks);
    drop(fs);
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let attr = fs.getattr(ino).unwrap();
    assert_eq!((attr.size, attr.blocks), (5 * CHUNK + 9, blocks));
    assert!(content(&fs, ino) == model);
    // What was cut off does not come back, and goes in the end.
    let longer = SetAttr {
        size: Some(6 * CHUNK),
        ..SetAttr::default()
    };
    fs.setattr(&ALICE, ino, &longer).unwrap();
    model.resize(6 * CHUNK_LEN, 0);
    assert!(content(&fs, ino) == model);
    fs.sync_all().unwrap();
    assert!(content(&fs, ino) == model);
    assert_eq!(keys(&tree, b"C"), 5);
    fs.unlink(ROOT, b"f").unwrap();
    fs.forget(ino, 1);
    fs.close().unwrap();
    drop(fs);
    assert_eq!(keys(&reopen(tree), b"C"), 0);
}

#[test]
fn allocating_takes_suid_away() {
    let fs = FileSystem::open(tree(), options(0)).unwrap();
    for how in [Allocate::Reserve, Allocate::PunchHole] {
        for (caller, left) in [(ALICE, 0o755), (Caller::default(), 0o6755)] {
            let ino = put(&fs, b"f", b"abc");
            let suid = SetAttr {
                mode: Some(0o6755),
                ..SetAttr::default()
            };
            fs.setattr(&ALICE, ino, &suid).unwrap();
            let handle = open(&fs, ino);
            fs.fallocate(&caller, ino, handle, 0..2, how).unwrap();
            assert_eq!(fs.getattr(ino).unwrap().mode, left);
            fs.unlink(ROOT, b"f").unwrap();
        }
    }
}

#[test]
fn a_copy_of_a_range_is_the_range() {
    let fs = FileSystem::open(tree(), options(2)).unwrap();
    let bytes = noise(3_000_000);
    let from = put(&fs, b"from", &bytes);
    let to = put(&fs, b"to", b"head");
    let (source, target) = (open(&fs, from), open(&fs, to));
    let copy = |offset: u64, to_offset: u64, len: u64| {
        fs.copy_range(&ALICE, (from, source, offset), (to, target, to_offset), len)
    };
    assert_eq!(copy(5, 4, 1 << 40).unwrap(), 3_000_000 - 5);
    assert!(content(&fs, to)[4..] == bytes[5..]);
    assert_eq!(copy(3_000_000, 0, 10).unwrap(), 0);
    assert_eq!(copy(0, i64::MAX as u64 - 5, 4).unwrap(), 4);
    assert_eq!(errno(copy(0, i64::MAX as u64 - 1, 10)), Errno::EFBIG);
    let within = fs.copy_range(&ALICE, (from, source, 0), (from, source, 1_000_000), 999);
    assert_eq!(within.unwrap(), 999);
    assert!(content(&fs, from)[1_000_000..1_000_999] == bytes[..999]);
    for (offset, to_offset) in [(0, 998), (998, 0), (5, 5)] {
        let (from, to) = ((from, source, offset), (from, source, to_offset));
        let overlapping = fs.copy_range(&ALICE, from, to, 999);
        assert_eq!(errno(overlapping), Errno::EINVAL);
    }
    // A copy to the end of the same file ends where the file ended.
    let behind = fs.copy_range(
        &ALICE,
        (from, source, 2_999_990),
        (from, source, 3_000_000),
        99,
    );
    assert_eq!(
        (behind.unwrap(), fs.getattr(from).unwrap().size),
        (10, 3_000_010)
    );
}

#[test]
fn a_copy_reads_ahead() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(2)).unwrap();
    let bytes = noise(40 * CHUNK_LEN);
    let (from, to) = (put(&fs, b"from", &bytes), put(&fs, b"to", b""));
    fs.sync_all().unwrap();
    drop(fs);
    let fs = FileSystem::open(tree, options(2)).unwrap();
    let (source, target) = (open(&fs, from), open(&fs, to));
    let inode = fs.volume.inode(from).unwrap();
    let done = fs.copy_range(&ALICE, (from, source, 0), (to, target, 7), 10 * CHUNK);
    assert_eq!(done.unwrap() as u64, 10 * CHUNK);
    let since = std::time::Instant::now();
    while !(10..18).any(|index| fs.volume.keeps(&inode, index)) {
        let waited = since.elapsed().as_secs();
        assert!(waited < 10, "nothing was fetched ahead");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!fs.volume.keeps(&inode, 30));
    assert!(content(&fs, to)[7..] == bytes[..10 * CHUNK_LEN]);
}

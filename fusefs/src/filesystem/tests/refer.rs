//! Copies by reference: what they share, and that nobody sees it.

use super::*;
use crate::attr::{Allocate, Handle};
use crate::extent::CHUNK_LEN;

const CHUNK: u64 = CHUNK_LEN as u64;

fn open(fs: &FileSystem, ino: u64) -> Handle {
    fs.open_file(&ALICE, ino, RW).unwrap()
}

/// Bytes that do not compress, other ones for each seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut out);
    out
}

fn copy(fs: &FileSystem, (from, offset): (u64, u64), (to, to_offset): (u64, u64), len: u64) -> u64 {
    let (source, target) = (open(fs, from), open(fs, to));
    let (from_place, to_place) = ((from, source, offset), (to, target, to_offset));
    let done = fs.copy_range(&ALICE, from_place, to_place, len).unwrap();
    fs.release(from, source).unwrap();
    fs.release(to, target).unwrap();
    done as u64
}

fn write(fs: &FileSystem, ino: u64, offset: u64, data: &[u8]) {
    let handle = open(fs, ino);
    fs.write(ino, handle, offset, data, WriteFlags::default())
        .unwrap();
    fs.release(ino, handle).unwrap();
}

fn cut(fs: &FileSystem, ino: u64, len: u64) {
    let size = SetAttr {
        size: Some(len),
        ..SetAttr::default()
    };
    fs.setattr(&ALICE, ino, &size).unwrap();
}

fn used(tree: &BlobTree) -> u64 {
    let space = tree.space().unwrap();
    space.total_len - space.free_len
}

fn remove(fs: &FileSystem, name: &[u8], ino: u64) {
    fs.unlink(ROOT, name).unwrap();
    fs.forget(ino, 1);
}

/// Removes and reaps everything; nothing may be left in the tree, nor in blob files.
fn nothing_leaks(fs: FileSystem, tree: Arc<BlobTree>) {
    fs.close().unwrap();
    drop(fs);
    let tree = reopen(tree);
    for prefix in [b"C", b"P", b"O"] {
        assert_eq!(keys(&tree, prefix), 0);
    }
    tree.compact(&mut |_| ()).unwrap();
    assert_eq!(tree.garbage().unwrap().file_count, 0);
}

#[test]
fn a_copy_takes_no_space_and_both_files_go_their_own_ways() {
    for workers in [0, 2] {
        for synced in [false, true] {
            let tree = tree();
            let fs = FileSystem::open(Arc::clone(&tree), options(workers)).unwrap();
            let bytes = noise(1, 20 * CHUNK_LEN + 50_000);
            let len = bytes.len() as u64;
            let from = put(&fs, b"from", &bytes);
            let to = put(&fs, b"to", b"");
            if synced {
                fs.sync_all().unwrap();
            } else {
                let handle = open(&fs, from);
                fs.write(from, handle, 0, &bytes[..1], WriteFlags::default())
                    .unwrap();
                fs.fsync(from, handle, true).unwrap();
                fs.release(from, handle).unwrap();
            }
            let before = used(&tree);
            assert_eq!(copy(&fs, (from, 0), (to, 0), u64::MAX), len);
            fs.sync_all().unwrap();
            let taken = used(&tree) - before;
            assert!(taken < 64 << 10, "{taken} bytes for a copy of {len}");
            assert_eq!(keys(&tree, b"C"), 42);
            assert_eq!(fs.getattr(to).unwrap().blocks, len.div_ceil(512));
            // Each is changed in its own way: small, whole, cut, punched.
            let mut models = [bytes.clone(), bytes];
            for (seed, (ino, model)) in (7..).zip([from, to].into_iter().zip(&mut models)) {
                let at = seed as usize;
                write(&fs, ino, at as u64, b"patch");
                model[at..at + 5].copy_from_slice(b"patch");
                let chunk = noise(seed, CHUNK_LEN);
                write(&fs, ino, seed * CHUNK, &chunk);
                model[at * CHUNK_LEN..][..CHUNK_LEN].copy_from_slice(&chunk);
                cut(&fs, ino, (at * 2 * CHUNK_LEN + 77) as u64);
                model.truncate(at * 2 * CHUNK_LEN + 77);
                let handle = open(&fs, ino);
                let range = 2 * CHUNK..seed * CHUNK / 2;
                fs.fallocate(&ALICE, ino, handle, range.clone(), Allocate::PunchHole)
                    .unwrap();
                fs.release(ino, handle).unwrap();
                model[range.start as usize..range.end as usize].fill(0);
            }
            for again in [false, true] {
                assert!(content(&fs, from) == models[0], "the source, {again}");
                assert!(content(&fs, to) == models[1], "the copy, {again}");
                fs.sync_all().unwrap();
            }
            remove(&fs, b"from", from);
            fs.tick().unwrap();
            tree.compact(&mut |_| ()).unwrap();
            assert!(content(&fs, to) == models[1], "without the source");
            remove(&fs, b"to", to);
            nothing_leaks(fs, tree);
        }
    }
}

#[test]
fn a_chain_of_copies_outlives_any_of_its_links() {
    for gone in 0..4 {
        let tree = tree();
        let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
        let names: [&[u8]; 4] = [b"0", b"1", b"2", b"3"];
        let bytes = noise(2, 5 * CHUNK_LEN);
        let mut inos = vec![put(&fs, names[0], &bytes)];
        for name in &names[1..] {
            let last = *inos.last().unwrap();
            let next = put(&fs, name, b"old content");
            assert_eq!(copy(&fs, (last, 0), (next, 0), 5 * CHUNK), 5 * CHUNK);
            inos.push(next);
        }
        fs.sync_all().unwrap();
        remove(&fs, names[gone], inos[gone]);
        fs.tick().unwrap();
        tree.compact(&mut |_| ()).unwrap();
        drop(fs);
        let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
        for (name, ino) in names.iter().zip(&inos) {
            if *ino != inos[gone] {
                assert!(content(&fs, *ino) == bytes);
                fs.unlink(ROOT, name).unwrap();
            }
        }
        nothing_leaks(fs, tree);
    }
}

#[test]
fn a_file_is_copied_onto_another_place_of_itself() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(2)).unwrap();
    let mut model = noise(3, 6 * CHUNK_LEN + 40_000);
    let ino = put(&fs, b"f", &model);
    assert_eq!(copy(&fs, (ino, 0), (ino, 2 * CHUNK), 2 * CHUNK), 2 * CHUNK);
    model.copy_within(..2 * CHUNK_LEN, 2 * CHUNK_LEN);
    assert!(content(&fs, ino) == model);
    // Behind its end, with a hole between, its last chunk too.
    let len = model.len() as u64;
    let done = copy(&fs, (ino, 5 * CHUNK), (ino, 9 * CHUNK), len);
    assert_eq!(done, len - 5 * CHUNK);
    let tail = model[5 * CHUNK_LEN..].to_vec();
    model.resize(9 * CHUNK_LEN, 0);
    model.extend_from_slice(&tail);
    assert!(content(&fs, ino) == model);
    assert_eq!(fs.getattr(ino).unwrap().blocks, 9 * CHUNK / 512);
    assert_eq!(keys(&tree, b"C"), 9);
    fs.sync_all().unwrap();
    assert!(content(&fs, ino) == model);
    remove(&fs, b"f", ino);
    nothing_leaks(fs, tree);
}

#[test]
fn pages_go_along_and_holes_stay_holes() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let mut model = noise(4, 4 * CHUNK_LEN);
    let from = put(&fs, b"from", &model);
    let to = put(&fs, b"to", &noise(5, 6 * CHUNK_LEN));
    fs.sync_all().unwrap();
    // Pages over chunk 0 of one and over chunk 3 of the other, a hole at 2.
    write(&fs, from, 5000, b"page");
    write(&fs, to, 3 * CHUNK + 5000, b"other");
    write(&fs, to, 5 * CHUNK + 5000, b"stays");
    model[5000..5004].copy_from_slice(b"page");
    let handle = open(&fs, from);
    fs.fallocate(
        &ALICE,
        from,
        handle,
        2 * CHUNK..3 * CHUNK,
        Allocate::PunchHole,
    )
    .unwrap();
    fs.release(from, handle).unwrap();
    model[2 * CHUNK_LEN..3 * CHUNK_LEN].fill(0);
    fs.sync_all().unwrap();
    assert_eq!((keys(&tree, b"P"), keys(&tree, b"C")), (3, 9));
    // All of it is in the cache.
    assert_eq!(content(&fs, to).len(), 6 * CHUNK_LEN);
    assert_eq!(copy(&fs, (from, 0), (to, CHUNK), 4 * CHUNK), 4 * CHUNK);
    let mut copied = noise(5, 6 * CHUNK_LEN);
    copied[5 * CHUNK_LEN + 5000..][..5].copy_from_slice(b"stays");
    copied[CHUNK_LEN..5 * CHUNK_LEN].copy_from_slice(&model);
    assert!(content(&fs, to) == copied);
    assert_eq!((keys(&tree, b"P"), keys(&tree, b"C")), (3, 8));
    assert_eq!(fs.getattr(to).unwrap().blocks, 5 * CHUNK / 512);
    drop(fs);
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    assert!(content(&fs, to) == copied && content(&fs, from) == model);
    fs.unlink(ROOT, b"to").unwrap();
    fs.unlink(ROOT, b"from").unwrap();
    nothing_leaks(fs, tree);
}

#[test]
fn what_was_cut_off_the_source_does_not_come_back_in_the_copy() {
    for crash in [false, true] {
        let tree = tree();
        let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
        let bytes = noise(6, 3 * CHUNK_LEN);
        let from = put(&fs, b"from", &bytes);
        let to = put(&fs, b"to", b"");
        fs.sync_all().unwrap();
        cut(&fs, from, CHUNK + 40_000);
        let len = CHUNK + 40_000;
        assert_eq!(copy(&fs, (from, 0), (to, 0), u64::MAX), len);
        cut(&fs, to, 3 * CHUNK);
        let fs = if crash {
            fs.sync_all().unwrap();
            drop(fs);
            FileSystem::open(Arc::clone(&tree), options(0)).unwrap()
        } else {
            fs
        };
        let mut expected = bytes[..len as usize].to_vec();
        assert!(content(&fs, from) == expected);
        expected.resize(3 * CHUNK_LEN, 0);
        assert!(content(&fs, to) == expected);
    }
}

#[test]
fn files_without_names_are_copied_and_reaped() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let bytes = noise(8, 3 * CHUNK_LEN);
    let from = put(&fs, b"from", &bytes);
    let to = put(&fs, b"to", b"");
    let (source, target) = (open(&fs, from), open(&fs, to));
    fs.unlink(ROOT, b"from").unwrap();
    fs.unlink(ROOT, b"to").unwrap();
    let done = fs.copy_range(&ALICE, (from, source, 0), (to, target, 0), 1 << 30);
    assert_eq!(done.unwrap(), bytes.len());
    fs.release(from, source).unwrap();
    fs.forget(from, 1);
    fs.tick().unwrap();
    let read = fs.read(to, target, 0, bytes.len()).unwrap();
    assert!(*read == bytes[..], "the source is gone");
    fs.release(to, target).unwrap();
    fs.forget(to, 1);
    nothing_leaks(fs, tree);
}

#[test]
fn a_copy_changes_times_and_takes_suid_away() {
    let fs = FileSystem::open(tree(), options(0)).unwrap();
    let from = put(&fs, b"from", &noise(9, 2 * CHUNK_LEN));
    for (caller, left) in [(ALICE, 0o755), (Caller::default(), 0o4755)] {
        let to = put(&fs, b"to", b"");
        let old = SetAttr {
            mode: Some(0o4755),
            mtime: Some(crate::attr::SetTime::At(crate::attr::Time::default())),
            ..SetAttr::default()
        };
        fs.setattr(&ALICE, to, &old).unwrap();
        let (source, target) = (open(&fs, from), open(&fs, to));
        fs.copy_range(&caller, (from, source, 0), (to, target, 0), 2 * CHUNK)
            .unwrap();
        let attr = fs.getattr(to).unwrap();
        assert_eq!((attr.mode, attr.size), (left, 2 * CHUNK));
        assert_ne!(attr.mtime, crate::attr::Time::default());
        fs.unlink(ROOT, b"to").unwrap();
    }
}

#[test]
fn copies_and_writers_of_both_files_at_once_mix_no_chunk() {
    let fs = FileSystem::open(tree(), options(2)).unwrap();
    let inos: Vec<u64> = [&b"0"[..], b"1", b"2"]
        .map(|name| put(&fs, name, &vec![1; 8 * CHUNK_LEN]))
        .to_vec();
    std::thread::scope(|scope| {
        for thread in 0..3_usize {
            let (fs, inos) = (&fs, &inos);
            scope.spawn(move || {
                for round in 0..40_u64 {
                    let at = (round % 8) * CHUNK;
                    write(fs, inos[thread], at, &vec![round as u8 + 2; CHUNK_LEN]);
                    let (from, to) = (inos[thread], inos[(thread + 1) % 3]);
                    copy(fs, (from, 0), (to, 0), 8 * CHUNK);
                    if round % 8 == 0 {
                        fs.sync_all().unwrap();
                    }
                }
            });
        }
    });
    fs.sync_all().unwrap();
    for ino in inos {
        let bytes = content(&fs, ino);
        assert_eq!(bytes.len(), 8 * CHUNK_LEN);
        for chunk in bytes.chunks(CHUNK_LEN) {
            assert!(chunk.iter().all(|byte| *byte == chunk[0]), "a mixed chunk");
        }
    }
}

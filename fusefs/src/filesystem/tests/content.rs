//! Content: sparse, patched, read here and there, streamed.

use super::*;
use crate::extent::{CHUNK_LEN, index_of, within};

#[test]
fn a_big_sparse_file_costs_nothing() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let (attr, handle) = fs.create(&ALICE, ROOT, b"sparse", 0o600, RW).unwrap();
    let size = |len| SetAttr {
        size: Some(len),
        ..SetAttr::default()
    };
    fs.setattr(&ALICE, attr.ino, &size(5 << 30)).unwrap();
    assert_eq!(fs.getattr(attr.ino).unwrap().blocks, 0);
    let at = 3 << 30;
    fs.write(attr.ino, handle, at, b"here", WriteFlags::default())
        .unwrap();
    fs.fsync(attr.ino, handle, false).unwrap();
    assert_eq!(keys(&tree, b"C"), 1);
    assert_eq!(fs.getattr(attr.ino).unwrap().blocks, 256);
    let data = fs.read(attr.ino, handle, at - 2, 8).unwrap();
    assert_eq!(data[..], *b"\0\0here\0\0");
    fs.setattr(&ALICE, attr.ino, &size(at + 2)).unwrap();
    fs.setattr(&ALICE, attr.ino, &size(i64::MAX as u64))
        .unwrap();
    fs.fsync(attr.ino, handle, false).unwrap();
    let data = fs.read(attr.ino, handle, at, 4).unwrap();
    assert_eq!(data[..], *b"he\0\0");
    let behind = fs.write(
        attr.ino,
        handle,
        i64::MAX as u64,
        b"x",
        WriteFlags::default(),
    );
    assert_eq!(errno(behind), Errno::EFBIG);
    fs.setattr(&ALICE, attr.ino, &size(0)).unwrap();
    fs.fsync(attr.ino, handle, false).unwrap();
    assert_eq!(keys(&tree, b"C"), 0);
}

/// Does the tree hold the first chunk itself, rather than a pointer to it?
fn is_inline(tree: &BlobTree, ino: u64) -> bool {
    let mut scan = tree.scan(&crate::key::chunk(ino, 0), &[]).unwrap();
    let (_, value) = scan.next().unwrap().expect("a chunk");
    value.inline().is_some()
}

#[test]
fn an_fsync_of_a_short_file_needs_no_blob_file() {
    for workers in [0, 2] {
        let tree = tree();
        let fs = FileSystem::open(Arc::clone(&tree), options(workers)).unwrap();
        let mut model = vec![5; 20_000];
        let ino = put(&fs, b"journal", &model);
        let handle = fs.open_file(&ALICE, ino, RW).unwrap();
        fs.fsync(ino, handle, false).unwrap();
        assert!(is_inline(&tree, ino));
        fs.write(ino, handle, 9, b"again", WriteFlags::default())
            .unwrap();
        model[9..14].copy_from_slice(b"again");
        fs.fsync(ino, handle, false).unwrap();
        assert!(is_inline(&tree, ino));
        assert_eq!(fs.read(ino, handle, 0, 30_000).unwrap()[..], model);

        let ino = put(&fs, b"nobody waits for it", &model);
        fs.sync_all().unwrap();
        assert!(!is_inline(&tree, ino));

        // The end of a file of which the rest lies in blob files.
        let long = put(&fs, b"long", &vec![6; CHUNK_LEN]);
        fs.sync_all().unwrap();
        let handle = fs.open_file(&ALICE, long, RW).unwrap();
        fs.write(
            long,
            handle,
            CHUNK_LEN as u64,
            &model,
            WriteFlags::default(),
        )
        .unwrap();
        fs.write(long, handle, 0, b"also", WriteFlags::default())
            .unwrap();
        fs.fsync(long, handle, false).unwrap();
        let end = tree.get(&crate::key::chunk(long, 1)).unwrap().unwrap();
        assert_eq!(end, model);
        assert!(!is_inline(&tree, long));
        assert_eq!(keys(&tree, b"P"), 2, "one in each of two files");
    }
}

#[test]
fn small_writes_into_big_files_become_patches_that_fold() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let mut model = vec![5; 400_000];
    let ino = put(&fs, b"db", &model);
    fs.sync_all().unwrap();
    let handle = fs.open_file(&ALICE, ino, RW).unwrap();
    for round in 0..40_usize {
        let at = round * 8111 % 390_000;
        model[at..at + 3000].fill(round as u8);
        fs.write(
            ino,
            handle,
            at as u64,
            &[round as u8; 3000],
            WriteFlags::default(),
        )
        .unwrap();
        fs.fsync(ino, handle, true).unwrap();
        assert!(content(&fs, ino) == model, "round {round}");
    }
    assert!((1..=4 * 8).contains(&keys(&tree, b"P")));
    drop(fs);
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    assert!(content(&fs, ino) == model);
    let cut = SetAttr {
        size: Some(100_000),
        ..SetAttr::default()
    };
    fs.setattr(&ALICE, ino, &cut).unwrap();
    fs.sync_all().unwrap();
    assert!(content(&fs, ino) == model[..100_000]);
    assert_eq!(keys(&tree, b"P"), 0);
    assert_eq!(keys(&tree, b"C"), 1);
}

#[test]
fn reads_that_jump_see_what_reads_in_order_see() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let mut state = 1_u64;
    let mut random = |len: usize| -> Vec<u8> {
        let next = core::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        });
        next.take(len).collect()
    };
    let mut noise = random(1_500_000);
    noise[300_000..700_000].fill(b'x');
    let ino = put(&fs, b"noise", &noise);
    fs.sync_all().unwrap();
    drop(fs);
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let handle = fs.open_file(&ALICE, ino, RW).unwrap();
    let grow = SetAttr {
        size: Some(2_000_000),
        ..SetAttr::default()
    };
    fs.setattr(&ALICE, ino, &grow).unwrap();
    noise.resize(2_000_000, 0);
    let inode = fs.volume.inode(ino).unwrap();
    let mut part_count = 0;
    for round in 0..400_usize {
        let at = round * 611_953 % 1_990_000;
        // So much in one chunk is sealed anew: pages over chunks would have them read as a whole.
        if round % 20 == 5 && within(at as u64) < CHUNK_LEN - 24_000 && at < 1_900_000 {
            let new = random(24_000);
            noise[at..at + new.len()].copy_from_slice(&new);
            fs.write(ino, handle, at as u64, &new, WriteFlags::default())
                .unwrap();
        }
        if round % 50 == 49 {
            fs.fsync(ino, handle, true).unwrap();
        }
        let read = fs.read(ino, handle, at as u64, 5000).unwrap();
        assert!(*read == noise[at..at + 5000], "round {round}");
        let chunk = index_of(at as u64);
        let is_unwritten = inode.lock().content.chunks.contains_key(&chunk);
        part_count += usize::from(!is_unwritten && !fs.volume.keeps(&inode, chunk));
    }
    assert_eq!(keys(&tree, b"P"), 0);
    assert!(
        part_count > 100,
        "{part_count} of 400 read a part of a chunk"
    );
    assert!(content(&fs, ino) == noise);
}

#[test]
fn a_stream_from_many_threads_stays_whole_and_bounded() {
    let tree = tree();
    let options = MountOptions {
        dirty_len_max: 4 << 20,
        ..options(2)
    };
    let fs = FileSystem::open(Arc::clone(&tree), options).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let fs = &fs;
            scope.spawn(move || {
                let name = [b'a' + thread];
                let (attr, handle) = fs.create(&ALICE, ROOT, &name, 0o600, RW).unwrap();
                for step in 0..64_u64 {
                    let data = vec![thread ^ step as u8; 250_000];
                    fs.write(
                        attr.ino,
                        handle,
                        step * 250_000,
                        &data,
                        WriteFlags::default(),
                    )
                    .unwrap();
                    assert!(fs.volume.unwritten_len() < 12 << 20);
                }
                fs.fsync(attr.ino, handle, false).unwrap();
                fs.release(attr.ino, handle).unwrap();
            });
        }
    });
    fs.sync_all().unwrap();
    assert_eq!(fs.volume.unwritten_len(), 0);
    for thread in 0..4_u8 {
        let ino = fs.lookup(ROOT, &[b'a' + thread]).unwrap().ino;
        let data = content(&fs, ino);
        for (step, part) in data.chunks(250_000).enumerate() {
            assert!(part.iter().all(|&byte| byte == thread ^ step as u8));
        }
    }
}

#[test]
fn a_sync_writes_out_what_another_has_taken_to_do_so() {
    let tree = tree();
    let fs = FileSystem::open(Arc::clone(&tree), options(0)).unwrap();
    let ino = put(&fs, b"f", b"content");
    {
        let _taken = fs.volume.take_oldest().expect("something is unwritten");
        fs.sync_all().unwrap();
    }
    drop(fs);
    let fs = FileSystem::open(tree, options(0)).unwrap();
    assert_eq!(content(&fs, ino), b"content");
}

//! Values shared with the cache, values that move, and files with zeros ahead.

use super::*;
use crate::pointer::{BlobPointer, Frames};
use crate::scrub::scrub;
use coffer_engine::env::{self, OpenMode};

fn opened(world: &mut World, cache_frames: bool) -> BlobTree {
    let opening = OpenOptions {
        cache_frames,
        ..OpenOptions::default()
    };
    BlobTree::open(world.env(), &credential(), &opening).unwrap()
}

/// Of no byte, in the tree, of one frame, of several, and of more than a pointer lists.
const LENS: [usize; 6] = [0, 1000, 1001, 4096, 20_000, 100_000];

#[test]
fn shared_values_are_the_values() {
    let (mut world, tree) = World::new();
    for len in LENS {
        tree.put(format!("{len}").as_bytes(), &value(len, 5))
            .unwrap();
    }
    tree.close().unwrap();
    drop(tree);
    for cache_frames in [true, false] {
        let tree = opened(&mut world, cache_frames);
        let snapshot = tree.snapshot();
        for len in LENS {
            let (key, expected) = (format!("{len}").into_bytes(), value(len, 5));
            let mut held = Vec::new();
            for _ in 0..2 {
                let shared = tree.shared(&key).unwrap().unwrap();
                assert_eq!(shared.len(), len as u64);
                assert_eq!(shared.is_empty(), len == 0);
                assert_eq!(shared.parts().count(), len.div_ceil(4096).max(1));
                assert_eq!(shared.as_slice().is_some(), len <= 4096);
                assert!(
                    shared.to_vec() == expected && shared.parts().eq(expected.chunks(4096))
                        || len == 0
                );
                held.push(shared);
            }
            assert!(snapshot.shared(&key).unwrap().unwrap().to_vec() == expected);
            // What is held stays, also when its file goes.
            tree.delete(&key).unwrap();
            tree.compact(&mut |_| ()).unwrap();
            assert!(tree.shared(&key).unwrap().is_none());
            assert!(held.iter().all(|shared| shared.to_vec() == expected));
            tree.put(&key, &expected).unwrap();
        }
        drop(snapshot);
        tree.close().unwrap();
    }
}

#[test]
fn a_second_look_at_a_shared_value_opens_no_frame() {
    let (mut world, tree) = World::new();
    tree.put(b"k", &value(20_000, 1)).unwrap();
    tree.close().unwrap();
    drop(tree);
    let tree = opened(&mut world, true);
    let first = tree.shared(b"k").unwrap().unwrap();
    let second = tree.shared(b"k").unwrap().unwrap();
    let place = |value: &SharedValue| value.parts().map(<[u8]>::as_ptr).collect::<Vec<_>>();
    assert_eq!(place(&first), place(&second));
}

fn pointers(tree: &BlobTree) -> Vec<BlobPointer> {
    let mut cursor = tree.core.db.prefix(b"", None).unwrap();
    let mut found = Vec::new();
    while let Some(entry) = cursor.next().unwrap() {
        found.push(BlobPointer::decode(&entry.value).unwrap());
    }
    found
}

/// What moves is sealed anew and stays compressed as it was, whatever it was compressed by.
#[test]
fn a_value_that_moves_keeps_its_compressed_bytes() {
    let (mut world, tree) = World::new();
    let lens = [2000, 5000, 20_000, 100_000];
    let mut staged = Vec::new();
    for (index, len) in lens.into_iter().enumerate() {
        let effort = if index % 2 == 0 {
            Effort::Low
        } else {
            Effort::Normal
        };
        staged.push(tree.stage_with(&value(len, index as u64), effort).unwrap());
        tree.put(b"dead", &value(60_000, 9)).unwrap();
    }
    let mut batch = BlobBatch::new();
    for (index, staged) in staged.into_iter().enumerate() {
        batch.put_staged(format!("{index}").as_bytes(), staged);
    }
    batch.delete(b"dead");
    tree.write(batch, true).unwrap();
    let before = pointers(&tree);
    tree.close().unwrap();
    drop(tree);
    let tree = world.open().unwrap();
    tree.compact(&mut |_| ()).unwrap();
    let after = pointers(&tree);
    assert_eq!(before.len(), lens.len());
    for (old, new) in before.iter().zip(&after) {
        assert_ne!(old.file, new.file, "nothing moved");
        let shape = |pointer: &BlobPointer| (pointer.shape, pointer.disk_len());
        assert_eq!(shape(old), shape(new));
        if let (Frames::Listed(old), Frames::Listed(new)) = (&old.frames, &new.frames) {
            let parts = |frames: &[crate::pointer::Frame]| {
                frames
                    .iter()
                    .map(|f| (f.disk_len, f.codec))
                    .collect::<Vec<_>>()
            };
            assert_eq!(parts(old), parts(new));
        }
    }
    for (index, len) in lens.into_iter().enumerate() {
        let found = tree.get(format!("{index}").as_bytes()).unwrap().unwrap();
        assert!(found == value(len, index as u64));
    }
}

/// On a real file system: zeros lie ahead of a blob file that is synced often, are no damage, and are
/// cut off when it ends.
#[test]
fn a_blob_file_that_is_synced_often_has_zeros_ahead() {
    let home = tempfile::tempdir().unwrap();
    let env = || env::os::env(home.path()).unwrap();
    let len_of_blobs = || {
        let ids = env().fs.list().unwrap();
        let ids = ids.into_iter().filter(|id| id.kind == FileKind::Blob);
        let len = |id| env().fs.open(id, OpenMode::Read).unwrap().len().unwrap();
        ids.map(len).sum::<u64>()
    };
    let tree = BlobTree::create(env(), &credential(), small_options()).unwrap();
    for number in 0..20u64 {
        let mut batch = BlobBatch::new();
        batch.put(format!("{number:02}").as_bytes(), &value(5000, number));
        tree.write(batch, true).unwrap();
    }
    let live_len: u64 = pointers(&tree).iter().map(BlobPointer::disk_len).sum();
    // As a process ends that is killed.
    drop(tree);
    let len = len_of_blobs();
    assert!(
        len > live_len + 500_000,
        "{len} bytes, {live_len} of them live"
    );
    let report = scrub(&env(), false, &mut |_| ()).unwrap();
    assert_eq!((report.healed_count(), report.lost_count()), (0, 0));
    assert!(
        report.files.iter().all(|file| file.torn_tail.is_none()),
        "{report:?}"
    );
    let tree = BlobTree::open(env(), &credential(), &OpenOptions::default()).unwrap();
    for number in 0..20u64 {
        let mut batch = BlobBatch::new();
        let key = format!("{number:02}").into_bytes();
        assert!(tree.get(&key).unwrap().unwrap() == value(5000, number));
        batch.put(&key, &value(5000, number + 100));
        tree.write(batch, true).unwrap();
    }
    tree.compact(&mut |_| ()).unwrap();
    tree.close().unwrap();
    drop(tree);
    let len = len_of_blobs();
    assert!(
        len < 2 * live_len,
        "{len} bytes, {live_len} of them were live"
    );
    let tree = BlobTree::open(env(), &credential(), &OpenOptions::default()).unwrap();
    for number in 0..20u64 {
        let key = format!("{number:02}").into_bytes();
        assert!(tree.get(&key).unwrap().unwrap() == value(5000, number + 100));
    }
    assert!(tree.verify(&mut |_| ()).unwrap().is_whole());
}

/// The second cursor of a scan changes nothing of what the first one shows.
#[test]
fn a_scan_that_fetches_ahead_shows_what_it_saw_when_it_began() {
    let (mut world, tree) = World::new();
    for number in 0..300u64 {
        let len = if number % 3 == 0 { 500 } else { 3000 };
        tree.put(format!("{number:03}").as_bytes(), &value(len, number))
            .unwrap();
    }
    tree.close().unwrap();
    drop(tree);
    let tree = opened(&mut world, true);
    let mut scan = tree.scan(b"", b"").unwrap();
    let mut count = 0;
    loop {
        let seen = scan.next_with(|key, found| {
            let len = if count % 3 == 0 { 500 } else { 3000 };
            assert_eq!(key, format!("{count:03}").as_bytes());
            // Some values are left out, so that scan and second cursor drift apart.
            if count % 7 < 5 {
                assert!(found.shared(&tree).unwrap().to_vec() == value(len, count));
            }
        });
        if seen.unwrap().is_none() {
            break;
        }
        if count % 40 == 0 {
            for number in count..(count + 60).min(300) {
                tree.delete(format!("{number:03}").as_bytes()).unwrap();
            }
            tree.compact(&mut |_| ()).unwrap();
        }
        count += 1;
    }
    assert_eq!(count, 300);
}

#[test]
fn a_scan_that_is_left_over_does_not_keep_the_store() {
    let (mut world, tree) = World::new();
    tree.put(b"k", &value(5000, 1)).unwrap();
    let mut scan = tree.scan(b"", b"").unwrap();
    drop(tree);
    let tree = world.open().unwrap();
    let (key, _) = scan.next().unwrap().unwrap();
    assert_eq!(key, b"k");
    drop(tree);
}

//! Noise lies in short frames, and a window opens only those that a range touches.

use super::*;

fn noise(len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut out);
    out
}

/// A store with frames of 128 KiB.
fn world() -> (World, BlobTree) {
    let mut options = small_options();
    options.frame_len = 128 << 10;
    World::with(options)
}

#[test]
fn a_window_is_what_a_range_costs() {
    let (_, tree) = world();
    let (noise, half) = (noise(128 << 10), value(128 << 10, 1));
    tree.put(b"noise", &noise).unwrap();
    tree.put(b"half", &half).unwrap();
    tree.put(b"inline", b"few bytes").unwrap();
    let window = tree.window(b"noise", 40_000, 100).unwrap().unwrap();
    assert_eq!((window.offset, window.bytes.len()), (32 << 10, 8 << 10));
    assert_eq!((window.value_len, window.is_whole), (128 << 10, false));
    assert!(window.bytes == noise[32 << 10..40 << 10]);
    let window = tree.window(b"noise", 16_000, 1000).unwrap().unwrap();
    assert_eq!((window.offset, window.bytes.len()), (8 << 10, 16 << 10));
    let window = tree.window(b"half", 40_000, 100).unwrap().unwrap();
    assert!(window.is_whole && window.bytes == half);
    let window = tree.window(b"inline", 3, 1).unwrap().unwrap();
    assert!(window.is_whole && window.bytes == b"few bytes");
    let window = tree.window(b"noise", 200 << 10, 9).unwrap().unwrap();
    assert!(window.bytes.is_empty() && !window.is_whole);
    assert_eq!(tree.window(b"none", 0, 9).unwrap(), None);
}

#[test]
fn a_value_comes_into_memory_of_the_caller() {
    let (_, tree) = world();
    let noise = noise(100 << 10);
    tree.put(b"noise", &noise).unwrap();
    tree.put(b"inline", b"few bytes").unwrap();
    let mut out = vec![7; 9];
    assert!(tree.read_into(b"noise", &mut out).unwrap() && out == noise);
    let place = out.as_ptr();
    assert!(tree.read_into(b"inline", &mut out).unwrap() && out == b"few bytes");
    assert_eq!(out.as_ptr(), place);
    assert!(!tree.read_into(b"none", &mut out).unwrap() && out.is_empty());
}

#[test]
fn noise_of_every_length_comes_back_and_keeps_its_frames_when_it_moves() {
    let (mut world, tree) = world();
    let noise = noise(3 << 20);
    let lens = [1001, 8191, 8192, 16_384, 16_385, 131_072, 300_001, 3 << 20];
    for len in lens {
        tree.put(format!("{len}").as_bytes(), &noise[..len])
            .unwrap();
        tree.put(b"dead", &noise).unwrap();
    }
    tree.delete(b"dead").unwrap();
    tree.compact(&mut |_| ()).unwrap();
    drop(tree);
    let tree = world.open().unwrap();
    for len in lens {
        let key = format!("{len}").into_bytes();
        assert!(tree.get(&key).unwrap().unwrap() == noise[..len], "{len}");
        for offset in [0, len / 2, len - 1] {
            let found = tree.get_range(&key, offset as u64, 5000).unwrap().unwrap();
            assert!(found == noise[offset..len.min(offset + 5000)], "{len}");
        }
    }
    let window = tree.window(b"131072", 0, 1).unwrap().unwrap();
    assert_eq!(window.bytes.len(), 8 << 10);
}

/// A damaged frame costs the reader of its neighbour nothing.
#[test]
fn damage_beside_a_window_does_not_matter() {
    let (mut world, tree) = world();
    let noise = noise(128 << 10);
    tree.put(b"noise", &noise).unwrap();
    tree.close().unwrap();
    let [id] = *world.blobs() else {
        panic!("one blob file")
    };
    let mut bytes = world.fs.contents(id).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle - 1000..middle + 1000].fill(0xee);
    world.fs.set_contents(id, bytes);
    let tree = world.open().unwrap();
    assert!(tree.get(b"noise").is_err());
    let window = tree.window(b"noise", 0, 4096).unwrap().unwrap();
    assert!(window.bytes == noise[..8 << 10]);
    assert!(tree.window(b"noise", 64 << 10, 4096).is_err());
}

/// What is in the cache needs no file, and what a file lost is not in the cache of the next opening.
#[test]
fn frames_stay_in_the_cache_until_their_file_goes() {
    for cache_frames in [true, false] {
        let (mut world, tree) = world();
        let (noise, half) = (noise(128 << 10), value(300 << 10, 1));
        tree.put(b"noise", &noise).unwrap();
        tree.put(b"half", &half).unwrap();
        tree.close().unwrap();
        let opening = OpenOptions {
            cache_frames,
            ..OpenOptions::default()
        };
        let tree = BlobTree::open(world.env(), &credential(), &opening).unwrap();
        let range = tree.get_range(b"half", 200_000, 70_000).unwrap().unwrap();
        assert!(range == half[200_000..270_000]);
        for _ in 0..2 {
            assert!(tree.get(b"noise").unwrap().unwrap() == noise);
            assert!(tree.get(b"half").unwrap().unwrap() == half);
        }
        let misses = tree.stats().cache_miss_count;
        let [id] = *world.blobs() else {
            panic!("one blob file")
        };
        let bytes = world.fs.contents(id).unwrap();
        world.fs.set_contents(id, vec![0; bytes.len()]);
        assert_eq!(tree.get(b"half").is_ok(), cache_frames);
        assert_eq!(tree.get(b"noise").is_ok(), cache_frames);
        if cache_frames {
            assert_eq!(tree.stats().cache_miss_count, misses);
            assert!(tree.stats().cache_len >= 428 << 10);
        }
        drop(tree);
        let tree = world.open();
        assert!(tree.and_then(|tree| tree.get(b"noise")).is_err());
    }
}

//! Deleted ranges: what they hide is counted as garbage once, to the byte.

use super::*;

fn name(number: u64) -> Vec<u8> {
    format!("{number:03}").into_bytes()
}

/// What the accounts say lives, and what pointers lead to.
fn live_lens(tree: &BlobTree) -> (u64, u64) {
    let mut found = 0;
    let mut scan = tree.core.db.prefix(b"", None).unwrap();
    while let Some(entry) = scan.next().unwrap() {
        let pointer = crate::pointer::BlobPointer::decode(&entry.value).unwrap();
        found += pointer.disk_len();
    }
    (tree.garbage().unwrap().live_len, found)
}

#[test]
fn a_deleted_range_is_garbage_to_the_byte_and_dead_files_go() {
    // The values lie in the log, in tables, or in tables of an earlier session.
    for place in 0..3 {
        let (mut world, mut tree) = World::new();
        let mut model = BTreeMap::new();
        for number in 0..60 {
            tree.put(&name(number), &value(40_000, number)).unwrap();
            model.insert(name(number), value(40_000, number));
        }
        match place {
            0 => tree.sync().unwrap(),
            1 => tree.core.db.compact_all(&mut |_| ()).unwrap(),
            _ => {
                tree.close().unwrap();
                drop(tree);
                tree = world.open().unwrap();
            }
        }
        let before = world.blobs();
        assert!(before.len() >= 4, "{before:?}");
        let mut batch = BlobBatch::new();
        batch.delete_range(&name(2), &name(58));
        batch.put(&name(30), &value(5000, 99));
        tree.write(batch, true).unwrap();
        // A second tombstone over some of it, which hides nothing new but one value.
        let mut batch = BlobBatch::new();
        batch.delete(&name(40));
        batch.delete_range(&name(50), &name(59));
        tree.write(batch, false).unwrap();
        model.retain(|key, _| *key < name(2) || name(59) <= *key);
        model.insert(name(30), value(5000, 99));
        tree.core.db.compact_all(&mut |_| ()).unwrap();
        assert_eq!(contents(&tree), model, "place {place}");
        let report = tree.verify(&mut |_| ()).unwrap();
        assert!(report.is_whole(), "{report:?}");
        // The active file has no account before it ends.
        tree.close().unwrap();
        drop(tree);
        let tree = world.open().unwrap();
        let (recorded, found) = live_lens(&tree);
        assert_eq!(recorded, found, "place {place}");
        tree.collect_garbage().unwrap();
        let left = world.blobs();
        let gone = before.iter().filter(|id| !left.contains(id)).count();
        assert!(gone + 3 >= before.len(), "{before:?} {left:?}");
        drop(tree);
        let tree = world.open().unwrap();
        assert_eq!(contents(&tree), model, "place {place}");
        assert!(tree.verify(&mut |_| ()).unwrap().is_whole());
    }
}

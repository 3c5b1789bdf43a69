//! What dies is collected, what lives stays, and the accounts are right.

use super::*;

#[test]
fn dead_files_vanish_and_live_ones_never() {
    let (mut world, tree) = World::new();
    for number in 0..60u64 {
        tree.put(format!("{number:03}").as_bytes(), &value(40_000, number))
            .unwrap();
    }
    tree.sync().unwrap();
    let before = world.blobs().len();
    assert!(before >= 4, "{before} blob files");
    for number in 0..60u64 {
        if number != 30 {
            tree.delete(format!("{number:03}").as_bytes()).unwrap();
        }
    }
    tree.compact(&mut |_| ()).unwrap();
    let garbage = tree.collect_garbage().unwrap();
    assert!(world.blobs().len() <= 2, "{:?} {garbage:?}", world.blobs());
    assert_eq!(contents(&tree).len(), 1);
    assert_eq!(tree.get(b"030").unwrap(), Some(value(40_000, 30)));
    tree.close().unwrap();
    drop(tree);
    let tree = world.open().unwrap();
    assert_eq!(tree.get(b"030").unwrap(), Some(value(40_000, 30)));
}

#[test]
fn mostly_dead_files_are_emptied_on_an_idle_store() {
    let (mut world, tree) = World::new();
    for number in 0..60u64 {
        tree.put(format!("{number:03}").as_bytes(), &value(20_000, number))
            .unwrap();
    }
    for number in 0..60u64 {
        if number % 4 != 0 {
            tree.delete(format!("{number:03}").as_bytes()).unwrap();
        }
    }
    tree.compact(&mut |_| ()).unwrap();
    tree.collect_garbage().unwrap();
    let garbage = tree.collect_garbage().unwrap();
    assert!(garbage.live_len * 2 > garbage.len, "{garbage:?}");
    let model: BTreeMap<_, _> = (0..60u64)
        .filter(|number| number % 4 == 0)
        .map(|number| (format!("{number:03}").into_bytes(), value(20_000, number)))
        .collect();
    assert_eq!(contents(&tree), model);
    drop(tree);
    assert_eq!(contents(&world.open().unwrap()), model);
}

#[test]
fn a_compaction_that_passes_empties_what_waits() {
    let (mut world, tree) = World::new();
    for number in 0..60u64 {
        let key = format!("{number:03}");
        tree.put(key.as_bytes(), &value(20_000, number)).unwrap();
    }
    for number in (0..60u64).filter(|number| number % 4 != 0) {
        tree.delete(format!("{number:03}").as_bytes()).unwrap();
    }
    tree.core.db.compact_all(&mut |_| ()).unwrap();
    while tree.maintain().unwrap() == Work::Did {}
    let before = tree.garbage().unwrap();
    assert!(
        before.live_len * 2 < before.len,
        "nothing is emptied yet: {before:?}"
    );
    tree.core.db.compact_all(&mut |_| ()).unwrap();
    let dead = Ledger::read(&tree.core.db.annex()).unwrap().whole_dead();
    assert!(!dead.is_empty(), "the values moved with the compaction");
    while tree.maintain().unwrap() == Work::Did {}
    assert!(dead.iter().all(|number| !tree.core.files.is_known(*number)));
    assert!(tree.verify(&mut |_| ()).unwrap().is_whole());
    drop(tree);
    let tree = world.open().unwrap();
    for number in (0..60u64).step_by(4) {
        let found = tree.get(format!("{number:03}").as_bytes()).unwrap();
        assert_eq!(found, Some(value(20_000, number)));
    }
}

#[test]
fn files_of_a_crashed_session_are_read_and_collected() {
    let (mut world, mut tree) = World::new();
    let mut model = BTreeMap::new();
    for round in 0..5u64 {
        for number in 0..4u64 {
            let key = format!("{round}{number}").into_bytes();
            tree.put(&key, &value(10_000, round * 10 + number)).unwrap();
            model.insert(key, value(10_000, round * 10 + number));
        }
        drop(tree.stage(&value(10_000, 99)).unwrap());
        tree.sync().unwrap();
        drop(tree);
        tree = world.open().unwrap();
        assert_eq!(contents(&tree), model, "round {round}");
    }
    assert!(world.blobs().len() >= 5);
    tree.collect_garbage().unwrap();
    assert_eq!(contents(&tree), model);
    tree.close().unwrap();
    assert!(world.blobs().len() <= 2, "{:?}", world.blobs());
    drop(tree);
    assert_eq!(contents(&world.open().unwrap()), model);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the threads of the test itself")]
fn four_threads_write_while_garbage_is_collected() {
    let (mut world, tree) = World::new();
    let tree = Arc::new(tree);
    thread::scope(|scope| {
        for writer in 0..4u64 {
            let tree = &tree;
            scope.spawn(move || {
                for round in 0..60u64 {
                    let key = format!("{writer}/{}", round % 7).into_bytes();
                    let staged = tree.stage(&value(9000, writer * 1000 + round)).unwrap();
                    let mut batch = BlobBatch::new();
                    batch.put_staged(&key, staged);
                    tree.write(batch, round % 16 == 0).unwrap();
                    assert_eq!(
                        tree.get(&key).unwrap(),
                        Some(value(9000, writer * 1000 + round))
                    );
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..6 {
                tree.compact(&mut |_| ()).unwrap();
                tree.collect_garbage().unwrap();
            }
        });
    });
    let expected: BTreeMap<_, _> = (0..4u64)
        .flat_map(|writer| (53..60u64).map(move |round| (writer, round)))
        .map(|(writer, round)| {
            (
                format!("{writer}/{}", round % 7).into_bytes(),
                value(9000, writer * 1000 + round),
            )
        })
        .collect();
    assert_eq!(contents(&tree), expected);
    tree.close().unwrap();
    drop(tree);
    assert_eq!(contents(&world.open().unwrap()), expected);
}

#[test]
fn accounts_are_right_to_the_byte_once_all_is_compacted() {
    let (mut world, mut tree) = World::new();
    for round in 0..4u64 {
        for number in 0..40u64 {
            let key = format!("{:02}", (number * 7 + round) % 50).into_bytes();
            match number % 5 {
                0 => tree.delete(&key).unwrap(),
                _ => tree.put(&key, &value(6000, round * 100 + number)).unwrap(),
            }
        }
        if round == 2 {
            tree.close().unwrap();
            drop(tree);
            tree = world.open().unwrap();
        }
    }
    tree.close().unwrap();
    drop(tree);
    let tree = world.open().unwrap();
    tree.core.db.compact_all(&mut |_| ()).unwrap();
    let report = tree.verify(&mut |_| ()).unwrap();
    assert!(report.is_whole(), "{report:?}");
    let recorded = tree.garbage().unwrap().live_len;
    let mut found = 0;
    let mut scan = tree.core.db.prefix(b"", None).unwrap();
    while let Some(entry) = scan.next().unwrap() {
        found += crate::pointer::BlobPointer::decode(&entry.value)
            .unwrap()
            .disk_len();
    }
    assert_eq!(recorded, found);
}

#[test]
fn maintain_ends_in_idleness() {
    let (_, tree) = World::new();
    for number in 0..30u64 {
        tree.put(b"same key", &value(20_000, number)).unwrap();
    }
    tree.core.db.flush().unwrap();
    let mut rounds = 0;
    while tree.maintain().unwrap() == Work::Did {
        rounds += 1;
        assert!(rounds < 1000, "maintenance without end");
    }
    assert_eq!(tree.get(b"same key").unwrap(), Some(value(20_000, 29)));
}

//! Tables made without log and memtable.

use super::*;
use crate::env::{Fs, Task, os};

fn name(i: u32) -> Vec<u8> {
    format!("{i:05}").into_bytes()
}

fn ingest(db: &Db, keys: core::ops::Range<u32>, value: u8) -> Result<SeqNo> {
    db.ingest(|sink| {
        let mut keys = keys;
        keys.try_for_each(|i| sink.put(&name(i), &[value; 40]))
    })
}

#[test]
fn ingested_entries_are_newer_than_all_before() {
    let fs = MemFs::new();
    let db = open(&fs, &small()).unwrap();
    for i in 0..300 {
        put(&db, &name(i), b"old");
    }
    let snapshot = db.snapshot();
    let mut cursor = db.range(.., None).unwrap();
    let seqno = ingest(&db, 100..200, 1).unwrap();
    assert_eq!(seqno, db.last_seqno());
    assert!(seqno > snapshot.seqno());
    put(&db, &name(150), b"newer");
    let check = |db: &Db| {
        for i in 0..300 {
            let expected = match i {
                150 => b"newer".to_vec(),
                100..200 => vec![1; 40],
                _ => b"old".to_vec(),
            };
            assert_eq!(get(db, &name(i)).unwrap(), expected);
        }
        assert_eq!(db.get(&name(120), None).unwrap().unwrap().seqno, seqno);
        assert_eq!(all(db, None).len(), 300);
    };
    check(&db);
    assert!(
        all(&db, Some(&snapshot))
            .values()
            .all(|value| value == b"old")
    );
    while let Some(entry) = cursor.next().unwrap() {
        assert_eq!(entry.value, b"old");
    }
    // Durable at once, and once more when a compaction has written the number out.
    let crashed = open(&fs.fork(), &small()).unwrap();
    assert_eq!(get(&crashed, &name(120)).unwrap(), vec![1; 40]);
    put(&crashed, b"goes", b"on");
    db.compact_all(&mut |_| ()).unwrap();
    check(&db);
    assert!(
        all(&db, Some(&snapshot))
            .values()
            .all(|value| value == b"old")
    );
    db.close().unwrap();
    check(&open(&fs, &small()).unwrap());
}

#[test]
fn tables_go_as_deep_as_nothing_overlaps_them() {
    let fs = MemFs::new();
    let db = open(&fs, &small()).unwrap();
    ingest(&db, 0..300, 1).unwrap();
    let counts = |db: &Db| db.stats().levels.map(|level| level.table_count);
    let deep = counts(&db);
    assert!(deep[6] > 1 && deep[..6] == [0; 6], "{deep:?}");
    ingest(&db, 100..110, 2).unwrap();
    assert_eq!(counts(&db)[5], 1);
    put(&db, &name(105), b"x");
    ingest(&db, 104..300, 3).unwrap();
    assert!(counts(&db)[0] > 0);
    let found: Vec<_> = [99, 103, 105, 299]
        .map(|i| get(&db, &name(i)).unwrap()[0])
        .into();
    assert_eq!(found, [1, 2, 3, 3]);
}

#[test]
fn what_fails_leaves_nothing() {
    let fs = MemFs::new();
    let db = open(&fs, &small()).unwrap();
    let files = fs.list().unwrap().len();
    let error = db.ingest(|sink| {
        (0..300).try_for_each(|i| sink.put(&name(i), &[0; 40]))?;
        sink.put(&name(5), b"behind")
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(fs.list().unwrap().len(), files);
    assert!(all(&db, None).is_empty());
    assert_eq!(db.ingest(|_| Ok(())).unwrap(), db.last_seqno());
}

/// A condition that was looked at before an ingest does not hold after it.
#[test]
fn conditions_notice_an_ingest() {
    let db = open(&MemFs::new(), &small()).unwrap();
    put(&db, &name(5), b"old");
    let compared_at = db.last_seqno();
    ingest(&db, 5..6, 1).unwrap();
    let is_newer = |key: u32| db.is_any_newer(&[(&name(key), None)], compared_at).unwrap();
    assert!(is_newer(5));
    assert!(!is_newer(6));
    assert_eq!(db.view_of_now().1, db.last_seqno());
}

/// Who writes meanwhile waits: nothing in memory is older than what is ingested, and hides it.
#[test]
fn writers_and_ingests_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let env = os::env(dir.path()).unwrap();
    let spawner = Arc::clone(&env.spawner);
    let db = Arc::new(Db::open(env, one_key(), STORE, small(), None).unwrap());
    let ends = Arc::new(AtomicBool::new(false));
    let writers: Vec<Box<dyn Task>> = (0..2_u32)
        .filter_map(|thread| {
            let (db, ends) = (Arc::clone(&db), Arc::clone(&ends));
            let work = move || {
                for i in 0.. {
                    put(&db, &name(thread * 50 + i % 50), &[7; 20]);
                    if ends.load(Ordering::Acquire) {
                        break;
                    }
                }
            };
            spawner.spawn("writer", Box::new(work))
        })
        .collect();
    for round in 0..60 {
        let seqno = ingest(&db, 0..300, round).unwrap();
        for i in 0..300 {
            let found = db.get(&name(i), None).unwrap().unwrap();
            assert!(
                found.seqno >= seqno,
                "{i}: {} is older than {seqno}",
                found.seqno
            );
            assert_eq!(
                found.bytes,
                if found.seqno == seqno {
                    vec![round; 40]
                } else {
                    vec![7; 20]
                }
            );
        }
    }
    ends.store(true, Ordering::Release);
    writers.into_iter().for_each(Task::join);
    assert_eq!(all(&db, None).len(), 300);
}

/// Numbers of blocks and of entries are those of the edit, in the file and after a compaction.
#[test]
fn a_scan_of_changes_shows_ingested_entries() {
    let fs = MemFs::new();
    let db = open(&fs, &small()).unwrap();
    for i in 0..300 {
        put(&db, &name(i), b"old");
    }
    let since = db.last_seqno();
    let seqno = ingest(&db, 100..250, 1).unwrap();
    put(&db, &name(5), b"after");
    db.sync().unwrap();
    let check = |db: &Db| {
        let scan = |since| {
            let mut changes = db.scan_since(since).unwrap();
            assert!(changes.is_complete());
            core::iter::from_fn(move || changes.next().unwrap()).collect::<Vec<_>>()
        };
        let found = scan(since);
        assert_eq!(found.len(), 151);
        assert_eq!(found[0].key, name(5));
        for (entry, i) in found[1..].iter().zip(100..) {
            assert_eq!((&entry.key, entry.seqno), (&name(i), seqno));
            assert_eq!(entry.value, vec![1; 40]);
        }
        assert_eq!(scan(seqno).len(), 1);
    };
    check(&db);
    check(&open(&fs.fork(), &small()).unwrap());
    db.compact_all(&mut |_| ()).unwrap();
    check(&db);
}

//! Batches with conditions: one at a time, and from many threads.

use super::*;
use crate::env::{Task, os};
use core::time::Duration;

fn set(key: &[u8], value: &[u8]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(key, value);
    batch
}

#[test]
fn a_batch_is_applied_only_if_what_was_seen_is_still_so() {
    let fs = MemFs::new();
    let db = open(&fs, &small()).unwrap();
    let write = |batch, seen: &[(&[u8], Option<SeqNo>)]| {
        db.write_if(batch, seen, WriteOptions::default()).unwrap()
    };
    let first = write(set(b"a", b"1"), &[(b"a", None)]).unwrap();
    assert_eq!(write(set(b"a", b"2"), &[(b"a", None)]), None);
    assert_eq!(write(set(b"a", b"2"), &[(b"a", Some(first + 1))]), None);
    assert_eq!(get(&db, b"a").unwrap(), b"1");
    // Wherever the entry lies: in memory, in a table of level 0, in the last level.
    for step in 0..3 {
        match step {
            1 => db.flush().unwrap(),
            2 => db.compact_all(&mut |_| ()).unwrap(),
            _ => {}
        }
        let seen = db.get(b"a", None).unwrap().map(|value| value.seqno);
        let next = write(set(b"a", b"next"), &[(b"a", seen), (b"absent", None)]);
        assert!(next > seen);
        assert_eq!(write(set(b"a", b"late"), &[(b"a", seen)]), None);
    }
    // Gone is as good as never there; changed and changed back is not the same.
    let mut batch = WriteBatch::new();
    batch.delete(b"a");
    let seen = db.get(b"a", None).unwrap().unwrap().seqno;
    db.write(batch, WriteOptions::default()).unwrap();
    assert_eq!(write(set(b"b", b"x"), &[(b"a", Some(seen))]), None);
    put(&db, b"c", b"same");
    let seen = db.get(b"c", None).unwrap().unwrap().seqno;
    put(&db, b"c", b"same");
    assert_eq!(
        write(set(b"b", b"x"), &[(b"a", None), (b"c", Some(seen))]),
        None
    );
    assert!(write(set(b"b", b"x"), &[(b"a", None)]).is_some());
    assert_eq!(
        db.write_if(WriteBatch::new(), &[(b"b", None)], WriteOptions::default())
            .unwrap(),
        None
    );
}

/// Threads move amounts between accounts; a sum that is lost or made would show.
#[test]
fn concurrent_changes_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let env = os::env(dir.path()).unwrap();
    let spawner = Arc::clone(&env.spawner);
    let db = Arc::new(Db::open(env, one_key(), STORE, small(), None).unwrap());
    let account = |i: u64| format!("account {i}").into_bytes();
    (0..5).for_each(|i| put(&db, &account(i), &100_u64.to_le_bytes()));
    let start = |thread: u64| {
        let db = Arc::clone(&db);
        let work = move || {
            let (mut moved, mut step) = (0, thread);
            while moved < 60 {
                step += 1;
                let (from, to) = (account(step % 5), account((step * 3 + thread + 1) % 5));
                if from == to {
                    continue;
                }
                let read = |key: &[u8]| {
                    let value = db.get(key, None).unwrap().unwrap();
                    (
                        u64::from_le_bytes(value.bytes.try_into().unwrap()),
                        value.seqno,
                    )
                };
                let (a, b) = (read(&from), read(&to));
                if a.0 == 0 {
                    continue;
                }
                let mut batch = set(&from, &(a.0 - 1).to_le_bytes());
                batch.put(&to, &(b.0 + 1).to_le_bytes());
                let seen: [(&[u8], _); 2] = [(&from, Some(a.1)), (&to, Some(b.1))];
                let done = db.write_if(batch, &seen, WriteOptions::default()).unwrap();
                moved += u64::from(done.is_some());
            }
        };
        spawner.spawn("mover", Box::new(work)).unwrap()
    };
    let threads: Vec<_> = (0..4).map(start).collect();
    for _ in 0..50 {
        db.maintain().unwrap();
        db.wait_for_work(Duration::from_millis(1));
        let snapshot = db.snapshot();
        let sum: u64 = all(&db, Some(&snapshot))
            .into_values()
            .map(|value| u64::from_le_bytes(value.try_into().unwrap()))
            .sum();
        assert_eq!(sum, 500);
    }
    threads.into_iter().for_each(Task::join);
    let sum: u64 = all(&db, None)
        .into_values()
        .map(|value| u64::from_le_bytes(value.try_into().unwrap()))
        .sum();
    assert_eq!(sum, 500);
}

//! Walks over a store whose medium fails once: whoever asks again misses nothing.

use coffer_engine::crypto::NoKeys;
use coffer_engine::env::Env;
use coffer_engine::{Cursor, Db, Entry, Options, Result, StoreId, WriteBatch, WriteOptions};
use coffer_tests::crash::CrashFs;
use coffer_tests::fault::{Fault, FaultFs, Operation, Rule};
use coffer_tests::world::World;
use std::sync::Arc;

type Step = fn(&mut Cursor) -> Result<Option<Entry>>;

fn open(env: Env) -> Db {
    let options = Options {
        memtable_len: 2 << 10,
        block_len: 256,
        table_len: 1 << 10,
        cache_len: 0,
        row_cache_len: 0,
        ..Options::default()
    };
    Db::open(env, Arc::new(NoKeys), StoreId([3; 16]), options, None).unwrap()
}

/// Keys in several tables, some deleted one by one, some by ranges.
fn fill(db: &Db) {
    for round in 0..3_u8 {
        let mut batch = WriteBatch::new();
        for number in (0..60_u8).filter(|number| number % 3 != round) {
            batch.put(&[b'k', number], &[round; 30]);
        }
        batch.delete(&[b'k', 10 + round]);
        let start = 20 + 10 * round;
        batch.delete_range(&[b'k', start], &[b'k', start + 4]);
        db.write(batch, WriteOptions { sync: true }).unwrap();
        db.flush().unwrap();
    }
}

/// Every key from one end to the other; an error is asked about again. Answers how many there were.
fn walk(db: &Db, from_end: bool, step: Step) -> (Vec<Vec<u8>>, usize) {
    let (mut keys, mut errors) = (Vec::new(), 0);
    let mut cursor = loop {
        match db.range(.., None) {
            Ok(cursor) => break cursor,
            Err(_) => errors += 1,
        }
    };
    if from_end {
        cursor.seek_last();
    }
    loop {
        match step(&mut cursor) {
            Ok(Some(entry)) => keys.push(entry.key),
            Ok(None) => return (keys, errors),
            Err(_) => errors += 1,
        }
    }
}

#[test]
fn a_walk_that_failed_once_goes_on_where_it_stood() {
    let medium = CrashFs::new();
    let faults = FaultFs::before(&medium);
    let env = || World::new(5).env(Arc::new(faults.clone()));
    let db = open(env());
    fill(&db);
    db.close().unwrap();
    for (from_end, step) in [(false, Cursor::next as Step), (true, Cursor::prev as Step)] {
        let (expected, _) = walk(&open(env()), from_end, step);
        assert!((35..60).contains(&expected.len()), "{}", expected.len());
        let mut error_count = 0;
        for skip_count in 0.. {
            let db = open(env());
            faults.add(Rule::new(Operation::Read, Fault::Io).once_after(skip_count));
            let (keys, errors) = walk(&db, from_end, step);
            faults.heal();
            assert_eq!(
                keys, expected,
                "read {skip_count}, from the end: {from_end}"
            );
            error_count += errors;
            if errors == 0 {
                break;
            }
        }
        assert!(error_count > 10, "too few reads: {error_count}");
    }
}

/// A scan of changes that failed does not pass for a whole one.
#[test]
fn a_scan_of_changes_that_failed_is_over() {
    let medium = CrashFs::new();
    let faults = FaultFs::before(&medium);
    let env = || World::new(5).env(Arc::new(faults.clone()));
    let db = open(env());
    fill(&db);
    db.close().unwrap();
    let mut error_count = 0;
    for skip_count in 0.. {
        let db = open(env());
        faults.add(Rule::new(Operation::Read, Fault::Io).once_after(skip_count));
        let Ok(mut changes) = db.scan_since(0) else {
            faults.heal();
            error_count += 1;
            continue;
        };
        let failed = loop {
            match changes.next() {
                Ok(Some(_)) => {}
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        faults.heal();
        if !failed {
            break;
        }
        error_count += 1;
        assert!(changes.next().is_err(), "read {skip_count}");
    }
    assert!(error_count > 5, "too few reads: {error_count}");
}

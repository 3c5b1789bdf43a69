//! Compactions in pieces, side by side, and with errors in the middle.

use super::*;
use crate::env::{Task, os};
use core::time::Duration;

/// Values that fill many tables.
fn fill(db: &Db, from: u32, count: u32) {
    for i in from..from + count {
        // Spread over all keys, whatever the order.
        let key = format!("{:08x}", i.wrapping_mul(0x9e37_79b1));
        put(db, key.as_bytes(), format!("{i:060}").as_bytes());
    }
}

fn numbers(db: &Db) -> Vec<u64> {
    let tables = db.live_files().into_iter();
    let mut numbers: Vec<_> = tables
        .filter(|file| file.id.kind == FileKind::Table)
        .map(|file| file.id.number)
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Tables that lie in the directory.
fn tables_in(env: &Env) -> Vec<u64> {
    let list = env.fs.list().unwrap().into_iter();
    let tables = list.filter(|id| id.kind == FileKind::Table);
    let mut numbers: Vec<_> = tables.map(|id| id.number).collect();
    numbers.sort_unstable();
    numbers
}

fn files(fs: &Arc<MemFs>) -> Vec<u64> {
    tables_in(&mem::env_over(fs.clone(), 1))
}

#[test]
fn pieces_hold_what_the_whole_would() {
    let mut seen = Vec::new();
    for count in [1, 5] {
        let options = Options {
            subcompaction_count_max: count,
            ..small()
        };
        for threads in [false, true] {
            let (fs, mut env) = (MemFs::new(), mem::env());
            env.fs = fs.clone();
            if threads {
                env.spawner = os::spawner();
            }
            let db = Db::open(env, one_key(), STORE, options.clone(), None).unwrap();
            fill(&db, 0, 900);
            let snapshot = db.snapshot();
            fill(&db, 300, 900);
            db.compact_all(&mut |_| ()).unwrap();
            seen.push((all(&db, None), all(&db, Some(&snapshot))));
            assert_eq!(files(&fs), numbers(&db), "orphans, or tables gone");
            let levels = db.stats().levels;
            assert!(levels[1..].iter().any(|level| level.table_count > 10));
            drop((snapshot, db));
            let db = open(&fs.fork(), &options).unwrap();
            assert_eq!(all(&db, None), seen[0].0);
        }
    }
    assert!(seen.iter().all(|other| *other == seen[0]));
}

#[test]
fn compactions_run_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let env = os::env(dir.path()).unwrap();
    let spawner = Arc::clone(&env.spawner);
    let options = Options {
        level0_stall: 1000,
        ..small()
    };
    let db = Arc::new(Db::open(env, one_key(), STORE, options.clone(), None).unwrap());
    let done = Arc::new(AtomicBool::new(false));
    let start = || {
        let (db, done) = (Arc::clone(&db), Arc::clone(&done));
        let work = move || {
            while db.maintain().unwrap() == Work::Did || !done.load(Ordering::Acquire) {
                db.wait_for_work(Duration::from_millis(1));
            }
        };
        spawner.spawn("worker", Box::new(work)).unwrap()
    };
    let workers: Vec<_> = (0..4).map(|_| start()).collect();
    let mut most = 0;
    for round in 0..40 {
        fill(&db, round * 100, 200);
        most = most.max(db.stats().compaction_count);
    }
    let expected = all(&db, None);
    assert_eq!(expected.len(), 4100);
    db.compact_range(b"2", Some(b"a"), &mut |_| ()).unwrap();
    done.store(true, Ordering::Release);
    workers.into_iter().for_each(Task::join);
    assert_eq!(all(&db, None), expected);
    assert!(most >= 1, "nothing ran while others wrote");
    db.close().unwrap();
    drop(db);
    let db = Db::open(
        os::env(dir.path()).unwrap(),
        one_key(),
        STORE,
        options,
        None,
    )
    .unwrap();
    assert_eq!(all(&db, None), expected);
    assert_eq!(tables_in(&os::env(dir.path()).unwrap()), numbers(&db));
}

/// A table whose blocks are damaged ends all pieces; nothing of them stays, nothing is lost.
#[test]
fn one_damaged_input_ends_all_pieces() {
    let fs = MemFs::new();
    let options = Options {
        subcompaction_count_max: 4,
        transform: BlockTransform {
            ecc: Ecc::None,
            ..small().transform
        },
        ..small()
    };
    let db = open(&fs, &options).unwrap();
    fill(&db, 0, 900);
    db.compact_all(&mut |_| ()).unwrap();
    db.close().unwrap();
    drop(db);
    let middle = files(&fs)[5];
    let id = FileId::new(FileKind::Table, middle);
    let mut bytes = fs.contents(id).unwrap();
    bytes[400] ^= 1;
    fs.set_contents(id, bytes);
    let mut env = mem::env_over(fs.clone(), 5);
    env.spawner = os::spawner();
    let db = Db::open(env, one_key(), STORE, options, None).unwrap();
    let before = numbers(&db);
    fill(&db, 0, 20);
    db.flush().unwrap();
    let flushed = numbers(&db);
    assert!(flushed.len() > before.len());
    let error = db.compact_all(&mut |_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
    assert!(before.iter().all(|number| files(&fs).contains(number)));
    assert_eq!(files(&fs), numbers(&db));
    assert!(!db.is_poisoned());
}

#[test]
fn a_rate_limit_slows_compactions_and_ends_none() {
    let fs = MemFs::new();
    let options = Options {
        compaction_bytes_per_s_max: 1 << 20,
        ..small()
    };
    let mut env = mem::env_over(fs, 5);
    let dir = tempfile::tempdir().unwrap();
    env.clock = os::env(dir.path()).unwrap().clock;
    let clock = Arc::clone(&env.clock);
    let db = Db::open(env, one_key(), STORE, options, None).unwrap();
    fill(&db, 0, 3000);
    let before = clock.monotonic();
    for _ in 0..3 {
        db.compact_all(&mut |_| ()).unwrap();
    }
    let took = clock.monotonic() - before;
    assert!(took > Duration::from_millis(200), "{took:?}");
    assert_eq!(all(&db, None).len(), 3000);
}

#[test]
fn pieces_have_about_the_same_length() {
    let fs = MemFs::new();
    let options = Options {
        table_len: 16 << 10,
        memtable_len: 16 << 10,
        level0_stall: 1000,
        level_base_len: 1 << 30,
        ..small()
    };
    let db = open(&fs, &options).unwrap();
    fill(&db, 0, 4000);
    db.compact_all(&mut |_| ()).unwrap();
    fill(&db, 4000, 1500);
    db.flush().unwrap();
    let version = Arc::clone(&db.super_version().version);
    let claims = crate::compaction::Claims::default();
    let rewrite = |level| {
        crate::compaction::pick_rewrite(&version, &options, level, b"", None, u64::MAX).unwrap()
    };
    let merge = crate::compaction::pick(&version, &options, &claims).unwrap();
    assert_eq!(merge.level, 0);
    for (plan, keys) in [(merge, 5500), (rewrite(6), 800)] {
        let found = super::super::subcompact::boundaries(&db.opener, &options, &plan).unwrap();
        assert!(found.len() >= 2, "{}", found.len());
        let inputs: Vec<_> = plan.inputs().map(|(_, table)| table.meta()).collect();
        let first = inputs
            .iter()
            .map(|meta| meta.smallest.clone())
            .min()
            .unwrap();
        let last = inputs
            .iter()
            .map(|meta| meta.largest.clone())
            .max()
            .unwrap();
        let count = all(&db, None).range(first.clone()..=last.clone()).count();
        assert!(count >= keys / 4, "{count}");
        let starts = core::iter::once(&first).chain(&found);
        let ends: Vec<_> = found.iter().chain([&last]).collect();
        for (start, end) in starts.zip(ends) {
            let piece = all(&db, None).range(start.clone()..end.clone()).count();
            let even = count / (found.len() + 1);
            assert!((even / 3..=even * 2).contains(&piece), "{piece} of {count}");
        }
    }
}

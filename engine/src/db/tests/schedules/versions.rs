//! Versions and backpressure: readers see whole batches and no step back while memtables rotate,
//! flushes and compactions install; writers that are stopped are woken.

use super::*;

const ROUNDS: u8 = 4;

/// Reads at a snapshot and without one; neither goes back.
fn read(db: &Db, writer: u8) {
    let (mut at_snapshot, mut latest) = (0, 0);
    for _ in 0..4 {
        let snapshot = db.snapshot();
        let a = round_of(db, b'a', writer, Some(&snapshot));
        thread::yield_now();
        let b = round_of(db, b'b', writer, Some(&snapshot));
        assert_eq!(a, b, "half a batch is visible");
        assert!(a >= at_snapshot, "history went back");
        at_snapshot = a;
        let now = round_of(db, b'a', writer, None);
        assert!(now >= latest.max(a), "history went back");
        latest = now;
    }
}

/// Each batch fills a memtable, each second table makes a compaction; `None` never has a worker.
fn write_read_and_maintain(with_worker: bool) {
    let fs = MemFs::new();
    let db = Arc::new(open(&fs, &tiny()).unwrap());
    let ends = Arc::new(AtomicBool::new(false));
    let start = |run: fn(&Db)| {
        let db = Arc::clone(&db);
        thread::spawn(move || run(&db))
    };
    let worker = with_worker.then(|| {
        let (db, ends) = (Arc::clone(&db), Arc::clone(&ends));
        thread::spawn(move || work(&db, &ends))
    });
    let threads = [
        start(write::<1>),
        start(write::<2>),
        start(|db| read(db, 1)),
    ];
    threads.into_iter().for_each(|t| t.join().unwrap());
    ends.store(true, Ordering::Release);
    db.wake();
    if let Some(worker) = worker {
        worker.join().unwrap();
    }
    db.close().unwrap();
    let db = open(&fs, &tiny()).unwrap();
    for writer in 1..=2 {
        assert_eq!(round_of(&db, b'a', writer, None), ROUNDS);
        assert_eq!(round_of(&db, b'b', writer, None), ROUNDS);
    }
}

fn write<const WRITER: u8>(db: &Db) {
    for round in 1..=ROUNDS {
        write_pair(db, WRITER, round, false).unwrap();
        assert_eq!(round_of(db, b'b', WRITER, None), round);
    }
}

#[test]
fn readers_see_whole_batches_while_a_worker_installs_versions() {
    explore(|| write_read_and_maintain(true));
}

#[test]
fn writers_without_a_worker_help_themselves() {
    explore(|| write_read_and_maintain(false));
}

/// Flush, close and a worker want the same turn: whoever waits for it is woken.
#[test]
fn flush_and_close_wait_for_the_turn_of_others() {
    explore(|| {
        let fs = MemFs::new();
        let db = Arc::new(open(&fs, &tiny()).unwrap());
        write_pair(&db, 1, 1, false).unwrap();
        let flusher = {
            let db = Arc::clone(&db);
            thread::spawn(move || db.flush().map_err(|error| error.kind()))
        };
        let compactor = {
            let db = Arc::clone(&db);
            let compact = move || db.compact_all(&mut |_| ());
            thread::spawn(move || compact().map_err(|error| error.kind()))
        };
        let worker = {
            let db = Arc::clone(&db);
            thread::spawn(move || while matches!(db.maintain(), Ok(Work::Did)) {})
        };
        db.close().unwrap();
        for thread in [flusher, compactor] {
            let ended = thread.join().unwrap();
            assert!(matches!(ended, Ok(()) | Err(ErrorKind::Canceled)));
        }
        worker.join().unwrap();
        let db = open(&fs, &tiny()).unwrap();
        assert_eq!(round_of(&db, b'a', 1, None), 1);
    });
}

/// Writers wait while tables are added, and are woken; whoever reads sees all of them or none.
#[test]
fn an_ingest_is_whole_and_newer_than_all_before_it() {
    explore(|| {
        let db = Arc::new(open(&MemFs::new(), &tiny()).unwrap());
        let start = |run: fn(&Db)| {
            let db = Arc::clone(&db);
            thread::spawn(move || run(&db))
        };
        let threads = [
            start(|db| {
                for round in 1..=ROUNDS {
                    write_pair(db, 1, round, false).unwrap();
                }
            }),
            start(|db| {
                for _ in 0..4 {
                    let snapshot = db.snapshot();
                    let [a, b] = [b'a', b'b'].map(|half| round_of(db, half, 1, Some(&snapshot)));
                    assert_eq!(a, b, "half of it is visible");
                }
            }),
        ];
        for round in 101..=102 {
            let seqno = db.ingest(|sink| {
                sink.put(&[b'a', 1], &[round; 40])?;
                sink.put(&[b'b', 1], &[round; 40])
            });
            let found = db.get(&[b'a', 1], None).unwrap().unwrap();
            assert!(
                found.seqno >= seqno.unwrap(),
                "what was there before hides it"
            );
        }
        threads.into_iter().for_each(|t| t.join().unwrap());
        let [a, b] = [b'a', b'b'].map(|half| round_of(&db, half, 1, None));
        assert_eq!(a, b);
    });
}

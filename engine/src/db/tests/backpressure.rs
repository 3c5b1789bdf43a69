//! Writers that are faster than flush and compaction: slowed, stopped, never for long.

use super::*;
use crate::env::{Listener, StallCause, os};
use core::time::Duration;

#[derive(Default)]
struct Stalls(Mutex<Vec<StallCause>>);

impl Listener for Stalls {
    fn event(&self, event: &Event) {
        if let Event::Stalled { cause, .. } = event {
            self.0.lock().push(*cause);
        }
    }
}

#[test]
fn stops_are_events_and_are_counted() {
    let stalls = Arc::new(Stalls::default());
    for (options, cause) in [
        (
            Options {
                memtable_count_max: 1,
                level0_stall: 1000,
                ..small()
            },
            StallCause::Memtables,
        ),
        (
            Options {
                level0_stall: 5,
                ..small()
            },
            StallCause::Level0,
        ),
    ] {
        let mut env = mem::env();
        env.listener = stalls.clone();
        let db = Db::open(env, one_key(), STORE, options, None).unwrap();
        for i in 0..1500_u32 {
            put(&db, &i.wrapping_mul(0x9e37_79b1).to_be_bytes(), &[7; 60]);
            if cause == StallCause::Level0 {
                db.try_flush().unwrap();
            }
        }
        let (heard, stats) = (core::mem::take(&mut *stalls.0.lock()), db.stats().stalls);
        assert!(heard.len() > 3 && heard.iter().all(|other| *other == cause));
        assert_eq!(
            stats.memtable_count + stats.level0_count,
            heard.len() as u64
        );
        assert_eq!(stats.level0_count > 0, cause == StallCause::Level0);
        assert!(stats.waited >= stats.waited_max && stats.waited_max > Duration::ZERO);
        assert_eq!(stats.slowdown_count, 0, "nobody works for the writer");
        assert_eq!(all(&db, None).len(), 1500);
    }
}

/// Waits for the work of others, while a worker does it; a worker that goes away is replaced.
#[test]
fn a_writer_is_woken_and_helps_itself_where_nobody_works() {
    let mut env = mem::env();
    env.spawner = os::spawner();
    env.clock = os::env(tempfile::tempdir().unwrap().path()).unwrap().clock;
    let (spawner, clock) = (Arc::clone(&env.spawner), Arc::clone(&env.clock));
    let options = Options {
        level0_slow: 4,
        level0_stall: 8,
        ..small()
    };
    let db = Arc::new(Db::open(env, one_key(), STORE, options, None).unwrap());
    let ends = Arc::new(AtomicBool::new(false));
    let work = {
        let (db, ends) = (Arc::clone(&db), Arc::clone(&ends));
        move || {
            while !ends.load(Ordering::Acquire) {
                if db.maintain().unwrap() == Work::Idle {
                    db.wait_for_work(Duration::from_millis(20));
                }
            }
        }
    };
    let worker = spawner.spawn("worker", Box::new(work)).unwrap();
    let write = |from: u32| {
        for i in from..from + 3000 {
            put(&db, &i.wrapping_mul(0x9e37_79b1).to_be_bytes(), &[7; 60]);
        }
    };
    let started = clock.monotonic();
    write(0);
    ends.store(true, Ordering::Release);
    db.wake();
    worker.join();
    write(3000);
    assert!(clock.monotonic() - started < Duration::from_secs(60));
    let stats = db.stats();
    assert!(stats.levels[0].table_count <= 8, "{stats:?}");
    assert_eq!(all(&db, None).len(), 6000);
}

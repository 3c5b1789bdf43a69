//! The cache: those who miss together read once, and a reader that fails keeps nobody waiting.

use super::*;
use crate::cache::{Cache, Rounds};
use core::sync::atomic::AtomicUsize as Count;

const ROOM: usize = 1 << 20;

/// Three threads ask for one value; the first `failures` reads fail. How often was it read?
fn ask(cache_len: usize, failures: usize) -> usize {
    let cache = Arc::new(Cache::new(cache_len));
    // No part of the schedule.
    let reads = Arc::new(Count::new(0));
    let start = |_| {
        let (cache, reads) = (Arc::clone(&cache), Arc::clone(&reads));
        thread::spawn(move || {
            let read = || {
                let nth = reads.fetch_add(1, Ordering::AcqRel);
                thread::yield_now();
                if nth < failures {
                    return Err(Error::io("no"));
                }
                Ok(7_u8)
            };
            let found = cache.find_or_read(1, 2, Rounds::Data, |_| 100, read);
            found.map(|value| *value).ok()
        })
    };
    let threads: Vec<_> = (0..3).map(start).collect();
    let found: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    let failed = found.iter().filter(|found| found.is_none()).count();
    assert_eq!(failed, failures, "only those who read themselves fail");
    assert!(found.iter().flatten().all(|value| *value == 7));
    // Nothing is left on its way.
    let again = cache.find_or_read(1, 2, Rounds::Data, |_| 100, || Ok(7));
    assert_eq!(*again.unwrap(), 7);
    reads.load(Ordering::Acquire)
}

#[test]
fn those_who_miss_together_read_once() {
    explore(|| assert_eq!(ask(ROOM, 0), 1));
}

#[test]
fn a_reader_that_fails_keeps_nobody_waiting() {
    explore(|| assert!((2..=3).contains(&ask(ROOM, 1))));
}

#[test]
fn a_cache_without_room_gives_everybody_the_value() {
    explore(|| assert!((1..=3).contains(&ask(0, 0))));
}

/// A file is forgotten while it is read: what was asked for is right, and the bytes are counted.
#[test]
fn forgetting_a_file_meets_its_readers() {
    explore(|| {
        let cache = Arc::new(Cache::new(ROOM));
        let start = |file: u64| {
            let cache = Arc::clone(&cache);
            thread::spawn(move || {
                for offset in 0..2 {
                    let read = || Ok(file * 10 + offset);
                    let found = cache.find_or_read(file, offset, Rounds::Data, |_| 100, read);
                    assert_eq!(*found.unwrap(), file * 10 + offset);
                }
            })
        };
        let threads = [start(1), start(1), start(2)];
        cache.forget(1);
        threads.into_iter().for_each(|t| t.join().unwrap());
        cache.forget(1);
        assert!(cache.contains(2, 0) && cache.contains(2, 1));
        cache.forget(2);
        assert_eq!(cache.len(), 0);
    });
}

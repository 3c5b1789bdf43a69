//! Whose turn it is to read requests.
//!
//! - One reader waits for requests as long as requests are short: the one that was last at work, on
//!   the processor where the calling program is. The kernel wakes waiting readers in turn, each time another,
//!   on whatever processor is idle, and that takes longer than most requests.
//! - A reader stands aside only while another waits for requests, and never for longer than
//!   [`ASIDE_MAX`]: whatever holds the others up, requests are read again after that.
//! - Before a request of a kind that took long the last time, another reader is called.
//! - Where all readers are busy, none stands aside: they work side by side.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::time::Instant;

use crate::sync::{Condvar, Mutex};

/// How long a reader stands aside at most.
const ASIDE_MAX: Duration = Duration::from_millis(2);

/// A request that takes as long is worth calling another reader.
const LONG: Duration = Duration::from_micros(60);

/// Kinds of requests: what one took says what the next of the same kind will take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Finds a name.
    Find,
    /// Asks for attributes.
    Ask,
    /// Reads content.
    Read,
    /// Writes content.
    Write,
    /// Makes a name.
    Make,
    /// Takes or moves names.
    Remove,
    /// Lists a directory.
    List,
    /// Changes attributes.
    Change,
    /// Opens, closes, forgets.
    Close,
    /// Waits for the medium.
    Sync,
}

const KIND_COUNT: usize = Kind::Sync as usize + 1;

/// The readers of one mount.
pub(crate) struct Turns {
    reader_count: usize,
    /// Readers with a request, or aside.
    away_count: AtomicUsize,
    aside: Mutex<usize>,
    called: Condvar,
    /// As `aside`, for a look without the lock.
    aside_count: AtomicUsize,
    is_long: [AtomicBool; KIND_COUNT],
}

/// One request, from its arrival to the moment when its reader is free.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    kind: Kind,
    began: Instant,
}

impl Turns {
    /// The turns of so many readers.
    pub(crate) fn new(reader_count: usize) -> Self {
        Self {
            reader_count,
            away_count: AtomicUsize::new(0),
            aside: Mutex::new(0),
            called: Condvar::new(),
            aside_count: AtomicUsize::new(0),
            is_long: [const { AtomicBool::new(false) }; KIND_COUNT],
        }
    }

    /// A request has come. To be dropped when it is answered, or handed over.
    pub(crate) fn begin(&self, kind: Kind) -> Turn<'_> {
        let others_away = self.away_count.fetch_add(1, Ordering::Relaxed);
        if self.is_long[kind as usize].load(Ordering::Relaxed) && !self.is_read(others_away + 1) {
            self.call();
        }
        Turn {
            turns: self,
            kind,
            began: Instant::now(),
        }
    }

    /// Does a reader wait for requests while so many are away?
    fn is_read(&self, away_count: usize) -> bool {
        away_count < self.reader_count
    }

    /// Calls one of those who stand aside.
    fn call(&self) {
        if self.aside_count.load(Ordering::Relaxed) > 0 {
            self.called.notify_one();
        }
    }

    /// Stands aside while another waits for requests, until it is called or time is over.
    fn stand_aside(&self) {
        let mut aside = self.aside.lock();
        // This one is away too.
        if !self.is_read(self.away_count.load(Ordering::Relaxed)) {
            return;
        }
        *aside += 1;
        self.aside_count.store(*aside, Ordering::Relaxed);
        aside = self.called.wait_timeout(aside, ASIDE_MAX);
        *aside -= 1;
        self.aside_count.store(*aside, Ordering::Relaxed);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let turns = self.turns;
        let is_long = &turns.is_long[self.kind as usize];
        let was_long = self.began.elapsed() >= LONG;
        if is_long.load(Ordering::Relaxed) != was_long {
            is_long.store(was_long, Ordering::Relaxed);
        }
        if turns.is_read(turns.away_count.load(Ordering::Relaxed)) {
            turns.stand_aside();
        }
        turns.away_count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use std::sync::mpsc::channel;

    #[test]
    fn the_last_reader_never_stands_aside() {
        let turns = Turns::new(1);
        let began = Instant::now();
        for _ in 0..1000 {
            drop(turns.begin(Kind::Find));
        }
        assert!(began.elapsed() < 1000 * ASIDE_MAX / 4);
    }

    #[test]
    fn a_reader_stands_aside_for_another_and_for_a_while() {
        let turns = Turns::new(2);
        let began = Instant::now();
        drop(turns.begin(Kind::Find));
        assert!(began.elapsed() >= ASIDE_MAX);
        assert_eq!(turns.away_count.load(Ordering::Relaxed), 0);
        // Nobody waits for requests while the other is at work.
        let _other = turns.begin(Kind::Find);
        let fastest = (0..50).map(|_| {
            let began = Instant::now();
            drop(turns.begin(Kind::Find));
            began.elapsed()
        });
        assert!(fastest.min().is_some_and(|fastest| fastest < ASIDE_MAX));
    }

    #[test]
    fn a_long_request_calls_another_reader() {
        let turns = Arc::new(Turns::new(2));
        // One was long: so will the next be.
        turns.is_long[Kind::Sync as usize].store(true, Ordering::Relaxed);
        let fastest = (0..50).map(|_| {
            let (sender, waits) = channel();
            let aside = std::thread::spawn({
                let turns = Arc::clone(&turns);
                move || {
                    let turn = turns.begin(Kind::Find);
                    sender.send(()).expect("somebody waits");
                    let began = Instant::now();
                    drop(turn);
                    began.elapsed()
                }
            });
            waits.recv().expect("a thread");
            while turns.aside_count.load(Ordering::Relaxed) == 0 && !aside.is_finished() {
                std::thread::yield_now();
            }
            let long = turns.begin(Kind::Sync);
            let elapsed = aside.join().expect("no panic");
            std::thread::sleep(LONG);
            drop(long);
            elapsed
        });
        assert!(fastest.min().is_some_and(|fastest| fastest < ASIDE_MAX));
        assert!(turns.is_long[Kind::Sync as usize].load(Ordering::Relaxed));
    }
}

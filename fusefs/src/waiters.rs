//! Threads that wait, so that the threads that read requests do not have to.
//!
//! - At least one reader is always free: work that may wait runs on the reader that received it
//!   while enough others are idle, and on a waiter otherwise. Only where a full queue of such work
//!   waits already does it hold up its reader: memory is bounded, and the kernel keeps the rest.
//! - Work that was handed over is always done, also after `close` has been called.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() + Send>;

/// Jobs in the queue at most: each may hold the bytes of one write.
const QUEUE_COUNT_MAX: usize = 64;

/// A few threads with a queue before them.
pub(crate) struct Waiters {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Readers that may wait at the same time.
    waiting_count_max: usize,
    waiting_count: AtomicUsize,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

/// Leave for one reader to wait.
pub(crate) struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Waiters {
    /// Starts `thread_count` waiters beside `reader_count` readers.
    pub(crate) fn start(thread_count: usize, reader_count: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
        });
        let mut threads = Vec::with_capacity(thread_count);
        for number in 0..thread_count {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new()
                .name(format!("waiter-{number}"))
                .spawn(move || shared.work())?;
            threads.push(thread);
        }
        Ok(Self {
            shared,
            threads: Mutex::new(threads),
            waiting_count_max: reader_count.saturating_sub(1),
            waiting_count: AtomicUsize::new(0),
        })
    }

    /// May the calling reader wait? It may as long as it holds the leave.
    pub(crate) fn leave(&self) -> Option<Leave<'_>> {
        let leave = Leave(&self.waiting_count);
        let others = self.waiting_count.fetch_add(1, Ordering::Relaxed);
        (others < self.waiting_count_max).then_some(leave)
    }

    /// Hands work to a waiter; gives it back where too much waits already.
    pub(crate) fn hand_over<J: FnOnce() + Send + 'static>(&self, job: J) -> Result<(), J> {
        let mut queue = self.shared.lock();
        if queue.jobs.len() >= QUEUE_COUNT_MAX {
            return Err(job);
        }
        queue.jobs.push_back(Box::new(job));
        drop(queue);
        self.shared.filled.notify_one();
        Ok(())
    }

    /// Waits until everything handed over is done and ends the threads.
    pub(crate) fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_all();
        let threads =
            core::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A job that panicked has been reported by its guard.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                job();
                queue = self.lock();
            } else if queue.closed {
                return;
            } else {
                queue = self
                    .filled
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reader_stays_free() {
        let waiters = Waiters::start(0, 3).expect("threads");
        let first = waiters.leave();
        let second = waiters.leave();
        assert!(first.is_some() && second.is_some());
        assert!(waiters.leave().is_none());
        drop(first);
        assert!(waiters.leave().is_some());
    }

    #[test]
    fn a_full_queue_gives_work_back() {
        let waiters = Waiters::start(0, 1).expect("threads");
        for _ in 0..QUEUE_COUNT_MAX {
            assert!(waiters.hand_over(|| {}).is_ok());
        }
        assert!(waiters.hand_over(|| {}).is_err());
    }

    #[test]
    fn close_waits_for_everything_handed_over() {
        let waiters = Waiters::start(2, 1).expect("threads");
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let done = Arc::clone(&done);
            let job = move || {
                std::thread::yield_now();
                done.fetch_add(1, Ordering::Relaxed);
            };
            if let Err(job) = waiters.hand_over(job) {
                job();
            }
        }
        waiters.close();
        assert_eq!(done.load(Ordering::Relaxed), 100);
    }
}

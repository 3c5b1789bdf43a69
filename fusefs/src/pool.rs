//! Worker threads for sealing, prefetching, writing out and reaping.
//!
//! - A *leaf* job never waits for another job; a *long* job may wait for leaves. Whoever waits
//!   for leaves runs them himself meanwhile ([`Pool::help`]), so waiting never stands still.
//! - Without threads a leaf runs at once on the calling thread, which must hold no lock.
//! - A job that panics ends itself only.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::panic::AssertUnwindSafe;

use coffer_blobstore::env::{Spawner, Task};

use crate::sync::{Condvar, Mutex};

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of worker threads, or none.
pub(crate) struct Pool {
    queue: Arc<Queue>,
    tasks: Mutex<Vec<Box<dyn Task>>>,
    thread_count: usize,
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    wake: Condvar,
}

#[derive(Default)]
struct Jobs {
    leaves: VecDeque<Job>,
    long: VecDeque<Job>,
    stopped: bool,
}

impl Pool {
    /// Starts `count` threads, or as many as there are to be had.
    pub(crate) fn new(spawner: &dyn Spawner, count: usize) -> Self {
        let queue = Arc::new(Queue::default());
        let tasks: Vec<_> = (0..count)
            .map_while(|_| {
                let queue = Arc::clone(&queue);
                spawner.spawn("coffer-fs", Box::new(move || queue.work()))
            })
            .collect();
        Self {
            queue,
            thread_count: tasks.len(),
            tasks: Mutex::new(tasks),
        }
    }

    /// Are there threads?
    pub(crate) fn has_threads(&self) -> bool {
        self.thread_count > 0
    }

    /// Queues a job that waits for nobody; runs it here where there are no threads.
    pub(crate) fn submit(&self, job: impl FnOnce() + Send + 'static) {
        self.queue_or_run(Box::new(job), |jobs| &mut jobs.leaves);
    }

    /// Queues a job that may wait for leaves; runs it here where there are no threads.
    pub(crate) fn submit_long(&self, job: impl FnOnce() + Send + 'static) {
        self.queue_or_run(Box::new(job), |jobs| &mut jobs.long);
    }

    fn queue_or_run(&self, job: Job, list: fn(&mut Jobs) -> &mut VecDeque<Job>) {
        if self.has_threads() {
            let mut jobs = self.queue.jobs.lock();
            if !jobs.stopped {
                list(&mut jobs).push_back(job);
                drop(jobs);
                self.queue.wake.notify_one();
                return;
            }
        }
        run(job);
    }

    /// Runs one waiting leaf on the calling thread; false where there is none.
    pub(crate) fn help(&self) -> bool {
        let job = self.queue.jobs.lock().leaves.pop_front();
        job.map(run).is_some()
    }

    /// Runs what is queued, then ends all threads. Later jobs run on the calling thread.
    pub(crate) fn stop(&self) {
        self.queue.jobs.lock().stopped = true;
        self.queue.wake.notify_all();
        let tasks = core::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            task.join();
        }
    }
}

impl Queue {
    fn work(&self) {
        let mut jobs = self.jobs.lock();
        loop {
            let next = jobs.leaves.pop_front().or_else(|| jobs.long.pop_front());
            if let Some(job) = next {
                drop(jobs);
                run(job);
                jobs = self.jobs.lock();
            } else if jobs.stopped {
                return;
            } else {
                jobs = self.wake.wait(jobs);
            }
        }
    }
}

fn run(job: Job) {
    // The panic has been reported by the panic hook; whoever waits for the job learns of it from
    // what the job leaves behind.
    let _panicked = std::panic::catch_unwind(AssertUnwindSafe(job));
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_blobstore::env::os::spawner;
    use core::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn jobs_run_with_and_without_threads_and_survive_panics() {
        for threads in [0, 1, 3] {
            let pool = Pool::new(&*spawner(), threads);
            assert_eq!(pool.has_threads(), threads > 0);
            let done = Arc::new(AtomicUsize::new(0));
            for number in 0..100 {
                let done = Arc::clone(&done);
                pool.submit(move || {
                    done.fetch_add(1, Ordering::Relaxed);
                    assert!(number != 50, "one job panics");
                });
            }
            let long = Arc::clone(&done);
            pool.submit_long(move || {
                long.fetch_add(1, Ordering::Relaxed);
            });
            while pool.help() {}
            pool.stop();
            assert_eq!(done.load(Ordering::Relaxed), 101);
            let late = Arc::clone(&done);
            pool.submit(move || {
                late.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.load(Ordering::Relaxed), 102);
        }
    }
}

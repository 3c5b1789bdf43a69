//! Work on blocks, done by whichever thread has time.
//!
//! - Work is done once: whoever claims it first does it, all others pass it over.
//! - Who needs the result never waits while there is work of its own left to do.
//! - Queues hold what others may do; it gets done without them too.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;

use crate::env::{Spawner, Task};
use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex};

/// How long a lent thread sleeps that nobody wakes.
const LENT_NAP: Duration = Duration::from_millis(100);

/// Anything that can be claimed and done.
pub(super) trait Work: Send + Sync {
    /// Does somebody do it, or is it done?
    fn is_claimed(&self) -> bool;

    /// Does it, unless somebody has claimed it.
    fn run(&self) -> bool;
}

/// One piece of work: what goes in, how, and what comes out.
pub(super) struct Job<I, O> {
    make: fn(I) -> Result<O>,
    is_claimed: AtomicBool,
    state: Mutex<JobState<I, O>>,
    done: Condvar,
}

enum JobState<I, O> {
    Waiting(I),
    Claimed,
    Done(Result<O>),
}

impl<I, O> Job<I, O> {
    pub(super) fn new(input: I, make: fn(I) -> Result<O>) -> Self {
        Self {
            make,
            is_claimed: AtomicBool::new(false),
            state: Mutex::new(JobState::Waiting(input)),
            done: Condvar::new(),
        }
    }

    /// Nobody needs it any more.
    pub(super) fn cancel(&self) {
        if !self.is_claimed.swap(true, Ordering::AcqRel) {
            *self.state.lock() = JobState::Claimed;
        }
    }

    /// What came out; `None` while it is not done.
    fn take(&self) -> Option<Result<O>> {
        take_done(&mut self.state.lock())
    }

    /// What came out. REQUIRES: somebody has claimed it.
    fn wait(&self) -> Result<O> {
        let mut state = self.state.lock();
        loop {
            if let Some(result) = take_done(&mut state) {
                return result;
            }
            state = self.done.wait(&self.state, state);
        }
    }
}

impl<I: Send, O: Send> Work for Job<I, O> {
    fn is_claimed(&self) -> bool {
        self.is_claimed.load(Ordering::Acquire)
    }

    fn run(&self) -> bool {
        if self.is_claimed.swap(true, Ordering::AcqRel) {
            return false;
        }
        let state = core::mem::replace(&mut *self.state.lock(), JobState::Claimed);
        let JobState::Waiting(input) = state else {
            return false;
        };
        let _ending = Ending(self);
        let made = (self.make)(input);
        *self.state.lock() = JobState::Done(made);
        true
    }
}

fn take_done<I, O>(state: &mut JobState<I, O>) -> Option<Result<O>> {
    match core::mem::replace(state, JobState::Claimed) {
        JobState::Done(result) => Some(result),
        other => {
            *state = other;
            None
        }
    }
}

/// Ends a job, whatever becomes of the thread that does it.
struct Ending<'a, I, O>(&'a Job<I, O>);

impl<I, O> Drop for Ending<'_, I, O> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if matches!(*state, JobState::Claimed) {
            let error = Error::canceled("a thread ended while it worked on a block");
            *state = JobState::Done(Err(error));
        }
        drop(state);
        self.0.done.notify_all();
    }
}

/// What came out of the first of `jobs`; does others of them while somebody else has it.
pub(super) fn first_of<'a, I: Send + 'a, O: Send + 'a>(
    jobs: impl Iterator<Item = &'a Arc<Job<I, O>>> + Clone,
) -> Option<Result<O>> {
    let first = jobs.clone().next()?;
    loop {
        if let Some(result) = first.take() {
            return Some(result);
        }
        let mut open = jobs.clone().filter(|job| !job.is_claimed());
        match open.next() {
            Some(job) => job.run(),
            None => return Some(first.wait()),
        };
    }
}

/// Work that anybody may do: shared by those who need it and those who help.
#[derive(Default)]
pub(crate) struct JobQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Arc<dyn Work>>,
    helper_count: usize,
    is_closed: bool,
}

impl JobQueue {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Leaves work to whoever helps, if anybody does.
    pub(super) fn offer(&self, job: Arc<dyn Work>) {
        let mut state = self.state.lock();
        while state.jobs.front().is_some_and(|job| job.is_claimed()) {
            state.jobs.pop_front();
        }
        if state.helper_count > 0 {
            state.jobs.push_back(job);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Nobody needs anything any more: whoever helps may go.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// How much is left here that nobody has claimed or called off.
    #[cfg(test)]
    pub(super) fn open_count(&self) -> usize {
        let state = self.state.lock();
        state.jobs.iter().filter(|job| !job.is_claimed()).count()
    }

    /// Does anybody help?
    pub(super) fn is_helped(&self) -> bool {
        self.state.lock().helper_count > 0
    }

    /// Works until the queue is closed, or nothing was left here for a `nap`.
    fn help_while_wanted(&self, nap: Duration) {
        while let Some(job) = self.next(nap) {
            job.run();
        }
    }

    /// Works until the queue is closed; calls `between` after each piece, and every `nap` at least.
    pub(crate) fn help(self: &Arc<Self>, nap: Duration, between: &mut dyn FnMut()) {
        let _helping = Helping::at(self);
        while !self.state.lock().is_closed {
            if let Some(job) = self.next(nap) {
                job.run();
            }
            between();
        }
    }

    /// The next piece of work; waits for one as long as a `nap`.
    fn next(&self, nap: Duration) -> Option<Arc<dyn Work>> {
        let mut state = self.state.lock();
        if state.jobs.is_empty() && !state.is_closed {
            state = self.changed.wait_timeout(&self.state, state, nap);
        }
        if state.is_closed {
            return None;
        }
        state.jobs.pop_front()
    }
}

/// Somebody who helps.
struct Helping(Arc<JobQueue>);

impl Helping {
    fn at(queue: &Arc<JobQueue>) -> Self {
        queue.state.lock().helper_count += 1;
        Self(Arc::clone(queue))
    }
}

impl Drop for Helping {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.helper_count -= 1;
        if state.helper_count == 0 {
            state.jobs.clear();
        }
    }
}

/// A thread that helps at one queue; sent home when this is dropped.
pub(crate) struct LentThread {
    queue: Arc<JobQueue>,
    task: Option<Box<dyn Task>>,
}

impl LentThread {
    /// One for `queue`, which has no other; without a thread where the environment has none to
    /// spare.
    pub(crate) fn at(queue: &Arc<JobQueue>, spawner: &dyn Spawner) -> Self {
        let lent = (spawner.parallelism() > 1).then(|| {
            let until_closed = |queue: &Arc<JobQueue>| queue.help(LENT_NAP, &mut || ());
            Self::start(queue, spawner, "coffer-seal", until_closed)
        });
        lent.unwrap_or_else(|| Self {
            queue: Arc::clone(queue),
            task: None,
        })
    }

    fn start(
        queue: &Arc<JobQueue>,
        spawner: &dyn Spawner,
        name: &'static str,
        work: impl FnOnce(&Arc<JobQueue>) + Send + 'static,
    ) -> Self {
        // Counted before it runs, so that it finds what is offered meanwhile.
        let helping = Helping::at(queue);
        let task = spawner.spawn(name, Box::new(move || work(&helping.0)));
        Self {
            queue: Arc::clone(queue),
            task,
        }
    }
}

impl Drop for LentThread {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(task) = self.task.take() {
            task.join();
        }
    }
}

/// Lends threads to readers, fewer than can run at the same time.
pub(crate) struct Lender {
    spawner: Arc<dyn Spawner>,
    lent_count: Arc<AtomicUsize>,
}

/// A thread that is counted.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Lender {
    pub(crate) fn new(spawner: &Arc<dyn Spawner>) -> Self {
        Self {
            spawner: Arc::clone(spawner),
            lent_count: Arc::default(),
        }
    }

    /// A thread for `queue`, if one is free. It leaves when nobody wanted anything for a while.
    pub(super) fn lend(&self, queue: &Arc<JobQueue>) -> Option<LentThread> {
        let place = Place(Arc::clone(&self.lent_count));
        let others = place.0.fetch_add(1, Ordering::AcqRel);
        if others + 1 >= self.spawner.parallelism() {
            return None;
        }
        let while_wanted = move |queue: &Arc<JobQueue>| {
            let _place = place;
            queue.help_while_wanted(LENT_NAP);
        };
        let lent = LentThread::start(queue, &*self.spawner, "coffer-open", while_wanted);
        lent.task.is_some().then_some(lent)
    }
}

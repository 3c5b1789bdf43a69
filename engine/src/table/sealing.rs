//! Blocks on their way into a file: sealed by whichever thread has time, written in their order.
//!
//! - Who writes a table never waits while there is a block of its own left to seal.
//! - A block is sealed once: whoever claims it first does it, all others pass it over.
//! - What comes out does not depend on who sealed it, nor on how many help.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use crate::block::{BlockKind, FileContext, Sealed};
use crate::compress::ScratchPool;
use crate::env::{Spawner, Task};
use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex};

/// How long a lent thread sleeps that nobody wakes.
const LENT_NAP: Duration = Duration::from_millis(100);

/// A block that is to be sealed.
pub(super) struct SealJob {
    context: Arc<FileContext>,
    kind: BlockKind,
    ordinal: u32,
    is_claimed: AtomicBool,
    state: Mutex<JobState>,
    done: Condvar,
}

enum JobState {
    Plain(Vec<u8>),
    Claimed,
    Done(Result<SealedBytes>),
}

/// A block as it goes to the file.
pub(super) struct SealedBytes {
    pub(super) sealed: Sealed,
    pub(super) disk: Vec<u8>,
    /// What was sealed: memory for the next block.
    pub(super) plain: Vec<u8>,
}

impl SealJob {
    pub(super) fn new(
        context: &Arc<FileContext>,
        kind: BlockKind,
        ordinal: u32,
        plain: Vec<u8>,
    ) -> Arc<Self> {
        Arc::new(Self {
            context: Arc::clone(context),
            kind,
            ordinal,
            is_claimed: AtomicBool::new(false),
            state: Mutex::new(JobState::Plain(plain)),
            done: Condvar::new(),
        })
    }

    fn is_claimed(&self) -> bool {
        self.is_claimed.load(Ordering::Acquire)
    }

    /// Seals the block, unless somebody does already.
    pub(super) fn run(&self, scratches: &ScratchPool) -> bool {
        if self.is_claimed.swap(true, Ordering::AcqRel) {
            return false;
        }
        let state = core::mem::replace(&mut *self.state.lock(), JobState::Claimed);
        let JobState::Plain(plain) = state else {
            return false;
        };
        let _ending = Ending(self);
        let (context, mut disk) = (&self.context, Vec::new());
        let sealed = scratches.with(|scratch| {
            let (kind, ordinal) = (self.kind, self.ordinal);
            context.seal(kind, ordinal, 0, 0, &[], &plain, scratch, &mut disk)
        });
        *self.state.lock() = JobState::Done(sealed.map(|sealed| SealedBytes {
            sealed,
            disk,
            plain,
        }));
        true
    }

    /// What came out; `None` while it is not sealed.
    fn take(&self) -> Option<Result<SealedBytes>> {
        take_done(&mut self.state.lock())
    }

    /// What came out. REQUIRES: somebody has claimed the block.
    fn wait(&self) -> Result<SealedBytes> {
        let mut state = self.state.lock();
        loop {
            if let Some(result) = take_done(&mut state) {
                return result;
            }
            state = self.done.wait(&self.state, state);
        }
    }
}

fn take_done(state: &mut JobState) -> Option<Result<SealedBytes>> {
    match core::mem::replace(state, JobState::Claimed) {
        JobState::Done(result) => Some(result),
        other => {
            *state = other;
            None
        }
    }
}

/// Ends a job, whatever becomes of the thread that does it.
struct Ending<'a>(&'a SealJob);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if matches!(*state, JobState::Claimed) {
            let error = Error::canceled("a thread ended while it sealed a block");
            *state = JobState::Done(Err(error));
        }
        drop(state);
        self.0.done.notify_all();
    }
}

/// What came out of the first of `jobs`; seals blocks of the others while somebody else has it.
pub(super) fn first_of<'a>(
    jobs: impl Iterator<Item = &'a Arc<SealJob>> + Clone,
    scratches: &ScratchPool,
) -> Option<Result<SealedBytes>> {
    let first = jobs.clone().next()?;
    loop {
        if let Some(result) = first.take() {
            return Some(result);
        }
        let mut open = jobs.clone().filter(|job| !job.is_claimed());
        match open.next() {
            Some(job) => job.run(scratches),
            None => return Some(first.wait()),
        };
    }
}

/// Blocks that anybody may seal: shared by those who write tables and those who help.
pub(crate) struct SealQueue {
    scratches: Arc<ScratchPool>,
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Arc<SealJob>>,
    helper_count: usize,
    is_closed: bool,
}

impl SealQueue {
    pub(crate) fn new(scratches: &Arc<ScratchPool>) -> Arc<Self> {
        Arc::new(Self {
            scratches: Arc::clone(scratches),
            state: Mutex::new(QueueState::default()),
            changed: Condvar::new(),
        })
    }

    /// Leaves a block to whoever helps, if anybody does.
    pub(super) fn offer(&self, job: &Arc<SealJob>) {
        let mut state = self.state.lock();
        while state.jobs.front().is_some_and(|job| job.is_claimed()) {
            state.jobs.pop_front();
        }
        if state.helper_count > 0 {
            state.jobs.push_back(Arc::clone(job));
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Nobody writes any more: whoever helps may go.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Seals blocks until the queue is closed; calls `between` after each, and every `nap` at least.
    pub(crate) fn help(&self, nap: Duration, between: &mut dyn FnMut()) {
        let _helping = Helping::new(self);
        loop {
            let job = {
                let mut state = self.state.lock();
                if state.is_closed {
                    return;
                }
                if state.jobs.is_empty() {
                    state = self.changed.wait_timeout(&self.state, state, nap);
                }
                state.jobs.pop_front()
            };
            if let Some(job) = job {
                job.run(&self.scratches);
            }
            between();
        }
    }
}

/// A thread that seals for one writer; sent home when this is dropped.
pub(crate) struct LentThread {
    queue: Arc<SealQueue>,
    task: Option<Box<dyn Task>>,
}

impl LentThread {
    /// One for `queue`, which has no other; without a thread where the environment has none to
    /// spare.
    pub(crate) fn at(queue: &Arc<SealQueue>, spawner: &dyn Spawner) -> Self {
        let task = (spawner.parallelism() > 1).then(|| {
            let queue = Arc::clone(queue);
            let work = move || queue.help(LENT_NAP, &mut || ());
            spawner.spawn("coffer-seal", Box::new(work))
        });
        Self {
            queue: Arc::clone(queue),
            task: task.flatten(),
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

/// Somebody who helps.
struct Helping<'a>(&'a SealQueue);

impl<'a> Helping<'a> {
    fn new(queue: &'a SealQueue) -> Self {
        queue.state.lock().helper_count += 1;
        Self(queue)
    }
}

impl Drop for Helping<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.helper_count -= 1;
        if state.helper_count == 0 {
            state.jobs.clear();
        }
    }
}

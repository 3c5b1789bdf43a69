//! Puts in a row, sealed behind the back of the writer.
//!
//! - To seal a large value takes longer than all else of a put, and a writer alone keeps one processor
//!   busy with it. Values that come in a row are queued, and a thread seals them side by side with the
//!   writer. Several writers keep all processors busy by themselves.
//! - They get into the tree in the order of their puts, and before anything else that is asked of it:
//!   what is queued is never seen missing, and never overtaken.
//! - What cannot be sealed after its put has returned is told by the next call that writes, syncs or
//!   closes, once.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use coffer_engine::env::{Spawner, Task};
use coffer_engine::sync::{Condvar, Mutex, MutexGuard};
use coffer_engine::{Error, Result, WriteBatch};

use crate::blobfile::{BlobFiles, Effort, StagedFrames};
use crate::tree::Core;
use crate::tree::batch::{Claims, Place, Staged, put_staged};

/// So many puts, and nothing else, come before one that is queued.
const STREAK_MIN: usize = 16;
/// Bytes queued at most; whoever queues more does the sealing.
const QUEUE_LEN_MAX: usize = 2 << 20;
/// Longest value that is queued: it is copied for it.
const VALUE_LEN_MAX: usize = QUEUE_LEN_MAX / 2;
/// What a queued put takes beside key and value, about.
const PUT_LEN: usize = 128;
/// How long the thread stays that has nothing to do.
const NAP: Duration = Duration::from_millis(100);

/// The puts that wait for their turn.
pub(super) struct Behind {
    files: Arc<BlobFiles>,
    /// `None` where values are sealed by their puts.
    spawner: Option<Arc<dyn Spawner>>,
    /// Puts of one thread without anything between them.
    streak: AtomicUsize,
    /// The thread of the last put.
    writer: AtomicUsize,
    /// Puts that are queued, and failures that are not told; changed under the lock.
    open_count: AtomicUsize,
    queue: Mutex<Queue>,
    /// There is something to seal, or nothing more will come.
    offered: Condvar,
    /// Something was sealed.
    sealed: Condvar,
}

#[derive(Default)]
struct Queue {
    puts: VecDeque<Put>,
    /// The number of the first of them.
    first: u64,
    /// Bytes that they take.
    len: usize,
    /// The first failure since one was told.
    failure: Option<Error>,
    thread: Option<Box<dyn Task>>,
    is_helped: bool,
    is_stopped: bool,
}

struct Put {
    key: Vec<u8>,
    /// Bytes that it takes.
    len: usize,
    state: State,
}

enum State {
    Waiting(Vec<u8>),
    Claimed,
    Sealed(Result<StagedFrames>),
}

type Guard<'a> = MutexGuard<'a, Queue>;

impl Queue {
    /// The first value that nobody seals yet, and the number of its put.
    fn claim(&mut self) -> Option<(u64, Vec<u8>)> {
        (self.first..)
            .zip(&mut self.puts)
            .find_map(
                |(number, put)| match core::mem::replace(&mut put.state, State::Claimed) {
                    State::Waiting(value) => Some((number, value)),
                    other => {
                        put.state = other;
                        None
                    }
                },
            )
    }

    fn open_count(&self) -> usize {
        self.puts.len() + usize::from(self.failure.is_some())
    }
}

impl Behind {
    pub(super) fn new(files: &Arc<BlobFiles>, spawner: Option<&Arc<dyn Spawner>>) -> Arc<Self> {
        let spawner = spawner.filter(|spawner| spawner.parallelism() > 1);
        Arc::new(Self {
            files: Arc::clone(files),
            spawner: spawner.cloned(),
            streak: AtomicUsize::new(0),
            writer: AtomicUsize::new(0),
            open_count: AtomicUsize::new(0),
            queue: Mutex::default(),
            offered: Condvar::new(),
            sealed: Condvar::new(),
        })
    }

    /// One more put of a large value: is it to be queued?
    fn takes(&self, key: &[u8], value: &[u8]) -> bool {
        if self.spawner.is_none()
            || value.len() > VALUE_LEN_MAX
            || key.len() > WriteBatch::KEY_LEN_MAX
        {
            return false;
        }
        let writer = this_thread();
        if self.writer.load(Ordering::Relaxed) != writer {
            self.writer.store(writer, Ordering::Relaxed);
            self.streak.store(0, Ordering::Relaxed);
        }
        self.streak.fetch_add(1, Ordering::Relaxed) >= STREAK_MIN
    }

    /// Queues a put. REQUIRES: the queue is not stopped.
    fn push(self: &Arc<Self>, queue: &mut Queue, key: &[u8], value: &[u8]) {
        let len = key.len() + value.len() + PUT_LEN;
        queue.puts.push_back(Put {
            key: key.to_vec(),
            len,
            state: State::Waiting(value.to_vec()),
        });
        queue.len += len;
        if queue.is_helped {
            self.offered.notify_one();
        } else if let Some(spawner) = &self.spawner {
            let behind = Arc::clone(self);
            // One that was here before has nothing left to do but to end.
            queue.thread = spawner.spawn("coffer-seal", Box::new(move || behind.help()));
            queue.is_helped = queue.thread.is_some();
        }
    }

    /// Seals the first value that waits, with the lock given back meanwhile; `Err` where none does.
    fn seal_one<'a>(&'a self, mut queue: Guard<'a>) -> core::result::Result<Guard<'a>, Guard<'a>> {
        let Some((number, value)) = queue.claim() else {
            return Err(queue);
        };
        drop(queue);
        let mut claimed = Claimed {
            behind: self,
            number,
            sealed: None,
        };
        claimed.sealed = Some(self.files.stage(&value, Effort::Normal));
        drop(claimed);
        Ok(self.queue.lock())
    }

    /// Seals until nothing has come for a while.
    fn help(&self) {
        let mut queue = self.queue.lock();
        let mut has_napped = false;
        loop {
            queue = match self.seal_one(queue) {
                Ok(queue) => {
                    has_napped = false;
                    queue
                }
                Err(mut queue) if has_napped || queue.is_stopped => {
                    queue.is_helped = false;
                    return;
                }
                Err(queue) => {
                    has_napped = true;
                    self.offered.wait_timeout(&self.queue, queue, NAP)
                }
            };
        }
    }

    /// How many puts have gone through the queue.
    #[cfg(test)]
    pub(super) fn queue_number(&self) -> u64 {
        self.queue.lock().first
    }

    /// Sends the thread home: nothing is queued from now on. What is queued is given up.
    pub(super) fn stop(&self) {
        self.stop_within(self.queue.lock());
    }

    fn stop_within(&self, mut queue: Guard<'_>) {
        queue.is_stopped = true;
        queue.first += queue.puts.len() as u64;
        queue.puts.clear();
        queue.len = 0;
        let thread = queue.thread.take();
        drop(queue);
        self.offered.notify_all();
        if let Some(thread) = thread {
            thread.join();
        }
    }
}

/// A value that somebody seals: whatever becomes of that thread, its put ends.
struct Claimed<'a> {
    behind: &'a Behind,
    number: u64,
    sealed: Option<Result<StagedFrames>>,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        let ended = || Err(Error::canceled("a thread ended while it sealed a value"));
        let sealed = self.sealed.take().unwrap_or_else(ended);
        let mut queue = self.behind.queue.lock();
        let index = self.number.checked_sub(queue.first);
        let put = index.and_then(|index| queue.puts.get_mut(index as usize));
        // It is gone where the tree was dropped.
        if let Some(put) = put {
            put.state = State::Sealed(sealed);
        }
        drop(queue);
        self.behind.sealed.notify_all();
    }
}

impl Core {
    /// Puts a large value: seals it now, or leaves it to whoever has time where puts come in a row.
    pub(super) fn put_large(&self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.behind.takes(key, value) && !self.db.is_poisoned() {
            let mut queue = self.behind.queue.lock();
            if queue.failure.is_some() {
                return self.told(queue);
            }
            if !queue.is_stopped {
                self.behind.push(&mut queue, key, value);
                queue = self.go_on(queue, |queue| queue.len <= QUEUE_LEN_MAX);
                self.enter_sealed(&mut queue);
                return self.told(queue);
            }
        }
        self.settle_between()?;
        let staged = self.stage(value, Effort::Normal)?;
        let (mut entries, mut claims) = (WriteBatch::new(), Claims::new());
        put_staged(&mut entries, &mut claims, key, staged);
        self.commit(entries, claims, false)
    }

    /// Everything that was put is in the tree when this returns. Comes before all that is asked of the
    /// tree but puts.
    pub(super) fn settle(&self) {
        drop(self.settled());
    }

    /// As [`Core::settle`], for callers who write, sync or close: tells a failure.
    pub(super) fn settle_told(&self) -> Result<()> {
        self.settled().map_or(Ok(()), |queue| self.told(queue))
    }

    /// As [`Core::settle_told`], and the puts before the next ones still count.
    pub(super) fn settle_between(&self) -> Result<()> {
        let settled = self.entered();
        settled.map_or(Ok(()), |queue| self.told(queue))
    }

    /// As [`Core::settle_told`], and nothing is queued any more.
    pub(super) fn settle_for_good(&self) -> Result<()> {
        let mut queue = self.behind.queue.lock();
        queue.is_stopped = true;
        let mut queue = self.enter_all(queue);
        let failure = queue.failure.take();
        self.count(&queue);
        self.behind.stop_within(queue);
        failure.map_or(Ok(()), Err)
    }

    fn settled(&self) -> Option<Guard<'_>> {
        if self.behind.streak.load(Ordering::Relaxed) != 0 {
            self.behind.streak.store(0, Ordering::Relaxed);
        }
        self.entered()
    }

    /// The queue, with everything entered that was in it; `None` where there was nothing.
    fn entered(&self) -> Option<Guard<'_>> {
        let is_open = self.behind.open_count.load(Ordering::Acquire) > 0;
        is_open.then(|| self.enter_all(self.behind.queue.lock()))
    }

    /// Enters all that is queued now; what others queue meanwhile may stay.
    fn enter_all<'a>(&'a self, queue: Guard<'a>) -> Guard<'a> {
        let end = queue.first + queue.puts.len() as u64;
        self.go_on(queue, |queue| queue.first >= end)
    }

    /// Seals, and enters what is sealed, until it is enough.
    fn go_on<'a>(&'a self, mut queue: Guard<'a>, is_enough: impl Fn(&Queue) -> bool) -> Guard<'a> {
        while !is_enough(&queue) {
            self.enter_sealed(&mut queue);
            if is_enough(&queue) {
                break;
            }
            queue = match self.behind.seal_one(queue) {
                Ok(queue) => queue,
                // All of them are claimed.
                Err(queue) => self.behind.sealed.wait(&self.behind.queue, queue),
            };
        }
        queue
    }

    /// Enters the first puts into the tree, as far as they are sealed.
    fn enter_sealed(&self, queue: &mut Queue) {
        let (mut entries, mut claims) = (WriteBatch::new(), Claims::new());
        while let Some(put) = queue.puts.pop_front_if(|put| is_sealed(put)) {
            queue.first += 1;
            queue.len -= put.len;
            match put.state {
                State::Sealed(Ok(frames)) => {
                    let staged = Staged(Place::Blob(frames));
                    put_staged(&mut entries, &mut claims, &put.key, staged);
                }
                State::Sealed(Err(error)) => drop(queue.failure.get_or_insert(error)),
                State::Waiting(_) | State::Claimed => unreachable!("it is sealed"),
            }
        }
        if !claims.is_empty()
            && let Err(error) = self.commit(entries, claims, false)
        {
            queue.failure.get_or_insert(error);
        }
        self.count(queue);
    }

    fn count(&self, queue: &Queue) {
        let open_count = queue.open_count();
        self.behind.open_count.store(open_count, Ordering::Release);
    }

    /// Tells the first failure.
    fn told(&self, mut queue: Guard<'_>) -> Result<()> {
        let failure = queue.failure.take();
        self.count(&queue);
        failure.map_or(Ok(()), |error| Err(error.part("a value put before")))
    }
}

/// A number that no other running thread has.
fn this_thread() -> usize {
    thread_local! {
        static PLACE: u8 = const { 0 };
    }
    PLACE.with(|place| core::ptr::from_ref(place).addr())
}

fn is_sealed(put: &Put) -> bool {
    matches!(put.state, State::Sealed(_))
}

//! Backpressure: writers are slowed, then stopped, while flush and compaction are behind.
//!
//! - Stopped: as many full memtables wait as may, or level 0 is as long as it may be. So memory and
//!   the work of a read are bounded.
//! - Slowed: level 0 has grown long. Each batch waits in proportion to its length, the longer the
//!   nearer writers are to being stopped, so that few stops are left.
//! - Every wait ends by itself after a bounded time, and at once when a piece of work ends. A
//!   writer who waited in vain works itself, unless somebody does already.
//! - Every stop is an event; stops and slowdowns are counted.

use core::time::Duration;

use crate::db::Db;
use crate::env::{Event, StallCause};
use crate::error::Result;
use crate::options::Options;
use crate::stats::StallStats;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// How long a writer waits for the work of others before it helps.
const PATIENCE: Duration = Duration::from_millis(200);

/// Delays are saved up to this, so that a wait is worth its cost.
const DELAY_MIN: Duration = Duration::from_millis(1);

/// Longest delay of one batch.
const DELAY_MAX: Duration = Duration::from_millis(500);

/// Delay of a MiB right before writers are stopped.
const DELAY_PER_MIB: Duration = Duration::from_secs(1);

/// What the waits of writers came to so far.
#[derive(Default)]
pub(super) struct Backpressure {
    counts: Mutex<StallStats>,
    /// Delay that nobody has waited for yet, in nanoseconds.
    owed_ns: AtomicU64,
}

impl Backpressure {
    pub(super) fn stats(&self) -> StallStats {
        *self.counts.lock()
    }
}

/// A writer that is stopped.
pub(super) struct Stall {
    cause: StallCause,
    since: Duration,
}

impl Db {
    /// Why a writer must stop now, if it must; `wants_memtable`: does it need a new one?
    pub(super) fn stall_cause(&self, wants_memtable: bool) -> Option<StallCause> {
        if self.ingesting.is_taken() {
            // Its holder empties the memory of the store, and needs it to stay empty.
            return Some(StallCause::Memtables);
        }
        let (waiting_count, level_0_count) = {
            let view = self.super_version.read();
            (view.immutables.len(), view.version.level(0).len())
        };
        let level_0_max = self.options.level0_stall;
        // Where nothing can be compacted any more, waiting for it would never end.
        if level_0_count >= level_0_max.max(self.options.level0_trigger + 1)
            && !self.is_uncompactable()
        {
            return Some(StallCause::Level0);
        }
        let is_full = waiting_count >= self.options.memtable_count_max.max(1);
        (wants_memtable && is_full).then_some(StallCause::Memtables)
    }

    /// Waits once until flush or compaction have made some room, or does their work.
    pub(super) fn wait_for_room(&self, stall: &mut Option<Stall>, cause: StallCause) -> Result<()> {
        stall.get_or_insert_with(|| Stall {
            cause,
            since: self.env.clock.monotonic(),
        });
        let seen = self.work.done_count();
        let Some(cause) = self.stall_cause(cause == StallCause::Memtables) else {
            // The room was made since the writer looked.
            return Ok(());
        };
        self.work.ask();
        if self.work.is_attended() && self.work.wait_for_progress(seen, PATIENCE) {
            return Ok(());
        }
        // Nobody works for us, or not fast enough; an error of that work is ours too.
        let did = match cause {
            StallCause::Memtables => self.try_flush()?,
            StallCause::Level0 if self.compacting.lock().len() == 0 => self.try_compact()?,
            StallCause::Level0 => false,
        };
        if did {
            // Whoever once worked has gone, until it comes back.
            self.work.leave_alone();
        } else {
            self.work.wait_for_progress(seen, PATIENCE);
        }
        Ok(())
    }

    /// The writer goes on.
    pub(super) fn end_stall(&self, stall: &Stall) {
        let waited = self.env.clock.monotonic().saturating_sub(stall.since);
        let cause = stall.cause;
        {
            let mut counts = self.backpressure.counts.lock();
            match cause {
                StallCause::Memtables => counts.memtable_count += 1,
                StallCause::Level0 => counts.level0_count += 1,
            }
            counts.waited += waited;
            counts.waited_max = counts.waited_max.max(waited);
        }
        self.env.listener.event(&Event::Stalled { cause, waited });
    }

    /// Slows the writer of a batch of `len` bytes, where somebody works for it.
    pub(super) fn slow_down(&self, len: usize) {
        let level_0_count = self.super_version.read().version.level(0).len();
        let delay = delay(&self.options, level_0_count, len);
        if delay == Duration::ZERO || !self.work.is_attended() {
            return;
        }
        let owed_ns = &self.backpressure.owed_ns;
        let delay_ns = delay.as_nanos() as u64;
        if owed_ns.fetch_add(delay_ns, Ordering::Relaxed) + delay_ns < DELAY_MIN.as_nanos() as u64 {
            return;
        }
        let owed = Duration::from_nanos(owed_ns.swap(0, Ordering::Relaxed));
        self.work.ask();
        let started = self.env.clock.monotonic();
        let seen = self.work.done_count();
        self.work.wait_for_progress(seen, owed.min(DELAY_MAX));
        let waited = self.env.clock.monotonic().saturating_sub(started);
        let mut counts = self.backpressure.counts.lock();
        counts.slowdown_count += 1;
        counts.slowed += waited;
    }
}

/// How long a batch of `len` bytes is held back.
fn delay(options: &Options, level_0_count: usize, len: usize) -> Duration {
    let (slow, stall) = (options.level0_slow, options.level0_stall);
    let over = level_0_count.saturating_sub(slow) as u64;
    let range = stall.saturating_sub(slow).max(1) as u64;
    let over = over.min(range);
    // The square: hardly anything at first, nearly a stop at the end.
    let per_mib = DELAY_PER_MIB.as_nanos() as u64 * over * over / (range * range);
    Duration::from_nanos(per_mib.saturating_mul(len as u64) >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_with_level_0_and_with_the_batch() {
        let options = Options {
            level0_slow: 10,
            level0_stall: 20,
            ..Options::default()
        };
        let at = |count, len| delay(&options, count, len);
        assert_eq!(at(10, 1 << 20), Duration::ZERO);
        assert_eq!(at(15, 1 << 20), DELAY_PER_MIB / 4);
        assert_eq!(at(15, 1 << 19), DELAY_PER_MIB / 8);
        assert_eq!(at(20, 1 << 20), DELAY_PER_MIB);
        assert_eq!(at(99, 1 << 20), DELAY_PER_MIB);
        assert!((10..20).all(|count| at(count, 1000) <= at(count + 1, 1000)));
    }
}

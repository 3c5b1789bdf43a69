//! Bounds the bytes per second that compactions write.
//!
//! - A compaction that wrote ahead of its allowance waits for a bounded time; flushes never do.
//! - How long is a pure decision over the clock of the environment.

use alloc::sync::Arc;
use core::time::Duration;

use crate::env::Clock;
use crate::sync::{Condvar, Mutex};

/// Longest wait between two looks at whether the work is still wanted.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// How much a compaction may write at once after a pause.
const BURST: Duration = Duration::from_millis(250);

/// Shared by all compactions of a store.
pub(super) struct RateLimiter {
    clock: Arc<dyn Clock>,
    /// 0: no bound.
    bytes_per_s: u64,
    /// When everything written so far is within the allowance.
    even_at: Mutex<Duration>,
    woken: Condvar,
}

impl RateLimiter {
    pub(super) fn new(clock: Arc<dyn Clock>, bytes_per_s: u64) -> Self {
        Self {
            clock,
            bytes_per_s,
            even_at: Mutex::new(Duration::ZERO),
            woken: Condvar::new(),
        }
    }

    /// Waits until `len` more bytes are within the allowance, or are not wanted any more.
    pub(super) fn take(&self, len: u64, is_wanted: &dyn Fn() -> bool) {
        if self.bytes_per_s == 0 || len == 0 {
            return;
        }
        let mut even_at = self.even_at.lock();
        let now = self.clock.monotonic();
        *even_at = charge(*even_at, now, len, self.bytes_per_s);
        let mut wait = even_at.saturating_sub(now);
        while wait > Duration::ZERO && is_wanted() {
            let part = wait.min(WAIT_MAX);
            even_at = self.woken.wait_timeout(&self.even_at, even_at, part);
            wait -= part;
        }
    }
}

/// When `len` more bytes are within the allowance.
fn charge(even_at: Duration, now: Duration, len: u64, bytes_per_s: u64) -> Duration {
    let cost = u128::from(len) * 1_000_000_000 / u128::from(bytes_per_s.max(1));
    let cost = Duration::from_nanos(u64::try_from(cost).unwrap_or(u64::MAX));
    even_at.max(now.saturating_sub(BURST)).saturating_add(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allowance_grows_with_time_and_a_pause_saves_little() {
        let s = Duration::from_secs;
        let mut even_at = Duration::ZERO;
        for i in 0..10 {
            even_at = charge(even_at, s(100), 1000, 1000);
            assert_eq!(even_at, s(100) - BURST + s(i + 1));
        }
        assert_eq!(charge(even_at, s(500), 500, 1000), s(500) + BURST);
        assert!(charge(Duration::MAX, s(1), u64::MAX, 1) == Duration::MAX);
    }
}

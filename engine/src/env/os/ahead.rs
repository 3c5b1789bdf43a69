//! What a file that is read in order should fetch before it is asked for.
//!
//! - The kernel looks at one reader who goes forward. Here several threads read one file, each a
//!   little ahead of or behind the others, and its guess is lost; this one allows for that.
//! - Pure arithmetic: whoever calls does the fetching.

use core::ops::Range;

/// So far behind or before the foremost read a read still counts as the next one.
const NEAR_LEN: u64 = 4 << 20;
/// So many bytes in order make a reader in order.
const STREAK_LEN: u64 = 512 << 10;
/// Bytes kept on their way ahead of the foremost read: what a fast disk delivers in a few
/// milliseconds.
const WINDOW_LEN: u64 = 8 << 20;
/// Fetched at once.
const STEP_LEN: u64 = 1 << 20;

/// The place of the readers of one file.
#[derive(Debug, Default)]
pub(super) struct Readahead {
    /// Where the foremost read ended.
    foremost: u64,
    /// Bytes read in order.
    streak: u64,
    /// Where what was fetched ends.
    fetched: u64,
}

impl Readahead {
    /// Notes a read; returns what to fetch now.
    pub(super) fn note(&mut self, offset: u64, len: usize) -> Option<Range<u64>> {
        let len = len as u64;
        let end = offset.saturating_add(len);
        if offset.abs_diff(self.foremost) > NEAR_LEN {
            *self = Self {
                foremost: end,
                streak: len,
                fetched: end,
            };
            return None;
        }
        self.foremost = self.foremost.max(end);
        self.streak = self.streak.saturating_add(len);
        self.fetched = self.fetched.max(self.foremost);
        if self.streak < STREAK_LEN || self.fetched - self.foremost >= WINDOW_LEN {
            return None;
        }
        let start = self.fetched;
        self.fetched = start.saturating_add(STEP_LEN);
        Some(start..self.fetched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ_LEN: usize = 128 << 10;

    #[test]
    fn readers_in_order_find_everything_fetched() {
        let mut ahead = Readahead::default();
        let mut fetched = 0;
        // Pairs of threads overtake each other.
        for index in (0..1000_u64).map(|index| index ^ 1) {
            let offset = index * READ_LEN as u64;
            assert!(index < 16 || offset + (READ_LEN as u64) < fetched);
            if let Some(range) = ahead.note(offset, READ_LEN) {
                assert!(fetched == 0 || range.start == fetched, "nothing twice");
                fetched = range.end;
            }
            assert!(fetched <= offset + WINDOW_LEN + STEP_LEN + 2 * READ_LEN as u64);
        }
    }

    #[test]
    fn scattered_readers_fetch_nothing() {
        let mut ahead = Readahead::default();
        for index in 0..1000_u64 {
            let offset = (index * 7919 % 1000) << 24;
            assert_eq!(ahead.note(offset, 4096), None);
        }
        assert_eq!(ahead.note(u64::MAX, usize::MAX), None);
    }
}

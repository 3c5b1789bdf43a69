//! How large each level may grow, and how full it is.
//!
//! - Level sizes are dynamic: they are computed up from the deepest level that holds data, so
//!   that most of the data lies in the last level however small the store is.
//! - Tables that a running compaction takes away do not count.

use crate::compaction::claims::Claims;
use crate::options::Options;
use crate::version::{LEVEL_COUNT, Version};

pub(super) const BOTTOM: usize = LEVEL_COUNT - 1;

/// Score of a level that has just reached its target.
pub(super) const FULL: u64 = 1000;

/// Score of a level 0 that is about to stop writers: before all others.
const URGENT: u64 = 1 << 40;

/// How large each level may grow.
pub(super) struct Targets {
    /// Where level 0 goes.
    pub(super) base: usize,
    lens: [u64; LEVEL_COUNT],
}

impl Targets {
    pub(super) fn new(version: &Version, options: &Options) -> Self {
        let base_len = options.level_base_len.max(1);
        let ratio = options.level_ratio.max(2);
        let mut lens = [u64::MAX; LEVEL_COUNT];
        let mut base = BOTTOM;
        let mut target = version.level_len(BOTTOM).max(base_len);
        while target > base_len && base > 1 {
            target = (target / ratio).max(base_len);
            base -= 1;
            lens[base] = target;
        }
        // Data above the base comes from a time when the store was larger: it goes down first.
        if let Some(first) = (1..base).find(|&level| !version.level(level).is_empty()) {
            for len in &mut lens[first..base] {
                *len = 1;
            }
            base = first;
        }
        Self { base, lens }
    }

    /// How full a level is; [`FULL`] asks for a compaction.
    pub(super) fn score(
        &self,
        version: &Version,
        options: &Options,
        claims: &Claims,
        level: usize,
    ) -> u64 {
        let tables = version.level(level).iter().map(|table| table.meta());
        let free = tables.filter(|meta| !claims.is_claimed(meta.number));
        if level == 0 {
            let score = ratio(free.count() as u64, options.level0_trigger as u64);
            let is_urgent = 2 * version.level(0).len() >= options.level0_stall;
            return if is_urgent {
                score.saturating_mul(URGENT)
            } else {
                score
            };
        }
        ratio(free.map(|meta| meta.root.len).sum(), self.lens[level])
    }
}

fn ratio(len: u64, target: u64) -> u64 {
    len.saturating_mul(FULL) / target.max(1)
}

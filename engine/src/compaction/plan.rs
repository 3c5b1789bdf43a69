//! A plan: the tables that one compaction merges, and where the outcome goes.
//!
//! - With its upper tables a plan takes every table of the output level that they overlap, so its
//!   outputs fit between those that stay.
//! - A plan is a trivial move when nothing has to be merged, no range tombstones have arrived where
//!   nothing lies beneath them, and the moved tables do not overlap too much of the level after the
//!   next: the edit alone does it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::options::Options;
use crate::table::LiveTable;
use crate::tombstone::successor;
use crate::version::Version;

/// Tables to merge, and where the outcome goes.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Where the upper inputs are.
    pub(crate) level: usize,
    /// Where the output goes.
    pub(crate) output_level: usize,
    /// Tables of `level`.
    pub(crate) upper: Vec<Arc<LiveTable>>,
    /// Tables of `output_level`; empty when both levels are the same.
    pub(crate) lower: Vec<Arc<LiveTable>>,
    /// Nothing to merge: only the level changes.
    pub(crate) trivial: bool,
}

impl Plan {
    /// A plan to bring `upper` from `level` to `output_level`.
    pub(super) fn new(
        version: &Version,
        options: &Options,
        level: usize,
        output_level: usize,
        upper: Vec<Arc<LiveTable>>,
    ) -> Self {
        let overlapping = |level: usize| match key_range(&upper) {
            Some((smallest, largest)) => version.overlapping(level, smallest, largest),
            None => Vec::new(),
        };
        let lower = if level == output_level {
            Vec::new()
        } else {
            overlapping(output_level)
        };
        let next_len: u64 = overlapping(output_level + 1)
            .iter()
            .map(|table| table.meta().root.len)
            .sum();
        let is_spent = |table: &Arc<LiveTable>| {
            let (smallest, end) = (&table.meta().smallest, successor(&table.meta().largest));
            table.meta().has_ranges() && !version.overlaps_below(output_level, smallest, &end)
        };
        let trivial = level != output_level
            && !upper.iter().any(is_spent)
            && lower.is_empty()
            && are_disjoint(&upper)
            && next_len <= overlap_len_max(options).saturating_mul(upper.len() as u64);
        Self {
            level,
            output_level,
            upper,
            lower,
            trivial,
        }
    }

    /// All inputs with their levels.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = (usize, &Arc<LiveTable>)> {
        let upper = self.upper.iter().map(|table| (self.level, table));
        upper.chain(self.lower.iter().map(|table| (self.output_level, table)))
    }

    /// All inputs in runs of tables that ascend and do not overlap.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &[Arc<LiveTable>]> {
        let run_len = match self.level {
            0 => 1,
            _ => self.upper.len().max(1),
        };
        core::iter::once(self.lower.as_slice()).chain(self.upper.chunks(run_len))
    }

    /// Bytes to read.
    pub(crate) fn input_len(&self) -> u64 {
        self.inputs().map(|(_, table)| table.meta().root.len).sum()
    }

    /// The smallest and the largest key of all inputs: outputs lie in between.
    pub(super) fn hull(&self) -> Option<(&[u8], &[u8])> {
        let tables = || self.inputs().map(|(_, table)| table.meta());
        let smallest = tables().map(|meta| meta.smallest.as_slice()).min()?;
        let largest = tables().map(|meta| meta.largest.as_slice()).max()?;
        Some((smallest, largest))
    }

    /// Tables of level 0 become one table of level 0.
    pub(crate) const fn is_within_level_0(&self) -> bool {
        self.level == 0 && self.output_level == 0
    }
}

/// Bytes of the level below that a table may overlap: what a later compaction of it rewrites.
pub(super) const fn overlap_len_max(options: &Options) -> u64 {
    options
        .table_len
        .saturating_mul(2)
        .saturating_mul(options.level_ratio)
}

pub(super) fn key_range(tables: &[Arc<LiveTable>]) -> Option<(&[u8], &[u8])> {
    let metas = || tables.iter().map(|table| table.meta());
    let smallest = metas().map(|meta| meta.smallest.as_slice()).min()?;
    let largest = metas().map(|meta| meta.largest.as_slice()).max()?;
    Some((smallest, largest))
}

fn are_disjoint(tables: &[Arc<LiveTable>]) -> bool {
    let mut ranges: Vec<_> = tables
        .iter()
        .map(|table| (&table.meta().smallest, &table.meta().largest))
        .collect();
    ranges.sort();
    ranges.windows(2).all(|pair| pair[0].1 < pair[1].0)
}

//! Where a compaction is cut: into pieces for threads, and its output into tables.
//!
//! - Both cut between two user keys, so that all versions of a key stay together.
//! - Pieces begin where tables of the output level begin; tables end there or, at the latest, when
//!   they overlap so much of the next level that moving them down later would rewrite too much.
//! - Pure: nothing here reads a table.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::compaction::plan::overlap_len_max;
use crate::options::Options;
use crate::table::LiveTable;
use crate::version::Version;

/// The inner boundaries of at most `count_max` pieces of about the same length. `anchors` are keys
/// in ascending order, each with the bytes between it and the next one.
pub(crate) fn split(anchors: &[(Vec<u8>, u64)], count_max: usize) -> Vec<Vec<u8>> {
    let total: u64 = anchors.iter().map(|(_, len)| len).sum();
    let count = count_max.max(1) as u64;
    let mut boundaries: Vec<Vec<u8>> = Vec::new();
    let mut before = 0;
    for (key, len) in anchors {
        let next = boundaries.len() as u64 + 1;
        let is_behind = boundaries.last().is_none_or(|last| last < key);
        if before > 0 && next < count && before * count >= total * next && is_behind {
            boundaries.push(key.clone());
        }
        before += len;
    }
    boundaries
}

/// Says when an output table ends.
pub(crate) struct Cutter {
    table_len: u64,
    overlap_len_max: u64,
    /// Tables of the level below the output, in order.
    next: Vec<Arc<LiveTable>>,
    index: usize,
    /// Bytes of those that lie wholly between the first key of this output and the current one.
    overlap_len: u64,
}

impl Cutter {
    /// Never cuts.
    pub(crate) const fn never() -> Self {
        Self {
            table_len: u64::MAX,
            overlap_len_max: u64::MAX,
            next: Vec::new(),
            index: 0,
            overlap_len: 0,
        }
    }

    /// For outputs to `level`.
    pub(crate) fn new(version: &Version, options: &Options, level: usize) -> Self {
        if level == 0 {
            return Self::never();
        }
        Self {
            table_len: options.table_len,
            overlap_len_max: overlap_len_max(options),
            next: version.level(level + 1).to_vec(),
            ..Self::never()
        }
    }

    /// Does the table end before `key`, the next new key, when it has `len` bytes so far? 0: there
    /// is no table yet.
    pub(crate) fn ends_before(&mut self, key: &[u8], len: u64) -> bool {
        let mut crosses = false;
        while let Some(table) = self.next.get(self.index)
            && *table.meta().largest < *key
        {
            self.overlap_len += table.meta().root.len;
            self.index += 1;
            crosses = true;
        }
        let nearly = self.table_len - self.table_len / 4;
        let ends = len >= self.table_len
            || (crosses && (self.overlap_len > self.overlap_len_max || len >= nearly));
        if ends || len == 0 {
            self.overlap_len = 0;
        }
        ends && len > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::FileRoot;
    use crate::table::TableMeta;
    use alloc::format;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_are_even_and_begin_at_anchors(
            lens in prop::collection::vec(0_u64..50, 0..60),
            count in 1_usize..9,
        ) {
            let anchors: Vec<_> = (0_u8..).zip(&lens).map(|(i, len)| (Vec::from([i]), *len)).collect();
            let boundaries = split(&anchors, count);
            prop_assert!(boundaries.len() < count);
            prop_assert!(boundaries.is_sorted_by(|a, b| a < b));
            let (total, largest) = (lens.iter().sum::<u64>(), lens.iter().max().copied().unwrap_or(0));
            let ends = boundaries.iter().map(|b| usize::from(b[0])).chain([lens.len()]);
            let mut from = 0;
            for end in ends {
                prop_assert!(end > from || lens.is_empty());
                let len: u64 = lens[from..end].iter().sum();
                prop_assert!(len <= total.div_ceil(count as u64) + largest, "{len} of {total}");
                from = end;
            }
        }

        #[test]
        fn tables_overlap_little_of_the_next_level(
            steps in prop::collection::vec((1_u32..40, 1_u64..6), 1..300),
            below in prop::collection::vec((1_u32..60, 0_u32..30, 1_u64..40), 0..40),
        ) {
            let options = Options { table_len: 40, level_ratio: 2, ..Options::default() };
            let mut at = 0;
            let added: Vec<_> = (0_u64..).zip(below).map(|(number, (gap, width, len))| {
                let smallest = at + gap;
                at = smallest + width;
                (2, LiveTable::new(TableMeta {
                    number,
                    smallest: format!("{smallest:08}").into(),
                    largest: format!("{at:08}").into(),
                    root: FileRoot { len, root: [0; 32] },
                    ..TableMeta::new(0)
                }))
            }).collect();
            let version = Version::empty().apply(&[], &added).unwrap();
            let mut cutter = Cutter::new(&version, &options, 1);
            let (mut at, mut len, mut first) = (0, 0, 0);
            for (step, add) in steps {
                let previous = at;
                at += step;
                if cutter.ends_before(format!("{at:08}").as_bytes(), len) {
                    prop_assert!(len <= 40 + 5);
                    let (a, b) = (format!("{first:08}"), format!("{previous:08}"));
                    let tables = version.overlapping(2, a.as_bytes(), b.as_bytes());
                    let inner = tables.len().saturating_sub(2);
                    let overlap: u64 = tables.iter().skip(1).take(inner).map(|t| t.meta().root.len).sum();
                    prop_assert!(overlap <= 160, "{overlap}");
                    len = 0;
                }
                if len == 0 {
                    first = at;
                }
                len += add;
            }
        }
    }
}

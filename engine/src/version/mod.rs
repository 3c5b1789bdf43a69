//! A version: which tables are live, and where.
//!
//! - A version never changes; an edit makes a new one.
//! - Level 0 is sorted newest first and may overlap; in all deeper levels tables ascend and no
//!   user key is in two of them.
//! - For every key, whatever is in a level is newer than whatever is in a deeper one.
//! - Who holds a version holds its tables: their files stay until nobody does.

mod edit;

use alloc::sync::Arc;
use alloc::vec::Vec;

pub(crate) use edit::VersionEdit;
pub use edit::{AnnexUpdates, LEVEL_COUNT};

use crate::error::{Error, Result};
use crate::table::LiveTable;

/// The live tables of a moment.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    levels: [Vec<Arc<LiveTable>>; LEVEL_COUNT],
    /// Tables with range tombstones: each of level 0 alone, those of a deeper level together.
    with_ranges: Vec<Vec<Arc<LiveTable>>>,
}

impl Version {
    /// No tables at all.
    pub(crate) fn empty() -> Self {
        Self {
            levels: core::array::from_fn(|_| Vec::new()),
            with_ranges: Vec::new(),
        }
    }

    /// The tables of a level; none for a level that does not exist.
    pub(crate) fn level(&self, level: usize) -> &[Arc<LiveTable>] {
        self.levels.get(level).map_or(&[], Vec::as_slice)
    }

    /// All tables with their levels.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (usize, &Arc<LiveTable>)> {
        self.levels
            .iter()
            .enumerate()
            .flat_map(|(level, list)| list.iter().map(move |t| (level, t)))
    }

    /// The table of a level below 0 that may hold `key`.
    pub(crate) fn table_for(&self, level: usize, key: &[u8]) -> Option<&Arc<LiveTable>> {
        self.first_from(level, key)
            .filter(|table| *table.meta().smallest <= *key)
    }

    /// The first table of a level below 0 that may hold keys at or behind `key`.
    pub(crate) fn first_from(&self, level: usize, key: &[u8]) -> Option<&Arc<LiveTable>> {
        let tables = self.level(level);
        tables.get(tables.partition_point(|table| *table.meta().largest < *key))
    }

    /// The tables of a level that may hold keys of `smallest..=largest`.
    pub(crate) fn overlapping(
        &self,
        level: usize,
        smallest: &[u8],
        largest: &[u8],
    ) -> Vec<Arc<LiveTable>> {
        let tables = self.level(level);
        let from = match level {
            0 => 0,
            _ => tables.partition_point(|table| *table.meta().largest < *smallest),
        };
        let tables = tables[from..].iter();
        let ends = |table: &&Arc<LiveTable>| level > 0 && *table.meta().smallest > *largest;
        tables
            .take_while(|table| !ends(table))
            .filter(|table| table.meta().overlaps(smallest, largest))
            .cloned()
            .collect()
    }

    /// Bytes of a level.
    pub(crate) fn level_len(&self, level: usize) -> u64 {
        self.level(level)
            .iter()
            .map(|table| table.meta().root.len)
            .sum()
    }

    /// May any level deeper than `level` hold `key`?
    pub(crate) fn holds_below(&self, level: usize, key: &[u8]) -> bool {
        (level + 1..LEVEL_COUNT).any(|level| self.table_for(level, key).is_some())
    }

    /// Tables with range tombstones, in runs of tables that ascend and do not overlap.
    pub(crate) fn with_ranges(&self) -> &[Vec<Arc<LiveTable>>] {
        &self.with_ranges
    }

    /// May any level deeper than `level` hold keys from `start` on, before `end`?
    pub(crate) fn overlaps_below(&self, level: usize, start: &[u8], end: &[u8]) -> bool {
        let deeper = level + 1..LEVEL_COUNT;
        let mut firsts = deeper.filter_map(|level| self.first_from(level, start));
        firsts.any(|table| *table.meta().smallest < *end)
    }

    /// The version after an edit; removed tables must be there, added ones must not overlap.
    pub(crate) fn apply(
        &self,
        removed: &[(usize, u64)],
        added: &[(usize, Arc<LiveTable>)],
    ) -> Result<Self> {
        let mut levels = self.levels.clone();
        for &(level, number) in removed {
            let list = levels.get_mut(level).ok_or_else(no_level)?;
            let index = list.iter().position(|table| table.meta().number == number);
            let index = index.ok_or_else(|| {
                Error::corruption("the manifest removes a table that is not there")
            })?;
            list.remove(index);
        }
        for (level, table) in added {
            let list = levels.get_mut(*level).ok_or_else(no_level)?;
            let meta = table.meta();
            let index = if *level == 0 {
                list.partition_point(|other| {
                    let other = other.meta();
                    (other.last_seqno, other.number) > (meta.last_seqno, meta.number)
                })
            } else {
                list.partition_point(|other| other.meta().smallest < meta.smallest)
            };
            list.insert(index, Arc::clone(table));
        }
        let with_ranges = with_ranges(&levels);
        let version = Self {
            levels,
            with_ranges,
        };
        version.check()?;
        Ok(version)
    }

    fn check(&self) -> Result<()> {
        let overlap = self.levels.iter().skip(1).any(|list| {
            list.windows(2)
                .any(|pair| pair[0].meta().largest >= pair[1].meta().smallest)
        });
        if overlap {
            return Err(Error::corruption(
                "tables of one level overlap in the manifest",
            ));
        }
        Ok(())
    }
}

fn with_ranges(levels: &[Vec<Arc<LiveTable>>; LEVEL_COUNT]) -> Vec<Vec<Arc<LiveTable>>> {
    let has_ranges = |table: &&Arc<LiveTable>| table.meta().has_ranges();
    let (level_0, deeper) = levels.split_at(1);
    let level_0 = level_0.iter().flat_map(|list| list.chunks(1));
    let runs = level_0.chain(deeper.iter().map(Vec::as_slice));
    let runs = runs.map(|run| run.iter().filter(has_ranges).cloned().collect());
    runs.filter(|run: &Vec<_>| !run.is_empty()).collect()
}

fn no_level() -> Error {
    Error::corruption("the manifest names a level that does not exist")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::TableMeta;

    fn table(number: u64, smallest: &str, largest: &str) -> Arc<LiveTable> {
        LiveTable::new(TableMeta {
            number,
            smallest: smallest.into(),
            largest: largest.into(),
            last_seqno: number,
            ..TableMeta::new(0)
        })
    }

    fn numbers(version: &Version, level: usize) -> Vec<u64> {
        version
            .level(level)
            .iter()
            .map(|table| table.meta().number)
            .collect()
    }

    #[test]
    fn level_0_is_newest_first_and_others_ascend() {
        let added = [
            (0, table(3, "a", "z")),
            (0, table(5, "a", "b")),
            (0, table(4, "c", "d")),
        ];
        let version = Version::empty().apply(&[], &added).unwrap();
        assert_eq!(numbers(&version, 0), [5, 4, 3]);
        let added = [
            (2, table(8, "m", "p")),
            (2, table(9, "a", "c")),
            (2, table(7, "q", "q")),
        ];
        let version = version.apply(&[(0, 4)], &added).unwrap();
        assert_eq!(numbers(&version, 0), [5, 3]);
        assert_eq!(numbers(&version, 2), [9, 8, 7]);
        let found = |key: &str| {
            version
                .table_for(2, key.as_bytes())
                .map(|t| t.meta().number)
        };
        assert_eq!(
            ["a", "b", "c", "d", "m", "q", "r"].map(found),
            [Some(9), Some(9), Some(9), None, Some(8), Some(7), None]
        );
        assert!(version.holds_below(1, b"n") && !version.holds_below(2, b"n"));
    }

    #[test]
    fn impossible_edits_are_refused() {
        let version = Version::empty()
            .apply(&[], &[(1, table(1, "b", "d"))])
            .unwrap();
        assert!(version.apply(&[(1, 2)], &[]).is_err());
        assert!(version.apply(&[(0, 1)], &[]).is_err());
        assert!(version.apply(&[], &[(1, table(2, "d", "e"))]).is_err());
        assert!(version.apply(&[], &[(1, table(2, "a", "b"))]).is_err());
        assert!(version.apply(&[(1, 1)], &[(1, table(2, "a", "b"))]).is_ok());
    }
}

//! On which levels tables may stand, where only their contents tell which is newer.
//!
//! - For every key, whatever is in a level is newer than whatever is in a deeper one; tables of a
//!   level below 0 do not overlap; level 0 is in the order of sequence numbers. That is all that a
//!   version asks for, so any arrangement that keeps it is right.
//! - Each table is put as deep as it goes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::error::{Error, Result};
use crate::table::TableMeta;
use crate::version::LEVEL_COUNT;

/// The level of each table, by index. `newer`: of two tables that overlap, does the first one hold
/// newer entries (`Less`: it belongs above), older ones, or no key of the other?
pub(super) fn arrange(
    tables: &[&TableMeta],
    newer: &mut dyn FnMut(usize, usize) -> Result<Ordering>,
) -> Result<Vec<usize>> {
    let overlaps = overlaps(tables);
    let mut above: Vec<Vec<usize>> = tables.iter().map(|_| Vec::new()).collect();
    let mut below_counts: Vec<usize> = tables.iter().map(|_| 0).collect();
    for (&a, others) in &overlaps {
        for &b in others.iter().filter(|&&b| a < b) {
            let (upper, lower) = match newer(a, b)? {
                Ordering::Less => (a, b),
                Ordering::Greater => (b, a),
                Ordering::Equal => continue,
            };
            above[lower].push(upper);
            below_counts[upper] += 1;
        }
    }
    let mut levels: Vec<Option<usize>> = tables.iter().map(|_| None).collect();
    // The deepest level that those beneath leave.
    let mut lowest: Vec<usize> = tables.iter().map(|_| LEVEL_COUNT - 1).collect();
    let is_free = |&index: &usize| below_counts[index] == 0;
    let mut ready: Vec<usize> = (0..tables.len()).filter(is_free).collect();
    while let Some(index) = ready.pop() {
        let empty = Vec::new();
        let others = overlaps.get(&index).unwrap_or(&empty);
        let is_taken = |level| others.iter().any(|&other| levels[other] == Some(level));
        let level = (1..=lowest[index]).rev().find(|&level| !is_taken(level));
        let level = level.unwrap_or(0);
        levels[index] = Some(level);
        for &upper in &above[index] {
            lowest[upper] = lowest[upper].min(level.saturating_sub(1));
            below_counts[upper] -= 1;
            if below_counts[upper] == 0 {
                ready.push(upper);
            }
        }
    }
    check_level_0(tables, &levels, &above)?;
    let levels: Option<Vec<usize>> = levels.into_iter().collect();
    levels.ok_or_else(|| cannot("tables are newer than each other"))
}

/// Tables of level 0 stand in the order of their newest entries, whatever we would like.
fn check_level_0(
    tables: &[&TableMeta],
    levels: &[Option<usize>],
    above: &[Vec<usize>],
) -> Result<()> {
    let place = |index: usize| (tables[index].last_seqno, tables[index].number);
    for (lower, uppers) in above.iter().enumerate() {
        let is_wrong = |&upper: &usize| levels[upper] == Some(0) && place(upper) < place(lower);
        if levels[lower] == Some(0) && uppers.iter().any(is_wrong) {
            return Err(cannot(
                "more tables lie above each other than there are levels",
            ));
        }
    }
    Ok(())
}

fn cannot(why: &'static str) -> Error {
    Error::unsupported("the tables cannot be arranged in levels").because(why)
}

/// The tables that each table overlaps, where it overlaps any.
fn overlaps(tables: &[&TableMeta]) -> BTreeMap<usize, Vec<usize>> {
    let mut order: Vec<usize> = (0..tables.len()).collect();
    order.sort_by_key(|&index| &tables[index].smallest);
    let mut found: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut open: Vec<usize> = Vec::new();
    for index in order {
        open.retain(|&other| tables[other].largest >= tables[index].smallest);
        for &other in &open {
            found.entry(index).or_default().push(other);
            found.entry(other).or_default().push(index);
        }
        open.push(index);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn table(number: u64, smallest: u8, largest: u8) -> TableMeta {
        TableMeta {
            smallest: vec![smallest],
            largest: vec![largest],
            last_seqno: number,
            ..TableMeta::new(number)
        }
    }

    proptest! {
        /// Newer tables have higher numbers here: no arrangement puts one below what it hides.
        #[test]
        fn newer_tables_stand_above(
            ranges in prop::collection::vec((0_u8..50, 0_u8..20, any::<bool>()), 0..20),
        ) {
            let tables: Vec<_> = (1..).zip(&ranges).map(|(n, (a, len, _))| table(n, *a, a + len)).collect();
            let metas: Vec<_> = tables.iter().collect();
            let shares = |a: usize, b: usize| ranges[a].2 || ranges[b].2;
            let levels = arrange(&metas, &mut |a, b| {
                Ok(if shares(a, b) { b.cmp(&a) } else { Ordering::Equal })
            }).unwrap();
            for a in 0..tables.len() {
                for b in 0..a {
                    if tables[a].overlaps(&tables[b].smallest, &tables[b].largest) {
                        prop_assert!(levels[a] != levels[b] || levels[a] == 0);
                        prop_assert!(!shares(a, b) || levels[a] <= levels[b]);
                    }
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_arranged_is_refused() {
        let tables: Vec<_> = (1..=9).map(|number| table(number, 1, 2)).collect();
        let metas: Vec<_> = tables.iter().collect();
        // The older ones would have to stand above.
        assert!(arrange(&metas, &mut |a, b| Ok(a.cmp(&b))).is_err());
        assert!(arrange(&metas[..6], &mut |a, b| Ok(a.cmp(&b))).is_ok());
        // In a circle.
        assert!(
            arrange(&metas[..3], &mut |a, b| Ok(if b - a == 1 {
                Ordering::Less
            } else {
                Ordering::Greater
            }))
            .is_err()
        );
    }
}

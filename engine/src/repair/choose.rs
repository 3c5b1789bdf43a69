//! Which of the tables that are there belong to the store: a pure decision over their lineage.
//!
//! - Of a compaction either the inputs are taken or the outputs, never both.
//! - A compaction was committed if an input is gone or obsolete, because that happens only after the
//!   edit, or if something was made of an output. Then the outputs rule.
//! - A table was no part of the store any more if a later one says so.
//! - Otherwise the outputs of a compaction rule if they answer for all that the
//!   inputs hold, and else the inputs.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::table::Lineage;

/// What happened to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It belongs to the store.
    Taken,
    /// Outputs of a compaction stand for it.
    Superseded,
    /// It is an output of a compaction that did not come to its end.
    Unfinished,
}

/// Decides about the readable `tables`; `all` are the numbers of all table files, readable or not.
/// `covers`: do these outputs answer for all that these inputs hold?
pub(super) fn choose(
    tables: &BTreeMap<u64, Option<Lineage>>,
    all: &BTreeSet<u64>,
    covers: &mut dyn FnMut(&[u64], &[u64]) -> bool,
) -> BTreeMap<u64, Fate> {
    let mut compactions: BTreeMap<u64, (&Lineage, Vec<u64>)> = BTreeMap::new();
    let mut consumed = BTreeSet::new();
    for (&number, lineage) in tables {
        if let Some(lineage) = lineage.as_ref().filter(|lineage| lineage.compaction > 0) {
            consumed.extend(lineage.inputs.iter().copied());
            let (_, outputs) = compactions
                .entry(lineage.compaction)
                .or_insert_with(|| (lineage, Vec::new()));
            outputs.push(number);
        }
    }
    let mut fates: BTreeMap<u64, Fate> = tables.keys().map(|&n| (n, Fate::Taken)).collect();
    let obsolete = tables.values().flatten().flat_map(|l| &l.obsolete);
    let obsolete: BTreeSet<u64> = obsolete.copied().collect();
    for number in &obsolete {
        fates
            .entry(*number)
            .and_modify(|fate| *fate = Fate::Superseded);
    }
    for (lineage, outputs) in compactions.values() {
        let inputs = &lineage.inputs;
        let is_gone = |input| !all.contains(input) || obsolete.contains(input);
        let was_live = |output| consumed.contains(output) || obsolete.contains(output);
        let is_committed = inputs.iter().any(is_gone) || outputs.iter().any(was_live);
        let (losers, fate) = if is_committed || covers(inputs, outputs) {
            (inputs, Fate::Superseded)
        } else {
            (outputs, Fate::Unfinished)
        };
        for loser in losers {
            if let Some(slot) = fates.get_mut(loser) {
                *slot = fate;
            }
        }
    }
    fates
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn made(compaction: u64, inputs: &[u64]) -> Option<Lineage> {
        Some(Lineage {
            level: 1,
            compaction,
            flushed_seqno: 0,
            inputs: inputs.to_vec(),
            obsolete: Vec::new(),
        })
    }

    fn taken(tables: &[(u64, Option<Lineage>)], others: &[u64], covers: bool) -> Vec<u64> {
        let tables: BTreeMap<_, _> = tables.iter().cloned().collect();
        let all = tables.keys().chain(others).copied().collect();
        let fates = choose(&tables, &all, &mut |_, _| covers);
        let taken = fates.into_iter().filter(|(_, fate)| *fate == Fate::Taken);
        taken.map(|(number, _)| number).collect()
    }

    #[test]
    fn outputs_or_inputs_and_never_both() {
        let flushed = || made(0, &[]);
        let both = [
            (1, flushed()),
            (2, flushed()),
            (4, made(3, &[1, 2])),
            (5, made(3, &[1, 2])),
        ];
        assert_eq!(taken(&both, &[], true), vec![4, 5]);
        assert_eq!(taken(&both, &[], false), vec![1, 2]);
        // An unreadable input is there, and decides nothing.
        assert_eq!(taken(&both[1..], &[1], false), vec![2]);
        // An input is gone: the edit was durable.
        assert_eq!(taken(&both[1..], &[], false), vec![4, 5]);
        assert_eq!(taken(&both[2..], &[], false), vec![4, 5]);
    }

    #[test]
    fn what_was_made_of_an_output_proves_the_compaction() {
        // Outputs 4 of 3 are gone; 1 and 2 are still held.
        let tables = [
            (1, made(0, &[])),
            (2, None),
            (5, made(3, &[1, 2])),
            (7, made(6, &[4, 5])),
        ];
        assert_eq!(taken(&tables, &[], false), vec![7]);
        // Nothing of 3 is left, but 7 has seen it.
        let mut last = made(6, &[4, 5]);
        last.as_mut().unwrap().obsolete = vec![1, 2];
        assert_eq!(
            taken(&[(1, made(0, &[])), (2, None), (7, last)], &[], false),
            vec![7]
        );
        // An input is obsolete: the outputs were live, whatever they cover.
        let mut later = made(0, &[]);
        later.as_mut().unwrap().obsolete = vec![1];
        let tables = [(1, None), (2, None), (4, made(3, &[1, 2])), (5, later)];
        assert_eq!(taken(&tables, &[], false), vec![4, 5]);
        // Tables that say nothing are taken.
        assert_eq!(taken(&[(1, None), (2, None)], &[], false), vec![1, 2]);
    }
}

//! Which tables to compact next: a pure decision over a version.
//!
//! - From a deeper level goes one table: the one that rewrites the fewest bytes below for each of
//!   its own, among those that no running compaction stands in the way of.
//! - Level 0 goes down oldest first, all that no running compaction holds. Where it cannot go down
//!   now, its newest tables are merged among themselves, so that they do not pile up.
//! - What goes down from level 0 leaves nothing older behind; what is merged within it are
//!   neighbours. So newer entries always lie above older ones.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::compaction::claims::Claims;
use crate::compaction::plan::Plan;
use crate::compaction::targets::{BOTTOM, FULL, Targets};
use crate::options::Options;
use crate::table::LiveTable;
use crate::version::Version;

/// Tables that one step of a compaction of a range takes from its level, about.
const REWRITE_COUNT: u64 = 4;

/// The compaction that is needed most among those that may begin, if any.
pub(crate) fn pick(version: &Version, options: &Options, claims: &Claims) -> Option<Plan> {
    if !claims.is_open() {
        return None;
    }
    let targets = Targets::new(version, options);
    let score = |level| targets.score(version, options, claims, level);
    let mut levels: Vec<_> = (0..BOTTOM).map(|level| (score(level), level)).collect();
    levels.retain(|&(score, _)| score >= FULL);
    levels.sort_by_key(|&(score, level)| (Reverse(score), level));
    levels.into_iter().find_map(|(_, level)| match level {
        0 => pick_level_0(version, options, claims, targets.base),
        _ => pick_deeper(version, options, claims, level),
    })
}

fn pick_level_0(
    version: &Version,
    options: &Options,
    claims: &Claims,
    base: usize,
) -> Option<Plan> {
    let list = version.level(0);
    let is_claimed = |table: &Arc<LiveTable>| claims.is_claimed(table.meta().number);
    let newest_len = list.iter().position(is_claimed).unwrap_or(list.len());
    let oldest_from = list.iter().rposition(is_claimed).map_or(0, |last| last + 1);
    let (_, oldest) = list.split_at(oldest_from);
    if oldest.len() >= options.level0_trigger {
        let plan = Plan::new(version, options, 0, base, oldest.to_vec());
        if claims.allows(&plan) {
            return Some(plan);
        }
    }
    let (newest, _) = list.split_at(newest_len);
    let upper = merge_within(newest, options.level0_trigger.max(2))?;
    let plan = Plan::new(version, options, 0, 0, upper.to_vec());
    claims.allows(&plan).then_some(plan)
}

/// The newest tables, as long as each one more makes it cheaper to be rid of one.
fn merge_within(newest: &[Arc<LiveTable>], count_min: usize) -> Option<&[Arc<LiveTable>]> {
    let (mut len, mut count, mut cost) = (0, 0, u64::MAX);
    for table in newest {
        len += table.meta().root.len;
        // Of `count` tables all but one go.
        let next = len.checked_div(count as u64).unwrap_or(u64::MAX);
        if next > cost {
            break;
        }
        (count, cost) = (count + 1, next);
    }
    (count >= count_min).then(|| &newest[..count])
}

fn pick_deeper(
    version: &Version,
    options: &Options,
    claims: &Claims,
    level: usize,
) -> Option<Plan> {
    let cost = |table: &Arc<LiveTable>| -> u64 {
        let meta = table.meta();
        let lower = version.overlapping(level + 1, &meta.smallest, &meta.largest);
        let below: u64 = lower.iter().map(|table| table.meta().root.len).sum();
        below.saturating_mul(FULL) / meta.root.len.max(1)
    };
    let mut tables: Vec<_> = version.level(level).iter().collect();
    tables.sort_by_cached_key(|table| cost(table));
    tables.into_iter().find_map(|table| {
        let upper = alloc::vec![Arc::clone(table)];
        let plan = Plan::new(version, options, level, level + 1, upper);
        claims.allows(&plan).then_some(plan)
    })
}

/// The next step of a compaction of all keys in `smallest..=largest`, from `level` down by one;
/// `None` when the level holds none of them.
pub(crate) fn pick_range(
    version: &Version,
    options: &Options,
    level: usize,
    smallest: &[u8],
    largest: Option<&[u8]>,
) -> Option<Plan> {
    let in_range = |table: &&Arc<LiveTable>| {
        let meta = table.meta();
        *smallest <= *meta.largest && largest.is_none_or(|largest| *meta.smallest <= *largest)
    };
    let tables = version.level(level).iter();
    let hits: Vec<_> = tables.filter(in_range).cloned().collect();
    if hits.is_empty() {
        return None;
    }
    if level == 0 {
        let base = Targets::new(version, options).base;
        let upper = version.level(0).to_vec();
        return Some(Plan::new(version, options, 0, base, upper));
    }
    let mut upper = Vec::new();
    let mut len = 0;
    for table in hits {
        len += table.meta().root.len;
        upper.push(table);
        if len >= REWRITE_COUNT * options.table_len {
            break;
        }
    }
    Some(Plan::new(version, options, level, level + 1, upper))
}

/// Rewrites tables of the deepest level that holds data: those in the range with a number below
/// `before`, a few at a time.
pub(crate) fn pick_rewrite(
    version: &Version,
    options: &Options,
    level: usize,
    smallest: &[u8],
    largest: Option<&[u8]>,
    before: u64,
) -> Option<Plan> {
    let is_due = |table: &&Arc<LiveTable>| {
        let meta = table.meta();
        meta.number < before
            && *smallest <= *meta.largest
            && largest.is_none_or(|largest| *meta.smallest <= *largest)
    };
    // Neighbours: their outputs must not lie around a table that stays.
    let tables = version.level(level).iter();
    let mut due = tables.skip_while(|table| !is_due(table)).take_while(is_due);
    let mut upper = alloc::vec![Arc::clone(due.next()?)];
    let mut len = upper[0].meta().root.len;
    for table in due {
        len += table.meta().root.len;
        if len > REWRITE_COUNT * options.table_len {
            break;
        }
        upper.push(Arc::clone(table));
    }
    Some(Plan::new(version, options, level, level, upper))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compaction::plan::key_range;
    use crate::file::FileRoot;
    use crate::table::TableMeta;
    use alloc::collections::BTreeMap;
    use alloc::format;
    use proptest::prelude::*;

    fn options() -> Options {
        Options {
            level0_trigger: 4,
            level_base_len: 100,
            level_ratio: 10,
            table_len: 10,
            ..Options::default()
        }
    }

    fn table(number: u64, smallest: u32, largest: u32, len: u64) -> Arc<LiveTable> {
        LiveTable::new(TableMeta {
            number,
            smallest: format!("{smallest:08}").into(),
            largest: format!("{largest:08}").into(),
            last_seqno: number,
            root: FileRoot { len, root: [0; 32] },
            ..TableMeta::new(0)
        })
    }

    fn next(version: &Version) -> Option<Plan> {
        pick(version, &options(), &Claims::default())
    }

    #[test]
    fn an_empty_store_needs_nothing() {
        assert!(next(&Version::empty()).is_none());
    }

    #[test]
    fn level_0_goes_to_the_bottom_of_a_small_store_as_a_whole() {
        let added: Vec<_> = (0..4).map(|i| (0, table(i, 0, 9, 20))).collect();
        let version = Version::empty().apply(&[], &added).unwrap();
        let plan = next(&version).unwrap();
        assert_eq!(
            (plan.level, plan.output_level, plan.upper.len()),
            (0, BOTTOM, 4)
        );
        assert!(!plan.trivial);
        let version = version.apply(&[(0, 3)], &[]).unwrap();
        assert!(next(&version).is_none());
    }

    #[test]
    fn disjoint_tables_over_nothing_are_moved() {
        let added: Vec<_> = (0..4)
            .map(|i| (0, table(i.into(), 10 * i, 10 * i + 9, 20)))
            .collect();
        let version = Version::empty().apply(&[], &added).unwrap();
        assert!(next(&version).unwrap().trivial);
        let version = version
            .apply(&[], &[(BOTTOM, table(9, 25, 26, 20))])
            .unwrap();
        let plan = next(&version).unwrap();
        assert!(!plan.trivial);
        assert_eq!(plan.lower.len(), 1);
    }

    /// Runs plans on paper until none is left: levels end below their targets, and the rules of
    /// a version hold at each step (`apply` checks them).
    fn settle(mut version: Version, options: &Options, next: &mut u64) -> Version {
        for _ in 0..2000 {
            let Some(plan) = pick(&version, options, &Claims::default()) else {
                return version;
            };
            assert!(plan.output_level > plan.level);
            let removed: Vec<_> = plan
                .inputs()
                .map(|(level, table)| (level, table.meta().number))
                .collect();
            let mut added = Vec::new();
            if plan.trivial {
                added.extend(
                    plan.upper
                        .iter()
                        .map(|t| (plan.output_level, Arc::clone(t))),
                );
            } else {
                let tables: Vec<_> = plan.inputs().map(|(_, table)| Arc::clone(table)).collect();
                let (smallest, largest) = key_range(&tables).unwrap();
                let parse = |key: &[u8]| core::str::from_utf8(key).unwrap().parse::<u32>().unwrap();
                let (smallest, largest) = (parse(smallest), parse(largest));
                let count = (plan.input_len() / options.table_len)
                    .clamp(1, u64::from(largest - smallest) + 1);
                let step = (largest - smallest + 1) / count as u32;
                for i in 0..count as u32 {
                    let from = smallest + i * step;
                    let to = if u64::from(i) + 1 == count {
                        largest
                    } else {
                        from + step - 1
                    };
                    *next += 1;
                    added.push((
                        plan.output_level,
                        table(*next, from, to, plan.input_len() / count),
                    ));
                }
            }
            version = version.apply(&removed, &added).unwrap();
        }
        panic!("does not settle");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn plans_settle_below_the_targets(
            flushes in prop::collection::vec((0_u32..10_000, 1_u32..10_000, 1_u64..50), 0..120),
        ) {
            let options = options();
            let mut version = Version::empty();
            let mut next = 1 << 32;
            for (number, (smallest, width, len)) in flushes.into_iter().enumerate() {
                let new = table(number as u64, smallest, smallest + width, len);
                version = version.apply(&[], &[(0, new)]).unwrap();
                version = settle(version, &options, &mut next);
                prop_assert!(version.level(0).len() < options.level0_trigger);
            }
            let targets = Targets::new(&version, &options);
            for level in 1..BOTTOM {
                let score = targets.score(&version, &options, &Claims::default(), level);
                prop_assert!(score < FULL);
            }
        }
    }

    #[test]
    fn level_0_that_cannot_go_down_is_merged_within_itself() {
        let added: Vec<_> = (0..4).map(|i| (0, table(i, 0, 9, 20))).collect();
        let version = Version::empty().apply(&[], &added).unwrap();
        let mut claims = Claims::default();
        let down = pick(&version, &options(), &claims).unwrap();
        let id = claims.claim(&down);
        assert!(pick(&version, &options(), &claims).is_none());
        // A large one from an earlier merge, then small ones.
        let added: Vec<_> = (4..9)
            .map(|i| (0, table(i, 0, 9, if i == 4 { 500 } else { 20 })))
            .collect();
        let version = version.apply(&[], &added).unwrap();
        let within = pick(&version, &options(), &claims).unwrap();
        assert!(within.is_within_level_0());
        assert_eq!(numbers(&within), [8, 7, 6, 5]);
        claims.claim(&within);
        assert!(pick(&version, &options(), &claims).is_none());
        claims.release(id);
        // The four that are merged stay: what is older than they may go down.
        let oldest = pick(&version, &options(), &claims).unwrap();
        assert_eq!(
            (numbers(&oldest), oldest.output_level),
            (alloc::vec![4, 3, 2, 1, 0], BOTTOM)
        );
        claims.wait_for_whole();
        assert!(!claims.claim_whole());
        assert!(pick(&version, &options(), &claims).is_none());
    }

    fn numbers(plan: &Plan) -> Vec<u64> {
        plan.upper.iter().map(|table| table.meta().number).collect()
    }

    /// Where every key is, by table: newer entries above older ones.
    #[derive(Clone, Default)]
    struct Paper(BTreeMap<u64, BTreeMap<u32, u64>>);

    impl Paper {
        /// Of each key the newest number in any of the tables.
        fn merged(&self, tables: &[u64]) -> BTreeMap<u32, u64> {
            let mut merged = BTreeMap::new();
            for (key, seqno) in tables.iter().flat_map(|number| &self.0[number]) {
                let newest = merged.entry(*key).or_insert(0);
                *newest = (*newest).max(*seqno);
            }
            merged
        }

        /// The entry that a reader finds first.
        fn find(&self, version: &Version, key: u32) -> Option<u64> {
            version
                .tables()
                .find_map(|(_, table)| self.0[&table.meta().number].get(&key).copied())
        }

        fn add(&mut self, number: u64, entries: BTreeMap<u32, u64>) -> Option<Arc<LiveTable>> {
            let (first, last) = (*entries.keys().next()?, *entries.keys().last()?);
            let newest = *entries.values().max()?;
            let len = 10 * entries.len() as u64;
            self.0.insert(number, entries);
            Some(LiveTable::new(TableMeta {
                last_seqno: newest,
                ..table(number, first, last, len).meta().clone()
            }))
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Flushes, beginnings and ends of compactions in any order: levels never overlap (`apply`
        /// checks), and a reader always meets the newest entry of a key first.
        #[test]
        fn compactions_side_by_side_keep_the_order_of_history(
            steps in prop::collection::vec((0_u8..4, any::<u16>(), prop::collection::btree_set(0_u32..60, 1..12)), 1..120),
        ) {
            let options = Options { table_len: 60, ..options() };
            let (mut version, mut paper, mut model) = (Version::empty(), Paper::default(), BTreeMap::new());
            let (mut claims, mut running) = (Claims::default(), Vec::new());
            let (mut number, mut most) = (0, 0);
            for (step, which, keys) in steps {
                number += 100;
                if step < 2 {
                    let entries: BTreeMap<_, _> = keys.iter().map(|&key| (key, number)).collect();
                    model.extend(entries.clone());
                    let new = paper.add(number, entries).unwrap();
                    version = version.apply(&[], &[(0, new)]).unwrap();
                } else if step == 2 && let Some(plan) = pick(&version, &options, &claims) {
                    running.push((claims.claim(&plan), plan));
                } else if !running.is_empty() {
                    let (id, plan) = running.swap_remove(usize::from(which) % running.len());
                    let inputs: Vec<_> = plan.inputs().map(|(level, t)| (level, t.meta().number)).collect();
                    let merged = paper.merged(&inputs.iter().map(|input| input.1).collect::<Vec<_>>());
                    let merged: Vec<_> = merged.into_iter().collect();
                    let table_len = if plan.is_within_level_0() { merged.len() } else { 6 };
                    let mut added = Vec::new();
                    for (i, part) in merged.chunks(table_len.max(1)).enumerate() {
                        let new = paper.add(number + i as u64, part.iter().copied().collect());
                        added.extend(new.map(|new| (plan.output_level, new)));
                    }
                    version = version.apply(&inputs, &added).unwrap();
                    claims.release(id);
                }
                most = most.max(running.len());
                for (key, newest) in &model {
                    prop_assert_eq!(paper.find(&version, *key), Some(*newest));
                }
            }
            prop_assert!(most < 20);
        }
    }
}

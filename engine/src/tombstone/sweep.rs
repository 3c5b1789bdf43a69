//! Merges the fragments of several places into one list that ascends and does not overlap.
//!
//! - What a place gives ascends and does not overlap; the outcome covers exactly what the places
//!   together cover, within the bounds of the sweep.
//! - One fragment of each place is in memory at a time.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::error::Result;
use crate::tombstone::fragment::Fragment;

/// Gives fragments in ascending order.
pub(crate) trait FragmentSource: Send {
    /// The next fragment; fragments do not overlap.
    fn next(&mut self) -> Result<Option<Fragment>>;
}

struct Head {
    source: Box<dyn FragmentSource>,
    fragment: Option<Fragment>,
}

/// Walks the fragments of several places as one.
pub(crate) struct Sweep {
    heads: Vec<Head>,
    /// Everything before is done.
    at: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl Sweep {
    /// Over the keys from `first` up to `end`; `None` is the end of all keys.
    pub(crate) fn new(
        sources: Vec<Box<dyn FragmentSource>>,
        first: &[u8],
        end: Option<&[u8]>,
    ) -> Result<Self> {
        let mut heads = Vec::new();
        for mut source in sources {
            let fragment = source.next()?;
            heads.push(Head { source, fragment });
        }
        Ok(Self {
            heads,
            at: first.to_vec(),
            end: end.map(<[u8]>::to_vec),
        })
    }

    /// The next fragment.
    pub(crate) fn next(&mut self) -> Result<Option<Fragment>> {
        for head in &mut self.heads {
            while let Some(fragment) = &head.fragment
                && fragment.end <= self.at
            {
                head.fragment = head.source.next()?;
            }
        }
        let fragments = || self.heads.iter().filter_map(|head| head.fragment.as_ref());
        let starts = fragments().map(|fragment| (&fragment.start).max(&self.at));
        let Some(start) = starts.min().cloned() else {
            return Ok(None);
        };
        if self.end.as_ref().is_some_and(|end| *end <= start) {
            return Ok(None);
        }
        let bounds = fragments().map(|fragment| {
            if fragment.start <= start {
                &fragment.end
            } else {
                &fragment.start
            }
        });
        let Some(end) = bounds.chain(&self.end).min().cloned() else {
            return Ok(None);
        };
        let mut merged = Fragment::uncovered(start, end);
        for fragment in fragments() {
            if fragment.start <= merged.start {
                let part = fragment.part(&merged.start, &merged.end)?;
                merged.merge(part);
            }
        }
        self.at.clone_from(&merged.end);
        Ok(Some(merged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::EntryRef;
    use crate::tombstone::FragmentMap;
    use crate::types::KeyKind;
    use proptest::prelude::*;

    struct Whole(FragmentMap, Option<Vec<u8>>);

    impl FragmentSource for Whole {
        fn next(&mut self) -> Result<Option<Fragment>> {
            let next = self.0.next(self.1.as_deref()).cloned();
            self.1 = next
                .as_ref()
                .map(|next| next.start.clone())
                .or(self.1.take());
            Ok(next)
        }
    }

    proptest! {
        #[test]
        fn a_sweep_covers_what_its_places_cover(
            ranges in prop::collection::vec((0_u8..30, 1_u8..12, 0_usize..3), 0..20),
            first in 0_u8..10,
            end in prop::option::of(20_u8..45),
        ) {
            let mut maps: [FragmentMap; 3] = Default::default();
            let mut list = Vec::new();
            for (seqno, (start, len, place)) in (1..).zip(ranges) {
                let (from, to) = ([start], [start + len]);
                let kind = KeyKind::DeleteRange;
                let entry = EntryRef { key: &from, seqno, kind, value: &to, digest: None };
                maps[place].insert(&entry, entry.seqno - 1, true).unwrap();
                list.push((start, start + len, seqno));
            }
            let sources = maps.into_iter().map(|map| {
                Box::new(Whole(map, None)) as Box<dyn FragmentSource>
            });
            let end_key = end.map(|end| Vec::from([end]));
            let mut sweep = Sweep::new(sources.collect(), &[first], end_key.as_deref()).unwrap();
            let mut found = Vec::new();
            let mut last = Vec::new();
            while let Some(fragment) = sweep.next().unwrap() {
                prop_assert!(fragment.start < fragment.end && last <= fragment.start);
                for entry in fragment.entries() {
                    entry.verify().unwrap();
                    let keys = fragment.start[0]..fragment.end[0];
                    found.extend(keys.map(|key| (key, entry.seqno)));
                }
                last = fragment.end;
            }
            found.sort_unstable();
            let mut expected = Vec::new();
            for (start, to, seqno) in list {
                let keys = start.max(first)..to.min(end.unwrap_or(u8::MAX));
                expected.extend(keys.map(|key| (key, seqno)));
            }
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}

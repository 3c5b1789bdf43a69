//! Fragments that grow: the range tombstones of a memtable.
//!
//! - Tombstones come in the order of their sequence numbers.
//! - Of those that nobody can tell apart, because they become visible together, a fragment keeps the
//!   newest. So a batch of many takes room in proportion, however they lie over each other: twice
//!   their number of fragments at most, beyond the copies of what was there before it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

use crate::entry::EntryRef;
use crate::error::Result;
use crate::tombstone::fragment::Fragment;
use crate::tombstone::window::Window;
use crate::types::SeqNo;

/// What a fragment costs beyond its keys, and each tombstone of it.
const FRAGMENT_LEN: usize = 128;
const STAMP_LEN: usize = 16;

/// Fragments by their start.
#[derive(Default)]
pub(crate) struct FragmentMap {
    fragments: BTreeMap<Vec<u8>, Fragment>,
    /// Tombstones of all fragments.
    stamp_count: usize,
}

impl FragmentMap {
    /// Adds a tombstone that is newer than all others; returns the bytes that it takes at most.
    /// Nobody reads at a number behind `seen` and before its own. Where it is damaged nothing happens.
    pub(crate) fn insert(
        &mut self,
        entry: &EntryRef<'_>,
        seen: SeqNo,
        with_digests: bool,
    ) -> Result<usize> {
        let Fragment { start, end, .. } = Fragment::of(entry)?;
        let mut added_len = self.split(&start)? + self.split(&end)?;
        // Up to `covered` the tombstone is there; up to `at` was looked.
        let (mut covered, mut at) = (start.clone(), start);
        let mut last: Option<Vec<u8>> = None;
        while let Some(fragment) = self.next_from(&at, &end) {
            at.clone_from(&fragment.end);
            let (key, before) = (fragment.start.clone(), fragment.len());
            fragment.forget_behind(seen);
            let is_new = fragment.is_empty();
            if !is_new {
                fragment.add_newer(entry.seqno, with_digests);
            }
            let after = fragment.len();
            self.stamp_count = self.stamp_count + after - before;
            if is_new {
                self.fragments.remove(&key);
                continue;
            }
            added_len += STAMP_LEN + self.fill(covered, key.clone(), entry.seqno, with_digests);
            covered = at.clone();
            if !self.join(last.as_deref(), &key)? {
                last = Some(key);
            }
        }
        Ok(added_len + self.fill(covered, end, entry.seqno, with_digests))
    }

    /// Makes one fragment of two, where nothing lies between them and the same covers both.
    fn join(&mut self, first: Option<&[u8]>, second: &[u8]) -> Result<bool> {
        let Some(fragment) = first.and_then(|first| self.fragments.get(first)) else {
            return Ok(false);
        };
        let Some(joined) = self.fragments.get(second).map(|next| fragment.join(next)) else {
            return Ok(false);
        };
        let Some(joined) = joined? else {
            return Ok(false);
        };
        self.stamp_count -= joined.len();
        self.fragments.remove(second);
        self.fragments.insert(joined.start.clone(), joined);
        Ok(true)
    }

    /// Covers what nothing covers, if there is anything between the two keys.
    fn fill(&mut self, start: Vec<u8>, end: Vec<u8>, seqno: SeqNo, with_digests: bool) -> usize {
        if start >= end {
            return 0;
        }
        let added_len = FRAGMENT_LEN + STAMP_LEN + 2 * start.len() + end.len();
        let mut fragment = Fragment::uncovered(start.clone(), end);
        fragment.add_newer(seqno, with_digests);
        self.stamp_count += 1;
        self.fragments.insert(start, fragment);
        added_len
    }

    /// The first fragment that begins at `start` or behind, and before `end`.
    fn next_from(&mut self, start: &[u8], end: &[u8]) -> Option<&mut Fragment> {
        let between = (Bound::Included(start), Bound::Excluded(end));
        let mut fragments = self.fragments.range_mut::<[u8], _>(between);
        fragments.next().map(|(_, fragment)| fragment)
    }

    /// Bytes that so many more tombstones may take, and copies of those that are there.
    pub(crate) fn cost_of(&self, range_count: usize) -> usize {
        let copied = self.stamp_count.saturating_mul(STAMP_LEN);
        range_count.saturating_mul(copied)
    }

    /// Cuts the fragment around `key`, so that one begins there.
    fn split(&mut self, key: &[u8]) -> Result<usize> {
        let before = (Bound::Unbounded, Bound::Excluded(key));
        let Some((_, fragment)) = self.fragments.range_mut::<[u8], _>(before).next_back() else {
            return Ok(0);
        };
        let Some(rest) = fragment.split_off(key)? else {
            return Ok(0);
        };
        let added_len = FRAGMENT_LEN + STAMP_LEN * rest.len() + 3 * key.len();
        self.stamp_count += rest.len();
        self.fragments.insert(key.to_vec(), rest);
        Ok(added_len)
    }

    /// The newest tombstone at or before `seqno` that covers `key`; 0 where there is none.
    pub(crate) fn covering(&self, key: &[u8], seqno: SeqNo) -> Result<SeqNo> {
        match self.at_or_before(key) {
            Some(fragment) if *key < *fragment.end => fragment.covering(seqno),
            _ => Ok(0),
        }
    }

    /// The stretch around `key` that is covered as `key` is, for a reader at `seqno`.
    pub(crate) fn window(&self, key: &[u8], seqno: SeqNo) -> Result<Window> {
        let before = self.at_or_before(key);
        if let Some(fragment) = before.filter(|fragment| *key < *fragment.end) {
            let (start, end) = (&*fragment.start, &*fragment.end);
            let covering = fragment.covering(seqno)?;
            return Ok(Window::between(Some(start), Some(end), covering));
        }
        let behind = (Bound::Excluded(key), Bound::Unbounded);
        let behind = self.fragments.range::<[u8], _>(behind).next();
        let first = before.map(|fragment| &*fragment.end);
        Ok(Window::between(first, behind.map(|(start, _)| &**start), 0))
    }

    /// The first fragment that begins behind `start`; the first one of all without it.
    pub(crate) fn next(&self, start: Option<&[u8]>) -> Option<&Fragment> {
        let behind = start.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = (behind, Bound::Unbounded);
        let mut fragments = self.fragments.range::<[u8], _>(behind);
        fragments.next().map(|(_, fragment)| fragment)
    }

    fn at_or_before(&self, key: &[u8]) -> Option<&Fragment> {
        let before = (Bound::Unbounded, Bound::Included(key));
        let mut fragments = self.fragments.range::<[u8], _>(before);
        fragments.next_back().map(|(_, fragment)| fragment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{KeyKind, SEQNO_MAX};
    use proptest::prelude::*;

    pub(in crate::tombstone) fn tombstone<'a>(
        start: &'a [u8],
        end: &'a [u8],
        seqno: SeqNo,
    ) -> EntryRef<'a> {
        let mut entry = EntryRef {
            key: start,
            seqno,
            kind: KeyKind::DeleteRange,
            value: end,
            digest: None,
        };
        entry.digest = Some(entry.expected_digest());
        entry
    }

    proptest! {
        #[test]
        fn fragments_cover_what_the_tombstones_cover(
            ranges in prop::collection::vec((0_u8..30, 1_u8..12, any::<bool>()), 1..20),
            batch in 0_usize..25,
        ) {
            let mut map = FragmentMap::default();
            let (mut list, mut ends) = (Vec::new(), alloc::vec![0]);
            for (seqno, (start, len, ends_batch)) in (1..).zip(ranges) {
                let seen = ends[ends.len() - 1];
                map.insert(&tombstone(&[start], &[start + len], seqno), seen, true).unwrap();
                list.push((start, start + len, seqno));
                if ends_batch {
                    ends.push(seqno);
                }
            }
            ends.push(list.len() as u64);
            let stamps: usize = map.fragments.values().map(Fragment::len).sum();
            prop_assert_eq!(map.stamp_count, stamps);
            let seqno = ends[batch % ends.len()];
            for key in 0_u8..45 {
                let covers = |t: &&(u8, u8, u64)| t.0 <= key && key < t.1 && t.2 <= seqno;
                let newest = list.iter().filter(covers).map(|t| t.2).max().unwrap_or(0);
                prop_assert_eq!(map.covering(&[key], seqno).unwrap(), newest);
                let window = map.window(&[key], seqno).unwrap();
                prop_assert!(window.contains(&[key]));
                for other in (0_u8..45).filter(|&other| window.contains(&[other])) {
                    prop_assert_eq!(map.covering(&[other], seqno).unwrap(), window.seqno);
                }
            }
            let mut last: Option<Fragment> = None;
            while let Some(next) = map.next(last.as_ref().map(|last| &*last.start)) {
                prop_assert!(next.start < next.end);
                prop_assert!(last.is_none_or(|last| last.end <= next.start));
                next.entries().for_each(|entry| entry.verify().unwrap());
                last = Some(next.clone());
            }
        }
    }

    #[test]
    fn a_flip_in_a_fragment_is_found() {
        let mut map = FragmentMap::default();
        map.insert(&tombstone(b"a", b"m", 3), 2, true).unwrap();
        let mut bad = tombstone(b"a", b"m", 4);
        bad.value = b"n";
        map.insert(&bad, 3, true).unwrap_err();
        map.fragments.get_mut(&b"a"[..]).unwrap().end = b"z".to_vec();
        map.covering(b"x", SEQNO_MAX).unwrap_err();
        map.insert(&tombstone(b"b", b"c", 5), 4, true).unwrap_err();
    }

    /// Nested ranges, from outside, from inside and at random, and the same one again and again.
    #[test]
    fn a_batch_takes_room_in_proportion_however_its_ranges_lie() {
        const COUNT: u64 = 20_000;
        let key = |n: u64| u64::to_be_bytes(n);
        let shapes: [fn(u64) -> (u64, u64); 4] = [
            |i| (i, 2 * COUNT - i),
            |i| (COUNT - i, COUNT + i),
            |i| {
                let at = i * 7919 % COUNT;
                (at, at + i % 977 + 1)
            },
            |_| (1, 2),
        ];
        for shape in shapes {
            let mut map = FragmentMap::default();
            map.insert(&tombstone(&key(0), &key(COUNT), 1), 0, true)
                .unwrap();
            let mut len = 0;
            for i in 1..COUNT {
                let (start, end) = shape(i);
                len += map
                    .insert(&tombstone(&key(start), &key(end), i + 1), 1, true)
                    .unwrap();
            }
            let (fragment_count, stamp_count) = (map.fragments.len(), map.stamp_count);
            assert!(fragment_count <= 2 * COUNT as usize + 1, "{fragment_count}");
            // One of before the batch, and one of it.
            assert!(stamp_count <= 2 * fragment_count, "{stamp_count}");
            assert!(len < 1000 * COUNT as usize, "{len}");
            assert!(map.cost_of(2) >= 2 * stamp_count);
        }
    }
}

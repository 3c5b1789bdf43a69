//! Fragments that grow: the range tombstones of a memtable.
//!
//! - Tombstones come in the order of their sequence numbers.

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
}

impl FragmentMap {
    /// Adds a tombstone that is newer than all others; returns the bytes that it takes. Where it
    /// is damaged nothing happens.
    pub(crate) fn insert(&mut self, entry: &EntryRef<'_>, with_digests: bool) -> Result<usize> {
        let Fragment { start, end, .. } = Fragment::of(entry)?;
        let mut added_len = self.split(&start)? + self.split(&end)?;
        let mut at = start;
        while at < end {
            let next = self
                .fragments
                .range::<[u8], _>((Bound::Included(&*at), Bound::Unbounded));
            let next_start = next
                .map(|(start, _)| start)
                .next()
                .filter(|next| **next < end);
            let gap_end = next_start.unwrap_or(&end).clone();
            let fragment = if at == gap_end {
                added_len += STAMP_LEN;
                self.fragments.get_mut(&at)
            } else {
                added_len += FRAGMENT_LEN + STAMP_LEN + 2 * at.len() + gap_end.len();
                let fragment = Fragment::uncovered(at.clone(), gap_end);
                Some(self.fragments.entry(at).or_insert(fragment))
            };
            let Some(fragment) = fragment else { break };
            fragment.add_newer(entry.seqno, with_digests);
            at = fragment.end.clone();
        }
        Ok(added_len)
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
            ranges in prop::collection::vec((0_u8..30, 1_u8..12), 1..20),
            seqno in 0_u64..25,
        ) {
            let mut map = FragmentMap::default();
            let mut list = Vec::new();
            for (seqno, (start, len)) in (1..).zip(ranges) {
                map.insert(&tombstone(&[start], &[start + len], seqno), true).unwrap();
                list.push((start, start + len, seqno));
            }
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
        map.insert(&tombstone(b"a", b"m", 3), true).unwrap();
        let mut bad = tombstone(b"a", b"m", 4);
        bad.value = b"n";
        map.insert(&bad, true).unwrap_err();
        map.fragments.get_mut(&b"a"[..]).unwrap().end = b"z".to_vec();
        map.covering(b"x", SEQNO_MAX).unwrap_err();
        map.insert(&tombstone(b"b", b"c", 5), true).unwrap_err();
    }
}

//! A window: a range of keys over which the newest visible range tombstone is the same.

use alloc::vec::Vec;
use core::ops::Bound;

use crate::types::SeqNo;

/// A range of keys, and what covers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) first: Bound<Vec<u8>>,
    pub(crate) last: Bound<Vec<u8>>,
    /// The newest tombstone that covers it, for the reader; 0: none does.
    pub(crate) seqno: SeqNo,
}

impl Window {
    /// All keys, uncovered.
    pub(crate) const ALL: Self = Self {
        first: Bound::Unbounded,
        last: Bound::Unbounded,
        seqno: 0,
    };

    /// A window between two keys, of which the second one is not in it.
    pub(crate) fn between(first: Option<&[u8]>, end: Option<&[u8]>, seqno: SeqNo) -> Self {
        let own = |key: &[u8]| key.to_vec();
        Self {
            first: first.map_or(Bound::Unbounded, |key| Bound::Included(own(key))),
            last: end.map_or(Bound::Unbounded, |key| Bound::Excluded(own(key))),
            seqno,
        }
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        let begins = match &self.first {
            Bound::Included(first) => **first <= *key,
            Bound::Excluded(first) => **first < *key,
            Bound::Unbounded => true,
        };
        begins
            && match &self.last {
                Bound::Included(last) => *key <= **last,
                Bound::Excluded(last) => *key < **last,
                Bound::Unbounded => true,
            }
    }

    /// What both windows say of the keys that are in both. REQUIRES: there are any.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self {
            first: later(&self.first, &other.first).clone(),
            last: earlier(&self.last, &other.last).clone(),
            seqno: self.seqno.max(other.seqno),
        }
    }
}

fn later<'a>(a: &'a Bound<Vec<u8>>, b: &'a Bound<Vec<u8>>) -> &'a Bound<Vec<u8>> {
    let place = |bound: &'a Bound<Vec<u8>>| match bound {
        Bound::Unbounded => None,
        Bound::Included(key) => Some((key, false)),
        Bound::Excluded(key) => Some((key, true)),
    };
    if place(a) >= place(b) { a } else { b }
}

fn earlier<'a>(a: &'a Bound<Vec<u8>>, b: &'a Bound<Vec<u8>>) -> &'a Bound<Vec<u8>> {
    let place = |bound: &'a Bound<Vec<u8>>| match bound {
        Bound::Unbounded => (true, None),
        Bound::Included(key) => (false, Some((key, true))),
        Bound::Excluded(key) => (false, Some((key, false))),
    };
    if place(a) <= place(b) { a } else { b }
}

//! A fragment: a range of keys, and the range tombstones that cover it, whole.
//!
//! - The start stands before the end, and each tombstone has another sequence number.

use alloc::vec::Vec;

use crate::entry::EntryRef;
use crate::error::{Error, Result};
use crate::types::{KeyKind, SeqNo};

/// One of the tombstones of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    seqno: SeqNo,
    digest: Option<u32>,
}

/// A range of keys that one or more tombstones cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) start: Vec<u8>,
    /// Not covered any more.
    pub(crate) end: Vec<u8>,
    /// Oldest first.
    stamps: Vec<Stamp>,
}

impl Fragment {
    /// A range that nothing covers yet.
    pub(super) const fn uncovered(start: Vec<u8>, end: Vec<u8>) -> Self {
        let stamps = Vec::new();
        Self { start, end, stamps }
    }

    /// The fragment of one tombstone, which is checked.
    pub(crate) fn of(entry: &EntryRef<'_>) -> Result<Self> {
        entry.verify()?;
        if entry.key >= entry.value {
            return Err(Error::corruption("a range ends before it begins").part("range tombstone"));
        }
        let mut fragment = Self::uncovered(entry.key.to_vec(), entry.value.to_vec());
        fragment.stamps.push(Stamp {
            seqno: entry.seqno,
            digest: entry.digest,
        });
        Ok(fragment)
    }

    /// Adds another tombstone over the same range, older than all that are there.
    pub(crate) fn add_older(&mut self, entry: &EntryRef<'_>) -> Result<()> {
        let stamps = Self::of(entry)?.stamps;
        self.stamps.splice(0..0, stamps);
        Ok(())
    }

    /// Adds a tombstone that is newer than all that are there.
    pub(super) fn add_newer(&mut self, seqno: SeqNo, with_digest: bool) {
        let digest = with_digest.then(|| self.at(seqno, None).expected_digest());
        self.stamps.push(Stamp { seqno, digest });
    }

    /// Forgets the tombstones that are newer than `seqno`.
    pub(super) fn forget_behind(&mut self, seqno: SeqNo) {
        let count = self.stamps.partition_point(|stamp| stamp.seqno <= seqno);
        self.stamps.truncate(count);
    }

    /// Adds the tombstones of another fragment over the same range.
    pub(super) fn merge(&mut self, other: Self) {
        self.stamps.extend(other.stamps);
        self.stamps.sort_unstable_by_key(|stamp| stamp.seqno);
    }

    fn at(&self, seqno: SeqNo, digest: Option<u32>) -> EntryRef<'_> {
        EntryRef {
            key: &self.start,
            seqno,
            kind: KeyKind::DeleteRange,
            value: &self.end,
            digest,
        }
    }

    /// Its tombstones as entries, newest first.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = EntryRef<'_>> {
        let stamps = self.stamps.iter().rev();
        stamps.map(|stamp| self.at(stamp.seqno, stamp.digest))
    }

    /// Keeps the tombstones that `stays` chooses; it is asked newest first.
    pub(crate) fn retain(&mut self, mut stays: impl FnMut(SeqNo) -> bool) {
        self.stamps.reverse();
        self.stamps.retain(|stamp| stays(stamp.seqno));
        self.stamps.reverse();
    }

    /// Has it no tombstones?
    pub(crate) fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    /// How many tombstones it has.
    pub(crate) fn len(&self) -> usize {
        self.stamps.len()
    }

    /// The newest tombstone at or before `seqno`; 0 where there is none.
    pub(crate) fn covering(&self, seqno: SeqNo) -> Result<SeqNo> {
        let index = self.stamps.partition_point(|stamp| stamp.seqno <= seqno);
        let Some(stamp) = index.checked_sub(1).and_then(|i| self.stamps.get(i)) else {
            return Ok(0);
        };
        self.at(stamp.seqno, stamp.digest).verify()?;
        Ok(stamp.seqno)
    }

    /// The oldest tombstone that is newer than `seqno`.
    pub(crate) fn next_newer(&self, seqno: SeqNo) -> Option<SeqNo> {
        let index = self.stamps.partition_point(|stamp| stamp.seqno <= seqno);
        self.stamps.get(index).map(|stamp| stamp.seqno)
    }

    /// The part from `start` to `end`. REQUIRES: it lies within, and is not empty.
    pub(super) fn part(&self, start: &[u8], end: &[u8]) -> Result<Self> {
        let mut part = Self::uncovered(start.to_vec(), end.to_vec());
        for stamp in &self.stamps {
            self.at(stamp.seqno, stamp.digest).verify()?;
            part.add_newer(stamp.seqno, stamp.digest.is_some());
        }
        Ok(part)
    }

    /// Both as one; `None` where they do not touch, or other tombstones cover the other one.
    pub(super) fn join(&self, next: &Self) -> Result<Option<Self>> {
        let pairs = || self.stamps.iter().zip(&next.stamps);
        let is_same = self.len() == next.len() && pairs().all(|(a, b)| a.seqno == b.seqno);
        if self.end != next.start || !is_same {
            return Ok(None);
        }
        let mut joined = Self::uncovered(self.start.clone(), next.end.clone());
        for (stamp, other) in pairs() {
            self.at(stamp.seqno, stamp.digest).verify()?;
            next.at(other.seqno, other.digest).verify()?;
            joined.add_newer(stamp.seqno, stamp.digest.is_some());
        }
        Ok(Some(joined))
    }

    /// Cuts it at `key`; `None`, and nothing is cut, where `key` is not within.
    pub(crate) fn split_off(&mut self, key: &[u8]) -> Result<Option<Self>> {
        if *key <= *self.start || *self.end <= *key {
            return Ok(None);
        }
        let rest = self.part(key, &self.end)?;
        *self = self.part(&self.start, key)?;
        Ok(Some(rest))
    }
}

/// The first key behind `key`.
pub(crate) fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

/// The last key before `end`, where there is a last one; else `end` itself, which no such table
/// holds but may claim.
pub(crate) fn last_covered(end: &[u8]) -> &[u8] {
    match end {
        [key @ .., 0] => key,
        _ => end,
    }
}

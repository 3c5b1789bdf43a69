//! The cursor that callers hold: the live keys of a range at one moment, both ways.
//!
//! - It stands *between* two keys, or at either end. `next` returns the key behind that gap and
//!   moves behind it, `prev` the key before and moves before it.
//! - It sees the store as it was when it was made, whatever is written or compacted meanwhile.
//! - Of each key it shows the newest version that is visible, and nothing where that is a
//!   tombstone, or hidden by one that covers a range.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use crate::cursor::merge::MergeCursor;
use crate::cursor::shade::Shade;
use crate::entry::{Entry, EntryCursor};
use crate::error::Result;
use crate::types::{KeyKind, SEQNO_MAX, SeqNo};
use crate::version::Version;

/// A range of keys with its own copies of the bounds.
pub(crate) type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// Versions of one key that are stepped over before the cursor seeks instead.
const STEPS_MAX: usize = 8;

/// Where a cursor stands; the key, where it takes one, is the cursor's `key`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gap {
    Start,
    Before,
    After,
    End,
}

/// How the merged cursor beneath stands to the gap.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Travel {
    /// Anywhere.
    Unplaced,
    /// On the key just returned.
    Ahead,
    /// At the last entry before the gap.
    Back,
}

/// Walks the keys of a range.
pub struct Cursor {
    merge: MergeCursor,
    shade: Shade,
    /// Keeps the files of the tables.
    _version: Arc<Version>,
    range: KeyRange,
    seqno: SeqNo,
    gap: Gap,
    key: Vec<u8>,
    travel: Travel,
}

impl Cursor {
    pub(crate) fn new(
        merge: MergeCursor,
        shade: Shade,
        version: Arc<Version>,
        range: KeyRange,
        seqno: SeqNo,
    ) -> Self {
        let (gap, travel) = (Gap::Start, Travel::Unplaced);
        Self {
            merge,
            shade,
            _version: version,
            range,
            seqno,
            gap,
            key: Vec::new(),
            travel,
        }
    }

    /// Moves before the first key at or behind `key`, within the range.
    pub fn seek(&mut self, key: &[u8]) {
        self.travel = Travel::Unplaced;
        self.gap = if self.is_below(key) {
            Gap::Start
        } else if self.is_beyond(key) {
            Gap::End
        } else {
            self.key.clear();
            self.key.extend_from_slice(key);
            Gap::Before
        };
    }

    /// Moves before the first key of the range.
    pub fn seek_first(&mut self) {
        (self.gap, self.travel) = (Gap::Start, Travel::Unplaced);
    }

    /// Moves behind the last key of the range.
    pub fn seek_last(&mut self) {
        (self.gap, self.travel) = (Gap::End, Travel::Unplaced);
    }

    /// The key behind the cursor, which moves behind it; `None` at the end of the range.
    ///
    /// # Errors
    /// `Corruption`, `Authentication`, `Io`: the bytes that hold the answer cannot be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "fallible, and goes both ways"
    )]
    pub fn next(&mut self) -> Result<Option<Entry>> {
        self.next_with(|key, kind, value, seqno| Entry {
            key: key.to_vec(),
            kind,
            value: value.to_vec(),
            seqno,
        })
    }

    /// As [`Cursor::next`], for whoever needs only a part of the entry: `show` sees key, kind, value
    /// or pointer, and sequence number where they lie. Nothing is copied, and what a pointer leads
    /// to is not touched.
    ///
    /// # Errors
    /// As [`Cursor::next`].
    pub fn next_with<R>(
        &mut self,
        show: impl FnOnce(&[u8], KeyKind, &[u8], SeqNo) -> R,
    ) -> Result<Option<R>> {
        let result = self.step_ahead(show);
        if result.is_err() {
            self.travel = Travel::Unplaced;
        }
        result
    }

    /// The key before the cursor, which moves before it; `None` at the start of the range.
    ///
    /// # Errors
    /// As [`Cursor::next`].
    pub fn prev(&mut self) -> Result<Option<Entry>> {
        let result = self.step_back();
        if result.is_err() {
            self.travel = Travel::Unplaced;
        }
        result
    }

    fn step_ahead<R>(
        &mut self,
        show: impl FnOnce(&[u8], KeyKind, &[u8], SeqNo) -> R,
    ) -> Result<Option<R>> {
        if self.travel == Travel::Ahead {
            self.merge.next()?;
        } else {
            match (self.gap, &self.range.0) {
                (Gap::Start, Bound::Included(key)) => self.merge.seek(key, SEQNO_MAX)?,
                (Gap::Start, Bound::Excluded(key)) => self.merge.seek(key, 0)?,
                (Gap::Start, Bound::Unbounded) => self.merge.seek_first()?,
                (Gap::Before, _) => self.merge.seek(&self.key, SEQNO_MAX)?,
                (Gap::After, _) => self.merge.seek(&self.key, 0)?,
                (Gap::End, _) => return Ok(None),
            }
            self.travel = Travel::Ahead;
        }
        // Older versions of this key are stepped over; after some steps the cursor seeks.
        let mut passed = (self.gap == Gap::After).then_some(0);
        loop {
            let Some(entry) = self
                .merge
                .current()
                .filter(|entry| !self.is_beyond(entry.key))
            else {
                self.seek_last();
                return Ok(None);
            };
            if let Some(steps) = &mut passed
                && entry.key == self.key
            {
                *steps += 1;
                if *steps < STEPS_MAX {
                    self.merge.next()?;
                } else {
                    self.merge.seek(&self.key, 0)?;
                }
                continue;
            }
            if entry.seqno > self.seqno {
                self.merge.next()?;
                continue;
            }
            entry.verify()?;
            // An error from here on leaves the cursor before this key.
            self.key.clear();
            self.key.extend_from_slice(entry.key);
            self.gap = Gap::Before;
            if entry.kind == KeyKind::Delete || self.shade.hides(&self.key, entry.seqno)? {
                passed = Some(0);
                self.merge.next()?;
                continue;
            }
            let shown = show(entry.key, entry.kind, entry.value, entry.seqno);
            self.gap = Gap::After;
            return Ok(Some(shown));
        }
    }

    fn step_back(&mut self) -> Result<Option<Entry>> {
        if self.travel != Travel::Back {
            match (self.gap, &self.range.1) {
                (Gap::End, Bound::Included(key)) => self.merge.seek_back(key, 0)?,
                (Gap::End, Bound::Excluded(key)) => self.merge.seek_back(key, SEQNO_MAX)?,
                (Gap::End, Bound::Unbounded) => self.merge.seek_last()?,
                (Gap::Before, _) => self.merge.seek_back(&self.key, SEQNO_MAX)?,
                (Gap::After, _) => self.merge.seek_back(&self.key, 0)?,
                (Gap::Start, _) => return Ok(None),
            }
            self.travel = Travel::Back;
        }
        loop {
            let Some(entry) = self
                .merge
                .current()
                .filter(|entry| !self.is_below(entry.key))
            else {
                self.seek_first();
                return Ok(None);
            };
            // An error from here on leaves the cursor behind this key.
            self.key.clear();
            self.key.extend_from_slice(entry.key);
            self.gap = Gap::After;
            if let Some(found) = self.newest_going_back()? {
                self.gap = Gap::Before;
                return Ok(Some(found));
            }
        }
    }

    /// Steps back over all versions of `key`, oldest first, and returns the newest visible one
    /// unless it is a tombstone, or hidden by one.
    fn newest_going_back(&mut self) -> Result<Option<Entry>> {
        let mut newest = None;
        while let Some(entry) = self.merge.current().filter(|entry| entry.key == self.key) {
            if entry.seqno <= self.seqno {
                entry.verify()?;
                newest = (entry.kind != KeyKind::Delete).then(|| Entry {
                    key: self.key.clone(),
                    kind: entry.kind,
                    value: entry.value.to_vec(),
                    seqno: entry.seqno,
                });
            }
            self.merge.prev()?;
        }
        if let Some(found) = &newest
            && self.shade.hides(&self.key, found.seqno)?
        {
            return Ok(None);
        }
        Ok(newest)
    }

    fn is_below(&self, key: &[u8]) -> bool {
        match &self.range.0 {
            Bound::Included(first) => key < first.as_slice(),
            Bound::Excluded(first) => key <= first.as_slice(),
            Bound::Unbounded => false,
        }
    }

    fn is_beyond(&self, key: &[u8]) -> bool {
        match &self.range.1 {
            Bound::Included(last) => key > last.as_slice(),
            Bound::Excluded(last) => key >= last.as_slice(),
            Bound::Unbounded => false,
        }
    }
}

impl core::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Cursor")
    }
}

/// All keys that begin with `prefix`.
pub(crate) fn prefix_range(prefix: &[u8]) -> KeyRange {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return (Bound::Included(prefix.to_vec()), Bound::Excluded(end));
        }
    }
    (Bound::Included(prefix.to_vec()), Bound::Unbounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_ranges_end_behind_the_prefix() {
        let end = |prefix: &[u8]| prefix_range(prefix).1;
        assert_eq!(end(b"ab"), Bound::Excluded(b"ac".to_vec()));
        assert_eq!(end(b"a\xff"), Bound::Excluded(b"b".to_vec()));
        assert_eq!(end(b"\xff\xff"), Bound::Unbounded);
        assert_eq!(end(b""), Bound::Unbounded);
    }
}

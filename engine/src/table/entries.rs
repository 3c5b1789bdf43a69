//! Sorted entries in one block: prefix-compressed keys with restart points.
//!
//! - Keys ascend in internal order within a block.
//! - At a restart point the whole key is stored, so that a search may begin there.
//! - Any bytes may be given to the cursor: the answer is entries or an error, never a panic.
//!
//! ```text
//! block: | entry | ... | restart offset u32 | ... | restart count u32 |
//! entry: | shared varint | unshared varint | value length varint | trailer u64 | digest u32? |
//!        | unshared bytes of the key | value |
//! ```
//! The trailer is `sequence number << 8 | kind`. Whether there are digests says the table.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::Range;

use crate::codec::{Reader, put_varint};
use crate::entry::{BOUND_LEN_MAX, EntryRef, VALUE_LEN_MAX, compare, pack, restamp, unpack};
use crate::error::{Error, Result};
use crate::types::{KeyKind, SeqNo};

/// Bytes between two restart points, after which a search that walks them would meet another part of
/// memory with each entry.
const RESTART_LEN_MAX: usize = 1 << 10;

/// Builds one block after the other, reusing its memory.
pub(crate) struct EntriesBuilder {
    with_digests: bool,
    restart_interval: u32,
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    last_key: Vec<u8>,
    count: u32,
    /// Entries since the last restart point.
    run: u32,
}

impl EntriesBuilder {
    pub(crate) fn new(restart_interval: u32, with_digests: bool) -> Self {
        Self {
            with_digests,
            restart_interval: restart_interval.max(1),
            bytes: Vec::new(),
            restarts: Vec::new(),
            last_key: Vec::new(),
            count: 0,
            run: 0,
        }
    }

    /// Adds an entry. REQUIRES: it stands behind all entries added since the last `finish`.
    pub(crate) fn add(&mut self, entry: &EntryRef<'_>) {
        let last = self.restarts.last().copied().unwrap_or(0) as usize;
        let is_far = self.bytes.len() - last >= RESTART_LEN_MAX;
        let shared = if self.is_empty() || is_far || self.run == self.restart_interval {
            self.run = 0;
            self.restarts.push(self.bytes.len() as u32);
            0
        } else {
            shared_len(&self.last_key, entry.key)
        };
        let (_, unshared) = entry.key.split_at(shared);
        put_varint(&mut self.bytes, shared as u64);
        put_varint(&mut self.bytes, unshared.len() as u64);
        put_varint(&mut self.bytes, entry.value.len() as u64);
        self.bytes
            .extend_from_slice(&pack(entry.seqno, entry.kind).to_le_bytes());
        if self.with_digests {
            let digest = entry.digest.unwrap_or_else(|| entry.expected_digest());
            self.bytes.extend_from_slice(&digest.to_le_bytes());
        }
        self.bytes.extend_from_slice(unshared);
        self.bytes.extend_from_slice(entry.value);
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(unshared);
        self.count += 1;
        self.run += 1;
    }

    /// Bytes of the block if it were finished now.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + 4 * self.restarts.len() + 4
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The whole block; call [`EntriesBuilder::clear`] before the next one.
    pub(crate) fn finish(&mut self) -> &[u8] {
        for restart in &self.restarts {
            self.bytes.extend_from_slice(&restart.to_le_bytes());
        }
        self.bytes
            .extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        &self.bytes
    }

    /// The whole block. A new one begins in `memory`.
    pub(crate) fn take(&mut self, memory: Vec<u8>) -> Vec<u8> {
        self.finish();
        let block = core::mem::replace(&mut self.bytes, memory);
        self.clear();
        block
    }

    /// Begins a new block.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.restarts.clear();
        self.last_key.clear();
        self.count = 0;
    }
}

/// How many bytes two keys have in common at the front.
pub(super) fn shared_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Walks the entries of one block.
#[derive(Clone)]
pub(crate) struct EntriesCursor<B> {
    block: B,
    with_digests: bool,
    /// Are all entries range tombstones? Else none is.
    holds_ranges: bool,
    /// The number of entries that have none of their own.
    base_seqno: SeqNo,
    /// Where the entries end and the restart points begin.
    entries_len: usize,
    restart_count: usize,
    /// Offset of the entry under the cursor; `entries_len` when there is none.
    offset: usize,
    /// Offset of the entry behind it.
    next_offset: usize,
    key: Vec<u8>,
    trailer: (SeqNo, KeyKind),
    digest: Option<u32>,
    /// Where the value lies in the block.
    value: (usize, usize),
}

/// The fixed part of an entry.
pub(super) struct Head {
    pub(super) shared: usize,
    pub(super) unshared: usize,
    value_len: usize,
    pub(super) trailer: (SeqNo, KeyKind),
    pub(super) digest: Option<u32>,
    /// Offset of the key bytes.
    pub(super) key_offset: usize,
}

impl Head {
    /// Where in the block the value lies.
    pub(super) const fn value_range(&self) -> Range<usize> {
        let start = self.key_offset + self.unshared;
        start..start + self.value_len
    }
}

impl<B: AsRef<[u8]>> EntriesCursor<B> {
    /// A cursor that stands on no entry yet.
    pub(crate) fn new(block: B, with_digests: bool) -> Result<Self> {
        let bytes = block.as_ref();
        let (entries_len, restart_count) = bytes
            .split_last_chunk::<4>()
            .and_then(|(rest, count)| {
                let count = u32::from_le_bytes(*count) as usize;
                Some((rest.len().checked_sub(count.checked_mul(4)?)?, count))
            })
            .ok_or_else(|| damaged("restart points do not fit"))?;
        if u32::try_from(bytes.len()).is_err() || (restart_count == 0) != (entries_len == 0) {
            return Err(damaged("restart points do not fit"));
        }
        Ok(Self {
            block,
            with_digests,
            holds_ranges: false,
            base_seqno: 0,
            entries_len,
            restart_count,
            offset: entries_len,
            next_offset: entries_len,
            key: Vec::new(),
            trailer: (0, KeyKind::Delete),
            digest: None,
            value: (0, 0),
        })
    }

    /// All entries have number 0, and stand for `base_seqno`; where that is 0, for their own.
    pub(crate) fn raised_by(mut self, base_seqno: SeqNo) -> Self {
        self.base_seqno = base_seqno;
        self
    }

    /// Are there no entries?
    pub(super) const fn is_empty(&self) -> bool {
        self.restart_count == 0
    }

    /// Where the entries end.
    pub(super) const fn entries_len(&self) -> usize {
        self.entries_len
    }

    /// As [`EntriesCursor::new`], over range tombstones.
    pub(crate) fn over_ranges(block: B, with_digests: bool) -> Result<Self> {
        let holds_ranges = true;
        Self::new(block, with_digests).map(|cursor| Self {
            holds_ranges,
            ..cursor
        })
    }

    /// Is there an entry under the cursor?
    pub(super) const fn is_placed(&self) -> bool {
        self.offset < self.entries_len
    }

    /// The entry under the cursor.
    #[inline]
    pub(crate) fn current(&self) -> Option<EntryRef<'_>> {
        if self.offset >= self.entries_len {
            return None;
        }
        let value = self.block.as_ref().get(self.value.0..self.value.1)?;
        let (seqno, kind) = self.trailer;
        Some(EntryRef {
            key: &self.key,
            seqno,
            kind,
            value,
            digest: self.digest,
        })
    }

    /// Moves to the first entry.
    pub(crate) fn seek_first(&mut self) -> Result<()> {
        self.jump(0)?;
        self.step()
    }

    /// Moves to the last entry.
    pub(crate) fn seek_last(&mut self) -> Result<()> {
        if self.restart_count == 0 {
            return Ok(());
        }
        self.jump(self.restart_count - 1)?;
        self.step_until(self.entries_len)
    }

    /// Moves to the first entry at or behind `(key, seqno)`.
    pub(crate) fn seek(&mut self, key: &[u8], seqno: SeqNo) -> Result<()> {
        self.jump(self.restart_before(key, seqno)?)?;
        self.step()?;
        while let Some(entry) = self.current() {
            if compare((entry.key, entry.seqno), (key, seqno)) != Ordering::Less {
                break;
            }
            self.step()?;
        }
        Ok(())
    }

    /// Moves to the last entry at or before `(key, seqno)`; to none if all are behind it.
    pub(crate) fn seek_back(&mut self, key: &[u8], seqno: SeqNo) -> Result<()> {
        self.seek(key, seqno)?;
        match self.current() {
            Some(entry) if compare((entry.key, entry.seqno), (key, seqno)) == Ordering::Equal => {
                Ok(())
            }
            Some(_) => self.prev(),
            None => self.seek_last(),
        }
    }

    /// Moves to the next entry; to none behind the last one.
    pub(crate) fn next(&mut self) -> Result<()> {
        self.step()
    }

    /// Moves to the entry before; to none before the first one.
    pub(crate) fn prev(&mut self) -> Result<()> {
        let target = self.offset;
        if target == 0 || target >= self.entries_len {
            self.rest();
            return Ok(());
        }
        let (mut low, mut high) = (0, self.restart_count);
        // The last restart point before `target`.
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            if self.restart(middle)? < target {
                low = middle
            } else {
                high = middle
            }
        }
        self.jump(low)?;
        self.step_until(target)
    }

    /// Steps until the entry whose successor begins at `target`.
    fn step_until(&mut self, target: usize) -> Result<()> {
        loop {
            self.step()?;
            if self.next_offset >= target || self.offset >= self.entries_len {
                break;
            }
        }
        if self.next_offset == target {
            Ok(())
        } else {
            Err(damaged("entries overlap"))
        }
    }

    /// The last restart point whose key stands before `(key, seqno)`, or the first.
    pub(super) fn restart_before(&self, key: &[u8], seqno: SeqNo) -> Result<usize> {
        let (mut low, mut high) = (0, self.restart_count);
        while high.saturating_sub(low) > 1 {
            let middle = usize::midpoint(low, high);
            let head = self.head(self.restart(middle)?)?;
            if head.shared != 0 {
                return Err(damaged("restart point without a whole key"));
            }
            let bytes = self.slice(head.key_offset, head.unshared)?;
            match compare((bytes, head.trailer.0), (key, seqno)) {
                Ordering::Less => low = middle,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Ok(low)
    }

    /// Prepares to step onto the entry at a restart point.
    fn jump(&mut self, restart: usize) -> Result<()> {
        self.key.clear();
        self.next_offset = if self.restart_count == 0 {
            0
        } else {
            self.restart(restart)?
        };
        Ok(())
    }

    /// Stands on no entry.
    fn rest(&mut self) {
        self.offset = self.entries_len;
        self.next_offset = self.entries_len;
    }

    /// Moves onto the entry at `next_offset`. The key under the cursor must be that of the entry
    /// before, or empty at a restart point.
    fn step(&mut self) -> Result<()> {
        if self.next_offset >= self.entries_len {
            self.rest();
            return Ok(());
        }
        let head = self.head(self.next_offset)?;
        if head.shared > self.key.len() || head.shared + head.unshared > BOUND_LEN_MAX {
            return Err(damaged("key shares more than there is"));
        }
        let value = head.value_range();
        let unshared = self.block.as_ref().get(head.key_offset..value.start);
        let unshared = unshared.ok_or_else(|| damaged("entry does not fit"))?;
        if value.end > self.entries_len {
            return Err(damaged("entry does not fit"));
        }
        self.key.truncate(head.shared);
        self.key.extend_from_slice(unshared);
        self.offset = self.next_offset;
        self.next_offset = value.end;
        self.trailer = head.trailer;
        self.digest = head.digest;
        self.value = (value.start, value.end);
        Ok(())
    }

    pub(super) fn head(&self, offset: usize) -> Result<Head> {
        let entries = self.slice(offset, self.entries_len.saturating_sub(offset))?;
        let (shared, unshared, mut reader) = match entries {
            // Nearly always: keys are short.
            [shared @ 0..=0x7f, unshared @ 0..=0x7f, rest @ ..] => (
                usize::from(*shared),
                usize::from(*unshared),
                Reader::new(rest),
            ),
            _ => {
                let mut reader = Reader::new(entries);
                let shared = reader.varint_u32()? as usize;
                (shared, reader.varint_u32()? as usize, reader)
            }
        };
        let value_len = reader.varint_u32()? as usize;
        if shared > BOUND_LEN_MAX || unshared > BOUND_LEN_MAX || value_len > VALUE_LEN_MAX {
            return Err(damaged("a key or value is too long"));
        }
        let (at, kind) = unpack(reader.u64()?).ok_or_else(|| damaged("unknown kind of entry"))?;
        if self.base_seqno > 0 && at > 0 {
            return Err(damaged("an entry has a number of its own"));
        }
        let trailer = (at + self.base_seqno, kind);
        if (trailer.1 == KeyKind::DeleteRange) != self.holds_ranges {
            return Err(damaged("an entry of a kind that does not belong there"));
        }
        let digest = if self.with_digests {
            Some(restamp(reader.u32()?, at, trailer.0))
        } else {
            None
        };
        let key_offset = self.entries_len - reader.rest().len();
        Ok(Head {
            shared,
            unshared,
            value_len,
            trailer,
            digest,
            key_offset,
        })
    }

    pub(super) fn restart(&self, index: usize) -> Result<usize> {
        let bytes = self.slice(self.entries_len + 4 * index, 4)?;
        let offset = bytes
            .first_chunk()
            .map_or(usize::MAX, |b| u32::from_le_bytes(*b) as usize);
        if offset < self.entries_len && (index != 0 || offset == 0) {
            Ok(offset)
        } else {
            Err(damaged("restart point out of place"))
        }
    }

    pub(super) fn slice(&self, offset: usize, len: usize) -> Result<&[u8]> {
        offset
            .checked_add(len)
            .and_then(|end| self.block.as_ref().get(offset..end))
            .ok_or_else(|| damaged("entry does not fit"))
    }
}

pub(super) fn damaged(what: &'static str) -> Error {
    Error::corruption(what).part("entries of a block")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::SEQNO_MAX;
    use alloc::vec;
    use proptest::prelude::*;

    fn build(keys: &[(Vec<u8>, SeqNo)], interval: u32, with_digests: bool) -> Vec<u8> {
        let mut builder = EntriesBuilder::new(interval, with_digests);
        for (key, seqno) in keys {
            let value = &key[..key.len() / 2];
            let (seqno, kind) = (*seqno, KeyKind::Put);
            builder.add(&EntryRef {
                key,
                seqno,
                kind,
                value,
                digest: None,
            });
        }
        assert_eq!(builder.len(), builder.finish().len());
        builder.finish();
        builder.clear();
        for (key, seqno) in keys {
            let value = &key[..key.len() / 2];
            let (seqno, kind) = (*seqno, KeyKind::Put);
            builder.add(&EntryRef {
                key,
                seqno,
                kind,
                value,
                digest: None,
            });
        }
        builder.finish().to_vec()
    }

    fn place<B: AsRef<[u8]>>(cursor: &EntriesCursor<B>) -> Option<(Vec<u8>, SeqNo)> {
        cursor.current().map(|entry| {
            entry.verify().unwrap();
            assert_eq!(entry.value, &entry.key[..entry.key.len() / 2]);
            (entry.key.to_vec(), entry.seqno)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn walks_and_seeks_like_a_sorted_list(
            keys in prop::collection::btree_set((prop::collection::vec(0_u8..3, 0..6), 1_u64..9), 0..60),
            probes in prop::collection::vec((prop::collection::vec(0_u8..3, 0..6), 0_u64..10), 0..20),
            interval in 1_u32..20,
            with_digests: bool,
        ) {
            let mut keys: Vec<_> = keys.into_iter().collect();
            keys.sort_by(|a, b| compare((&a.0, a.1), (&b.0, b.1)));
            let mut cursor = EntriesCursor::new(build(&keys, interval, with_digests), with_digests).unwrap();
            cursor.seek_first().unwrap();
            for key in &keys {
                prop_assert!(place(&cursor).as_ref() == Some(key));
                cursor.next().unwrap();
            }
            prop_assert!(place(&cursor).is_none());
            cursor.seek_last().unwrap();
            for key in keys.iter().rev() {
                prop_assert!(place(&cursor).as_ref() == Some(key));
                cursor.prev().unwrap();
            }
            prop_assert!(place(&cursor).is_none());
            for (key, seqno) in probes {
                let index = keys.partition_point(|k| compare((&k.0, k.1), (&key, seqno)).is_lt());
                cursor.seek(&key, seqno).unwrap();
                prop_assert!(place(&cursor).as_ref() == keys.get(index));
                if index > 0 && index < keys.len() {
                    cursor.prev().unwrap();
                    prop_assert!(place(&cursor).as_ref() == keys.get(index - 1));
                    cursor.next().unwrap();
                    prop_assert!(place(&cursor).as_ref() == keys.get(index));
                }
                let behind = keys.partition_point(|k| compare((&k.0, k.1), (&key, seqno)).is_le());
                cursor.seek_back(&key, seqno).unwrap();
                prop_assert!(place(&cursor).as_ref() == behind.checked_sub(1).and_then(|i| keys.get(i)));
            }
        }

        #[test]
        fn hostile_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), restarts in 0_u8..4) {
            bytes.extend_from_slice(&[restarts, 0, 0, 0]);
            walk_all(bytes);
        }

        #[test]
        fn flipped_bytes_never_panic(at in 0_usize..4000, bit in 0_u8..8) {
            let keys: Vec<_> = (0..40_u8).map(|i| (vec![b'k', i / 8, i], 3)).collect();
            let mut bytes = build(&keys, 4, false);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            walk_all(bytes);
        }
    }

    fn walk_all(bytes: Vec<u8>) {
        let len = bytes.len();
        let Ok(mut cursor) = EntriesCursor::new(bytes, false) else {
            return;
        };
        let mut walk = |ahead: bool| -> Result<()> {
            if ahead {
                cursor.seek_first()?
            } else {
                cursor.seek_last()?
            }
            let mut steps = 0;
            while cursor.current().is_some() {
                steps += 1;
                assert!(steps <= len, "walks in a circle");
                if ahead {
                    cursor.next()?
                } else {
                    cursor.prev()?
                }
            }
            cursor.seek(b"k\x02", SEQNO_MAX)?;
            cursor.seek_back(b"k\x02", 0)
        };
        let _ = walk(true);
        let _ = walk(false);
    }
}

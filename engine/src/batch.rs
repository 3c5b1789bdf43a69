//! Write batches: operations that become visible together and survive together.
//!
//! - A batch is one unit of history. A long one is cut between operations into parts, one record of
//!   the log for each; each part but the last says that another one follows.
//! - Operation `i` of a batch has sequence number `first + i`.
//! - Decoding a batch from the log never panics and never trusts a length.
//!
//! ```text
//! batch: | first seqno u64 | count u32 | flags u8 | ops length u32 | ops | digests u32 * count |
//! op:    | kind u8 | key length varint | value length varint | key | value |
//! ```
//! All integers are little-endian; flag bit 0: digests follow (else that part is empty);
//! flag bit 1: the batch goes on in the next record. A range
//! tombstone has its start in place of the key and its end in place of the value.

use alloc::vec::Vec;

use crate::codec::{Reader, put_varint};
use crate::entry::{BOUND_LEN_MAX, EntryRef, KEY_LEN_MAX, VALUE_LEN_MAX, content_digest, stamp};
use crate::error::{Error, Result};
use crate::types::{KeyKind, SeqNo};

const FLAG_DIGESTS: u8 = 1;
const FLAG_CONTINUES: u8 = 2;
const HEAD_LEN: usize = 8 + 4 + 1 + 4;

/// Operations that are applied all or none.
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    ops: Vec<u8>,
    digests: Vec<u32>,
    range_count: usize,
    oversized: bool,
}

impl WriteBatch {
    /// Longest key in bytes.
    pub const KEY_LEN_MAX: usize = KEY_LEN_MAX;
    /// Longest value in bytes.
    pub const VALUE_LEN_MAX: usize = VALUE_LEN_MAX;

    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.push(KeyKind::Put, key, value);
    }

    /// Sets `key` to a value that lies elsewhere, where `pointer` says.
    pub fn put_indirect(&mut self, key: &[u8], pointer: &[u8]) {
        self.push(KeyKind::Indirect, key, pointer);
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: &[u8]) {
        self.push(KeyKind::Delete, key, &[]);
    }

    /// Removes all keys from `start` on, up to `end`, which stays. Nothing happens where `end` does
    /// not stand behind `start`.
    ///
    /// Costs one small entry, however many keys there are. Both bounds may be one byte longer than
    /// the longest key, so that there is an end behind every key.
    pub fn delete_range(&mut self, start: &[u8], end: &[u8]) {
        if start < end {
            self.push(KeyKind::DeleteRange, start, end);
        }
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.digests.len()
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Bytes of all operations.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.ops.len()
    }

    fn push(&mut self, kind: KeyKind, key: &[u8], value: &[u8]) {
        let (key_len_max, value_len_max) = lens_max(kind);
        self.range_count += usize::from(kind == KeyKind::DeleteRange);
        self.oversized |= key.len() > key_len_max || value.len() > value_len_max;
        self.ops.reserve(key.len() + value.len() + 11);
        self.ops.push(kind as u8);
        put_varint(&mut self.ops, key.len() as u64);
        put_varint(&mut self.ops, value.len() as u64);
        self.ops.extend_from_slice(key);
        self.ops.extend_from_slice(value);
        self.digests.push(content_digest(kind, key, value));
    }

    /// How many operations delete a range.
    pub(crate) const fn range_count(&self) -> usize {
        self.range_count
    }

    /// Refuses keys and values that are too long.
    pub(crate) fn check(&self) -> Result<()> {
        if self.oversized {
            return Err(Error::invalid(
                "a key or value of the batch is too long (keys: 32 KiB, values: 8 MiB)",
            ));
        }
        Ok(())
    }

    /// Upper bound of the bytes of the batch in the log, in one part.
    pub(crate) fn encoded_len(&self) -> usize {
        HEAD_LEN + self.ops.len() + 4 * self.digests.len()
    }

    /// The batch in parts of at most `len_max` bytes, or of one operation.
    pub(crate) fn parts(&self, first: SeqNo, len_max: usize) -> Parts<'_> {
        Parts {
            ops: &self.ops,
            digests: &self.digests,
            first,
            len_max,
            is_done: false,
        }
    }
}

#[cfg(test)]
impl WriteBatch {
    /// The batch as decoding would give it.
    pub(crate) fn as_ref(&self, first: SeqNo) -> BatchRef<'_> {
        self.parts(first, usize::MAX).next().unwrap()
    }
}

/// Cuts a batch into parts.
pub(crate) struct Parts<'a> {
    ops: &'a [u8],
    digests: &'a [u32],
    first: SeqNo,
    len_max: usize,
    is_done: bool,
}

impl<'a> Iterator for Parts<'a> {
    type Item = BatchRef<'a>;

    fn next(&mut self) -> Option<BatchRef<'a>> {
        if self.is_done {
            return None;
        }
        let (mut ops_len, mut count) = (self.ops.len(), self.digests.len());
        if HEAD_LEN + ops_len + 4 * count > self.len_max {
            (ops_len, count) = (0, 0);
            let mut ops = Reader::new(self.ops);
            while decode_op(&mut ops).is_ok() {
                let end = self.ops.len() - ops.rest().len();
                if count > 0 && HEAD_LEN + end + 4 * (count + 1) > self.len_max {
                    break;
                }
                (ops_len, count) = (end, count + 1);
            }
        }
        let (ops, rest) = self.ops.split_at(ops_len);
        let (digests, rest_digests) = self.digests.split_at(count);
        let part = BatchRef {
            first: self.first,
            count: count as u32,
            ops,
            digests: Digests::Computed(digests),
            continues: !rest.is_empty(),
        };
        self.is_done = rest.is_empty() || count == 0;
        (self.ops, self.digests) = (rest, rest_digests);
        self.first += count as u64;
        Some(part)
    }
}

/// Where the digests of a batch come from.
#[derive(Clone, Copy, Debug)]
enum Digests<'a> {
    /// From the writer of the batch.
    Computed(&'a [u32]),
    /// From the log.
    Read(&'a [u8]),
    /// There are none.
    Absent,
}

/// A batch, or a part of one, with its place in history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchRef<'a> {
    /// Sequence number of the first operation.
    pub(crate) first: SeqNo,
    /// How many operations there are.
    pub(crate) count: u32,
    /// Does the next record begin with another part of the batch?
    pub(crate) continues: bool,
    ops: &'a [u8],
    digests: Digests<'a>,
}

impl<'a> BatchRef<'a> {
    /// Takes the next batch out of the payload of a record.
    pub(crate) fn decode(payload: &mut Reader<'a>) -> Result<Self> {
        let first = payload.u64()?;
        let count = payload.u32()?;
        let flags = payload.u8()?;
        let ops_len = payload.u32()? as usize;
        let ops = payload.take(ops_len)?;
        if flags & !(FLAG_DIGESTS | FLAG_CONTINUES) != 0 {
            return Err(Error::unsupported("unknown flags in a batch").part("batch"));
        }
        let digests = match flags & FLAG_DIGESTS {
            0 => Digests::Absent,
            _ => Digests::Read(payload.take((count as usize).saturating_mul(4))?),
        };
        Ok(Self {
            first,
            count,
            continues: flags & FLAG_CONTINUES != 0,
            ops,
            digests,
        })
    }

    /// Appends it to the payload of a record.
    pub(crate) fn encode(&self, with_digests: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        let digests = if with_digests { FLAG_DIGESTS } else { 0 };
        let continues = if self.continues { FLAG_CONTINUES } else { 0 };
        out.push(digests | continues);
        out.extend_from_slice(&(self.ops.len() as u32).to_le_bytes());
        out.extend_from_slice(self.ops);
        if with_digests && let Digests::Computed(digests) = self.digests {
            let bytes = digests.iter().flat_map(|digest| digest.to_le_bytes());
            out.extend(bytes);
        }
    }

    /// The entries, with full digests where the batch has them.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Result<EntryRef<'a>>> + use<'a> {
        let Self {
            first,
            ops,
            digests,
            ..
        } = *self;
        let mut ops = Reader::new(ops);
        let mut index = 0_usize;
        core::iter::from_fn(move || {
            if ops.is_empty() {
                return None;
            }
            let seqno = first.saturating_add(index as u64);
            let entry = decode_op(&mut ops).map(|(kind, key, value)| {
                let content = match digests {
                    Digests::Computed(list) => list.get(index).copied(),
                    Digests::Read(list) => list
                        .as_chunks()
                        .0
                        .get(index)
                        .copied()
                        .map(u32::from_le_bytes),
                    Digests::Absent => None,
                };
                let digest = content.map(|content| stamp(content, seqno));
                EntryRef {
                    key,
                    seqno,
                    kind,
                    value,
                    digest,
                }
            });
            index += 1;
            if entry.is_err() {
                ops = Reader::new(&[]);
            }
            Some(entry)
        })
    }
}

fn decode_op<'a>(ops: &mut Reader<'a>) -> Result<(KeyKind, &'a [u8], &'a [u8])> {
    let kind = KeyKind::from_byte(ops.u8()?)
        .ok_or_else(|| Error::unsupported("unknown kind of entry").part("batch"))?;
    let key_len = ops.varint_u32()? as usize;
    let value_len = ops.varint_u32()? as usize;
    let (key_len_max, value_len_max) = lens_max(kind);
    if key_len > key_len_max || value_len > value_len_max {
        return Err(Error::corruption("a key or value is too long").part("batch"));
    }
    let (key, value) = (ops.take(key_len)?, ops.take(value_len)?);
    if kind == KeyKind::DeleteRange && key >= value {
        return Err(Error::corruption("a range ends before it begins").part("batch"));
    }
    Ok((kind, key, value))
}

/// How long key and value may be.
const fn lens_max(kind: KeyKind) -> (usize, usize) {
    match kind {
        KeyKind::DeleteRange => (BOUND_LEN_MAX, BOUND_LEN_MAX),
        _ => (KEY_LEN_MAX, VALUE_LEN_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn sample() -> WriteBatch {
        let mut batch = WriteBatch::new();
        batch.put(b"alpha", b"one");
        batch.put_indirect(b"beta", b"pointer");
        batch.delete(b"gamma");
        batch.put(b"", b"");
        batch.delete_range(b"delta", b"epsilon");
        batch.delete_range(b"same", b"same");
        batch
    }

    #[test]
    fn batches_round_trip_with_and_without_digests() {
        for with_digests in [false, true] {
            let mut payload = Vec::new();
            sample().as_ref(7).encode(with_digests, &mut payload);
            sample().as_ref(12).encode(with_digests, &mut payload);
            let mut reader = Reader::new(&payload);
            for first in [7, 12] {
                let batch = BatchRef::decode(&mut reader).unwrap();
                assert_eq!((batch.first, batch.count), (first, 5));
                let entries: Vec<_> = batch.entries().map(Result::unwrap).collect();
                let keys: Vec<_> = entries.iter().map(|entry| entry.key).collect();
                assert_eq!(keys, [&b"alpha"[..], b"beta", b"gamma", b"", b"delta"]);
                for (i, entry) in entries.iter().enumerate() {
                    assert_eq!(entry.seqno, first + i as u64);
                    assert_eq!(entry.digest.is_some(), with_digests);
                    entry.verify().unwrap();
                }
            }
            reader.finish().unwrap();
        }
    }

    #[test]
    fn a_flip_in_an_operation_is_found() {
        let mut payload = Vec::new();
        sample().as_ref(7).encode(true, &mut payload);
        let at = payload
            .windows(3)
            .position(|window| window == b"one")
            .unwrap();
        payload[at] ^= 4;
        let batch = BatchRef::decode(&mut Reader::new(&payload)).unwrap();
        let damaged = batch
            .entries()
            .filter(|entry| entry.as_ref().unwrap().verify().is_err());
        assert_eq!(damaged.count(), 1);
    }

    #[test]
    fn too_long_parts_are_refused() {
        let mut batch = WriteBatch::new();
        batch.put(&vec![0; KEY_LEN_MAX], &[]);
        batch.check().unwrap();
        batch.put(&vec![0; KEY_LEN_MAX + 1], &[]);
        batch.check().unwrap_err();
        let mut batch = WriteBatch::new();
        batch.put(b"k", &vec![0; VALUE_LEN_MAX]);
        batch.check().unwrap();
        batch.put(b"l", &vec![0; VALUE_LEN_MAX + 1]);
        batch.check().unwrap_err();
    }

    #[test]
    fn parts_hold_all_operations_in_order() {
        let batch = sample();
        let expected: Vec<_> = batch.as_ref(7).entries().map(Result::unwrap).collect();
        for len_max in 0..200 {
            let mut payloads = Vec::new();
            for part in batch.parts(7, len_max) {
                let mut payload = Vec::new();
                part.encode(true, &mut payload);
                assert!(payload.len() <= len_max || part.count == 1);
                payloads.push(payload);
            }
            let mut found = Vec::new();
            for (i, payload) in payloads.iter().enumerate() {
                let part = BatchRef::decode(&mut Reader::new(payload)).unwrap();
                assert_eq!(part.first, 7 + found.len() as u64);
                assert_eq!(part.continues, i + 1 < payloads.len());
                found.extend(part.entries().map(Result::unwrap));
            }
            assert_eq!(found, expected);
        }
    }

    proptest! {
        #[test]
        fn hostile_payloads_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut reader = Reader::new(&bytes);
            while let Ok(batch) = BatchRef::decode(&mut reader) {
                batch.entries().for_each(drop);
            }
        }
    }
}

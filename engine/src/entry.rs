//! Entries: what log, memtable and tables hold about a key, their order, and how one walks them.
//!
//! - Internal order: user key ascending, then sequence number descending: the newest first.
//! - No entry has sequence number [`SEQNO_MAX`]; `(key, SEQNO_MAX)` stands before all entries of
//!   `key`, `(key, 0)` is the last place of `key`.
//! - A digest, where there is one, covers kind, sequence number, key and value. It is computed
//!   when the entry enters a batch, travels with it, and is checked at each hand-over.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Error, Result};
use crate::types::{KeyKind, SEQNO_MAX, SeqNo};

/// Longest key in bytes.
pub(crate) const KEY_LEN_MAX: usize = 32 * 1024;

/// Longest bound of a range in bytes: right behind the longest key stands one byte more.
pub(crate) const BOUND_LEN_MAX: usize = KEY_LEN_MAX + 1;

/// Longest value in bytes; larger ones belong into blob files.
pub(crate) const VALUE_LEN_MAX: usize = 8 * 1024 * 1024;

/// An entry as a cursor over the store hands it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// `Put` or `Indirect`.
    pub kind: KeyKind,
    /// The value, or the pointer to it.
    pub value: Vec<u8>,
    /// When it was written.
    pub seqno: SeqNo,
}

/// The value of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// `Put` or `Indirect`.
    pub kind: KeyKind,
    /// The value, or the pointer to it.
    pub bytes: Vec<u8>,
    /// When it was written.
    pub seqno: SeqNo,
}

impl Value {
    /// What a place says that found `found`, and a range tombstone with this number; 0: it found
    /// none.
    pub(crate) fn unless_covered(found: Option<Self>, covering: SeqNo) -> Option<Self> {
        if covering == 0 || found.as_ref().is_some_and(|value| value.seqno > covering) {
            return found;
        }
        Some(Self {
            kind: KeyKind::Delete,
            bytes: Vec::new(),
            seqno: covering,
        })
    }
}

/// An entry where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryRef<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) seqno: SeqNo,
    pub(crate) kind: KeyKind,
    pub(crate) value: &'a [u8],
    pub(crate) digest: Option<u32>,
}

impl EntryRef<'_> {
    /// Checks the digest where there is one.
    pub(crate) fn verify(&self) -> Result<()> {
        match self.digest {
            Some(digest)
                if digest != stamp(content_digest(self.kind, self.key, self.value), self.seqno) =>
            {
                Err(Error::corruption(
                    "the digest of an entry does not match: its bytes changed after they were written; \
                     check the memory of this machine",
                )
                .part("entry"))
            }
            _ => Ok(()),
        }
    }

    /// The digest that this entry should have.
    pub(crate) fn expected_digest(&self) -> u32 {
        stamp(content_digest(self.kind, self.key, self.value), self.seqno)
    }
}

/// Digest of everything but the sequence number, which is not known before the commit.
pub(crate) fn content_digest(kind: KeyKind, key: &[u8], value: &[u8]) -> u32 {
    fold(xxh3_64_with_seed(
        value,
        xxh3_64_with_seed(key, kind as u64),
    ))
}

/// The full digest, once the sequence number is known.
pub(crate) fn stamp(content: u32, seqno: SeqNo) -> u32 {
    content ^ fold(seqno.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The digest of the same entry under another sequence number.
pub(crate) fn restamp(digest: u32, from: SeqNo, to: SeqNo) -> u32 {
    if from == to {
        return digest;
    }
    stamp(stamp(digest, from), to)
}

fn fold(wide: u64) -> u32 {
    (wide ^ (wide >> 32)) as u32
}

/// Sequence number and kind in one word, as on disk.
pub(crate) const fn pack(seqno: SeqNo, kind: KeyKind) -> u64 {
    (seqno << 8) | kind as u64
}

/// The inverse of [`pack`]; `None` for an unknown kind.
pub(crate) const fn unpack(trailer: u64) -> Option<(SeqNo, KeyKind)> {
    match KeyKind::from_byte(trailer as u8) {
        Some(kind) => Some((trailer >> 8, kind)),
        None => None,
    }
}

/// The internal order.
pub(crate) fn compare(a: (&[u8], SeqNo), b: (&[u8], SeqNo)) -> Ordering {
    a.0.cmp(b.0).then_with(|| b.1.cmp(&a.1))
}

/// Walks entries in internal order. A new cursor stands on no entry.
pub(crate) trait EntryCursor: Send {
    /// The entry under the cursor; `None` beyond either end.
    fn current(&self) -> Option<EntryRef<'_>>;
    /// Moves to the first entry at or behind `(key, seqno)`.
    fn seek(&mut self, key: &[u8], seqno: SeqNo) -> Result<()>;
    /// Moves to the last entry at or before `(key, seqno)`.
    fn seek_back(&mut self, key: &[u8], seqno: SeqNo) -> Result<()>;
    /// Moves to the last entry of all.
    fn seek_last(&mut self) -> Result<()>;
    /// Moves to the next entry. REQUIRES: the cursor stands on an entry.
    fn next(&mut self) -> Result<()>;
    /// Moves to the entry before. REQUIRES: the cursor stands on an entry.
    fn prev(&mut self) -> Result<()>;
    /// Moves to the first entry of all.
    fn seek_first(&mut self) -> Result<()> {
        self.seek(&[], SEQNO_MAX)
    }
}

/// A cursor of any kind.
pub(crate) type BoxCursor = Box<dyn EntryCursor>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_key_then_newest_first() {
        assert_eq!(compare((b"a", 1), (b"b", 9)), Ordering::Less);
        assert_eq!(compare((b"a", 9), (b"a", 1)), Ordering::Less);
        assert_eq!(compare((b"a", SEQNO_MAX), (b"a", 9)), Ordering::Less);
        assert_eq!(compare((b"a", 3), (b"a", 3)), Ordering::Equal);
    }

    #[test]
    fn digest_covers_kind_seqno_key_and_value() {
        let entry = |key, seqno, kind, value| EntryRef {
            key,
            seqno,
            kind,
            value,
            digest: None,
        };
        let base = entry(b"key", 7, KeyKind::Put, b"value").expected_digest();
        for other in [
            entry(b"kez", 7, KeyKind::Put, b"value"),
            entry(b"key", 8, KeyKind::Put, b"value"),
            entry(b"key", 7, KeyKind::Indirect, b"value"),
            entry(b"key", 7, KeyKind::Put, b"valuf"),
            entry(b"keyv", 7, KeyKind::Put, b"alue"),
        ] {
            assert_ne!(other.expected_digest(), base);
            assert!(
                EntryRef {
                    digest: Some(base),
                    ..other
                }
                .verify()
                .is_err()
            );
        }
    }

    #[test]
    fn trailer_round_trips() {
        for kind in [
            KeyKind::Delete,
            KeyKind::Put,
            KeyKind::Indirect,
            KeyKind::DeleteRange,
        ] {
            for seqno in [0, 1, SEQNO_MAX] {
                assert_eq!(unpack(pack(seqno, kind)), Some((seqno, kind)));
            }
        }
        assert_eq!(unpack(0xff), None);
    }
}

//! Finds one entry in a block without building the keys that lie before it.
//!
//! - Behind a restart point the search remembers how much of the wanted key the entry before had.
//!   An entry that shares more with that one than this stands before the wanted key too; one that
//!   shares less stands behind it; only where it shares just as much are bytes compared.
//! - The answer is the one that [`EntriesCursor::seek`] stands on.

use core::cmp::Ordering;
use core::ops::Range;

use crate::entry::EntryRef;
use crate::error::Result;
use crate::table::entries::{EntriesCursor, damaged, shared_len};
use crate::types::{KeyKind, SeqNo};

/// The first entry at or behind a place.
pub(super) struct Found {
    /// Is its key the wanted one?
    is_same_key: bool,
    trailer: (SeqNo, KeyKind),
    digest: Option<u32>,
    value: Range<usize>,
}

impl<B: AsRef<[u8]>> EntriesCursor<B> {
    /// The first entry at or behind `(key, seqno)`. The cursor stays where it is.
    pub(super) fn lower_bound(&self, key: &[u8], seqno: SeqNo) -> Result<Option<Found>> {
        if self.is_empty() {
            return Ok(None);
        }
        let mut offset = self.restart(self.restart_before(key, seqno)?)?;
        let (mut matched, mut last_len) = (0, 0);
        while offset < self.entries_len() {
            let head = self.head(offset)?;
            if head.shared > last_len {
                return Err(damaged("key shares more than there is"));
            }
            let unshared = self.slice(head.key_offset, head.unshared)?;
            let value = head.value_range();
            if value.end > self.entries_len() {
                return Err(damaged("entry does not fit"));
            }
            if head.shared == 0 {
                // A restart point, maybe: its key is whole, whatever it shares.
                matched = 0;
            }
            let order = match head.shared.cmp(&matched) {
                Ordering::Greater => Ordering::Less,
                Ordering::Less => Ordering::Greater,
                Ordering::Equal => {
                    let rest = key.get(matched..).unwrap_or_default();
                    let common = shared_len(rest, unshared);
                    matched += common;
                    unshared.get(common).cmp(&rest.get(common))
                }
            };
            let is_same_key = order == Ordering::Equal;
            if order == Ordering::Greater || (is_same_key && head.trailer.0 <= seqno) {
                return Ok(Some(Found {
                    is_same_key,
                    trailer: head.trailer,
                    digest: head.digest,
                    value,
                }));
            }
            last_len = head.shared + head.unshared;
            offset = value.end;
        }
        Ok(None)
    }

    /// The value of an entry that was found.
    pub(super) fn value_of(&self, found: &Found) -> Result<&[u8]> {
        self.slice(found.value.start, found.value.len())
    }

    /// The newest entry of `key` at or before `seqno`.
    pub(super) fn find<'a>(&'a self, key: &'a [u8], seqno: SeqNo) -> Result<Option<EntryRef<'a>>> {
        let Some(found) = self.lower_bound(key, seqno)? else {
            return Ok(None);
        };
        if !found.is_same_key {
            return Ok(None);
        }
        Ok(Some(EntryRef {
            key,
            seqno: found.trailer.0,
            kind: found.trailer.1,
            value: self.value_of(&found)?,
            digest: found.digest,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::entries::EntriesBuilder;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn finds_what_a_cursor_finds(
            keys in prop::collection::btree_set((prop::collection::vec(0_u8..3, 0..7), 1_u64..6), 0..80),
            probes in prop::collection::vec((prop::collection::vec(0_u8..3, 0..7), 0_u64..7), 1..40),
            interval in 1_u32..20,
            with_digests in any::<bool>(),
        ) {
            let mut keys: Vec<_> = keys.into_iter().collect();
            keys.sort_by(|a, b| crate::entry::compare((&a.0, a.1), (&b.0, b.1)));
            let mut builder = EntriesBuilder::new(interval, with_digests);
            for (key, seqno) in &keys {
                let (value, kind) = (&key[..key.len() / 2], KeyKind::Put);
                builder.add(&EntryRef { key, seqno: *seqno, kind, value, digest: None });
            }
            let block = builder.finish().to_vec();
            let mut cursor = EntriesCursor::new(block, with_digests).unwrap();
            for (key, seqno) in &probes {
                let found = cursor.lower_bound(key, *seqno).unwrap();
                let found = found.map(|f| (f.trailer.0, cursor.value_of(&f).unwrap().to_vec(), f.is_same_key));
                let exact = cursor.find(key, *seqno).unwrap().map(|entry| {
                    entry.verify().unwrap();
                    entry.seqno
                });
                cursor.seek(key, *seqno).unwrap();
                let same = |entry: &EntryRef<'_>| entry.key == key;
                let expected = cursor.current();
                prop_assert_eq!(exact, expected.filter(same).map(|entry| entry.seqno));
                prop_assert_eq!(found, expected.map(|e| (e.seqno, e.value.to_vec(), same(&e))));
            }
        }

        #[test]
        fn hostile_blocks_never_panic(
            block in prop::collection::vec(any::<u8>(), 4..300),
            restarts in 0_u32..5,
            key in prop::collection::vec(any::<u8>(), 0..5),
        ) {
            let mut block = block;
            let end = block.len() - 4;
            block[end..].copy_from_slice(&restarts.to_le_bytes());
            if let Ok(cursor) = EntriesCursor::new(block, false) {
                let _ = cursor.find(&key, 1 << 40);
            }
        }
    }
}

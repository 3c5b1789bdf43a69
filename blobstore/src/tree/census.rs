//! Counting what lives in blob files.
//!
//! - A value of a shared file counts once, however many keys point to it.
//! - Memory follows the values that are counted, never numbers from the disk.

use alloc::collections::BTreeMap;

use crate::pointer::BlobPointer;

/// Bits of one piece of a set.
const PIECE_LOG2: u32 = 8;

/// What lives in some blob files.
#[derive(Default)]
pub(super) struct Census(BTreeMap<u64, Count>);

#[derive(Default)]
struct Count {
    live_len: u64,
    /// The values seen so far, by their first ordinal.
    seen: BTreeMap<u32, [u64; 4]>,
}

impl Census {
    /// Counts these files.
    pub(super) fn of(numbers: impl Iterator<Item = u64>) -> Self {
        Self(numbers.map(|number| (number, Count::default())).collect())
    }

    /// Is this file counted?
    pub(super) fn has(&self, number: u64) -> bool {
        self.0.contains_key(&number)
    }

    /// A key points here.
    pub(super) fn add(&mut self, pointer: &BlobPointer, is_shared: bool) {
        let count = self.0.entry(pointer.file).or_default();
        if !is_shared || count.see(pointer.first_ordinal()) {
            // Without a cipher anybody may have written these lengths.
            count.live_len = count.live_len.saturating_add(pointer.disk_len());
        }
    }

    /// The files and how much lives in each.
    pub(super) fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0
            .iter()
            .map(|(number, count)| (*number, count.live_len))
    }

    /// Bytes that live in a file.
    pub(super) fn live_len(&self, number: u64) -> u64 {
        self.0.get(&number).map_or(0, |count| count.live_len)
    }
}

impl Count {
    /// Notes a value; is it a new one?
    fn see(&mut self, ordinal: u32) -> bool {
        let piece = self.seen.entry(ordinal >> PIECE_LOG2).or_default();
        let [place, bit] = [ordinal >> 6 & 3, ordinal & 63];
        let word = piece.get_mut(place as usize).expect("two bits");
        let is_new = *word >> bit & 1 == 0;
        *word |= 1 << bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_seen_once() {
        let mut count = Count::default();
        for ordinal in (0..3000).chain([u32::MAX, 1 << 31]) {
            assert!(count.see(ordinal), "{ordinal}");
            assert!(!count.see(ordinal), "{ordinal}");
        }
    }
}

//! Fetching what lies around short reads at random places, where it pays.
//!
//! - A request to the disk costs about as much as the transfer of 64 KiB. Where a second read meets
//!   another page of a window, more of them are likely to come: the whole window is fetched at once,
//!   into memory that the system lends and takes back.
//! - Scattered readers of much more than memory must not pay for it. Windows met are kept in few
//!   slots, so that in a large store the first read is forgotten before the second one comes; and
//!   a window fetched costs credit, which is earned by reads in windows that were fetched.
//! - All of it is a hint: slots are written without order between threads.

use alloc::boxed::Box;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::types::FileId;

/// Windows begin at multiples of this.
const WINDOW_LEN: u64 = 128 << 10;
/// Longer reads are worth a request of their own.
const SHORT_LEN: u64 = WINDOW_LEN / 4;
/// What reads of one place are told from those of another by.
const PAGE_LEN: u64 = 4 << 10;
/// Windows remembered at most: half a gigabyte of them.
const SLOT_COUNT_LOG2: u32 = 12;
/// Windows that may be fetched before any read was found fetched: 2 MiB.
const CREDIT_FIRST: u32 = 16;
/// More is not saved up.
const CREDIT_MAX: u32 = 1024;

/// The low bits of a slot: the page of the first read, or [`FETCHED`].
const PAGE_BITS: u64 = 0x3f;
const FETCHED: u64 = PAGE_BITS;

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// Someone who reads here and now: whether more is read nearby is a guess.
    Now,
    /// Someone who has announced this read among many: it is certain.
    Soon,
}

/// The windows that short reads have met lately, in all files of a store.
#[derive(Debug)]
pub(super) struct Around {
    slots: Box<[AtomicU64]>,
    credit: AtomicU32,
}

impl Default for Around {
    fn default() -> Self {
        Self {
            slots: (0..1 << SLOT_COUNT_LOG2)
                .map(|_| AtomicU64::new(0))
                .collect(),
            credit: AtomicU32::new(CREDIT_FIRST),
        }
    }
}

impl Around {
    /// Notes a read; returns the window where it is to be fetched now.
    pub(super) fn note(
        &self,
        file: FileId,
        offset: u64,
        len: u64,
        reader: Reader,
    ) -> Option<Range<u64>> {
        if len > SHORT_LEN {
            return None;
        }
        let window = offset / WINDOW_LEN;
        let name = spread(file, window);
        let slot = self.slots.get((name >> (64 - SLOT_COUNT_LOG2)) as usize)?;
        let (name, page) = (name & !PAGE_BITS, offset % WINDOW_LEN / PAGE_LEN);
        let met = slot.load(Ordering::Relaxed);
        if met == name | FETCHED {
            if reader == Reader::Now {
                self.earn();
            }
            return None;
        }
        if met & !PAGE_BITS != name {
            slot.store(name | page, Ordering::Relaxed);
            return None;
        }
        if met & PAGE_BITS == page || (reader == Reader::Now && !self.spend()) {
            return None;
        }
        slot.store(name | FETCHED, Ordering::Relaxed);
        let start = window * WINDOW_LEN;
        Some(start..start.saturating_add(WINDOW_LEN))
    }

    fn earn(&self) {
        let credit = self.credit.load(Ordering::Relaxed);
        self.credit
            .store((credit + 1).min(CREDIT_MAX), Ordering::Relaxed);
    }

    fn spend(&self) -> bool {
        let credit = self.credit.load(Ordering::Relaxed);
        self.credit
            .store(credit.saturating_sub(1), Ordering::Relaxed);
        credit > 0
    }
}

/// A name for a window whose bits are all over the place (the finalizer of `SplitMix64`).
fn spread(file: FileId, window: u64) -> u64 {
    let kind = (file.kind as u64) << 56;
    let mut bits = (file.number ^ kind).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ window;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::FileKind;

    const FILE: FileId = FileId::new(FileKind::Table, 7);

    fn note(around: &Around, offset: u64, reader: Reader) -> Option<Range<u64>> {
        around.note(FILE, offset, 8 << 10, reader)
    }

    #[test]
    fn the_second_place_in_a_window_fetches_it_once() {
        let around = Around::default();
        let window = 5 * WINDOW_LEN;
        assert_eq!(note(&around, window + 100, Reader::Now), None);
        assert_eq!(note(&around, window + 300, Reader::Now), None, "one page");
        let fetched = note(&around, window + 2 * PAGE_LEN, Reader::Now);
        assert_eq!(fetched, Some(window..window + WINDOW_LEN));
        assert_eq!(note(&around, window + 3 * PAGE_LEN, Reader::Now), None);
        let other = FileId::new(FileKind::Blob, 7);
        assert_eq!(around.note(other, window, 100, Reader::Now), None);
        assert_eq!(around.note(FILE, u64::MAX, 100, Reader::Now), None);
        assert_eq!(
            around.note(FILE, u64::MAX - PAGE_LEN, u64::MAX, Reader::Now),
            None
        );
    }

    #[test]
    fn long_reads_fetch_nothing() {
        let around = Around::default();
        for page in 0..4 {
            let offset = page * PAGE_LEN;
            assert_eq!(around.note(FILE, offset, SHORT_LEN + 1, Reader::Now), None);
        }
    }

    /// Reads two places of each window; how many windows were fetched.
    fn pairs(around: &Around, windows: Range<u64>, reader: Reader) -> usize {
        let fetch = |window: u64| {
            note(around, window * WINDOW_LEN, reader);
            note(around, window * WINDOW_LEN + PAGE_LEN, reader)
        };
        windows.filter_map(fetch).count()
    }

    #[test]
    fn guesses_cost_credit_which_reads_earn() {
        let around = Around::default();
        assert_eq!(pairs(&around, 0..1000, Reader::Now), CREDIT_FIRST as usize);
        assert_eq!(pairs(&around, 1000..1100, Reader::Soon), 100, "no guess");
        let found = (0..10).map(|page| 1050 * WINDOW_LEN + page * PAGE_LEN);
        found.for_each(|offset| assert_eq!(note(&around, offset, Reader::Now), None));
        assert_eq!(pairs(&around, 2000..3000, Reader::Now), 10);
    }

    #[test]
    fn a_large_store_is_forgotten_first() {
        let around = Around::default();
        let windows = 64 << SLOT_COUNT_LOG2;
        let mut at = 1_u64;
        let mut fetched = 0;
        for _ in 0..windows / 4 {
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let offset = (at >> 20) % (windows * WINDOW_LEN);
            fetched += u64::from(note(&around, offset, Reader::Soon).is_some());
        }
        assert!(fetched < windows / 4 / 32, "{fetched} of {}", windows / 4);
    }
}

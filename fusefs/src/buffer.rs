//! Unwritten bytes of one chunk.
//!
//! - Pages in `present` hold the newest content of the chunk; all others are those of the base,
//!   the chunk as the tree holds it.
//! - `bytes` begins at the first byte of a page; what a present page has behind the end of
//!   `bytes` is zero.
//! - A page is present as a whole: a write of a part of it takes the rest from the base first.

use alloc::vec::Vec;

use crate::extent::{CHUNK_LEN, PAGE_LEN, mask_below, pages_of, pages_touched};

/// Unwritten bytes of one chunk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffer {
    start: usize,
    bytes: Vec<u8>,
    present: u32,
}

impl Buffer {
    /// Nothing yet, in memory that was used before.
    pub(crate) fn in_memory(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Self {
            bytes,
            ..Self::default()
        }
    }

    /// Its memory.
    pub(crate) fn into_memory(self) -> Vec<u8> {
        self.bytes
    }

    /// Has nothing been written to it yet?
    pub(crate) fn is_fresh(&self) -> bool {
        self.bytes.capacity() == 0 && self.present == 0
    }

    /// Bytes of memory that it holds.
    pub(crate) fn memory_len(&self) -> usize {
        self.bytes.capacity()
    }

    /// The pages that are newer than the base.
    pub(crate) fn present(&self) -> u32 {
        self.present
    }

    /// Is nothing of the base left?
    pub(crate) fn is_whole(&self) -> bool {
        self.present == u32::MAX
    }

    /// Is all of `offset..offset + len` here?
    pub(crate) fn covers(&self, offset: usize, len: usize) -> bool {
        pages_touched(offset, offset + len) & !self.present == 0
    }

    /// Pages of which a write of `offset..offset + len` keeps bytes of a base of `base_len` bytes.
    pub(crate) fn missing(&self, offset: usize, len: usize, base_len: usize) -> u32 {
        let end = offset + len;
        let edges = pages_touched(offset, offset + 1) | pages_touched(end - 1, end);
        let kept = |&page: &usize| {
            let first = page * PAGE_LEN;
            let last = (first + PAGE_LEN).min(base_len);
            first < last && (offset > first || end < last)
        };
        pages_of(edges & !self.present)
            .filter(kept)
            .fold(0, |mask, page| mask | 1 << page)
    }

    /// Takes `pages` from the base.
    pub(crate) fn fill(&mut self, pages: u32, base: &[u8]) {
        for page in pages_of(pages & !self.present) {
            let first = page * PAGE_LEN;
            let from_base = base.get(first..).unwrap_or_default();
            let from_base = &from_base[..from_base.len().min(PAGE_LEN)];
            // A page is put down with all of its bytes: what lay there may be stale.
            self.reserve(first, first + PAGE_LEN);
            let at = first - self.start;
            self.bytes[at..at + from_base.len()].copy_from_slice(from_base);
            self.bytes[at + from_base.len()..at + PAGE_LEN].fill(0);
            self.present |= 1 << page;
        }
    }

    /// Writes `data` at `offset`. The pages of [`Buffer::missing`] have been filled before.
    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        let pages = pages_touched(offset, end);
        if self.bytes.is_empty() {
            self.start = offset - offset % PAGE_LEN;
            if data.len() > CHUNK_LEN / 2 {
                self.bytes.reserve_exact(CHUNK_LEN - self.start);
            }
        }
        self.zero_edges(pages & !self.present, offset, end);
        if self.start + self.bytes.len() == offset {
            self.bytes.extend_from_slice(data);
        } else {
            self.reserve(offset - offset % PAGE_LEN, end);
            let at = offset - self.start;
            self.bytes[at..at + data.len()].copy_from_slice(data);
        }
        self.present |= pages;
    }

    /// Zeros what lies, stale, in pages that become present without being filled from the base.
    fn zero_edges(&mut self, pages: u32, offset: usize, end: usize) {
        for page in pages_of(pages) {
            let first = page * PAGE_LEN;
            self.zero(first, offset.min(first + PAGE_LEN));
            self.zero(end.max(first), first + PAGE_LEN);
        }
    }

    fn zero(&mut self, from: usize, to: usize) {
        let held = self.start + self.bytes.len();
        let (from, to) = (from.max(self.start), to.min(held));
        if from < to {
            self.bytes[from - self.start..to - self.start].fill(0);
        }
    }

    /// Makes room for `from..to`, with zeros in what is new; `from` begins a page.
    fn reserve(&mut self, from: usize, to: usize) {
        if self.bytes.is_empty() {
            self.start = from;
        } else if from < self.start {
            let gap = self.start - from;
            self.bytes.splice(..0, core::iter::repeat_n(0, gap));
            self.start = from;
        }
        let len = to - self.start;
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
    }

    /// Copies `offset..offset + out.len()` over `out`, where present.
    pub(crate) fn copy_over(&self, offset: usize, out: &mut [u8]) {
        let end = offset + out.len();
        for page in pages_of(pages_touched(offset, end) & self.present) {
            let first = (page * PAGE_LEN).max(offset);
            let last = ((page + 1) * PAGE_LEN).min(end);
            let target = &mut out[first - offset..last - offset];
            let held = self.held(first, last);
            target[..held.len()].copy_from_slice(held);
            target[held.len()..].fill(0);
        }
    }

    /// The bytes held of `first..last`, which begins in a present page; what is behind is zero.
    fn held(&self, first: usize, last: usize) -> &[u8] {
        let held = self.bytes.get(first - self.start..).unwrap_or_default();
        &held[..held.len().min(last - first)]
    }

    /// Drops everything from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len.saturating_sub(self.start));
        self.present &= mask_below(len.div_ceil(PAGE_LEN));
    }

    /// The content of a present page, at most `len` bytes of the chunk.
    pub(crate) fn page(&self, page: usize, len: usize) -> Vec<u8> {
        let first = page * PAGE_LEN;
        let last = (first + PAGE_LEN).min(len);
        let mut bytes = self.held(first, last.max(first)).to_vec();
        bytes.resize(last.saturating_sub(first), 0);
        bytes
    }

    /// The whole chunk of `len` bytes: the present pages over `base`.
    pub(crate) fn over(&self, base: &[u8], len: usize) -> Vec<u8> {
        let mut out = base[..base.len().min(len)].to_vec();
        out.resize(len, 0);
        self.copy_over(0, &mut out);
        out
    }

    /// The bytes, where all of `0..len` lies in them as it is.
    pub(crate) fn as_slice(&self, len: usize) -> Option<&[u8]> {
        let direct = self.start == 0 && self.bytes.len() >= len && self.covers(0, len);
        direct.then(|| &self.bytes[..len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Write(usize, usize, u8),
        Truncate(usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        let span = (0..CHUNK_LEN, 1..20_000_usize);
        prop_oneof![
            4 => (span, any::<u8>()).prop_map(|((offset, len), byte)| {
                Op::Write(offset, len.min(CHUNK_LEN - offset), byte)
            }),
            1 => (0..=CHUNK_LEN).prop_map(Op::Truncate),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn writes_over_a_base_read_as_one(
            base_len in 0..=CHUNK_LEN,
            ops in proptest::collection::vec(op(), 1..12),
        ) {
            let mut base = vec![0xbb; base_len];
            let mut model = base.clone();
            model.resize(CHUNK_LEN, 0);
            let mut buffer = Buffer::default();
            for op in ops {
                match op {
                    Op::Write(offset, len, byte) => {
                        let missing = buffer.missing(offset, len, base.len());
                        buffer.fill(missing, &base);
                        buffer.write(offset, &vec![byte; len]);
                        model[offset..offset + len].fill(byte);
                        prop_assert!(buffer.covers(offset, len));
                    }
                    Op::Truncate(len) => {
                        buffer.truncate(len);
                        base.truncate(len);
                        model[len..].fill(0);
                    }
                }
                prop_assert!(buffer.over(&base, CHUNK_LEN) == model);
                let mut part = vec![9; 5000];
                let mut expected = part.clone();
                for page in pages_of(buffer.present()) {
                    let first = page * PAGE_LEN;
                    prop_assert!(buffer.page(page, CHUNK_LEN) == model[first..first + PAGE_LEN]);
                    let range = first.clamp(3000, 8000)..(first + PAGE_LEN).clamp(3000, 8000);
                    expected[range.start - 3000..range.end - 3000].copy_from_slice(&model[range]);
                }
                buffer.copy_over(3000, &mut part);
                prop_assert!(part == expected);
            }
        }
    }

    #[test]
    fn appending_needs_no_base_and_no_copy() {
        let mut buffer = Buffer::default();
        for offset in (0..CHUNK_LEN).step_by(1000) {
            let len = 1000.min(CHUNK_LEN - offset);
            assert_eq!(buffer.missing(offset, len, 0), 0);
            buffer.write(offset, &vec![1; len]);
        }
        assert!(buffer.is_whole());
        assert_eq!(buffer.as_slice(CHUNK_LEN), Some(&[1; CHUNK_LEN][..]));
    }

    #[test]
    fn memory_used_before_shows_nothing_of_it() {
        let mut buffer = Buffer::in_memory(vec![7; CHUNK_LEN]);
        assert!(!buffer.is_fresh() && Buffer::default().is_fresh());
        buffer.write(PAGE_LEN + 5, &[1; 10]);
        buffer.write(3 * PAGE_LEN, &[2; 1]);
        let mut expected = vec![0; CHUNK_LEN];
        expected[PAGE_LEN + 5..PAGE_LEN + 15].fill(1);
        expected[3 * PAGE_LEN] = 2;
        assert!(buffer.over(&[], CHUNK_LEN) == expected);
        assert_eq!(buffer.into_memory().capacity(), CHUNK_LEN);
    }

    #[test]
    fn a_page_in_the_middle_takes_one_page_of_memory() {
        let mut buffer = Buffer::default();
        buffer.write(20 * PAGE_LEN, &[3; PAGE_LEN]);
        assert_eq!(buffer.memory_len(), PAGE_LEN);
        assert_eq!(buffer.missing(20 * PAGE_LEN + 5, 10, CHUNK_LEN), 0);
        assert_eq!(buffer.missing(21 * PAGE_LEN + 5, 10, CHUNK_LEN), 1 << 21);
        assert_eq!(buffer.missing(21 * PAGE_LEN, 10, 21 * PAGE_LEN + 8), 0);
    }
}

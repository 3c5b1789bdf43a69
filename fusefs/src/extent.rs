//! Where bytes of a file lie: pure arithmetic of chunks and pages.
//!
//! - A file is cut in chunks of [`CHUNK_LEN`] bytes, a chunk in [`PAGE_COUNT`] pages.
//! - Bit `n` of a page mask stands for page `n` of one chunk.
//! - No length passes [`FILE_LEN_MAX`], so that offsets fit the signed 64 bits of off_t.

/// Bytes of a chunk.
pub(crate) const CHUNK_LEN: usize = 128 << 10;
/// Bytes of a page, the unit of a patch.
pub(crate) const PAGE_LEN: usize = 4 << 10;
/// Pages of a chunk.
pub(crate) const PAGE_COUNT: usize = CHUNK_LEN / PAGE_LEN;
/// Length of the longest file.
pub(crate) const FILE_LEN_MAX: u64 = i64::MAX as u64;

const _: () = assert!(PAGE_COUNT == 32, "page masks are 32 bits");

/// One run of bytes within one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Index of the chunk.
    pub(crate) index: u64,
    /// First byte within the chunk.
    pub(crate) offset: usize,
    /// Bytes, at least 1.
    pub(crate) len: usize,
    /// Position within the whole run.
    pub(crate) position: usize,
}

/// Cuts `len` bytes from `offset` at the borders of chunks.
pub(crate) fn pieces(offset: u64, len: usize) -> impl Iterator<Item = Piece> {
    let mut position = 0;
    core::iter::from_fn(move || {
        if position >= len {
            return None;
        }
        let at = offset.saturating_add(position as u64);
        let within = within(at);
        let piece = Piece {
            index: index_of(at),
            offset: within,
            len: (CHUNK_LEN - within).min(len - position),
            position,
        };
        position += piece.len;
        Some(piece)
    })
}

/// The chunk that holds the byte at `offset`.
pub(crate) const fn index_of(offset: u64) -> u64 {
    offset / CHUNK_LEN as u64
}

/// The place of the byte at `offset` within its chunk.
pub(crate) const fn within(offset: u64) -> usize {
    (offset % CHUNK_LEN as u64) as usize
}

/// Chunks of a file of `len` bytes.
pub(crate) const fn chunk_count(len: u64) -> u64 {
    len.div_ceil(CHUNK_LEN as u64)
}

/// Bytes that chunk `index` has in a file of `len` bytes.
pub(crate) fn len_in_chunk(len: u64, index: u64) -> usize {
    let start = index.saturating_mul(CHUNK_LEN as u64);
    usize::try_from(len.saturating_sub(start)).map_or(CHUNK_LEN, |rest| rest.min(CHUNK_LEN))
}

/// The end of chunk `index` as an offset of the file, at most `len`.
pub(crate) fn chunk_end(index: u64, len: u64) -> u64 {
    index
        .saturating_add(1)
        .saturating_mul(CHUNK_LEN as u64)
        .min(len)
}

/// The pages that bytes `start..end` of a chunk touch.
pub(crate) const fn pages_touched(start: usize, end: usize) -> u32 {
    if start >= end {
        return 0;
    }
    let first = start / PAGE_LEN;
    let behind = end.div_ceil(PAGE_LEN);
    mask_below(behind) & !mask_below(first)
}

/// The pages below `count`.
pub(crate) const fn mask_below(count: usize) -> u32 {
    if count >= PAGE_COUNT {
        u32::MAX
    } else {
        (1 << count) - 1
    }
}

/// The numbers of the pages in a mask, ascending.
pub(crate) fn pages_of(mask: u32) -> impl Iterator<Item = usize> {
    (0..PAGE_COUNT).filter(move |page| mask >> page & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_run_once() {
        let chunk = CHUNK_LEN as u64;
        for offset in [
            0,
            1,
            chunk - 1,
            chunk,
            5 * chunk + 7,
            FILE_LEN_MAX - 3 * chunk,
        ] {
            for len in [
                0,
                1,
                2,
                CHUNK_LEN - 1,
                CHUNK_LEN,
                CHUNK_LEN + 1,
                3 * CHUNK_LEN,
            ] {
                let mut at = offset;
                for piece in pieces(offset, len) {
                    assert_eq!(piece.index * chunk + piece.offset as u64, at);
                    assert_eq!(at - offset, piece.position as u64);
                    assert!(piece.len > 0 && piece.offset + piece.len <= CHUNK_LEN);
                    at += piece.len as u64;
                }
                assert_eq!(at, offset + len as u64);
            }
        }
    }

    #[test]
    fn masks_name_the_touched_pages() {
        for start in (0..=CHUNK_LEN).step_by(1000) {
            for end in (start..=CHUNK_LEN).step_by(777) {
                let mut expected = 0_u32;
                for page in 0..PAGE_COUNT {
                    let first = page * PAGE_LEN;
                    if start < end && start < first + PAGE_LEN && end > first {
                        expected |= 1 << page;
                    }
                }
                assert_eq!(pages_touched(start, end), expected, "{start}..{end}");
                assert_eq!(
                    pages_of(expected).fold(0, |mask, page| mask | 1 << page),
                    expected
                );
            }
        }
    }

    #[test]
    fn lengths_in_chunks_add_up() {
        for len in [0, 1, CHUNK_LEN as u64, CHUNK_LEN as u64 + 1, 1_000_000] {
            let sum: usize = (0..chunk_count(len) + 2)
                .map(|index| len_in_chunk(len, index))
                .sum();
            assert_eq!(sum as u64, len);
        }
        assert_eq!(len_in_chunk(FILE_LEN_MAX, u64::MAX), 0);
        assert_eq!(len_in_chunk(FILE_LEN_MAX, 0), CHUNK_LEN);
        assert_eq!(chunk_end(u64::MAX, FILE_LEN_MAX), FILE_LEN_MAX);
    }
}

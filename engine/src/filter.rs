//! A Bloom filter in lines of 64 bytes: all probes of one key fall into one cache line.
//!
//! - Never denies a key that was added.
//! - With 10 bits per key about one foreign key in a hundred is not denied.
//! - Bytes that are no filter deny nothing: a filter may only save work, never decide an answer.
//!
//! ```text
//! | line: 64 bytes | ... | probe count: u8 |
//! ```

use alloc::vec::Vec;

use xxhash_rust::xxh3::xxh3_64;

const LINE_LEN: usize = 64;
const LINE_BITS: u32 = 512;
const PROBE_COUNT_MAX: u32 = 16;

/// The hash under which a key is added and asked for.
pub(crate) fn filter_hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// Builds the filter over `hashes`.
pub(crate) fn build_filter(hashes: &[u64], bits_per_key: u32, out: &mut Vec<u8>) {
    let bits_per_key = bits_per_key.clamp(1, 64);
    let bit_count = (hashes.len() as u64 * u64::from(bits_per_key)).max(1);
    let line_count = bit_count.div_ceil(u64::from(LINE_BITS));
    // ln 2 * bits per key, in integers.
    let probe_count = (bits_per_key * 69 / 100).clamp(1, PROBE_COUNT_MAX);
    let start = out.len();
    out.resize(start + line_count as usize * LINE_LEN, 0);
    let (lines, _) = out[start..].as_chunks_mut::<LINE_LEN>();
    for &hash in hashes {
        let line = &mut lines[line_index(hash, line_count as usize)];
        for bit in probes(hash, probe_count) {
            line[bit as usize / 8] |= 1 << (bit % 8);
        }
    }
    out.push(probe_count as u8);
}

/// May a key with this hash have been added?
pub(crate) fn may_contain(filter: &[u8], hash: u64) -> bool {
    let Some((&probe_count, lines)) = filter.split_last() else {
        return true;
    };
    let (lines, rest) = lines.as_chunks::<LINE_LEN>();
    let probe_count = u32::from(probe_count);
    if lines.is_empty() || !rest.is_empty() || !(1..=PROBE_COUNT_MAX).contains(&probe_count) {
        return true;
    }
    let Some(line) = lines.get(line_index(hash, lines.len())) else {
        return true;
    };
    probes(hash, probe_count).all(|bit| line[bit as usize / 8] & (1 << (bit % 8)) != 0)
}

/// Which line: the high half of a product spreads evenly over any count.
fn line_index(hash: u64, line_count: usize) -> usize {
    ((u128::from(hash) * line_count as u128) >> 64) as usize
}

/// Bit numbers in the line, from bits of the hash that hardly decide about the line.
fn probes(hash: u64, count: u32) -> impl Iterator<Item = u32> {
    let mixed = (hash as u32 ^ 0x5bd1_e995).wrapping_mul(0x9e37_79b1);
    let step = mixed.rotate_left(15) | 1;
    (0..count).map(move |i| (mixed.wrapping_add(step.wrapping_mul(i)) >> 23) % LINE_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_are_never_denied_and_few_others_pass() {
        for count in [0_u64, 1, 10, 1000, 20_000] {
            let hashes: Vec<u64> = (0..count).map(|i| filter_hash(&i.to_le_bytes())).collect();
            let mut filter = Vec::new();
            build_filter(&hashes, 10, &mut filter);
            assert!(hashes.iter().all(|&hash| may_contain(&filter, hash)));
            let foreign = (1 << 40..(1 << 40) + 20_000_u64)
                .filter(|i| may_contain(&filter, filter_hash(&i.to_le_bytes())))
                .count();
            assert!(
                foreign < 400,
                "{foreign} of 20000 foreign keys pass a filter of {count}"
            );
        }
    }

    #[test]
    fn bytes_that_are_no_filter_deny_nothing() {
        for bytes in [&[][..], &[6], &[0; 64], &[0; 65], &[0xff; 65], &[0; 100]] {
            assert!(may_contain(bytes, 12345));
        }
    }
}

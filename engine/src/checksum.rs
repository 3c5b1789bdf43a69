//! Checksums against damage: XXH3. They do not stop an attacker; the AEAD tag does.

use xxhash_rust::xxh3;

/// XXH3, 64 bits.
#[must_use]
#[inline]
pub fn xxh3_64(bytes: &[u8]) -> u64 {
    xxh3::xxh3_64(bytes)
}

/// XXH3, 64 bits, different for each `seed`.
#[must_use]
#[inline]
pub fn xxh3_64_seeded(bytes: &[u8], seed: u64) -> u64 {
    xxh3::xxh3_64_with_seed(bytes, seed)
}

/// XXH3, 128 bits: low half, high half.
#[must_use]
#[inline]
pub fn xxh3_128(bytes: &[u8]) -> (u64, u64) {
    let digest = xxh3::xxh3_128(bytes);
    (digest as u64, (digest >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_reference_implementation() {
        assert_eq!(xxh3_64(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(
            xxh3_128(b""),
            (0x6001_c324_468d_497f, 0x99aa_06d3_0147_98d8)
        );
        assert_ne!(xxh3_64(b"a"), xxh3_64_seeded(b"a", 1));
    }
}

//! Tells values that no compressor will shrink from others, by a look at a few bytes.
//!
//! - Such values gain nothing from long frames, so they are cut into short ones: a reader of single
//!   pages opens less.
//! - A wrong guess costs a little: noise in long frames reads slower at random places, and text taken
//!   for noise is stored as it is.

/// Bytes looked at in each stretch.
const SAMPLE_LEN: usize = 512;
/// One sample is taken from each stretch of so many bytes.
const STRETCH_LEN: usize = 8 << 10;
/// Largest sum of the squares of how often each byte value occurs in a sample of noise: it is
/// 512 + 512 * 511 / 256, about 1,534, on average, with a deviation of about 45. Text has ten times as much.
const SQUARES_MAX: u32 = 1534 + 8 * 45;

/// Do samples from all over `value` look like noise: all byte values equally often?
pub(super) fn is_noise(value: &[u8]) -> bool {
    let mut samples = value
        .chunks(STRETCH_LEN)
        .filter_map(|stretch| stretch.get(..SAMPLE_LEN));
    value.len() >= STRETCH_LEN && samples.all(|sample| squares(sample) <= SQUARES_MAX)
}

fn squares(sample: &[u8]) -> u32 {
    let mut counts = [0u16; 256];
    for &byte in sample {
        counts[usize::from(byte)] += 1;
    }
    counts
        .iter()
        .map(|&count| u32::from(count) * u32::from(count))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn noise(len: usize, seed: u8) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new()
            .update(&[seed])
            .finalize_xof()
            .fill(&mut bytes);
        bytes
    }

    #[test]
    fn noise_is_told_from_what_shrinks() {
        for seed in 0..200 {
            assert!(is_noise(&noise(128 << 10, seed)));
        }
        assert!(!is_noise(&[]));
        assert!(!is_noise(&noise(STRETCH_LEN - 1, 1)), "not worth a look");
        let text: Vec<u8> = (0..60_000)
            .flat_map(|i: u32| {
                [
                    b"etaoin shrdlu"[i as usize % 13],
                    b'a' + (i / 97 % 26) as u8,
                ]
            })
            .collect();
        assert!(!is_noise(&text));
        // Half the bytes of a table of numbers never change.
        let numbers: Vec<u8> = (0..30_000u32)
            .flat_map(|i| i.wrapping_mul(7919).to_le_bytes())
            .collect();
        assert!(!is_noise(&numbers));
    }

    #[test]
    fn one_stretch_that_shrinks_is_enough() {
        let mut value = noise(128 << 10, 1);
        value[STRETCH_LEN * 9..STRETCH_LEN * 10].fill(0);
        assert!(!is_noise(&value));
    }
}

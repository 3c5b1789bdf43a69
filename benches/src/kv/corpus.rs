//! The keys and values of every engine: the same for the same number, whoever asks.
//!
//! - A key is 20 bytes; neighbours in number are far apart in order, so loading by number is loading
//!   in random order.
//! - A value is a window of one pool of cells, half noise and half fill: every codec halves it, no
//!   codec does better, and no window comes again within the reach of a compressor.
//! - Whoever reads a value can tell whether it is right without having kept a copy.

use crate::data::Random;
use crate::failure::{Failure, Outcome};

/// Bytes of a key.
pub const KEY_LEN: usize = 20;
/// Bytes of the pool that values are windows of.
pub const POOL_LEN: usize = 16 << 20;
/// Half noise, half fill.
const CELL_LEN: usize = 64;
/// Numbers from here on are never written.
const ABSENT_FROM: u64 = 1 << 40;
/// Words of a read value that are compared lie this many bytes apart.
const LOOK_STRIDE: usize = 512;

/// The key of a number.
#[must_use]
pub fn key(number: u64) -> [u8; KEY_LEN] {
    let mut key = [0; KEY_LEN];
    key[..8].copy_from_slice(&Random::new(number).next_u64().to_be_bytes());
    key[12..].copy_from_slice(&number.to_be_bytes());
    key
}

/// A key that lies among the others and was never written.
#[must_use]
pub fn absent_key(number: u64) -> [u8; KEY_LEN] {
    key(ABSENT_FROM + number)
}

/// The number of a key.
#[must_use]
pub fn number_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(12..KEY_LEN)?.try_into().ok()?))
}

/// All values of one length.
#[derive(Debug)]
pub struct Corpus {
    pool: Vec<u8>,
    value_len: usize,
}

impl Corpus {
    /// The values of `value_len` bytes.
    #[must_use]
    pub fn new(value_len: usize) -> Self {
        let mut random = Random::new(7);
        let mut pool = Vec::with_capacity(POOL_LEN + value_len + CELL_LEN);
        while pool.len() < POOL_LEN {
            for _ in 0..CELL_LEN / 16 {
                pool.extend_from_slice(&random.next_u64().to_le_bytes());
            }
            pool.resize(pool.len() + CELL_LEN / 2, b'.');
        }
        // Windows at the end go on at the start.
        pool.extend_from_within(..value_len + CELL_LEN);
        Self { pool, value_len }
    }

    /// Bytes of each value.
    #[must_use]
    pub fn value_len(&self) -> usize {
        self.value_len
    }

    /// The value that `number` has after `generation` overwrites.
    #[must_use]
    pub fn value(&self, number: u64, generation: u64) -> &[u8] {
        let seed = number ^ (generation << 48);
        let window = Random::new(seed).next_u64() as usize % (POOL_LEN / 16);
        let from = window * 16;
        &self.pool[from..from + self.value_len]
    }

    /// Is `read`, part by part, the value of `number` after one of so many overwrites?
    ///
    /// # Errors
    /// Says whose value it is not.
    pub fn check(
        &self,
        number: u64,
        generations: core::ops::RangeInclusive<u64>,
        read: &[&[u8]],
    ) -> Outcome<()> {
        let mut generations = generations;
        if generations.any(|generation| same(self.value(number, generation), read)) {
            return Ok(());
        }
        Err(Failure::new(format!(
            "the value of key {number} is wrong ({} bytes)",
            read.iter().map(|part| part.len()).sum::<usize>()
        )))
    }
}

fn same(expected: &[u8], read: &[&[u8]]) -> bool {
    let mut rest = expected;
    for part in read {
        let Some((this, behind)) = rest.split_at_checked(part.len()) else {
            return false;
        };
        if !same_part(this, part) {
            return false;
        }
        rest = behind;
    }
    rest.is_empty()
}

fn same_part(expected: &[u8], read: &[u8]) -> bool {
    expected.len() == read.len()
        && expected.last() == read.last()
        && expected
            .chunks(LOOK_STRIDE)
            .zip(read.chunks(LOOK_STRIDE))
            .all(|(left, right)| left[..left.len().min(16)] == right[..right.len().min(16)])
}

/// Which numbers are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// All alike.
    Uniform,
    /// Few of them often: Zipf's law with exponent 0.99.
    Zipf,
}

/// `count` numbers below `bound`.
#[must_use]
pub fn picks(spread: Spread, bound: u64, count: usize, seed: u64) -> Vec<u64> {
    let mut random = Random::new(seed);
    match spread {
        Spread::Uniform => (0..count).map(|_| random.below(bound)).collect(),
        Spread::Zipf => {
            let mut sums = Vec::with_capacity(bound as usize);
            let mut sum = 0.0;
            for rank in 1..=bound {
                sum += (rank as f64).powf(-0.99);
                sums.push(sum);
            }
            let pick = |random: &mut Random| {
                let at = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * sum;
                sums.partition_point(|sum| *sum <= at) as u64
            };
            (0..count)
                .map(|_| pick(&mut random).min(bound - 1))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use structured_zstd::encoding::{CompressionLevel, FrameCompressor};

    #[test]
    fn values_are_halved_and_known_again() {
        let corpus = Corpus::new(16 << 10);
        let mut compressor: FrameCompressor = FrameCompressor::new(CompressionLevel::Level(1));
        let mut out = Vec::new();
        compressor.compress_independent_frame_into(corpus.value(3, 0), &mut out);
        let ratio = (16 << 10) as f64 / out.len() as f64;
        assert!((1.8..2.1).contains(&ratio), "ratio {ratio}");

        assert!(corpus.check(3, 0..=0, &[corpus.value(3, 0)]).is_ok());
        assert!(corpus.check(3, 0..=1, &[corpus.value(3, 1)]).is_ok());
        assert!(corpus.check(3, 0..=0, &[corpus.value(3, 1)]).is_err());
        assert!(corpus.check(3, 0..=0, &[corpus.value(4, 0)]).is_err());
        assert!(corpus.check(3, 0..=0, &[&corpus.value(3, 0)[1..]]).is_err());
    }

    #[test]
    fn keys_are_in_random_order_and_tell_their_number() {
        let mut ascents = 0;
        for number in 0..1000 {
            assert_eq!(number_of(&key(number)), Some(number));
            ascents += usize::from(key(number) < key(number + 1));
            assert_ne!(key(number), absent_key(number));
        }
        assert!((400..600).contains(&ascents), "{ascents}");
        assert_eq!(number_of(b"short"), None);
    }

    #[test]
    fn zipf_asks_for_few_numbers_often() {
        let often = |spread| {
            let picks = picks(spread, 10_000, 10_000, 1);
            assert!(picks.iter().all(|pick| *pick < 10_000));
            picks.iter().filter(|pick| **pick < 100).count()
        };
        assert!(often(Spread::Uniform) < 200);
        assert!(often(Spread::Zipf) > 4000);
    }
}

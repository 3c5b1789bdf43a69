//! Deterministic bytes to write: text that zstd at level 1 halves, and noise that nothing shrinks.
//!
//! The same seed gives the same bytes on every machine. A `Pool` is longer than any window of
//! the compressors under test, so repeating it makes a long file without making it compressible.

use serde::{Deserialize, Serialize};

/// Bytes of one pool.
pub const POOL_LEN: usize = 64 << 20;
/// Distinct words of the text; with the share of numbers it sets the ratio near 2:1.
const WORD_COUNT: u64 = 6000;

/// A small generator (SplitMix64): fast, seedable, and good enough to fool compressors.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator whose whole output follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound` (which is not 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }
}

/// What kind of bytes a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Words and numbers; compresses about 2:1 at zstd level 1.
    Text,
    /// Noise.
    Incompressible,
}

impl Kind {
    /// Fills `len` bytes, the same ones for the same seed.
    #[must_use]
    pub fn bytes(self, seed: u64, len: usize) -> Vec<u8> {
        match self {
            Self::Text => text(seed, len),
            Self::Incompressible => noise(seed, len),
        }
    }

    /// The pool that files of this kind repeat.
    #[must_use]
    pub fn pool(self) -> Vec<u8> {
        self.bytes(7, POOL_LEN)
    }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        out.extend_from_slice(&random.next_u64().to_le_bytes());
    }
    out.truncate(len);
    out
}

fn words(random: &mut Random) -> Vec<String> {
    const SYLLABLES: [&str; 32] = [
        "an", "ber", "co", "de", "en", "fa", "gra", "hi", "in", "ja", "ke", "lo", "men", "no",
        "or", "pre", "qua", "re", "sta", "ti", "un", "ver", "wi", "ex", "yo", "za", "th", "er",
        "al", "ic", "ous", "s",
    ];
    (0..WORD_COUNT)
        .map(|_| {
            let syllables = 1 + random.below(4);
            (0..syllables)
                .map(|_| SYLLABLES[random.below(32) as usize])
                .collect()
        })
        .collect()
}

fn text(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let words = words(&mut random);
    let mut out = Vec::with_capacity(len + 64);
    let mut column = 0;
    while out.len() < len {
        let from = out.len();
        if random.below(16) == 0 {
            out.extend_from_slice(random.below(1 << 40).to_string().as_bytes());
        } else {
            // The product of two uniform numbers leans to the front, as words of a language do.
            let rank = random.below(WORD_COUNT) * random.below(WORD_COUNT) / WORD_COUNT;
            out.extend_from_slice(words[rank as usize].as_bytes());
        }
        column += out.len() - from + 1;
        if column > 80 {
            column = 0;
            out.push(b'\n');
        } else {
            out.push(b' ');
        }
    }
    out.truncate(len);
    out
}

/// One file of generated source-like text, for machines without sources of their own.
#[must_use]
pub fn source_like(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let words = words(&mut Random::new(11));
    let mut out = String::new();
    let functions = 1 + random.below(12);
    let word = |random: &mut Random| &words[random.below(400) as usize];
    out.push_str("// Generated source-like text.\n#include <stdint.h>\n\n");
    for _ in 0..functions {
        let (name, argument) = (word(&mut random), word(&mut random));
        out.push_str(&format!(
            "static int {name}_{argument}(uint32_t {argument})\n{{\n"
        ));
        for _ in 0..3 + random.below(12) {
            let (left, right) = (word(&mut random), word(&mut random));
            let number = random.below(4096);
            match random.below(3) {
                0 => out.push_str(&format!("    uint32_t {left} = {argument} + {number};\n")),
                1 => out.push_str(&format!("    if ({left} > {right})\n        return -1;\n")),
                _ => out.push_str(&format!("    /* {left} {right} {number} */\n")),
            }
        }
        out.push_str("    return 0;\n}\n\n");
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use structured_zstd::encoding::{CompressionLevel, FrameCompressor};

    fn ratio(bytes: &[u8]) -> f64 {
        let mut compressor: FrameCompressor = FrameCompressor::new(CompressionLevel::Level(1));
        let mut out = Vec::new();
        let mut packed = 0;
        for frame in bytes.chunks(64 << 10) {
            compressor.compress_independent_frame_into(frame, &mut out);
            packed += out.len();
        }
        bytes.len() as f64 / packed as f64
    }

    #[test]
    fn text_is_about_two_to_one_and_noise_is_not() {
        let text = ratio(&Kind::Text.bytes(7, 4 << 20));
        assert!((1.9..2.1).contains(&text), "text ratio {text}");
        let noise = ratio(&Kind::Incompressible.bytes(7, 1 << 20));
        assert!((0.98..1.01).contains(&noise), "noise ratio {noise}");
    }

    #[test]
    fn same_seed_same_bytes() {
        for kind in [Kind::Text, Kind::Incompressible] {
            assert_eq!(kind.bytes(3, 10_001), kind.bytes(3, 10_001));
            assert_eq!(kind.bytes(3, 10_001).len(), 10_001);
            assert_ne!(kind.bytes(3, 10_001), kind.bytes(4, 10_001));
        }
        assert_eq!(source_like(1), source_like(1));
        assert_ne!(source_like(1), source_like(2));
    }
}

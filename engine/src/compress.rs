//! Zstandard with coders that live as long as a thread's work.
//!
//! - A [`Scratch`] belongs to one thread at a time; making one is cheap, its coders come on first use.
//! - A body in haste is any other body to its reader: how it was made stands nowhere.
//! - Decompression fills a buffer of exactly the expected length and never more.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use structured_zstd::decoding::FrameDecoder;
use structured_zstd::encoding::{
    CompressionLevel, CompressionParameters, FrameCompressor, LiteralCompressionMode, Strategy,
};

use crate::error::{Error, Result};
use crate::options::Compression;
use crate::sync::Mutex;

/// Largest window a compressed body may ask for: no block is longer.
const WINDOW_LEN_MAX: u64 = 16 << 20;

/// Coders and buffers for sealing and opening blocks, reused from block to block.
#[derive(Default)]
pub struct Scratch {
    compressor: Option<Box<Compressor>>,
    decompressor: Option<Box<FrameDecoder>>,
    in_haste: bool,
    stores_only: bool,
    pub(crate) compressed: Vec<u8>,
}

/// How a compressor is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    Level(i8),
    /// Faster than every level, and smaller than the fast ones where literals are text.
    Haste,
}

/// A compressor that may move to another thread between two calls.
struct Compressor {
    frames: FrameCompressor,
    setting: Setting,
}

// SAFETY: what keeps the compressor from being `Send` is a pointer into the input of the call
// that runs, which is reset before each use and never followed between calls, and a slot for a
// foreign sequence producer, which stays empty: `Compressor` is built here alone and sets none.
unsafe impl Send for Compressor {}

impl Scratch {
    /// Empty: nothing is allocated before the first use.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Compresses in haste while `on`, where a file asks for a level above the fast ones: twice as
    /// fast as level 1. For writers that fall behind.
    pub const fn hurry(&mut self, on: bool) {
        self.in_haste = on;
    }

    /// Compresses nothing while `on`: for bytes that are known not to shrink.
    pub const fn store_only(&mut self, on: bool) {
        self.stores_only = on;
    }

    /// Compresses `plain`; `None` where that is not wanted or does not pay.
    pub(crate) fn compress(&mut self, compression: Compression, plain: &[u8]) -> Option<&[u8]> {
        let Compression::Zstd { level } = compression else {
            return None;
        };
        if plain.len() < WORTH_LEN_MIN || self.stores_only {
            return None;
        }
        let setting = match level {
            0.. if self.in_haste => Setting::Haste,
            _ => Setting::Level(level),
        };
        let compressor = match &mut self.compressor {
            Some(compressor) => {
                compressor.set(setting);
                compressor
            }
            none => none.insert(Box::new(Compressor::new(setting))),
        };
        compressor
            .frames
            .compress_independent_frame_into(plain, &mut self.compressed);
        let pays = self.compressed.len() + plain.len() / 16 < plain.len();
        pays.then_some(&self.compressed)
    }

    /// Fills `out` with the plaintext of `body`.
    pub(crate) fn decompress(&mut self, body: &[u8], out: &mut [u8]) -> Result<()> {
        let decompressor = self.decompressor.get_or_insert_with(new_decompressor);
        match decompressor.decode_all(body, out) {
            Ok(len) if len == out.len() => Ok(()),
            Ok(_) => Err(Error::corruption("the block decompresses to too few bytes")),
            Err(_) => {
                // Its state after an error is not worth trusting.
                self.decompressor = None;
                Err(Error::corruption("the block does not decompress"))
            }
        }
    }
}

impl Compressor {
    fn new(setting: Setting) -> Self {
        let mut compressor = Self {
            frames: FrameCompressor::new(CompressionLevel::Level(LEVEL_IN_HASTE)),
            setting: Setting::Level(LEVEL_IN_HASTE.try_into().expect("a small number")),
        };
        compressor.set(setting);
        compressor
    }

    fn set(&mut self, setting: Setting) {
        if self.setting == setting {
            return;
        }
        self.setting = setting;
        match setting {
            Setting::Level(level) => {
                let level = CompressionLevel::Level(i32::from(level));
                self.frames.set_compression_level(level);
            }
            Setting::Haste => self.frames.set_parameters(&haste()),
        }
    }
}

/// The fast levels win their time by storing literals as they are, which is where text loses most, and
/// little of the time goes. This looks for matches at few places only, and for long ones, and
/// compresses what lies between.
fn haste() -> CompressionParameters {
    CompressionParameters::builder(CompressionLevel::Level(LEVEL_IN_HASTE))
        .strategy(Strategy::Fast)
        .target_length(15)
        .min_match(7)
        .literal_compression(LiteralCompressionMode::Enable)
        .build()
        .expect("all numbers are within bounds")
}

/// The level that haste is derived from.
const LEVEL_IN_HASTE: i32 = 1;

/// Shorter plaintexts than this are never compressed: the frame of zstd eats the gain.
const WORTH_LEN_MIN: usize = 64;

fn new_decompressor() -> Box<FrameDecoder> {
    let mut decompressor = FrameDecoder::new();
    decompressor
        .set_max_window_size(WINDOW_LEN_MAX)
        .expect("the ceiling is within bounds");
    Box::new(decompressor)
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scratch")
    }
}

/// Lends a [`Scratch`] to threads that have none of their own.
#[derive(Debug, Default)]
pub struct ScratchPool {
    idle: Mutex<Vec<Scratch>>,
}

impl ScratchPool {
    /// An empty pool; it grows to the largest number of users at one time.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Calls `work` with a scratch of its own.
    pub fn with<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let idle = self.idle.lock().pop();
        let mut scratch = idle.unwrap_or_default();
        let result = work(&mut scratch);
        self.idle.lock().push(scratch);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn text(len: usize) -> Vec<u8> {
        b"the quick brown fox jumps over the lazy dog. "
            .iter()
            .copied()
            .cycle()
            .take(len)
            .collect()
    }

    #[test]
    fn levels_and_lengths_round_trip() {
        let mut scratch = Scratch::new();
        for level in [-7, -1, 1, 3, 9, 19] {
            for len in [64, 100, 4096, 16 << 10, 300_000] {
                let plain = text(len);
                let zstd = Compression::Zstd { level };
                let Some(body) = scratch.compress(zstd, &plain).map(<[u8]>::to_vec) else {
                    assert!(len <= 100, "text of {len} bytes shrinks");
                    continue;
                };
                let mut out = vec![0; len];
                scratch.decompress(&body, &mut out).unwrap();
                assert_eq!(out, plain);
                for wrong in [0, 1, len - 1, len + 1] {
                    assert!(scratch.decompress(&body, &mut vec![0; wrong]).is_err());
                }
            }
        }
    }

    #[test]
    fn what_does_not_shrink_stays_as_it_is() {
        let mut scratch = Scratch::new();
        let zstd = Compression::Zstd { level: 1 };
        assert_eq!(scratch.compress(zstd, &noise(16 << 10)), None);
        assert_eq!(scratch.compress(zstd, &text(10)), None);
        assert_eq!(scratch.compress(Compression::None, &text(1000)), None);
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    /// Words of a few letters in an order that does not repeat.
    fn words(len: usize) -> Vec<u8> {
        let letters: Vec<u8> = noise(2048).iter().map(|byte| b'a' + byte % 16).collect();
        let word = |number: u8| {
            let first = usize::from(number) * 8;
            let word = &letters[first..first + 3 + usize::from(number % 6)];
            word.iter().copied().chain([b' '])
        };
        noise(len).into_iter().flat_map(word).take(len).collect()
    }

    #[test]
    fn haste_costs_some_length_and_is_left_again() {
        let plain = words(128 << 10);
        let mut scratch = Scratch::new();
        let len_at = |scratch: &mut Scratch, level| {
            let zstd = Compression::Zstd { level };
            let body = scratch.compress(zstd, &plain).unwrap().to_vec();
            let mut out = vec![0; plain.len()];
            scratch.decompress(&body, &mut out).unwrap();
            assert!(out == plain, "level {level}");
            body.len()
        };
        let [one, nine, fast] = [1, 9, -5].map(|level| len_at(&mut scratch, level));
        scratch.hurry(true);
        let hasty = len_at(&mut scratch, 1);
        assert!(one < hasty && hasty < plain.len() / 2, "{one} {hasty}");
        assert_ne!(hasty, fast);
        assert_eq!(len_at(&mut scratch, 9), hasty, "whatever the file asks for");
        assert_eq!(len_at(&mut scratch, -5), fast, "faster already");
        scratch.hurry(false);
        assert_eq!(len_at(&mut scratch, 1), one);
        assert_eq!(len_at(&mut scratch, 9), nine);
        let mut fresh = Scratch::new();
        fresh.hurry(true);
        assert_eq!(len_at(&mut fresh, 1), hasty);
    }

    #[test]
    fn hostile_bodies_are_errors() {
        let mut scratch = Scratch::new();
        let zstd = Compression::Zstd { level: 1 };
        let body = scratch.compress(zstd, &text(5000)).unwrap().to_vec();
        let mut out = vec![0; 5000];
        for bit in 0..body.len() * 8 {
            let mut hostile = body.clone();
            hostile[bit / 8] ^= 1 << (bit % 8);
            // Wrong bytes or an error; never a panic, never more than the buffer.
            let _ = scratch.decompress(&hostile, &mut out);
        }
        for cut in 0..body.len() {
            assert!(scratch.decompress(&body[..cut], &mut out).is_err());
        }
        scratch.decompress(&body, &mut out).unwrap();
        assert_eq!(out, text(5000));
    }

    #[test]
    fn the_pool_lends_and_takes_back() {
        let pool = ScratchPool::new();
        pool.with(|_| pool.with(|_| ()));
        assert_eq!(pool.idle.lock().len(), 2);
        pool.with(|_| ());
        assert_eq!(pool.idle.lock().len(), 2);
    }
}

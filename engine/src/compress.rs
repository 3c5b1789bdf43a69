//! Zstandard with coders that live as long as a thread's work.
//!
//! - A [`Scratch`] belongs to one thread at a time; making one is cheap, its coders come on first use.
//! - Decompression fills a buffer of exactly the expected length and never more.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use structured_zstd::decoding::FrameDecoder;
use structured_zstd::encoding::{CompressionLevel, FrameCompressor};

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
    level_max: Option<i8>,
    stores_only: bool,
    pub(crate) compressed: Vec<u8>,
}

/// A compressor that may move to another thread between two calls.
struct Compressor(FrameCompressor);

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

    /// Compresses at `level` at most from now on, whatever a file asks for; `None` lifts it.
    /// For writers that fall behind.
    pub const fn limit_level(&mut self, level: Option<i8>) {
        self.level_max = level;
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
        let level = level.min(self.level_max.unwrap_or(i8::MAX));
        let level = CompressionLevel::Level(i32::from(level));
        let compressor = match &mut self.compressor {
            Some(compressor) => {
                if compressor.0.compression_level() != level {
                    compressor.0.set_compression_level(level);
                }
                compressor
            }
            none => none.insert(Box::new(Compressor(FrameCompressor::new(level)))),
        };
        compressor
            .0
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
        let mut noise = vec![0; 16 << 10];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let zstd = Compression::Zstd { level: 1 };
        assert_eq!(scratch.compress(zstd, &noise), None);
        assert_eq!(scratch.compress(zstd, &text(10)), None);
        assert_eq!(scratch.compress(Compression::None, &text(1000)), None);
    }

    #[test]
    fn a_limit_lowers_the_level() {
        let plain: Vec<u8> = text(40_000)
            .iter()
            .enumerate()
            .map(|(i, b)| b ^ (i / 97) as u8)
            .collect();
        let mut scratch = Scratch::new();
        let high = Compression::Zstd { level: 9 };
        let better = scratch.compress(high, &plain).unwrap().len();
        scratch.limit_level(Some(-7));
        let limited = scratch.compress(high, &plain).map(<[u8]>::len);
        scratch.limit_level(None);
        let fast = scratch
            .compress(Compression::Zstd { level: -7 }, &plain)
            .map(<[u8]>::len);
        assert_eq!(limited, fast);
        assert_ne!(limited, Some(better));
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

//! The numbers of a blob store: those fixed when it is created, and those chosen at each opening.
//!
//! - What shapes the files is fixed at creation and kept, sealed, in the keyring: nobody without the
//!   root key can weaken cipher, parity or digests of a store.
//! - What only shapes memory is chosen at each opening and never on disk.

use alloc::vec::Vec;

use coffer_engine::codec::{Reader, put_u32, put_u64};
use coffer_engine::{
    BlockTransform, Cipher, Compression, Ecc, Error, KvProtection, Options, Preset, Result,
};

use crate::keyring::KdfCost;
use crate::pointer::FRAME_LOG2;

const SETTINGS_VERSION: u8 = 1;

/// What is fixed when a store is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Compression, cipher and parity of every file.
    pub transform: BlockTransform,
    /// Digests per entry.
    pub kv_protection: KvProtection,
    /// Every write waits for a sync.
    pub sync_writes: bool,
    /// Plaintext of one frame of a large value: a power of two from 4 KiB to 1 MiB.
    pub frame_len: u32,
    /// Longest value that stays in the tree.
    pub inline_len_max: u32,
    /// A blob file of at least this many bytes is finished.
    pub blob_file_len: u64,
    /// Cost of the first slot's key derivation; each slot records its own.
    pub kdf: KdfCost,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self::preset(Preset::CofferDefault)
    }
}

impl StoreOptions {
    /// The choices of a preset.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let mut engine = Options::default();
        engine.apply(preset);
        Self {
            transform: engine.transform,
            kv_protection: engine.kv_protection,
            sync_writes: engine.sync_writes,
            frame_len: 128 << 10,
            inline_len_max: 4 << 10,
            blob_file_len: 256 << 20,
            kdf: KdfCost::default(),
        }
    }

    /// Are all numbers within their bounds?
    ///
    /// # Errors
    /// `Invalid` naming the first that is not.
    pub fn validate(&self) -> Result<()> {
        if !self.frame_len.is_power_of_two() || !FRAME_LOG2.contains(&self.frame_log2()) {
            return Err(Error::invalid(
                "the frame length must be a power of two from 4 KiB to 1 MiB",
            ));
        }
        if self.inline_len_max > 1 << 20 {
            return Err(Error::invalid("values above 1 MiB cannot stay in the tree"));
        }
        if !(1 << 16..=1 << 40).contains(&self.blob_file_len) {
            return Err(Error::invalid(
                "the blob file length must be from 64 KiB to 1 TiB",
            ));
        }
        if !self.transform.ecc.is_valid() {
            return Err(Error::invalid(
                "the number of parity shards is out of bounds",
            ));
        }
        if let Compression::Zstd { level } = self.transform.compression
            && !(-7..=22).contains(&level)
        {
            return Err(Error::invalid(
                "the compression level must be from -7 to 22",
            ));
        }
        self.kdf.validate()
    }

    pub(crate) fn frame_log2(&self) -> u8 {
        self.frame_len.trailing_zeros() as u8
    }

    /// The bytes that the keyring seals.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (codec, level) = match self.transform.compression {
            Compression::None => (0, 0),
            Compression::Zstd { level } => (1, level),
        };
        let mut out = vec![
            SETTINGS_VERSION,
            codec,
            level as u8,
            self.transform.cipher as u8,
            u8::from(self.kv_protection == KvProtection::On),
            u8::from(self.sync_writes),
            self.frame_log2(),
        ];
        out.extend_from_slice(&self.transform.ecc.to_bytes());
        put_u32(&mut out, self.inline_len_max);
        put_u64(&mut out, self.blob_file_len);
        out
    }

    /// Settings from the keyring, which vouches for them.
    ///
    /// # Errors
    /// `Unsupported` for settings of a newer version.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let newer = || Error::unsupported("settings of a newer version").part("keyring");
        let mut reader = Reader::new(bytes);
        let [
            version,
            codec,
            level,
            cipher,
            kv_protection,
            sync_writes,
            frame_log2,
        ] = reader.array()?;
        if version != SETTINGS_VERSION || frame_log2 > *FRAME_LOG2.end() {
            return Err(newer());
        }
        let compression = match codec {
            0 => Compression::None,
            1 => Compression::Zstd { level: level as i8 },
            _ => return Err(newer()),
        };
        let store = Self {
            transform: BlockTransform {
                compression,
                cipher: Cipher::from_byte(cipher).ok_or_else(newer)?,
                ecc: Ecc::from_bytes(reader.array()?).ok_or_else(newer)?,
            },
            kv_protection: if kv_protection == 0 {
                KvProtection::Off
            } else {
                KvProtection::On
            },
            sync_writes: sync_writes != 0,
            frame_len: 1 << frame_log2,
            inline_len_max: reader.u32()?,
            blob_file_len: reader.u64()?,
            kdf: KdfCost::default(),
        };
        reader.finish()?;
        store.validate()?;
        Ok(store)
    }
}

/// What is chosen at each opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Memory of one memtable.
    pub memtable_len: usize,
    /// Memory of the block cache.
    pub cache_len: usize,
    /// Memory of the row cache: small values that are read again and again, by themselves. What lies there
    /// often lies in the block cache too, so it is worth little beside one that holds everything.
    pub row_cache_len: usize,
    /// Finished blob files that are kept open.
    pub blob_reader_count_max: usize,
    /// Frames of large values stay in the cache, decoded. Not for callers who keep what they read.
    pub cache_frames: bool,
    /// Flush, compaction and garbage collection run on a thread of their own, where the environment
    /// has threads; otherwise by calls of `maintain` alone.
    pub background: bool,
    /// A blob file is a victim of garbage collection when this many percent of it are dead.
    pub garbage_percent_min: u8,
}

impl Default for OpenOptions {
    fn default() -> Self {
        let engine = Options::default();
        Self {
            memtable_len: engine.memtable_len,
            cache_len: engine.cache_len,
            row_cache_len: engine.row_cache_len,
            blob_reader_count_max: 256,
            cache_frames: true,
            background: true,
            garbage_percent_min: 50,
        }
    }
}

impl OpenOptions {
    /// The engine's numbers for a store made with `store`. The tree itself syncs after each write
    /// where the store asks for that: it has to settle its claims in between.
    pub(crate) fn engine(&self, store: &StoreOptions) -> Options {
        Options {
            transform: store.transform,
            kv_protection: store.kv_protection,
            sync_writes: false,
            memtable_len: self.memtable_len,
            cache_len: self.cache_len,
            row_cache_len: self.row_cache_len,
            ..Options::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_round_trip() {
        for preset in [
            Preset::RocksDbParity,
            Preset::CofferDefault,
            Preset::CofferParanoid,
        ] {
            let mut store = StoreOptions::preset(preset);
            store.frame_len = 64 << 10;
            store.inline_len_max = 77;
            let bytes = store.encode();
            assert_eq!(StoreOptions::decode(&bytes).unwrap(), store);
            for cut in 0..bytes.len() {
                assert!(StoreOptions::decode(&bytes[..cut]).is_err());
            }
        }
        let mut store = StoreOptions::default();
        store.transform.compression = Compression::Zstd { level: -5 };
        assert_eq!(StoreOptions::decode(&store.encode()).unwrap(), store);
    }

    #[test]
    fn numbers_out_of_bounds_are_named() {
        let refused = |change: fn(&mut StoreOptions)| {
            let mut store = StoreOptions::default();
            change(&mut store);
            store.validate().is_err()
        };
        assert!(!refused(|_| ()));
        assert!(refused(|store| store.frame_len = 3 << 12));
        assert!(refused(|store| store.frame_len = 2 << 10));
        assert!(refused(|store| store.frame_len = 2 << 20));
        assert!(refused(|store| store.inline_len_max = 2 << 20));
        assert!(refused(|store| store.blob_file_len = 0));
        assert!(refused(|store| store.transform.ecc = Ecc::Xor { data: 0 }));
        assert!(refused(
            |store| store.transform.compression = Compression::Zstd { level: 99 }
        ));
        assert!(refused(|store| store.kdf.passes = 0));
    }
}

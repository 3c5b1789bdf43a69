//! The numbers that shape a store: block axes, lengths, triggers. Live parts stand in `Env`.
//!
//! - Compression, cipher and ECC are three fields of one struct: all eight on/off combinations
//!   are valid, and per-entry protection is a fourth choice independent of them.
//! - The library default has every format feature off; presets switch them on.
//! - The byte values of these enums are on disk: they never change their meaning.

/// How the plaintext of a block is made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// Zstandard; blocks that it does not shrink are stored as they are.
    Zstd {
        /// Speed against ratio: -7 (fastest) to 22; 1 is a good choice.
        level: i8,
    },
}

/// How a block is kept secret and authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Cipher {
    /// Not at all: checksums find damage, nobody finds forgery.
    None = 0,
    /// AES-256-GCM with per-file keys and synthetic nonces.
    Aes256Gcm = 1,
}

impl Cipher {
    /// The cipher with this value on disk.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::None),
            1 => Some(Self::Aes256Gcm),
            _ => None,
        }
    }
}

/// How damaged bytes of a block are computed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ecc {
    /// Not at all.
    None,
    /// One check byte for each 8 bytes: any single flipped bit in them heals.
    SecDed,
    /// One parity shard over `data` shards: any one shard heals.
    Xor {
        /// Shards the block is cut into, 1 to 64.
        data: u8,
    },
    /// `parity` shards over `data` shards: any `parity` shards heal.
    ReedSolomon {
        /// Shards the block is cut into, 1 to 64.
        data: u8,
        /// Parity shards, 1 to 16.
        parity: u8,
    },
}

impl Ecc {
    /// What `init` chooses: about 6 % of space, one damaged sixteenth of a block heals.
    pub const DEFAULT_STORE: Self = Self::Xor { data: 16 };
    /// What manifest, `CURRENT` and key file carry whatever the store chose.
    pub const METADATA: Self = Self::ReedSolomon { data: 4, parity: 2 };

    /// Four bytes for the file header.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        match self {
            Self::None => [0, 0, 0, 0],
            Self::SecDed => [1, 0, 0, 0],
            Self::Xor { data } => [2, data, 1, 0],
            Self::ReedSolomon { data, parity } => [3, data, parity, 0],
        }
    }

    /// The choice behind four bytes of a file header; `None` where they mean nothing.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 4]) -> Option<Self> {
        let ecc = match bytes {
            [0, 0, 0, 0] => Self::None,
            [1, 0, 0, 0] => Self::SecDed,
            [2, data, 1, 0] => Self::Xor { data },
            [3, data, parity, 0] => Self::ReedSolomon { data, parity },
            _ => return None,
        };
        if ecc.is_valid() { Some(ecc) } else { None }
    }

    /// Are the shard counts within bounds?
    #[must_use]
    pub const fn is_valid(self) -> bool {
        match self {
            Self::None | Self::SecDed => true,
            Self::Xor { data } => data >= 1 && data <= 64,
            Self::ReedSolomon { data, parity } => {
                data >= 1 && data <= 64 && parity >= 1 && parity <= 16
            }
        }
    }
}

/// The three axes of a sealed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockTransform {
    /// Smaller.
    pub compression: Compression,
    /// Secret and authentic.
    pub cipher: Cipher,
    /// Healing.
    pub ecc: Ecc,
}

impl BlockTransform {
    /// All three axes off.
    pub const PLAIN: Self = Self {
        compression: Compression::None,
        cipher: Cipher::None,
        ecc: Ecc::None,
    };

    /// The same cipher, uncompressed, with the parity of metadata: for manifest and `CURRENT`.
    #[must_use]
    pub const fn for_metadata(self) -> Self {
        Self {
            compression: Compression::None,
            cipher: self.cipher,
            ecc: Ecc::METADATA,
        }
    }
}

impl Default for BlockTransform {
    fn default() -> Self {
        Self::PLAIN
    }
}

/// Does each entry carry a digest from the write call to the read call?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KvProtection {
    /// No.
    #[default]
    Off,
    /// Yes: flipped bits in memory are found at each hand-over.
    On,
}

/// A named set of choices, for stores and for fair comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Preset {
    /// The promises of RocksDB and no more: checksums, **no encryption, no parity**; zstd.
    ///
    /// "Parity" means "on a par with", for comparisons. Values lie readable on the disk, and damage
    /// is found but never healed.
    RocksDbParity,
    /// What `init` chooses: zstd, encryption, XOR parity.
    CofferDefault,
    /// As `CofferDefault`, with Reed-Solomon parity, digests per entry, and a sync for each write.
    CofferParanoid,
}

/// All numbers of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The axes of tables and logs.
    pub transform: BlockTransform,
    /// Digests per entry.
    pub kv_protection: KvProtection,
    /// Every write waits for a sync, whatever its own options say.
    pub sync_writes: bool,
    /// Memory of one memtable before it is flushed.
    pub memtable_len: usize,
    /// Full memtables that may wait for their flush before writers wait.
    pub memtable_count_max: usize,
    /// Plaintext of a data block.
    pub block_len: usize,
    /// Entries between two restart points of a block.
    pub restart_interval: usize,
    /// Bits of filter for each key; 0 writes no filters.
    pub filter_bits_per_key: u32,
    /// Memory of the block cache.
    pub cache_len: usize,
    /// Memory of the row cache, which answers point reads without their blocks; 0 keeps none.
    pub row_cache_len: usize,
    /// Tables at level 0 that start a compaction.
    pub level0_trigger: usize,
    /// Tables at level 0 from which on writers are slowed.
    pub level0_slow: usize,
    /// Tables at level 0 at which writers are stopped.
    pub level0_stall: usize,
    /// Bytes of level 1.
    pub level_base_len: u64,
    /// How much larger each level is than the one above.
    pub level_ratio: u64,
    /// Bytes of one table.
    pub table_len: u64,
    /// Pieces that one compaction is cut into at most, to be worked on by several threads.
    pub subcompaction_count_max: usize,
    /// Bytes per second that compactions write at most; 0 sets no bound.
    pub compaction_bytes_per_s_max: u64,
    /// Bytes of the log that may wait in memory while no write asks for a sync.
    pub wal_buffer_len: usize,
    /// Bytes of one record of the log, at most 12 MiB: a longer batch takes several.
    pub wal_record_len_max: usize,
    /// Bytes of edits after which a new manifest is begun, beyond twice what it began with.
    pub manifest_len: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            transform: BlockTransform::PLAIN,
            kv_protection: KvProtection::Off,
            sync_writes: false,
            memtable_len: 64 << 20,
            memtable_count_max: 2,
            block_len: 16 << 10,
            restart_interval: 16,
            filter_bits_per_key: 10,
            cache_len: 64 << 20,
            row_cache_len: 8 << 20,
            level0_trigger: 4,
            level0_slow: 12,
            level0_stall: 24,
            level_base_len: 64 << 20,
            level_ratio: 10,
            table_len: 32 << 20,
            subcompaction_count_max: 4,
            compaction_bytes_per_s_max: 0,
            wal_buffer_len: 64 << 10,
            wal_record_len_max: 12 << 20,
            manifest_len: 1 << 20,
        }
    }
}

impl Options {
    /// Sets the choices that `preset` names and leaves all others.
    pub const fn apply(&mut self, preset: Preset) {
        let zstd = Compression::Zstd { level: 1 };
        let (cipher, ecc, kv_protection, sync_writes) = match preset {
            Preset::RocksDbParity => (Cipher::None, Ecc::None, KvProtection::Off, false),
            Preset::CofferDefault => {
                let ecc = Ecc::DEFAULT_STORE;
                (Cipher::Aes256Gcm, ecc, KvProtection::Off, false)
            }
            Preset::CofferParanoid => {
                let (data, parity) = (8, 2);
                let ecc = Ecc::ReedSolomon { data, parity };
                (Cipher::Aes256Gcm, ecc, KvProtection::On, true)
            }
        };
        self.transform = BlockTransform {
            compression: zstd,
            cipher,
            ecc,
        };
        self.kv_protection = kv_protection;
        self.sync_writes = sync_writes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecc_bytes_round_trip_and_hostile_ones_are_refused() {
        for first in 0..=4 {
            for data in 0..=70 {
                for parity in 0..=20 {
                    for last in 0..=1 {
                        let bytes = [first, data, parity, last];
                        if let Some(ecc) = Ecc::from_bytes(bytes) {
                            assert_eq!(ecc.to_bytes(), bytes);
                            assert!(ecc.is_valid());
                        }
                    }
                }
            }
        }
        assert_eq!(Ecc::from_bytes([2, 0, 1, 0]), None);
        assert_eq!(Ecc::from_bytes([3, 4, 17, 0]), None);
        let ecc = Ecc::DEFAULT_STORE;
        assert_eq!(Ecc::from_bytes(ecc.to_bytes()), Some(ecc));
        let ecc = Ecc::METADATA;
        assert_eq!(Ecc::from_bytes(ecc.to_bytes()), Some(ecc));
    }

    #[test]
    fn presets_set_exactly_their_choices() {
        let mut options = Options {
            block_len: 4096,
            ..Options::default()
        };
        options.apply(Preset::CofferParanoid);
        assert_eq!(options.block_len, 4096);
        assert!(options.sync_writes);
        assert_eq!(options.kv_protection, KvProtection::On);
        options.apply(Preset::RocksDbParity);
        assert!(!options.sync_writes);
        assert_eq!(options.transform.cipher, Cipher::None);
        assert_eq!(options.transform.ecc, Ecc::None);
    }
}

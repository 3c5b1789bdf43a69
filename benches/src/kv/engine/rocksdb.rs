//! RocksDB: zstd at every level, values in its blob files or in its tables.
//!
//! A manual compaction is made to rewrite the last level too, as everybody else's does.

use std::path::Path;

use rocksdb::{BlockBasedOptions, BottommostLevelCompaction, Cache, CompactOptions, DB};
use rocksdb::{DBCompressionType, IteratorMode, Options, WriteOptions};

use crate::failure::{Context, Outcome};
use crate::kv::engine::{CACHE_LEN, Engine, INLINE_LEN_MAX, Look, LookEntry, MEMTABLE_LEN};
use crate::kv::engine::{Packing, Seen};

struct RocksDb {
    db: DB,
    synced: WriteOptions,
}

pub(super) fn describe(apart: bool, packing: Packing) -> (String, String) {
    let codec = match packing {
        Packing::Own => "zstd 1 at every level",
        Packing::None => "uncompressed",
    };
    let shape = if apart {
        "values apart in blob files"
    } else {
        "values in tables"
    };
    (
        format!("crate 0.25 (11.8): {codec}, {shape}, blocks 16 KiB, 2 background jobs"),
        "log, written by each commit; sync: fdatasync of the log".into(),
    )
}

fn options(apart: bool, packing: Packing) -> Options {
    let codec = match packing {
        Packing::Own => DBCompressionType::Zstd,
        Packing::None => DBCompressionType::None,
    };
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(CACHE_LEN));
    table.set_bloom_filter(10.0, false);
    table.set_block_size(16 << 10);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(MEMTABLE_LEN);
    options.set_max_background_jobs(2);
    options.set_compression_type(codec);
    options.set_compression_options(-14, 1, 0, 0);
    options.set_bottommost_compression_type(codec);
    options.set_bottommost_compression_options(-14, 1, 0, 0, true);
    options.set_enable_blob_files(apart);
    options.set_min_blob_size(INLINE_LEN_MAX as u64 + 1);
    options.set_blob_compression_type(codec);
    options.set_enable_blob_gc(true);
    options.set_blob_gc_age_cutoff(1.0);
    options.set_blob_gc_force_threshold(0.5);
    options
}

pub(super) fn open(apart: bool, dir: &Path, packing: Packing) -> Outcome<Box<dyn Engine>> {
    let db = DB::open(&options(apart, packing), dir).context("rocksdb")?;
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    Ok(Box::new(RocksDb { db, synced }))
}

impl Engine for RocksDb {
    fn put(&self, key: &[u8], value: &[u8], sync: bool) -> Outcome<()> {
        if sync {
            self.db.put_opt(key, value, &self.synced).context("put")
        } else {
            self.db.put(key, value).context("put")
        }
    }

    fn get(&self, key: &[u8], look: &mut Look<'_>) -> Outcome<bool> {
        match self.db.get_pinned(key).context("get")? {
            Some(value) => look(&[&*value]).map(|()| true),
            None => Ok(false),
        }
    }

    fn scan(&self, with_values: bool, look: &mut LookEntry<'_>) -> Outcome<()> {
        if with_values {
            for entry in self.db.iterator(IteratorMode::Start) {
                let (key, value) = entry.context("scan")?;
                look(&key, Seen::Value(&[&*value]))?;
            }
            return Ok(());
        }
        let mut entries = self.db.raw_iterator();
        entries.seek_to_first();
        while let Some(key) = entries.key() {
            look(key, Seen::Key)?;
            entries.next();
        }
        entries.status().context("scan")
    }

    fn compact(&self) -> Outcome<()> {
        self.db.flush().context("flush")?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db
            .compact_range_opt(None::<&[u8]>, None::<&[u8]>, &options);
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.db.flush().context("close")
    }
}

//! Fjall: one keyspace, values apart in its blob files, LZ4 at every level.
//!
//! By itself it moves live values out of a quarter of the half-dead files only, the oldest, and learns at
//! a compaction what is dead, so that the next one acts on it. Here it looks at all files, and a compaction to the end is two where
//! values are dead: the others leave none behind either.

use std::path::Path;
use std::time::Duration;

use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions};
use fjall::{PersistMode, Readable};

use crate::failure::{Context, Outcome};
use crate::kv::engine::{CACHE_LEN, Engine, INLINE_LEN_MAX, Look, LookEntry, MEMTABLE_LEN};
use crate::kv::engine::{Packing, Seen};

struct Fjall {
    keyspace: Keyspace,
    database: Database,
}

pub(super) fn describe(packing: Packing) -> (String, String) {
    let codec = match packing {
        Packing::Own => "lz4 at every level and in blob files",
        Packing::None => "uncompressed",
    };
    (
        format!("3.1.13: {codec}, 2 worker threads, dead values taken out of files of any age"),
        "journal, written by each commit; sync: fdatasync of the journal".into(),
    )
}

pub(super) fn open(dir: &Path, packing: Packing) -> Outcome<Box<dyn Engine>> {
    let codec = match packing {
        Packing::Own => CompressionType::Lz4,
        Packing::None => CompressionType::None,
    };
    let database = Database::builder(dir)
        .cache_size(CACHE_LEN as u64)
        .journal_compression(codec)
        .worker_threads(2)
        .open()
        .context("fjall")?;
    let options = || {
        let apart = KvSeparationOptions::default()
            .separation_threshold(INLINE_LEN_MAX as u32 + 1)
            .age_cutoff(1.0)
            .compression(codec);
        KeyspaceCreateOptions::default()
            .max_memtable_size(MEMTABLE_LEN as u64)
            .data_block_compression_policy(CompressionPolicy::all(codec))
            .with_kv_separation(Some(apart))
    };
    let keyspace = database.keyspace("bench", options).context("fjall")?;
    Ok(Box::new(Fjall { keyspace, database }))
}

impl Engine for Fjall {
    fn put(&self, key: &[u8], value: &[u8], sync: bool) -> Outcome<()> {
        self.keyspace.insert(key, value).context("insert")?;
        if sync {
            self.database
                .persist(PersistMode::SyncData)
                .context("persist")?;
        }
        Ok(())
    }

    fn get(&self, key: &[u8], look: &mut Look<'_>) -> Outcome<bool> {
        match self.keyspace.get(key).context("get")? {
            Some(value) => look(&[&*value]).map(|()| true),
            None => Ok(false),
        }
    }

    fn scan(&self, with_values: bool, look: &mut LookEntry<'_>) -> Outcome<()> {
        let snapshot = self.database.snapshot();
        for guard in snapshot.iter(&self.keyspace) {
            if with_values {
                let (key, value) = guard.into_inner().context("scan")?;
                look(&key, Seen::Value(&[&*value]))?;
            } else {
                look(&guard.key().context("scan")?, Seen::Key)?;
            }
        }
        Ok(())
    }

    fn compact(&self) -> Outcome<()> {
        self.keyspace.rotate_memtable_and_wait().context("flush")?;
        // It awaits nothing where the last write has just filled a memtable.
        while self.keyspace.sealed_memtable_count() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.keyspace.major_compact().context("compact")?;
        if self.keyspace.fragmented_blob_bytes() == 0 {
            return Ok(());
        }
        self.keyspace.major_compact().context("compact again")
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.database.persist(PersistMode::SyncAll).context("close")
    }
}

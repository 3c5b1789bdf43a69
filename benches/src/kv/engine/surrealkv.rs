//! SurrealKV: commits on a tokio runtime of two threads, values apart in its value log.
//!
//! - Its commits are tasks, and another task of the same runtime writes them: what writes runs there
//!   too, since a hand-over between threads would cost more than the commit.
//! - Its value log has no codec, and no checksum unless asked for: it is asked for here.

use std::path::Path;
use std::sync::Arc;

use surrealkv::{
    CipherSuite, CompactRangeOptions, CompressionType, Durability, Error, LSMIterator,
};
use surrealkv::{Mode, Options, SoftwareKeyManager, Tree, TreeBuilder, VLogChecksumLevel};
use tokio::runtime::{Builder, Runtime};

use crate::failure::{Context, Failure, Outcome};
use crate::kv::corpus::key;
use crate::kv::engine::{CACHE_LEN, Engine, Feed, INLINE_LEN_MAX, Look, LookEntry, MEMTABLE_LEN};
use crate::kv::engine::{Op, Packing, ROOT_KEY, Seen};

struct SurrealKv {
    tree: Arc<Tree>,
    runtime: Runtime,
}

async fn put(tree: &Tree, key: &[u8], value: &[u8], sync: bool) -> Outcome<()> {
    loop {
        let mut transaction = tree.begin_with_mode(Mode::WriteOnly).context("begin")?;
        if sync {
            transaction.set_durability(Durability::Immediate);
        }
        transaction.set(key, value).context("set")?;
        match transaction.commit().await {
            // Another thread wrote the same key meanwhile.
            Err(Error::TransactionWriteConflict) => {}
            done => return done.context("commit"),
        }
    }
}

fn get(tree: &Tree, key: &[u8], look: &mut Look<'_>) -> Outcome<bool> {
    let transaction = tree.begin_with_mode(Mode::ReadOnly).context("begin")?;
    match transaction.get(key).context("get")? {
        Some(value) => look(&[&*value]).map(|()| true),
        None => Ok(false),
    }
}

async fn run_feed(tree: Arc<Tree>, mut feed: Feed, sync: bool) -> Outcome<()> {
    while let Some(op) = (feed.next)() {
        match op {
            Op::Put(number, generation) => {
                let value = feed.corpus.value(number, generation);
                put(&tree, &key(number), value, sync).await?;
            }
            Op::Get(number, latest) => {
                let check = &mut |value: &[&[u8]]| feed.corpus.check(number, 0..=latest, value);
                if !get(&tree, &key(number), check)? {
                    return Err(Failure::new(format!("key {number} is missing")));
                }
            }
        }
    }
    Ok(())
}

pub(super) fn describe(sealed: bool, packing: Packing) -> (String, String) {
    let codec = match packing {
        Packing::Own => "snappy in tables, value log uncompressed",
        Packing::None => "uncompressed",
    };
    let sealed = if sealed { ", AES-256-GCM" } else { "" };
    (
        format!("1.2.0: {codec}{sealed}, checksums of the value log verified, 2 runtime threads"),
        "log; eventual durability, sync: immediate durability".into(),
    )
}

pub(super) fn open(sealed: bool, dir: &Path, packing: Packing) -> Outcome<Box<dyn Engine>> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("tokio")?;
    let compression = match packing {
        Packing::Own => CompressionType::SnappyCompression,
        Packing::None => CompressionType::None,
    };
    let mut options = Options::new()
        .with_path(dir.to_path_buf())
        .with_block_cache_capacity(CACHE_LEN as u64)
        .with_max_memtable_size(MEMTABLE_LEN)
        .with_compression_per_level(vec![compression])
        .with_enable_vlog(true)
        .with_vlog_value_threshold(INLINE_LEN_MAX + 1)
        .with_vlog_checksum_verification(VLogChecksumLevel::Full);
    if sealed {
        let keys = Arc::new(SoftwareKeyManager::new(ROOT_KEY));
        options = options.with_encryption(keys, CipherSuite::Aes256Gcm);
    }
    let tree = {
        let _inside = runtime.enter();
        TreeBuilder::with_options(options)
            .build()
            .context("surrealkv")?
    };
    Ok(Box::new(SurrealKv {
        tree: Arc::new(tree),
        runtime,
    }))
}

impl Engine for SurrealKv {
    fn drive(&self, feeds: Vec<Feed>, sync: bool) -> Outcome<()> {
        let spawn = |feed| {
            self.runtime
                .spawn(run_feed(Arc::clone(&self.tree), feed, sync))
        };
        let running: Vec<_> = feeds.into_iter().map(spawn).collect();
        let mut result = Ok(());
        for task in running {
            result = result.and(self.runtime.block_on(task).context("task")?);
        }
        result
    }

    fn put(&self, key: &[u8], value: &[u8], sync: bool) -> Outcome<()> {
        self.runtime.block_on(put(&self.tree, key, value, sync))
    }

    fn get(&self, key: &[u8], look: &mut Look<'_>) -> Outcome<bool> {
        get(&self.tree, key, look)
    }

    fn scan(&self, with_values: bool, look: &mut LookEntry<'_>) -> Outcome<()> {
        let transaction = self.tree.begin_with_mode(Mode::ReadOnly).context("begin")?;
        let mut entries = transaction.scan(..).context("scan")?;
        entries.seek_first().context("seek")?;
        while entries.valid() {
            if with_values {
                let value = entries.value_ref().context("value")?;
                look(entries.key().user_key(), Seen::Value(&[&*value]))?;
            } else {
                look(entries.key().user_key(), Seen::Key)?;
            }
            entries.next().context("next")?;
        }
        Ok(())
    }

    fn compact(&self) -> Outcome<()> {
        let _inside = self.runtime.enter();
        let options = CompactRangeOptions::default();
        self.tree
            .compact_range(None, None, &options)
            .context("compact")
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.runtime.block_on(self.tree.close()).context("close")
    }
}

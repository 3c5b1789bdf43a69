//! Writes, point reads, scans and merges of the engine under its presets.
//!
//! In memory, one thread, nothing synced but what a preset asks for: this is the cost of log
//! record, memtable, filters, block search, merging and opening blocks. 20-byte keys in random order, values of
//! 100 bytes that compress about 2:1.

#![allow(
    missing_docs,
    reason = "the macros of criterion make undocumented functions"
)]
#![allow(
    clippy::std_instead_of_alloc,
    reason = "a benchmark has an operating system; only the engine goes without"
)]

use core::hint::black_box;
use std::sync::Arc;

use coffer_benches::data::{Kind, Random};
use coffer_engine::crypto::{KeySource, MasterKey, NoKeys};
use coffer_engine::env::mem;
use coffer_engine::{Cipher, Db, Options, Preset, Result, StoreId, WriteBatch, WriteOptions};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const KEY_COUNT: u64 = 100_000;
const VALUE_LEN: usize = 100;
const PRESETS: [Preset; 3] = [
    Preset::RocksDbParity,
    Preset::CofferDefault,
    Preset::CofferParanoid,
];

/// One epoch with one key.
struct OneKey(Arc<MasterKey>);

impl KeySource for OneKey {
    fn epoch(&self) -> u32 {
        1
    }

    fn master(&self, _: u32) -> Result<Arc<MasterKey>> {
        Ok(self.0.clone())
    }
}

fn open(preset: Preset) -> Db {
    let mut options = Options::default();
    options.apply(preset);
    open_with(options)
}

fn open_with(options: Options) -> Db {
    let keys: Arc<dyn KeySource> = match options.transform.cipher {
        Cipher::None => Arc::new(NoKeys),
        Cipher::Aes256Gcm => Arc::new(OneKey(Arc::new(MasterKey::new([7; 32])))),
    };
    let opened = Db::open(mem::env(), keys, StoreId([3; 16]), options, None);
    opened.expect("a store in memory opens")
}

/// The key of a number: neighbours in number are far apart in order.
fn key(number: u64) -> [u8; 20] {
    let mut key = [0; 20];
    key[..8].copy_from_slice(&Random::new(number).next_u64().to_be_bytes());
    key[12..].copy_from_slice(&number.to_be_bytes());
    key
}

fn put(db: &Db, values: &[u8], number: u64) {
    let from = number as usize * 37 % (values.len() - VALUE_LEN);
    let mut batch = WriteBatch::new();
    batch.put(&key(number), &values[from..from + VALUE_LEN]);
    db.write(batch, WriteOptions::default())
        .expect("memory takes a write");
}

fn loaded(preset: Preset, values: &[u8]) -> Db {
    let db = open(preset);
    (0..KEY_COUNT).for_each(|number| put(&db, values, number));
    db
}

fn engine(criterion: &mut Criterion) {
    let values = Kind::Text.bytes(5, 1 << 20);
    for preset in PRESETS {
        let name = |what: &str| BenchmarkId::new(what, format!("{preset:?}"));
        let mut group = criterion.benchmark_group("engine");
        group.throughput(Throughput::Elements(1)).sample_size(20);

        let db = open(preset);
        let mut number = 0;
        group.bench_function(name("write"), |bencher| {
            bencher.iter(|| {
                put(&db, &values, number % KEY_COUNT);
                number += 1;
            });
        });
        drop(db);

        let db = loaded(preset, &values);
        let mut random = Random::new(17);
        let mut read = |db: &Db| {
            let found = db.get(&key(random.below(KEY_COUNT)), None);
            black_box(
                found
                    .expect("an intact store reads")
                    .expect("every key was written"),
            );
        };
        group.bench_function(name("get from memtable"), |bencher| {
            bencher.iter(|| read(&db))
        });
        db.flush().expect("memory takes a table");
        group.bench_function(name("get from table"), |bencher| bencher.iter(|| read(&db)));

        group.throughput(Throughput::Elements(KEY_COUNT));
        group.bench_function(name("scan of a table"), |bencher| {
            bencher.iter(|| {
                let mut cursor = db.prefix(&[], None).expect("an intact store reads");
                let mut count = 0;
                while cursor.next().expect("an intact store reads").is_some() {
                    count += 1;
                }
                assert_eq!(count, KEY_COUNT);
            });
        });
        group.finish();
    }
}

/// A store with one memtable for everything and no row cache: only flushes and merges as told.
fn open_bare(preset: Preset) -> Db {
    let mut options = Options::default();
    options.apply(preset);
    options.sync_writes = false;
    options.row_cache_len = 0;
    options.memtable_len = 1 << 30;
    open_with(options)
}

/// Inserts so many keys in random order, a hundred in each batch, so that the log hardly counts.
fn insert(db: &Db, values: &[u8], numbers: impl Iterator<Item = u64>) {
    let mut batch = WriteBatch::new();
    let write = |batch: WriteBatch| {
        db.write(batch, WriteOptions::default())
            .expect("memory takes a write");
    };
    for (place, number) in numbers.enumerate() {
        let from = number as usize * 37 % (values.len() - VALUE_LEN);
        batch.put(&key(number), &values[from..from + VALUE_LEN]);
        if place % 100 == 99 {
            write(core::mem::take(&mut batch));
        }
    }
    write(batch);
}

/// Four tables of level 0, each with every fourth key.
fn four_tables(preset: Preset, values: &[u8]) -> Db {
    let db = open_bare(preset);
    for first in 0..4 {
        insert(&db, values, (first..KEY_COUNT).step_by(4));
        db.flush().expect("memory takes a table");
    }
    db
}

fn count(db: &Db) -> u64 {
    let mut cursor = db.prefix(&[], None).expect("an intact store reads");
    let mut count = 0;
    while cursor.next().expect("an intact store reads").is_some() {
        count += 1;
    }
    count
}

fn parts(criterion: &mut Criterion) {
    let values = Kind::Text.bytes(5, 1 << 20);
    for preset in PRESETS {
        let name = |what: &str| BenchmarkId::new(what, format!("{preset:?}"));
        let mut group = criterion.benchmark_group("parts");
        group
            .throughput(Throughput::Elements(KEY_COUNT))
            .sample_size(10);
        group.bench_function(name("memtable insert"), |bencher| {
            bencher.iter_batched(
                || open_bare(preset),
                |db| {
                    insert(&db, &values, 0..KEY_COUNT);
                    db
                },
                BatchSize::PerIteration,
            );
        });
        let merged = four_tables(preset, &values);
        group.bench_function(name("merge of four tables, scan"), |bencher| {
            bencher.iter(|| assert_eq!(count(&merged), KEY_COUNT));
        });
        group.bench_function(name("merge of four tables, compaction"), |bencher| {
            bencher.iter_batched(
                || four_tables(preset, &values),
                |db| {
                    db.compact_all(&mut |_| ()).expect("memory takes tables");
                    db
                },
                BatchSize::PerIteration,
            );
        });
        group.throughput(Throughput::Elements(1)).sample_size(20);
        merged
            .compact_all(&mut |_| ())
            .expect("memory takes tables");
        assert_eq!(count(&merged), KEY_COUNT);
        let mut random = Random::new(19);
        group.bench_function(name("block search"), |bencher| {
            bencher.iter(|| {
                let found = merged.get(&key(random.below(KEY_COUNT)), None);
                black_box(found.expect("an intact store reads").expect("it is there"));
            });
        });
        group.finish();
    }
}

criterion_group!(benches, engine, parts);
criterion_main!(benches);

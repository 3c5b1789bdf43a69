//! Writes, point reads and scans of the engine under its presets.
//!
//! In memory, one thread, nothing synced but what a preset asks for: this is the cost of log
//! record, memtable, filters, block search and opening blocks. 20-byte keys in random order, values of
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
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

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

criterion_group!(benches, engine);
criterion_main!(benches);

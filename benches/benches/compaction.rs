//! A whole compaction on one thread and on two: seconds, and what the second thread brings.
//!
//! In memory, so that the medium has no say. Four tables of level 0 that hold keys in random order
//! are merged into the last level, under the preset `CofferDefault`: once cut into pieces, and once
//! as one piece, where all that threads can share is the sealing of blocks. Both stores start from
//! the same bytes. Medians of several runs, one and two threads in turn.

#![allow(
    clippy::print_stdout,
    clippy::std_instead_of_alloc,
    clippy::disallowed_methods,
    reason = "a benchmark prints, takes the time, and has an operating system"
)]

use std::sync::Arc;
use std::time::Instant;

use coffer_benches::data::{Kind, Random};
use coffer_engine::crypto::{KeySource, MasterKey};
use coffer_engine::env::mem::{self, MemFs};
use coffer_engine::env::{Env, Spawner, Task, os};
use coffer_engine::{Db, Options, Preset, Result, StoreId, WriteBatch, WriteOptions};

const STORE: StoreId = StoreId([3; 16]);
const TABLE_COUNT: u64 = 4;

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

/// Lends threads as if the machine had this many cores.
struct Cores(Arc<dyn Spawner>, usize);

impl Spawner for Cores {
    fn spawn(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) -> Option<Box<dyn Task>> {
        self.0.spawn(name, work)
    }

    fn parallelism(&self) -> usize {
        self.1
    }
}

fn options(piece_count: usize) -> Options {
    let mut options = Options {
        memtable_len: 1 << 30,
        level0_trigger: 1000,
        level0_slow: 1000,
        level0_stall: 1000,
        subcompaction_count_max: piece_count,
        ..Options::default()
    };
    options.apply(Preset::CofferDefault);
    options
}

fn open(fs: Arc<MemFs>, piece_count: usize, threads: usize) -> Db {
    let env = Env {
        spawner: Arc::new(Cores(os::spawner(), threads)),
        ..mem::env_over(fs, 7)
    };
    let keys = Arc::new(OneKey(Arc::new(MasterKey::new([7; 32]))));
    let opened = Db::open(env, keys, STORE, options(piece_count), None);
    opened.expect("a store in memory opens")
}

/// Some tables of level 0 over the same range of keys.
fn loaded(value_len: usize, total_len: usize) -> Arc<MemFs> {
    let fs = MemFs::new();
    let db = open(fs.clone(), 1, 1);
    let values = Kind::Text.bytes(5, 8 << 20);
    let count = (total_len / (value_len + 20)) as u64;
    let mut random = Random::new(11);
    for number in 0..count {
        let mut key = [0; 20];
        key[..8].copy_from_slice(&random.next_u64().to_be_bytes());
        key[12..].copy_from_slice(&number.to_be_bytes());
        let from = number as usize * 37 % (values.len() - value_len);
        let mut batch = WriteBatch::new();
        batch.put(&key, &values[from..from + value_len]);
        let written = db.write(batch, WriteOptions::default());
        written.expect("memory takes a write");
        if (number + 1) % (count / TABLE_COUNT) == 0 {
            db.flush().expect("memory takes a table");
        }
    }
    db.close().expect("memory takes the end");
    fs
}

fn seconds(fs: &MemFs, piece_count: usize, threads: usize) -> f64 {
    let db = open(fs.fork(), piece_count, threads);
    let begun = Instant::now();
    db.compact_all(&mut |_| ()).expect("an intact store merges");
    begun.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let number = |name, default| {
        let value = std::env::var(name).ok();
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    };
    let (mib, runs) = (number("COFFER_MIB", 128), number("COFFER_RUNS", 5));
    println!("{mib} MiB, CofferDefault (zstd 1, AES-256-GCM, XOR over 16), median of {runs}");
    println!("value  pieces   1 thread           2 threads          ratio");
    for value_len in [100, 1024] {
        let fs = loaded(value_len, mib << 20);
        for piece_count in [4, 1] {
            let (mut one, mut two) = (Vec::new(), Vec::new());
            for _ in 0..runs {
                one.push(seconds(&fs, piece_count, 1));
                two.push(seconds(&fs, piece_count, 2));
            }
            let (one, two) = (median(one), median(two));
            let rate = |seconds: f64| mib as f64 / seconds;
            println!(
                "{value_len:5}  {piece_count:6}   {one:.3} s {:4.0} MiB/s   {two:.3} s {:4.0} MiB/s   {:.2}",
                rate(one),
                rate(two),
                one / two
            );
        }
    }
}

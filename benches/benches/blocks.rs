//! Sealing and opening one block in each of the eight combinations of the three axes.
//!
//! In memory, one thread, text that zstd at level 1 halves; bytes per second of plaintext.

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

use coffer_benches::data::Kind;
use coffer_engine::block::{BlockKind, Expect, FileContext};
use coffer_engine::compress::Scratch;
use coffer_engine::crypto::{KeySource, MasterKey, NoKeys};
use coffer_engine::env::mem;
use coffer_engine::file::create_file;
use coffer_engine::{BlockTransform, Cipher, Compression, Ecc, FileId, FileKind, Result, StoreId};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const BLOCK_LENS: [usize; 3] = [4 << 10, 16 << 10, 64 << 10];

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

fn context(transform: BlockTransform) -> Arc<FileContext> {
    let keys: Box<dyn KeySource> = match transform.cipher {
        Cipher::None => Box::new(NoKeys),
        Cipher::Aes256Gcm => Box::new(OneKey(Arc::new(MasterKey::new([7; 32])))),
    };
    let id = FileId {
        kind: FileKind::Table,
        number: 1,
    };
    let created = create_file(&mem::env(), &*keys, id, StoreId([3; 16]), transform);
    created.expect("memory holds one header").1
}

fn name(transform: BlockTransform) -> String {
    let compression = match transform.compression {
        Compression::None => "plain",
        Compression::Zstd { .. } => "zstd",
    };
    let cipher = match transform.cipher {
        Cipher::None => "clear",
        Cipher::Aes256Gcm => "aes",
    };
    let ecc = if transform.ecc == Ecc::None {
        "bare"
    } else {
        "xor"
    };
    format!("{compression}-{cipher}-{ecc}")
}

fn combinations() -> Vec<BlockTransform> {
    let mut all = Vec::new();
    for compression in [Compression::None, Compression::Zstd { level: 1 }] {
        for cipher in [Cipher::None, Cipher::Aes256Gcm] {
            for ecc in [Ecc::None, Ecc::DEFAULT_STORE] {
                all.push(BlockTransform {
                    compression,
                    cipher,
                    ecc,
                });
            }
        }
    }
    all
}

fn blocks(criterion: &mut Criterion) {
    for transform in combinations() {
        let context = context(transform);
        let mut scratch = Scratch::new();
        for len in BLOCK_LENS {
            let plain = Kind::Text.bytes(5, len);
            let mut seal = |out: &mut Vec<u8>| {
                let kind = BlockKind::Data;
                let sealed = context.seal(kind, 0, 0, 0, &[], &plain, &mut scratch, out);
                sealed.expect("a short block seals")
            };
            let mut out = Vec::new();
            let sealed = seal(&mut out);

            let mut group = criterion.benchmark_group("seal");
            group.throughput(Throughput::Bytes(len as u64));
            group.bench_function(BenchmarkId::new(name(transform), len), |bencher| {
                let mut out = Vec::new();
                bencher.iter(|| {
                    out.clear();
                    black_box(seal(&mut out));
                });
            });
            group.finish();

            let handle = sealed.handle(0, u32::try_from(len).unwrap_or(0), 0);
            let expect = Expect::new(BlockKind::Data, &handle);
            let mut scratch = Scratch::new();
            let mut group = criterion.benchmark_group("open");
            group.throughput(Throughput::Bytes(len as u64));
            group.bench_function(BenchmarkId::new(name(transform), len), |bencher| {
                let (mut disk, mut plain) = (out.clone(), Vec::new());
                bencher.iter(|| {
                    disk.copy_from_slice(&out);
                    plain.clear();
                    let opened = context.open_into(&expect, &mut disk, &mut scratch, &mut plain);
                    black_box(opened.expect("an intact block opens"));
                });
            });
            group.finish();
        }
    }
}

criterion_group!(benches, blocks);
criterion_main!(benches);

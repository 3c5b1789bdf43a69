//! Workloads: what a simulated store is asked to do, from a seed.
//!
//! - The same seed gives the same operations and the same options, whatever goes wrong meanwhile.
//! - Stores are tiny, so that 200 operations fill memtables, levels and caches many times over.

use coffer_engine::{BlockTransform, Cipher, Compression, Ecc, KvProtection, Options};

use crate::random::Rng;

/// Operations of one workload.
pub(super) const OP_COUNT: usize = 200;

/// Keys that there can be.
pub(super) const KEY_COUNT: usize = 32;

/// Records of the annex that a workload writes itself.
pub(super) const ANNEX_COUNT: usize = 4;

/// Calls between two openings at most.
const STRETCH_MAX: usize = 28;

/// What happens to one key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// A value of this length.
    Put(usize),
    /// A value of this length, kept outside of the engine.
    Indirect(usize),
    Delete,
    /// Deletes so many keys from this one on, with one tombstone.
    DeleteRange(usize),
}

/// One call, or what ends a process.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Write(Vec<(usize, Change)>, bool),
    /// If this key is as it was seen; it is claimed wrongly where the flag says so.
    WriteIf(usize, bool, Vec<(usize, Change)>, bool),
    /// Keys in order, each with a value of this length, as tables of their own.
    Ingest(Vec<(usize, usize)>),
    Sync,
    Flush,
    Compact,
    CompactRange(usize, usize),
    Maintain,
    Annex(usize),
    TakeSnapshot,
    DropSnapshot,
    Read(usize),
    Scan,
    Checkpoint,
    /// An orderly end.
    Close,
    /// The process is killed.
    Kill,
    /// The power goes; the seed says what is left.
    Cut(u64),
}

impl Op {
    /// Does the store have to be opened again after it?
    pub(super) const fn is_end(&self) -> bool {
        matches!(self, Self::Close | Self::Kill | Self::Cut(_))
    }
}

/// Everything that a seed decides.
pub(super) struct Workload {
    pub(super) seed: u64,
    pub(super) options: Options,
    pub(super) ops: Vec<Op>,
}

impl Workload {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let mut ops = Vec::new();
        let mut since_end = 0;
        while ops.len() < OP_COUNT {
            let op = match since_end {
                STRETCH_MAX.. => end(&mut rng),
                _ => op(&mut rng),
            };
            since_end = if op.is_end() { 0 } else { since_end + 1 };
            ops.push(op);
        }
        Self {
            seed,
            options: options(seed),
            ops,
        }
    }
}

fn end(rng: &mut Rng) -> Op {
    match rng.below(3) {
        0 => Op::Close,
        1 => Op::Kill,
        _ => Op::Cut(rng.next_u64()),
    }
}

fn op(rng: &mut Rng) -> Op {
    match rng.below(100) {
        0..=41 => Op::Write(changes(rng), rng.chance(20)),
        42..=44 => Op::Ingest(sorted(rng)),
        45..=50 => {
            let (key, is_right) = (rng.below(KEY_COUNT), rng.chance(75));
            Op::WriteIf(key, is_right, changes(rng), rng.chance(20))
        }
        51..=57 => Op::Sync,
        58..=61 => Op::Flush,
        62..=63 => Op::Compact,
        64..=65 => {
            let first = rng.below(KEY_COUNT);
            Op::CompactRange(first, first + rng.below(KEY_COUNT - first))
        }
        66..=82 => Op::Maintain,
        83..=86 => Op::Annex(rng.below(ANNEX_COUNT)),
        87..=89 => Op::TakeSnapshot,
        90..=91 => Op::DropSnapshot,
        92..=93 => Op::Read(rng.below(KEY_COUNT)),
        94..=95 => Op::Scan,
        96 => Op::Checkpoint,
        _ => end(rng),
    }
}

/// The entries of an ingest: one table or several.
fn sorted(rng: &mut Rng) -> Vec<(usize, usize)> {
    let first = rng.below(KEY_COUNT);
    let last = KEY_COUNT.min(first + 1 + rng.below(24));
    let density = 40 + rng.below(60);
    let mut entries: Vec<(usize, usize)> = Vec::new();
    for index in first..last {
        if entries.is_empty() || rng.chance(density) {
            entries.push((index, 4 + rng.below(300)));
        }
    }
    entries
}

/// The changes of a batch: mostly few, sometimes more than a record of the log holds.
fn changes(rng: &mut Rng) -> Vec<(usize, Change)> {
    let count = if rng.chance(8) {
        12 + rng.below(12)
    } else {
        1 + rng.below(4)
    };
    let change = |rng: &mut Rng| match rng.below(100) {
        0..=23 => Change::Delete,
        24..=29 => Change::DeleteRange(rng.below(12)),
        30..=44 => Change::Indirect(4 + rng.below(300)),
        45..=52 => Change::Put(4 + rng.below(700)),
        _ => Change::Put(4 + rng.below(60)),
    };
    (0..count)
        .map(|_| (rng.below(KEY_COUNT), change(rng)))
        .collect()
}

/// Axes and triggers change with the seed; lengths stay tiny.
fn options(seed: u64) -> Options {
    let transform = match seed % 4 {
        0 => BlockTransform::PLAIN,
        1 => transform(Compression::None, Ecc::None),
        2 => transform(Compression::None, Ecc::Xor { data: 4 }),
        _ => transform(Compression::Zstd { level: 1 }, Ecc::None),
    };
    Options {
        transform,
        kv_protection: if seed % 3 == 1 {
            KvProtection::Off
        } else {
            KvProtection::On
        },
        memtable_len: 2 << 10,
        memtable_count_max: 2 + (seed % 2) as usize,
        block_len: 256,
        restart_interval: 4,
        cache_len: 32 << 10,
        row_cache_len: 8 << 10,
        level0_trigger: 2,
        level0_slow: 6,
        level0_stall: 8,
        level_base_len: 2 << 10,
        level_ratio: 3,
        table_len: 1 << 10,
        wal_buffer_len: 300,
        wal_record_len_max: 600,
        manifest_len: 512,
        ..Options::default()
    }
}

const fn transform(compression: Compression, ecc: Ecc) -> BlockTransform {
    BlockTransform {
        compression,
        cipher: Cipher::Aes256Gcm,
        ecc,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_operation_occurs_and_no_stretch_is_long() {
        let ops: Vec<Op> = (0..8).flat_map(|seed| Workload::new(seed).ops).collect();
        let kinds: std::collections::HashSet<_> = ops.iter().map(std::mem::discriminant).collect();
        assert_eq!(kinds.len(), 17);
        let longest = Workload::new(1)
            .ops
            .split(Op::is_end)
            .map(<[Op]>::len)
            .max();
        assert!(longest <= Some(STRETCH_MAX));
    }
}

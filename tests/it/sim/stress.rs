//! Eight threads on one store, on real files: writers, readers, snapshots, scans, compactions and
//! checkpoints at once.
//!
//! - Each key belongs to one writer, who knows what it holds; a batch writes the same round into
//!   several keys, so whoever reads a snapshot sees all of it or nothing.
//! - `COFFER_STRESS_SECONDS` sets how long, `COFFER_SEED` the seed.

use crate::mount::kill::setting;
use coffer_engine::crypto::{KeySource, MasterKey};
use coffer_engine::env::os;
use coffer_engine::{Cipher, Db, KvProtection, Options, Result, Snapshot, StoreId};
use coffer_engine::{WriteBatch, WriteOptions};
use coffer_tests::random::Rng;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const WRITERS: u64 = 3;
const KEYS_EACH: u64 = 64;
/// Keys that each batch of a writer writes, so that they always agree.
const TWINS: u64 = 3;

struct OneKey(Arc<MasterKey>);

impl KeySource for OneKey {
    fn epoch(&self) -> u32 {
        1
    }

    fn master(&self, _epoch: u32) -> Result<Arc<MasterKey>> {
        Ok(Arc::clone(&self.0))
    }
}

fn open(path: &Path) -> Db {
    let mut options = Options {
        kv_protection: KvProtection::On,
        memtable_len: 16 << 10,
        block_len: 1 << 10,
        table_len: 8 << 10,
        level_base_len: 32 << 10,
        level_ratio: 3,
        level0_trigger: 2,
        cache_len: 64 << 10,
        row_cache_len: 16 << 10,
        ..Options::default()
    };
    options.transform.cipher = Cipher::Aes256Gcm;
    let keys = Arc::new(OneKey(Arc::new(MasterKey::new([9; 32]))));
    Db::open(
        os::env(path).unwrap(),
        keys,
        StoreId([3; 16]),
        options,
        None,
    )
    .unwrap()
}

fn key(writer: u64, index: u64) -> Vec<u8> {
    format!("{writer}/{index:04}").into_bytes()
}

fn twin(writer: u64, index: u64) -> Vec<u8> {
    format!("{writer}/twin/{index}").into_bytes()
}

/// The bytes of a key in some round: they tell both, and the length varies.
fn value(key: &[u8], round: u64) -> Vec<u8> {
    let mut out = round.to_le_bytes().to_vec();
    out.extend_from_slice(key);
    out.resize(out.len() + (round % 97) as usize, round as u8);
    out
}

fn round_of(key: &[u8], bytes: &[u8]) -> u64 {
    let round = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(bytes, value(key, round), "bytes that nobody wrote");
    round
}

fn round_at(db: &Db, key: &[u8], at: Option<&Snapshot>) -> u64 {
    let found = db.get(key, at).unwrap();
    found.map_or(0, |value| round_of(key, &value.bytes))
}

/// What all threads share.
struct Shared {
    db: Db,
    ends: AtomicBool,
    seed: u64,
    /// The round of each writer that is certainly visible.
    rounds: Vec<AtomicU64>,
    /// The round of each writer that is certainly durable.
    durable: Vec<AtomicU64>,
    counts: [AtomicU64; 3],
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.ends.load(Ordering::Acquire)
    }

    fn count(&self, what: usize) {
        self.counts[what].fetch_add(1, Ordering::Relaxed);
    }

    /// Writes its own keys and reads each back; returns what they must hold.
    fn write(&self, writer: u64) -> Vec<u64> {
        let mut rng = Rng::new(self.seed * 100 + writer);
        let mut rounds = vec![0; KEYS_EACH as usize];
        for round in 1.. {
            if !self.goes_on() {
                break;
            }
            let mut batch = WriteBatch::new();
            for _ in 0..rng.below(12) {
                let index = rng.below(KEYS_EACH as usize);
                let key = key(writer, index as u64);
                if rng.chance(25) {
                    batch.delete(&key);
                    rounds[index] = 0;
                } else {
                    batch.put(&key, &value(&key, round));
                    rounds[index] = round;
                }
            }
            for index in 0..TWINS {
                let key = twin(writer, index);
                batch.put(&key, &value(&key, round));
            }
            let sync = rng.chance(3);
            self.db.write(batch, WriteOptions { sync }).unwrap();
            self.rounds[writer as usize].store(round, Ordering::Release);
            if sync {
                self.durable[writer as usize].store(round, Ordering::Release);
            }
            let index = rng.below(KEYS_EACH as usize);
            let key = key(writer, index as u64);
            assert_eq!(
                round_at(&self.db, &key, None),
                rounds[index],
                "own key {index}"
            );
            self.count(0);
        }
        rounds
    }

    /// A snapshot holds whole batches, nothing older than what was visible before it, and the same
    /// when it is read again.
    fn watch(&self) {
        let mut last: Option<(Snapshot, Vec<u64>)> = None;
        while self.goes_on() {
            let visible: Vec<u64> = self
                .rounds
                .iter()
                .map(|r| r.load(Ordering::Acquire))
                .collect();
            let snapshot = self.db.snapshot();
            let seen = self.twins(Some(&snapshot));
            for (seen, visible) in seen.iter().zip(&visible) {
                assert!(seen >= visible, "history went back");
            }
            if let Some((old, expected)) = &last {
                assert_eq!(self.twins(Some(old)), *expected, "a snapshot changed");
            }
            last = Some((snapshot, seen));
            self.count(1);
        }
    }

    fn twins(&self, at: Option<&Snapshot>) -> Vec<u64> {
        let names: Vec<Vec<u8>> = (0..WRITERS)
            .flat_map(|writer| (0..TWINS).map(move |index| twin(writer, index)))
            .collect();
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let found = self.db.multi_get(&names, at);
        let rounds: Vec<u64> = names
            .iter()
            .zip(found)
            .map(|(key, value)| value.unwrap().map_or(0, |v| round_of(key, &v.bytes)))
            .collect();
        let by_writer = rounds.chunks(TWINS as usize);
        by_writer
            .map(|twins| {
                assert!(twins.iter().all(|round| *round == twins[0]), "half a batch");
                twins[0]
            })
            .collect()
    }

    /// Scans at a snapshot, both ways; both see the same.
    fn scan(&self) {
        while self.goes_on() {
            let snapshot = self.db.snapshot();
            let mut cursor = self.db.range(.., Some(&snapshot)).unwrap();
            let mut ahead = Vec::new();
            while let Some(entry) = cursor.next().unwrap() {
                round_of(&entry.key, &entry.value);
                ahead.push((entry.key, entry.seqno));
            }
            let mut back = Vec::new();
            while let Some(entry) = cursor.prev().unwrap() {
                back.push((entry.key, entry.seqno));
            }
            back.reverse();
            assert!(ahead.is_sorted() && ahead == back, "both ways differ");
            self.count(1);
        }
    }

    fn maintain(&self) {
        while self.goes_on() {
            self.db.maintain().unwrap();
            self.db.wait_for_work(Duration::from_millis(2));
        }
    }

    /// Flushes, compactions of ranges, checkpoints that open as stores of their own.
    fn disturb(&self, dir: &Path) {
        let mut rng = Rng::new(self.seed + 7);
        for number in 0.. {
            if !self.goes_on() {
                break;
            }
            match rng.below(4) {
                0 => self.db.flush().unwrap(),
                1 => self.db.sync().unwrap(),
                2 => {
                    let writer = rng.below(WRITERS as usize) as u64;
                    let (first, last) = (key(writer, 0), key(writer, KEYS_EACH));
                    let done = self.db.compact_range(&first, Some(&last), &mut |_| ());
                    done.unwrap();
                }
                _ => self.checkpoint(&dir.join(number.to_string())),
            }
            self.count(2);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn checkpoint(&self, path: &Path) {
        std::fs::create_dir(path).unwrap();
        let before = self.twins(None);
        self.db.checkpoint(os::env(path).unwrap().fs).unwrap();
        let copy = open(path);
        for writer in 0..WRITERS {
            let rounds: Vec<u64> = (0..TWINS)
                .map(|index| round_at(&copy, &twin(writer, index), None))
                .collect();
            assert!(
                rounds.iter().all(|round| *round == rounds[0]),
                "half a batch"
            );
            assert!(rounds[0] >= before[writer as usize], "an old checkpoint");
        }
        drop(copy);
        std::fs::remove_dir_all(path).unwrap();
    }
}

#[test]
fn eight_threads_at_once_agree_with_what_each_writer_knows() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let zeros = || (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let shared = Shared {
        db: open(dir.path()),
        ends: AtomicBool::new(false),
        seed: setting("COFFER_SEED", 1),
        rounds: zeros(),
        durable: zeros(),
        counts: [const { AtomicU64::new(0) }; 3],
    };
    let until = Instant::now() + Duration::from_secs(setting("COFFER_STRESS_SECONDS", 10));
    let expected: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let shared = &shared;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || shared.write(writer)))
            .collect();
        let mut others = vec![
            scope.spawn(|| shared.watch()),
            scope.spawn(|| shared.scan()),
            scope.spawn(|| shared.maintain()),
            scope.spawn(|| shared.maintain()),
        ];
        others.push(scope.spawn(|| shared.disturb(copies.path())));
        while Instant::now() < until
            && !others
                .iter()
                .chain(&[])
                .any(std::thread::ScopedJoinHandle::is_finished)
            && !writers
                .iter()
                .any(std::thread::ScopedJoinHandle::is_finished)
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        shared.ends.store(true, Ordering::Release);
        shared.db.wake();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    });
    let [batches, reads, disturbances] =
        shared.counts.each_ref().map(|c| c.load(Ordering::Relaxed));
    eprintln!("{batches} batches, {reads} snapshots and scans, {disturbances} disturbances");
    assert!(batches > 0 && reads > 0 && disturbances > 0);
    // Killed, not closed: what was promised is there.
    let durable: Vec<u64> = shared
        .durable
        .iter()
        .map(|d| d.load(Ordering::Relaxed))
        .collect();
    check(&shared.db, &expected);
    drop(shared);
    let db = open(dir.path());
    for (writer, durable) in durable.iter().enumerate() {
        assert!(round_at(&db, &twin(writer as u64, 0), None) >= *durable);
    }
}

/// Every key holds what its writer knows.
fn check(db: &Db, expected: &[Vec<u64>]) {
    for (writer, rounds) in expected.iter().enumerate() {
        for (index, round) in rounds.iter().enumerate() {
            let key = key(writer as u64, index as u64);
            assert_eq!(round_at(db, &key, None), *round, "key {index} of {writer}");
        }
    }
}

//! The engine on media that lose power and media with faults.

use coffer_engine::crypto::{KeySource, MasterKey};
use coffer_engine::env::{Env, Fs, OpenMode};
use coffer_engine::{
    BlockTransform, Cipher, Compression, Db, Ecc, ErrorKind, FileKind, KvProtection, Options,
    Preset, Result, StoreId, Work, WriteBatch, WriteOptions,
};
use coffer_tests::crash::CrashFs;
use coffer_tests::fault::{Fault, FaultFs, Operation, Rule};
use coffer_tests::random::Rng;
use coffer_tests::world::World;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

struct OneKey(Arc<MasterKey>);

impl KeySource for OneKey {
    fn epoch(&self) -> u32 {
        1
    }
    fn master(&self, _epoch: u32) -> Result<Arc<MasterKey>> {
        Ok(Arc::clone(&self.0))
    }
}

fn options() -> Options {
    Options {
        transform: BlockTransform {
            compression: Compression::None,
            cipher: Cipher::Aes256Gcm,
            ecc: Ecc::None,
        },
        kv_protection: KvProtection::On,
        memtable_len: 6 << 10,
        block_len: 512,
        table_len: 2 << 10,
        level_base_len: 8 << 10,
        level_ratio: 3,
        wal_buffer_len: 400,
        wal_record_len_max: 900,
        ..Options::default()
    }
}

fn open(env: Env) -> Result<Db> {
    let keys = Arc::new(OneKey(Arc::new(MasterKey::new([9; 32]))));
    Db::open(env, keys, StoreId([3; 16]), options(), None)
}

fn contents(db: &Db) -> Contents {
    let mut cursor = db.range(.., None).unwrap();
    let mut contents = Contents::new();
    while let Some(entry) = cursor.next().unwrap() {
        contents.insert(entry.key, entry.value);
    }
    contents
}

/// Writes batches at random and remembers every state that there was.
struct Run {
    rng: Rng,
    states: Vec<Contents>,
    /// Index of the newest state that was acknowledged as durable.
    durable: usize,
    /// What a long batch or an ingest would have made that may be on the medium, although it never
    /// was visible.
    unsettled: Option<Contents>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let states = vec![Contents::new()];
        Self {
            rng: Rng::new(seed),
            states,
            durable: 0,
            unsettled: None,
        }
    }

    /// One operation; what it did to the contents is remembered even where it fails, because a
    /// batch whose sync failed may be there or not.
    fn step(&mut self, db: &Db, world: &World) -> Result<()> {
        match self.rng.below(20) {
            0 => db.flush().map(|()| self.acknowledge()),
            1 => db.sync().map(|()| self.acknowledge()),
            2 => db.compact_all(&mut |_| ()).map(|()| self.acknowledge()),
            9 => self.ingest(db),
            3 => {
                let value = (self.rng.below(256) as u8, vec![1; 20]);
                db.write_annex(vec![(vec![value.0 % 8], Some(value.1))])
            }
            4..9 => {
                world.advance(Duration::from_millis(300));
                db.maintain().map(|_| ())
            }
            _ => self.write(db),
        }
    }

    fn ingest(&mut self, db: &Db) -> Result<()> {
        let mut next = self.states.last().unwrap().clone();
        let from = self.rng.below(200);
        let keys = from..=from + self.rng.below(40);
        let keys: Vec<_> = keys.map(|n| format!("{n:03}").into_bytes()).collect();
        let value = vec![self.rng.below(256) as u8; 30];
        next.extend(keys.iter().map(|key| (key.clone(), value.clone())));
        let (before, was_poisoned) = (db.last_seqno(), db.is_poisoned());
        let result = db.ingest(|sink| keys.iter().try_for_each(|key| sink.put(key, &value)));
        if db.last_seqno() > before {
            self.states.push(next);
        } else if db.is_poisoned() && !was_poisoned {
            self.unsettled = Some(next);
        }
        result.map(|_| self.acknowledge())
    }

    fn acknowledge(&mut self) {
        self.durable = self.states.len() - 1;
    }

    fn write(&mut self, db: &Db) -> Result<()> {
        let mut next = self.states.last().unwrap().clone();
        let mut batch = WriteBatch::new();
        let count_max = if self.rng.chance(10) { 60 } else { 8 };
        for _ in 0..self.rng.below(count_max) + 1 {
            let n = self.rng.below(200);
            let key = format!("{n:03}").into_bytes();
            if self.rng.chance(4) {
                let end = format!("{:03}", n + self.rng.below(40)).into_bytes();
                batch.delete_range(&key, &end);
                next.retain(|other, _| *other < key || end <= *other);
            } else if self.rng.chance(30) {
                batch.delete(&key);
                next.remove(&key);
            } else {
                let value = vec![self.rng.below(256) as u8; self.rng.below(120)];
                batch.put(&key, &value);
                next.insert(key, value);
            }
        }
        let sync = self.rng.chance(20);
        let (before, was_poisoned) = (db.last_seqno(), db.is_poisoned());
        let result = db.write(batch, WriteOptions { sync });
        if db.last_seqno() > before {
            self.states.push(next);
        } else if db.is_poisoned() && !was_poisoned {
            self.unsettled = Some(next);
        }
        if result.is_ok() && sync {
            self.acknowledge();
        }
        result.map(|_| ())
    }

    /// Is `found` a state at or behind `durable`?
    fn allows(&self, found: &Contents, durable: usize, last: usize) -> bool {
        self.states[durable..=last].contains(found) || self.unsettled.as_ref() == Some(found)
    }
}

/// Power goes at every point of a run; what comes back is a prefix of history that holds
/// everything acknowledged, and the store goes on working, through a second power cut too.
#[test]
fn power_cuts_leave_a_prefix_with_all_that_was_acknowledged() {
    for seed in 0..6 {
        let (fs, world, mut run) = (CrashFs::new(), World::new(seed), Run::new(seed));
        let mut marks = vec![(0, 0, 0)];
        let db = open(world.env(Arc::new(fs.clone()))).unwrap();
        for _ in 0..120 {
            run.step(&db, &world).unwrap();
            marks.push((fs.change_count(), run.durable, run.states.len() - 1));
        }
        let record = fs.record();
        for count in 0..=record.change_count() {
            let next = marks
                .partition_point(|mark| mark.0 < count)
                .min(marks.len() - 1);
            let durable = marks[next.saturating_sub(usize::from(marks[next].0 != count))].1;
            let last = marks[next].2;
            let after = record.crash(count, seed * 1000 + count as u64);
            let world = World::new(seed + 100);
            let db = match open(world.env(Arc::new(after.clone()))) {
                Ok(db) => db,
                Err(error) => panic!(
                    "seed {seed}, change {count}: {error}\n{}",
                    record.describe(count)
                ),
            };
            let found = contents(&db);
            assert!(
                run.allows(&found, durable, last),
                "seed {seed}, change {count}: not between {durable} and {last}\n{}",
                record.describe(count)
            );
            if count % 5 == 0 {
                check_second_cut(&after, &db, found, seed + count as u64);
            }
        }
    }
}

fn check_second_cut(fs: &CrashFs, db: &Db, found: Contents, seed: u64) {
    let (world, mut run) = (World::new(seed), Run::new(seed));
    run.states = vec![found];
    for _ in 0..12 {
        run.step(db, &world).unwrap();
    }
    let record = fs.record();
    let after = record.crash(record.change_count(), seed);
    let db = open(World::new(seed + 1).env(Arc::new(after))).unwrap();
    assert!(run.allows(&contents(&db), run.durable, run.states.len() - 1));
}

/// Every operation of the medium fails once: calls succeed or name the error, reads stay right,
/// nothing acknowledged is lost.
#[test]
fn one_fault_anywhere_loses_nothing_that_was_acknowledged() {
    let faults = [
        (Operation::Sync, Fault::Io),
        (Operation::SyncDir, Fault::Io),
        (Operation::Append, Fault::Io),
        (Operation::Append, Fault::TornAppend(37)),
        (Operation::Append, Fault::NoSpace),
        (Operation::Create, Fault::NoSpace),
        (Operation::Create, Fault::Io),
        (Operation::Rename, Fault::Io),
        (Operation::Remove, Fault::Io),
    ];
    for (on, fault) in faults {
        for after in 0..40 {
            one_fault(on, fault, after);
        }
    }
}

fn one_fault(on: Operation, fault: Fault, after: u64) {
    let name = format!("{on:?} {fault:?} after {after}");
    let medium = CrashFs::new();
    let fs = FaultFs::new(Arc::new(medium.clone()));
    let (world, mut run) = (World::new(after), Run::new(after));
    fs.add(Rule::new(on, fault).once_after(after));
    let env = world.env(Arc::new(fs.clone()));
    let Ok(db) = open(env.clone()).or_else(|_| open(env)) else {
        panic!("{name}: does not open")
    };
    for _ in 0..120 {
        let hits = fs.hit_count();
        if let Err(error) = run.step(&db, &world) {
            let poisoned = error.kind() == ErrorKind::Poisoned && db.is_poisoned();
            assert!(fs.hit_count() > hits || poisoned, "{name}: {error}");
        }
    }
    assert_eq!(&contents(&db), run.states.last().unwrap(), "{name}");
    if on == Operation::Sync && fs.hit_count() > 0 {
        // The fault may have hit the opening, which was tried again.
        assert!(db.is_poisoned() || after < 4, "{name}");
    }
    if fault == Fault::NoSpace {
        assert!(!db.is_poisoned(), "{name}");
    }
    drop(db);
    fs.heal();
    let last = run.states.len() - 1;
    let record = medium.record();
    for medium in [medium, record.crash(record.change_count(), after)] {
        let db = open(World::new(7).env(Arc::new(medium))).unwrap();
        assert!(run.allows(&contents(&db), run.durable, last), "{name}");
    }
}

/// A failed sync loses data for good, though the next one would succeed: the store must not.
#[test]
fn a_failed_sync_poisons() {
    for kind in [FileKind::Wal, FileKind::Table, FileKind::Manifest] {
        let (medium, world) = (CrashFs::new(), World::new(1));
        let fs = FaultFs::before(&medium);
        let db = open(world.env(Arc::new(fs.clone()))).unwrap();
        let put = |key: &[u8], sync| {
            let mut batch = WriteBatch::new();
            batch.put(key, b"value");
            db.write(batch, WriteOptions { sync })
        };
        put(b"durable", true).unwrap();
        let lost = Rule::new(Operation::Sync, Fault::LostSync);
        fs.add(lost.on_kind(kind).once_after(0));
        put(b"lost", false).unwrap();
        let failed = match kind {
            FileKind::Wal => db.sync(),
            _ => db.flush(),
        };
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Io);
        assert!(db.is_poisoned());
        assert!(db.get(b"lost", None).unwrap().is_some());
        for result in [
            put(b"more", false).map(|_| ()),
            put(b"more", true).map(|_| ()),
            db.sync(),
            db.flush(),
            db.write_annex(Vec::new()),
            db.compact_all(&mut |_| ()),
            db.maintain().map(|_| ()),
        ] {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Poisoned);
        }
        db.close().unwrap();
        let record = medium.record();
        for seed in 0..20 {
            let after = record.crash(record.change_count(), seed);
            let db = open(World::new(2).env(Arc::new(after) as Arc<dyn Fs>)).unwrap();
            assert!(db.get(b"durable", None).unwrap().is_some());
        }
    }
}

/// A full medium refuses writes and loses none; with room again everything goes on.
#[test]
fn a_full_medium_refuses_and_recovers() {
    let medium = CrashFs::new();
    let fs = FaultFs::new(Arc::new(medium.clone()));
    let (world, mut run) = (World::new(3), Run::new(3));
    let db = open(world.env(Arc::new(fs.clone()))).unwrap();
    for round in 0..10 {
        for _ in 0..30 {
            run.step(&db, &world).unwrap();
        }
        fs.add(Rule::new(Operation::Append, Fault::NoSpace));
        let mut refused = 0;
        for _ in 0..40 {
            if let Err(error) = run.step(&db, &world) {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "round {round}");
                refused += 1;
            }
        }
        assert!(refused > 15, "{refused}");
        assert_eq!(&contents(&db), run.states.last().unwrap());
        fs.heal();
    }
    db.close().unwrap();
    let db = open(World::new(4).env(Arc::new(medium))).unwrap();
    assert_eq!(&contents(&db), run.states.last().unwrap());
}

/// Power goes at every point of a checkpoint: what is there is the whole store or a named error,
/// and the store that it was made of notices nothing.
#[test]
fn a_checkpoint_cut_short_is_no_store() {
    let (fs, target, world) = (CrashFs::new(), CrashFs::new(), World::new(9));
    let mut run = Run::new(9);
    let db = open(world.env(Arc::new(fs))).unwrap();
    for _ in 0..80 {
        run.step(&db, &world).unwrap();
    }
    let expected = contents(&db);
    db.checkpoint(Arc::new(target.clone())).unwrap();
    let record = target.record();
    let mut whole = 0;
    for count in 1..=record.change_count() {
        for seed in 0..3 {
            let after = record.crash(count, seed);
            match open(World::new(seed).env(Arc::new(after))) {
                Ok(db) if contents(&db) == expected => whole += 1,
                // Before the first name is durable the directory may be empty: a new store.
                Ok(db) => assert!(contents(&db).is_empty() && count < record.change_count()),
                Err(error) => {
                    assert!(count < record.change_count());
                    assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
                }
            }
        }
    }
    assert!(whole >= 3);
    assert_eq!(contents(&db), expected);
    run.write(&db).unwrap();
}

/// Keys in random order, as fast as one thread writes them, with two threads that maintain:
/// `COFFER_KEYS=20000000 cargo test --release -p coffer-tests --test it random_keys -- --ignored
/// --nocapture`
#[test]
#[ignore = "takes minutes and a quiet machine"]
fn random_keys_never_stop_a_writer_for_long() {
    let count = std::env::var("COFFER_KEYS").map_or(2_000_000, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.apply(Preset::CofferDefault);
    let keys = Arc::new(OneKey(Arc::new(MasterKey::new([9; 32]))));
    let env = coffer_engine::env::os::env(dir.path()).unwrap();
    let db = Db::open(env, keys, StoreId([3; 16]), options, None).unwrap();
    let ends = AtomicBool::new(false);
    let (mut longest, started) = (Duration::ZERO, Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ends.load(Ordering::Acquire) {
                    if db.maintain().unwrap() == Work::Idle {
                        db.wait_for_work(Duration::from_millis(20));
                    }
                }
            });
        }
        let mut value = [0; 100];
        for i in 0..count {
            let key = u64::wrapping_mul(i, 0x9e37_79b9_7f4a_7c15);
            value[..8].copy_from_slice(&key.to_le_bytes());
            let mut batch = WriteBatch::new();
            batch.put(format!("{key:020x}").as_bytes(), &value);
            let before = Instant::now();
            db.write(batch, WriteOptions::default()).unwrap();
            longest = longest.max(before.elapsed());
        }
        ends.store(true, Ordering::Release);
    });
    let (took, stats) = (started.elapsed(), db.stats());
    println!("{count} keys in {took:?}, longest write {longest:?}, {stats:#?}");
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}

/// The medium is full, once, at every step of what follows the edit that makes a manifest long: the
/// edit is committed by then, so nothing that it names may go, and the store opens again.
#[test]
fn a_full_medium_while_a_long_manifest_is_renewed_loses_nothing() {
    for on in [
        Operation::Create,
        Operation::Append,
        Operation::Sync,
        Operation::SyncDir,
        Operation::Rename,
    ] {
        // What follows the fault may hide what it did: it also ends the session.
        for (goes_on, is_closed) in [(true, false), (true, true), (false, false), (false, true)] {
            let hit_count = (0..)
                .take_while(|&skip_count| full_at_renewal(on, skip_count, goes_on, is_closed))
                .count();
            assert!(hit_count > 0, "{on:?} never happens");
        }
    }
}

/// Flushes past the length at which a manifest is begun anew; was the fault met?
fn full_at_renewal(on: Operation, skip_count: u64, goes_on: bool, is_closed: bool) -> bool {
    let name = format!("{on:?} number {skip_count}, goes on: {goes_on}, closed: {is_closed}");
    let medium = CrashFs::new();
    let fs = FaultFs::new(Arc::new(medium.clone()));
    let db = open(World::new(1).env(Arc::new(fs.clone()))).unwrap();
    let manifest = |db: &Db| {
        let files = db.live_files();
        let mut ids = files.iter().map(|file| file.id);
        ids.find(|id| id.kind == FileKind::Manifest).unwrap()
    };
    let first = manifest(&db);
    let len = || fs.open(first, OpenMode::Read).unwrap().len().unwrap();
    let limit = 2 * len() + (1 << 20);
    for value_len in [4_000, 100] {
        while len() + 2 * value_len + 600 < limit {
            let value = vec![0; value_len as usize];
            db.write_annex(vec![(b"key".to_vec(), Some(value))])
                .unwrap();
        }
    }
    assert_eq!(manifest(&db), first, "long too early");
    fs.add(Rule::new(on, Fault::NoSpace).once_after(skip_count));
    let mut durable = Vec::new();
    for i in 0..8_u8 {
        let mut batch = WriteBatch::new();
        batch.put(&[i], b"value");
        let written = db.write(batch, WriteOptions::default());
        if written.and_then(|_| db.flush()).is_ok() {
            durable.push(i);
        }
        if fs.hit_count() > 0 && !goes_on {
            break;
        }
    }
    let hit = fs.hit_count() > 0;
    let is_poisoned = db.is_poisoned();
    assert!(hit || !is_poisoned, "{name}");
    assert!(
        is_poisoned || !goes_on || manifest(&db) != first,
        "{name}: never renewed"
    );
    fs.heal();
    if is_closed {
        db.close().unwrap();
    }
    drop(db);
    let record = medium.record();
    for medium in [medium, record.crash(record.change_count(), skip_count)] {
        let db = open(World::new(2).env(Arc::new(medium)))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        for &i in &durable {
            assert!(db.get(&[i], None).unwrap().is_some(), "{name}: {i} is gone");
        }
    }
    hit
}

/// The end that an orderly close records does not count an edit that never reached the medium.
#[test]
fn an_edit_that_a_full_medium_refused_is_not_counted_at_the_end() {
    let fs = FaultFs::new(Arc::new(CrashFs::new()));
    let db = open(World::new(1).env(Arc::new(fs.clone()))).unwrap();
    let annex = |value| vec![(b"key".to_vec(), Some(vec![value]))];
    db.write_annex(annex(1)).unwrap();
    fs.add(Rule::new(Operation::Append, Fault::NoSpace).on_kind(FileKind::Manifest));
    let refused = db.write_annex(annex(2)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoSpace);
    fs.heal();
    db.close().unwrap();
    let db = open(World::new(2).env(Arc::new(fs))).unwrap();
    assert_eq!(db.annex().get(&b"key"[..]), Some(&vec![1]));
}

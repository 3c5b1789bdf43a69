//! Power cuts under a blob tree: at every moment, also in the middle of flush, compaction, relocation
//! and removal of blob files.
//!
//! - What comes back is the state after some write, not before the last one that was synced.
//! - Every value that comes back can be read, and goes on being readable after garbage collection.

use std::collections::BTreeMap;
use std::sync::Arc;

use coffer_blobstore::{BlobBatch, BlobTree, Credential, ErrorKind, KdfCost, OpenOptions};
use coffer_blobstore::{Result, StoreOptions, Work};
use coffer_engine::env::mem::MemFs;
use coffer_engine::env::{File, Fs, OpenMode, Space};
use coffer_engine::{Error, FileId};
use coffer_tests::crash::CrashFs;
use coffer_tests::fault::{Fault, FaultFs, Operation, Rule};
use coffer_tests::random::Rng;
use coffer_tests::world::World;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn credential() -> Credential {
    Credential::passphrase(b"power cut")
}

fn store_options() -> StoreOptions {
    StoreOptions {
        kdf: KdfCost::FLOOR,
        frame_len: 4 << 10,
        inline_len_max: 500,
        blob_file_len: 64 << 10,
        ..StoreOptions::default()
    }
}

fn opening() -> OpenOptions {
    OpenOptions {
        memtable_len: 3 << 10,
        ..OpenOptions::default()
    }
}

fn open(fs: &CrashFs, seed: u64) -> Result<BlobTree> {
    let env = World::new(seed).env(Arc::new(fs.clone()));
    BlobTree::open(env, &credential(), &opening())
}

fn contents(tree: &BlobTree) -> Result<Model> {
    let mut found = Model::new();
    let mut scan = tree.scan(b"", b"")?;
    while let Some((key, value)) = scan.next()? {
        found.insert(key, value.bytes(tree)?);
    }
    Ok(found)
}

/// What was promised at which moment.
struct History {
    /// The state after each write, and how many changes the medium had seen when it began.
    states: Vec<(usize, Model)>,
    /// After so many changes, the state with this index was durable.
    synced: Vec<(usize, usize)>,
}

impl History {
    /// States that may come back after a cut before change `change_count`.
    fn allowed(&self, change_count: usize) -> &[(usize, Model)] {
        let done = self.synced.iter().rev().find(|(at, _)| *at <= change_count);
        let first = done.map_or(0, |(_, index)| *index);
        let begun = self.states.partition_point(|(at, _)| *at <= change_count);
        &self.states[first..begun.max(first + 1)]
    }
}

/// Random work on a fresh store; everything it does is on the record of the medium.
fn work(fs: &CrashFs, seed: u64, step_count: usize) -> History {
    let mut rng = Rng::new(seed);
    let env = World::new(seed).env(Arc::new(fs.clone()));
    let tree = BlobTree::create_with(env, &credential(), store_options(), &opening()).unwrap();
    let mut history = History {
        states: vec![(0, Model::new())],
        synced: vec![(fs.change_count(), 0)],
    };
    let mut model = Model::new();
    for _ in 0..step_count {
        let begun = fs.change_count();
        let mut batch = BlobBatch::new();
        let mut next = model.clone();
        for _ in 0..=rng.below(2) {
            let key = vec![b'k', rng.below(12) as u8];
            if rng.below(4) == 0 {
                batch.delete(&key);
                next.remove(&key);
                continue;
            }
            let from = vec![b'k', rng.below(12) as u8];
            if let Some(value) = model.get(&from)
                && rng.below(2) == 0
            {
                batch.copy(&from, &key);
                next.insert(key, value.clone());
                continue;
            }
            let mut value = vec![0; rng.below(16_000)];
            rng.fill(&mut value);
            batch.put_staged(&key, tree.stage(&value).unwrap());
            next.insert(key, value);
        }
        let sync = rng.below(4) == 0;
        tree.write(batch, sync).unwrap();
        model = next;
        history.states.push((begun, model.clone()));
        if sync {
            history
                .synced
                .push((fs.change_count(), history.states.len() - 1));
        }
        match rng.below(16) {
            0 => tree.compact(&mut |_| ()).unwrap(),
            1 => drop(tree.collect_garbage().unwrap()),
            2..5 => while tree.maintain().unwrap() == Work::Did {},
            _ => {}
        }
    }
    tree.close().unwrap();
    history
        .synced
        .push((fs.change_count(), history.states.len() - 1));
    history
}

#[test]
fn every_power_cut_leaves_a_state_that_was_promised() {
    for seed in 0..3 {
        let fs = CrashFs::new();
        let created = {
            let probe = CrashFs::new();
            let env = World::new(seed).env(Arc::new(probe.clone()));
            let made = BlobTree::create_with(env, &credential(), store_options(), &opening());
            drop(made.unwrap());
            probe.change_count()
        };
        let history = work(&fs, seed, 60);
        let record = fs.record();
        let mut rng = Rng::new(seed + 1000);
        for round in 0..60 {
            let span = record.change_count() - created;
            let at = created + rng.below(span + 1);
            let name = || format!("seed {seed}, round {round}:\n{}", record.describe(at));
            let after = record.crash(at, rng.next_u64());
            let tree = open(&after, round).unwrap_or_else(|error| panic!("{error:?} {}", name()));
            let found = contents(&tree).unwrap_or_else(|error| panic!("{error:?} {}", name()));
            let is_allowed = history.allowed(at).iter().any(|(_, state)| *state == found);
            assert!(is_allowed, "a state that was never promised, {}", name());
            tree.collect_garbage()
                .unwrap_or_else(|error| panic!("{error:?} {}", name()));
            assert!(
                contents(&tree).unwrap() == found,
                "collected too much, {}",
                name()
            );
            let report = tree.verify(&mut |_| ()).unwrap();
            assert!(report.is_whole(), "{report:?}, {}", name());
            tree.put(b"afterwards", &[9; 5000]).unwrap();
            tree.close().unwrap();
            drop(tree);
            let again = contents(&open(&after, round + 500).unwrap()).unwrap();
            assert_eq!(again.len(), found.len() + 1, "{}", name());
        }
    }
}

#[test]
fn an_interrupted_creation_is_a_store_or_a_named_error() {
    let fs = CrashFs::new();
    let env = World::new(1).env(Arc::new(fs.clone()));
    drop(BlobTree::create_with(env, &credential(), store_options(), &opening()).unwrap());
    let record = fs.record();
    for at in 0..=record.change_count() {
        let after = record.crash(at, at as u64);
        match open(&after, 2) {
            Ok(tree) => assert!(contents(&tree).unwrap().is_empty()),
            Err(error) => {
                let kinds = [ErrorKind::Invalid, ErrorKind::Corruption];
                assert!(kinds.contains(&error.kind()), "{error:?}");
            }
        }
    }
}

#[test]
fn a_failed_sync_of_a_blob_file_poisons_and_forgets_nothing_durable() {
    let medium = CrashFs::new();
    let fs = FaultFs::before(&medium);
    let env = World::new(4).env(Arc::new(fs.clone()));
    let tree = BlobTree::create_with(env, &credential(), store_options(), &opening()).unwrap();
    tree.put(b"before", &[1; 9000]).unwrap();
    tree.sync().unwrap();
    tree.put(b"after", &[2; 9000]).unwrap();
    let lost = Rule::new(Operation::Sync, Fault::LostSync);
    fs.add(lost.on_kind(coffer_engine::FileKind::Blob).once_after(0));
    tree.sync().unwrap_err();
    assert!(tree.is_poisoned());
    assert_eq!(
        tree.stage(&[3; 9000]).err().unwrap().kind(),
        ErrorKind::Poisoned
    );
    assert_eq!(
        tree.put(b"more", b"x").unwrap_err().kind(),
        ErrorKind::Poisoned
    );
    assert_eq!(tree.sync().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(tree.get(b"before").unwrap(), Some(vec![1; 9000]));
    tree.close().unwrap_err();
    drop(tree);
    let record = medium.record();
    for seed in 0..8 {
        let after = record.crash(record.change_count(), seed);
        let tree = open(&after, seed).unwrap();
        let found = contents(&tree).unwrap();
        assert_eq!(found.get(b"before".as_slice()), Some(&vec![1; 9000]));
        assert!(found.len() <= 2);
    }
}

/// A medium of limited size.
#[derive(Clone)]
struct SmallFs {
    inner: Arc<MemFs>,
    capacity: u64,
}

struct SmallFile(Arc<dyn File>, SmallFs);

impl SmallFs {
    fn used_len(&self) -> u64 {
        let space = self.inner.space().unwrap();
        space.total_len - space.free_len
    }
}

impl Fs for SmallFs {
    fn open(&self, id: FileId, mode: OpenMode) -> Result<Arc<dyn File>> {
        Ok(Arc::new(SmallFile(
            self.inner.open(id, mode)?,
            self.clone(),
        )))
    }
    fn rename(&self, from: FileId, to: FileId) -> Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, id: FileId) -> Result<()> {
        self.inner.remove(id)
    }
    fn list(&self) -> Result<Vec<FileId>> {
        self.inner.list()
    }
    fn sync_dir(&self) -> Result<()> {
        self.inner.sync_dir()
    }
    fn lock(&self) -> Result<Box<dyn Send + Sync>> {
        self.inner.lock()
    }
    fn space(&self) -> Result<Space> {
        let free_len = self.capacity.saturating_sub(self.used_len());
        Ok(Space {
            total_len: self.capacity,
            free_len,
        })
    }
}

impl File for SmallFile {
    fn len(&self) -> Result<u64> {
        self.0.len()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.0.read_at(offset, buf)
    }
    fn append(&self, bytes: &[u8]) -> Result<()> {
        if self.1.used_len() + bytes.len() as u64 > self.1.capacity {
            return Err(Error::no_space("the medium is full"));
        }
        self.0.append(bytes)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn sync(&self) -> Result<()> {
        self.0.sync()
    }
    fn truncate(&self, len: u64) -> Result<()> {
        self.0.truncate(len)
    }
}

#[test]
fn a_full_medium_still_takes_deletions() {
    let (inner, capacity) = (MemFs::new(), 12 << 20);
    let fs = SmallFs { inner, capacity };
    let env = World::new(6).env(Arc::new(fs.clone()));
    let options = StoreOptions {
        blob_file_len: 1 << 20,
        ..store_options()
    };
    let tree = BlobTree::create_with(env, &credential(), options, &opening()).unwrap();
    let mut rng = Rng::new(6);
    for round in 0..3 {
        let mut stored = Vec::new();
        let refused = loop {
            let (key, value) = (rng.bytes(8), rng.bytes(60_000));
            match tree.put(&key, &value) {
                Ok(()) => stored.push((key, value)),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), ErrorKind::NoSpace, "{refused:?}");
        assert!(
            stored.len() > 100,
            "round {round} took {} values",
            stored.len()
        );
        assert!(!tree.is_poisoned());
        tree.sync().unwrap();
        for (key, value) in &stored {
            assert_eq!(tree.get(key).unwrap().as_ref(), Some(value));
            tree.delete(key).unwrap();
        }
        tree.compact(&mut |_| ()).unwrap();
        assert!(fs.space().unwrap().free_len > capacity / 2);
    }
    tree.close().unwrap();
}

#[test]
fn a_full_medium_gives_back_what_was_deleted() {
    // Many blob files with a little left in each, and one that would never be full.
    for (blob_file_len, keep_every) in [(1 << 20, 10), (1 << 30, 30)] {
        let (inner, capacity) = (MemFs::new(), 12 << 20);
        let fs = SmallFs { inner, capacity };
        let env = World::new(7).env(Arc::new(fs.clone()));
        let options = StoreOptions {
            blob_file_len,
            ..store_options()
        };
        let tree = BlobTree::create_with(env, &credential(), options, &opening()).unwrap();
        let mut rng = Rng::new(7);
        let (mut kept, mut count) = (Model::new(), 0u32);
        let refused = loop {
            let (key, value) = (count.to_be_bytes(), rng.bytes(60_000));
            if let Err(error) = tree.put(&key, &value) {
                break error;
            }
            if count.is_multiple_of(keep_every) {
                kept.insert(key.to_vec(), value);
            }
            count += 1;
        };
        assert_eq!(refused.kind(), ErrorKind::NoSpace);
        assert!(count > 150);
        for key in 0..count {
            if !kept.contains_key(key.to_be_bytes().as_slice()) {
                tree.delete(&key.to_be_bytes()).unwrap();
            }
        }
        tree.sync().unwrap();
        tree.compact(&mut |_| ()).unwrap();
        let free_len = fs.space().unwrap().free_len;
        assert!(free_len > capacity / 2, "{blob_file_len}: {free_len} free");
        assert!(contents(&tree).unwrap() == kept);
        let again = rng.bytes(1 << 20);
        tree.put(b"again", &again).unwrap();
        tree.close().unwrap();
        drop(tree);
        let env = World::new(8).env(Arc::new(fs));
        let tree = BlobTree::open(env, &credential(), &opening()).unwrap();
        kept.insert(b"again".to_vec(), again);
        assert!(contents(&tree).unwrap() == kept);
    }
}

/// Reads go on to show what a failed sync lost, and the next sync goes well: a store that is opened
/// again in the same hour must not take such bytes for durable.
#[test]
fn values_that_a_failed_sync_lost_are_written_again() {
    for (seed, len) in [(5, 9_000), (6, 900_000)] {
        let medium = CrashFs::new();
        let fs = FaultFs::before(&medium);
        let env = World::new(seed).env(Arc::new(fs.clone()));
        let tree = BlobTree::create_with(env, &credential(), store_options(), &opening()).unwrap();
        tree.put(b"before", &[1; 9000]).unwrap();
        tree.sync().unwrap();
        tree.put(b"after", &vec![2; len]).unwrap();
        // The log reaches the page cache; then the sync of the blob file fails.
        let lost = Rule::new(Operation::Sync, Fault::LostSync);
        fs.add(lost.on_kind(coffer_engine::FileKind::Blob).once_after(0));
        tree.sync().unwrap_err();
        assert_eq!(fs.hit_count(), 1);
        drop(tree);
        let tree = open(&medium, seed).unwrap();
        let found = contents(&tree).unwrap();
        assert!(found.contains_key(b"after".as_slice()), "the log was lost");
        tree.sync().unwrap();
        for state in 0..8 {
            let tree = open(&medium.crash(state), seed).unwrap();
            assert_eq!(contents(&tree).unwrap(), found, "state {state}");
        }
    }
}

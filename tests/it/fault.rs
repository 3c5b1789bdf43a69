//! A medium that answers with errors: what was promised stays, reads go on, writes are refused.

use crate::stores::{self, Contents};
use coffer_blobstore::{BlobBatch, BlobTree, ErrorKind, StoreOptions, Work};
use coffer_engine::Ecc;
use coffer_engine::FileKind;
use coffer_engine::env::Env;
use coffer_tests::crash::CrashFs;
use coffer_tests::fault::{Fault, FaultFs, Operation, Rule};
use coffer_tests::random::Rng;
use coffer_tests::world::World;
use std::sync::Arc;

struct Faulty {
    medium: CrashFs,
    faults: FaultFs,
    tree: BlobTree,
    contents: Contents,
    rng: Rng,
}

fn env(faults: &FaultFs, seed: u64) -> Env {
    World::new(seed).env(Arc::new(faults.clone()))
}

impl Faulty {
    /// A tree with some synced contents.
    fn new(seed: u64) -> Self {
        let medium = CrashFs::new();
        let faults = FaultFs::before(&medium);
        let options = stores::store_options(stores::transform(Ecc::None));
        let tree = BlobTree::create(env(&faults, seed), &stores::credential(), options).unwrap();
        let (mut contents, mut rng) = (Contents::new(), Rng::new(seed));
        let keys: Vec<usize> = (0..20).collect();
        stores::fill(&tree, &mut contents, &mut rng, &keys);
        tree.sync().unwrap();
        Self {
            medium,
            faults,
            tree,
            contents,
            rng,
        }
    }

    /// One synced write of one key; answers the kind of the error.
    fn write(&mut self, key: usize) -> Result<(), ErrorKind> {
        let key = format!("key-{key:04}").into_bytes();
        let value = stores::value(&mut self.rng);
        let mut batch = BlobBatch::new();
        batch.put(&key, &value);
        self.tree.write(batch, true).map_err(|error| error.kind())?;
        self.contents.insert(key, value);
        Ok(())
    }
}

#[test]
fn after_a_failed_sync_reads_go_on_and_writes_are_refused() {
    for kind in [FileKind::Wal, FileKind::Blob] {
        let mut faulty = Faulty::new(31);
        let lost = Rule::new(Operation::Sync, Fault::LostSync);
        faulty.faults.add(lost.on_kind(kind).once_after(0));
        let failed = (0..20).find_map(|key| {
            let before = faulty.contents.clone();
            let kind = faulty.write(key).err()?;
            Some((before, kind))
        });
        let (before, error) = failed.expect("the fault was never met");
        assert_eq!(error, ErrorKind::Io, "{kind:?}");
        assert!(faulty.tree.is_poisoned());
        for key in 0..20 {
            assert_eq!(faulty.write(key), Err(ErrorKind::Poisoned), "{kind:?}");
        }
        assert_eq!(faulty.tree.sync().unwrap_err().kind(), ErrorKind::Poisoned);
        // All that was promised can be read; the write that failed may be seen or not.
        for (key, value) in &before {
            let found = faulty.tree.get(key).unwrap();
            assert!(found.is_some(), "{kind:?}: a key is gone");
            let _ = value;
        }
        // The promises hold after a power cut, though the medium lost what the sync was for.
        drop(faulty.tree);
        let record = faulty.medium.record();
        for state in 0..20 {
            let cut = record.crash(record.change_count(), state);
            let tree = stores::open(World::new(1).env(Arc::new(cut))).unwrap();
            let found = stores::dump(&tree).unwrap();
            let differing: Vec<_> = before
                .iter()
                .filter(|(key, value)| found.get(*key) != Some(value))
                .collect();
            assert!(
                differing.len() <= 1,
                "{kind:?}, state {state}: promises broken"
            );
            let mut batch = BlobBatch::new();
            batch.put(b"again", b"works");
            tree.write(batch, true).unwrap();
        }
    }
}

/// Fails the n-th operation of each kind, for every n, once; goes on until nothing fails.
fn every_nth(operation: Operation, fault: Fault) {
    for skip in 0.. {
        let mut faulty = Faulty::new(32);
        faulty
            .faults
            .add(Rule::new(operation, fault).once_after(skip));
        let what = format!("{operation:?} number {skip}: {fault:?}");
        let mut maybe: Vec<Vec<u8>> = Vec::new();
        let mut calls = 0;
        for call in 0..30 {
            calls = call;
            let result = match call % 10 {
                9 => faulty
                    .tree
                    .compact(&mut |_| ())
                    .map_err(|error| error.kind()),
                8 => faulty
                    .tree
                    .maintain()
                    .map(drop)
                    .map_err(|error| error.kind()),
                _ => {
                    let result = faulty.write(call % 20);
                    if result.is_err() {
                        maybe.push(format!("key-{:04}", call % 20).into_bytes());
                    }
                    result
                }
            };
            if let Err(kind) = result {
                let kinds = [ErrorKind::Io, ErrorKind::NoSpace, ErrorKind::Poisoned];
                let read = operation == Operation::Read && kind == ErrorKind::Corruption;
                assert!(
                    kinds.contains(&kind) || read,
                    "{what}: {kind:?} in call {call}"
                );
            }
        }
        let hit = faulty.faults.hit_count();
        faulty.faults.heal();
        let holds = |tree: &BlobTree, when: &str| {
            for (key, value) in &faulty.contents {
                let found = tree
                    .get(key)
                    .unwrap_or_else(|error| panic!("{what}, {when}: {error:?}"));
                assert!(
                    found.as_ref() == Some(value) || maybe.contains(key),
                    "{what}, {when}: a promise is broken"
                );
                assert!(found.is_some(), "{what}, {when}: a key is gone");
            }
        };
        holds(&faulty.tree, "before reopening");
        drop(faulty.tree);
        let tree = stores::open(env(&faulty.faults, 8))
            .unwrap_or_else(|error| panic!("{what}: does not open again: {error:?}"));
        holds(&tree, "after reopening");
        drop(tree);
        if hit == 0 {
            assert!(skip > 0 && calls > 0, "{operation:?} never happens");
            return;
        }
        assert!(skip < 2_000, "it never ends");
    }
}

#[test]
fn every_failing_append_keeps_promises() {
    every_nth(Operation::Append, Fault::Io);
    every_nth(Operation::Append, Fault::TornAppend(100));
}

#[test]
fn every_failing_sync_keeps_promises() {
    every_nth(Operation::Sync, Fault::Io);
    every_nth(Operation::SyncDir, Fault::Io);
}

#[test]
fn every_failing_name_operation_keeps_promises() {
    every_nth(Operation::Create, Fault::NoSpace);
    every_nth(Operation::Remove, Fault::Io);
}

#[test]
fn every_failing_read_keeps_promises() {
    every_nth(Operation::Read, Fault::Io);
    every_nth(Operation::Read, Fault::ShortRead(7));
    every_nth(Operation::Read, Fault::FlipBit(77));
}

#[test]
fn a_recovery_that_fails_can_be_repeated() {
    let faulty = Faulty::new(34);
    drop(faulty.tree);
    let record = faulty.medium.record();
    for (operation, fault) in [
        (Operation::Append, Fault::NoSpace),
        (Operation::Append, Fault::TornAppend(90)),
        (Operation::Create, Fault::Io),
        (Operation::Rename, Fault::Io),
        (Operation::Sync, Fault::Io),
        (Operation::SyncDir, Fault::Io),
        (Operation::Remove, Fault::Io),
        (Operation::List, Fault::Io),
        (Operation::Open, Fault::Io),
        (Operation::Read, Fault::Io),
    ] {
        for skip in 0.. {
            let medium = record.crash(record.change_count(), skip);
            let faults = FaultFs::new(Arc::new(medium));
            faults.add(Rule::new(operation, fault).once_after(skip));
            let what = format!("{operation:?} number {skip}: {fault:?}");
            match stores::open(env(&faults, 5)) {
                Ok(tree) => drop(tree),
                Err(error) => {
                    let kinds = [ErrorKind::Io, ErrorKind::NoSpace, ErrorKind::Poisoned];
                    assert!(kinds.contains(&error.kind()), "{what}: {error:?}");
                }
            }
            let hit = faults.hit_count();
            faults.heal();
            let tree = stores::open(env(&faults, 6))
                .unwrap_or_else(|error| panic!("{what}: does not open again: {error:?}"));
            assert!(stores::dump(&tree).unwrap() == faulty.contents, "{what}");
            if hit == 0 {
                assert!(skip > 0, "{operation:?} never happens");
                break;
            }
        }
    }
}

#[test]
fn a_full_medium_is_named_and_reads_go_on() {
    let mut faulty = Faulty::new(33);
    faulty
        .faults
        .add(Rule::new(Operation::Append, Fault::NoSpace));
    let first = (0..20).find_map(|key| faulty.write(key).err());
    assert_eq!(first, Some(ErrorKind::NoSpace));
    let found = stores::dump(&faulty.tree).unwrap();
    assert_eq!(found.len(), faulty.contents.len());
    drop(faulty.tree);
    // Room again.
    faulty.faults.heal();
    let tree = stores::open(env(&faulty.faults, 9)).unwrap();
    let mut batch = BlobBatch::new();
    batch.put(b"again", &[1; 5_000]);
    tree.write(batch, true).unwrap();
    assert!(tree.get(b"again").unwrap().is_some());
}

/// A value of `b` that the log has no space for must not be counted against its neighbour `keep`.
#[test]
fn a_synced_write_without_space_for_its_log_costs_no_other_value() {
    for sync_writes in [false, true] {
        let faults = FaultFs::new(Arc::new(CrashFs::new()));
        let options = StoreOptions {
            sync_writes,
            ..stores::store_options(stores::transform(Ecc::None))
        };
        let tree = BlobTree::create(env(&faults, 36), &stores::credential(), options).unwrap();
        let mut rng = Rng::new(36);
        let mut write = |tree: &BlobTree, key: &[u8]| {
            let value = rng.bytes(10_000);
            let mut batch = BlobBatch::new();
            batch.put(key, &value);
            let written = tree.write(batch, !sync_writes);
            (written.map_err(|error| error.kind()), value)
        };
        let (written, kept) = write(&tree, b"keep");
        written.unwrap();
        faults.add(Rule::new(Operation::Append, Fault::NoSpace).on_kind(FileKind::Wal));
        assert_eq!(write(&tree, b"b").0, Err(ErrorKind::NoSpace));
        faults.heal();
        write(&tree, b"b").0.unwrap();
        tree.close().unwrap();
        drop(tree);

        let tree = stores::open(env(&faults, 37)).unwrap();
        tree.delete(b"b").unwrap();
        tree.compact(&mut |_| ()).unwrap();
        assert_eq!(tree.get(b"keep").unwrap(), Some(kept), "{sync_writes}");
    }
}

#[test]
fn a_full_medium_puts_off_the_end_of_a_blob_file() {
    let faulty = Faulty::new(38);
    let tree = &faulty.tree;
    tree.put(b"one", &[1; 100]).unwrap();
    for key in [b"full", b"next"] {
        let value = Rng::new(u64::from(key[0])).bytes(70_000);
        tree.put(key, &value).unwrap();
    }
    let full = Rule::new(Operation::Append, Fault::NoSpace).on_kind(FileKind::Blob);
    faulty.faults.add(full);
    while tree.maintain().unwrap() == Work::Did {}
    let refused = tree.put(b"more", &[7; 10_000]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoSpace);
    assert!(faulty.faults.hit_count() >= 2 && !tree.is_poisoned());
    assert_eq!(tree.garbage().unwrap().len, 0, "nothing is finished yet");
    tree.delete(b"one").unwrap();
    tree.sync().unwrap();

    faulty.faults.heal();
    tree.put(b"more", &[7; 10_000]).unwrap();
    while tree.maintain().unwrap() == Work::Did {}
    assert!(tree.garbage().unwrap().len >= 70_000);
    let found = stores::dump(tree).unwrap();
    tree.close().unwrap();
    drop(faulty.tree);
    let tree = stores::open(env(&faulty.faults, 39)).unwrap();
    assert_eq!(tree.garbage().unwrap().inherited_count, 0);
    assert!(stores::dump(&tree).unwrap() == found);
}

/// The one error that a sync of the directory reports may concern the name of a log.
#[test]
fn a_failed_sync_while_a_blob_file_is_made_poisons() {
    for rule in [
        Rule::new(Operation::SyncDir, Fault::Io),
        Rule::new(Operation::Sync, Fault::Io).on_kind(FileKind::Blob),
    ] {
        let faults = FaultFs::new(Arc::new(CrashFs::new()));
        let options = stores::store_options(stores::transform(Ecc::None));
        let tree = BlobTree::create(env(&faults, 40), &stores::credential(), options).unwrap();
        tree.put(b"small", b"in a log whose name is not settled yet")
            .unwrap();
        faults.add(rule.clone().once_after(0));
        tree.put(b"large", &[1; 10_000]).unwrap_err();
        assert!(tree.is_poisoned(), "{rule:?}");
        let refused = tree.sync().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Poisoned, "{rule:?}");
    }
}

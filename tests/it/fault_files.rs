//! The file system over a medium with faults, without a kernel.

use crate::stores;
use coffer_blobstore::env::{Env, mem, os};
use coffer_blobstore::{BlobTree, OpenOptions};
use coffer_engine::{Ecc, FileKind};
use coffer_fusefs::attr::{Allocate, Caller, Handle, Ino, OpenFlags, ROOT, WriteFlags};
use coffer_fusefs::{FileSystem, MountOptions};
use coffer_tests::fault::{Fault, FaultFs, Operation, Rule};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const CHUNK: u64 = 128 << 10;
const ROOT_CALLER: Caller = Caller {
    uid: 0,
    gid: 0,
    pid: 0,
    umask: 0,
};

/// A new file system over a medium without faults yet.
fn mounted(options: MountOptions, opening: &OpenOptions) -> (FileSystem, FaultFs) {
    let memory = mem::env();
    let faults = FaultFs::new(Arc::clone(&memory.fs));
    let env = Env {
        fs: Arc::new(faults.clone()),
        spawner: os::spawner(),
        ..memory
    };
    let store = stores::store_options(stores::transform(Ecc::None));
    let tree = BlobTree::create_with(env, &stores::credential(), store, opening).unwrap();
    (FileSystem::open(Arc::new(tree), options).unwrap(), faults)
}

fn create(fs: &FileSystem) -> (Ino, Handle) {
    let flags = OpenFlags {
        read: true,
        write: true,
        ..OpenFlags::default()
    };
    let (attr, handle) = fs.create(&ROOT_CALLER, ROOT, b"f", 0o600, flags).unwrap();
    (attr.ino, handle)
}

fn noise(chunk: u64) -> Vec<u8> {
    coffer_tests::random::Rng::new(chunk).bytes(CHUNK as usize)
}

#[test]
fn a_panic_while_sealed_chunks_are_put_leaves_nobody_waiting() {
    let (done, wait) = channel();
    std::thread::spawn(move || {
        let options = MountOptions {
            worker_count: 1,
            dirty_len_max: 4 * CHUNK as usize + 10_000,
            ..MountOptions::default()
        };
        // With every batch a new log begins.
        let opening = OpenOptions {
            memtable_len: 1,
            ..OpenOptions::default()
        };
        let (fs, faults) = mounted(options, &opening);
        let (ino, handle) = create(&fs);
        let write = |chunk| {
            let flags = WriteFlags::default();
            fs.write(ino, handle, chunk * CHUNK, &noise(chunk), flags)
                .unwrap();
        };
        faults.add(Rule::new(Operation::Create, Fault::Panic).on_kind(FileKind::Wal));
        // A little more than there is room for.
        (0..5).for_each(write);
        let since = Instant::now();
        while faults.hit_count() == 0 {
            assert!(since.elapsed() < Duration::from_secs(60), "no worker came");
            std::thread::sleep(Duration::from_millis(1));
        }
        // Time for the other seals.
        std::thread::sleep(Duration::from_millis(300));
        faults.heal();
        (5..20).for_each(write);
        fs.fsync(ino, handle, false).unwrap();
        for chunk in 0..20 {
            let read = fs.read(ino, handle, chunk * CHUNK, CHUNK as usize).unwrap();
            assert!(read[..] == noise(chunk)[..], "chunk {chunk}");
        }
        fs.release(ino, handle).unwrap();
        fs.close().unwrap();
        done.send(()).unwrap();
    });
    let outcome = wait.recv_timeout(Duration::from_secs(120));
    outcome.expect("somebody waits for a seal that ended long ago");
}

#[test]
fn a_punch_needs_no_space_and_writes_nothing_of_what_it_deletes() {
    for worker_count in [0, 2] {
        let options = MountOptions {
            worker_count,
            ..MountOptions::default()
        };
        let (fs, faults) = mounted(options, &OpenOptions::default());
        let (ino, handle) = create(&fs);
        let write = |chunk| {
            let flags = WriteFlags::default();
            fs.write(ino, handle, chunk * CHUNK, &noise(chunk), flags)
                .unwrap();
        };
        (0..6).for_each(write);
        fs.fsync(ino, handle, false).unwrap();
        // Some over what the tree has, some behind it.
        (4..9).for_each(write);
        let full = Rule::new(Operation::Append, Fault::NoSpace).on_kind(FileKind::Blob);
        faults.add(full);
        let punch = |range| fs.fallocate(&ROOT_CALLER, ino, handle, range, Allocate::PunchHole);
        punch(CHUNK - 10..20 * CHUNK).unwrap();
        assert_eq!(faults.hit_count(), 0, "nothing goes to a blob file");
        assert_eq!(fs.getattr(ino).unwrap().blocks, CHUNK / 512);
        let mut all = noise(0);
        all[CHUNK as usize - 10..].fill(0);
        all.resize(9 * CHUNK as usize, 0);
        assert!(fs.read(ino, handle, 0, all.len()).unwrap()[..] == all);
        faults.heal();
        fs.fsync(ino, handle, false).unwrap();
        fs.release(ino, handle).unwrap();
        fs.close().unwrap();
    }
}

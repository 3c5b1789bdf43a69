//! Random operations on the file system and on its model: the same answers, the same tree.
//!
//! - `COFFER_CASES` sets how many sequences are played, `COFFER_OPS` how long each is.

use coffer_fusefs::MountOptions;
use coffer_tests::play_fs::{Op, Player, op};
use proptest::prelude::*;

fn number(name: &str, default: usize) -> usize {
    let set = std::env::var(name).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Caches and buffers so small that everything moves.
fn cramped(worker_count: usize) -> MountOptions {
    MountOptions {
        worker_count,
        dirty_len_max: 300_000,
        dirty_age_ms_max: 2_000,
        chunk_cache_len: 300_000,
        inode_cache_count: 4,
        ..MountOptions::default()
    }
}

fn play(ops: &[Op], options: MountOptions) {
    Player::new(options).play(ops);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: number("COFFER_CASES", 24) as u32,
        max_shrink_iters: 4000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_file_system_answers_as_its_model(
        ops in proptest::collection::vec(op(), 1..number("COFFER_OPS", 300)),
        small: bool,
        workers in 0..3_usize,
    ) {
        let options = match small {
            true => cramped(workers),
            false => MountOptions { worker_count: workers, ..MountOptions::default() },
        };
        play(&ops, options);
    }
}

mod threads {
    //! Many threads at once: no deadlock, and a sound tree afterwards.

    use super::{MountOptions, cramped};
    use coffer_blobstore::env::mem;
    use coffer_fusefs::attr::{
        Allocate, Caller, Ino, Kind, OpenFlags, ROOT, RenameFlags, SetAttr, WriteFlags,
    };
    use coffer_fusefs::{Errno, FileSystem, FsResult};
    use coffer_tests::play_fs::{reopened, small_store};
    use coffer_tests::random::Rng;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    const THREAD_COUNT: u64 = 4;
    const STEP_COUNT: usize = 3000;
    const CALLER: Caller = Caller {
        uid: 0,
        gid: 0,
        pid: 0,
        umask: 0,
    };
    const RW: OpenFlags = OpenFlags {
        read: true,
        write: true,
        truncate: false,
        append: false,
        sync: false,
    };

    /// Errors that other threads may cause, and nothing else.
    fn fine<T>(result: FsResult<T>) -> Option<T> {
        match result.map_err(|error| error.errno()) {
            Ok(value) => Some(value),
            Err(
                Errno::ENOENT
                | Errno::EEXIST
                | Errno::ENOTDIR
                | Errno::EISDIR
                | Errno::ENOTEMPTY
                | Errno::EINVAL
                | Errno::EPERM
                | Errno::ESTALE,
            ) => None,
            Err(errno) => panic!("{errno}"),
        }
    }

    fn name(rng: &mut Rng) -> Vec<u8> {
        vec![b'a' + rng.below(5) as u8]
    }

    /// A directory somewhere, with a reference that must be given back.
    fn dir(fs: &FileSystem, rng: &mut Rng) -> Ino {
        let mut at = ROOT;
        for _ in 0..rng.below(4) {
            if let Some(attr) = fine(fs.lookup(at, &name(rng))) {
                fs.forget(attr.ino, 1);
                if attr.kind == Kind::Directory {
                    at = attr.ino;
                }
            }
        }
        at
    }

    fn content(fs: &FileSystem, rng: &mut Rng, at: Ino, name: &[u8]) {
        if let Some(attr) = fine(fs.lookup(at, name)) {
            if let Some(handle) = fine(fs.open_file(&CALLER, attr.ino, RW)) {
                let data = fs.read(attr.ino, handle, 0, 200_000).unwrap();
                assert!(data.iter().all(|&byte| byte == b'z' || byte == 0));
                let cut = SetAttr {
                    size: Some(rng.below(200_000) as u64),
                    ..SetAttr::default()
                };
                fine(fs.setattr(&CALLER, attr.ino, &cut));
                let start = rng.below(200_000) as u64;
                let range = start..start + 1 + rng.below(200_000) as u64;
                let punch = Allocate::PunchHole;
                fs.fallocate(&CALLER, attr.ino, handle, range, punch)
                    .unwrap();
                let place = |offset| (attr.ino, handle, offset);
                fs.copy_range(&CALLER, place(0), place(300_000), 150_000)
                    .unwrap();
                fs.release(attr.ino, handle).unwrap();
            }
            fs.forget(attr.ino, 1);
        }
    }

    fn step(fs: &FileSystem, rng: &mut Rng) {
        let (at, name_a, name_b) = (dir(fs, rng), name(rng), name(rng));
        match rng.below(12) {
            0 | 1 => {
                if let Some(attr) = fine(fs.mkdir(&CALLER, at, &name_a, 0o755)) {
                    fs.forget(attr.ino, 1);
                }
            }
            2 | 3 => {
                if let Some((attr, handle)) = fine(fs.create(&CALLER, at, &name_a, 0o644, RW)) {
                    let data = vec![b'z'; rng.below(300_000)];
                    let flags = WriteFlags::default();
                    fs.write(attr.ino, handle, 0, &data, flags).unwrap();
                    if rng.chance(30) {
                        fs.fsync(attr.ino, handle, true).unwrap();
                    }
                    fs.release(attr.ino, handle).unwrap();
                    fs.forget(attr.ino, 1);
                }
            }
            4 => drop(fine(fs.unlink(at, &name_a))),
            5 => drop(fine(fs.rmdir(at, &name_a))),
            6..=8 => {
                let to = dir(fs, rng);
                let exchange = rng.chance(40);
                let flags = RenameFlags {
                    exchange,
                    whiteout: !exchange && rng.chance(10),
                    ..RenameFlags::default()
                };
                fine(fs.rename(&CALLER, at, &name_a, to, &name_b, flags));
            }
            9 => {
                if let Some(attr) = fine(fs.lookup(at, &name_a)) {
                    let to = dir(fs, rng);
                    if fine(fs.link(attr.ino, to, &name_b)).is_some() {
                        fs.forget(attr.ino, 1);
                    }
                    fs.forget(attr.ino, 1);
                }
            }
            10 => content(fs, rng, at, &name_a),
            _ => {
                let mut seen = BTreeSet::new();
                fine(fs.readdirplus(at, 0, &mut |entry| {
                    assert!(seen.insert(entry.name.to_vec()), "listed twice");
                    if entry.cookie > 2 {
                        fs.forget(entry.ino, 1);
                    }
                    true
                }));
                if rng.chance(10) {
                    fs.tick().unwrap();
                }
            }
        }
    }

    /// Counts agree with what is there, and every inode is reached.
    fn must_be_sound(fs: &FileSystem) {
        let mut open = vec![ROOT];
        let mut names: BTreeMap<Ino, u32> = BTreeMap::new();
        let mut reached = BTreeSet::from([ROOT]);
        while let Some(ino) = open.pop() {
            let (mut entries, mut below) = (0, 0);
            fs.readdirplus(ino, 0, &mut |entry| {
                if entry.cookie > 2 {
                    let attr = entry.attr.expect("every name leads to an inode");
                    fs.forget(attr.ino, 1);
                    entries += 1;
                    reached.insert(attr.ino);
                    if attr.kind == Kind::Directory {
                        below += 1;
                        open.push(attr.ino);
                        let up = fs.lookup(attr.ino, b"..").unwrap().ino;
                        fs.forget(up, 1);
                        assert_eq!(up, ino);
                    } else {
                        *names.entry(attr.ino).or_default() += 1;
                    }
                }
                true
            })
            .unwrap();
            let attr = fs.getattr(ino).unwrap();
            assert_eq!((attr.size, attr.nlink), (entries, 2 + below));
        }
        for (ino, count) in names {
            assert_eq!(fs.getattr(ino).unwrap().nlink, count);
        }
        let mut left = Vec::new();
        let mut scan = fs.tree().scan(&[], &[]).unwrap();
        while let Some((key, _)) = scan.next().unwrap() {
            if key != b"S" {
                let ino = u64::from_be_bytes(key[1..9].try_into().unwrap());
                if key[0] == b'O' || !reached.contains(&ino) {
                    left.push(key.escape_ascii().to_string());
                }
            }
        }
        assert!(left.is_empty(), "left over: {left:?}");
    }

    fn play(seed: u64, options: MountOptions) {
        let tree = small_store(mem::env().clock);
        let fs = FileSystem::open(Arc::clone(&tree), options).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..THREAD_COUNT {
                let fs = &fs;
                scope.spawn(move || {
                    let mut rng = Rng::new(seed * THREAD_COUNT + thread);
                    for _ in 0..STEP_COUNT {
                        step(fs, &mut rng);
                    }
                });
            }
        });
        fs.sync_all().unwrap();
        fs.tick().unwrap();
        must_be_sound(&fs);
        drop(fs);
        let fs = FileSystem::open(reopened(tree), options).unwrap();
        // What was reaped last was not synced; it is reaped again, behind the mount or here.
        fs.tick().unwrap();
        must_be_sound(&fs);
        fs.close().unwrap();
    }

    #[test]
    fn many_threads_leave_a_sound_tree() {
        let (done, wait) = channel();
        std::thread::spawn(move || {
            for workers in 0..3 {
                play(workers as u64, cramped(workers));
            }
            done.send(()).unwrap();
        });
        let outcome = wait.recv_timeout(Duration::from_secs(300));
        outcome.expect("a thread failed, or all of them wait for each other");
    }
}

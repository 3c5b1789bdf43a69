//! A mount within this process: what calls cost, and what a bug beneath a request does.

use coffer_blobstore::env::{Env, mem, os};
use coffer_blobstore::{BlobTree, Credential, FileKind, KdfCost, OpenOptions, StoreOptions};
use coffer_fusefs::{AttachOptions, FileSystem, MountOptions, Session, SessionOptions};
use coffer_tests::fault::{Fault, FaultFs, Operation, Rule};
use coffer_tests::process::detach;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A store in memory, over a medium with faults, mounted by this process.
struct Inside {
    session: Option<Session>,
    fault: FaultFs,
    log: Arc<Mutex<String>>,
    point: PathBuf,
    _home: tempfile::TempDir,
}

impl Inside {
    fn new() -> Self {
        let memory = mem::env();
        let fault = FaultFs::new(Arc::clone(&memory.fs));
        let env = Env {
            fs: Arc::new(fault.clone()),
            spawner: os::spawner(),
            ..memory
        };
        let store = StoreOptions {
            kdf: KdfCost::FLOOR,
            ..StoreOptions::default()
        };
        let key = Credential::key_file(&[7; 32]);
        let tree = BlobTree::create_with(env, &key, store, &OpenOptions::default()).unwrap();
        let fs = FileSystem::open(Arc::new(tree), MountOptions::default()).unwrap();
        let home = tempfile::tempdir().unwrap();
        let point = home.path().join("mnt");
        std::fs::create_dir(&point).unwrap();
        let log = Arc::<Mutex<String>>::default();
        let mut options = SessionOptions::new(AttachOptions {
            source: "inside".into(),
            ..AttachOptions::default()
        });
        let lines = Arc::clone(&log);
        options.log = Arc::new(move |line| lines.lock().unwrap().push_str(line));
        let session = Session::start(fs, &point, options).unwrap();
        Self {
            session: Some(session),
            fault,
            log,
            point,
            _home: home,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    /// Requests so far, when the last one has been gone for a while: RELEASE comes after close(2).
    fn settled(&self) -> u64 {
        let session = self.session.as_ref().unwrap();
        let mut count = session.request_count();
        let mut since = Instant::now();
        while since.elapsed() < Duration::from_millis(100) {
            std::thread::sleep(Duration::from_millis(5));
            let now = session.request_count();
            if now != count {
                count = now;
                since = Instant::now();
            }
        }
        count
    }

    /// Requests that `work` costs.
    fn cost<T>(&self, work: impl FnOnce() -> T) -> u64 {
        let before = self.settled();
        drop(work());
        self.settled() - before
    }

    fn finish(mut self) {
        let session = self.session.take().unwrap();
        session.detach(false).unwrap();
        session.finish().unwrap();
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if self.session.is_some() {
            detach(&self.point);
        }
    }
}

/// Opens past the page cache of the kernel.
fn open_direct(path: &std::path::Path) -> File {
    let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).unwrap().into()
}

/// What calls are, and what they cost.
fn round(mount: &Inside, number: usize) -> Vec<(&'static str, u64)> {
    let path = |name: &str| mount.path(&format!("{name}-{number}"));
    let (file, other, dir) = (path("file"), path("other"), path("dir"));
    let page = vec![7; 4096];
    let write = || {
        let file = File::options().write(true).open(&other).unwrap();
        file.write_all_at(&page, 4096).unwrap();
        file.sync_all().unwrap();
    };
    let read = || {
        let file = File::open(&other).unwrap();
        file.read_at(&mut [0; 4096], 0).unwrap()
    };
    let list = || std::fs::read_dir(&mount.point).unwrap().count();
    vec![
        (
            "stat of nothing: LOOKUP",
            mount.cost(|| file.metadata().unwrap_err()),
        ),
        ("again", mount.cost(|| file.metadata().unwrap_err())),
        // The kernel looks again when a name must be new.
        (
            "create anew: LOOKUP CREATE RELEASE",
            mount.cost(|| File::create_new(&file).unwrap()),
        ),
        (
            "stat: GETATTR of the directory",
            mount.cost(|| file.metadata().unwrap()),
        ),
        (
            "stat of nothing: LOOKUP",
            mount.cost(|| other.metadata().unwrap_err()),
        ),
        (
            "write a file: CREATE GETXATTR WRITE RELEASE",
            mount.cost(|| std::fs::write(&other, &page).unwrap()),
        ),
        (
            "stat: GETATTR of the directory, GETATTR",
            mount.cost(|| other.metadata().unwrap()),
        ),
        ("again", mount.cost(|| other.metadata().unwrap())),
        ("read: OPEN RELEASE", mount.cost(read)),
        (
            "write and sync: OPEN GETXATTR WRITE FSYNC RELEASE",
            mount.cost(write),
        ),
        (
            "mkdir: LOOKUP MKDIR",
            mount.cost(|| std::fs::create_dir(&dir).unwrap()),
        ),
        (
            "rename: GETATTR of the directory, LOOKUP RENAME",
            mount.cost(|| std::fs::rename(&other, dir.join("o")).unwrap()),
        ),
        (
            "unlink: GETATTR twice, UNLINK",
            mount.cost(|| std::fs::remove_file(dir.join("o")).unwrap()),
        ),
        ("list: READDIRPLUS twice", mount.cost(list)),
        ("again: GETATTR", mount.cost(list)),
    ]
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn calls_cost_the_known_number_of_requests() {
    let mount = Inside::new();
    // Somebody else may look at a mount meanwhile: what counts is the least of some rounds.
    let mut least = round(&mount, 0);
    for number in 1..4 {
        for (one, other) in least.iter_mut().zip(round(&mount, number)) {
            one.1 = one.1.min(other.1);
        }
    }
    let expected = [
        ("stat of nothing: LOOKUP", 1),
        ("again", 0),
        ("create anew: LOOKUP CREATE RELEASE", 3),
        ("stat: GETATTR of the directory", 1),
        ("stat of nothing: LOOKUP", 1),
        ("write a file: CREATE GETXATTR WRITE RELEASE", 4),
        ("stat: GETATTR of the directory, GETATTR", 2),
        ("again", 0),
        ("read: OPEN RELEASE", 2),
        ("write and sync: OPEN GETXATTR WRITE FSYNC RELEASE", 5),
        ("mkdir: LOOKUP MKDIR", 2),
        ("rename: GETATTR of the directory, LOOKUP RENAME", 3),
        ("unlink: GETATTR twice, UNLINK", 3),
        ("list: READDIRPLUS twice", 2),
        ("again: GETATTR", 1),
    ];
    assert_eq!(least, expected);
    mount.finish();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn an_entry_of_a_long_listing_costs_one_request() {
    let mount = Inside::new();
    let dir = mount.path("dir");
    std::fs::create_dir(&dir).unwrap();
    for number in 0..100 {
        std::fs::write(dir.join(number.to_string()), b"").unwrap();
    }
    let ls = || Command::new("ls").arg("-l").arg(&dir).output().unwrap();
    assert_eq!(
        ls().stdout.iter().filter(|&&byte| byte == b'\n').count(),
        101
    );
    // The kernel remembers the access lists that it asked for.
    let again = (0..3).map(|_| mount.cost(ls)).min().unwrap();
    assert!(again <= 10, "{again} requests for 100 entries");
    mount.finish();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn close_tells_of_a_failed_write_out_where_it_was_opened_after_one() {
    let mount = Inside::new();
    let path = mount.path("file");
    // Opens for writing, writes nothing, closes, and heeds the answer of close(2).
    let open_and_close = || {
        let mut dd = Command::new("dd");
        dd.args(["if=/dev/null", "conv=notrunc,nocreat", "status=none"]);
        let target = format!("of={}", path.display());
        dd.arg(target).env("LC_ALL", "C").output().unwrap()
    };
    std::fs::write(&path, vec![7; 300_000]).unwrap();
    assert!(open_and_close().status.success());
    let file = File::open(&path).unwrap();
    let rule = Rule::new(Operation::Append, Fault::NoSpace).on_kind(FileKind::Blob);
    mount.fault.add(rule);
    let error = file.sync_all().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(28), "ENOSPC, not {error}");
    let told = open_and_close();
    let words = String::from_utf8_lossy(&told.stderr);
    assert!(
        !told.status.success() && words.contains("No space left"),
        "{words}"
    );
    mount.fault.heal();
    file.sync_all().unwrap();
    assert!(open_and_close().status.success());
    drop(file);
    mount.finish();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_panic_answers_eio_and_the_mount_lives_on() {
    let mount = Inside::new();
    let path = mount.path("file");
    let bytes: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number / 7) as u8)
        .collect();
    std::fs::write(&path, &bytes).unwrap();
    File::open(&path).unwrap().sync_all().unwrap();
    let mut buf = vec![0; 100_000];
    let rule = Rule::new(Operation::Read, Fault::Panic).on_kind(FileKind::Blob);
    mount.fault.add(rule);
    for offset in [0, 1 << 20, 2 << 20] {
        let error = open_direct(&path).read_at(&mut buf, offset).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5), "EIO, not {error}");
    }
    assert!(
        mount
            .log
            .lock()
            .unwrap()
            .contains("panicked: simulated: a bug")
    );
    // Everything else works meanwhile, and the file too afterwards.
    std::fs::write(mount.path("other"), b"written").unwrap();
    File::open(mount.path("other")).unwrap().sync_all().unwrap();
    mount.fault.heal();
    let read = open_direct(&path).read_at(&mut buf, 1 << 20).unwrap();
    assert!(buf[..read] == bytes[1 << 20..][..read] && read == buf.len());
    // A panic while something is written out: told, and tried again.
    let rule = Rule::new(Operation::Append, Fault::Panic).on_kind(FileKind::Blob);
    mount.fault.add(rule.once_after(0));
    std::fs::write(&path, &bytes[1000..]).unwrap();
    let file = File::open(&path).unwrap();
    let _may_fail = file.sync_all();
    mount.fault.heal();
    file.sync_all().unwrap();
    drop(file);
    assert!(std::fs::read(&path).unwrap() == bytes[1000..]);
    mount.finish();
}

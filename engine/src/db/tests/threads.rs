//! Many threads at once on real files: batches stay whole, reads stay right, syncs are shared.

use super::*;
use crate::env::os;
use crate::env::{File, Fs, OpenMode, Space, Task};
use core::sync::atomic::AtomicUsize;
use core::time::Duration;

const WRITERS: u64 = 3;
const ROUNDS: u64 = 80;

/// Writes the same counter under two keys, always in one batch.
fn pair(db: &Db, writer: u64, round: u64) {
    let mut batch = WriteBatch::new();
    for half in ["a", "b"] {
        batch.put(format!("{half}{writer}").as_bytes(), &round.to_le_bytes());
    }
    batch.put(
        format!("filler {writer} {}", round * 7 % 50).as_bytes(),
        &[round as u8; 60],
    );
    db.write(
        batch,
        WriteOptions {
            sync: round.is_multiple_of(20),
        },
    )
    .unwrap();
    assert_eq!(
        get(db, format!("a{writer}").as_bytes()).unwrap(),
        round.to_le_bytes()
    );
}

fn counter(db: &Db, key: &str, at: Option<&Snapshot>) -> u64 {
    let value = db.get(key.as_bytes(), at).unwrap();
    value.map_or(0, |value| {
        u64::from_le_bytes(value.bytes.try_into().unwrap())
    })
}

fn watch(db: &Db, done: &AtomicUsize) {
    let mut last = [0; WRITERS as usize];
    while done.load(Ordering::Acquire) < WRITERS as usize {
        let snapshot = db.snapshot();
        for writer in 0..WRITERS {
            let a = counter(db, &format!("a{writer}"), Some(&snapshot));
            let b = counter(db, &format!("b{writer}"), Some(&snapshot));
            assert_eq!(a, b, "half a batch is visible");
            assert!(a >= last[writer as usize], "history went back");
            last[writer as usize] = a;
        }
        let seen = all(db, Some(&snapshot));
        for writer in 0..WRITERS {
            let key = |half: &str| format!("{half}{writer}").into_bytes();
            assert_eq!(seen.get(&key("a")), seen.get(&key("b")));
        }
    }
}

#[test]
fn threads_write_read_and_maintain_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let env = os::env(dir.path()).unwrap();
    let spawner = Arc::clone(&env.spawner);
    let db = Arc::new(Db::open(env, one_key(), STORE, small(), None).unwrap());
    let done = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let (db, done) = (Arc::clone(&db), Arc::clone(&done));
        tasks.push(spawner.spawn(
            "writer",
            Box::new(move || {
                (1..=ROUNDS).for_each(|round| pair(&db, writer, round));
                done.fetch_add(1, Ordering::Release);
            }),
        ));
    }
    for _ in 0..2 {
        let (db, done) = (Arc::clone(&db), Arc::clone(&done));
        tasks.push(spawner.spawn(
            "worker",
            Box::new(move || {
                while done.load(Ordering::Acquire) < WRITERS as usize {
                    if db.maintain().unwrap() == Work::Idle {
                        db.wait_for_work(Duration::from_millis(5));
                    }
                }
            }),
        ));
    }
    watch(&db, &done);
    for task in tasks {
        task.unwrap().join();
    }
    db.close().unwrap();
    drop(db);
    let db = Db::open(
        os::env(dir.path()).unwrap(),
        one_key(),
        STORE,
        small(),
        None,
    )
    .unwrap();
    for writer in 0..WRITERS {
        assert_eq!(counter(&db, &format!("a{writer}"), None), ROUNDS);
        assert_eq!(counter(&db, &format!("b{writer}"), None), ROUNDS);
    }
}

/// Counts syncs of logs and holds them until the gate opens.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    sync_count: AtomicUsize,
}

impl Gate {
    fn pass(&self) {
        self.sync_count.fetch_add(1, Ordering::AcqRel);
        let mut open = self.open.lock();
        while !*open {
            open = self.opened.wait(&self.open, open);
        }
    }
}

struct GatedFs(Arc<dyn Fs>, Arc<Gate>);
struct GatedFile(Arc<dyn File>, Arc<Gate>);

impl Fs for GatedFs {
    fn open(&self, id: FileId, mode: OpenMode) -> Result<Arc<dyn File>> {
        let file = self.0.open(id, mode)?;
        if id.kind == FileKind::Wal {
            return Ok(Arc::new(GatedFile(file, Arc::clone(&self.1))));
        }
        Ok(file)
    }
    fn rename(&self, from: FileId, to: FileId) -> Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, id: FileId) -> Result<()> {
        self.0.remove(id)
    }
    fn list(&self) -> Result<Vec<FileId>> {
        self.0.list()
    }
    fn sync_dir(&self) -> Result<()> {
        self.0.sync_dir()
    }
    fn lock(&self) -> Result<Box<dyn Send + Sync>> {
        self.0.lock()
    }
    fn space(&self) -> Result<Space> {
        self.0.space()
    }
}

impl File for GatedFile {
    fn len(&self) -> Result<u64> {
        self.0.len()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.0.read_at(offset, buf)
    }
    fn append(&self, bytes: &[u8]) -> Result<()> {
        self.0.append(bytes)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn sync(&self) -> Result<()> {
        self.1.pass();
        self.0.sync()
    }
    fn truncate(&self, len: u64) -> Result<()> {
        self.0.truncate(len)
    }
}

/// While a sync is stuck, eight writers get in and readers see what they wrote; once it is through,
/// one more sync serves all of them.
#[test]
fn callers_share_syncs_and_nobody_else_waits_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let spawner = os::env(dir.path()).unwrap().spawner;
    let gate = Arc::new(Gate::default());
    let mut env = mem::env();
    env.fs = Arc::new(GatedFs(Arc::clone(&env.fs), Arc::clone(&gate)));
    let options = Options {
        memtable_len: 1 << 20,
        ..small()
    };
    let db = Arc::new(Db::open(env, one_key(), STORE, options, None).unwrap());
    let start = |writer: u8| {
        let db = Arc::clone(&db);
        let write = move || {
            let mut batch = WriteBatch::new();
            batch.put(&[writer], b"value");
            db.write(batch, WriteOptions { sync: true }).unwrap();
        };
        spawner.spawn("writer", Box::new(write)).unwrap()
    };
    let mut tasks = vec![start(0)];
    while gate.sync_count.load(Ordering::Acquire) == 0 {
        core::hint::spin_loop();
    }
    tasks.extend((1..8).map(start));
    put(&db, b"unsynced", b"goes on");
    while db.last_seqno() < 9 {
        let _ = get(&db, &[7]);
        all(&db, None);
    }
    *gate.open.lock() = true;
    gate.opened.notify_all();
    tasks.into_iter().for_each(Task::join);
    // The first sync of a log comes before the manifest names it.
    let syncs = gate.sync_count.load(Ordering::Acquire);
    assert!(syncs <= 4, "{syncs} syncs");
    assert_eq!(all(&db, None).len(), 9);
}

/// Whoever passed the look at `closed` and comes after the end of the manifest was recorded must
/// not append behind it.
#[test]
fn nothing_is_committed_after_the_end_of_the_manifest_was_recorded() {
    let fs = MemFs::new();
    let db = open(&fs, &small()).unwrap();
    put(&db, b"key", b"value");
    db.close().unwrap();
    let late = VersionEdit {
        annex: vec![(b"late".to_vec(), Some(b"value".to_vec()))],
        ..VersionEdit::default()
    };
    let installed = db.install(&mut db.manifest.lock(), late, |_| ());
    assert_eq!(installed.unwrap_err().kind(), ErrorKind::Canceled);
    assert_eq!(
        get(&open(&fs, &small()).unwrap(), b"key").unwrap(),
        b"value"
    );
}

/// Writes with a sync as soon as a memtable was flushed.
#[derive(Default)]
struct WritesAfterFlush {
    db: Mutex<Option<alloc::sync::Weak<Db>>>,
    kinds: Mutex<Vec<Result<SeqNo, ErrorKind>>>,
}

impl crate::env::Listener for WritesAfterFlush {
    fn event(&self, event: &Event) {
        let db = self.db.lock().as_ref().and_then(alloc::sync::Weak::upgrade);
        if let (Event::Flushed { .. }, Some(db)) = (event, db) {
            let mut batch = WriteBatch::new();
            batch.put(b"late", b"value");
            let written = db.write(batch, WriteOptions { sync: false });
            self.kinds
                .lock()
                .push(written.map_err(|error| error.kind()));
        }
    }
}

/// A write that comes between the last flush and the end would be in no table, and nobody would
/// sync it any more.
#[test]
fn a_closing_store_takes_nothing_that_its_last_flush_would_miss() {
    let fs = MemFs::new();
    let listener = Arc::new(WritesAfterFlush::default());
    let env = Env {
        listener: listener.clone(),
        ..mem::env_over(fs, 5)
    };
    let db = Arc::new(Db::open(env, one_key(), STORE, small(), None).unwrap());
    *listener.db.lock() = Some(Arc::downgrade(&db));
    put(&db, b"key", b"value");
    db.close().unwrap();
    assert_eq!(*listener.kinds.lock(), [Err(ErrorKind::Canceled)]);
}

/// Lends threads, and counts them.
struct Lender {
    parallelism: usize,
    count: AtomicUsize,
}

impl crate::env::Spawner for Lender {
    fn spawn(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) -> Option<Box<dyn Task>> {
        assert_eq!(name, "coffer-seal");
        self.count.fetch_add(1, Ordering::AcqRel);
        os::spawner().spawn(name, work)
    }

    fn parallelism(&self) -> usize {
        self.parallelism
    }
}

/// A flush that somebody waits for, also one of what recovery left in memory, lends a second thread to seal
/// blocks, where there is one, and the same table comes out.
#[test]
fn a_long_flush_is_shared_where_somebody_waits_for_it() {
    let mut tables = Vec::new();
    for parallelism in [1, 2] {
        let fs = MemFs::new();
        let lender = Arc::new(Lender {
            parallelism,
            count: AtomicUsize::new(0),
        });
        let open = || {
            let mut env = mem::env_over(fs.clone(), 7);
            env.spawner = lender.clone();
            let options = Options::default();
            Db::open(env, Arc::new(NoKeys), StoreId([1; 16]), options, None).unwrap()
        };
        let write = |db: &Db, round: u64| {
            let mut batch = WriteBatch::new();
            for number in 0..3000_u64 {
                let value = (number * 31 + round).to_le_bytes().repeat(60);
                batch.put(&(number * 7919 % 3000).to_be_bytes(), &value);
            }
            db.write(batch, WriteOptions { sync: true }).unwrap();
        };
        let db = open();
        write(&db, 1);
        db.flush().unwrap();
        assert_eq!(lender.count.load(Ordering::Acquire), parallelism - 1);
        write(&db, 2);
        drop(db);
        let db = open();
        assert_eq!(lender.count.load(Ordering::Acquire), parallelism - 1);
        db.sync().unwrap();
        assert_eq!(lender.count.load(Ordering::Acquire), 2 * (parallelism - 1));
        let value = db
            .get(&(7919_u64 % 3000).to_be_bytes(), None)
            .unwrap()
            .unwrap();
        assert_eq!(value.bytes, 33_u64.to_le_bytes().repeat(60));
        let ids = fs.list().unwrap().into_iter();
        let ids = ids.filter(|id| id.kind == FileKind::Table);
        tables.push(
            ids.map(|id| fs.contents(id).unwrap().len())
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(tables[0].len(), 2);
    assert_eq!(tables[0], tables[1]);
}

//! The engine's threads under a simulated scheduler: `cargo test -p coffer-engine --lib --features
//! shuttle schedules`.
//!
//! - Each test runs many schedules, the same ones in every run. Threads change at locks, conditions
//!   and atomics of `crate::sync`, and nowhere else; all atomics are sequentially consistent.
//! - A wait with a timeout never times out, so that nothing may rest on one but what says so here.
//! - The medium forgets what was not synced, file by file; names are durable at once.

use super::*;
use crate::env::{File, Fs, OpenMode, Space};
use core::time::Duration;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, thread};

mod cache;
mod commit;
mod versions;

/// Schedules of each kind and test; `COFFER_SCHEDULES`, when the tests are built, asks for others.
fn schedule_count() -> usize {
    option_env!("COFFER_SCHEDULES").map_or(200, |count| count.parse().unwrap())
}

/// Runs `run` under schedules drawn at random, and under those that need few switches to go wrong.
fn explore(run: impl Fn() + Send + Sync + Copy + 'static) {
    let count = schedule_count();
    let schedulers: [Box<dyn Scheduler + Send>; 3] = [
        Box::new(RandomScheduler::new_from_seed(1, count)),
        Box::new(PctScheduler::new_from_seed(2, 2, count)),
        Box::new(PctScheduler::new_from_seed(3, 4, count)),
    ];
    for scheduler in schedulers {
        let mut config = Config::new();
        config.stack_size = 2 << 20;
        config.silence_warnings = true;
        Runner::new(scheduler, config).run(run);
    }
}

/// What a power cut leaves: each file as of its last sync.
struct Medium {
    fs: Arc<MemFs>,
    synced: Arc<Mutex<BTreeMap<FileId, Vec<u8>>>>,
    /// This many syncs of logs succeed, if it is set.
    syncs_left: Arc<Mutex<Option<usize>>>,
}

struct MediumFile {
    id: FileId,
    file: Arc<dyn File>,
    synced: Arc<Mutex<BTreeMap<FileId, Vec<u8>>>>,
    syncs_left: Arc<Mutex<Option<usize>>>,
}

impl Medium {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            fs: MemFs::new(),
            synced: Arc::default(),
            syncs_left: Arc::default(),
        })
    }

    fn open(self: &Arc<Self>, options: &Options) -> Db {
        let env = mem::env_over(Arc::<Self>::clone(self), 5);
        Db::open(env, one_key(), STORE, options.clone(), None).unwrap()
    }

    /// The store as it comes back after a power cut now.
    fn after_power_cut(&self, options: &Options) -> Db {
        let (names, synced) = (self.fs.list().unwrap(), self.synced.lock().clone());
        let fs = MemFs::new();
        for id in names {
            let file = fs.open(id, OpenMode::Create).unwrap();
            let contents = synced.get(&id).map(Vec::as_slice).unwrap_or_default();
            file.append(contents).unwrap();
        }
        open(&fs, options).unwrap()
    }
}

impl Fs for Medium {
    fn open(&self, id: FileId, mode: OpenMode) -> Result<Arc<dyn File>> {
        Ok(Arc::new(MediumFile {
            id,
            file: self.fs.open(id, mode)?,
            synced: Arc::clone(&self.synced),
            syncs_left: Arc::clone(&self.syncs_left),
        }))
    }
    fn rename(&self, from: FileId, to: FileId) -> Result<()> {
        self.fs.rename(from, to)?;
        let mut synced = self.synced.lock();
        let contents = synced.remove(&from).unwrap_or_default();
        synced.insert(to, contents);
        Ok(())
    }
    fn remove(&self, id: FileId) -> Result<()> {
        self.fs.remove(id)
    }
    fn list(&self) -> Result<Vec<FileId>> {
        self.fs.list()
    }
    fn sync_dir(&self) -> Result<()> {
        self.fs.sync_dir()
    }
    fn lock(&self) -> Result<Box<dyn Send + Sync>> {
        self.fs.lock()
    }
    fn space(&self) -> Result<Space> {
        self.fs.space()
    }
}

impl File for MediumFile {
    fn len(&self) -> Result<u64> {
        self.file.len()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.file.read_at(offset, buf)
    }
    fn append(&self, bytes: &[u8]) -> Result<()> {
        self.file.append(bytes)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_at(offset, bytes)
    }
    fn sync(&self) -> Result<()> {
        if let (FileKind::Wal, Some(left)) = (self.id.kind, &mut *self.syncs_left.lock()) {
            if *left == 0 {
                return Err(Error::io("the medium is gone").in_file(self.id));
            }
            *left -= 1;
        }
        let mut contents = vec![0; self.file.len()? as usize];
        let len = self.file.read_at(0, &mut contents)?;
        contents.truncate(len);
        // Others go on while the medium works.
        thread::yield_now();
        self.synced.lock().insert(self.id, contents);
        Ok(())
    }
    fn truncate(&self, len: u64) -> Result<()> {
        self.file.truncate(len)
    }
}

/// Blocks as they are, and limits so small that each batch fills a memtable.
fn tiny() -> Options {
    Options {
        transform: BlockTransform {
            compression: Compression::None,
            cipher: Cipher::Aes256Gcm,
            ecc: Ecc::None,
        },
        memtable_len: 64,
        memtable_count_max: 1,
        level0_trigger: 2,
        // Whoever is slowed waits for a time, which there is none of here.
        level0_slow: 1000,
        level0_stall: 3,
        row_cache_len: 0,
        cache_len: 1 << 16,
        ..small()
    }
}

fn write_pair(db: &Db, writer: u8, round: u8, sync: bool) -> Result<SeqNo> {
    let mut batch = WriteBatch::new();
    batch.put(&[b'a', writer], &[round; 40]);
    batch.put(&[b'b', writer], &[round; 40]);
    db.write(batch, WriteOptions { sync })
}

fn round_of(db: &Db, half: u8, writer: u8, at: Option<&Snapshot>) -> u8 {
    let found = db.get(&[half, writer], at).unwrap();
    found.map_or(0, |value| value.bytes[0])
}

/// Works whenever there is work, until `ends`.
fn work(db: &Db, ends: &AtomicBool) {
    while !ends.load(Ordering::Acquire) {
        if db.maintain().unwrap() == Work::Idle {
            db.wait_for_work(Duration::MAX);
        }
    }
}

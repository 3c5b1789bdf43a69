//! Point reads of many keys, remembered rows, reading ahead.

use super::*;
use crate::env::{File, Fs, OpenMode, Space};

/// Counts reads of tables.
struct Counting(Arc<MemFs>, Arc<AtomicUsize>);
struct CountingFile(Arc<dyn File>, Arc<AtomicUsize>);

impl Fs for Counting {
    fn open(&self, id: FileId, mode: OpenMode) -> Result<Arc<dyn File>> {
        let file = self.0.open(id, mode)?;
        if id.kind == FileKind::Table {
            return Ok(Arc::new(CountingFile(file, Arc::clone(&self.1))));
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

impl File for CountingFile {
    fn len(&self) -> Result<u64> {
        self.0.len()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read_at(offset, buf)
    }
    fn append(&self, bytes: &[u8]) -> Result<()> {
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

fn counting(options: &Options) -> (Db, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let mut env = mem::env();
    env.fs = Arc::new(Counting(MemFs::new(), Arc::clone(&count)));
    let db = Db::open(env, one_key(), STORE, options.clone(), None).unwrap();
    (db, count)
}

fn key(i: u32) -> Vec<u8> {
    format!("{:06}", i * 7919 % 10_000).into_bytes()
}

/// Writes keys over all levels, some deleted again, some only in memory.
fn layered(db: &Db) {
    for round in 0..3_u32 {
        for i in (round..600).step_by(1 + round as usize) {
            put(db, &key(i), format!("{round} {i}").as_bytes());
        }
        for i in (0..600).step_by(17 + round as usize) {
            let mut batch = WriteBatch::new();
            batch.delete(&key(i));
            db.write(batch, WriteOptions::default()).unwrap();
        }
        if round == 0 {
            db.compact_all(&mut |_| ()).unwrap();
        }
    }
}

#[test]
fn many_keys_at_once_are_answered_as_one_by_one() {
    for row_cache_len in [0, 1 << 20] {
        let options = Options {
            row_cache_len,
            ..small()
        };
        let (db, _) = counting(&options);
        layered(&db);
        let snapshot = db.snapshot();
        layered(&db);
        // In any order, some twice, some absent.
        let keys: Vec<_> = (0..900).map(|i| key(i * 31 % 700)).collect();
        let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
        for at in [None, Some(&snapshot), None] {
            let answers = db.multi_get(&keys, at);
            let mut found = 0;
            for (key, answer) in keys.iter().zip(answers) {
                let answer = answer.unwrap();
                found += usize::from(answer.is_some());
                assert_eq!(answer, db.get(key, at).unwrap());
            }
            assert!((400..900).contains(&found), "{found}");
        }
        assert_eq!(db.stats().row_cache_hit_count > 0, row_cache_len > 0);
        // Rows of tables that went do not answer for tables that came.
        for i in 0..600 {
            put(&db, &key(i), b"new");
        }
        db.compact_all(&mut |_| ()).unwrap();
        for _ in 0..2 {
            assert!((0..600).all(|i| get(&db, &key(i)).unwrap() == b"new"));
        }
    }
}

#[test]
fn neighbours_are_read_together() {
    let options = Options {
        cache_len: 16 << 20,
        row_cache_len: 0,
        table_len: 1 << 20,
        memtable_len: 1 << 20,
        ..small()
    };
    let (db, count) = counting(&options);
    for i in 0..5000 {
        put(&db, format!("{i:06}").as_bytes(), &[i as u8; 50]);
    }
    db.compact_all(&mut |_| ()).unwrap();
    get(&db, b"000000").unwrap();
    let names: Vec<_> = (1000..3000)
        .map(|i| format!("{i:06}").into_bytes())
        .collect();
    let keys: Vec<_> = names.iter().map(Vec::as_slice).collect();
    let before = count.load(Ordering::Relaxed);
    let answers = db.multi_get(&keys, None);
    assert!(answers.into_iter().all(|answer| answer.unwrap().is_some()));
    let together = count.load(Ordering::Relaxed) - before;
    // About 200 data blocks; each partition has an index block and a filter block.
    assert!(together < 60, "{together} reads");
    let before = count.load(Ordering::Relaxed);
    let mut cursor = db.range(&b"003000"[..].., None).unwrap();
    while cursor.next().unwrap().is_some() {}
    let ahead = count.load(Ordering::Relaxed) - before;
    assert!(ahead < 60, "{ahead} reads");
}

/// Damage to one block is the answer to its keys alone, whether read with neighbours or alone.
#[test]
fn damage_answers_only_the_keys_of_its_block() {
    let fs = MemFs::new();
    let options = Options {
        transform: BlockTransform {
            ecc: Ecc::None,
            ..small().transform
        },
        memtable_len: 1 << 20,
        ..small()
    };
    let db = open(&fs, &options).unwrap();
    for i in 0..200 {
        put(&db, format!("{i:06}").as_bytes(), &[i as u8; 50]);
    }
    db.close().unwrap();
    drop(db);
    let env = mem::env_over(fs.clone(), 1);
    let list = env.fs.list().unwrap();
    let table = *list.iter().find(|id| id.kind == FileKind::Table).unwrap();
    let whole = fs.contents(table).unwrap();
    let mut most = 0;
    for at in (700..2000).step_by(50) {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        let damaged = fs.fork();
        damaged.set_contents(table, bytes);
        most = most.max(errors_among_many(&damaged, &options));
    }
    assert!((1..60).contains(&most), "{most}");
}

/// Answers and walks of a damaged store, one by one and together; returns how many are errors.
fn errors_among_many(fs: &Arc<MemFs>, options: &Options) -> usize {
    let db = open(fs, options).unwrap();
    let names: Vec<_> = (0..200).map(|i| format!("{i:06}").into_bytes()).collect();
    let keys: Vec<_> = names.iter().map(Vec::as_slice).collect();
    let answers = db.multi_get(&keys, None);
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    for (key, answer) in keys.iter().zip(&answers) {
        match (answer, db.get(key, None)) {
            (Ok(many), Ok(one)) => assert_eq!(*many, one),
            (Err(many), Err(one)) => assert_eq!(many.place(), one.place()),
            (many, one) => panic!("{many:?} {one:?}"),
        }
    }
    let mut cursor = db.range(.., None).unwrap();
    let walked = core::iter::from_fn(|| cursor.next().transpose());
    let (read, errors): (Vec<_>, Vec<_>) = walked.take(201).partition(Result::is_ok);
    assert_eq!(read.len() < 200, failed > 0);
    assert_eq!(errors.is_empty(), failed == 0);
    failed
}

#[test]
fn keys_and_lengths_are_seen_without_copies() {
    let (db, _) = counting(&small());
    layered(&db);
    let mut batch = WriteBatch::new();
    batch.put_indirect(b"zz", b"a pointer");
    db.write(batch, WriteOptions::default()).unwrap();
    let mut cursor = db.range(.., None).unwrap();
    let mut seen = Vec::new();
    while let Some(one) = cursor
        .next_with(|key, _, value, _| (key.to_vec(), value.len()))
        .unwrap()
    {
        seen.push(one);
    }
    let lens: Vec<_> = all(&db, None)
        .into_iter()
        .map(|(key, value)| (key, value.len()))
        .collect();
    assert_eq!(seen, lens);
    let last = cursor.prev().unwrap().unwrap();
    assert_eq!(
        (last.key.as_slice(), last.kind),
        (&b"zz"[..], KeyKind::Indirect)
    );
}

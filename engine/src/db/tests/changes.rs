//! What changed since a sequence number.

use super::*;
use crate::cursor::Changes;
use crate::entry::Entry;
use crate::env::{File, Fs, OpenMode, Space};

fn rest(mut changes: Changes) -> Vec<Entry> {
    let mut entries = Vec::new();
    while let Some(entry) = changes.next().unwrap() {
        entries.push(entry);
    }
    entries
}

fn delete(db: &Db, key: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.delete(key);
    db.write(batch, WriteOptions::default()).unwrap();
}

/// Writes and deletes at random; the same for the same seed.
fn churn(db: &Db, seed: u64, count: u64) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for i in 0..count {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let key = format!("{:04}", random % 500);
        match random >> 32 & 3 {
            0 => delete(db, key.as_bytes()),
            _ => put(db, key.as_bytes(), format!("{i} of {seed}").as_bytes()),
        }
    }
}

/// A copy at `since` and what a complete scan shows make the store as it is; in memory, in tables,
/// after compactions, and after opening it again.
#[test]
fn an_old_copy_and_the_changes_make_the_store() {
    for with_snapshot in [false, true] {
        let fs = MemFs::new();
        let db = open(&fs, &small()).unwrap();
        churn(&db, 1, 2000);
        let (copy, since) = (all(&db, None), db.last_seqno());
        let snapshot = with_snapshot.then(|| db.snapshot());
        churn(&db, 2, 300);
        let check = |db: &Db, copy: &Contents, since| {
            let changes = db.scan_since(since).unwrap();
            if !changes.is_complete() {
                return false;
            }
            assert_eq!(changes.last_seqno(), db.last_seqno());
            let entries = rest(changes);
            assert!(entries.iter().all(|entry| entry.seqno > since));
            let place = |entry: &Entry| (entry.key.clone(), u64::MAX - entry.seqno);
            assert!(
                entries
                    .windows(2)
                    .all(|pair| place(&pair[0]) < place(&pair[1]))
            );
            let mut copy = copy.clone();
            for entry in entries.into_iter().rev() {
                match entry.kind {
                    KeyKind::Delete => copy.remove(&entry.key),
                    _ => copy.insert(entry.key, entry.value),
                };
            }
            assert_eq!(copy, all(db, None));
            true
        };
        assert!(check(&db, &copy, since));
        db.flush().unwrap();
        assert!(check(&db, &copy, since));
        churn(&db, 3, 300);
        db.compact_all(&mut |_| ()).unwrap();
        // Without a snapshot the tombstones are gone, and the scan says so.
        assert_eq!(check(&db, &copy, since), with_snapshot);
        drop((snapshot, db));
        let db = open(&fs, &small()).unwrap();
        assert!(!check(&db, &Contents::new(), 0));
        let (copy, since) = (all(&db, None), db.last_seqno());
        churn(&db, 4, 100);
        assert!(check(&db, &copy, since));
    }
}

struct CountingFs(Arc<MemFs>, Arc<AtomicU64>);
struct CountingFile(Arc<dyn File>, Arc<AtomicU64>);

impl Fs for CountingFs {
    fn open(&self, id: FileId, mode: OpenMode) -> Result<Arc<dyn File>> {
        let file = self.0.open(id, mode)?;
        Ok(match id.kind {
            FileKind::Table => Arc::new(CountingFile(file, Arc::clone(&self.1))),
            _ => file,
        })
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

/// In a table of hundreds of blocks, of which one holds something newer: opening the table (header,
/// footer, meta), the bounds, one index block, one data block. Point reads never touch the bounds.
#[test]
fn only_blocks_that_hold_something_newer_are_read() {
    let fs = MemFs::new();
    let reads = Arc::new(AtomicU64::new(0));
    let options = Options {
        table_len: 1 << 30,
        memtable_len: 1 << 30,
        cache_len: 0,
        row_cache_len: 0,
        ..small()
    };
    let mut env = mem::env_over(fs.clone(), 5);
    env.fs = Arc::new(CountingFs(fs, Arc::clone(&reads)));
    let db = Db::open(env, one_key(), STORE, options, None).unwrap();
    let key = |i: u32| format!("{i:06}").into_bytes();
    for i in 0..8000 {
        put(
            &db,
            &key(i),
            format!("value {i} and some more of it").as_bytes(),
        );
    }
    db.flush().unwrap();
    let since = db.last_seqno();
    put(&db, &key(4321), b"new");
    let kept = db.snapshot();
    put(&db, &key(4321), b"newer");
    db.compact_all(&mut |_| ()).unwrap();
    assert_eq!(
        db.stats()
            .levels
            .iter()
            .map(|l| l.table_count)
            .sum::<usize>(),
        1
    );
    let count = |work: &dyn Fn()| {
        let before = reads.load(Ordering::Relaxed);
        work();
        reads.load(Ordering::Relaxed) - before
    };
    let opening = count(&|| {
        db.get(&key(1), None).unwrap();
    });
    let scan = |since| {
        let entries = rest(db.scan_since(since).unwrap());
        entries
            .into_iter()
            .map(|entry| (entry.key, entry.seqno))
            .collect::<Vec<_>>()
    };
    let newest = count(&|| {
        let expected = [(key(4321), since + 2), (key(4321), since + 1)];
        assert_eq!(scan(since), expected);
    });
    // Bounds, index, data.
    assert_eq!(newest, 3);
    assert_eq!(count(&|| assert!(scan(since + 2).is_empty())), 0);
    assert!(count(&|| assert_eq!(scan(0).len(), 8001)) > 6);
    // Filter, index, data.
    assert_eq!(count(&|| assert!(get(&db, &key(4321)).is_some())), 3);
    assert!(opening > 3);
    drop(kept);
}

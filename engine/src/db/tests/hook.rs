//! Pointers: dropped, relocated, present, and durable before what leads to them.

use super::*;
use crate::hook::{IndirectHook, IndirectSession};
use alloc::collections::BTreeSet;
use alloc::string::String;

/// A layer above that keeps its values in thin air.
#[derive(Default)]
struct Above {
    log: Mutex<Vec<String>>,
    lost: Mutex<BTreeSet<Vec<u8>>>,
    relocate_from: Mutex<Option<Vec<u8>>>,
    fails: AtomicBool,
}

struct Session(Arc<Above>, Vec<Vec<u8>>);

impl IndirectHook for Arc<Above> {
    fn session(&self) -> Box<dyn IndirectSession> {
        Box::new(Session(Arc::clone(self), Vec::new()))
    }
    fn present(&self, pointer: &[u8]) -> Result<bool> {
        Ok(!self.lost.lock().contains(pointer))
    }
    fn before_flush(&self) -> Result<()> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(Error::io("no"));
        }
        self.log.lock().push("sync".into());
        Ok(())
    }
}

impl IndirectSession for Session {
    fn dropped(&mut self, pointer: &[u8]) {
        self.1.push(pointer.to_vec());
    }
    fn relocate(&mut self, key: &[u8], pointer: &[u8]) -> Result<Option<Vec<u8>>> {
        let wanted = self.0.relocate_from.lock().as_deref() == Some(pointer);
        Ok(wanted.then(|| [b"moved ", key].concat()))
    }
    fn finish(self: Box<Self>) -> Result<AnnexUpdates> {
        let Self(_, dropped) = *self;
        Ok(dropped
            .into_iter()
            .map(|pointer| (pointer, Some(b"dead".to_vec())))
            .collect())
    }
}

fn open_with(fs: &Arc<MemFs>, above: &Arc<Above>) -> Result<Db> {
    let hook: Arc<dyn IndirectHook> = Arc::new(Arc::clone(above));
    Db::open(
        mem::env_over(fs.clone(), 5),
        one_key(),
        STORE,
        small(),
        Some(hook),
    )
}

fn point(db: &Db, key: &[u8], pointer: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.put_indirect(key, pointer);
    db.write(batch, WriteOptions::default()).unwrap();
}

fn dead(db: &Db) -> Vec<Vec<u8>> {
    db.annex().keys().cloned().collect()
}

#[test]
fn each_dropped_pointer_is_told_once_with_the_edit() {
    let (fs, above) = (MemFs::new(), Arc::new(Above::default()));
    let db = open_with(&fs, &above).unwrap();
    point(&db, b"a", b"1");
    point(&db, b"a", b"2");
    point(&db, b"b", b"3");
    db.flush().unwrap();
    assert_eq!(dead(&db), [b"1"]);
    let snapshot = db.snapshot();
    let mut batch = WriteBatch::new();
    batch.delete(b"a");
    batch.put(b"b", b"inline");
    db.write(batch, WriteOptions::default()).unwrap();
    db.compact_all(&mut |_| ()).unwrap();
    assert_eq!(dead(&db), [b"1"]);
    assert_eq!(db.get(b"a", Some(&snapshot)).unwrap().unwrap().bytes, b"2");
    drop(snapshot);
    db.compact_all(&mut |_| ()).unwrap();
    assert_eq!(dead(&db), [b"1", b"2", b"3"]);
    assert_eq!(*open_with(&fs.fork(), &above).unwrap().annex(), *db.annex());
}

#[test]
fn a_pointer_that_a_range_tombstone_hides_is_told_once() {
    let (fs, above) = (MemFs::new(), Arc::new(Above::default()));
    let db = open_with(&fs, &above).unwrap();
    for (key, pointer) in [(b"a", b"1"), (b"b", b"2"), (b"c", b"3"), (b"d", b"4")] {
        point(&db, key, pointer);
    }
    db.compact_all(&mut |_| ()).unwrap();
    point(&db, b"b", b"5");
    let snapshot = db.snapshot();
    let mut batch = WriteBatch::new();
    batch.put_indirect(b"c", b"6");
    batch.delete_range(b"b", b"d");
    batch.put_indirect(b"c", b"7");
    db.write(batch, WriteOptions::default()).unwrap();
    db.flush().unwrap();
    assert_eq!(dead(&db), [b"6"], "the others are seen, or below");
    db.compact_all(&mut |_| ()).unwrap();
    assert_eq!(dead(&db), [b"2", b"6"]);
    drop(snapshot);
    db.compact_all(&mut |_| ()).unwrap();
    assert_eq!(dead(&db), [b"2", b"3", b"5", b"6"]);
    assert_eq!(
        all(&db, None).into_values().collect::<Vec<_>>(),
        [b"1", b"7", b"4"]
    );
}

#[test]
fn pointers_are_relocated_under_their_key_and_number() {
    let (fs, above) = (MemFs::new(), Arc::new(Above::default()));
    let db = open_with(&fs, &above).unwrap();
    point(&db, b"a", b"1");
    point(&db, b"b", b"2");
    db.compact_all(&mut |_| ()).unwrap();
    let before = db.get(b"b", None).unwrap().unwrap();
    *above.relocate_from.lock() = Some(b"2".to_vec());
    db.compact_all(&mut |_| ()).unwrap();
    let after = db.get(b"b", None).unwrap().unwrap();
    assert_eq!((after.seqno, after.kind), (before.seqno, before.kind));
    assert_eq!(after.bytes, b"moved b");
    assert_eq!(get(&db, b"a").unwrap(), b"1");
}

#[test]
fn history_ends_before_a_pointer_that_leads_nowhere() {
    let (fs, above) = (MemFs::new(), Arc::new(Above::default()));
    let db = open_with(&fs, &above).unwrap();
    point(&db, b"a", b"1");
    db.sync().unwrap();
    // Handed to the file, not synced: each in a record of its own.
    for (key, pointer) in [(b"b", b"2"), (b"c", b"3"), (b"d", b"4")] {
        point(&db, key, pointer);
        let mut writer = db.writer.lock();
        db.write_out(writer.wal.as_mut().unwrap()).unwrap();
    }
    let found = |lost: &[u8]| {
        *above.lost.lock() = BTreeSet::from([lost.to_vec()]);
        let db = open_with(&fs.fork(), &above).unwrap();
        all(&db, None).into_values().collect::<Vec<_>>()
    };
    assert_eq!(found(b"9"), [b"1", b"2", b"3", b"4"]);
    assert_eq!(found(b"3"), [b"1", b"2"]);
    assert_eq!(found(b"2"), [b"1"]);
    // Known durable by a later record: nobody asks, and a lost value is an error for its reader.
    assert_eq!(found(b"1"), [b"1", b"2", b"3", b"4"]);
}

#[test]
fn what_pointers_lead_to_is_synced_first() {
    let (fs, above) = (MemFs::new(), Arc::new(Above::default()));
    let db = open_with(&fs, &above).unwrap();
    point(&db, b"a", b"1");
    let count = || above.log.lock().len();
    let before = count();
    db.sync().unwrap();
    assert!(count() > before);
    let before = count();
    db.sync().unwrap();
    assert_eq!(count(), before, "nothing was written in between");
    db.flush().unwrap();
    assert!(count() > before);
    point(&db, b"a", b"2");
    above.fails.store(true, Ordering::Relaxed);
    assert_eq!(db.sync().unwrap_err().kind(), ErrorKind::Io);
    assert!(db.is_poisoned());
    assert_eq!(get(&db, b"a").unwrap(), b"2");
    above.fails.store(false, Ordering::Relaxed);
    let error = db
        .write(WriteBatch::new(), WriteOptions::default())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    assert_eq!(db.sync().unwrap_err().kind(), ErrorKind::Poisoned);
}

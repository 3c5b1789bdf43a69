//! What recovery leaves in memory, and when it goes to tables.

use super::*;
use crate::types::{FileId, FileKind};

fn roomy() -> Options {
    Options {
        memtable_len: 64 << 10,
        ..small()
    }
}

fn put(db: &Db, key: &[u8], value: &[u8], sync: bool) {
    let mut batch = WriteBatch::new();
    batch.put(key, value);
    db.write(batch, WriteOptions { sync }).unwrap();
}

fn files(fs: &Arc<MemFs>, kind: FileKind) -> Vec<FileId> {
    use crate::env::Fs;
    let ids = fs.list().unwrap().into_iter();
    ids.filter(|id| id.kind == kind).collect()
}

fn has(db: &Db, key: &[u8]) -> bool {
    db.get(key, None).unwrap().is_some()
}

/// A store that was left with 20 synced entries and one that nobody synced, but is in the file.
fn left() -> Arc<MemFs> {
    let fs = MemFs::new();
    let db = open(&fs, &roomy()).unwrap();
    for number in 0..20_u8 {
        put(&db, &[number], &[number; 50], true);
    }
    put(&db, b"last", &[7; 400], false);
    // Hands the one before to the file, and stays in memory itself.
    put(&db, b"pending", &[7; 400], false);
    drop(db);
    fs
}

#[test]
fn what_was_replayed_stays_in_memory_until_the_first_sync() {
    let fs = left();
    let logs = files(&fs, FileKind::Wal);
    // Opened again and again without a sync, the logs stay what counts.
    for _ in 0..3 {
        let db = open(&fs, &roomy()).unwrap();
        assert!(has(&db, &[19]) && has(&db, b"last"));
        assert_eq!(db.last_seqno(), 21);
        assert_eq!(files(&fs, FileKind::Table), []);
        put(&db, b"lost", &[1; 500], false);
        assert!(files(&fs, FileKind::Wal).len() == logs.len() + 1);
    }
    let db = open(&fs, &roomy()).unwrap();
    assert!(!has(&db, b"lost"), "nobody synced it");
    put(&db, b"kept", b"1", true);
    assert_eq!(files(&fs, FileKind::Table).len(), 1);
    assert_ne!(files(&fs, FileKind::Wal), logs);
    assert_eq!(files(&fs, FileKind::Wal).len(), 1);
    drop(db);
    let db = open(&fs, &roomy()).unwrap();
    assert!(has(&db, &[0]) && has(&db, b"last") && has(&db, b"kept"));
    assert_eq!(db.last_seqno(), 22);
}

#[test]
fn a_sync_of_nothing_new_makes_durable_what_was_replayed() {
    let fs = left();
    let db = open(&fs, &roomy()).unwrap();
    db.sync().unwrap();
    assert_eq!(files(&fs, FileKind::Table).len(), 1);
    assert_eq!(files(&fs, FileKind::Wal), []);
    // And that is all: a second sync finds nothing to do.
    db.sync().unwrap();
    assert_eq!(files(&fs, FileKind::Table).len(), 1);
}

#[test]
fn old_batches_are_written_out_behind_what_was_replayed() {
    let fs = left();
    let db = open(&fs, &roomy()).unwrap();
    put(&db, b"new", b"1", false);
    // One memtable after the other is flushed, in the order of history.
    for number in 0..200_u8 {
        put(&db, &[9, number], &[number; 900], false);
    }
    while db.maintain().unwrap() == Work::Did {}
    drop(db);
    let db = open(&fs, &roomy()).unwrap();
    assert!(has(&db, &[0]) && has(&db, b"last") && has(&db, b"new"));
}

#[test]
fn more_than_a_memtable_becomes_tables_at_once() {
    let fs = left();
    let options = Options {
        memtable_len: 1 << 10,
        ..roomy()
    };
    let db = open(&fs, &options).unwrap();
    assert!(!files(&fs, FileKind::Table).is_empty());
    assert!(has(&db, &[0]) && has(&db, b"last"));
    assert_eq!(files(&fs, FileKind::Wal), []);
}

#[test]
fn a_closed_store_leaves_nothing_to_replay() {
    let fs = left();
    let db = open(&fs, &roomy()).unwrap();
    db.close().unwrap();
    assert_eq!(files(&fs, FileKind::Wal), []);
    assert!(has(&open(&fs, &roomy()).unwrap(), b"last"));
}

//! Range tombstones, wherever they lie.

use super::*;
use crate::entry::KEY_LEN_MAX;

fn delete_range(db: &Db, start: &[u8], end: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.delete_range(start, end);
    db.write(batch, WriteOptions::default()).unwrap();
}

fn name(i: u32) -> Vec<u8> {
    format!("{i:05}").into_bytes()
}

fn fill(db: &Db, count: u32) {
    for i in 0..count {
        put(db, &name(i), &[7; 40]);
    }
}

fn table_count(db: &Db) -> usize {
    let levels = db.stats().levels;
    levels.iter().map(|level| level.table_count).sum()
}

/// In memory, in level 0, in the last level: a range is gone for those who see the tombstone, also
/// where a row in the cache knows better, and is there for older snapshots.
#[test]
fn a_range_is_gone_wherever_its_keys_and_its_tombstone_lie() {
    for (before, behind) in [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
        (2, 2),
        (0, 2),
    ] {
        let settle = |db: &Db, how: u32| match how {
            0 => {}
            1 => db.flush().unwrap(),
            _ => db.compact_all(&mut |_| ()).unwrap(),
        };
        let fs = MemFs::new();
        let db = open(&fs, &small()).unwrap();
        fill(&db, 100);
        settle(&db, before);
        for i in 0..100 {
            assert!(get(&db, &name(i)).is_some());
        }
        let snapshot = db.snapshot();
        delete_range(&db, &name(20), &name(60));
        settle(&db, behind);
        put(&db, &name(30), b"new");
        let stays = |i: u32| !(20..60).contains(&i) || i == 30;
        let keys: Vec<_> = (0..100).map(name).collect();
        let asked: Vec<_> = keys.iter().map(Vec::as_slice).collect();
        for (i, found) in (0..100).zip(db.multi_get(&asked, None)) {
            assert_eq!(found.unwrap().is_some(), stays(i), "{i}");
            assert_eq!(get(&db, &name(i)).is_some(), stays(i), "{i}");
            assert!(db.get(&name(i), Some(&snapshot)).unwrap().is_some());
        }
        assert_eq!(all(&db, None).len(), 61);
        assert_eq!(all(&db, Some(&snapshot)).len(), 100);
        let mut keys_only = db.range(.., None).unwrap();
        let mut count = 0;
        while keys_only
            .next_with(|_, _, value, _| value.len())
            .unwrap()
            .is_some()
        {
            count += 1;
        }
        assert_eq!(count, 61);
        drop((snapshot, keys_only));
        let other = MemFs::new();
        db.checkpoint(other.clone()).unwrap();
        assert_eq!(all(&open(&other, &small()).unwrap(), None).len(), 61);
        db.close().unwrap();
        assert_eq!(all(&open(&fs, &small()).unwrap(), None).len(), 61);
    }
}

#[test]
fn what_a_range_covers_and_the_tombstone_itself_leave_nothing() {
    let fs = MemFs::new();
    let db = open(&fs, &small()).unwrap();
    fill(&db, 2000);
    db.compact_all(&mut |_| ()).unwrap();
    assert!(table_count(&db) > 10);
    let snapshot = db.snapshot();
    // Behind every key: an end may be longer than any of them.
    delete_range(&db, b"", &[0xff; KEY_LEN_MAX + 1]);
    db.compact_all(&mut |_| ()).unwrap();
    assert_eq!(all(&db, Some(&snapshot)).len(), 2000);
    assert!(all(&db, None).is_empty());
    assert!(!db.super_version().version.with_ranges().is_empty());
    drop(snapshot);
    db.compact_all(&mut |_| ()).unwrap();
    assert_eq!(table_count(&db), 0);
    let mut batch = WriteBatch::new();
    batch.delete_range(b"", &[0xff; KEY_LEN_MAX + 2]);
    let refused = db.write(batch, WriteOptions::default());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
}

/// Wide and narrow ranges over several levels, with a snapshot that keeps all of them: they are cut
/// where tables end and where pieces of a compaction meet, and cover the same as before.
#[test]
fn tombstones_are_cut_where_tables_end() {
    let fs = MemFs::new();
    let db = open(&fs, &small()).unwrap();
    let mut model = Contents::new();
    let mut snapshots = Vec::new();
    for round in 0..8_u32 {
        for i in 0..600 {
            let value = vec![round as u8; 30];
            put(&db, &name(i), &value);
            model.insert(name(i), value);
        }
        for (start, len) in [(round * 50, 300), (round * 7, 5), (500, round * 20), (0, 1)] {
            delete_range(&db, &name(start), &name(start + len));
            model.retain(|key, _| *key < name(start) || name(start + len) <= *key);
        }
        snapshots.push((db.snapshot(), model.clone()));
        while db.maintain().unwrap() == Work::Did {}
        for (snapshot, model) in &snapshots {
            assert_eq!(all(&db, Some(snapshot)), *model, "after round {round}");
        }
    }
    db.compact_all(&mut |_| ()).unwrap();
    let version = Arc::clone(&db.super_version().version);
    assert!(version.with_ranges().iter().any(|run| run.len() > 10));
    for (snapshot, model) in &snapshots {
        assert_eq!(all(&db, Some(snapshot)), *model);
    }
}

#[test]
fn a_key_that_a_range_deleted_has_changed() {
    let fs = MemFs::new();
    let db = open(&fs, &small()).unwrap();
    for flushes in [false, true] {
        put(&db, b"k", b"v");
        let seen = db.get(b"k", None).unwrap().map(|value| value.seqno);
        delete_range(&db, b"a", b"z");
        if flushes {
            db.flush().unwrap();
        }
        let write = |seen| {
            let mut batch = WriteBatch::new();
            batch.put(b"other", b"v");
            let options = WriteOptions::default();
            db.write_if(batch, &[(b"k", seen)], options).unwrap()
        };
        assert_eq!(write(seen), None);
        assert!(write(None).is_some());
    }
    // What comes between the look and the lock of the writer counts too.
    let mut batch = WriteBatch::new();
    batch.put(b"k", b"v");
    let raced = core::cell::Cell::new(false);
    let compared_at = db.last_seqno();
    delete_range(&db, b"a", b"z");
    let is_void = || {
        raced.set(db.is_any_newer(&[(b"k", None)], compared_at)?);
        Ok(raced.get())
    };
    let written = db.write_unless(&batch, WriteOptions::default(), &is_void);
    assert_eq!((written.unwrap(), raced.get()), (None, true));
}

/// A flipped byte in the blocks of range tombstones is an error, never a key that is back.
#[test]
fn damage_to_range_tombstones_is_an_error_not_a_miss() {
    let fs = MemFs::new();
    let mut options = small();
    options.transform.ecc = Ecc::None;
    options.cache_len = 0;
    let db = open(&fs, &options).unwrap();
    fill(&db, 5);
    db.flush().unwrap();
    delete_range(&db, &name(1), &name(4));
    db.flush().unwrap();
    let table = db.super_version().version.level(0)[0].meta().file();
    db.close().unwrap();
    drop(db);
    let whole = fs.contents(table).unwrap();
    let mut errors = 0;
    for at in (0..whole.len()).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        fs.set_contents(table, bytes);
        let fork = fs.fork();
        let Ok(db) = open(&fork, &options) else {
            errors += 1;
            continue;
        };
        for i in 0..5 {
            match db.get(&name(i), None) {
                Ok(found) => assert_eq!(found.is_some(), !(1..4).contains(&i), "byte {at}"),
                Err(_) => errors += 1,
            }
        }
        let Ok(mut cursor) = db.range(.., None) else {
            errors += 1;
            continue;
        };
        while let Ok(Some(entry)) = cursor.next() {
            assert!(
                ![name(1), name(2), name(3)].contains(&entry.key),
                "byte {at}"
            );
        }
    }
    assert!(errors > 100, "{errors}");
}

/// A store without range tombstones never opens, searches or even lists any.
#[test]
fn who_has_no_range_tombstones_does_not_pay_for_them() {
    let fs = MemFs::new();
    let db = open(&fs, &small()).unwrap();
    fill(&db, 500);
    while db.maintain().unwrap() == Work::Did {}
    let view = db.super_version();
    assert!(!view.memtable.has_ranges() && view.version.with_ranges().is_empty());
    assert!(
        view.version
            .tables()
            .all(|(_, table)| !table.meta().has_ranges())
    );
}

/// A batch of many ranges does not copy what is in memory for each of them.
#[test]
fn many_ranges_over_many_others_take_memory_in_proportion() {
    let options = Options {
        memtable_len: 64 << 10,
        ..small()
    };
    let fs = MemFs::new();
    let db = open(&fs, &options).unwrap();
    for _ in 0..200 {
        delete_range(&db, &name(0), &name(9_999));
    }
    let mut batch = WriteBatch::new();
    for i in 0..2_000 {
        batch.put(&name(5 * i), b"gone");
        batch.delete_range(&name(5 * i), &name(5 * i + 2));
        batch.put(&name(5 * i + 1), b"stays");
    }
    db.write(batch, WriteOptions::default()).unwrap();
    let len = db.stats().memtable_len;
    assert!(len < 2 << 20, "{len}");
    let check = |db: &Db| {
        let all = all(db, None);
        assert_eq!(all.len(), 2_000);
        assert!(all.values().all(|value| value == b"stays"));
    };
    check(&db);
    db.sync().unwrap();
    check(&open(&fs.fork(), &options).unwrap());
    db.flush().unwrap();
    check(&db);
}

//! Random operations against a sorted map, with clean and unclean ends in between.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Write(Vec<Change>, bool),
    Get(u16),
    Walk(u16, Vec<bool>),
    Ingest(u16, u16, u16),
    Snapshot,
    Check(usize),
    Forget(usize),
    Flush,
    Maintain,
    Compact(u16, u16),
    Close,
    Crash,
}

#[derive(Clone, Debug)]
enum Change {
    Put(u16, u16),
    Delete(u16),
    DeleteRange(u16, u16),
}

impl Change {
    fn apply(self, batch: &mut WriteBatch, model: &mut Contents) {
        match self {
            Self::Put(k, v) => {
                batch.put(&key(k), &value(v));
                model.insert(key(k), value(v));
            }
            Self::Delete(k) => {
                batch.delete(&key(k));
                model.remove(&key(k));
            }
            Self::DeleteRange(k, len) => {
                let (start, end) = (key(k), key(k % 400 + len));
                batch.delete_range(&start, &end);
                model.retain(|key, _| *key < start || end <= *key);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        14 => (any::<u16>(), any::<u16>()).prop_map(|(k, v)| Change::Put(k, v)),
        5 => any::<u16>().prop_map(Change::Delete),
        1 => (any::<u16>(), 0_u16..60).prop_map(|(k, len)| Change::DeleteRange(k, len)),
    ]
}

/// Most are short; some need several records of the log.
fn batches() -> impl Strategy<Value = Vec<Change>> {
    prop_oneof![
        12 => prop::collection::vec(change(), 1..20),
        1 => prop::collection::vec(change(), 20..200),
    ]
}

fn key(n: u16) -> Vec<u8> {
    format!("{:04}", n % 400).into_bytes()
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        20 => (batches(), any::<bool>())
            .prop_map(|(batch, sync)| Op::Write(batch, sync)),
        6 => any::<u16>().prop_map(Op::Get),
        4 => (any::<u16>(), prop::collection::vec(any::<bool>(), 0..20)).prop_map(|(k, w)| Op::Walk(k, w)),
        1 => (any::<u16>(), 0_u16..120, any::<u16>()).prop_map(|(k, n, v)| Op::Ingest(k, n, v)),
        2 => Just(Op::Snapshot),
        2 => any::<usize>().prop_map(Op::Check),
        1 => any::<usize>().prop_map(Op::Forget),
        1 => Just(Op::Flush),
        6 => Just(Op::Maintain),
        1 => (any::<u16>(), any::<u16>()).prop_map(|(a, b)| Op::Compact(a, b)),
        1 => Just(Op::Close),
        1 => Just(Op::Crash),
    ];
    prop::collection::vec(op, 1..150)
}

fn value(n: u16) -> Vec<u8> {
    format!("{n:05}").repeat(usize::from(n % 13)).into_bytes()
}

fn walk(db: &Db, model: &Contents, start: &[u8], steps: &[bool]) {
    let mut cursor = db.range(.., None).unwrap();
    cursor.seek(start);
    let list: Vec<_> = model.iter().collect();
    let mut gap = list.partition_point(|(key, _)| key.as_slice() < start);
    for &ahead in steps {
        let (found, expected) = if ahead {
            let expected = list.get(gap);
            gap = (gap + 1).min(list.len());
            (cursor.next().unwrap(), expected)
        } else {
            let expected = gap.checked_sub(1).and_then(|i| list.get(i));
            gap = gap.saturating_sub(1);
            (cursor.prev().unwrap(), expected)
        };
        let found = found.map(|entry| (entry.key, entry.value));
        assert_eq!(found.as_ref().map(|(k, v)| (k, v)), expected.copied());
    }
}

fn ingest(db: &Db, model: &mut Contents, from: u16, count: u16, v: u16) {
    let keys = from..400.min(from + count);
    let fill = |sink: &mut crate::db::ingest::Ingest<'_>| {
        keys.clone().try_for_each(|k| sink.put(&key(k), &value(v)))
    };
    db.ingest(fill).unwrap();
    model.extend(keys.map(|k| (key(k), value(v))));
}

/// One key alone, and many at once.
fn ask(db: &Db, model: &Contents, k: u16, at: Option<&Snapshot>) {
    let found = db.get(&key(k), at).unwrap().map(|value| value.bytes);
    assert_eq!(found.as_ref(), model.get(&key(k)));
    let keys: Vec<_> = (0..20).map(|i| key(k % 400 + 3 * i)).collect();
    let asked: Vec<_> = keys.iter().map(Vec::as_slice).collect();
    for (key, found) in keys.iter().zip(db.multi_get(&asked, at)) {
        let found = found.unwrap().map(|value| value.bytes);
        assert_eq!(found.as_ref(), model.get(key));
    }
}

fn run(ops: Vec<Op>) {
    let mut fs = MemFs::new();
    let options = small();
    let mut db = open(&fs, &options).unwrap();
    let mut model = Contents::new();
    let mut synced = Contents::new();
    // All states since `synced`, oldest first: a crash may leave any of them.
    let mut since = Vec::new();
    let mut snapshots: Vec<(Snapshot, Contents)> = Vec::new();
    for op in ops {
        match op {
            Op::Write(list, sync) => {
                let mut batch = WriteBatch::new();
                let changes = list.into_iter();
                changes.for_each(|change| change.apply(&mut batch, &mut model));
                db.write(batch, WriteOptions { sync }).unwrap();
                since.push(model.clone());
                if sync {
                    synced = model.clone();
                    since.clear();
                }
            }
            Op::Get(k) => ask(&db, &model, k, None),
            Op::Walk(k, steps) => walk(&db, &model, &key(k), &steps),
            Op::Ingest(from, count, v) => {
                ingest(&db, &mut model, from % 400, count, v);
                // Durable on return, with all before it.
                if count > 0 {
                    synced = model.clone();
                    since.clear();
                }
            }
            Op::Snapshot => snapshots.push((db.snapshot(), model.clone())),
            Op::Check(i) if !snapshots.is_empty() => {
                let (snapshot, model) = &snapshots[i % snapshots.len()];
                assert_eq!(&all(&db, Some(snapshot)), model);
                ask(&db, model, i as u16, Some(snapshot));
            }
            Op::Forget(i) if !snapshots.is_empty() => {
                drop(snapshots.swap_remove(i % snapshots.len()))
            }
            Op::Check(_) | Op::Forget(_) => {}
            Op::Flush => db.flush().unwrap(),
            Op::Maintain => drop(db.maintain().unwrap()),
            Op::Compact(a, b) => {
                let (a, b) = (key(a.min(b)), key(a.max(b)));
                db.compact_range(&a, Some(&b), &mut |_| ()).unwrap();
            }
            Op::Close => {
                snapshots.clear();
                db.close().unwrap();
                drop(db);
                db = open(&fs, &options).unwrap();
                since.clear();
                synced = model.clone();
            }
            Op::Crash => {
                // The process ends: what was not handed to the files is lost.
                snapshots.clear();
                fs = fs.fork();
                db = open(&fs, &options).unwrap();
                let found = all(&db, None);
                assert!(
                    found == synced || since.contains(&found),
                    "not a prefix of history"
                );
                model = found.clone();
                synced = found;
                since.clear();
            }
        }
    }
    assert_eq!(all(&db, None), model);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn behaves_like_a_sorted_map(ops in ops()) {
        run(ops);
    }
}

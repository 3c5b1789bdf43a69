use super::*;
use crate::batch::WriteBatch;
use crate::crypto::{KeySource, MasterKey, NoKeys};
use crate::env::mem::{self, MemFs};
use crate::error::ErrorKind;
use crate::options::{BlockTransform, Cipher, Compression, Ecc};
use crate::types::{KeyKind, StoreId};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;
use proptest::prelude::*;

const STORE: StoreId = StoreId([3; 16]);

struct OneKey(Arc<MasterKey>);

impl KeySource for OneKey {
    fn epoch(&self) -> u32 {
        1
    }
    fn master(&self, epoch: u32) -> Result<Arc<MasterKey>> {
        if epoch == 1 {
            Ok(Arc::clone(&self.0))
        } else {
            Err(Error::key_missing("no such epoch"))
        }
    }
}

fn one_key() -> Arc<dyn KeySource> {
    Arc::new(OneKey(Arc::new(MasterKey::new([9; 32]))))
}

/// Small enough that a few hundred writes fill several levels.
fn small() -> Options {
    Options {
        transform: BlockTransform {
            compression: Compression::Zstd { level: 1 },
            cipher: Cipher::Aes256Gcm,
            ecc: Ecc::DEFAULT_STORE,
        },
        kv_protection: KvProtection::On,
        memtable_len: 4 << 10,
        block_len: 512,
        table_len: 2 << 10,
        level_base_len: 8 << 10,
        level_ratio: 3,
        wal_buffer_len: 300,
        ..Options::default()
    }
}

fn open(fs: &Arc<MemFs>, options: &Options) -> Result<Db> {
    Db::open(
        mem::env_over(fs.clone(), 5),
        one_key(),
        STORE,
        options.clone(),
        None,
    )
}

fn put(db: &Db, key: &[u8], value: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.put(key, value);
    db.write(batch, WriteOptions::default()).unwrap();
}

fn get(db: &Db, key: &[u8]) -> Option<Vec<u8>> {
    db.get(key, None).unwrap().map(|value| value.bytes)
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Op {
    Write(Vec<(u16, Option<u16>)>, bool),
    Get(u16),
    Walk(u16, Vec<bool>),
    Snapshot,
    Check(usize),
    Forget(usize),
    Flush,
    Maintain,
    Compact(u16, u16),
    Close,
    Crash,
}

fn key(n: u16) -> Vec<u8> {
    format!("{:04}", n % 400).into_bytes()
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        20 => (prop::collection::vec((any::<u16>(), prop::option::weighted(0.7, any::<u16>())), 1..20), any::<bool>())
            .prop_map(|(batch, sync)| Op::Write(batch, sync)),
        6 => any::<u16>().prop_map(Op::Get),
        4 => (any::<u16>(), prop::collection::vec(any::<bool>(), 0..20)).prop_map(|(k, w)| Op::Walk(k, w)),
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

fn all(db: &Db, at: Option<&Snapshot>) -> Model {
    let mut cursor = db.range(.., at).unwrap();
    let mut all = Model::new();
    while let Some(entry) = cursor.next().unwrap() {
        assert!(all.insert(entry.key, entry.value).is_none());
    }
    let mut back = Vec::new();
    while let Some(entry) = cursor.prev().unwrap() {
        back.push((entry.key, entry.value));
    }
    back.reverse();
    assert!(back.iter().map(|(k, v)| (k, v)).eq(all.iter()));
    all
}

fn walk(db: &Db, model: &Model, start: &[u8], steps: &[bool]) {
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

#[expect(clippy::too_many_lines, reason = "one arm per operation")]
fn run(ops: Vec<Op>) {
    let mut fs = MemFs::new();
    let options = small();
    let mut db = open(&fs, &options).unwrap();
    let mut model = Model::new();
    let mut synced = Model::new();
    // All states since `synced`, oldest first: a crash may leave any of them.
    let mut since = Vec::new();
    let mut snapshots: Vec<(Snapshot, Model)> = Vec::new();
    for op in ops {
        match op {
            Op::Write(list, sync) => {
                let mut batch = WriteBatch::new();
                for (k, v) in list {
                    match v {
                        Some(v) => {
                            batch.put(&key(k), &value(v));
                            model.insert(key(k), value(v));
                        }
                        None => {
                            batch.delete(&key(k));
                            model.remove(&key(k));
                        }
                    }
                }
                db.write(batch, WriteOptions { sync }).unwrap();
                since.push(model.clone());
                if sync {
                    synced = model.clone();
                    since.clear();
                }
            }
            Op::Get(k) => assert_eq!(get(&db, &key(k)).as_ref(), model.get(&key(k))),
            Op::Walk(k, steps) => walk(&db, &model, &key(k), &steps),
            Op::Snapshot => snapshots.push((db.snapshot(), model.clone())),
            Op::Check(i) if !snapshots.is_empty() => {
                let (snapshot, model) = &snapshots[i % snapshots.len()];
                assert_eq!(&all(&db, Some(snapshot)), model);
                let k = key(i as u16);
                let found = db.get(&k, Some(snapshot)).unwrap().map(|value| value.bytes);
                assert_eq!(found.as_ref(), model.get(&k));
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
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn behaves_like_a_sorted_map(ops in ops()) {
        run(ops);
    }
}

#[test]
fn levels_fill_and_deleted_keys_leave_nothing() {
    let fs = MemFs::new();
    let db = open(&fs, &small()).unwrap();
    for round in 0..20_u32 {
        for i in 0..300_u32 {
            put(
                &db,
                format!("{:05}", i * 7 % 300).as_bytes(),
                &[round as u8; 40],
            );
        }
        while db.maintain().unwrap() == Work::Did {}
    }
    let stats = db.stats();
    assert!(
        stats
            .levels
            .iter()
            .filter(|level| level.table_count > 0)
            .count()
            >= 2,
        "{stats:?}"
    );
    for i in 0..300_u32 {
        assert_eq!(get(&db, format!("{i:05}").as_bytes()).unwrap(), [19; 40]);
        let mut batch = WriteBatch::new();
        batch.delete(format!("{i:05}").as_bytes());
        db.write(batch, WriteOptions::default()).unwrap();
    }
    db.compact_all(&mut |_| ()).unwrap();
    let stats = db.stats();
    assert_eq!(
        stats
            .levels
            .iter()
            .map(|level| level.entry_count)
            .sum::<u64>(),
        0
    );
    assert!(
        db.live_files()
            .iter()
            .all(|file| file.id.kind != FileKind::Table)
    );
    assert!(db.range(.., None).unwrap().next().unwrap().is_none());
}

#[test]
fn a_store_opens_once_at_a_time() {
    let fs = MemFs::new();
    let db = open(&fs, &small()).unwrap();
    assert_eq!(open(&fs, &small()).unwrap_err().kind(), ErrorKind::Locked);
    db.close().unwrap();
    let second = open(&fs, &small()).unwrap();
    assert_eq!(
        db.write(WriteBatch::new(), WriteOptions::default())
            .unwrap_err()
            .kind(),
        ErrorKind::Canceled
    );
    drop(second);
    open(&fs, &small()).unwrap();
}

#[test]
fn a_wrong_key_is_named() {
    let fs = MemFs::new();
    let db = open(&fs, &small()).unwrap();
    put(&db, b"k", b"v");
    db.close().unwrap();
    let other: Arc<dyn KeySource> = Arc::new(OneKey(Arc::new(MasterKey::new([8; 32]))));
    let env = mem::env_over(fs.clone(), 5);
    let error = Db::open(env, other, STORE, small(), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    let env = mem::env_over(fs.clone(), 5);
    let error = Db::open(env, one_key(), StoreId([4; 16]), small(), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    let options = Options::default();
    let env = mem::env_over(fs, 5);
    assert!(Db::open(env, Arc::new(NoKeys), STORE, options, None).is_err());
}

#[test]
fn annex_is_durable_and_atomic() {
    let fs = MemFs::new();
    let db = open(&fs, &small()).unwrap();
    let update = |k: &[u8], v: Option<&[u8]>| (k.to_vec(), v.map(<[u8]>::to_vec));
    db.write_annex(vec![update(b"a", Some(b"1")), update(b"b", Some(b"2"))])
        .unwrap();
    db.write_annex(vec![update(b"a", None), update(b"c", Some(b"3"))])
        .unwrap();
    let expected = BTreeMap::from([
        (b"b".to_vec(), b"2".to_vec()),
        (b"c".to_vec(), b"3".to_vec()),
    ]);
    assert_eq!(*db.annex(), expected);
    let crashed = open(&fs.fork(), &small()).unwrap();
    assert_eq!(*crashed.annex(), expected);
}

#[test]
fn a_long_manifest_is_begun_anew() {
    let fs = MemFs::new();
    let db = open(&fs, &small()).unwrap();
    let before = db.live_files();
    for i in 0..400_u32 {
        db.write_annex(vec![(b"big".to_vec(), Some(vec![i as u8; 8000]))])
            .unwrap();
    }
    assert_ne!(db.live_files(), before);
    assert!(
        fs.contents(
            before
                .iter()
                .find(|f| f.id.kind == FileKind::Manifest)
                .unwrap()
                .id
        )
        .is_none()
    );
    let annex = db.annex();
    let crashed = open(&fs.fork(), &small()).unwrap();
    assert_eq!(crashed.annex(), annex);
    assert_eq!(crashed.anchor().0, db.anchor().0 + 1);
}

#[test]
fn kinds_and_numbers_of_entries_come_back() {
    let fs = MemFs::new();
    let db = open(&fs, &small()).unwrap();
    let mut batch = WriteBatch::new();
    batch.put(b"a", b"1");
    batch.put_indirect(b"b", b"pointer");
    assert_eq!(db.write(batch, WriteOptions::default()).unwrap(), 2);
    for _ in 0..2 {
        let found = db.get(b"b", None).unwrap().unwrap();
        assert_eq!((found.kind, found.seqno), (KeyKind::Indirect, 2));
        assert_eq!(found.bytes, b"pointer");
        let found = db.multi_get(&[b"a", b"c"], None);
        assert_eq!(
            found[0].as_ref().unwrap().as_ref().unwrap().kind,
            KeyKind::Put
        );
        assert!(found[1].as_ref().unwrap().is_none());
        db.flush().unwrap();
    }
}

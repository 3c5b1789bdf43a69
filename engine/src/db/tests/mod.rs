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

mod backpressure;
mod batches;
mod changes;
mod checkpoint;
mod compact;
mod conditional;
mod damage;
mod hook;
mod ingest;
mod manifest;
mod model;
mod ranges;
mod reads;
mod recover;
#[cfg(feature = "shuttle")]
mod schedules;
mod threads;

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

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
        wal_record_len_max: 700,
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

fn all(db: &Db, at: Option<&Snapshot>) -> Contents {
    let mut cursor = db.range(.., at).unwrap();
    let mut all = Contents::new();
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

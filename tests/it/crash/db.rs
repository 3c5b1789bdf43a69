//! Power cuts under the engine alone.

use super::{Change, Level, cut_everywhere, seed};
use crate::stores::{self, Contents};
use coffer_engine::crypto::{KeySource, MasterKey};
use coffer_engine::env::Env;
use coffer_engine::{Db, Error, Result, StoreId, WriteBatch, WriteOptions};
use coffer_engine::{Ecc, Options};
use coffer_tests::random::Rng;
use std::sync::Arc;

struct OneKey;

impl KeySource for OneKey {
    fn epoch(&self) -> u32 {
        1
    }

    fn master(&self, epoch: u32) -> Result<Arc<MasterKey>> {
        match epoch {
            1 => Ok(Arc::new(MasterKey::new([7; 32]))),
            _ => Err(Error::key_missing("only epoch 1 is known")),
        }
    }
}

struct Engine;

impl Level for Engine {
    type Store = Db;

    fn open(env: Env) -> Result<Db> {
        let options = Options {
            transform: stores::transform(Ecc::None),
            memtable_len: 8 << 10,
            block_len: 1 << 10,
            table_len: 16 << 10,
            level_base_len: 32 << 10,
            level0_trigger: 2,
            wal_buffer_len: 4 << 10,
            ..Options::default()
        };
        Db::open(env, Arc::new(OneKey), StoreId([3; 16]), options, None)
    }

    fn write(db: &Db, changes: &[Change], sync: bool) -> Result<()> {
        let mut batch = WriteBatch::new();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        db.write(batch, WriteOptions { sync }).map(drop)
    }

    fn sync(db: &Db) -> Result<()> {
        db.sync()
    }

    fn maintain(db: &Db, which: usize) -> Result<()> {
        match which % 3 {
            0 => db.flush(),
            1 => db.compact_all(&mut |_| ()),
            _ => db.maintain().map(drop),
        }
    }

    fn close(db: Db) -> Result<()> {
        db.close()
    }

    fn dump(db: &Db) -> Result<Contents> {
        let mut out = Contents::new();
        let mut cursor = db.range(.., None)?;
        while let Some(entry) = cursor.next()? {
            let found = db.get(&entry.key, None)?.map(|value| value.bytes.to_vec());
            assert!(
                found.as_deref() == Some(&entry.value[..]),
                "get and range differ"
            );
            out.insert(entry.key.to_vec(), entry.value.to_vec());
        }
        Ok(out)
    }

    fn value(rng: &mut Rng) -> Vec<u8> {
        rng.value(3_000)
    }
}

#[test]
fn every_cut_leaves_a_prefix_of_history() {
    for workload in 0..4 {
        cut_everywhere::<Engine>(seed() * 100 + workload, 50);
    }
}

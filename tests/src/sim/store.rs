//! A simulated store: opened over a medium, read back whole, and verified block by block.
//!
//! - What a store answers is right, or an error that names its cause: anything else is a finding.

use coffer_engine::block::walk::Finding;
use coffer_engine::crypto::{KeySource, MasterKey, NoKeys};
use coffer_engine::env::{Fs, OpenMode};
use coffer_engine::file::{read_header, walk};
use coffer_engine::{Cipher, Db, Error, KeyKind, Options, Result, Snapshot, StoreId};
use std::sync::Arc;

use super::blobs::{Blobs, Hook, Pointer};
use super::model::{Annex, Keys, Model, key, number_of, value};
use super::workload::{ANNEX_COUNT, KEY_COUNT};
use crate::world::World;

struct OneKey;

impl KeySource for OneKey {
    fn epoch(&self) -> u32 {
        1
    }

    fn master(&self, epoch: u32) -> Result<Arc<MasterKey>> {
        match epoch {
            1 => Ok(Arc::new(MasterKey::new([9; 32]))),
            _ => Err(Error::key_missing("only epoch 1 is known")),
        }
    }
}

/// An open store and the layer above it.
pub(super) struct Store {
    pub(super) db: Db,
    pub(super) blobs: Arc<Blobs>,
    pub(super) world: Arc<World>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The store said so.
    Named(Error),
    /// The answer was wrong.
    Wrong(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Named(error)
    }
}

impl Trouble {
    pub(super) fn named(&self) -> Option<&Error> {
        match self {
            Self::Named(error) => Some(error),
            Self::Wrong(_) => None,
        }
    }
}

fn wrong<T>(what: String) -> std::result::Result<T, Trouble> {
    Err(Trouble::Wrong(what))
}

impl Store {
    /// Opens the store in `fs`, whose large values lie in `values`.
    pub(super) fn open(
        options: &Options,
        fs: Arc<dyn Fs>,
        values: Arc<dyn Fs>,
        seed: u64,
    ) -> Result<Self> {
        let world = World::new(seed);
        let blobs = Arc::new(Blobs::new(values));
        let hook = Arc::new(Hook(Arc::clone(&blobs)));
        let (id, options) = (StoreId([3; 16]), options.clone());
        let keys: Arc<dyn KeySource> = match options.transform.cipher {
            Cipher::None => Arc::new(NoKeys),
            Cipher::Aes256Gcm => Arc::new(OneKey),
        };
        let db = Db::open(world.env(fs), keys, id, options, Some(hook))?;
        Ok(Self { db, blobs, world })
    }

    /// The number of the value of one key.
    pub(super) fn read(
        &self,
        model: &Model,
        index: usize,
        at: Option<&Snapshot>,
    ) -> std::result::Result<u32, Trouble> {
        match self.db.get(&key(index), at)? {
            Some(found) => self.number(model, index, found.kind, &found.bytes, at.is_some()),
            None => Ok(0),
        }
    }

    fn number(
        &self,
        model: &Model,
        index: usize,
        kind: KeyKind,
        bytes: &[u8],
        is_old: bool,
    ) -> std::result::Result<u32, Trouble> {
        if kind == KeyKind::Indirect {
            let Some(pointer) = Pointer::decode(bytes) else {
                return wrong(format!("key {index}: no pointer"));
            };
            if !is_old && self.db.annex().contains_key(&pointer.obituary()) {
                return wrong(format!("key {index}: {pointer:?} was told dead"));
            }
            return Ok(self.blobs.read(bytes)?);
        }
        let number = number_of(bytes).unwrap_or(0);
        match model.len(number) {
            Some(len) if number > 0 && value(number, len) == bytes => Ok(number),
            _ => wrong(format!(
                "key {index}: {} bytes that nobody wrote",
                bytes.len()
            )),
        }
    }

    /// All keys as a cursor shows them.
    pub(super) fn scan(
        &self,
        model: &Model,
        at: Option<&Snapshot>,
    ) -> std::result::Result<Keys, Trouble> {
        let mut found = [0; KEY_COUNT];
        let mut cursor = self.db.range(.., at)?;
        let mut index = 0;
        while let Some(entry) = cursor.next()? {
            while index < KEY_COUNT && key(index) < entry.key {
                index += 1;
            }
            if index == KEY_COUNT || key(index) != entry.key {
                return wrong("a key that nobody wrote, or keys in disorder".to_owned());
            }
            found[index] = self.number(model, index, entry.kind, &entry.value, at.is_some())?;
            index += 1;
        }
        Ok(found)
    }

    /// All keys by a cursor, by point reads and by one read of many; they must agree.
    pub(super) fn dump(&self, model: &Model) -> std::result::Result<Keys, Trouble> {
        let found = self.scan(model, None)?;
        let names: Vec<Vec<u8>> = (0..KEY_COUNT).map(key).collect();
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let many = self.db.multi_get(&names, None);
        for (index, (expected, many)) in found.into_iter().zip(many).enumerate() {
            let one = self.read(model, index, None)?;
            let many = match many? {
                Some(found) => self.number(model, index, found.kind, &found.bytes, false)?,
                None => 0,
            };
            if one != expected || many != expected {
                return wrong(format!("key {index}: {expected} {one} {many} differ"));
            }
        }
        Ok(found)
    }

    /// What the workload wrote into the annex.
    pub(super) fn annex(&self) -> Annex {
        let annex = self.db.annex();
        let mut found = [0; ANNEX_COUNT];
        for (index, number) in found.iter_mut().enumerate() {
            let value = annex.get(&annex_key(index));
            *number = value.map_or(0, |value| number_of(value).unwrap_or(u32::MAX));
        }
        found
    }

    /// Makes durable what recovery left in memory.
    pub(super) fn settle(&self) -> Result<()> {
        self.db.sync()
    }

    /// Goes over every block of every file that the store needs; what is not whole.
    pub(super) fn verify(&self, fs: &dyn Fs) -> Result<Option<String>> {
        for live in self.db.live_files() {
            let file = fs.open(live.id, OpenMode::Read)?;
            let header = read_header(&*file)?;
            let mut walk = walk(&*file, &header)?;
            while let Some(found) = walk.next()? {
                if found.finding != Finding::Whole {
                    return Ok(Some(format!(
                        "{} at {} is not whole",
                        live.id, found.offset
                    )));
                }
            }
        }
        Ok(None)
    }
}

/// The key of a record of the annex.
pub(super) fn annex_key(index: usize) -> Vec<u8> {
    vec![b'a', index as u8]
}

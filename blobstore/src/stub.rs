//! STUB with the agreed API over a map in memory; to be replaced by the real blob tree.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::missing_errors_doc,
    reason = "stub"
)]
use std::collections::BTreeMap;
use std::sync::Mutex;

pub use coffer_engine::{Error, ErrorKind, Result, env};

#[derive(Default)]
pub struct BlobTree {
    map: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

#[derive(Default)]
pub struct BlobBatch {
    ops: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A value that is sealed and appended already, or small enough to stay inline.
pub struct Staged(Vec<u8>);

impl BlobBatch {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.ops.push((key.to_vec(), Some(value.to_vec())));
    }
    pub fn put_staged(&mut self, key: &[u8], staged: Staged) {
        self.ops.push((key.to_vec(), Some(staged.0)));
    }
    pub fn delete(&mut self, key: &[u8]) {
        self.ops.push((key.to_vec(), None));
    }
    pub fn len(&self) -> usize {
        self.ops.len()
    }
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

pub struct ValueRef(Vec<u8>);

impl ValueRef {
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn bytes(&self, _tree: &BlobTree) -> Result<Vec<u8>> {
        Ok(self.0.clone())
    }
}

pub struct Scan(std::vec::IntoIter<(Vec<u8>, ValueRef)>);

impl Scan {
    #[allow(clippy::should_implement_trait, reason = "fallible cursor")]
    pub fn next(&mut self) -> Result<Option<(Vec<u8>, ValueRef)>> {
        Ok(self.0.next())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Did,
    Idle,
}

impl BlobTree {
    /// A tree in memory for tests of the layers above (the real one has this too: MemFs, floor KDF).
    pub fn in_memory() -> Result<Self> {
        Ok(Self::default())
    }
    pub fn write(&self, batch: BlobBatch, _sync: bool) -> Result<()> {
        let mut map = self.map.lock().expect("stub");
        for (key, value) in batch.ops {
            match value {
                Some(value) => {
                    map.insert(key, value);
                }
                None => {
                    map.remove(&key);
                }
            }
        }
        Ok(())
    }
    pub fn sync(&self) -> Result<()> {
        Ok(())
    }
    pub fn stage(&self, value: &[u8]) -> Result<Staged> {
        Ok(Staged(value.to_vec()))
    }
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.map.lock().expect("stub").get(key).cloned())
    }
    /// At most `len` bytes from `offset`; fewer at the end of the value; `None` where no such key.
    pub fn get_range(&self, key: &[u8], offset: u64, len: usize) -> Result<Option<Vec<u8>>> {
        Ok(self.map.lock().expect("stub").get(key).map(|value| {
            let first = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(value.len());
            value[first..first.saturating_add(len).min(value.len())].to_vec()
        }))
    }
    pub fn len_of(&self, key: &[u8]) -> Result<Option<u64>> {
        Ok(self
            .map
            .lock()
            .expect("stub")
            .get(key)
            .map(|value| value.len() as u64))
    }
    /// All entries whose key starts with `prefix`, from `from` on (empty: from the first).
    pub fn scan(&self, prefix: &[u8], from: &[u8]) -> Result<Scan> {
        let map = self.map.lock().expect("stub");
        let first = from.max(prefix);
        let found: Vec<_> = map
            .range(first.to_vec()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), ValueRef(value.clone())))
            .collect();
        Ok(Scan(found.into_iter()))
    }
    pub fn maintain(&self) -> Result<Work> {
        Ok(Work::Idle)
    }
    pub fn space(&self) -> Result<env::Space> {
        Ok(env::Space {
            total_len: 1 << 40,
            free_len: 1 << 39,
        })
    }
    pub fn close(&self) -> Result<()> {
        Ok(())
    }
    pub fn is_poisoned(&self) -> bool {
        false
    }
}

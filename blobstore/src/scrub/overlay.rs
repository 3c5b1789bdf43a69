//! A directory over another one that is never written.
//!
//! - What is made, renamed or removed here is so in memory alone; the base stays as it is.
//! - A file of the base is only ever opened for reading.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use coffer_engine::env::mem::MemFs;
use coffer_engine::env::{File, Fs, OpenMode, Space};
use coffer_engine::sync::Mutex;
use coffer_engine::{Error, FileId, Result};

pub(super) struct Overlay {
    base: Arc<dyn Fs>,
    made: Arc<MemFs>,
    removed: Mutex<BTreeSet<FileId>>,
}

impl Overlay {
    pub(super) fn over(base: Arc<dyn Fs>) -> Arc<Self> {
        Arc::new(Self {
            base,
            made: MemFs::new(),
            removed: Mutex::default(),
        })
    }
}

impl Fs for Overlay {
    fn open(&self, id: FileId, mode: OpenMode) -> Result<Arc<dyn File>> {
        if mode == OpenMode::Create || self.made.list()?.contains(&id) {
            return self.made.open(id, mode);
        }
        if self.removed.lock().contains(&id) {
            return Err(Error::corruption("the file is missing").in_file(id));
        }
        self.base.open(id, OpenMode::Read)
    }

    fn rename(&self, from: FileId, to: FileId) -> Result<()> {
        self.made.rename(from, to)
    }

    fn remove(&self, id: FileId) -> Result<()> {
        if self.made.list()?.contains(&id) {
            self.made.remove(id)?;
        }
        self.removed.lock().insert(id);
        Ok(())
    }

    fn list(&self) -> Result<Vec<FileId>> {
        let mut ids: BTreeSet<_> = self.base.list()?.into_iter().collect();
        for id in self.removed.lock().iter() {
            ids.remove(id);
        }
        ids.extend(self.made.list()?);
        Ok(ids.into_iter().collect())
    }

    fn sync_dir(&self) -> Result<()> {
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>> {
        self.base.lock()
    }

    fn space(&self) -> Result<Space> {
        self.base.space()
    }
}

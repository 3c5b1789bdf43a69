//! The blob files of a store: one active for appending, the others for reading.
//!
//! - A blob file is named in the annex, durably, before anything can point into it.
//! - A file of an earlier session is never appended to: its ordinals are spent.
//! - A finished file is opened against its record: salt, length and root must be those of the annex.
//! - A file is finished by one thread, once nobody can claim it any more.
//! - A failed sync poisons all writing; reading goes on. A full medium only puts off what it refused.

mod noise;
mod reader;
mod share;
mod space;
mod value;
mod writer;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::OnceLock;

use coffer_engine::block::FileContext;
use coffer_engine::crypto::KeySource;
use coffer_engine::env::{Env, File, OpenMode};
use coffer_engine::file::{create_file, open_file, open_footer};
use coffer_engine::sync::{Mutex, RwLock};
use coffer_engine::{Error, ErrorKind, FileId, FileKind, Result, StoreId};

use crate::garbage::{AnnexUpdates, BlobEnd, BlobRecord, Ledger, record_update};
use crate::options::StoreOptions;
use crate::pointer::BlobPointer;
use crate::scratch::with_scratch;

pub(crate) use reader::BlobReader;
use space::{CREATE_LEN, Purpose};
pub use value::Effort;
pub(crate) use value::StagedFrames;
pub(crate) use writer::{BlobWriter, Claim};

/// Bytes of a blob file that may wait for a sync before one is made ahead of any need.
pub(crate) const SYNC_AHEAD_LEN: u64 = 16 << 20;

/// Where blob files are named: the engine's manifest.
pub(crate) trait Catalog: Send + Sync {
    /// A file number that was never used before.
    fn allocate_number(&self) -> Result<u64>;
    /// Makes changes of the annex durable, all together.
    fn commit(&self, updates: AnnexUpdates) -> Result<()>;
}

/// All blob files of an open store.
pub(crate) struct BlobFiles {
    env: Env,
    keys: Arc<dyn KeySource>,
    store_id: StoreId,
    options: StoreOptions,
    reader_count_max: usize,
    catalog: OnceLock<Weak<dyn Catalog>>,
    known: RwLock<BTreeMap<u64, Known>>,
    /// The file that takes new frames; creating the next one happens under this lock.
    active: Mutex<Option<Arc<BlobWriter>>>,
    /// Held by whoever finishes a file, from the choice until the annex has its end.
    finishing: Mutex<()>,
    /// Files of an earlier session that recovery asked about: unsynced perhaps.
    asked: Mutex<BTreeMap<u64, BlobReader>>,
    poisoned: AtomicBool,
    clock: AtomicU64,
    /// Bytes that may be appended before space is looked at again.
    room: AtomicU64,
}

/// One blob file that the annex names.
struct Known {
    record: BlobRecord,
    /// While it is being written in this session.
    writer: Option<Arc<BlobWriter>>,
    reader: Option<BlobReader>,
    /// Several keys may point to one of its values.
    is_shared: bool,
    last_used: AtomicU64,
}

impl BlobFiles {
    pub(crate) fn new(
        env: Env,
        keys: Arc<dyn KeySource>,
        store_id: StoreId,
        options: StoreOptions,
        reader_count_max: usize,
    ) -> Self {
        Self {
            env,
            keys,
            store_id,
            options,
            reader_count_max: reader_count_max.max(1),
            catalog: OnceLock::new(),
            known: RwLock::default(),
            active: Mutex::default(),
            finishing: Mutex::default(),
            asked: Mutex::default(),
            poisoned: AtomicBool::new(false),
            clock: AtomicU64::new(0),
            room: AtomicU64::new(0),
        }
    }

    /// Takes over the files that the ledger names, checks that they are there, and removes blob files
    /// that it does not name.
    ///
    /// # Errors
    /// `Corruption` naming a file that is missing; those of the medium.
    pub(crate) fn attach(&self, catalog: Weak<dyn Catalog>, ledger: &Ledger) -> Result<()> {
        let ids = self.env.fs.list()?;
        let blobs = ids.iter().filter(|id| id.kind == FileKind::Blob);
        let on_disk: BTreeSet<u64> = blobs.map(|id| id.number).collect();
        let mut known = self.known.write();
        for (number, entry) in &ledger.files {
            if !on_disk.contains(number) {
                let missing = Error::corruption("a blob file of the store is missing");
                return Err(missing.in_file(blob_id(*number)));
            }
            let file = Known {
                is_shared: entry.is_shared,
                ..Known::new(entry.record)
            };
            known.insert(*number, file);
        }
        let orphans: Vec<u64> = on_disk
            .into_iter()
            .filter(|number| !known.contains_key(number))
            .collect();
        drop(known);
        for number in &orphans {
            self.env.fs.remove(blob_id(*number))?;
        }
        if !orphans.is_empty() {
            self.env.fs.sync_dir()?;
        }
        self.asked.lock().clear();
        let _ = self.catalog.set(catalog);
        Ok(())
    }

    pub(crate) fn options(&self) -> &StoreOptions {
        &self.options
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Does the annex name this file?
    pub(crate) fn is_known(&self, number: u64) -> bool {
        self.known.read().contains_key(&number)
    }

    /// Was this file left unfinished by an earlier session?
    pub(crate) fn is_inherited(&self, number: u64) -> bool {
        let known = self.known.read();
        known
            .get(&number)
            .is_some_and(|file| file.record.end.is_none() && file.writer.is_none())
    }

    /// The active blob file, claimed. A full one is replaced first.
    ///
    /// # Errors
    /// `Poisoned`; those of creating a file.
    fn claim(&self, purpose: Purpose) -> Result<Claim> {
        if self.is_poisoned() {
            return Err(Error::poisoned(
                "an earlier sync failed; open the store again to write",
            ));
        }
        let mut active = self.active.lock();
        if let Some(writer) = &*active
            && writer.len() < self.options.blob_file_len
            && !writer.is_broken()
        {
            return Ok(Claim::new(Arc::clone(writer)));
        }
        let writer = self.create(purpose)?;
        *active = Some(Arc::clone(&writer));
        Ok(Claim::new(writer))
    }

    /// Lets the active file take no more, if `is_garbage` says so of its number, its length and what
    /// the tree was given of it: then it can be finished, and collected.
    pub(crate) fn retire_active(&self, is_garbage: impl Fn(u64, u64, u64) -> bool) -> bool {
        let mut active = self.active.lock();
        active
            .take_if(|writer| is_garbage(writer.number(), writer.len(), writer.live_len()))
            .is_some()
    }

    /// A new blob file, durable and named in the annex.
    fn create(&self, purpose: Purpose) -> Result<Arc<BlobWriter>> {
        self.check_space(CREATE_LEN, purpose)?;
        let catalog = self.catalog()?;
        let number = catalog.allocate_number()?;
        let id = blob_id(number);
        let (file, context) = create_file(
            &self.env,
            &*self.keys,
            id,
            self.store_id,
            self.options.transform,
        )?;
        // A directory reports an error once: it may have meant the name of a log.
        self.poison_on(file.sync().map_err(|error| error.in_file(id)))?;
        self.poison_on(self.env.fs.sync_dir())?;
        let record = BlobRecord {
            salt: *context.salt(),
            end: None,
        };
        catalog.commit(vec![record_update(number, Some(record))])?;
        let reader = BlobReader::new(Arc::clone(&file), Arc::clone(&context));
        let writer = Arc::new(BlobWriter::new(number, file, context)?);
        let known = Known {
            writer: Some(Arc::clone(&writer)),
            reader: Some(reader),
            ..Known::new(record)
        };
        self.known.write().insert(number, known);
        Ok(writer)
    }

    /// Makes durable all frames appended before this call, and every file that recovery asked about.
    ///
    /// # Errors
    /// Those of the medium; from then on the store is poisoned.
    pub(crate) fn sync(&self) -> Result<()> {
        if self.is_poisoned() {
            return Err(Error::poisoned(
                "an earlier sync failed; open the store again to write",
            ));
        }
        let writers = self.writers();
        let asked: Vec<BlobReader> = self.asked.lock().values().cloned().collect();
        let result = writers
            .iter()
            .try_for_each(|writer| writer.sync())
            .and_then(|()| asked.iter().try_for_each(BlobReader::sync));
        self.poison_on(result)
    }

    fn poison_on<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.poisoned.store(true, Ordering::Release);
        }
        result
    }

    /// Syncs a file that is far behind, so that whoever asks for durability later waits less; `false`
    /// where none is.
    ///
    /// # Errors
    /// As [`BlobFiles::sync`].
    pub(crate) fn sync_ahead(&self) -> Result<bool> {
        let is_behind = |writer: &Arc<BlobWriter>| writer.unsynced_len() >= SYNC_AHEAD_LEN;
        if !self.writers().iter().any(is_behind) || self.is_poisoned() {
            return Ok(false);
        }
        self.sync().map(|()| true)
    }

    fn writers(&self) -> Vec<Arc<BlobWriter>> {
        self.known
            .read()
            .values()
            .filter_map(|file| file.writer.clone())
            .collect()
    }

    /// Finishes one file that takes no more frames; `false` where there is none, or no space for its
    /// footer yet.
    ///
    /// # Errors
    /// Those of the medium, which poison the store.
    pub(crate) fn finish_one(&self) -> Result<bool> {
        let _turn = self.finishing.lock();
        if self.is_poisoned() {
            return Ok(false);
        }
        match self.finishable() {
            Some(writer) => self.finish(&writer),
            None => Ok(false),
        }
    }

    /// A file whose last claim is gone. Claims are made on the active file alone, under its lock.
    fn finishable(&self) -> Option<Arc<BlobWriter>> {
        let active = self.active.lock();
        let number = active.as_ref().map(|writer| writer.number());
        self.writers().into_iter().find(|writer| {
            Some(writer.number()) != number && !writer.is_claimed() && !writer.is_broken()
        })
    }

    /// Finishes every file that nobody claims; for the end of a session.
    ///
    /// # Errors
    /// Those of the medium, which poison the store.
    pub(crate) fn finish_all(&self) -> Result<()> {
        self.active.lock().take();
        while self.finish_one()? {}
        Ok(())
    }

    fn finish(&self, writer: &BlobWriter) -> Result<bool> {
        let number = writer.number();
        let live_len = writer.live_len();
        let root = match writer.end() {
            Err(error) if error.kind() == ErrorKind::NoSpace && !writer.is_broken() => {
                return Ok(false);
            }
            root => self.poison_on(root)?,
        };
        self.poison_on(writer.sync())?;
        let end = Some(BlobEnd { root, live_len });
        let record = BlobRecord {
            salt: *writer.context().salt(),
            end,
        };
        self.catalog()?
            .commit(vec![record_update(number, Some(record))])?;
        if let Some(file) = self.known.write().get_mut(&number) {
            file.record = record;
            file.writer = None;
        }
        Ok(true)
    }

    /// Forgets a file and removes it. REQUIRES: the annex does not name it any more, durably.
    ///
    /// # Errors
    /// Those of the medium.
    pub(crate) fn remove(&self, number: u64) -> Result<()> {
        self.known.write().remove(&number);
        self.env.fs.remove(blob_id(number))
    }

    /// The file `number` for reading; `None` where the annex does not name it.
    ///
    /// # Errors
    /// `Corruption` and `Authentication` naming the file where it is not the one that the annex means.
    pub(crate) fn reader(&self, number: u64) -> Result<Option<BlobReader>> {
        let record = {
            let known = self.known.read();
            let Some(file) = known.get(&number) else {
                return Ok(None);
            };
            file.last_used.store(
                self.clock.fetch_add(1, Ordering::Relaxed),
                Ordering::Relaxed,
            );
            if let Some(reader) = &file.reader {
                return Ok(Some(reader.clone()));
            }
            file.record
        };
        let (file, context) = match self.open(number) {
            Ok(open) => open,
            // Collected meanwhile.
            Err(_) if !self.is_known(number) => return Ok(None),
            Err(error) => return Err(error),
        };
        if *context.salt() != record.salt {
            let message =
                "this blob file is not the one that the store names: it was put back or swapped";
            return Err(Error::authentication(message).in_file(blob_id(number)));
        }
        if let Some(BlobEnd { root, .. }) = &record.end {
            let check = |scratch: &mut _| open_footer(&*file, &context, Some(root), scratch);
            with_scratch(check)?;
        }
        let reader = BlobReader::new(file, context);
        let mut known = self.known.write();
        self.evict(&mut known);
        if let Some(file) = known.get_mut(&number) {
            file.reader = Some(reader.clone());
        }
        Ok(Some(reader))
    }

    /// Bytes of the file `number`; `None` where the annex does not name it.
    ///
    /// # Errors
    /// As [`BlobFiles::reader`].
    pub(crate) fn len_of(&self, number: u64) -> Result<Option<u64>> {
        self.reader(number)?.map(|reader| reader.len()).transpose()
    }

    /// Closes the file that was not read for the longest time, where too many are open.
    fn evict(&self, known: &mut BTreeMap<u64, Known>) {
        let open = known
            .values()
            .filter(|file| file.reader.is_some() && file.writer.is_none());
        if open.count() < self.reader_count_max {
            return;
        }
        let oldest = known
            .values_mut()
            .filter(|file| file.reader.is_some() && file.writer.is_none())
            .min_by_key(|file| file.last_used.load(Ordering::Relaxed));
        if let Some(file) = oldest {
            file.reader = None;
        }
    }

    fn open(&self, number: u64) -> Result<(Arc<dyn File>, Arc<FileContext>)> {
        open_file(
            &self.env,
            &*self.keys,
            blob_id(number),
            self.store_id,
            OpenMode::Read,
        )
    }

    /// For recovery: is the value behind `pointer` on disk and whole? The file is remembered, so that
    /// [`BlobFiles::sync`] makes it durable before anything else comes to depend on it.
    ///
    /// # Errors
    /// Those of the medium; damage is a "no".
    pub(crate) fn is_present(&self, pointer: &BlobPointer) -> Result<bool> {
        let asked = self.asked.lock().get(&pointer.file).cloned();
        let reader = match asked {
            Some(reader) => reader,
            None => match self.open(pointer.file) {
                Ok((file, context)) => BlobReader::new(file, context),
                Err(error) if error.kind() == ErrorKind::Io => return Err(error),
                Err(_) => return Ok(false),
            },
        };
        let whole = with_scratch(|scratch| reader.look(pointer, scratch));
        match whole {
            Ok(()) => {
                let file = self.env.fs.open(blob_id(pointer.file), OpenMode::Repair)?;
                with_scratch(|scratch| reader.write_again(&*file, pointer, scratch))?;
                self.asked.lock().insert(pointer.file, reader);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Io => Err(error),
            Err(_) => Ok(false),
        }
    }

    fn catalog(&self) -> Result<Arc<dyn Catalog>> {
        let closed = || Error::canceled("the store is closed");
        self.catalog
            .get()
            .and_then(Weak::upgrade)
            .ok_or_else(closed)
    }
}

impl Known {
    fn new(record: BlobRecord) -> Self {
        Self {
            record,
            writer: None,
            reader: None,
            is_shared: false,
            last_used: AtomicU64::new(0),
        }
    }
}

fn blob_id(number: u64) -> FileId {
    FileId::new(FileKind::Blob, number)
}

#[cfg(test)]
pub(crate) mod tests;

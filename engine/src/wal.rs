//! The write-ahead log of one memtable: batches in sealed, chained records.
//!
//! - A batch lies in one record. Several batches share a record while nobody waits for a sync.
//! - What is in `pending` survives nothing; what is written out survives the process; what is
//!   synced survives the power.
//! - After a failed write nothing is appended any more; on a full medium what was accepted stays in
//!   memory, and new batches are refused until there is room again.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::batch::{BatchRef, WriteBatch};
use crate::block::BlockKind;
use crate::codec::Reader;
use crate::crypto::KeySource;
use crate::env::{Env, File, OpenMode};
use crate::error::{Error, Result};
use crate::file::{create_file, open_file};
use crate::log::{LogEnd, LogReader, LogWriter, Record};
use crate::options::BlockTransform;
use crate::types::{FileId, FileKind, SeqNo, StoreId};

/// A record is not longer than its batches by more than this and an eighth of them.
const RECORD_EXTRA_LEN: u64 = 4 << 10;

/// A log that takes batches.
pub(crate) struct Wal {
    number: u64,
    log: LogWriter,
    pending: Vec<u8>,
    pending_since: Option<Duration>,
}

impl Wal {
    /// A new, empty log. Not durable before it is synced, and not part of the store before the
    /// manifest names it.
    pub(crate) fn create(
        env: &Env,
        keys: &dyn KeySource,
        store_id: StoreId,
        transform: BlockTransform,
        number: u64,
    ) -> Result<Self> {
        let id = FileId::new(FileKind::Wal, number);
        let (file, context) = create_file(env, keys, id, store_id, transform)?;
        let log = LogWriter::new(file, context, BlockKind::WalRecord);
        Ok(Self {
            number,
            log,
            pending: Vec::new(),
            pending_since: None,
        })
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// The salt by which the manifest knows the file.
    pub(crate) fn salt(&self) -> [u8; 32] {
        *self.log.context().salt()
    }

    pub(crate) fn file(&self) -> Arc<dyn File> {
        Arc::clone(self.log.file())
    }

    /// Adds a batch to the pending record; makes room first where it would grow beyond
    /// `buffer_len`.
    pub(crate) fn append(
        &mut self,
        batch: &WriteBatch,
        first: SeqNo,
        with_digests: bool,
        buffer_len: usize,
        now: impl FnOnce() -> Duration,
    ) -> Result<()> {
        let is_behind = self.log.buffered_len() > 0;
        if is_behind || self.pending.len() + batch.encoded_len() > buffer_len {
            self.write_out()?;
        }
        if self.pending.is_empty() {
            self.pending_since = Some(now());
        }
        batch.encode(first, with_digests, &mut self.pending);
        Ok(())
    }

    /// Prepares the file for a sync of what is pending.
    pub(crate) fn reserve(&mut self) -> Result<()> {
        let len = self.pending.len() as u64;
        self.log.reserve(len + len / 8 + RECORD_EXTRA_LEN)
    }

    /// Hands everything pending to the file; returns how many records there are now.
    pub(crate) fn write_out(&mut self) -> Result<u32> {
        // What a full medium refused goes first.
        self.log.write_out()?;
        if !self.pending.is_empty() {
            self.log.append(&self.pending)?;
            self.pending.clear();
            self.pending_since = None;
        }
        self.log.write_out()?;
        Ok(self.log.count())
    }

    /// Has a write failed for good?
    pub(crate) const fn is_failed(&self) -> bool {
        self.log.is_failed()
    }

    /// The first `count` records are durable now: later records will say so.
    pub(crate) fn mark_durable(&mut self, count: u32) {
        self.log.mark_durable(count);
    }

    /// When the oldest pending batch was added.
    pub(crate) const fn pending_since(&self) -> Option<Duration> {
        self.pending_since
    }

    /// Bytes of the file and of what waits for it.
    pub(crate) fn len(&self) -> u64 {
        self.log.len() + self.pending.len() as u64
    }
}

/// A log of an earlier run.
pub(crate) struct WalReader {
    log: LogReader,
    id: FileId,
}

impl WalReader {
    /// Opens the log that the manifest names with this salt.
    pub(crate) fn open(
        env: &Env,
        keys: &dyn KeySource,
        store_id: StoreId,
        number: u64,
        salt: &[u8; 32],
        end: LogEnd,
    ) -> Result<Self> {
        let id = FileId::new(FileKind::Wal, number);
        let (file, context) = open_file(env, keys, id, store_id, OpenMode::Read)?;
        if context.salt() != salt {
            let message = "the log is not the one the manifest names";
            return Err(Error::authentication(message).in_file(id).part("header"));
        }
        let log = LogReader::new(file, context, BlockKind::WalRecord, end)?;
        Ok(Self { log, id })
    }

    /// All records up to the end or a torn tail, and how many of them were known durable.
    pub(crate) fn read_all(&mut self) -> Result<(Vec<Record>, u32)> {
        let mut records = Vec::new();
        while let Some(record) = self.log.next()? {
            records.push(record);
        }
        Ok((records, self.log.durable_count()))
    }

    pub(crate) fn id(&self) -> FileId {
        self.id
    }
}

/// The batches of a record, in order.
pub(crate) fn batches(record: &Record) -> impl Iterator<Item = Result<(BatchRef<'_>, u32)>> {
    let mut payload = Reader::new(&record.payload);
    core::iter::from_fn(move || {
        if payload.is_empty() {
            return None;
        }
        let batch = BatchRef::decode(&mut payload);
        if batch.is_err() {
            payload = Reader::new(&[]);
        }
        Some(batch.map_err(|error| error.part("batch")))
    })
}

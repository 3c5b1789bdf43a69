//! The write-ahead log of one memtable: batches in sealed, chained records.
//!
//! - A batch lies in one record, or alone in several that follow each other. Several batches share a record while nobody waits for a sync.
//! - What is in `pending` survives nothing; what is written out survives the process; what is
//!   synced survives the power.
//! - After a failed write nothing is appended any more; on a full medium what was accepted stays in
//!   memory, and new batches are refused until there is room again.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::batch::{BatchRef, WriteBatch};
use crate::block::BlockKind;
use crate::codec::Reader;
use crate::crypto::KeySource;
use crate::env::{Env, File, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::file::{create_file, open_file};
use crate::log::{LogEnd, LogReader, LogWriter, Record};
use crate::options::BlockTransform;
use crate::types::{FileId, FileKind, SeqNo, StoreId};

/// A record is not longer than its batches by more than this and an eighth of them.
const RECORD_EXTRA_LEN: u64 = 4 << 10;

/// Longest payload of a record, but for single operations: within the longest block.
const RECORD_LEN_MAX: usize = 12 << 20;

/// How batches become records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordShape {
    pub(crate) with_digests: bool,
    /// Bytes of batches that share a record.
    pub(crate) buffer_len: usize,
    /// Bytes of one record.
    pub(crate) len_max: usize,
}

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
    /// `buffer_len`. A batch longer than a record is handed to the file at once.
    pub(crate) fn append(
        &mut self,
        batch: &WriteBatch,
        first: SeqNo,
        shape: RecordShape,
        now: impl FnOnce() -> Duration,
    ) -> Result<()> {
        let is_behind = self.log.buffered_len() > 0;
        if is_behind || self.pending.len() + batch.encoded_len() > shape.buffer_len {
            self.write_out()?;
        }
        let len_max = shape.len_max.min(RECORD_LEN_MAX);
        if batch.encoded_len() > len_max {
            self.append_parts(batch, first, len_max, shape.with_digests)?;
            // It is in the file, which the manifest may not name yet: that follows as for others.
            self.pending_since = Some(now());
            return Ok(());
        }
        if self.pending.is_empty() {
            self.pending_since = Some(now());
        }
        for whole in batch.parts(first, usize::MAX) {
            whole.encode(shape.with_digests, &mut self.pending);
        }
        Ok(())
    }

    /// Adds a batch of several records. Once the first one is sealed the batch is accepted: where
    /// the medium is full, the rest waits in memory.
    fn append_parts(
        &mut self,
        batch: &WriteBatch,
        first: SeqNo,
        len_max: usize,
        with_digests: bool,
    ) -> Result<()> {
        self.write_out()?;
        let (mut payload, mut is_full) = (Vec::new(), false);
        for part in batch.parts(first, len_max) {
            payload.clear();
            part.encode(with_digests, &mut payload);
            self.log.append(&payload)?;
            if !is_full {
                match self.log.write_out() {
                    Err(error) if error.kind() == ErrorKind::NoSpace && !self.is_failed() => {
                        is_full = true;
                    }
                    written => written?,
                }
            }
        }
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
        }
        self.pending_since = None;
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
    /// Records that were read before their turn.
    ahead: VecDeque<Record>,
    /// Nothing is left to read.
    is_at_end: bool,
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
        Ok(Self {
            log,
            id,
            ahead: VecDeque::new(),
            is_at_end: false,
        })
    }

    /// The next records that belong together, up to the one in which no batch goes on. `false` where that
    /// one is missing; no records at the end of the log or where its tail is torn.
    pub(crate) fn next_group(&mut self, group: &mut Vec<Record>) -> Result<bool> {
        group.clear();
        loop {
            let next = match self.ahead.pop_front() {
                Some(record) => Some(record),
                None => self.read()?,
            };
            let Some(record) = next else {
                return Ok(false);
            };
            let goes_on = goes_on(&record);
            group.push(record);
            let named = |error: Error| error.in_file(self.id).at(group[0].offset);
            if !goes_on.map_err(named)? {
                return Ok(true);
            }
        }
    }

    fn read(&mut self) -> Result<Option<Record>> {
        if self.is_at_end {
            return Ok(None);
        }
        let record = self.log.next()?;
        self.is_at_end = record.is_none();
        Ok(record)
    }

    /// Is the record known to be durable? Looks at all later records where those before do not tell.
    pub(crate) fn is_vouched(&mut self, record: &Record) -> Result<bool> {
        while record.ordinal >= self.log.durable_count() {
            match self.read()? {
                Some(later) => self.ahead.push_back(later),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    pub(crate) fn id(&self) -> FileId {
        self.id
    }
}

/// The batches of a record, in order.
pub(crate) fn batches(record: &Record) -> impl Iterator<Item = Result<BatchRef<'_>>> {
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

/// Does the last batch of a record go on in the next one?
fn goes_on(record: &Record) -> Result<bool> {
    let mut continues = false;
    for batch in batches(record) {
        if continues {
            return Err(Error::corruption("a batch goes on within its record").part("batch"));
        }
        continues = batch?.continues;
    }
    Ok(continues)
}

/// How many records from the first one on belong together: up to the one in which no batch goes on.
/// `None` where the last one is missing.
pub(crate) fn group_len(records: &[Record]) -> Result<Option<usize>> {
    for (index, record) in records.iter().enumerate() {
        if !goes_on(record)? {
            return Ok(Some(index + 1));
        }
    }
    Ok(None)
}

//! The path of a write: room, sequence numbers, log, memtable, visibility; and a sync if asked.
//!
//! - One batch at a time passes the lock of the writer, in a few microseconds: the log keeps it
//!   in memory until its record is full, someone asks for a sync, or a second has passed.
//! - Whoever has to wait for flush or compaction waits outside of the lock; see `backpressure`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::batch::WriteBatch;
use crate::db::Db;
use crate::db::state::Immutable;
use crate::env::{File, StallCause};
use crate::error::{Error, Result};
use crate::memtable::Memtable;
use crate::sync::atomic::Ordering;
use crate::types::{SEQNO_MAX, SeqNo};
use crate::wal::{RecordShape, Wal};

/// Bytes of a batch that enter the memtable in one go.
const INSERT_LEN: usize = 4 << 20;

/// How a batch is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Return only when the batch, and everything before it, is durable.
    pub sync: bool,
}

/// What takes writes.
pub(super) struct Writer {
    pub(super) memtable: Arc<Memtable>,
    pub(super) last_seqno: SeqNo,
    /// The log of the memtable; begun with its first batch.
    pub(super) wal: Option<Wal>,
    /// Does the manifest name that log?
    pub(super) is_registered: bool,
    /// Was a log written out for its age that the manifest could not name yet?
    pub(super) lacks_name: bool,
    /// Logs of memtables that wait for their flush, oldest first.
    pub(super) retired: Vec<RetiredWal>,
}

impl Writer {
    /// Of a store whose newest entry is `last_seqno`.
    pub(super) fn new(memtable: Arc<Memtable>, last_seqno: SeqNo) -> Self {
        Self {
            memtable,
            last_seqno,
            wal: None,
            is_registered: false,
            lacks_name: false,
            retired: Vec::new(),
        }
    }

    /// Bytes of the log that takes writes.
    pub(super) fn wal_len(&self) -> u64 {
        self.wal.as_ref().map_or(0, Wal::len)
    }
}

/// A log that takes no more batches.
#[derive(Clone)]
pub(super) struct RetiredWal {
    pub(super) number: u64,
    pub(super) salt: [u8; 32],
    pub(super) file: Arc<dyn File>,
    pub(super) record_count: u32,
    /// Does the manifest name it?
    pub(super) is_registered: bool,
    /// Does the manifest know where it ends?
    pub(super) is_closed: bool,
}

impl Db {
    /// Applies a batch; returns the sequence number of its last operation.
    ///
    /// Without `sync` the batch is visible on return and survives nothing yet.
    ///
    /// # Errors
    /// `Invalid` for a key or value that is too long, `Poisoned`, `NoSpace`, `Io`. Where a sync fails, the
    /// batch may be visible, and is not durable; where writing it fails and poisons, it is not visible,
    /// and may be found, as a whole, when the store is opened again.
    pub fn write(&self, batch: WriteBatch, options: WriteOptions) -> Result<SeqNo> {
        let written = self.write_unless(&batch, options, &|| Ok(false))?;
        written.ok_or_else(|| Error::canceled("the batch was called back"))
    }

    /// Applies a batch unless `is_void`, which is asked when the batch is the next to be applied and
    /// no other can come before it.
    pub(super) fn write_unless(
        &self,
        batch: &WriteBatch,
        options: WriteOptions,
        is_void: &dyn Fn() -> Result<bool>,
    ) -> Result<Option<SeqNo>> {
        batch.check()?;
        let mut stall = None;
        let last = loop {
            let mut writer = self.writer.lock();
            if is_void()? {
                return Ok(None);
            }
            let committed = self.commit(&mut writer, batch)?;
            drop(writer);
            match committed {
                Ok(last) => break last,
                Err(cause) => self.wait_for_room(&mut stall, cause)?,
            }
        };
        match &stall {
            Some(stall) => self.end_stall(stall),
            None => self.slow_down(batch.byte_len()),
        }
        if options.sync || self.options.sync_writes {
            self.sync_to(last)?;
        }
        Ok(Some(last))
    }

    /// Log, memtable, visibility; or why there is no room: nothing happened then.
    fn commit(
        &self,
        writer: &mut Writer,
        batch: &WriteBatch,
    ) -> Result<core::result::Result<SeqNo, StallCause>> {
        self.check_writable()?;
        if batch.is_empty() {
            return Ok(Ok(writer.last_seqno));
        }
        let (range_count, len_max) = (batch.range_count(), self.options.memtable_len);
        let is_full = self.is_full(writer) || writer.memtable.is_strained_by(range_count, len_max);
        if let Some(cause) = self.stall_cause(is_full) {
            return Ok(Err(cause));
        }
        if is_full {
            self.rotate(writer)?;
        }
        let first = writer.last_seqno + 1;
        let last = writer.last_seqno + batch.len() as u64;
        if last >= SEQNO_MAX {
            return Err(Error::invalid("the store has used up its sequence numbers"));
        }
        let wal = match &mut writer.wal {
            Some(wal) => wal,
            none => {
                writer.is_registered = false;
                none.insert(self.new_wal()?)
            }
        };
        let now = || self.env.clock.monotonic();
        let shape = RecordShape {
            with_digests: self.with_digests(),
            buffer_len: self.options.wal_buffer_len,
            len_max: self.options.wal_record_len_max,
        };
        let logged = wal.append(batch, first, shape, now);
        if wal.is_failed() {
            self.poison();
        }
        logged?;
        // It fails where memory is damaged; the log and memory differ then.
        // In parts, so that readers get their turn; they see none of it yet.
        for part in batch.parts(first, INSERT_LEN) {
            let inserted = writer.memtable.insert_behind(&part, first - 1);
            self.poison_on(inserted)?;
        }
        writer.last_seqno = last;
        self.visible.store(last, Ordering::Release);
        Ok(Ok(last))
    }

    fn is_full(&self, writer: &Writer) -> bool {
        writer.memtable.byte_len() >= self.options.memtable_len
            || writer.wal_len() >= 2 * self.options.memtable_len as u64
    }

    fn new_wal(&self) -> Result<Wal> {
        let place = &self.place;
        let number = self.allocate_number();
        Wal::create(
            &self.env,
            &*place.keys,
            place.store_id,
            place.transform,
            number,
        )
    }

    /// Puts the full memtable and its log aside and begins new ones.
    pub(super) fn rotate(&self, writer: &mut Writer) -> Result<()> {
        let record_count = match &mut writer.wal {
            Some(wal) => self.write_out(wal)?,
            None => return Ok(()),
        };
        let Some(wal) = writer.wal.take() else {
            return Ok(());
        };
        writer.retired.push(RetiredWal {
            number: wal.number(),
            salt: wal.salt(),
            file: wal.file(),
            record_count,
            is_registered: writer.is_registered,
            is_closed: false,
        });
        let memtable = Arc::new(Memtable::new(self.with_digests()));
        let full = core::mem::replace(&mut writer.memtable, Arc::clone(&memtable));
        let immutable = Immutable {
            memtable: full,
            wal: wal.number(),
            last_seqno: writer.last_seqno,
        };
        let mut current = self.super_version.write();
        let mut next = super::SuperVersion::clone(&current);
        next.memtable = memtable;
        next.immutables.insert(0, Arc::new(immutable));
        *current = Arc::new(next);
        drop(current);
        self.work.ask();
        Ok(())
    }

    /// Hands everything pending to the file of the log; returns its count of records.
    pub(super) fn write_out(&self, wal: &mut Wal) -> Result<u32> {
        let written = wal.write_out();
        if wal.is_failed() {
            self.poison();
        }
        written
    }
}

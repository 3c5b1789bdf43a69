//! Record logs: the write-ahead log and the manifest, as chains of sealed records.
//!
//! - Record `i` has ordinal `i`, and its associated data holds the tag of record `i - 1` (record 0:
//!   the commitment of the file): records cannot be swapped, dropped or taken from elsewhere.
//! - Each record says how many records were known durable when it was written. A record that
//!   cannot be opened is a torn tail only if nothing later says that it was durable.
//! - A log is written by one run of the program; after a restart a new one is begun.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::block::blank::{is_blank, last_block_ends};
use crate::block::walk::{frame_at, scan_budget};
use crate::block::{
    BLOCK_LEN_MAX, Block, BlockKind, Codec, Expect, FileContext, MetadataFrame, ORDINAL_MAX,
};
use crate::compress::Scratch;
use crate::crypto::{COMMITMENT_LEN, Tag};
use crate::env::{Event, File, read_held_at};
use crate::error::{Error, ErrorKind, Result};
use crate::file::DATA_OFFSET;

/// What the next record is chained to.
#[derive(Clone, Copy, Debug)]
enum Chain {
    Start([u8; COMMITMENT_LEN]),
    Tag(Tag),
}

impl Chain {
    const fn bytes(&self) -> &[u8] {
        match self {
            Self::Start(commitment) => commitment,
            Self::Tag(tag) => tag,
        }
    }

    /// What stands in record `ordinal`, as far as its reader can know.
    const fn expect(&self, kind: BlockKind, ordinal: u32, aux: Option<u32>) -> Expect<'_> {
        Expect {
            kind,
            ordinal,
            codec: Codec::None,
            raw_len: None,
            flags: 0,
            aux,
            chain: self.bytes(),
        }
    }
}

/// Appends records to a new log.
pub struct LogWriter {
    file: Arc<dyn File>,
    context: Arc<FileContext>,
    kind: BlockKind,
    chain: Chain,
    count: u32,
    durable_count: u32,
    buffer: Vec<u8>,
    written_len: u64,
    failed: bool,
}

impl LogWriter {
    /// A writer for a file that was just created and holds no record.
    #[must_use]
    pub fn new(file: Arc<dyn File>, context: Arc<FileContext>, kind: BlockKind) -> Self {
        let chain = Chain::Start(*context.commitment());
        Self {
            file,
            context,
            kind,
            chain,
            count: 0,
            durable_count: 0,
            buffer: Vec::new(),
            written_len: DATA_OFFSET,
            failed: false,
        }
    }

    /// Seals one record into the buffer; returns its ordinal.
    ///
    /// # Errors
    /// `Invalid` where `payload` is longer than 16 MiB or the log is full, `Poisoned` after a
    /// failed write.
    pub fn append(&mut self, payload: &[u8]) -> Result<u32> {
        self.check()?;
        let ordinal = self.count;
        if ordinal > ORDINAL_MAX {
            return Err(Error::invalid("the log is full").in_file(self.context.id()));
        }
        let aux = Some(self.durable_count);
        let expect = self.chain.expect(self.kind, ordinal, aux);
        let sealed = self
            .context
            .seal_uncompressed(&expect, payload, &mut self.buffer)?;
        self.chain = Chain::Tag(sealed.tag);
        self.count += 1;
        Ok(ordinal)
    }

    /// Hands all buffered records to the file.
    ///
    /// # Errors
    /// Those of [`File::append`]. Where the medium is full the records stay in the buffer and may be
    /// written out later; after any other error all later calls are `Poisoned`.
    pub fn write_out(&mut self) -> Result<()> {
        self.check()?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.append(&self.buffer) {
            let is_full = error.kind() == ErrorKind::NoSpace;
            self.failed = !is_full || self.file.truncate(self.written_len).is_err();
            return Err(error);
        }
        self.written_len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Prepares the file for a sync after `len` more bytes: see [`File::reserve`].
    ///
    /// # Errors
    /// Those of [`File::reserve`]; all later calls are `Poisoned` then.
    pub fn reserve(&mut self, len: u64) -> Result<()> {
        self.check()?;
        let reserved = self.file.reserve(self.buffer.len() as u64 + len);
        self.failed = reserved.is_err();
        reserved
    }

    /// Makes all records durable.
    ///
    /// # Errors
    /// Those of [`File::append`] and [`File::sync`]; all later calls are `Poisoned` then.
    pub fn sync(&mut self) -> Result<()> {
        self.write_out()?;
        let result = self.file.sync();
        match result {
            Ok(()) => self.mark_durable(self.count),
            Err(_) => self.failed = true,
        }
        result
    }

    /// For callers that sync [`LogWriter::file`] outside their lock: the first `count` records are
    /// durable now.
    pub fn mark_durable(&mut self, count: u32) {
        self.durable_count = self.durable_count.max(count.min(self.count));
    }

    /// For callers that sync [`LogWriter::file`] outside their lock: that failed.
    pub const fn mark_failed(&mut self) {
        self.failed = true;
    }

    /// Has a write or a sync failed for good?
    #[must_use]
    pub const fn is_failed(&self) -> bool {
        self.failed
    }

    /// The file.
    #[must_use]
    pub const fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Identity and keys of the file.
    #[must_use]
    pub const fn context(&self) -> &Arc<FileContext> {
        &self.context
    }

    /// Records appended.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Records known durable.
    #[must_use]
    pub const fn durable_count(&self) -> u32 {
        self.durable_count
    }

    /// Bytes that wait in memory.
    #[must_use]
    pub const fn buffered_len(&self) -> usize {
        self.buffer.len()
    }

    /// Length of the file once the buffer is written out.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.written_len + self.buffer.len() as u64
    }

    /// Has it no record?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The tag of the last record; `None` before the first. For an anchor outside of the store.
    #[must_use]
    pub const fn last_tag(&self) -> Option<Tag> {
        match self.chain {
            Chain::Start(_) => None,
            Chain::Tag(tag) => Some(tag),
        }
    }

    fn check(&self) -> Result<()> {
        if self.failed {
            let message = "an earlier write to the log failed; open the store again";
            return Err(Error::poisoned(message).in_file(self.context.id()));
        }
        Ok(())
    }
}

/// One record of a log.
#[derive(Clone, Debug)]
pub struct Record {
    /// What was appended.
    pub payload: Block,
    /// Its number in the log.
    pub ordinal: u32,
    /// Its first byte in the file.
    pub offset: u64,
    /// Records that were known durable when it was written.
    pub durable_count: u32,
}

/// Where a log breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The first byte that is dropped.
    pub offset: u64,
    /// Bytes dropped.
    pub len: u64,
}

/// How a log ended, as far as somebody recorded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// Nobody did: a torn tail is expected.
    Open,
    /// It was closed with so many records: anything else is corruption.
    Closed(u32),
}

/// Reads the records of a log in order.
pub struct LogReader {
    file: Arc<dyn File>,
    context: Arc<FileContext>,
    kind: BlockKind,
    end: LogEnd,
    chain: Chain,
    count: u32,
    offset: u64,
    file_len: u64,
    durable_count: u32,
    torn: Option<TornTail>,
    scratch: Scratch,
}

impl LogReader {
    /// A reader from the first record.
    ///
    /// # Errors
    /// Those of [`File::len`].
    pub fn new(
        file: Arc<dyn File>,
        context: Arc<FileContext>,
        kind: BlockKind,
        end: LogEnd,
    ) -> Result<Self> {
        let file_len = file.len()?;
        let chain = Chain::Start(*context.commitment());
        Ok(Self {
            file,
            context,
            kind,
            end,
            chain,
            count: 0,
            offset: DATA_OFFSET,
            file_len,
            durable_count: 0,
            torn: None,
            scratch: Scratch::new(),
        })
    }

    /// Where the log breaks off; known once [`LogReader::next`] has returned `None`.
    #[must_use]
    pub const fn torn_tail(&self) -> Option<TornTail> {
        self.torn
    }

    /// Records read.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// How many records are known durable, from all records read.
    #[must_use]
    pub const fn durable_count(&self) -> u32 {
        self.durable_count
    }

    /// The tag of the last record read.
    #[must_use]
    pub const fn last_tag(&self) -> Option<Tag> {
        match self.chain {
            Chain::Start(_) => None,
            Chain::Tag(tag) => Some(tag),
        }
    }

    /// The next record; `None` at the end of the log or where its tail is torn.
    ///
    /// # Errors
    /// `Corruption` for damage that is no torn tail and for a closed log with another count;
    /// `Authentication` for a whole record that does not belong there.
    #[expect(clippy::should_implement_trait, reason = "it can fail")]
    pub fn next(&mut self) -> Result<Option<Record>> {
        self.read().map_err(|error| {
            error
                .in_file(self.context.id())
                .at(self.offset)
                .part(self.kind.name())
        })
    }

    fn read(&mut self) -> Result<Option<Record>> {
        let at_end = self.offset >= self.file_len || self.torn.is_some();
        if let LogEnd::Closed(count) = self.end {
            match (self.count == count, at_end) {
                (true, true) => return Ok(None),
                (true, false) if is_blank(&*self.file, self.offset..self.file_len)? => {
                    return Ok(None);
                }
                (true, false) => return Err(Error::corruption("bytes behind the end of the log")),
                (false, true) => return Err(Error::corruption("the log is cut off")),
                (false, false) => {}
            }
        } else if at_end || is_blank(&*self.file, self.offset..self.file_len)? {
            return Ok(None);
        }
        if let Some((payload, disk_len)) = self.record_here()? {
            return Ok(Some(self.accept(payload, disk_len)));
        }
        if matches!(self.end, LogEnd::Closed(_)) || self.later_record_vouches()? {
            return Err(Error::corruption(
                "a record of the log is damaged beyond repair",
            ));
        }
        let (offset, len) = (self.offset, self.file_len - self.offset);
        self.torn = Some(TornTail { offset, len });
        let file = self.context.id();
        self.context
            .listener()
            .event(&Event::TornTail { file, offset, len });
        Ok(None)
    }

    fn accept(&mut self, payload: Block, disk_len: u64) -> Record {
        let opened = payload.opened();
        if opened.healed {
            self.context.tell_healed(self.offset);
        }
        let record = Record {
            ordinal: self.count,
            offset: self.offset,
            durable_count: opened.aux,
            payload,
        };
        self.durable_count = self.durable_count.max(opened.aux);
        self.chain = Chain::Tag(opened.tag);
        self.count += 1;
        self.offset += disk_len;
        record
    }

    /// Opens the record at the current offset, with the length that its frame tells or, where
    /// that is lost, with the distance to the next record or the end of what was written. What the
    /// end of the file cut off counts as zeros: parity may know it.
    fn record_here(&mut self) -> Result<Option<(Block, u64)>> {
        if let Some((frame, _)) = frame_at(&*self.file, self.offset, self.file_len)? {
            return self.open(self.context.disk_len(frame.body_len as usize) as u64);
        }
        let next = self.next_record(self.offset + 1, &mut scan_budget(self.file_len))?;
        match next {
            Some((offset, frame)) if frame.ordinal == self.count + 1 => {
                self.open(offset - self.offset)
            }
            Some(_) => Ok(None),
            None => {
                for end in last_block_ends(&*self.file, self.offset..self.file_len)? {
                    let opened = self.open(end - self.offset)?;
                    if opened.is_some() {
                        return Ok(opened);
                    }
                }
                Ok(None)
            }
        }
    }

    fn open(&mut self, disk_len: u64) -> Result<Option<(Block, u64)>> {
        if disk_len > self.context.disk_len(BLOCK_LEN_MAX) as u64 {
            return Ok(None);
        }
        let mut disk = vec![0; usize::try_from(disk_len).expect("blocks are short")];
        read_held_at(&*self.file, self.offset, self.file_len, &mut disk)?;
        let expect = self.chain.expect(self.kind, self.count, None);
        match self.context.open(&expect, disk, &mut self.scratch) {
            Ok(payload) => Ok(Some((payload, disk_len))),
            Err(error) if error.kind() == ErrorKind::Corruption => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A later record of this log, by its frame and checksum.
    fn next_record(&self, from: u64, budget: &mut u64) -> Result<Option<(u64, MetadataFrame)>> {
        let (kind, count) = (self.kind, self.count);
        let later = |frame: &MetadataFrame| frame.kind == kind && frame.ordinal > count;
        self.context
            .next_block(&*self.file, from, self.file_len, budget, &later)
    }

    /// Does a later record say that the current one was durable?
    fn later_record_vouches(&self) -> Result<bool> {
        let mut budget = scan_budget(self.file_len);
        let mut from = self.offset + 1;
        while let Some((offset, frame)) = self.next_record(from, &mut budget)? {
            if frame.aux > self.count {
                return Ok(true);
            }
            from = offset + self.context.disk_len(frame.body_len as usize) as u64;
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests;

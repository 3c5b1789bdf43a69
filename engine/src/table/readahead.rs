//! Reads ahead of whoever walks a table: a few large reads instead of one for each block.
//!
//! - Begins where a second block follows the first one on the medium, and reads twice as much each
//!   time, up to a bound.
//! - Bytes that were read ahead are only bytes: each block in them is verified and opened exactly as
//!   if it had been read alone.
//! - Once a walk is long, a lent thread opens blocks before they are asked for. What it cannot open is
//!   read again by whoever asks for it, and the error is told there.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::block::{Block, BlockHandle, BlockKind};
use crate::codec::Reader;
use crate::error::Result;
use crate::table::entries::EntriesCursor;
use crate::table::jobs::{Job, JobQueue, LentThread, first_of};
use crate::table::reader::{Pinned, TableReader};
use crate::table::sink::BlockSource;

const WINDOW_LEN_MIN: usize = 64 << 10;
const WINDOW_LEN_MAX: usize = 512 << 10;

/// Bytes of index and filter that may lie between two data blocks.
const GAP_LEN_MAX: u64 = 64 << 10;

/// From windows of this length on a thread is worth its start.
const LENT_LEN_MIN: usize = 256 << 10;
/// Blocks that are opened ahead at most, and bytes of plaintext, but for the last of them. More are begun
/// when half of that is left.
const OPEN_COUNT_MAX: usize = 64;
const OPEN_LEN_MAX: usize = 2 << 20;

/// Bytes of one table ahead of a cursor.
#[derive(Default)]
pub(super) struct Readahead {
    window: Window,
    /// Where the block read last ends.
    last_end: u64,
    window_len: usize,
    is_eager: bool,
    opening: Opening,
}

/// Bytes of a table.
#[derive(Clone, Default)]
struct Window {
    bytes: Arc<Vec<u8>>,
    offset: u64,
}

/// Blocks that are opened by whoever has time.
#[derive(Default)]
struct Opening {
    queue: Arc<JobQueue>,
    lent: Option<LentThread>,
    /// By their offsets, ascending.
    jobs: VecDeque<Opened>,
    /// Bytes of plaintext of all of them.
    len: usize,
    /// Stands on the last of them, which ends at `end`.
    index: Option<IndexCursor>,
    end: u64,
}

/// Walks the handles of data blocks.
pub(super) type IndexCursor = EntriesCursor<Pinned>;

type OpenJob = Job<Unopened, Block>;

/// A block that was asked for ahead.
struct Opened {
    offset: u64,
    raw_len: usize,
    job: Arc<OpenJob>,
}

/// A block as it was read.
struct Unopened {
    table: Arc<TableReader>,
    handle: BlockHandle,
    kind: BlockKind,
    window: Window,
}

fn open(block: Unopened) -> Result<Block> {
    let (source, handle) = (&block.table.source, &block.handle);
    match block.window.find(handle) {
        Some(disk) => source.open(handle, block.kind, disk),
        None => source.read(handle, block.kind),
    }
}

impl Window {
    /// The bytes behind `handle`, if all of them are here.
    fn find(&self, handle: &BlockHandle) -> Option<&[u8]> {
        let start = usize::try_from(handle.offset.checked_sub(self.offset)?).ok()?;
        let end = start.checked_add(handle.disk_len as usize)?;
        self.bytes.get(start..end)
    }

    /// Becomes the `len` bytes from `handle` on; empty where they cannot be read.
    fn read(&mut self, source: &BlockSource, handle: &BlockHandle, len: usize) {
        self.offset = handle.offset;
        let bytes = match Arc::get_mut(&mut self.bytes) {
            Some(bytes) => bytes,
            None => {
                self.bytes = Arc::default();
                Arc::make_mut(&mut self.bytes)
            }
        };
        if handle.disk_len as usize > len || source.read_raw(handle.offset, len, bytes).is_err() {
            bytes.clear();
        }
    }
}

impl Readahead {
    /// For whoever will certainly walk on, as compactions do, which keep all threads busy anyway.
    pub(super) fn eager() -> Self {
        Self {
            window_len: WINDOW_LEN_MAX,
            is_eager: true,
            ..Self::default()
        }
    }

    /// The block behind `handle`, on which `index` stands.
    pub(super) fn read(
        &mut self,
        table: &Arc<TableReader>,
        handle: &BlockHandle,
        kind: BlockKind,
        index: Option<&IndexCursor>,
    ) -> Result<Block> {
        let source = &table.source;
        let follows = self.last_end > 0
            && handle.offset >= self.last_end
            && handle.offset - self.last_end <= GAP_LEN_MAX;
        self.last_end = handle.offset.saturating_add(handle.disk_len.into());
        if let Some(block) = self.opening.take(handle) {
            self.open_more(table, kind);
            return block.or_else(|_| source.read(handle, kind));
        }
        if self.window.find(handle).is_none() {
            if !follows && !self.is_eager {
                self.window_len = 0;
                return source.read(handle, kind);
            }
            self.window_len = (2 * self.window_len).clamp(WINDOW_LEN_MIN, WINDOW_LEN_MAX);
            self.window.read(source, handle, self.window_len);
        }
        let Some(disk) = self.window.find(handle) else {
            // What cannot be read ahead may still be read alone; its error names the block.
            return source.read(handle, kind);
        };
        let block = source.open(handle, kind, disk);
        if !self.is_eager && self.window_len >= LENT_LEN_MIN && self.opening.is_helped(table) {
            self.opening.index = index.cloned();
            self.opening.end = self.last_end;
            self.open_more(table, kind);
        }
        block
    }

    /// Leaves more blocks to the lent thread.
    fn open_more(&mut self, table: &Arc<TableReader>, kind: BlockKind) {
        let opening = &mut self.opening;
        if opening.is_filled(2) {
            return;
        }
        while !opening.is_filled(1)
            && let Some(handle) = opening.index.as_mut().and_then(next_handle)
        {
            if table.cache.contains(table.number, handle.offset) {
                continue;
            }
            if handle.offset.saturating_sub(opening.end) > GAP_LEN_MAX {
                // Most is in the cache: what is not is read alone.
                opening.index = None;
                return;
            }
            opening.end = handle.offset.saturating_add(handle.disk_len.into());
            if self.window.find(&handle).is_none() {
                self.window_len = (2 * self.window_len).min(WINDOW_LEN_MAX);
                self.window.read(&table.source, &handle, self.window_len);
            }
            let block = Unopened {
                table: Arc::clone(table),
                handle,
                kind,
                window: self.window.clone(),
            };
            let job = Arc::new(OpenJob::new(block, open));
            opening.queue.offer(Arc::clone(&job) as _);
            let raw_len = handle.raw_len as usize;
            opening.len += raw_len;
            opening.jobs.push_back(Opened {
                offset: handle.offset,
                raw_len,
                job,
            });
        }
    }
}

/// The handle behind the one that `index` stands on.
fn next_handle(index: &mut IndexCursor) -> Option<BlockHandle> {
    index.next().ok()?;
    BlockHandle::decode(&mut Reader::new(index.current()?.value)).ok()
}

impl Opening {
    /// The block behind `handle`, if it was among the next ones. If not, the walk went elsewhere.
    fn take(&mut self, handle: &BlockHandle) -> Option<Result<Block>> {
        let offset = handle.offset;
        while self.jobs.front().is_some_and(|next| next.offset != offset) {
            self.drop_first();
        }
        if self.jobs.is_empty() {
            self.index = None;
            return None;
        }
        let block = first_of(self.jobs.iter().map(|next| &next.job));
        self.drop_first();
        block
    }

    fn drop_first(&mut self) {
        if let Some(first) = self.jobs.pop_front() {
            first.job.cancel();
            self.len -= first.raw_len;
        }
    }

    /// Is one part in `parts` of what may be opened ahead on its way?
    fn is_filled(&self, parts: usize) -> bool {
        self.jobs.len() >= OPEN_COUNT_MAX / parts || self.len >= OPEN_LEN_MAX / parts
    }

    /// Is there a thread that helps? If not, asks for one.
    fn is_helped(&mut self, table: &TableReader) -> bool {
        if self.lent.is_none() || !self.queue.is_helped() {
            self.jobs.clear();
            self.len = 0;
            self.lent = None;
            self.queue = JobQueue::new();
            self.lent = table.lender.lend(&self.queue);
        }
        self.lent.is_some()
    }
}

#[cfg(test)]
impl Readahead {
    /// Blocks that wait to be opened, and bytes of those that are opened ahead.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.opening.queue.open_count(), self.opening.len)
    }
}

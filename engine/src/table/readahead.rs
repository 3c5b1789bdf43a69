//! Reads ahead of whoever walks a table: a few large reads instead of one for each block.
//!
//! - Begins where a second block follows the first one on the medium, and reads twice as much each
//!   time, up to a bound.
//! - Bytes that were read ahead are only bytes: each block in them is verified and opened when it
//!   is asked for, exactly as if it had been read alone.

use alloc::vec::Vec;

use crate::block::{Block, BlockHandle, BlockKind};
use crate::error::Result;
use crate::table::sink::BlockSource;

const WINDOW_LEN_MIN: usize = 64 << 10;
const WINDOW_LEN_MAX: usize = 512 << 10;

/// Bytes of index and filter that may lie between two data blocks.
const GAP_LEN_MAX: u64 = 64 << 10;

/// Bytes of one table ahead of a cursor.
#[derive(Default)]
pub(super) struct Readahead {
    bytes: Vec<u8>,
    offset: u64,
    /// Where the block read last ends.
    last_end: u64,
    window_len: usize,
}

impl Readahead {
    /// For whoever will certainly walk on, as compactions do.
    pub(super) fn eager() -> Self {
        Self {
            window_len: WINDOW_LEN_MAX,
            ..Self::default()
        }
    }

    /// The block behind `handle`.
    pub(super) fn read(
        &mut self,
        source: &BlockSource,
        handle: &BlockHandle,
        kind: BlockKind,
    ) -> Result<Block> {
        let len = handle.disk_len as usize;
        let follows = self.last_end > 0
            && handle.offset >= self.last_end
            && handle.offset - self.last_end <= GAP_LEN_MAX;
        self.last_end = handle.offset.saturating_add(len as u64);
        if let Some(disk) = self.find(handle) {
            return source.open(handle, kind, disk);
        }
        if !follows && self.window_len < WINDOW_LEN_MAX {
            self.window_len = 0;
            return source.read(handle, kind);
        }
        self.window_len = (2 * self.window_len).clamp(WINDOW_LEN_MIN, WINDOW_LEN_MAX);
        self.offset = handle.offset;
        let window_len = self.window_len;
        if len > window_len
            || source
                .read_raw(handle.offset, window_len, &mut self.bytes)
                .is_err()
        {
            // What cannot be read ahead may still be read alone; its error names the block.
            self.bytes.clear();
            return source.read(handle, kind);
        }
        match self.find(handle) {
            Some(disk) => source.open(handle, kind, disk),
            None => source.read(handle, kind),
        }
    }

    fn find(&self, handle: &BlockHandle) -> Option<&[u8]> {
        let start = usize::try_from(handle.offset.checked_sub(self.offset)?).ok()?;
        let end = start.checked_add(handle.disk_len as usize)?;
        self.bytes.get(start..end)
    }
}

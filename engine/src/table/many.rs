//! Point reads of many keys at once in one table.
//!
//! - Each block is fetched and opened once, however many of the keys it holds; blocks that lie side
//!   by side on the medium and are not in the cache are read in one go.
//! - Each key has an answer of its own: damage to one block does not hide the others.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::block::{BlockHandle, BlockKind};
use crate::cache::Rounds;
use crate::entry::Value;
use crate::error::Result;
use crate::table::reader::{Fill, Pinned, TableReader};
use crate::types::SeqNo;

/// Bytes read in one go at most.
const RUN_LEN_MAX: usize = 1 << 20;

/// A key that is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) key: &'a [u8],
    /// Its filter hash.
    pub(crate) hash: u64,
    /// Whose answer it is, for the caller.
    pub(crate) index: usize,
}

impl TableReader {
    /// As [`TableReader::find`], for each of `asks`, whose keys ascend; tells each answer.
    pub(crate) fn find_many(
        self: &Arc<Self>,
        asks: &[Ask<'_>],
        seqno: SeqNo,
        tell: &mut dyn FnMut(usize, Result<Option<Value>>),
    ) {
        if !self.has_ranges() {
            return self.find_entries(asks, seqno, &mut |ask, answer| tell(ask.index, answer));
        }
        self.find_entries(asks, seqno, &mut |ask, answer| {
            let answer = answer.and_then(|found| {
                let covering = self.covering(ask.key, seqno)?;
                Ok(Value::unless_covered(found, covering))
            });
            tell(ask.index, answer);
        });
    }

    fn find_entries<'a>(
        &self,
        asks: &[Ask<'a>],
        seqno: SeqNo,
        tell: &mut dyn FnMut(&Ask<'a>, Result<Option<Value>>),
    ) {
        let mut located: Vec<(BlockHandle, Ask<'a>)> = Vec::new();
        for ask in asks {
            match self.find_place(ask, seqno) {
                Ok(Place::Absent) => tell(ask, Ok(None)),
                Ok(Place::Row(value)) => tell(ask, Ok(Some(value))),
                Ok(Place::Block(handle)) => located.push((handle, *ask)),
                Err(error) => tell(ask, Err(error)),
            }
        }
        self.fetch(&located);
        for group in located.chunk_by(|a, b| a.0.offset == b.0.offset) {
            let mut held = None;
            for (handle, ask) in group {
                let answer = self
                    .held(&mut held, handle)
                    .and_then(|block| self.find_in(block, handle, ask.key, ask.hash, seqno));
                tell(ask, answer);
            }
        }
    }

    fn find_place(&self, ask: &Ask<'_>, seqno: SeqNo) -> Result<Place> {
        if !self.may_hold(ask.key, ask.hash, seqno)? {
            return Ok(Place::Absent);
        }
        if let Some(value) = self.row(ask.key, ask.hash, seqno) {
            return Ok(Place::Row(value));
        }
        let handle = self.locate(ask.key, seqno)?;
        Ok(handle.map_or(Place::Absent, Place::Block))
    }

    /// The block, taken from the cache once for all keys in it.
    fn held(&self, held: &mut Option<Pinned>, handle: &BlockHandle) -> Result<Pinned> {
        if held.is_none() {
            *held = Some(self.block(handle, BlockKind::Data, Fill::Keep)?);
        }
        let block = held.as_ref().map(|pinned| Arc::clone(&pinned.0));
        block.map_or_else(
            || self.block(handle, BlockKind::Data, Fill::Keep),
            |block| Ok(Pinned(block)),
        )
    }

    /// Brings blocks into the cache that are not there, neighbours in one read. What fails here is
    /// read again alone, by whoever needs it.
    fn fetch(&self, located: &[(BlockHandle, Ask<'_>)]) {
        let mut missing: Vec<&BlockHandle> = located.iter().map(|(handle, _)| handle).collect();
        missing.dedup_by_key(|handle| handle.offset);
        missing.retain(|handle| !self.cache.contains(self.number, handle.offset));
        let end = |handle: &BlockHandle| handle.offset.saturating_add(handle.disk_len.into());
        let mut bytes = Vec::new();
        for run in missing.chunk_by(|a, b| end(a) == b.offset) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else {
                continue;
            };
            let len = (end(last) - first.offset) as usize;
            if run.len() < 2 || len > RUN_LEN_MAX {
                continue;
            }
            if self.source.read_raw(first.offset, len, &mut bytes).is_err() {
                continue;
            }
            for handle in run {
                let start = (handle.offset - first.offset) as usize;
                let disk = bytes.get(start..start + handle.disk_len as usize);
                let block = disk.map(|disk| self.source.open(handle, BlockKind::Data, disk));
                if let Some(Ok(block)) = block {
                    let (block, len) = (Arc::new(block), handle.raw_len as usize);
                    self.cache
                        .insert(self.number, handle.offset, &block, len, Rounds::Data);
                }
            }
        }
    }
}

/// Where the answer to a key is.
enum Place {
    /// Not in this table.
    Absent,
    Row(Value),
    Block(BlockHandle),
}

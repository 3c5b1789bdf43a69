//! One sorted part of a table while it is written: blocks of entries, index blocks, filters.
//!
//! - Entries are added in internal order; blocks go to the sink as they fill.
//! - A partition covers about [`PARTITION_LEN`] bytes of index: one point read opens one small
//!   index block, one small filter block and one data block, however large the table is.

use alloc::vec::Vec;

use crate::block::BlockKind;
use crate::entry::EntryRef;
use crate::error::Result;
use crate::filter::{build_filter, filter_hash};
use crate::table::entries::EntriesBuilder;
use crate::table::index::{Partition, separator};
use crate::table::sink::BlockSink;
use crate::types::{KeyKind, SeqNo};

/// Bytes of an index block.
const PARTITION_LEN: usize = 4 * 1024;

/// How the blocks of a section are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) kind: BlockKind,
    pub(super) block_len: usize,
    pub(super) restart_interval: u32,
    pub(super) with_digests: bool,
    /// 0: there are no filters.
    pub(super) filter_bits_per_key: u32,
}

/// Writes one section.
pub(super) struct SectionWriter {
    shape: Shape,
    data: EntriesBuilder,
    index: EntriesBuilder,
    /// Hashes of the keys of this partition.
    hashes: Vec<u64>,
    partitions: Vec<Partition>,
    last: (Vec<u8>, SeqNo),
    is_empty: bool,
    scratch: Vec<u8>,
}

impl SectionWriter {
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            shape,
            data: EntriesBuilder::new(shape.restart_interval, shape.with_digests),
            index: EntriesBuilder::new(shape.restart_interval, false),
            hashes: Vec::new(),
            partitions: Vec::new(),
            last: (Vec::new(), 0),
            is_empty: true,
            scratch: Vec::new(),
        }
    }

    /// Adds an entry, which is checked. REQUIRES: it stands behind all entries added before.
    pub(super) fn add(&mut self, entry: &EntryRef<'_>, sink: &mut BlockSink) -> Result<()> {
        entry.verify()?;
        let full = self.data.len() + entry.key.len() + entry.value.len() > self.shape.block_len;
        if full && !self.data.is_empty() {
            self.end_block(Some(entry.key), sink)?;
        }
        let new_key = self.is_empty || self.last.0 != entry.key;
        if self.shape.filter_bits_per_key > 0 && (new_key || self.hashes.is_empty()) {
            self.hashes.push(filter_hash(entry.key));
        }
        self.data.add(entry);
        self.is_empty = false;
        if new_key {
            self.last.0.clear();
            self.last.0.extend_from_slice(entry.key);
        }
        self.last.1 = entry.seqno;
        Ok(())
    }

    /// Bytes that the sink does not have yet, about.
    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// The last key added.
    pub(super) fn last_key(&self) -> &[u8] {
        &self.last.0
    }

    /// Writes what is left; returns what leads to all of it.
    pub(super) fn finish(mut self, sink: &mut BlockSink) -> Result<Vec<Partition>> {
        if !self.is_empty {
            self.end_block(None, sink)?;
        }
        Ok(self.partitions)
    }

    fn end_block(&mut self, next: Option<&[u8]>, sink: &mut BlockSink) -> Result<()> {
        let handle = sink.append(self.shape.kind, self.data.finish())?;
        self.data.clear();
        let last = (self.last.0.as_slice(), self.last.1);
        let (key, seqno) = match next {
            Some(next) => separator(last, next),
            None => (self.last.0.clone(), 0),
        };
        self.scratch.clear();
        handle.encode(&mut self.scratch);
        let (kind, value) = (KeyKind::Put, self.scratch.as_slice());
        self.index.add(&EntryRef {
            key: &key,
            seqno,
            kind,
            value,
            digest: None,
        });
        if next.is_none() || self.index.len() >= PARTITION_LEN {
            self.end_partition((key, seqno), sink)?;
        }
        Ok(())
    }

    fn end_partition(&mut self, separator: (Vec<u8>, SeqNo), sink: &mut BlockSink) -> Result<()> {
        let index = sink.append(BlockKind::Index, self.index.finish())?;
        self.index.clear();
        let filter = if self.shape.filter_bits_per_key > 0 {
            self.scratch.clear();
            let bits_per_key = self.shape.filter_bits_per_key;
            build_filter(&self.hashes, bits_per_key, &mut self.scratch);
            Some(sink.append(BlockKind::Filter, &self.scratch)?)
        } else {
            None
        };
        self.hashes.clear();
        self.partitions.push(Partition {
            separator,
            index,
            filter,
        });
        Ok(())
    }
}

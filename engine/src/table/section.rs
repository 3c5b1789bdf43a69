//! The range tombstones of a table while it is written: blocks of entries, and index blocks.
//!
//! - Entries are added in internal order; blocks go to the sink as they fill.

use alloc::vec::Vec;

use crate::block::BlockKind;
use crate::entry::EntryRef;
use crate::error::Result;
use crate::table::entries::EntriesBuilder;
use crate::table::index::{Partition, separator};
use crate::table::sink::BlockSink;
use crate::table::writer::PARTITION_LEN;
use crate::types::{KeyKind, SeqNo};

/// How the blocks of a section are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) kind: BlockKind,
    pub(super) block_len: usize,
    pub(super) restart_interval: u32,
    pub(super) with_digests: bool,
}

/// Writes one section.
pub(super) struct SectionWriter {
    shape: Shape,
    data: EntriesBuilder,
    index: EntriesBuilder,
    partitions: Vec<Partition>,
    last: (Vec<u8>, SeqNo),
    scratch: Vec<u8>,
}

impl SectionWriter {
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            shape,
            data: EntriesBuilder::new(shape.restart_interval, shape.with_digests),
            index: EntriesBuilder::new(shape.restart_interval, false),
            partitions: Vec::new(),
            last: (Vec::new(), 0),
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
        self.data.add(entry);
        self.last.0.clear();
        self.last.0.extend_from_slice(entry.key);
        self.last.1 = entry.seqno;
        Ok(())
    }

    /// Bytes that the sink does not have yet, about.
    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    /// Writes what is left; returns what leads to all of it.
    pub(super) fn finish(&mut self, sink: &mut BlockSink) -> Result<Vec<Partition>> {
        if !self.data.is_empty() {
            self.end_block(None, sink)?;
        }
        Ok(core::mem::take(&mut self.partitions))
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
            let index = sink.append(BlockKind::Index, self.index.finish())?;
            self.index.clear();
            self.partitions.push(Partition {
                separator: (key, seqno),
                index,
                filter: None,
            });
        }
        Ok(())
    }
}

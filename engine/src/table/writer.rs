//! Writes a table: data blocks, behind those of each partition its index block and filter block;
//! range tombstones likewise; at the end the meta block and the footer.
//!
//! - Entries are added in internal order, range tombstones too, both side by side; a table is whole
//!   only after `finish`.
//! - Digests are checked as entries come in: a flipped bit in memory does not become durable.
//! - The key range of a table covers its entries and its range tombstones.
//!
//! ```text
//! file: | header | data ... index filter | data ... index filter | ... | meta | footer |
//! ```

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::block::BlockKind;
use crate::entry::EntryRef;
use crate::env::File;
use crate::error::{Error, Result};
use crate::options::{KvProtection, Options};
use crate::table::index::{Partitions, encode_meta};
use crate::table::meta::TableMeta;
use crate::table::section::{SectionWriter, Shape};
use crate::table::sink::BlockSink;
use crate::tombstone::last_covered;
use crate::types::KeyKind;

/// Writes one table.
pub(crate) struct TableWriter {
    sink: BlockSink,
    meta: TableMeta,
    entries: SectionWriter,
    ranges: SectionWriter,
}

impl TableWriter {
    /// A writer into a new file.
    pub(crate) fn new(sink: BlockSink, number: u64, options: &Options) -> Self {
        let shape = Shape {
            kind: BlockKind::Data,
            block_len: options.block_len.clamp(256, 4 << 20),
            restart_interval: options.restart_interval as u32,
            with_digests: options.kv_protection == KvProtection::On,
            filter_bits_per_key: options.filter_bits_per_key,
        };
        Self {
            sink,
            meta: TableMeta {
                with_digests: shape.with_digests,
                ..TableMeta::new(number)
            },
            entries: SectionWriter::new(shape),
            ranges: SectionWriter::new(Shape {
                kind: BlockKind::RangeTombstones,
                filter_bits_per_key: 0,
                ..shape
            }),
        }
    }

    /// Adds an entry. REQUIRES: it stands behind all entries added before.
    pub(crate) fn add(&mut self, entry: &EntryRef<'_>) -> Result<()> {
        self.entries.add(entry, &mut self.sink)?;
        self.begin_at(entry);
        self.meta.entry_count += 1;
        self.meta.tombstone_count += u64::from(entry.kind == KeyKind::Delete);
        Ok(())
    }

    /// Adds a range tombstone. REQUIRES: it stands behind all range tombstones added before, and
    /// covers the same range as the last one, or none of its keys.
    pub(crate) fn add_range(&mut self, entry: &EntryRef<'_>) -> Result<()> {
        self.ranges.add(entry, &mut self.sink)?;
        self.begin_at(entry);
        self.meta.range_count += 1;
        let last = last_covered(entry.value);
        if *self.meta.largest < *last {
            self.meta.largest = last.to_vec();
        }
        Ok(())
    }

    fn begin_at(&mut self, entry: &EntryRef<'_>) {
        let is_first = self.meta.entry_count + self.meta.range_count == 0;
        let is_mixed = self.meta.range_count > 0 || entry.kind == KeyKind::DeleteRange;
        if is_first || (is_mixed && *entry.key < *self.meta.smallest) {
            self.meta.smallest = entry.key.to_vec();
        }
        self.meta.first_seqno = self.meta.first_seqno.min(entry.seqno);
        self.meta.last_seqno = self.meta.last_seqno.max(entry.seqno);
    }

    /// Bytes of the file so far, about.
    pub(crate) fn len(&self) -> u64 {
        self.sink.len() + (self.entries.len() + self.ranges.len()) as u64
    }

    /// The last key that it covers so far.
    pub(crate) fn largest(&self) -> &[u8] {
        self.entries.last_key().max(&self.meta.largest)
    }

    /// Writes what is left, meta block and footer. The caller makes the file durable.
    pub(crate) fn finish(mut self) -> Result<(TableMeta, Arc<dyn File>)> {
        if self.entries.is_empty() && self.ranges.is_empty() {
            return Err(Error::invalid("a table must hold entries"));
        }
        self.meta.largest = self.largest().to_vec();
        let partitions = Partitions {
            entries: self.entries.finish(&mut self.sink)?,
            ranges: self.ranges.finish(&mut self.sink)?,
        };
        let mut bytes = Vec::new();
        encode_meta(&self.meta, &partitions, &mut bytes);
        let handle = self.sink.append(BlockKind::Meta, &bytes)?;
        let (root, file) = self.sink.finish(&handle)?;
        self.meta.root = root;
        Ok((self.meta, file))
    }
}

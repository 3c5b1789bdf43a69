//! Writes a table: data blocks, behind those of each partition its index block and filter block,
//! range tombstones somewhere between them, at the end the meta block and the footer.
//!
//! - Entries are added in internal order, range tombstones too, both side by side; a table is whole
//!   only after `finish`.
//! - The key range of a table covers its entries and its range tombstones.
//! - A partition covers about [`PARTITION_LEN`] bytes of index: one point read opens one small
//!   index block, one small filter block and one data block, however large the table is.
//! - Digests are checked as entries come in: a flipped bit in memory does not become durable.
//! - A data block gets its place some blocks after it was filled; only then its index entry, and
//!   what depends on that, is known. Until then other threads may seal it.
//!
//! ```text
//! file: | header | data ... index filter | data ... index filter | ... | bounds | lineage | meta |
//!       | footer |
//! ```

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::block::{BLOCK_LEN_MAX, BlockKind};
use crate::entry::EntryRef;
use crate::env::File;
use crate::error::{Error, Result};
use crate::filter::{build_filter, filter_hash};
use crate::options::{KvProtection, Options};
use crate::table::entries::EntriesBuilder;
use crate::table::extra::{Bounds, Lineage, Sections};
use crate::table::index::{Partition, Partitions, encode_meta, separator};
use crate::table::meta::TableMeta;
use crate::table::section::{SectionWriter, Shape};
use crate::table::sink::BlockSink;
use crate::tombstone::last_covered;
use crate::types::{KeyKind, SeqNo};

/// Bytes of an index block.
pub(super) const PARTITION_LEN: usize = 4 * 1024;

/// Writes one table.
pub(crate) struct TableWriter {
    sink: BlockSink,
    meta: TableMeta,
    block_len: usize,
    filter_bits_per_key: u32,
    data: EntriesBuilder,
    index: EntriesBuilder,
    /// Data blocks that have no place in the file yet.
    waiting: VecDeque<Filled>,
    /// Hashes of the keys of this partition, then of the blocks that wait, then of this block.
    hashes: Vec<u64>,
    /// How many of them belong to this partition, and how many to this block.
    partition_hash_count: usize,
    block_hash_count: usize,
    partitions: Vec<Partition>,
    /// Bounds of the data block that is filled, of those placed in this partition, of the others.
    block_bounds: (SeqNo, SeqNo),
    partition_bounds: Vec<(SeqNo, SeqNo)>,
    bounds: Bounds,
    lineage: Option<Lineage>,
    last: (Vec<u8>, SeqNo),
    ranges: SectionWriter,
    scratch: Vec<u8>,
}

/// A data block, as it is before it is sealed.
struct Filled {
    /// Where it ends.
    separator: (Vec<u8>, SeqNo),
    hash_count: usize,
    bounds: (SeqNo, SeqNo),
}

/// Bounds of nothing.
const NO_BOUNDS: (SeqNo, SeqNo) = (SeqNo::MAX, 0);

impl TableWriter {
    /// A writer into a new file.
    pub(crate) fn new(sink: BlockSink, number: u64, options: &Options) -> Self {
        let with_digests = options.kv_protection == KvProtection::On;
        let interval = options.restart_interval as u32;
        Self {
            sink,
            meta: TableMeta {
                with_digests,
                with_sections: true,
                ..TableMeta::new(number)
            },
            block_len: options.block_len.clamp(256, 4 << 20),
            filter_bits_per_key: options.filter_bits_per_key,
            data: EntriesBuilder::new(interval, with_digests),
            index: EntriesBuilder::new(interval, false),
            waiting: VecDeque::new(),
            hashes: Vec::new(),
            partition_hash_count: 0,
            block_hash_count: 0,
            partitions: Vec::new(),
            block_bounds: NO_BOUNDS,
            partition_bounds: Vec::new(),
            bounds: Bounds::default(),
            lineage: None,
            last: (Vec::new(), 0),
            ranges: SectionWriter::new(Shape {
                kind: BlockKind::RangeTombstones,
                block_len: options.block_len.clamp(256, 4 << 20),
                restart_interval: interval,
                with_digests,
            }),
            scratch: Vec::new(),
        }
    }

    /// All entries have number 0; the manifest will give them another one.
    pub(crate) fn unnumbered(mut self) -> Self {
        self.meta.is_unnumbered = true;
        self
    }

    /// Says where the table comes from.
    pub(crate) fn descends(mut self, lineage: Lineage) -> Self {
        self.lineage = Some(lineage);
        self
    }

    /// Adds an entry. REQUIRES: it stands behind all entries added before.
    pub(crate) fn add(&mut self, entry: &EntryRef<'_>) -> Result<()> {
        entry.verify()?;
        let full = self.data.len() + entry.key.len() + entry.value.len() > self.block_len;
        if full && !self.data.is_empty() {
            self.end_block(Some(entry.key))?;
        }
        let new_key = self.meta.entry_count == 0 || self.last.0 != entry.key;
        if self.filter_bits_per_key > 0 && (new_key || self.block_hash_count == 0) {
            self.hashes.push(filter_hash(entry.key));
            self.block_hash_count += 1;
        }
        self.cover(entry);
        self.data.add(entry);
        self.meta.entry_count += 1;
        self.meta.tombstone_count += u64::from(entry.kind == KeyKind::Delete);
        let (first, last) = &mut self.block_bounds;
        *first = (*first).min(entry.seqno);
        *last = (*last).max(entry.seqno);
        if new_key {
            self.last.0.clear();
            self.last.0.extend_from_slice(entry.key);
        }
        self.last.1 = entry.seqno;
        Ok(())
    }

    /// Adds a range tombstone. REQUIRES: it stands behind all range tombstones added before, and
    /// covers the same range as the last one, or none of its keys.
    pub(crate) fn add_range(&mut self, entry: &EntryRef<'_>) -> Result<()> {
        self.ranges.add(entry, &mut self.sink)?;
        self.cover(entry);
        self.meta.range_count += 1;
        let last = last_covered(entry.value);
        if *self.meta.largest < *last {
            self.meta.largest = last.to_vec();
        }
        Ok(())
    }

    /// What the manifest knows covers the entry, too.
    fn cover(&mut self, entry: &EntryRef<'_>) {
        let is_first = self.meta.entry_count + self.meta.range_count == 0;
        // Entries and range tombstones ascend, each for themselves.
        let is_mixed = self.meta.range_count > 0 || entry.kind == KeyKind::DeleteRange;
        if is_first || (is_mixed && *entry.key < *self.meta.smallest) {
            self.meta.smallest = entry.key.to_vec();
        }
        self.meta.first_seqno = self.meta.first_seqno.min(entry.seqno);
        self.meta.last_seqno = self.meta.last_seqno.max(entry.seqno);
    }

    /// The last key that it covers so far.
    pub(crate) fn largest(&self) -> &[u8] {
        (&self.last.0).max(&self.meta.largest)
    }

    /// Bytes of the file so far, about.
    pub(crate) fn len(&self) -> u64 {
        self.sink.len() + (self.data.len() + self.ranges.len()) as u64
    }

    /// Writes what is left, meta block and footer. The caller makes the file durable.
    pub(crate) fn finish(mut self) -> Result<(TableMeta, Arc<dyn File>)> {
        if self.meta.entry_count + self.meta.range_count == 0 {
            return Err(Error::invalid("a table must hold entries"));
        }
        if self.meta.entry_count > 0 {
            self.end_block(None)?;
        }
        while self.place_next()? {}
        self.meta.largest = self.largest().to_vec();
        let partitions = Partitions {
            entries: core::mem::take(&mut self.partitions),
            ranges: self.ranges.finish(&mut self.sink)?,
        };
        let sections = self.write_sections()?;
        self.scratch.clear();
        encode_meta(&self.meta, &partitions, &sections, &mut self.scratch);
        let handle = self.sink.append(BlockKind::Meta, &self.scratch)?;
        let (root, file) = self.sink.finish(&handle)?;
        self.meta.root = root;
        Ok((self.meta, file))
    }

    fn write_sections(&mut self) -> Result<Sections> {
        let mut sections = Sections::default();
        self.scratch.clear();
        self.bounds.encode(self.meta.first_seqno, &mut self.scratch);
        // What does not fit one block is left out: nothing depends on it but speed.
        if self.scratch.len() <= BLOCK_LEN_MAX {
            sections.bounds = Some(self.sink.append(BlockKind::Meta, &self.scratch)?);
        }
        if let Some(lineage) = &self.lineage {
            self.scratch.clear();
            lineage.encode(&mut self.scratch);
            sections.lineage = Some(self.sink.append(BlockKind::Meta, &self.scratch)?);
        }
        Ok(sections)
    }

    /// Hands the block over to be sealed.
    fn end_block(&mut self, next: Option<&[u8]>) -> Result<()> {
        let plain = self.data.take(self.sink.memory());
        self.sink.begin(plain);
        let last = (self.last.0.as_slice(), self.last.1);
        self.waiting.push_back(Filled {
            separator: match next {
                Some(next) => separator(last, next),
                None => (self.last.0.clone(), 0),
            },
            hash_count: core::mem::take(&mut self.block_hash_count),
            bounds: core::mem::replace(&mut self.block_bounds, NO_BOUNDS),
        });
        while self.sink.is_full() {
            self.place_next()?;
        }
        Ok(())
    }

    /// Adds the first block that waits to the index; `false` where none waits.
    fn place_next(&mut self) -> Result<bool> {
        let (Some(handle), Some(filled)) = (self.sink.place_next()?, self.waiting.pop_front())
        else {
            return Ok(false);
        };
        let (key, seqno) = filled.separator;
        self.partition_hash_count += filled.hash_count;
        self.partition_bounds.push(filled.bounds);
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
        let is_last = self.waiting.is_empty();
        if is_last || self.index.len() >= PARTITION_LEN {
            self.end_partition((key, seqno))?;
        }
        Ok(true)
    }

    fn end_partition(&mut self, separator: (Vec<u8>, SeqNo)) -> Result<()> {
        let index = self.sink.append(BlockKind::Index, self.index.finish())?;
        self.index.clear();
        self.bounds.push(&self.partition_bounds);
        self.partition_bounds.clear();
        let count = core::mem::take(&mut self.partition_hash_count);
        let mut hashes: Vec<u64> = self.hashes.drain(..count).collect();
        // A key whose versions lie in two blocks was counted in both.
        hashes.dedup();
        let filter = if self.filter_bits_per_key > 0 {
            self.scratch.clear();
            build_filter(&hashes, self.filter_bits_per_key, &mut self.scratch);
            Some(self.sink.append(BlockKind::Filter, &self.scratch)?)
        } else {
            None
        };
        self.partitions.push(Partition {
            separator,
            index,
            filter,
        });
        Ok(())
    }
}

//! Writes a table: data blocks, behind those of each partition its index block and filter block,
//! at the end the meta block and the footer.
//!
//! - Entries are added in internal order; a table is whole only after `finish`.
//! - A partition covers about [`PARTITION_LEN`] bytes of index: one point read opens one small
//!   index block, one small filter block and one data block, however large the table is.
//! - Digests are checked as entries come in: a flipped bit in memory does not become durable.
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
use crate::filter::{build_filter, filter_hash};
use crate::options::{KvProtection, Options};
use crate::table::entries::EntriesBuilder;
use crate::table::index::{Partition, encode_meta, separator};
use crate::table::meta::TableMeta;
use crate::table::sink::BlockSink;
use crate::types::{KeyKind, SeqNo};

/// Bytes of an index block.
const PARTITION_LEN: usize = 4 * 1024;

/// Writes one table.
pub(crate) struct TableWriter {
    sink: BlockSink,
    meta: TableMeta,
    block_len: usize,
    filter_bits_per_key: u32,
    data: EntriesBuilder,
    index: EntriesBuilder,
    /// Hashes of the keys of this partition.
    hashes: Vec<u64>,
    partitions: Vec<Partition>,
    last: (Vec<u8>, SeqNo),
    scratch: Vec<u8>,
}

impl TableWriter {
    /// A writer into a new file.
    pub(crate) fn new(sink: BlockSink, number: u64, options: &Options) -> Self {
        let with_digests = options.kv_protection == KvProtection::On;
        let interval = options.restart_interval as u32;
        Self {
            sink,
            meta: TableMeta {
                with_digests,
                ..TableMeta::new(number)
            },
            block_len: options.block_len.clamp(256, 4 << 20),
            filter_bits_per_key: options.filter_bits_per_key,
            data: EntriesBuilder::new(interval, with_digests),
            index: EntriesBuilder::new(interval, false),
            hashes: Vec::new(),
            partitions: Vec::new(),
            last: (Vec::new(), 0),
            scratch: Vec::new(),
        }
    }

    /// Adds an entry. REQUIRES: it stands behind all entries added before.
    pub(crate) fn add(&mut self, entry: &EntryRef<'_>) -> Result<()> {
        entry.verify()?;
        let full = self.data.len() + entry.key.len() + entry.value.len() > self.block_len;
        if full && !self.data.is_empty() {
            self.end_block(Some(entry.key))?;
        }
        let new_key = self.meta.entry_count == 0 || self.last.0 != entry.key;
        if self.filter_bits_per_key > 0 && (new_key || self.hashes.is_empty()) {
            self.hashes.push(filter_hash(entry.key));
        }
        if self.meta.entry_count == 0 {
            self.meta.smallest = entry.key.to_vec();
        }
        self.data.add(entry);
        self.meta.entry_count += 1;
        self.meta.tombstone_count += u64::from(entry.kind == KeyKind::Delete);
        self.meta.first_seqno = self.meta.first_seqno.min(entry.seqno);
        self.meta.last_seqno = self.meta.last_seqno.max(entry.seqno);
        if new_key {
            self.last.0.clear();
            self.last.0.extend_from_slice(entry.key);
        }
        self.last.1 = entry.seqno;
        Ok(())
    }

    /// Bytes of the file so far, about.
    pub(crate) fn len(&self) -> u64 {
        self.sink.len() + self.data.len() as u64
    }

    /// Writes what is left, meta block and footer. The caller makes the file durable.
    pub(crate) fn finish(mut self) -> Result<(TableMeta, Arc<dyn File>)> {
        if self.meta.entry_count == 0 {
            return Err(Error::invalid("a table must hold entries"));
        }
        self.end_block(None)?;
        self.meta.largest.clone_from(&self.last.0);
        self.scratch.clear();
        encode_meta(&self.meta, &self.partitions, &mut self.scratch);
        let handle = self.sink.append(BlockKind::Meta, &self.scratch)?;
        let (root, file) = self.sink.finish(&handle)?;
        self.meta.root = root;
        Ok((self.meta, file))
    }

    fn end_block(&mut self, next: Option<&[u8]>) -> Result<()> {
        let handle = self.sink.append(BlockKind::Data, self.data.finish())?;
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
            self.end_partition((key, seqno))?;
        }
        Ok(())
    }

    fn end_partition(&mut self, separator: (Vec<u8>, SeqNo)) -> Result<()> {
        let index = self.sink.append(BlockKind::Index, self.index.finish())?;
        self.index.clear();
        let filter = if self.filter_bits_per_key > 0 {
            self.scratch.clear();
            build_filter(&self.hashes, self.filter_bits_per_key, &mut self.scratch);
            Some(self.sink.append(BlockKind::Filter, &self.scratch)?)
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

//! Sections of a table that point reads never touch: bounds of sequence numbers, and lineage.
//!
//! - The meta block leads to them; each is a sealed block of its own, read when somebody asks.
//! - Bounds only say what may be passed over: without them every block is looked at.
//! - Any bytes may be decoded: the answer is a section or an error, and memory in proportion to the
//!   bytes, whatever they count.
//!
//! ```text
//! in the meta block: | section count varint | section | ... |
//! section: | tag u8: 1 bounds, 2 lineage; others are passed over | handle |
//! bounds:  | partition count varint | partition | ... |
//! partition: | data block count varint | block | ... |
//! block:   | first seqno varint, less that of the table | last seqno varint, less the first |
//! lineage: | level u8 | compaction varint | flushed seqno varint |
//!          | input count varint | input number varint | ... |
//!          | obsolete count varint | obsolete number varint | ... |
//! ```

use alloc::vec::Vec;

use crate::block::BlockHandle;
use crate::codec::{Reader, put_varint};
use crate::error::{Error, Result};
use crate::types::SeqNo;

const TAG_BOUNDS: u8 = 1;
const TAG_LINEAGE: u8 = 2;

/// Where the sections are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sections {
    pub(crate) bounds: Option<BlockHandle>,
    pub(crate) lineage: Option<BlockHandle>,
}

impl Sections {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let all = [(TAG_BOUNDS, self.bounds), (TAG_LINEAGE, self.lineage)];
        let there = || {
            all.iter()
                .filter_map(|(tag, handle)| Some((tag, handle.as_ref()?)))
        };
        put_varint(out, there().count() as u64);
        for (tag, handle) in there() {
            out.push(*tag);
            handle.encode(out);
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let mut sections = Self::default();
        for _ in 0..reader.varint()? {
            let (tag, handle) = (reader.u8()?, BlockHandle::decode(reader)?);
            match tag {
                TAG_BOUNDS => sections.bounds = Some(handle),
                TAG_LINEAGE => sections.lineage = Some(handle),
                _ => {}
            }
        }
        Ok(sections)
    }
}

/// The smallest and the largest sequence number of each data block, by partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    blocks: Vec<(SeqNo, SeqNo)>,
    /// Where the blocks of each partition end.
    ends: Vec<u32>,
}

impl Bounds {
    /// Adds a partition with these blocks.
    pub(super) fn push(&mut self, blocks: &[(SeqNo, SeqNo)]) {
        self.blocks.extend_from_slice(blocks);
        self.ends.push(self.blocks.len() as u32);
    }

    fn partition(&self, index: usize) -> Option<&[(SeqNo, SeqNo)]> {
        let end = *self.ends.get(index)? as usize;
        let before = index
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        self.blocks.get(before.map_or(0, |end| *end as usize)..end)
    }

    /// May the block hold entries newer than `seqno`?
    pub(super) fn is_newer(&self, partition: usize, block: usize, seqno: SeqNo) -> bool {
        let blocks = self.partition(partition);
        let bounds = blocks.and_then(|blocks| blocks.get(block));
        bounds.is_none_or(|&(_, last)| last > seqno)
    }

    /// May any block of the partition hold entries newer than `seqno`?
    pub(super) fn is_partition_newer(&self, partition: usize, seqno: SeqNo) -> bool {
        let blocks = self.partition(partition);
        blocks.is_none_or(|blocks| blocks.iter().any(|&(_, last)| last > seqno))
    }

    /// `base`: the first sequence number of the table.
    pub(super) fn encode(&self, base: SeqNo, out: &mut Vec<u8>) {
        put_varint(out, self.ends.len() as u64);
        for blocks in (0..self.ends.len()).filter_map(|index| self.partition(index)) {
            put_varint(out, blocks.len() as u64);
            for (first, last) in blocks {
                put_varint(out, first - base);
                put_varint(out, last - first);
            }
        }
    }

    pub(super) fn decode(bytes: &[u8], base: SeqNo) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let too_large = || Error::corruption("a sequence number is too large").part("bounds");
        let mut bounds = Self::default();
        for _ in 0..reader.varint()? {
            for _ in 0..reader.varint()? {
                let first = base.checked_add(reader.varint()?).ok_or_else(too_large)?;
                let last = first.checked_add(reader.varint()?).ok_or_else(too_large)?;
                bounds.blocks.push((first, last));
            }
            bounds.ends.push(bounds.blocks.len() as u32);
        }
        reader.finish()?;
        Ok(bounds)
    }
}

/// Where a table comes from: enough to rebuild a manifest from tables alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// The level that it was written for. It may have been moved down since.
    pub(crate) level: u8,
    /// Number of the compaction that wrote it, shared by all of its outputs; 0 for a flush.
    pub(crate) compaction: u64,
    /// Everything up to here was in tables when the compaction began.
    pub(crate) flushed_seqno: SeqNo,
    /// The tables that it takes the place of, together with the other outputs.
    pub(crate) inputs: Vec<u64>,
    /// Tables that were no part of the store any more, and whose files were still there.
    pub(crate) obsolete: Vec<u64>,
}

impl Lineage {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.level);
        put_varint(out, self.compaction);
        put_varint(out, self.flushed_seqno);
        for numbers in [&self.inputs, &self.obsolete] {
            put_varint(out, numbers.len() as u64);
            numbers.iter().for_each(|number| put_varint(out, *number));
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let mut lineage = Self {
            level: reader.u8()?,
            compaction: reader.varint()?,
            flushed_seqno: reader.varint()?,
            ..Self::default()
        };
        for numbers in [&mut lineage.inputs, &mut lineage.obsolete] {
            for _ in 0..reader.varint()? {
                numbers.push(reader.varint()?);
            }
        }
        reader.finish()?;
        Ok(lineage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn sections_round_trip_and_unknown_ones_are_passed_over() {
        let handle = |ordinal| BlockHandle {
            offset: 9,
            disk_len: 100,
            raw_len: 50,
            ordinal,
            codec: crate::block::Codec::None,
        };
        for (bounds, lineage) in [
            (None, None),
            (Some(1), None),
            (None, Some(2)),
            (Some(3), Some(4)),
        ] {
            let sections = Sections {
                bounds: bounds.map(handle),
                lineage: lineage.map(handle),
            };
            let mut bytes = Vec::new();
            sections.encode(&mut bytes);
            assert_eq!(
                Sections::decode(&mut Reader::new(&bytes)).unwrap(),
                sections
            );
        }
        let mut bytes = vec![1, 77];
        handle(5).encode(&mut bytes);
        let mut reader = Reader::new(&bytes);
        assert_eq!(Sections::decode(&mut reader).unwrap(), Sections::default());
        assert!(reader.is_empty());
    }

    #[test]
    fn partitions_without_blocks_take_little() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, 10_000);
        bytes.resize(bytes.len() + 10_000, 0);
        let bounds = Bounds::decode(&bytes, 0).unwrap();
        assert!(4 * bounds.ends.capacity() + 16 * bounds.blocks.capacity() <= 8 * bytes.len());
        bytes.pop();
        Bounds::decode(&bytes, 0).unwrap_err();
    }

    proptest! {
        #[test]
        fn bounds_and_lineage_round_trip(
            blocks in prop::collection::vec(prop::collection::vec((5_u64..99, 0_u64..99), 0..9), 0..9),
            inputs in prop::collection::vec(any::<u64>(), 0..9),
        ) {
            let mut bounds = Bounds::default();
            for part in blocks {
                let blocks: Vec<_> = part.into_iter().map(|(first, len)| (first, first + len)).collect();
                bounds.push(&blocks);
            }
            let mut bytes = Vec::new();
            bounds.encode(5, &mut bytes);
            prop_assert_eq!(Bounds::decode(&bytes, 5).unwrap(), bounds);
            let (obsolete, inputs) = inputs.split_at(inputs.len() / 3);
            let (obsolete, inputs) = (obsolete.to_vec(), inputs.to_vec());
            let lineage = Lineage { level: 3, compaction: 7, flushed_seqno: 9, inputs, obsolete };
            let mut bytes = Vec::new();
            lineage.encode(&mut bytes);
            prop_assert_eq!(Lineage::decode(&bytes).unwrap(), lineage);
        }

        #[test]
        fn hostile_sections_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), base: u64) {
            if let Ok(bounds) = Bounds::decode(&bytes, base) {
                prop_assert!(bounds.blocks.len() + bounds.ends.len() <= bytes.len());
            }
            let _ = Lineage::decode(&bytes);
            let _ = Sections::decode(&mut Reader::new(&bytes));
        }
    }
}

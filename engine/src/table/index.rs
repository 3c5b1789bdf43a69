//! The index of a table: two levels, and the keys that separate their parts.
//!
//! - An index entry `(separator, handle)` says: everything in that block is at or before the
//!   separator, everything in later blocks behind it.
//! - Lower level: index blocks, encoded as sorted entries. Upper level: the list of partitions in
//!   the meta block, which an open table keeps in memory.
//!
//! ```text
//! meta block: | table meta | partition count varint | partition | ... |
//!             | partition count varint | partition | ... |  of range tombstones, where there are any
//!             | sections, where table meta says that there are any |
//! partition:  | separator bytes | seqno varint | index handle | filter flag u8 | filter handle? |
//! ```

use alloc::vec::Vec;

use crate::block::BlockHandle;
use crate::codec::{Reader, put_bytes, put_varint};
use crate::entry::compare;
use crate::error::{Error, Result};
use crate::table::extra::Sections;
use crate::table::meta::TableMeta;
use crate::types::SeqNo;

/// A stretch of a table with one index block and one filter block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Where the stretch ends.
    pub(crate) separator: (Vec<u8>, SeqNo),
    pub(crate) index: BlockHandle,
    /// `None` where the store has no filters.
    pub(crate) filter: Option<BlockHandle>,
}

/// The first partition that may hold entries at or behind `(key, seqno)`.
pub(crate) fn partition_for(partitions: &[Partition], key: &[u8], seqno: SeqNo) -> usize {
    partitions.partition_point(|partition| {
        let (separator, at) = &partition.separator;
        compare((separator, *at), (key, seqno)).is_lt()
    })
}

/// A short place at or behind the entry `last` and before the entry `next`.
///
/// REQUIRES: `last` stands before `next`.
pub(crate) fn separator(last: (&[u8], SeqNo), next: &[u8]) -> (Vec<u8>, SeqNo) {
    if last.0 == next {
        return (last.0.to_vec(), last.1);
    }
    let shared = last.0.iter().zip(next).take_while(|(a, b)| a == b).count();
    let shorter = match (last.0.get(shared), next.get(shared)) {
        (Some(&a), Some(&b)) if a + 1 < b => {
            let mut key = last.0[..shared].to_vec();
            key.push(a + 1);
            key
        }
        (Some(_), Some(_)) if next.len() > shared + 1 && last.0.len() > shared + 1 => {
            next[..=shared].to_vec()
        }
        _ => last.0.to_vec(),
    };
    (shorter, 0)
}

/// What leads to everything in a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Partitions {
    pub(crate) entries: Vec<Partition>,
    pub(crate) ranges: Vec<Partition>,
}

/// Encodes the meta block.
pub(crate) fn encode_meta(
    meta: &TableMeta,
    partitions: &Partitions,
    sections: &Sections,
    out: &mut Vec<u8>,
) {
    meta.encode(out);
    encode_partitions(&partitions.entries, out);
    if meta.has_ranges() {
        encode_partitions(&partitions.ranges, out);
    }
    if meta.with_sections {
        sections.encode(out);
    }
}

fn encode_partitions(partitions: &[Partition], out: &mut Vec<u8>) {
    put_varint(out, partitions.len() as u64);
    for partition in partitions {
        put_bytes(out, &partition.separator.0);
        put_varint(out, partition.separator.1);
        partition.index.encode(out);
        out.push(u8::from(partition.filter.is_some()));
        if let Some(filter) = &partition.filter {
            filter.encode(out);
        }
    }
}

/// Decodes the meta block.
pub(crate) fn decode_meta(bytes: &[u8]) -> Result<(TableMeta, Partitions, Sections)> {
    let mut reader = Reader::new(bytes);
    let meta = TableMeta::decode(&mut reader)?;
    let mut partitions = Partitions {
        entries: decode_partitions(&mut reader)?,
        ranges: Vec::new(),
    };
    if meta.has_ranges() {
        partitions.ranges = decode_partitions(&mut reader)?;
    }
    let sections = match meta.with_sections {
        true => Sections::decode(&mut reader)?,
        false => Sections::default(),
    };
    reader.finish()?;
    Ok((meta, partitions, sections))
}

fn decode_partitions(reader: &mut Reader<'_>) -> Result<Vec<Partition>> {
    let count = reader.varint()?;
    let mut partitions = Vec::new();
    for _ in 0..count {
        let separator = (reader.bytes()?.to_vec(), reader.varint()?);
        let index = BlockHandle::decode(reader)?;
        let filter = match reader.u8()? {
            0 => None,
            1 => Some(BlockHandle::decode(reader)?),
            _ => return Err(Error::unsupported("unknown filter").part("table meta")),
        };
        partitions.push(Partition {
            separator,
            index,
            filter,
        });
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn separators_separate_and_are_not_longer(
            a in prop::collection::vec(0_u8..4, 0..6),
            b in prop::collection::vec(0_u8..4, 0..6),
            seqno in 5_u64..9,
        ) {
            prop_assume!(a != b);
            let (last, next) = if a < b { (a, b) } else { (b, a) };
            let (key, at) = separator((&last, seqno), &next);
            prop_assert!(compare((&last, seqno), (&key, at)).is_le());
            prop_assert!(compare((&key, at), (&next, crate::types::SEQNO_MAX)).is_lt());
            prop_assert!(key.len() <= last.len().max(next.len()));
        }

        #[test]
        fn hostile_meta_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_meta(&bytes);
        }
    }

    #[test]
    fn versions_of_one_key_are_separated_by_their_number() {
        assert_eq!(separator((b"k", 7), b"k"), (b"k".to_vec(), 7));
        assert_eq!(separator((b"apple", 7), b"banana"), (b"b".to_vec(), 0));
        assert_eq!(separator((b"a", 7), b"c"), (b"b".to_vec(), 0));
    }
}

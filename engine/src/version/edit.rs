//! One record of the manifest: what changes from one version to the next.
//!
//! - All changes of an edit become true together.
//! - The first edit of a manifest is a whole picture: applied to nothing it gives everything.
//! - The counter grows by one with each edit of the store, across manifests.
//!
//! ```text
//! edit:  | counter u64 | session [16] | field | ...
//! field: | tag u8 | contents by tag |
//!   1 table added     level u8, table meta      6 next file number  varint
//!   2 table removed   level u8, number varint   7 last seqno        varint
//!   3 wal added       number varint, salt [32]  8 annex set         key bytes, value bytes
//!   4 wal closed      number, records varint    9 annex removed     key bytes
//!   5 wal removed     number varint                 10 spent seqno     varint
//! ```

use alloc::vec::Vec;

use crate::codec::{Reader, put_bytes, put_varint};
use crate::error::{Error, Result};
use crate::table::TableMeta;
use crate::types::SeqNo;

/// How many levels there are.
pub const LEVEL_COUNT: usize = 7;

/// Changes to the annex: a key and its new value, or none to remove it.
pub type AnnexUpdates = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A change of the set of live files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct VersionEdit {
    pub(crate) counter: u64,
    pub(crate) session: [u8; 16],
    pub(crate) added: Vec<(usize, TableMeta)>,
    pub(crate) removed: Vec<(usize, u64)>,
    /// New logs with the salt of their files.
    pub(crate) wals_added: Vec<(u64, [u8; 32])>,
    /// Logs that ended cleanly after so many records.
    pub(crate) wals_closed: Vec<(u64, u64)>,
    pub(crate) wals_removed: Vec<u64>,
    pub(crate) next_number: Option<u64>,
    pub(crate) last_seqno: Option<SeqNo>,
    /// No tombstone newer than this one has gone for good.
    pub(crate) spent_seqno: Option<SeqNo>,
    pub(crate) annex: AnnexUpdates,
}

impl VersionEdit {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.counter.to_le_bytes());
        out.extend_from_slice(&self.session);
        for (level, number) in &self.removed {
            out.extend_from_slice(&[2, *level as u8]);
            put_varint(&mut out, *number);
        }
        for (level, meta) in &self.added {
            out.extend_from_slice(&[1, *level as u8]);
            meta.encode(&mut out);
        }
        for (number, salt) in &self.wals_added {
            out.push(3);
            put_varint(&mut out, *number);
            out.extend_from_slice(salt);
        }
        for (number, record_count) in &self.wals_closed {
            out.push(4);
            put_varint(&mut out, *number);
            put_varint(&mut out, *record_count);
        }
        for number in &self.wals_removed {
            out.push(5);
            put_varint(&mut out, *number);
        }
        let numbers = [
            (6, self.next_number),
            (7, self.last_seqno),
            (10, self.spent_seqno),
        ];
        for (tag, number) in numbers {
            if let Some(number) = number {
                out.push(tag);
                put_varint(&mut out, number);
            }
        }
        for (key, value) in &self.annex {
            out.push(if value.is_some() { 8 } else { 9 });
            put_bytes(&mut out, key);
            if let Some(value) = value {
                put_bytes(&mut out, value);
            }
        }
        out
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let mut edit = Self {
            counter: reader.u64()?,
            session: reader.array()?,
            ..Self::default()
        };
        while !reader.is_empty() {
            edit.decode_field(&mut reader)
                .map_err(|error| error.part("version edit"))?;
        }
        Ok(edit)
    }

    fn decode_field(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        match reader.u8()? {
            1 => self
                .added
                .push((level(reader)?, TableMeta::decode(reader)?)),
            2 => self.removed.push((level(reader)?, reader.varint()?)),
            3 => self.wals_added.push((reader.varint()?, reader.array()?)),
            4 => self.wals_closed.push((reader.varint()?, reader.varint()?)),
            5 => self.wals_removed.push(reader.varint()?),
            6 => self.next_number = Some(reader.varint()?),
            7 => self.last_seqno = Some(reader.varint()?),
            8 => self
                .annex
                .push((reader.bytes()?.to_vec(), Some(reader.bytes()?.to_vec()))),
            10 => self.spent_seqno = Some(reader.varint()?),
            9 => self.annex.push((reader.bytes()?.to_vec(), None)),
            _ => return Err(Error::unsupported("unknown field")),
        }
        Ok(())
    }
}

fn level(reader: &mut Reader<'_>) -> Result<usize> {
    let level = usize::from(reader.u8()?);
    if level < LEVEL_COUNT {
        Ok(level)
    } else {
        Err(Error::corruption("no such level"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn sample() -> VersionEdit {
        let meta = TableMeta {
            number: 77,
            smallest: b"a".to_vec(),
            largest: b"b".to_vec(),
            entry_count: 1 << 40,
            last_seqno: 9,
            with_digests: true,
            ..TableMeta::new(0)
        };
        VersionEdit {
            counter: 3,
            session: [5; 16],
            added: vec![(0, meta.clone()), (6, meta)],
            removed: vec![(1, 4)],
            wals_added: vec![(9, [1; 32])],
            wals_closed: vec![(8, 1000)],
            wals_removed: vec![6, 7],
            next_number: Some(u64::MAX),
            last_seqno: Some(0),
            spent_seqno: Some(8),
            annex: vec![(b"k".to_vec(), Some(b"v".to_vec())), (b"l".to_vec(), None)],
        }
    }

    #[test]
    fn edits_round_trip() {
        for edit in [VersionEdit::default(), sample()] {
            assert_eq!(VersionEdit::decode(&edit.encode()).unwrap(), edit);
        }
    }

    #[test]
    fn cut_edits_never_panic_and_unknown_fields_are_named() {
        let bytes = sample().encode();
        for cut in 0..bytes.len() {
            let _ = VersionEdit::decode(&bytes[..cut]);
        }
        let mut bytes = VersionEdit::default().encode();
        bytes.push(200);
        let error = VersionEdit::decode(&bytes).unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::Unsupported);
    }

    proptest! {
        #[test]
        fn hostile_edits_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = VersionEdit::decode(&bytes);
        }
    }
}

//! What the manifest knows of a table.
//!
//! - Enough to decide about compactions and to pass a table over without opening it.
//! - The root binds the entry to the bytes of the file: another file under the same name, or a
//!   shorter one, is found when it is opened.
//!
//! ```text
//! | number varint | len varint | root [32] | smallest key bytes | largest key bytes |
//! | entry count varint | tombstone count varint | first seqno varint | last seqno varint | flags u8 |
//! | range tombstone count varint, with flag bit 1 only |
//! ```
//! Flag bit 0: entries have digests. Flag bit 1: there are range tombstones. Flag bit 2: the file has
//! sections that point reads never touch. Flag bit 3: in the file all entries have number 0, and stand
//! for the number that the manifest names as first and last.

use alloc::vec::Vec;

use crate::codec::{Reader, put_bytes, put_varint};
use crate::entry::BOUND_LEN_MAX;
use crate::error::{Error, Result};
use crate::file::FileRoot;
use crate::types::{FileId, FileKind, SeqNo};

const FLAG_DIGESTS: u8 = 1;
const FLAG_RANGES: u8 = 2;
const FLAG_SECTIONS: u8 = 4;
const FLAG_UNNUMBERED: u8 = 8;

/// What the manifest knows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableMeta {
    /// File number.
    pub(crate) number: u64,
    /// Length and root of the file.
    pub(crate) root: FileRoot,
    /// Smallest key of its entries and range tombstones.
    pub(crate) smallest: Vec<u8>,
    /// Largest key of its entries; at or behind the last key of its range tombstones.
    pub(crate) largest: Vec<u8>,
    /// How many entries there are.
    pub(crate) entry_count: u64,
    /// How many of them are tombstones.
    pub(crate) tombstone_count: u64,
    /// Smallest sequence number.
    pub(crate) first_seqno: SeqNo,
    /// Largest sequence number.
    pub(crate) last_seqno: SeqNo,
    /// Do its entries have digests?
    pub(crate) with_digests: bool,
    /// Does its meta block lead to sections beyond those of entries?
    pub(crate) with_sections: bool,
    /// How many range tombstones there are beside the entries.
    pub(crate) range_count: u64,
    /// Do its entries get their number from the manifest?
    pub(crate) is_unnumbered: bool,
}

impl TableMeta {
    /// Of a table that holds nothing yet.
    pub(crate) const fn new(number: u64) -> Self {
        Self {
            number,
            root: FileRoot {
                len: 0,
                root: [0; 32],
            },
            smallest: Vec::new(),
            largest: Vec::new(),
            entry_count: 0,
            tombstone_count: 0,
            first_seqno: SeqNo::MAX,
            last_seqno: 0,
            with_digests: false,
            with_sections: false,
            range_count: 0,
            is_unnumbered: false,
        }
    }

    /// Do its entries have a number neither in the file nor from the manifest?
    pub(crate) const fn lacks_number(&self) -> bool {
        self.is_unnumbered && self.last_seqno == 0
    }

    /// The number of its entries, where they have none of their own; else 0.
    pub(crate) const fn base_seqno(&self) -> SeqNo {
        if self.is_unnumbered {
            self.last_seqno
        } else {
            0
        }
    }

    /// The file.
    pub(crate) const fn file(&self) -> FileId {
        FileId::new(FileKind::Table, self.number)
    }

    /// Are there range tombstones?
    pub(crate) const fn has_ranges(&self) -> bool {
        self.range_count > 0
    }

    /// May `key` be in the table?
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        *self.smallest <= *key && *key <= *self.largest
    }

    /// May keys of `smallest..=largest` be in the table?
    pub(crate) fn overlaps(&self, smallest: &[u8], largest: &[u8]) -> bool {
        *self.smallest <= *largest && *smallest <= *self.largest
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.number);
        put_varint(out, self.root.len);
        out.extend_from_slice(&self.root.root);
        put_bytes(out, &self.smallest);
        put_bytes(out, &self.largest);
        put_varint(out, self.entry_count);
        put_varint(out, self.tombstone_count);
        put_varint(out, self.first_seqno);
        put_varint(out, self.last_seqno);
        let digests = if self.with_digests { FLAG_DIGESTS } else { 0 };
        let ranges = if self.has_ranges() { FLAG_RANGES } else { 0 };
        let sections = if self.with_sections { FLAG_SECTIONS } else { 0 };
        let unnumbered = if self.is_unnumbered {
            FLAG_UNNUMBERED
        } else {
            0
        };
        out.push(digests | ranges | sections | unnumbered);
        if self.has_ranges() {
            put_varint(out, self.range_count);
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let mut meta = Self {
            number: reader.varint()?,
            root: FileRoot {
                len: reader.varint()?,
                root: reader.array()?,
            },
            smallest: reader.bytes()?.to_vec(),
            largest: reader.bytes()?.to_vec(),
            entry_count: reader.varint()?,
            tombstone_count: reader.varint()?,
            first_seqno: reader.varint()?,
            last_seqno: reader.varint()?,
            with_digests: false,
            with_sections: false,
            range_count: 0,
            is_unnumbered: false,
        };
        let flags = reader.u8()?;
        if flags & !(FLAG_DIGESTS | FLAG_RANGES | FLAG_SECTIONS | FLAG_UNNUMBERED) != 0 {
            return Err(Error::unsupported("unknown flags of a table"));
        }
        meta.with_digests = flags & FLAG_DIGESTS != 0;
        meta.with_sections = flags & FLAG_SECTIONS != 0;
        meta.is_unnumbered = flags & FLAG_UNNUMBERED != 0;
        let is_one = meta.first_seqno == meta.last_seqno && flags & FLAG_RANGES == 0;
        if meta.is_unnumbered && !is_one {
            return Err(Error::corruption("entries without numbers have several"));
        }
        if flags & FLAG_RANGES != 0 {
            meta.range_count = reader.varint()?;
            if meta.range_count == 0 {
                return Err(Error::corruption(
                    "a table without range tombstones claims some",
                ));
            }
        }
        if meta.smallest > meta.largest || meta.largest.len() > BOUND_LEN_MAX {
            return Err(Error::corruption("key range of a table makes no sense"));
        }
        Ok(meta)
    }
}

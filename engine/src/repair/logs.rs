//! What a log holds, as far as it can be read, in pieces that are taken whole or not at all.
//!
//! - Nobody vouches for where the log ends: what it knew durable is taken; what follows only where
//!   all that it points at is there.
//! - Every number is looked at before anything of a piece is taken.

use alloc::vec::Vec;

use crate::block::BlockKind;
use crate::env::OpenMode;
use crate::error::{Error, Result};
use crate::file::open_file;
use crate::hook::{IndirectHook, leads_somewhere};
use crate::log::{LogEnd, LogReader, Record};
use crate::manifest::Place;
use crate::types::{FileId, SEQNO_MAX, SeqNo};
use crate::wal::{batches, group_len};

/// The records of a log, up to its end or to what cannot be read.
pub(super) struct Salvaged {
    records: Vec<Record>,
    durable_count: u32,
    /// Why there are no more, where that is not their end.
    error: Option<Error>,
}

impl Salvaged {
    /// Reads log `id`.
    ///
    /// # Errors
    /// Where not even its header can be read.
    pub(super) fn read(place: &Place, id: FileId) -> Result<Self> {
        let (env, keys) = (&place.env, &*place.keys);
        let (file, context) = open_file(env, keys, id, place.store_id, OpenMode::Read)?;
        let mut log = LogReader::new(file, context, BlockKind::WalRecord, LogEnd::Open)?;
        let mut records = Vec::new();
        let error = loop {
            match log.next() {
                Ok(Some(record)) => records.push(record),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        Ok(Self {
            records,
            durable_count: log.durable_count(),
            error,
        })
    }

    /// Hands out the records that belong together, group by group, up to the end of history.
    ///
    /// # Errors
    /// What the log broke off with, those of `take`, and of the medium.
    pub(super) fn for_each_group(
        self,
        hook: Option<&dyn IndirectHook>,
        mut take: impl FnMut(&[Record]) -> Result<()>,
    ) -> Result<()> {
        let mut rest = self.records.as_slice();
        while let Some(record) = rest.first() {
            let Some(group_len) = group_len(rest)? else {
                break;
            };
            let (group, behind) = rest.split_at(group_len);
            check_group(group)?;
            let is_durable = record.ordinal < self.durable_count;
            if !is_durable && !leads_somewhere(hook, group)? {
                break;
            }
            take(group)?;
            rest = behind;
        }
        self.error.map_or(Ok(()), Err)
    }
}

/// Every entry is what was written, and the sequence numbers are without gaps.
fn check_group(group: &[Record]) -> Result<()> {
    let mut next = None;
    for batch in group.iter().flat_map(batches) {
        let batch = batch?;
        let mut count = 0;
        for entry in batch.entries() {
            entry?.verify()?;
            count += 1;
        }
        if count != batch.count || count == 0 {
            let message = "a batch has another length than it says";
            return Err(Error::corruption(message).part("batch"));
        }
        let is_next = next.is_none_or(|next| next == batch.first);
        let last = last_of(batch.first, count).filter(|_| batch.first > 0 && is_next);
        let Some(last) = last else {
            let message = "a batch has numbers that do not follow those before it";
            return Err(Error::corruption(message).part("batch"));
        };
        next = Some(last + 1);
    }
    Ok(())
}

/// The last of `count` sequence numbers, if there can be so many.
fn last_of(first: SeqNo, count: u32) -> Option<SeqNo> {
    let last = first.checked_add(u64::from(count))?.checked_sub(1)?;
    (last < SEQNO_MAX).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::WriteBatch;
    use crate::crypto::NoKeys;
    use crate::env::mem::{self, MemFs};
    use crate::error::ErrorKind;
    use crate::file::create_file;
    use crate::log::LogWriter;
    use crate::options::BlockTransform;
    use crate::types::{FileKind, StoreId};
    use alloc::sync::Arc;
    use alloc::vec;

    /// A log with these records, and what `for_each_group` takes of it.
    fn taken(payloads: &[Vec<u8>]) -> Result<Vec<usize>> {
        let place = Place {
            env: mem::env_over(MemFs::new(), 1),
            keys: Arc::new(NoKeys),
            store_id: StoreId([3; 16]),
            transform: BlockTransform::PLAIN,
        };
        let id = FileId::new(FileKind::Wal, 7);
        let (env, keys, transform) = (&place.env, &*place.keys, place.transform);
        let (file, context) = create_file(env, keys, id, place.store_id, transform).unwrap();
        let mut log = LogWriter::new(file, context, BlockKind::WalRecord);
        for payload in payloads {
            log.append(payload).unwrap();
        }
        log.write_out().unwrap();
        let mut lens = Vec::new();
        let read = Salvaged::read(&place, id)?.for_each_group(None, |group| {
            lens.push(group.len());
            Ok(())
        });
        read.map(|()| lens.clone()).map_err(|error| {
            assert_eq!(lens, [], "{error}");
            error
        })
    }

    fn parts(len_max: usize) -> Vec<Vec<u8>> {
        let mut batch = WriteBatch::new();
        for key in 0..20 {
            batch.put(&[key], b"a value");
        }
        let encoded = |part: crate::batch::BatchRef<'_>| {
            let mut payload = Vec::new();
            part.encode(true, &mut payload);
            payload
        };
        batch.parts(5, len_max).map(encoded).collect()
    }

    /// Nothing of a batch is taken where a later part of it is damaged, or gone.
    #[test]
    fn a_long_batch_is_taken_whole_or_not_at_all() {
        let whole = parts(120);
        assert!(whole.len() > 2);
        assert_eq!(taken(&whole).unwrap(), [whole.len()]);
        assert_eq!(taken(&whole[..whole.len() - 1]).unwrap(), []);
        for index in 0..whole.len() {
            let mut damaged = whole.clone();
            let last = damaged[index].len() - 1;
            damaged[index][last] ^= 1;
            taken(&damaged).unwrap_err();
        }
        let mut reordered = whole;
        reordered.swap(0, 1);
        taken(&reordered).unwrap_err();
    }

    #[test]
    fn hostile_numbers_are_refused() {
        for first in [0, SEQNO_MAX, u64::MAX - 3, u64::MAX] {
            let mut payloads = parts(usize::MAX);
            payloads[0][..8].copy_from_slice(&u64::to_le_bytes(first));
            let error = taken(&payloads).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{first}");
        }
        let mut other_count = parts(usize::MAX);
        other_count[0][8] ^= 1;
        taken(&other_count).unwrap_err();
        assert_eq!(taken(&[vec![]]).unwrap(), [1]);
    }
}

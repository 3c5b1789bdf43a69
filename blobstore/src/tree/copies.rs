//! Copying values from key to key without copying their bytes.
//!
//! - A pointer is given to a second key only while its file is marked as shared, while it is the pointer
//!   of the first key, and while nobody empties the file: all three hold from the look to the write.
//! - Where a file is being emptied, the copy gets bytes of its own.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use coffer_engine::{Error, FileId, FileKind, KeyKind, Result, Value, WriteBatch};

use crate::blobfile::Effort;
use crate::pointer::BlobPointer;
use crate::tree::batch::{BlobBatch, Claims, Operation, Place, Staged, put_staged};
use crate::tree::read::missing_file;
use crate::tree::{Core, Gate};

/// What a copied key gets.
enum Source {
    Inline(Vec<u8>),
    Pointer(Vec<u8>, BlobPointer),
}

impl BlobBatch {
    /// Is any value copied?
    pub(super) fn has_copies(&self) -> bool {
        let mut operations = self.operations.iter();
        operations.any(|(_, operation)| matches!(operation, Operation::Copy(_)))
    }
}

impl Core {
    /// Writes a batch in which values are copied.
    pub(super) fn write_copies(&self, mut batch: BlobBatch, sync: bool) -> Result<()> {
        for (_, operation) in &mut batch.operations {
            if let Operation::Put(value) = operation {
                let staged = self.stage(value, Effort::Normal)?;
                *operation = Operation::PutStaged(staged);
            }
        }
        let mut marked = BTreeSet::new();
        loop {
            let gate = self.gate.read();
            let sources = self.sources(&batch)?;
            let unmarked = self.unmarked(&sources, &gate);
            if unmarked.is_empty() {
                let (entries, claims) = self.resolved(batch, sources, &gate)?;
                return self.commit_within(gate, entries, claims, sync);
            }
            drop(gate);
            self.files.share(&unmarked)?;
            if let Some(number) = unmarked.intersection(&marked).next() {
                // Marking did not help: there is no such file, and the pointer stays.
                return Err(missing_file(*number));
            }
            marked = unmarked;
        }
    }

    /// The values to be copied, in the order of the batch.
    fn sources(&self, batch: &BlobBatch) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        for (_, operation) in &batch.operations {
            let Operation::Copy(from) = operation else {
                continue;
            };
            let Some(Value { kind, bytes, .. }) = self.db.get(from, None)? else {
                return Err(Error::invalid("a key to copy from has no value"));
            };
            sources.push(match kind {
                KeyKind::Indirect => {
                    let pointer = BlobPointer::decode(&bytes)?;
                    Source::Pointer(bytes, pointer)
                }
                _ => Source::Inline(bytes),
            });
        }
        Ok(sources)
    }

    /// Files to be marked before their values are shared.
    fn unmarked(&self, sources: &[Source], gate: &Gate<'_>) -> BTreeSet<u64> {
        let file_of = |source: &Source| match source {
            Source::Pointer(_, pointer) => Some(pointer.file),
            Source::Inline(_) => None,
        };
        let files: BTreeSet<u64> = sources.iter().filter_map(file_of).collect();
        let is_unmarked = |number: &u64| !gate.contains(number) && !self.files.is_shared(*number);
        files.into_iter().filter(is_unmarked).collect()
    }

    fn resolved(
        &self,
        batch: BlobBatch,
        sources: Vec<Source>,
        gate: &Gate<'_>,
    ) -> Result<(WriteBatch, Claims)> {
        let mut entries = WriteBatch::new();
        let mut claims = Claims::new();
        let mut sources = sources.into_iter();
        for (key, operation) in batch.operations {
            match operation {
                Operation::Delete => entries.delete(&key),
                Operation::DeleteRange(end) => entries.delete_range(&key, &end),
                Operation::Put(value) => entries.put(&key, &value),
                Operation::PutStaged(staged) => put_staged(&mut entries, &mut claims, &key, staged),
                Operation::Copy(_) => match sources.next().expect("one for each copy") {
                    Source::Inline(value) => entries.put(&key, &value),
                    Source::Pointer(_, pointer) if gate.contains(&pointer.file) => {
                        let moved = self.moved(&pointer)?;
                        put_staged(&mut entries, &mut claims, &key, moved);
                    }
                    Source::Pointer(encoded, _) => entries.put_indirect(&key, &encoded),
                },
            }
        }
        Ok((entries, claims))
    }

    /// The value with bytes of its own.
    fn moved(&self, pointer: &BlobPointer) -> Result<Staged> {
        let staged = self.files.copy(pointer)?;
        let file = FileId::new(FileKind::Blob, pointer.file);
        let lost = || Error::corruption("a value to copy cannot be read").in_file(file);
        Ok(Staged(Place::Blob(staged.ok_or_else(lost)?)))
    }
}

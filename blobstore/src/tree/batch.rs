//! Writing: values are staged first, then a batch of keys becomes visible at once.
//!
//! - Staging needs no lock that another stager holds for long: many threads may stage.
//! - A staged value that never gets into a batch is garbage when it is dropped.
//! - A value counts as living from the moment when the tree has its pointer: before any sync.

use alloc::vec::Vec;

use coffer_engine::{Result, WriteBatch, WriteOptions};

use crate::blobfile::{Claim, Effort, SYNC_AHEAD_LEN, StagedFrames};
use crate::tree::{BlobTree, Core, Gate};

/// A value that is sealed and appended already, or small enough to stay in the tree.
pub struct Staged(pub(super) Place);

pub(super) enum Place {
    Inline(Vec<u8>),
    Blob(StagedFrames),
}

impl Staged {
    /// Bytes of the value.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.0 {
            Place::Inline(value) => value.len() as u64,
            Place::Blob(staged) => staged.pointer.shape.raw_len,
        }
    }

    /// Is it a value without bytes?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Operations that become visible, and survive, all together or not at all.
#[derive(Default)]
pub struct BlobBatch {
    pub(super) operations: Vec<(Vec<u8>, Operation)>,
}

pub(super) enum Operation {
    Delete,
    /// Up to this key, which stays.
    DeleteRange(Vec<u8>),
    Put(Vec<u8>),
    PutStaged(Staged),
    /// The value of this key.
    Copy(Vec<u8>),
}

impl BlobBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value`; a large value is sealed when the batch is written.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.operations
            .push((key.to_vec(), Operation::Put(value.to_vec())));
    }

    /// Sets `key` to a value that was staged before, in the same tree.
    pub fn put_staged(&mut self, key: &[u8], staged: Staged) {
        self.operations
            .push((key.to_vec(), Operation::PutStaged(staged)));
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, key: &[u8]) {
        self.operations.push((key.to_vec(), Operation::Delete));
    }

    /// Removes all keys from `start` on, up to `end`, which stays: one small entry, however many
    /// keys there are. Their values become garbage as compactions pass them.
    pub fn delete_range(&mut self, start: &[u8], end: &[u8]) {
        let operation = Operation::DeleteRange(end.to_vec());
        self.operations.push((start.to_vec(), operation));
    }

    /// Sets `to` to the value that `from` has when the batch is written, before its other operations. A
    /// large value lies in the store once, however many keys have it, and as long as one of them does.
    pub fn copy(&mut self, from: &[u8], to: &[u8]) {
        self.operations
            .push((to.to_vec(), Operation::Copy(from.to_vec())));
    }

    /// Number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Is there nothing to do?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

/// Values in blob files that a batch brings, and how many bytes they take.
pub(super) type Claims = Vec<(Claim, u64)>;

pub(super) fn put_staged(
    entries: &mut WriteBatch,
    claims: &mut Claims,
    key: &[u8],
    staged: Staged,
) {
    match staged.0 {
        Place::Inline(value) => entries.put(key, &value),
        Place::Blob(StagedFrames { pointer, claim }) => {
            entries.put_indirect(key, &pointer.encode());
            claims.push((claim, pointer.disk_len()));
        }
    }
}

impl Core {
    fn is_inline(&self, value: &[u8]) -> bool {
        value.len() <= self.files.options().inline_len_max as usize
    }

    pub(super) fn stage(&self, value: &[u8], effort: Effort) -> Result<Staged> {
        if self.is_inline(value) {
            return Ok(Staged(Place::Inline(value.to_vec())));
        }
        self.files
            .stage(value, effort)
            .map(|staged| Staged(Place::Blob(staged)))
    }

    pub(super) fn write(&self, batch: BlobBatch, sync: bool) -> Result<()> {
        if batch.has_copies() {
            return self.write_copies(batch, sync);
        }
        let mut entries = WriteBatch::new();
        let mut claims = Claims::new();
        for (key, operation) in batch.operations {
            let staged = match operation {
                Operation::Delete => {
                    entries.delete(&key);
                    continue;
                }
                Operation::DeleteRange(end) => {
                    entries.delete_range(&key, &end);
                    continue;
                }
                Operation::Put(value) => self.stage(&value, Effort::Normal)?,
                Operation::PutStaged(staged) => staged,
                Operation::Copy(_) => unreachable!("written elsewhere"),
            };
            put_staged(&mut entries, &mut claims, &key, staged);
        }
        self.commit(entries, claims, sync)
    }

    /// One key: a value that stays in the tree is copied once, into the batch.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        if !self.is_inline(value) {
            return self.put_large(key, value);
        }
        self.settle_between()?;
        let mut entries = WriteBatch::new();
        entries.put(key, value);
        self.commit(entries, Claims::new(), false)
    }

    pub(super) fn commit(&self, entries: WriteBatch, claims: Claims, sync: bool) -> Result<()> {
        self.commit_within(self.gate.read(), entries, claims, sync)
    }

    /// Commits with the gate held.
    pub(super) fn commit_within(
        &self,
        gate: Gate<'_>,
        entries: WriteBatch,
        claims: Claims,
        sync: bool,
    ) -> Result<()> {
        let last = self.db.write(entries, WriteOptions::default())?;
        // The tree knows the values now, whatever becomes of the sync.
        let mut behind = false;
        for (claim, disk_len) in claims {
            behind |= claim.writer().unsynced_len() >= SYNC_AHEAD_LEN;
            claim.settle(disk_len);
        }
        drop(gate);
        if behind {
            self.db.wake();
        }
        if sync || self.files.options().sync_writes {
            self.db.sync_to(last)?;
        }
        Ok(())
    }
}

impl BlobTree {
    /// Applies a batch. Visible when this returns; durable then only if `sync` is set.
    ///
    /// # Errors
    /// `Poisoned`, `NoSpace`, `Invalid` for a key or batch beyond the engine's bounds, and where a key to
    /// copy from has no value; those of the medium. Where a sync fails, the batch may be visible, and is not durable.
    pub fn write(&self, batch: BlobBatch, sync: bool) -> Result<()> {
        self.core.settle_told()?;
        self.core.write(batch, sync)
    }

    /// Seals `value` now and appends it to the active blob file, if it is large; it becomes visible
    /// by a batch. May be called from many threads at once.
    ///
    /// # Errors
    /// `Poisoned`, `NoSpace`; those of the medium.
    pub fn stage(&self, value: &[u8]) -> Result<Staged> {
        self.core.stage(value, Effort::Normal)
    }

    /// As [`BlobTree::stage`], with less work on compression where `effort` says so.
    ///
    /// # Errors
    /// As [`BlobTree::stage`].
    pub fn stage_with(&self, value: &[u8], effort: Effort) -> Result<Staged> {
        self.core.stage(value, effort)
    }

    /// A value that stays in the tree, however long it is: for values that are synced at once, which then
    /// takes one sync of the log and none of a blob file. The log holds it as it is, so it should be short.
    #[must_use]
    pub fn stage_inline(&self, value: &[u8]) -> Staged {
        Staged(Place::Inline(value.to_vec()))
    }

    /// Sets `key` to `value`. Everybody sees it when this returns. Of several large values put in a row
    /// some may still have to be sealed, which all calls that follow see to before they do anything else.
    ///
    /// # Errors
    /// As [`BlobTree::write`]. What keeps such a value from being sealed after all is told by the next call that
    /// writes, syncs or closes, on any thread, once for all values that it struck: all that was put since the last sync may
    /// have to be put again. A sync or close that succeeds vouches for all that nobody was told of.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.core.put(key, value)
    }

    /// Removes `key`, if it is there.
    ///
    /// # Errors
    /// As [`BlobTree::write`].
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        let mut batch = BlobBatch::new();
        batch.delete(key);
        self.write(batch, false)
    }
}

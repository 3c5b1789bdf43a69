//! Deleting what belonged to inodes without names and users.
//!
//! - The mark `O` is in the tree before the last name goes, and goes last: a reaping that was
//!   interrupted is finished after the next mount.
//! - Deletions come in bounded batches; one batch takes many small inodes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use coffer_blobstore::BlobBatch;

use crate::attr::Ino;
use crate::errno::FsResult;
use crate::extent::chunk_count;
use crate::inode::State;
use crate::key;
use crate::volume::Volume;
use crate::volume::trim::DELETE_COUNT;

/// So many orphans wake the reaper.
const WAKE_COUNT: usize = 256;
/// Files of so many chunks are deleted without looking which of them there are.
const BLIND_COUNT_MAX: u64 = 64;

impl Volume {
    /// Hands an inode without name and users to the reaper.
    pub(crate) fn orphaned(self: &Arc<Self>, ino: Ino, state: &mut State) {
        self.discard(state);
        state.reaped = true;
        self.reap_later(ino);
    }

    /// Queues an orphan found in the tree.
    pub(crate) fn reap_later(self: &Arc<Self>, ino: Ino) {
        let mut orphans = self.orphans.lock();
        orphans.push_back(ino);
        if orphans.len() == WAKE_COUNT && self.pool.has_threads() {
            drop(orphans);
            let volume = Arc::clone(self);
            self.pool.submit_long(move || {
                // What could not be reaped stays queued.
                let _failed = volume.reap();
            });
        }
    }

    /// Reaps all queued orphans; those that fail are queued again.
    pub(crate) fn reap(&self) -> FsResult<()> {
        let _one_at_a_time = self.reaping.lock();
        let mut outcome = Ok(());
        let mut failed = Vec::new();
        loop {
            let mut batch = BlobBatch::new();
            let mut reaped = Vec::new();
            while batch.len() < DELETE_COUNT
                && let Some(ino) = self.next_orphan()
            {
                match self.reap_one(ino, &mut batch) {
                    Ok(()) => reaped.push(ino),
                    Err(error) => {
                        failed.push(ino);
                        outcome = Err(error);
                    }
                }
            }
            if reaped.is_empty() {
                break;
            }
            if let Err(error) = self.tree.write(batch, false) {
                failed.extend(reaped);
                outcome = Err(error.into());
                break;
            }
            for ino in reaped {
                if let Some(inode) = self.table.find(ino) {
                    self.table.remove(&inode);
                }
            }
        }
        self.orphans.lock().extend(failed);
        outcome
    }

    fn next_orphan(&self) -> Option<Ino> {
        self.orphans.lock().pop_front()
    }

    fn reap_one(&self, ino: Ino, batch: &mut BlobBatch) -> FsResult<()> {
        let known = self.in_memory(ino).map(|inode| {
            let state = inode.lock();
            let plain = state.record.patch_count == 0 && state.record.xattr_count == 0;
            (plain, chunk_count(state.content.stored_len))
        });
        match known {
            Some((true, count)) if count <= BLIND_COUNT_MAX => {
                for index in 0..count {
                    batch.delete(&key::chunk(ino, index));
                }
            }
            _ => {
                for prefix in [key::chunks(ino), key::patches(ino), key::xattrs(ino)] {
                    self.delete_all(&prefix, batch)?;
                }
            }
        }
        batch.delete(&key::inode(ino));
        batch.delete(&key::orphan(ino));
        Ok(())
    }

    /// Deletes all keys with `prefix`; the last of them with `batch`.
    fn delete_all(&self, prefix: &[u8], batch: &mut BlobBatch) -> FsResult<()> {
        let mut from = Vec::new();
        loop {
            let keys = self.keys(prefix, &from)?;
            if keys.len() < DELETE_COUNT {
                for key in &keys {
                    batch.delete(key);
                }
                return Ok(());
            }
            let mut full = BlobBatch::new();
            for key in &keys {
                full.delete(key);
            }
            self.tree.write(full, false)?;
            from = keys.into_iter().next_back().unwrap_or_default();
        }
    }
}

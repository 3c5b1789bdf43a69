//! One atomic change of several inodes and names.
//!
//! - Records change on copies, which are installed after the batch is in the tree; a failed
//!   batch changes nothing.
//! - A record is put only for an inode without unwritten content.

use coffer_blobstore::{BlobBatch, BlobTree};

use crate::attr::{Ino, Time};
use crate::errno::FsResult;
use crate::inode::{Inode, Locked, State};
use crate::key;
use crate::record::{InodeRecord, ORPHAN};

/// What becomes of the record of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The new record is put.
    Put,
    /// The inode loses its last name; its content is reaped later.
    Orphan,
    /// The inode loses its last name and the tree has nothing but its record.
    Delete,
}

/// One atomic change.
pub(super) struct Change<'a> {
    locked: Locked<'a>,
    edited: alloc::vec::Vec<(Ino, InodeRecord, Fate)>,
    pub(super) batch: BlobBatch,
    pub(super) now: Time,
}

impl<'a> Change<'a> {
    /// Locks the inodes that will change.
    pub(super) fn new(inodes: &[&'a Inode], now: Time) -> Self {
        Self {
            locked: Locked::new(inodes),
            edited: alloc::vec::Vec::new(),
            batch: BlobBatch::new(),
            now,
        }
    }

    /// The state of a locked inode, as it was.
    pub(super) fn state(&mut self, ino: Ino) -> &mut State {
        self.locked.of(ino)
    }

    fn entry(&mut self, ino: Ino) -> &mut (Ino, InodeRecord, Fate) {
        let known = self.edited.iter().position(|(number, ..)| *number == ino);
        let place = known.unwrap_or_else(|| {
            let record = self.locked.of(ino).record.clone();
            self.edited.push((ino, record, Fate::Put));
            self.edited.len() - 1
        });
        self.edited.get_mut(place).expect("found or pushed")
    }

    /// The new record of a locked inode.
    pub(super) fn record(&mut self, ino: Ino) -> &mut InodeRecord {
        &mut self.entry(ino).1
    }

    /// The inode loses its last name.
    pub(super) fn lose(&mut self, ino: Ino) {
        let state = self.locked.of(ino);
        let in_tree = state.content.stored_len > 0
            || state.record.xattr_count > 0
            || state.record.patch_count > 0;
        let entry = self.entry(ino);
        entry.1.nlink = 0;
        entry.2 = if in_tree { Fate::Orphan } else { Fate::Delete };
    }

    /// Entries came (positive) or went; so did subdirectories. The times of the directory move.
    pub(super) fn count(&mut self, dir: Ino, entries: i64, subdirectories: i32) {
        let now = self.now;
        let record = self.record(dir);
        record.size = record.size.saturating_add_signed(entries);
        record.nlink = record.nlink.saturating_add_signed(subdirectories);
        record.mtime = now;
        record.ctime = now;
    }

    /// Puts the batch into the tree, installs the new records, and gives the locks on.
    pub(super) fn commit(mut self, tree: &BlobTree) -> FsResult<Locked<'a>> {
        let mut batch = core::mem::take(&mut self.batch);
        for (ino, record, fate) in &self.edited {
            let orphan = self.locked.of(*ino).orphan;
            match fate {
                Fate::Put => {
                    batch.put(&key::inode(*ino), &record.encode());
                    if record.nlink == 0 && !orphan {
                        batch.put(&key::orphan(*ino), &ORPHAN);
                    }
                    if record.nlink > 0 && orphan {
                        batch.delete(&key::orphan(*ino));
                    }
                }
                Fate::Orphan => batch.put(&key::orphan(*ino), &ORPHAN),
                Fate::Delete => batch.delete(&key::inode(*ino)),
            }
        }
        tree.write(batch, false)?;
        for (ino, record, fate) in self.edited {
            let state = self.locked.of(ino);
            match fate {
                Fate::Put => {
                    state.changed = false;
                    state.stored = true;
                    state.orphan = record.nlink == 0;
                }
                Fate::Orphan => state.orphan = true,
                Fate::Delete => state.stored = false,
            }
            state.record = record;
        }
        Ok(self.locked)
    }
}

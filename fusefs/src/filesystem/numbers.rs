//! Inode numbers, given once for ever, and how many inodes there are.
//!
//! - Numbers are taken from a lease. The end of the lease is in the tree before the first number
//!   of it is used; what is left of a lease at a crash is never given.
//! - The count of inodes is exact after a clean close and is counted anew after a crash, when
//!   somebody asks.

use core::sync::atomic::{AtomicI64, Ordering};

use coffer_blobstore::{BlobBatch, BlobTree};

use crate::attr::Ino;
use crate::errno::{Errno, FsResult};
use crate::filesystem::FileSystem;
use crate::key;
use crate::record::Superblock;
use crate::sync::Mutex;

/// Numbers of one lease.
const LEASE_COUNT: u64 = 4096;

/// Inode numbers.
pub(super) struct Numbers {
    lease: Mutex<Lease>,
    /// Inodes at the open, if known.
    counted: Mutex<Option<u64>>,
    /// Inodes made less inodes removed since then.
    change: AtomicI64,
}

struct Lease {
    next: Ino,
    /// As the tree has it.
    superblock: Superblock,
}

impl Lease {
    fn put(&mut self, tree: &BlobTree, superblock: Superblock) -> FsResult<()> {
        let mut batch = BlobBatch::new();
        batch.put(key::SUPERBLOCK, &superblock.encode());
        tree.write(batch, false)?;
        self.superblock = superblock;
        Ok(())
    }
}

impl Numbers {
    /// Numbers behind those that the superblock leased.
    pub(super) fn new(superblock: Superblock) -> Self {
        Self {
            lease: Mutex::new(Lease {
                next: superblock.next_ino,
                superblock,
            }),
            counted: Mutex::new(superblock.inode_count),
            change: AtomicI64::new(0),
        }
    }

    /// The counts of the superblock no longer hold: something will change.
    pub(super) fn begin(&self, tree: &BlobTree) -> FsResult<()> {
        let mut lease = self.lease.lock();
        if lease.superblock.inode_count.is_some() {
            let superblock = Superblock {
                inode_count: None,
                ..lease.superblock
            };
            lease.put(tree, superblock)?;
        }
        Ok(())
    }

    /// A number that was never given before.
    pub(super) fn take(&self, tree: &BlobTree) -> FsResult<Ino> {
        let mut lease = self.lease.lock();
        if lease.next >= lease.superblock.next_ino {
            let end = lease.next.checked_add(LEASE_COUNT);
            let superblock = Superblock {
                next_ino: end.ok_or(Errno::ENOSPC)?,
                inode_count: None,
                ..lease.superblock
            };
            lease.put(tree, superblock)?;
        }
        let ino = lease.next;
        lease.next += 1;
        Ok(ino)
    }

    /// One inode more.
    pub(super) fn made(&self) {
        self.change.fetch_add(1, Ordering::Relaxed);
    }

    /// One inode less.
    pub(super) fn removed(&self) {
        self.change.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many inodes there are. Counts them once where nobody knows.
    pub(super) fn count(&self, tree: &BlobTree) -> FsResult<u64> {
        let mut counted = self.counted.lock();
        let before = if let Some(count) = *counted {
            count
        } else {
            let change = self.change.load(Ordering::Relaxed);
            let mut count = 0_u64;
            let mut scan = tree.scan(key::INODES, &[])?;
            while scan.next()?.is_some() {
                count += 1;
            }
            let before = count.saturating_add_signed(-change);
            *counted = Some(before);
            before
        };
        Ok(before.saturating_add_signed(self.change.load(Ordering::Relaxed)))
    }
}

impl FileSystem {
    /// Notes in the superblock that everything is in order, and how many inodes there are.
    pub(super) fn store_clean(&self) -> FsResult<()> {
        let numbers = &self.numbers;
        let known = *numbers.counted.lock();
        let change = numbers.change.load(Ordering::Relaxed);
        let count = known.map(|count| count.saturating_add_signed(change));
        let mut lease = numbers.lease.lock();
        // The rest of the lease is given back.
        let superblock = Superblock {
            next_ino: lease.next,
            inode_count: count,
            ..lease.superblock
        };
        lease.put(&self.volume.tree, superblock)
    }
}

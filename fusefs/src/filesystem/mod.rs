//! The file system: POSIX over the keys of a blob tree, without a word about FUSE.
//!
//! - Every method takes `&self` and may be called from several threads.
//! - Every change of the namespace is one atomic batch of the tree, parent times included.
//! - Locks are taken in this order: renames, names of directories (ancestors first), states of
//!   inodes (ascending number), everything else. No lock of an inode is held during a sync.

mod attributes;
mod change;
mod directory;
mod files;
mod handles;
mod lists;
mod make;
mod names;
mod numbers;
mod ranges;
mod remove;
mod rename;
mod space;
mod unnamed;
mod xattr;

use alloc::sync::Arc;
use core::time::Duration;

use coffer_blobstore::{BlobBatch, BlobTree, Error};

use crate::attr::{Kind, ROOT, Time};
use crate::errno::{Errno, FsError, FsResult};
use crate::key::{self, NameKey};
use crate::options::MountOptions;
use crate::record::{InodeRecord, Superblock};
use crate::sync::Mutex;
use crate::volume::Volume;

use handles::Handles;
use names::References;
use numbers::Numbers;

/// A mounted file system.
pub struct FileSystem {
    volume: Arc<Volume>,
    name_key: NameKey,
    numbers: Numbers,
    references: References,
    handles: Handles,
    /// Held while a name moves between directories.
    renames: Mutex<()>,
    /// When the last sync by age began.
    synced_at: Mutex<Duration>,
}

impl FileSystem {
    /// Opens the file system in `tree`, whose environment gives time and threads; formats an empty tree (unless read-only); reaps what was
    /// unlinked but open when the last mount ended.
    ///
    /// # Errors
    /// `EINVAL` where a tree for reading only is empty; errors of the store.
    pub fn open(tree: Arc<BlobTree>, options: MountOptions) -> FsResult<Self> {
        let superblock = match tree.get(key::SUPERBLOCK)? {
            Some(bytes) => Superblock::decode(&bytes)?,
            None => format(&tree, &options)?,
        };
        let volume = Arc::new(Volume::new(tree, options));
        let fs = Self {
            numbers: Numbers::new(superblock),
            name_key: NameKey::new(superblock.name_seed),
            volume,
            references: References::default(),
            handles: Handles::default(),
            renames: Mutex::default(),
            synced_at: Mutex::default(),
        };
        fs.volume.inode(ROOT).map_err(|error| match error.errno() {
            Errno::ESTALE => Error::corruption("the root directory is missing").into(),
            _ => error,
        })?;
        if !options.read_only {
            fs.numbers.begin(&fs.volume.tree)?;
            fs.find_orphans()?;
        }
        Ok(fs)
    }

    fn find_orphans(&self) -> FsResult<()> {
        let mut scan = self.volume.tree.scan(key::ORPHANS, &[])?;
        let mut found = false;
        while let Some((key, _)) = scan.next()? {
            let ino = key::number_at(&key, 1).filter(|_| key.len() == 9);
            let ino =
                ino.ok_or_else(|| Error::corruption("the key of an orphan makes no sense"))?;
            self.volume.reap_later(ino);
            found = true;
        }
        if found {
            let volume = Arc::clone(&self.volume);
            self.volume.pool.submit_long(move || {
                // What cannot be reaped stays queued for the next tick.
                let _failed = volume.reap();
            });
        }
        Ok(())
    }

    /// Writes out what is older than the limit, makes everything durable when that was last done
    /// as long ago, and reaps what nobody refers to any more. To be called about once a second.
    ///
    /// # Errors
    /// Those of the sync.
    pub fn tick(&self) -> FsResult<()> {
        if self.volume.must_be_writable().is_err() {
            return Ok(());
        }
        self.volume.write_out_old();
        // What cannot be reaped stays queued for the next tick.
        let _failed = self.volume.reap();
        self.volume.reclaim();
        let now = self.volume.tree.env().clock.monotonic();
        let mut synced_at = self.synced_at.lock();
        let age = Duration::from_millis(self.volume.options.dirty_age_ms_max);
        if now.saturating_sub(*synced_at) < age {
            return Ok(());
        }
        *synced_at = now;
        drop(synced_at);
        Ok(self.volume.tree.sync()?)
    }

    /// Writes out everything and makes it durable.
    ///
    /// # Errors
    /// The first failure of a write-out, after everything was tried; errors of the sync.
    pub fn sync_all(&self) -> FsResult<()> {
        if self.volume.options.read_only {
            return Ok(());
        }
        let written = self.volume.write_out_all();
        self.volume.tree.sync()?;
        written
    }

    /// Writes out everything, makes it durable, stops the workers, closes the tree. Every later
    /// change is `EIO`.
    ///
    /// # Errors
    /// The first failure; everything else was done as far as possible.
    pub fn close(&self) -> FsResult<()> {
        let mut outcome = Ok(());
        if !self.volume.options.read_only {
            outcome = self.volume.write_out_all();
        }
        self.volume.pool.stop();
        if self.volume.must_be_writable().is_ok() {
            let reaped = self.volume.reap().and_then(|()| self.store_clean());
            outcome = outcome.and(reaped);
            let synced = self.volume.tree.sync().map_err(FsError::from);
            outcome = outcome.and(synced);
        }
        self.volume.set_closed();
        let closed = self.volume.tree.close().map_err(FsError::from);
        outcome.and(closed)
    }

    /// The options of this mount.
    #[must_use]
    pub fn options(&self) -> &MountOptions {
        &self.volume.options
    }

    /// The tree beneath.
    #[must_use]
    pub fn tree(&self) -> &Arc<BlobTree> {
        &self.volume.tree
    }
}

impl Drop for FileSystem {
    /// Ends the threads; writes nothing.
    fn drop(&mut self) {
        self.volume.set_closed();
        self.volume.pool.stop();
    }
}

/// Puts superblock and root directory into an empty tree.
fn format(tree: &BlobTree, options: &MountOptions) -> FsResult<Superblock> {
    if options.read_only {
        let error = Error::invalid("there is no file system yet; mount it for writing first");
        return Err(error.into());
    }
    if tree.scan(&[], &[])?.next()?.is_some() {
        return Err(Error::corruption("the superblock is missing").into());
    }
    let mut seed = [0; 8];
    tree.env().entropy.fill(&mut seed)?;
    let superblock = Superblock {
        next_ino: ROOT + 1,
        name_seed: u64::from_le_bytes(seed),
        inode_count: None,
    };
    let root = InodeRecord {
        parent: ROOT,
        ..InodeRecord::new(
            Kind::Directory,
            options.root_mode,
            options.root_uid,
            options.root_gid,
            Time::from(tree.env().clock.now()),
        )
    };
    let mut batch = BlobBatch::new();
    batch.put(key::SUPERBLOCK, &superblock.encode());
    batch.put(&key::inode(ROOT), &root.encode());
    tree.write(batch, true)?;
    Ok(superblock)
}

#[cfg(test)]
mod tests;

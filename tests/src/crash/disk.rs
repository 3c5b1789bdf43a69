//! What a medium holds: what reads see, what would survive the power, and what lies in between.
//!
//! - A disk is cheap to copy: contents are shared until one of the copies changes them.
//! - What reads see is the page cache; what survives is the disk. They differ where nothing was
//!   synced, where a sync failed, and where a write went astray.

use coffer_engine::FileId;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::random::Rng;

const SECTOR_LEN: usize = 512;

/// A file: its directory and its name there.
pub(super) type Name = (u32, FileId);

/// One change of the medium; files go by the number of their creation.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Create(Name, usize),
    Remove(Name),
    Rename(Name, Name),
    Append(usize, Arc<[u8]>),
    WriteAt(usize, u64, Arc<[u8]>),
    /// An append at this offset that the disk puts somewhere else; the seed says where.
    Astray(usize, u64, Arc<[u8]>, u64),
    Truncate(usize, u64),
    Sync(usize),
    FailedSync(usize),
    SyncDir(u32),
    FailedSyncDir(u32),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) live: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    dirty: Vec<Range<usize>>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(Name, usize),
    Unset(Name),
    Move(Name, Name, usize),
}

impl NameChange {
    const fn directory(&self) -> u32 {
        match self {
            Self::Set(name, _) | Self::Unset(name) | Self::Move(name, ..) => name.0,
        }
    }

    fn apply(&self, names: &mut BTreeMap<Name, usize>) {
        match self {
            Self::Set(name, inode) => drop(names.insert(*name, *inode)),
            Self::Unset(name) => drop(names.remove(name)),
            Self::Move(from, to, inode) => {
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(*to, *inode);
            }
        }
    }
}

/// What the medium holds, and what of it would survive.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) inodes: Vec<Inode>,
    pub(super) live: BTreeMap<Name, usize>,
    durable: BTreeMap<Name, usize>,
    pending: Vec<NameChange>,
}

impl Disk {
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Create(name, inode) => {
                let len = self.inodes.len().max(inode + 1);
                self.inodes.resize(len, Inode::default());
                self.live.insert(*name, *inode);
                self.pending.push(NameChange::Set(*name, *inode));
            }
            Change::Remove(name) => {
                self.live.remove(name);
                self.pending.push(NameChange::Unset(*name));
            }
            Change::Rename(from, to) => {
                if let Some(inode) = self.live.remove(from) {
                    self.live.insert(*to, inode);
                    self.pending.push(NameChange::Move(*from, *to, inode));
                }
            }
            Change::Append(inode, bytes) => self.inodes[*inode].append(bytes),
            Change::WriteAt(inode, offset, bytes) => {
                self.inodes[*inode].write_at(*offset as usize, bytes);
            }
            Change::Astray(inode, offset, bytes, seed) => {
                self.inodes[*inode].show_at(*offset as usize, bytes);
                self.write_astray(bytes, *seed);
            }
            Change::Truncate(inode, len) => self.inodes[*inode].truncate(*len as usize),
            Change::Sync(inode) => self.inodes[*inode].sync(),
            Change::FailedSync(inode) => self.inodes[*inode].dirty.clear(),
            Change::SyncDir(directory) => {
                let durable = &mut self.durable;
                self.pending.retain(|change| {
                    let is_here = change.directory() == *directory;
                    if is_here {
                        change.apply(durable);
                    }
                    !is_here
                });
            }
            Change::FailedSyncDir(directory) => {
                let is_elsewhere = |change: &NameChange| change.directory() != *directory;
                self.pending.retain(is_elsewhere);
            }
        }
    }

    /// The disk holds the bytes in some other place, over whatever was there, or nowhere.
    fn write_astray(&mut self, bytes: &[u8], seed: u64) {
        let mut rng = Rng::new(seed);
        let victims: Vec<usize> = self.durable.values().copied().collect();
        if victims.is_empty() || rng.chance(25) {
            return;
        }
        let victim = Arc::make_mut(&mut self.inodes[*rng.pick(&victims)].durable);
        let start = rng.below(victim.len() / SECTOR_LEN + 1) * SECTOR_LEN;
        let end = victim.len().min(start + bytes.len());
        victim[start..end].copy_from_slice(&bytes[..end - start]);
    }

    /// Turns one bit of what would survive, in a file that has any bytes; the seed says which.
    pub(super) fn rot(&mut self, seed: u64) -> Option<Name> {
        let mut rng = Rng::new(seed);
        let is_victim = |(_, inode): &(&Name, &usize)| !self.inodes[**inode].durable.is_empty();
        let victims: Vec<(Name, usize)> = self
            .durable
            .iter()
            .filter(is_victim)
            .map(|(name, inode)| (*name, *inode))
            .collect();
        if victims.is_empty() {
            return None;
        }
        let (name, inode) = *rng.pick(&victims);
        let inode = &mut self.inodes[inode];
        let at = rng.below(inode.durable.len());
        let bit = 1 << rng.below(8);
        Arc::make_mut(&mut inode.durable)[at] ^= bit;
        if let Some(byte) = Arc::make_mut(&mut inode.live).get_mut(at) {
            *byte ^= bit;
        }
        Some(name)
    }

    pub(super) fn crash(&self, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut names = self.durable.clone();
        // All lost, all kept, a prefix, or each by itself.
        let mode = rng.below(4);
        let kept = rng.below(self.pending.len() + 1);
        for (index, change) in self.pending.iter().enumerate() {
            let happens = match mode {
                0 => false,
                1 => true,
                2 => index < kept,
                _ => rng.chance(50),
            };
            if happens {
                change.apply(&mut names);
            }
        }
        let mut after = Self::default();
        for (name, inode) in names {
            let bytes = self.inodes[inode].crash(&mut rng);
            after.live.insert(name, after.inodes.len());
            after.inodes.push(Inode {
                live: Arc::clone(&bytes),
                durable: bytes,
                dirty: Vec::new(),
            });
        }
        after.durable = after.live.clone();
        after
    }
}

impl Inode {
    fn append(&mut self, bytes: &[u8]) {
        let start = self.live.len();
        Arc::make_mut(&mut self.live).extend_from_slice(bytes);
        self.dirty.push(start..start + bytes.len());
    }

    fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        let written = self.show_at(offset, bytes);
        self.dirty.push(written);
    }

    /// Lets reads see the bytes, and nothing else.
    fn show_at(&mut self, offset: usize, bytes: &[u8]) -> Range<usize> {
        let end = offset + bytes.len();
        let live = Arc::make_mut(&mut self.live);
        live.resize(live.len().max(end), 0);
        live[offset..end].copy_from_slice(bytes);
        let keep = |range: &Range<usize>| {
            let (before, after) = (
                range.start..range.end.min(offset),
                range.start.max(end)..range.end,
            );
            [before, after]
                .into_iter()
                .filter(|range| !range.is_empty())
        };
        self.dirty = self.dirty.iter().flat_map(keep).collect();
        offset..end
    }

    fn truncate(&mut self, len: usize) {
        Arc::make_mut(&mut self.live).truncate(len);
    }

    fn sync(&mut self) {
        let live = &self.live;
        if self.dirty.is_empty() && self.durable.len() == live.len() {
            return;
        }
        let durable = Arc::make_mut(&mut self.durable);
        durable.resize(live.len(), 0);
        for range in self.dirty.drain(..) {
            let range = range.start.min(live.len())..range.end.min(live.len());
            durable[range.clone()].copy_from_slice(&live[range]);
        }
    }

    fn crash(&self, rng: &mut Rng) -> Arc<Vec<u8>> {
        let (low, high) = (
            self.live.len().min(self.durable.len()),
            self.live.len().max(self.durable.len()),
        );
        // Nothing, everything, or something of what was not synced.
        let mode = rng.below(4);
        let len = match mode {
            0 => self.durable.len(),
            1 => self.live.len(),
            _ => low + rng.below(high - low + 1),
        };
        if self.dirty.is_empty() && len == self.durable.len() {
            return Arc::clone(&self.durable);
        }
        let mut out = self.durable.to_vec();
        out.resize(high, 0);
        for range in &self.dirty {
            let range = range.start.min(self.live.len())..range.end.min(self.live.len());
            let mut at = range.start;
            while at < range.end {
                let next = ((at / SECTOR_LEN + 1) * SECTOR_LEN).min(range.end);
                let new = match mode {
                    0 => false,
                    1 => true,
                    // A prefix, as a log that grows usually leaves it.
                    2 => at < len,
                    _ => rng.chance(50),
                };
                if new {
                    out[at..next].copy_from_slice(&self.live[at..next]);
                }
                at = next;
            }
        }
        out.truncate(len);
        Arc::new(out)
    }
}

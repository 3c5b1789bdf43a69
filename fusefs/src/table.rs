//! The inodes in memory, bounded in number.
//!
//! - There is at most one [`Inode`] per number, so its locks exclude everybody.
//! - Only an inode that nobody else holds and that is not pinned is dropped; what it knew is in
//!   the tree then.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::{BuildHasherDefault, Hasher};
use std::collections::HashMap;

use crate::attr::Ino;
use crate::inode::Inode;
use crate::sync::{Mutex, MutexGuard};

const SHARD_COUNT: u64 = 16;
const TRIES_MAX: usize = 8;

/// Spreads inode numbers, which are not chosen by anyone who would want them to collide.
#[derive(Default)]
pub(crate) struct InoHasher(u64);

impl Hasher for InoHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }
}

/// A map from inode numbers.
pub(crate) type InoMap<T> = HashMap<Ino, T, BuildHasherDefault<InoHasher>>;

/// The inodes in memory.
pub(crate) struct Table {
    shards: Vec<Mutex<Shard>>,
    shard_count_max: usize,
}

#[derive(Default)]
struct Shard {
    inodes: InoMap<Entry>,
    /// Candidates for eviction; one whose ticket is not that of the entry is void.
    order: VecDeque<(Ino, u64)>,
    next_ticket: u64,
}

struct Entry {
    inode: Arc<Inode>,
    ticket: u64,
}

impl Table {
    /// A table that keeps about `count_max` inodes beyond the pinned ones.
    pub(crate) fn new(count_max: usize) -> Self {
        Self {
            shards: (0..SHARD_COUNT).map(|_| Mutex::default()).collect(),
            shard_count_max: count_max / SHARD_COUNT as usize + 1,
        }
    }

    fn shard(&self, ino: Ino) -> MutexGuard<'_, Shard> {
        let number = usize::try_from(ino % SHARD_COUNT).unwrap_or(0);
        self.shards.get(number).expect("a remainder").lock()
    }

    /// The inode; one that is still to be loaded where it was not here.
    pub(crate) fn find_or_insert(&self, ino: Ino) -> Arc<Inode> {
        let mut shard = self.shard(ino);
        if let Some(entry) = shard.inodes.get(&ino) {
            entry.inode.set_used(true);
            return Arc::clone(&entry.inode);
        }
        let inode = Arc::new(Inode::unloaded(ino));
        shard.insert(Arc::clone(&inode), self.shard_count_max);
        inode
    }

    /// The inode, if it is here.
    pub(crate) fn find(&self, ino: Ino) -> Option<Arc<Inode>> {
        let shard = self.shard(ino);
        let entry = shard.inodes.get(&ino)?;
        Some(Arc::clone(&entry.inode))
    }

    /// Puts in a new inode.
    pub(crate) fn insert(&self, inode: Arc<Inode>) {
        let count_max = self.shard_count_max;
        self.shard(inode.ino).insert(inode, count_max);
    }

    /// Drops this very inode.
    pub(crate) fn remove(&self, inode: &Arc<Inode>) {
        let mut shard = self.shard(inode.ino);
        if shard
            .inodes
            .get(&inode.ino)
            .is_some_and(|found| Arc::ptr_eq(&found.inode, inode))
        {
            shard.inodes.remove(&inode.ino);
        }
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().inodes.len())
            .sum()
    }
}

impl Shard {
    fn insert(&mut self, inode: Arc<Inode>, count_max: usize) {
        let mut tries = 0;
        while self.inodes.len() >= count_max && tries < TRIES_MAX {
            tries += 1;
            let Some((ino, ticket)) = self.order.pop_front() else {
                break;
            };
            let Some(entry) = self.inodes.get(&ino).filter(|old| old.ticket == ticket) else {
                continue;
            };
            let held = Arc::strong_count(&entry.inode) > 1
                || entry.inode.set_used(false)
                || entry.inode.try_lock().is_none_or(|state| state.is_pinned());
            if held {
                self.order.push_back((ino, ticket));
            } else {
                self.inodes.remove(&ino);
            }
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.order.push_back((inode.ino, ticket));
        self.inodes.insert(inode.ino, Entry { inode, ticket });
        if self.order.len() > 2 * self.inodes.len() + 64 {
            let inodes = &self.inodes;
            self.order
                .retain(|(ino, ticket)| inodes.get(ino).is_some_and(|old| old.ticket == *ticket));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded_and_keeps_what_is_held() {
        let table = Table::new(160);
        let held = table.find_or_insert(3);
        let pinned = table.find_or_insert(4);
        pinned.lock().changed = true;
        drop(pinned);
        for ino in 10..10_000 {
            table.find_or_insert(ino);
        }
        assert!(table.count() <= 200, "{}", table.count());
        assert!(Arc::ptr_eq(&held, &table.find_or_insert(3)));
        assert!(table.find(4).is_some_and(|inode| inode.lock().changed));
        table.remove(&held);
        assert!(table.find(3).is_none());
        assert!(!table.find_or_insert(3).is_ready());
    }
}

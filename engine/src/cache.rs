//! The block cache: plaintext blocks by file and offset, bounded in bytes.
//!
//! - A file number is never reused, so a block in the cache never goes stale.
//! - Eviction is a clock: each hit gives a block another round, metadata gets more rounds.
//! - Readers that miss the same block at the same time wait for the first one, who reads it.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::error::Result;
use crate::sync::{Condvar, Mutex};

const SHARD_COUNT: usize = 16;

/// What one slot costs beyond the bytes of its block.
const SLOT_LEN: usize = 96;

/// How many rounds of the clock a block survives unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounds {
    /// Data.
    Data = 1,
    /// Index and filter: each serves many reads.
    Metadata = 3,
}

/// Where a block lies: file number and offset.
type Key = (u64, u64);

struct Slot<V> {
    key: Key,
    value: Arc<V>,
    len: usize,
    rounds: u8,
    rounds_max: u8,
}

struct Shard<V> {
    index: BTreeMap<Key, usize>,
    slots: Vec<Slot<V>>,
    hand: usize,
    len: usize,
    /// Values that somebody reads at this moment.
    flights: BTreeMap<Key, Arc<Flight<V>>>,
}

/// A value on its way.
struct Flight<V> {
    landed: Mutex<Landed<V>>,
    landing: Condvar,
}

enum Landed<V> {
    NotYet,
    Here(Arc<V>),
    /// The reader failed, or is gone.
    Never,
}

impl<V> Flight<V> {
    fn wait(&self) -> Option<Arc<V>> {
        let mut landed = self.landed.lock();
        loop {
            match &*landed {
                Landed::Here(value) => return Some(Arc::clone(value)),
                Landed::Never => return None,
                Landed::NotYet => landed = self.landing.wait(&self.landed, landed),
            }
        }
    }
}

/// Ends a flight, whatever becomes of its reader.
struct Reading<'a, V> {
    cache: &'a Cache<V>,
    key: Key,
    flight: Arc<Flight<V>>,
}

impl<V> Drop for Reading<'_, V> {
    fn drop(&mut self) {
        self.cache.shard(self.key).lock().flights.remove(&self.key);
        let mut landed = self.flight.landed.lock();
        if matches!(*landed, Landed::NotYet) {
            *landed = Landed::Never;
        }
        drop(landed);
        self.flight.landing.notify_all();
    }
}

/// A cache of shared values of known length.
pub(crate) struct Cache<V> {
    shards: Vec<Mutex<Shard<V>>>,
    shard_len_max: usize,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl<V> Cache<V> {
    /// A cache of `len_max` bytes; 0 keeps nothing.
    pub(crate) fn new(len_max: usize) -> Self {
        let shard = || Shard {
            index: BTreeMap::new(),
            slots: Vec::new(),
            hand: 0,
            len: 0,
            flights: BTreeMap::new(),
        };
        Self {
            shards: (0..SHARD_COUNT).map(|_| Mutex::new(shard())).collect(),
            shard_len_max: len_max / SHARD_COUNT,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    fn shard(&self, key: Key) -> &Mutex<Shard<V>> {
        let mixed = (key.0 ^ key.1.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &self.shards[(mixed >> 60) as usize % SHARD_COUNT]
    }

    pub(crate) fn find(&self, file: u64, offset: u64) -> Option<Arc<V>> {
        let key = (file, offset);
        let mut shard = self.shard(key).lock();
        let found = shard.index.get(&key).copied().and_then(|slot| {
            let slot = shard.slots.get_mut(slot)?;
            slot.rounds = slot.rounds_max;
            Some(Arc::clone(&slot.value))
        });
        drop(shard);
        let counter = if found.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// The value of `key`; where it is not there, `read` makes it, once for all who ask meanwhile.
    /// `len` says how long a value is.
    pub(crate) fn find_or_read(
        &self,
        file: u64,
        offset: u64,
        rounds: Rounds,
        len: impl FnOnce(&V) -> usize,
        read: impl FnOnce() -> Result<V>,
    ) -> Result<Arc<V>> {
        if let Some(found) = self.find(file, offset) {
            return Ok(found);
        }
        let key = (file, offset);
        let mut shard = self.shard(key).lock();
        // Somebody may have been faster since.
        if let Some(slot) = shard
            .index
            .get(&key)
            .and_then(|&slot| shard.slots.get(slot))
        {
            return Ok(Arc::clone(&slot.value));
        }
        let under_way = shard.flights.get(&key).map(Arc::clone);
        let Some(flight) = under_way else {
            let flight = Arc::new(Flight {
                landed: Mutex::new(Landed::NotYet),
                landing: Condvar::new(),
            });
            shard.flights.insert(key, Arc::clone(&flight));
            drop(shard);
            let reading = Reading {
                cache: self,
                key,
                flight,
            };
            let value = Arc::new(read()?);
            self.insert(file, offset, &value, len(&value), rounds);
            *reading.flight.landed.lock() = Landed::Here(Arc::clone(&value));
            return Ok(value);
        };
        drop(shard);
        match flight.wait() {
            Some(value) => Ok(value),
            None => read().map(Arc::new),
        }
    }

    /// Keeps `value` of `len` bytes, unless it is larger than a shard.
    pub(crate) fn insert(
        &self,
        file: u64,
        offset: u64,
        value: &Arc<V>,
        len: usize,
        rounds: Rounds,
    ) {
        let key = (file, offset);
        let len = len + SLOT_LEN;
        if len > self.shard_len_max {
            return;
        }
        let mut shard = self.shard(key).lock();
        if shard.index.contains_key(&key) {
            return;
        }
        while shard.len + len > self.shard_len_max {
            shard.evict_one();
        }
        let rounds_max = rounds as u8;
        let slot = shard.slots.len();
        shard.slots.push(Slot {
            key,
            value: Arc::clone(value),
            len,
            rounds: 0,
            rounds_max,
        });
        shard.index.insert(key, slot);
        shard.len += len;
    }

    /// Is it there? No hit, no miss, no further round.
    pub(crate) fn contains(&self, file: u64, offset: u64) -> bool {
        let key = (file, offset);
        self.shard(key).lock().index.contains_key(&key)
    }

    /// Does it have room for anything?
    pub(crate) const fn keeps_anything(&self) -> bool {
        self.shard_len_max > SLOT_LEN
    }

    /// Forgets all blocks of a file that is gone.
    pub(crate) fn forget(&self, file: u64) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            while let Some(slot) = shard.index.range((file, 0)..=(file, u64::MAX)).next() {
                let slot = *slot.1;
                shard.remove(slot);
            }
        }
    }

    /// Bytes in use.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len).sum()
    }

    /// Hits and misses so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (
            self.hits.load(Ordering::Relaxed),
            self.misses.load(Ordering::Relaxed),
        )
    }
}

impl<V> Shard<V> {
    /// Turns the hand until a block has no round left. Ends: each step takes a round or a block.
    fn evict_one(&mut self) {
        loop {
            if self.slots.is_empty() {
                return;
            }
            self.hand %= self.slots.len();
            let slot = &mut self.slots[self.hand];
            if slot.rounds == 0 {
                return self.remove(self.hand);
            }
            slot.rounds -= 1;
            self.hand += 1;
        }
    }

    fn remove(&mut self, slot: usize) {
        let gone = self.slots.swap_remove(slot);
        self.index.remove(&gone.key);
        self.len -= gone.len;
        if let Some(moved) = self.slots.get(slot) {
            self.index.insert(moved.key, slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;

    #[test]
    fn stays_within_its_bytes_and_finds_what_it_keeps() {
        let cache = Cache::new(SHARD_COUNT * 10_000);
        for i in 0..5000_u64 {
            cache.insert(
                1,
                i,
                &Arc::new(i),
                100 + (i as usize * 37) % 900,
                Rounds::Data,
            );
            assert!(cache.len() <= SHARD_COUNT * 10_000);
            if let Some(found) = cache.find(1, i / 2) {
                assert_eq!(*found, i / 2);
            }
        }
        assert!(cache.len() > SHARD_COUNT * 7_000);
        cache.forget(1);
        assert_eq!(cache.len(), 0);
        assert!((0..5000).all(|i| cache.find(1, i).is_none()));
    }

    #[test]
    fn used_metadata_outlives_a_scan() {
        let cache = Cache::new(SHARD_COUNT * 10_000);
        cache.insert(9, 0, &Arc::new(0), 1000, Rounds::Metadata);
        for i in 0..10_000_u64 {
            assert!(cache.find(9, 0).is_some());
            cache.insert(1, i, &Arc::new(i), 1000, Rounds::Data);
        }
    }

    #[test]
    fn a_cache_of_no_bytes_keeps_nothing() {
        let cache = Cache::new(0);
        cache.insert(1, 1, &Arc::new(1), 0, Rounds::Data);
        assert!(cache.find(1, 1).is_none());
    }

    #[test]
    fn those_who_miss_together_read_once() {
        let cache = Arc::new(Cache::new(SHARD_COUNT * 10_000));
        let counts = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        let start = || {
            let (cache, counts) = (Arc::clone(&cache), Arc::clone(&counts));
            let find = move || {
                counts.0.fetch_add(1, Ordering::AcqRel);
                let read = || {
                    // Until all others have asked.
                    while counts.0.load(Ordering::Acquire) < 4 {
                        core::hint::spin_loop();
                    }
                    counts.1.fetch_add(1, Ordering::AcqRel);
                    Ok(7)
                };
                let found = cache.find_or_read(1, 2, Rounds::Data, |_| 100, read);
                assert_eq!(*found.unwrap(), 7);
            };
            crate::env::os::spawner()
                .spawn("reader", Box::new(find))
                .unwrap()
        };
        let threads: Vec<_> = (0..4).map(|_| start()).collect();
        threads.into_iter().for_each(crate::env::Task::join);
        assert_eq!(counts.1.load(Ordering::Acquire), 1);
        // A reader that fails keeps nobody waiting and leaves nothing behind.
        let failed = cache.find_or_read(
            1,
            3,
            Rounds::Data,
            |_| 100,
            || Err(crate::error::Error::io("no")),
        );
        assert!(failed.is_err());
        let again = cache.find_or_read(1, 3, Rounds::Data, |_| 100, || Ok(8));
        assert_eq!(*again.unwrap(), 8);
    }
}

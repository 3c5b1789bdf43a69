//! A cache of shared values by file and offset, bounded in bytes: of blocks, and of rows.
//!
//! - A file number is never reused, so a block in the cache never goes stale.
//! - Eviction is a clock: each hit gives a block another round, metadata up to more of them. Of blocks
//!   that nobody asked for again the newest goes first, and one in eight stays for a round: without
//!   them the cache would keep for ever what was wanted once.
//! - What readers hold for good is counted here, up to a part of the bound: the cache gets by with the rest.
//! - A cache may have a door, which lets in what is wanted for the second time.
//! - Readers that miss the same block at the same time wait for the first one, who reads it.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use hashbrown::HashTable;

use crate::block::Block;
use crate::error::Result;
use crate::sync::{Condvar, Mutex};

const SHARD_COUNT: usize = 16;

/// Readers hold one part in so many at most.
const HELD_PART: usize = 4;

/// Without a door, one new block in so many may stay for a round of the clock before anybody asks for it
/// again. With one, all of them may: the door has chosen.
const SPARED_PART: usize = 8;

/// What one slot costs beyond the bytes of its block.
const SLOT_LEN: usize = 96;

/// How many rounds of the clock a block survives unused at most: one for each hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounds {
    /// Data.
    Data = 3,
    /// Index and filter: each serves many reads.
    Metadata = 9,
}

/// Plaintext blocks.
pub type BlockCache = Cache<Block>;

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
    /// Where in `slots` a key is, by its hash.
    index: HashTable<usize>,
    slots: Vec<Slot<V>>,
    hand: usize,
    /// One new block in so many is spared.
    spared_part: usize,
    evicted_count: usize,
    len: usize,
    hit_count: u64,
    miss_count: u64,
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

/// A cache of shared values of known length, by file number and offset.
pub struct Cache<V> {
    shards: Vec<Mutex<Shard<V>>>,
    len_max: usize,
    /// Bytes that readers hold for good.
    held_len: AtomicUsize,
    /// What was wanted lately, a fingerprint in each place; empty where everything is let in.
    door: Vec<AtomicU8>,
}

/// Places of the door.
const DOOR_COUNT: usize = 1 << 16;

/// Spreads keys over shards and over the index of each.
fn hash_of(key: Key) -> u64 {
    let mixed = (key.0 ^ key.1.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

impl<V> Cache<V> {
    /// A cache of `len_max` bytes; 0 keeps nothing.
    pub(crate) fn new(len_max: usize) -> Self {
        Self::sparing(len_max, SPARED_PART)
    }

    fn sparing(len_max: usize, spared_part: usize) -> Self {
        let shard = || Shard {
            index: HashTable::new(),
            slots: Vec::new(),
            hand: 0,
            spared_part,
            evicted_count: 0,
            len: 0,
            hit_count: 0,
            miss_count: 0,
            flights: BTreeMap::new(),
        };
        Self {
            shards: (0..SHARD_COUNT).map(|_| Mutex::new(shard())).collect(),
            len_max,
            held_len: AtomicUsize::new(0),
            door: Vec::new(),
        }
    }

    /// As [`Cache::new`], with a door: see [`Cache::admits`].
    pub(crate) fn with_door(len_max: usize) -> Self {
        Self {
            door: (0..DOOR_COUNT).map(|_| AtomicU8::new(0)).collect(),
            ..Self::sparing(len_max, 1)
        }
    }

    /// Is a value worth keeping? With a door, only if it was asked about not long before: what is
    /// wanted once would drive out what is wanted often.
    pub(crate) fn admits(&self, file: u64, offset: u64) -> bool {
        let hash = hash_of((file, offset));
        let Some(place) = self.door.get(hash as usize % DOOR_COUNT) else {
            return true;
        };
        let fingerprint = (hash >> 56) as u8 | 1;
        place.swap(fingerprint, Ordering::Relaxed) == fingerprint
    }

    fn shard(&self, key: Key) -> &Mutex<Shard<V>> {
        // Other bits than those that the index of a shard looks at.
        &self.shards[(hash_of(key) >> 40) as usize % SHARD_COUNT]
    }

    /// What is kept for this place.
    #[must_use]
    pub fn find(&self, file: u64, offset: u64) -> Option<Arc<V>> {
        let key = (file, offset);
        self.shard(key).lock().find(key)
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
        let key = (file, offset);
        let mut shard = self.shard(key).lock();
        if let Some(found) = shard.find(key) {
            return Ok(found);
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
    pub fn insert(&self, file: u64, offset: u64, value: &Arc<V>, len: usize, rounds: Rounds) {
        let key = (file, offset);
        let len = len + SLOT_LEN;
        let shard_len_max = self.shard_len_max();
        if len > shard_len_max {
            return;
        }
        let mut shard = self.shard(key).lock();
        if shard.position(key).is_some() {
            return;
        }
        while shard.len + len > shard_len_max {
            shard.evict_one();
        }
        shard.push(Slot {
            key,
            value: Arc::clone(value),
            len,
            rounds: 0,
            rounds_max: rounds as u8,
        });
    }

    /// Is it there? No hit, no miss, no further round.
    #[must_use]
    pub fn contains(&self, file: u64, offset: u64) -> bool {
        let key = (file, offset);
        self.shard(key).lock().position(key).is_some()
    }

    /// Does it have room for anything?
    pub(crate) const fn keeps_anything(&self) -> bool {
        self.len_max / SHARD_COUNT > SLOT_LEN
    }

    fn shard_len_max(&self) -> usize {
        let held_len = self.held_len.load(Ordering::Relaxed);
        self.len_max.saturating_sub(held_len) / SHARD_COUNT
    }

    /// May a reader hold `len` bytes for good? They count as part of the cache until
    /// [`Cache::let_go`].
    pub(crate) fn may_hold(&self, len: usize) -> bool {
        let held_len = self.held_len.fetch_add(len, Ordering::Relaxed);
        let may = held_len + len <= self.len_max / HELD_PART;
        if !may {
            self.let_go(len);
        }
        may
    }

    /// A reader holds `len` bytes no longer.
    pub(crate) fn let_go(&self, len: usize) {
        self.held_len.fetch_sub(len, Ordering::Relaxed);
    }

    /// Forgets all blocks of a file that is gone.
    pub fn forget(&self, file: u64) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            // What is removed is replaced by the last slot, which was looked at before.
            for slot in (0..shard.slots.len()).rev() {
                if shard.slots[slot].key.0 == file {
                    shard.remove(slot);
                }
            }
        }
    }

    /// Bytes in use.
    pub(crate) fn len(&self) -> usize {
        let kept_len: usize = self.shards.iter().map(|shard| shard.lock().len).sum();
        kept_len + self.held_len.load(Ordering::Relaxed)
    }

    /// Hits and misses so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.shards.iter().fold((0, 0), |(hits, misses), shard| {
            let shard = shard.lock();
            (hits + shard.hit_count, misses + shard.miss_count)
        })
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache of {} bytes", self.len())
    }
}

impl<V> Shard<V> {
    fn position(&self, key: Key) -> Option<usize> {
        let is_it = |&slot: &usize| self.slots[slot].key == key;
        self.index.find(hash_of(key), is_it).copied()
    }

    /// The value of `key`, counted as a hit or a miss.
    fn find(&mut self, key: Key) -> Option<Arc<V>> {
        let Some(slot) = self.position(key) else {
            self.miss_count += 1;
            return None;
        };
        self.hit_count += 1;
        let slot = &mut self.slots[slot];
        slot.rounds = (slot.rounds + 1).min(slot.rounds_max);
        Some(Arc::clone(&slot.value))
    }

    /// REQUIRES: its key is not there.
    fn push(&mut self, slot: Slot<V>) {
        let (hash, position, slots) = (hash_of(slot.key), self.slots.len(), &self.slots);
        let rehash = |&slot: &usize| hash_of(slots[slot].key);
        self.index.insert_unique(hash, position, rehash);
        self.len += slot.len;
        self.slots.push(slot);
    }

    /// Turns the hand until a block has no round left. Ends: each step takes a round or a block.
    fn evict_one(&mut self) {
        loop {
            if self.slots.is_empty() {
                return;
            }
            self.hand %= self.slots.len();
            let slot = &mut self.slots[self.hand];
            if slot.rounds == 0 {
                self.remove(self.hand);
                self.evicted_count = self.evicted_count.wrapping_add(1);
                // What was last in stands here now.
                self.hand += usize::from(self.evicted_count.is_multiple_of(self.spared_part));
                return;
            }
            slot.rounds -= 1;
            self.hand += 1;
        }
    }

    fn remove(&mut self, slot: usize) {
        let gone = self.slots.swap_remove(slot);
        self.len -= gone.len;
        let entry = self
            .index
            .find_entry(hash_of(gone.key), |&found| found == slot);
        if let Ok(entry) = entry {
            entry.remove();
        }
        if let Some(moved) = self.slots.get(slot) {
            let old = self.slots.len();
            let entry = self
                .index
                .find_mut(hash_of(moved.key), |&found| found == old);
            if let Some(position) = entry {
                *position = slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use core::sync::atomic::AtomicU64;

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
    fn a_door_lets_in_what_comes_again() {
        let cache: Cache<u64> = Cache::with_door(1 << 20);
        assert!(!cache.admits(1, 2));
        assert!(cache.admits(1, 2) && cache.admits(1, 2));
        // Many others in between: forgotten.
        let passed = (0..4 * DOOR_COUNT as u64)
            .filter(|&other| cache.admits(3, other))
            .count();
        assert!(passed < DOOR_COUNT / 8, "{passed}");
        assert!(!cache.admits(1, 2));
        assert!(Cache::<u64>::new(1).admits(1, 2), "there is no door");
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

    /// Reads a thousand of a thousand blocks from `first` on, at random; how many were there.
    fn read_at_random(cache: &Cache<u64>, first: u64, seed: &mut u64) -> usize {
        let read = |_: &u64| {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = first + (*seed >> 33) % 1000;
            let found = cache.find(1, key).is_some();
            if !found && cache.admits(1, key) {
                cache.insert(1, key, &Arc::new(key), 1000, Rounds::Data);
            }
            found
        };
        (0..1000).filter(read).count()
    }

    #[test]
    fn a_cache_follows_those_who_read_elsewhere() {
        let len_max = SHARD_COUNT * 80 * (1000 + SLOT_LEN);
        for cache in [Cache::new(len_max), Cache::with_door(len_max)] {
            let mut seed = 7;
            for first in [0, 1 << 20, 1 << 30] {
                let found = (0..40).map(|_| read_at_random(&cache, first, &mut seed));
                let last = found.last().unwrap();
                assert!(last > 900, "{last} from {first} on");
            }
        }
    }

    #[test]
    fn a_loop_that_nearly_fits_mostly_hits() {
        let cache = Cache::new(SHARD_COUNT * 80 * (1000 + SLOT_LEN));
        let mut found = 0;
        for turn in 0..40 {
            for key in 0..1400 {
                let hit = cache.find(1, key).is_some();
                found += usize::from(hit && turn >= 20);
                cache.insert(1, key, &Arc::new(key), 1000, Rounds::Data);
            }
        }
        assert!(found > 20 * 1400 * 7 / 10, "{found}");
    }

    #[test]
    fn what_readers_hold_counts_and_is_bounded() {
        let cache = Cache::new(SHARD_COUNT * 10_000);
        assert!(cache.may_hold(SHARD_COUNT * 2000));
        assert!(!cache.may_hold(SHARD_COUNT * 1000), "more than a quarter");
        for i in 0..5000_u64 {
            cache.insert(1, i, &Arc::new(i), 500, Rounds::Data);
        }
        assert!((SHARD_COUNT * 9_000..=SHARD_COUNT * 10_000).contains(&cache.len()));
        cache.let_go(SHARD_COUNT * 2000);
        assert!(cache.len() <= SHARD_COUNT * 8000);
        assert!(cache.may_hold(SHARD_COUNT * 1000));
        assert!(!Cache::<u64>::new(0).may_hold(1));
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

//! Decoded chunks in memory, bounded in bytes, loaded once however many readers ask.
//!
//! - What is cached is the chunk as the tree holds it. Whoever changes a chunk in the tree
//!   forgets it here afterwards; a load that was under way meanwhile learns that it is void.
//! - One loader per chunk: others wait for it.
//! - Second chance replacement; a chunk is charged with its length and a constant.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::collections::HashMap;

use crate::attr::Ino;
use crate::spares::Spares;
use crate::sync::{Condvar, Mutex};

const SHARD_COUNT: usize = 8;
const ENTRY_LEN: usize = 128;

/// Name of a chunk: inode, index, and a number that changes when all chunks are void at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ChunkId {
    pub(crate) ino: Ino,
    pub(crate) index: u64,
    pub(crate) epoch: u64,
}

/// Content of a chunk; bytes behind its end read as zeros.
pub(crate) type Chunk = Arc<Vec<u8>>;

/// The cache.
pub(crate) struct ChunkCache {
    shards: Vec<Shard>,
    /// Takes the memory of what is dropped.
    spares: Arc<Spares>,
    shard_len_max: usize,
}

#[derive(Default)]
struct Shard {
    state: Mutex<State>,
    loaded: Condvar,
}

#[derive(Default)]
struct State {
    slots: HashMap<ChunkId, Slot>,
    /// Candidates for eviction; one whose load is not that of the slot is void.
    order: VecDeque<(ChunkId, u64)>,
    len: usize,
    next_load: u64,
    /// Who waits for a load: nobody is woken where there is nobody.
    waiting: usize,
}

enum Slot {
    Loading(u64),
    Ready { chunk: Chunk, load: u64, used: bool },
}

/// What a search found.
pub(crate) enum Found<'a> {
    /// The chunk.
    Ready(Chunk),
    /// Nothing: the caller loads it.
    Load(Load<'a>),
    /// Another loads it.
    Busy,
}

/// The duty to load a chunk. Dropped unfinished, it passes to the next who asks.
pub(crate) struct Load<'a> {
    cache: &'a ChunkCache,
    id: ChunkId,
    number: u64,
}

impl ChunkCache {
    /// A cache of at most `len_max` bytes.
    pub(crate) fn new(len_max: usize, spares: Arc<Spares>) -> Self {
        Self {
            spares,
            shards: (0..SHARD_COUNT).map(|_| Shard::default()).collect(),
            shard_len_max: len_max / SHARD_COUNT,
        }
    }

    fn shard(&self, id: &ChunkId) -> &Shard {
        let mixed = (id.ino ^ id.index.rotate_left(7)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let number = usize::try_from(mixed >> 61).unwrap_or(0);
        self.shards.get(number).expect("three bits, eight shards")
    }

    /// The chunk, or the duty to load it, or neither while another loads it. To be called under
    /// the lock of the inode: what the caller knows of the chunk then holds for the load.
    pub(crate) fn find(&self, id: ChunkId) -> Found<'_> {
        let mut state = self.shard(&id).state.lock();
        match state.slots.get_mut(&id) {
            Some(Slot::Ready { chunk, used, .. }) => {
                *used = true;
                Found::Ready(Arc::clone(chunk))
            }
            Some(Slot::Loading(_)) => Found::Busy,
            None => Found::Load(self.begin(&mut state, id)),
        }
    }

    /// Waits until nobody loads the chunk.
    pub(crate) fn wait(&self, id: ChunkId) {
        let shard = self.shard(&id);
        let mut state = shard.state.lock();
        state.waiting += 1;
        while matches!(state.slots.get(&id), Some(Slot::Loading(_))) {
            state = shard.loaded.wait(state);
        }
        state.waiting -= 1;
    }

    /// The chunk, if it is here.
    pub(crate) fn peek(&self, id: ChunkId) -> Option<Chunk> {
        match self.shard(&id).state.lock().slots.get(&id) {
            Some(Slot::Ready { chunk, .. }) => Some(Arc::clone(chunk)),
            _ => None,
        }
    }

    /// Is the chunk here or on its way?
    pub(crate) fn knows(&self, id: ChunkId) -> bool {
        self.shard(&id).state.lock().slots.contains_key(&id)
    }

    fn begin(&self, state: &mut State, id: ChunkId) -> Load<'_> {
        let number = state.next_load;
        state.next_load += 1;
        state.slots.insert(id, Slot::Loading(number));
        Load {
            cache: self,
            id,
            number,
        }
    }

    /// Forgets a chunk that has changed in the tree.
    pub(crate) fn forget(&self, id: ChunkId) {
        let shard = self.shard(&id);
        let mut state = shard.state.lock();
        match state.slots.remove(&id) {
            Some(Slot::Ready { chunk, .. }) => {
                state.len -= charge(&chunk);
                self.spares.give_shared(chunk);
            }
            Some(Slot::Loading(_)) => shard.wake(&state),
            None => {}
        }
    }
}

impl Load<'_> {
    /// Hands in the chunk; false where it changed in the tree since the load began.
    pub(crate) fn finish(self, chunk: &Chunk) -> bool {
        let shard = self.cache.shard(&self.id);
        let mut state = shard.state.lock();
        let valid = self.is_mine(&state);
        if valid {
            state.len += charge(chunk);
            let slot = Slot::Ready {
                chunk: Arc::clone(chunk),
                load: self.number,
                used: false,
            };
            state.slots.insert(self.id, slot);
            state.order.push_back((self.id, self.number));
            state.shrink(self.cache.shard_len_max, &self.cache.spares);
        }
        valid
    }

    /// Is the chunk still as it was when the load began?
    pub(crate) fn is_valid(&self) -> bool {
        let shard = self.cache.shard(&self.id);
        let state = shard.state.lock();
        self.is_mine(&state)
    }

    fn is_mine(&self, state: &State) -> bool {
        matches!(state.slots.get(&self.id), Some(Slot::Loading(number)) if *number == self.number)
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        let shard = self.cache.shard(&self.id);
        let mut state = shard.state.lock();
        if self.is_mine(&state) {
            state.slots.remove(&self.id);
        }
        shard.wake(&state);
    }
}

impl Shard {
    /// Has those look again who wait for a load: a system call, so not for nobody.
    fn wake(&self, state: &State) {
        if state.waiting > 0 {
            self.loaded.notify_all();
        }
    }
}

impl State {
    fn shrink(&mut self, len_max: usize, spares: &Spares) {
        while self.len > len_max {
            let Some((id, number)) = self.order.pop_front() else {
                return;
            };
            // Another load, or none: the chunk was forgotten before.
            let Some(Slot::Ready { chunk, used, .. }) =
                self.slots.get_mut(&id).filter(|slot| slot.is_of(number))
            else {
                continue;
            };
            if *used {
                *used = false;
                self.order.push_back((id, number));
            } else {
                self.len -= charge(chunk);
                if let Some(Slot::Ready { chunk, .. }) = self.slots.remove(&id) {
                    spares.give_shared(chunk);
                }
            }
        }
        if self.order.len() > 2 * self.slots.len() + 64 {
            let slots = &self.slots;
            self.order
                .retain(|(id, number)| slots.get(id).is_some_and(|slot| slot.is_of(*number)));
        }
    }
}

impl Slot {
    fn is_of(&self, number: u64) -> bool {
        matches!(self, Self::Ready { load, .. } if *load == number)
    }
}

fn charge(chunk: &Chunk) -> usize {
    chunk.capacity() + ENTRY_LEN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extent::CHUNK_LEN;

    fn id(index: u64) -> ChunkId {
        ChunkId {
            ino: 1,
            index,
            epoch: 0,
        }
    }

    fn load(cache: &ChunkCache, index: u64, len: usize) -> bool {
        match cache.find(id(index)) {
            Found::Ready(_) | Found::Busy => false,
            Found::Load(load) => load.finish(&Arc::new(vec![7; len])),
        }
    }

    #[test]
    fn memory_is_bounded_and_used_chunks_stay() {
        let cache = ChunkCache::new(SHARD_COUNT * 10 * (1000 + ENTRY_LEN), Arc::default());
        assert!(load(&cache, 0, 1000));
        for index in 1..1000 {
            assert!(load(&cache, index, 1000));
            assert!(!load(&cache, 0, 1000), "used again and again, so it stays");
        }
        let len: usize = cache
            .shards
            .iter()
            .map(|shard| shard.state.lock().len)
            .sum();
        assert!(len <= SHARD_COUNT * 10 * (1000 + ENTRY_LEN));
        for index in 0..10_000 {
            cache.forget(id(index));
        }
        for shard in &cache.shards {
            let mut state = shard.state.lock();
            assert_eq!((state.len, state.slots.len()), (0, 0));
            state.shrink(0, &cache.spares);
            assert!(state.order.len() <= 64);
        }
    }

    #[test]
    fn memory_of_what_is_dropped_is_used_again() {
        let spares = Arc::new(Spares::default());
        let cache = ChunkCache::new(SHARD_COUNT * CHUNK_LEN * 3 / 2, Arc::clone(&spares));
        assert!(load(&cache, 0, CHUNK_LEN));
        cache.forget(id(0));
        assert!(spares.take().capacity() > 0);
        assert!((0..100).all(|index| load(&cache, index, CHUNK_LEN)));
        let count = (0..100).take_while(|_| spares.take().capacity() > 0);
        assert_eq!(count.count(), 100 - SHARD_COUNT);
    }

    #[test]
    fn a_change_voids_the_load_under_way() {
        let cache = ChunkCache::new(1 << 20, Arc::default());
        let Found::Load(first) = cache.find(id(5)) else {
            panic!("nothing is there yet");
        };
        assert!(matches!(cache.find(id(5)), Found::Busy) && cache.knows(id(5)));
        cache.forget(id(5));
        let Found::Load(second) = cache.find(id(5)) else {
            panic!("the first load is void");
        };
        assert!(!first.finish(&Arc::new(vec![1])));
        assert!(second.finish(&Arc::new(vec![2])));
        assert!(matches!(cache.find(id(5)), Found::Ready(chunk) if *chunk == [2]));
    }

    #[test]
    fn a_failed_load_passes_to_the_next() {
        let cache = ChunkCache::new(1 << 20, Arc::default());
        std::thread::scope(|scope| {
            let Found::Load(first) = cache.find(id(5)) else {
                panic!("nothing is there yet");
            };
            let waiter = scope.spawn(|| {
                cache.wait(id(5));
                load(&cache, 5, 10)
            });
            std::thread::sleep(core::time::Duration::from_millis(5));
            drop(first);
            assert!(waiter.join().unwrap());
        });
        assert!(cache.peek(id(5)).is_some());
    }
}

//! Memory of chunks that nobody needs any more, for the next ones.
//!
//! - Fresh memory costs a page fault for every 4 KiB, more than filling it, and what is freed in pieces
//!   of this length the allocator gives back to the system again and again.
//! - What is kept is bounded, and each piece is as long as a chunk.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::extent::CHUNK_LEN;
use crate::sync::Mutex;

/// Pieces kept: what one batch of a stream gives back, and some for readers.
const COUNT_MAX: usize = 96;

/// Memory that waits for its next use.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    idle: Mutex<Vec<Vec<u8>>>,
}

impl Spares {
    /// Empty, with room for a chunk where memory waits.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.idle.lock().pop().unwrap_or_default()
    }

    /// Keeps memory of the length of a chunk.
    pub(crate) fn give(&self, mut bytes: Vec<u8>) {
        if !(CHUNK_LEN..CHUNK_LEN * 2).contains(&bytes.capacity()) {
            return;
        }
        bytes.clear();
        let mut idle = self.idle.lock();
        if idle.len() < COUNT_MAX {
            idle.push(bytes);
        }
    }

    /// As [`Spares::give`], unless somebody still holds the bytes.
    pub(crate) fn give_shared(&self, bytes: Arc<Vec<u8>>) {
        if let Some(bytes) = Arc::into_inner(bytes) {
            self.give(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_chunk_is_used_again_and_nothing_else() {
        let spares = Spares::default();
        let mut chunk = Vec::with_capacity(CHUNK_LEN);
        chunk.extend_from_slice(b"old");
        let place = chunk.as_ptr();
        spares.give(chunk);
        spares.give(Vec::with_capacity(CHUNK_LEN - 1));
        spares.give(Vec::with_capacity(CHUNK_LEN * 2));
        let again = spares.take();
        assert!(again.is_empty() && again.as_ptr() == place);
        assert_eq!(spares.take().capacity(), 0);
        let shared = Arc::new(again);
        spares.give_shared(Arc::clone(&shared));
        assert_eq!(spares.take().capacity(), 0, "somebody reads it");
        spares.give_shared(shared);
        let again = spares.take();
        assert_eq!(again.as_ptr(), place);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let spares = Spares::default();
        for _ in 0..COUNT_MAX + 9 {
            spares.give(Vec::with_capacity(CHUNK_LEN));
        }
        assert_eq!(spares.idle.lock().len(), COUNT_MAX);
    }
}

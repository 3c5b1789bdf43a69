//! Coders and buffers of the calling thread.
//!
//! - Coders of zstd cannot move between threads, and making one costs more than a small frame: each
//!   thread keeps its own.
//! - A nested use gets a fresh one, so no use can see another's state.
//! - Buffers for sealed frames are kept too: fresh memory costs a page fault for every 4 KiB.

use alloc::vec::Vec;
use core::cell::Cell;

use coffer_engine::compress::Scratch;

thread_local! {
    static SCRATCH: Cell<Option<Scratch>> = const { Cell::new(None) };
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Largest buffer that a thread keeps.
const BUFFER_LEN_MAX: usize = 4 << 20;

/// Calls `work` with the scratch of this thread.
pub(crate) fn with_scratch<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let result = work(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}

/// The buffer of this thread, holding anything; give it back by [`give_buffer`].
pub(crate) fn take_buffer() -> Vec<u8> {
    BUFFER.take()
}

/// Keeps a buffer for the next use on this thread.
pub(crate) fn give_buffer(buffer: Vec<u8>) {
    if buffer.capacity() <= BUFFER_LEN_MAX {
        BUFFER.set(buffer);
    }
}

//! Coders and buffers of the calling thread.
//!
//! - Coders of zstd cannot move between threads, and making one costs more than a small frame: each
//!   thread keeps its own.
//! - A nested use gets a fresh one, so no use can see another's state.

use core::cell::Cell;

use coffer_engine::compress::Scratch;

thread_local! {
    static SCRATCH: Cell<Option<Scratch>> = const { Cell::new(None) };
}

/// Calls `work` with the scratch of this thread.
pub(crate) fn with_scratch<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let result = work(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}

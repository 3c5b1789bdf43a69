//! Bytes that a read answers with.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::{Deref, Range};

use crate::cache::Chunk;

/// Bytes that a read answers with: a view into a decoded chunk, or bytes of its own.
#[derive(Clone, Debug, Default)]
pub struct ReadData {
    bytes: Chunk,
    range: Range<usize>,
}

impl ReadData {
    /// `range` of a decoded chunk, which has all of it.
    pub(crate) fn shared(bytes: &Chunk, range: Range<usize>) -> Self {
        Self {
            bytes: Arc::clone(bytes),
            range,
        }
    }
}

impl From<Vec<u8>> for ReadData {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self {
            bytes: Arc::new(bytes),
            range,
        }
    }
}

impl Deref for ReadData {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes.get(self.range.clone()).unwrap_or_default()
    }
}

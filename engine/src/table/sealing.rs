//! Blocks on their way into a file: sealed by whichever thread has time, written in their order.
//!
//! - What comes out does not depend on who sealed it, nor on how many help.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::block::{BlockKind, FileContext, Sealed};
use crate::compress::ScratchPool;
use crate::error::Result;
use crate::table::jobs::Job;

/// A block that is to be sealed.
pub(super) type SealJob = Job<Unsealed, SealedBytes>;

/// A block as it was filled.
pub(super) struct Unsealed {
    pub(super) context: Arc<FileContext>,
    pub(super) scratches: Arc<ScratchPool>,
    pub(super) kind: BlockKind,
    pub(super) ordinal: u32,
    pub(super) plain: Vec<u8>,
}

/// A block as it goes to the file.
pub(super) struct SealedBytes {
    pub(super) sealed: Sealed,
    pub(super) disk: Vec<u8>,
    /// What was sealed: memory for the next block.
    pub(super) plain: Vec<u8>,
}

/// Compresses and seals.
pub(super) fn seal(block: Unsealed) -> Result<SealedBytes> {
    let (context, mut disk) = (&block.context, Vec::new());
    let sealed = block.scratches.with(|scratch| {
        let (kind, ordinal, plain) = (block.kind, block.ordinal, &block.plain);
        context.seal(kind, ordinal, 0, 0, &[], plain, scratch, &mut disk)
    })?;
    Ok(SealedBytes {
        sealed,
        disk,
        plain: block.plain,
    })
}

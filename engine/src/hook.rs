//! What the engine asks of the layer that keeps large values outside.
//!
//! - The engine never looks into a pointer; it tells when one is dropped, lets it be replaced,
//!   and makes sure that what a pointer leads to is durable before the pointer is.
//! - Updates of the annex that a session returns commit together with what the session saw.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::error::Result;
use crate::log::Record;
use crate::types::KeyKind;
use crate::version::AnnexUpdates;
use crate::wal::batches;

/// The layer above, as flush, compaction, sync and recovery see it.
pub trait IndirectHook: Send + Sync {
    /// Begins to watch one flush or compaction.
    fn session(&self) -> Box<dyn IndirectSession>;

    /// Is what `pointer` leads to on the medium, and whole?
    ///
    /// Asked at recovery for records of the log that were never known durable. `false` ends
    /// history before the record that holds the pointer. `true` promises that
    /// [`IndirectHook::before_flush`] makes it durable, also where a sync failed in the process that
    /// wrote it: reads may show then what the medium does not have, and only bytes that are written
    /// again will be synced.
    ///
    /// # Errors
    /// Where that cannot be found out.
    fn present(&self, pointer: &[u8]) -> Result<bool>;

    /// Makes durable what all pointers written so far lead to. Called before a sync of the log,
    /// and before a table with pointers becomes part of the store.
    ///
    /// # Errors
    /// Where the medium fails: the store is poisoned then.
    fn before_flush(&self) -> Result<()>;
}

/// Watches one flush or compaction. Dropped without `finish` when that fails: nothing happened.
pub trait IndirectSession: Send {
    /// An entry with `pointer` is left out for good.
    fn dropped(&mut self, pointer: &[u8]);

    /// An entry of `key` with `pointer` stays: with another pointer, if one is returned.
    ///
    /// # Errors
    /// Ends the compaction.
    fn relocate(&mut self, key: &[u8], pointer: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Updates of the annex that commit with this flush or compaction.
    ///
    /// # Errors
    /// Ends the compaction.
    fn finish(self: Box<Self>) -> Result<AnnexUpdates>;
}

/// Are there pointers in the records?
pub(crate) fn has_pointers(records: &[Record]) -> Result<bool> {
    for batch in records.iter().flat_map(batches) {
        for entry in batch?.entries() {
            if entry?.kind == KeyKind::Indirect {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Do all pointers of the records lead to something that is there?
pub(crate) fn leads_somewhere(hook: Option<&dyn IndirectHook>, records: &[Record]) -> Result<bool> {
    let Some(hook) = hook else {
        return Ok(true);
    };
    for batch in records.iter().flat_map(batches) {
        for entry in batch?.entries() {
            let entry = entry?;
            if entry.kind == KeyKind::Indirect && !hook.present(entry.value)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

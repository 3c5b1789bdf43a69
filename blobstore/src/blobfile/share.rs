//! Files in which several keys may point to one value.
//!
//! - A file is marked, durably, before a second key points to one of its values: from then on no account
//!   decides whether it may go.

use alloc::collections::BTreeSet;

use coffer_engine::Result;

use crate::blobfile::BlobFiles;
use crate::garbage::shared_update;

impl BlobFiles {
    /// May several keys point to one value of this file?
    pub(crate) fn is_shared(&self, number: u64) -> bool {
        let known = self.known.read();
        known.get(&number).is_some_and(|file| file.is_shared)
    }

    /// Marks files as shared, those that are known; durable on return.
    ///
    /// # Errors
    /// Those of the manifest: then none of them is marked.
    pub(crate) fn share(&self, numbers: &BTreeSet<u64>) -> Result<()> {
        let is_new = |number: &&u64| {
            let known = self.known.read();
            known.get(number).is_some_and(|file| !file.is_shared)
        };
        let new: BTreeSet<u64> = numbers.iter().filter(is_new).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        let updates = new.iter().map(|number| shared_update(*number));
        self.catalog()?.commit(updates.collect())?;
        let mut known = self.known.write();
        for number in new {
            if let Some(file) = known.get_mut(&number) {
                file.is_shared = true;
            }
        }
        Ok(())
    }
}

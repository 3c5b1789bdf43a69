//! A checkpoint: the store as it is now, in a second directory, as a store of its own.
//!
//! - Tables never change, so they are linked, not copied, where both directories lie on one medium.
//! - `CURRENT` is written last: a checkpoint that was cut short is no store, and says so.
//! - Both stores go on under the same keys and the same store id. Whatever either of them writes
//!   lies in files with salts of their own.

use alloc::sync::Arc;

use crate::db::Db;
use crate::env::Fs;
use crate::error::{Error, Result};
use crate::manifest::{Manifest, Place};
use crate::types::FileKind;

impl Db {
    /// Writes everything that is in memory to tables, then makes the empty directory `to` a store
    /// with the contents of this moment, durable on return.
    ///
    /// The annex goes along; files of the layer above, such as those that pointers lead to, do not.
    ///
    /// # Errors
    /// `Invalid` where `to` is not empty, `Locked`, those of [`Db::flush`] and of both media. What
    /// was linked before an error stays in `to`.
    pub fn checkpoint(&self, to: Arc<dyn Fs>) -> Result<()> {
        let _lock = to.lock()?;
        // Keys and blob files are the business of the layer above.
        let above = [
            FileKind::Lock,
            FileKind::Keyring,
            FileKind::Blob,
            FileKind::Aside,
        ];
        let mut files = to.list()?.into_iter();
        if let Some(id) = files.find(|id| !above.contains(&id.kind)) {
            let message = "a checkpoint needs a directory without a store";
            return Err(Error::invalid(message).in_file(id));
        }
        self.flush()?;
        // Holds the tables: their files stay while this does.
        let mut state = self.manifest.lock().state.clone();
        state.wals.clear();
        for (_, table) in state.version.tables() {
            to.link_from(&*self.env.fs, table.meta().file())?;
        }
        to.sync_dir()?;
        let number = self.allocate_number();
        state.next_number = number + 1;
        state.counter += 1;
        self.env.entropy.fill(&mut state.session)?;
        let mut place = Place::clone(&self.place);
        place.env.fs = to;
        Manifest::create(&place, number, &state).map(drop)
    }
}

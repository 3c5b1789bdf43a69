//! What only the key tells: which files there must be, how long they are, and that they are the ones meant.
//!
//! - Nothing is written: what opening a store writes stays in memory.
//! - A file that is damaged by its checksums is not reported a second time.

use alloc::sync::Arc;

use coffer_engine::env::Env;
use coffer_engine::{Error, ErrorKind, FileId, FileKind, Result};

use crate::credentials::Credential;
use crate::keyring::{COPIES, Keyring};
use crate::options::OpenOptions;
use crate::scrub::overlay::Overlay;
use crate::scrub::{FileReport, ScrubReport};
use crate::tree::BlobTree;

impl ScrubReport {
    /// Opens the store with its key, without a write, and adds what is missing, cut short or not the
    /// file that the store means.
    ///
    /// # Errors
    /// `Authentication` for a wrong credential, `Locked`, those of the medium. Everything else is in the
    /// report.
    pub fn add_named(&mut self, env: &Env, credential: &Credential) -> Result<()> {
        let env = Env {
            fs: Overlay::over(Arc::clone(&env.fs)),
            ..env.clone()
        };
        let mut keyring = match Keyring::open(&env, credential) {
            Err(error) if error.kind() == ErrorKind::Corruption => {
                self.add(error.in_file(COPIES[0]));
                return Ok(());
            }
            keyring => keyring?,
        };
        let opening = OpenOptions {
            background: false,
            ..OpenOptions::default()
        };
        match BlobTree::open_with_keyring(env, &mut keyring, &opening) {
            Ok(tree) => tree.check_files()?.into_iter().for_each(|at| self.add(at)),
            Err(error) => match error.kind() {
                ErrorKind::Corruption | ErrorKind::Authentication => self.add(error),
                _ => return Err(error),
            },
        }
        Ok(())
    }

    /// Adds a fault to the file that it names, unless that is known to be lost.
    fn add(&mut self, error: Error) {
        let current = FileId::new(FileKind::Current, 0);
        let id = error.place().file.unwrap_or(current);
        let known = self.files.iter().position(|file| file.id == id);
        let index = known.unwrap_or_else(|| {
            self.files.push(FileReport {
                is_missing: true,
                ..FileReport::new(id)
            });
            self.files.len() - 1
        });
        if let Some(file) = self.files.get_mut(index)
            && (file.is_missing || !file.is_lost())
        {
            file.fault.get_or_insert(error);
        }
    }
}

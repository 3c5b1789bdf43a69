//! Verify: opens everything that a key leads to, with the key of the store, and writes nothing.
//!
//! - Where a scrub finds damaged bytes, this finds lost values, and files whose account is wrong.
//! - Pointers of older versions may still be counted as live, so an account may say more than is found
//!   and never less.

use alloc::vec::Vec;

use coffer_engine::{Error, FileId, FileKind, KeyKind, Result};

use crate::garbage::Ledger;
use crate::pointer::BlobPointer;
use crate::scratch::with_scratch;
use crate::tree::census::Census;
use crate::tree::read::missing_file;
use crate::tree::{BlobTree, Core};

/// What a verification found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Keys.
    pub key_count: u64,
    /// Bytes of all values.
    pub value_len: u64,
    /// Keys whose value cannot be read, and why.
    pub damaged: Vec<(Vec<u8>, Error)>,
    /// Blob files in which more lives than their account says.
    pub miscounted: Vec<FileId>,
    /// Why the walk over the keys ended before the last one.
    pub interrupted: Option<Error>,
}

impl VerifyReport {
    /// Is every value there, and every account right?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty() && self.miscounted.is_empty() && self.interrupted.is_none()
    }
}

impl BlobTree {
    /// Reads and opens every current value; `progress` hears of the report as it grows.
    ///
    /// # Errors
    /// Where it cannot begin. What it finds is in the report.
    pub fn verify(&self, progress: &mut dyn FnMut(&VerifyReport)) -> Result<VerifyReport> {
        self.core.settle();
        self.core.verify(progress)
    }

    /// Is every file that the store names there, with the length and identity that it knows? Reads all
    /// tables, and of blob files only what nothing but a pointer vouches for.
    ///
    /// # Errors
    /// Where it cannot begin. What it finds is in the answer.
    pub(crate) fn check_files(&self) -> Result<Vec<Error>> {
        self.core.settle();
        self.core.check_files()
    }
}

impl Core {
    fn check_files(&self) -> Result<Vec<Error>> {
        let _pin = self.pins.take();
        let ledger = Ledger::read(&self.db.annex())?;
        let readers = ledger.files.keys().map(|number| self.files.reader(*number));
        let mut faults: Vec<_> = readers.filter_map(Result::err).collect();
        let mut cursor = self.db.prefix(&[], None)?;
        loop {
            let entry = match cursor.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => return Ok(faults),
                Err(error) => {
                    faults.push(error);
                    return Ok(faults);
                }
            };
            if entry.kind == KeyKind::Indirect
                && let Err(error) = self.check_end(&entry.value)
            {
                faults.push(error);
            }
        }
    }

    /// Of a file that a crash left unfinished only pointers know how far it must reach.
    fn check_end(&self, encoded: &[u8]) -> Result<()> {
        let pointer = BlobPointer::decode(encoded)?;
        if self.files.is_inherited(pointer.file) && !self.files.is_present(&pointer)? {
            let message = "a value that the store names is not whole in this file";
            return Err(
                Error::corruption(message).in_file(FileId::new(FileKind::Blob, pointer.file))
            );
        }
        Ok(())
    }

    fn verify(&self, progress: &mut dyn FnMut(&VerifyReport)) -> Result<VerifyReport> {
        let _pin = self.pins.take();
        let ledger = Ledger::read(&self.db.annex())?;
        let mut cursor = self.db.prefix(&[], None)?;
        let mut report = VerifyReport::default();
        let mut live = Census::default();
        loop {
            let entry = match cursor.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(error) => {
                    report.interrupted = Some(error);
                    break;
                }
            };
            report.key_count += 1;
            if entry.kind != KeyKind::Indirect {
                report.value_len += entry.value.len() as u64;
            } else if let Err(error) = self.verify_value(&entry.value, &mut live, &mut report) {
                report.damaged.push((entry.key, error));
            }
            progress(&report);
        }
        for (number, entry) in &ledger.files {
            let found_len = live.live_len(*number);
            if entry.is_counted() && found_len > entry.live_len() {
                report.miscounted.push(FileId::new(FileKind::Blob, *number));
            }
        }
        Ok(report)
    }

    fn verify_value(
        &self,
        encoded: &[u8],
        live: &mut Census,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let pointer = BlobPointer::decode(encoded)?;
        live.add(&pointer, self.files.is_shared(pointer.file));
        report.value_len = report.value_len.saturating_add(pointer.shape.raw_len);
        let reader = self.files.reader(pointer.file)?;
        let reader = reader.ok_or_else(|| missing_file(pointer.file))?;
        with_scratch(|scratch| reader.verify(&pointer, scratch))
    }
}

//! Durability: one sync of the log for everybody who waits.
//!
//! - Who asks first leads: it writes the log out, syncs, and answers for all batches written
//!   before that; who asks meanwhile waits for the next round.
//! - What recovery left in memory is flushed by the first sync: then no log of an earlier run counts.
//! - Order: what pointers lead to, then logs that ended and the manifest that names all logs, then
//!   the log that takes writes.
//! - The manifest names a log before the first acknowledgement that rests on it, after the header
//!   of the log is durable, and knows where a log ended before the next one is named.

use alloc::vec::Vec;

use crate::db::write::RetiredWal;
use crate::db::{Db, LiveManifest};
use crate::error::Result;
use crate::types::SeqNo;
use crate::version::VersionEdit;
use crate::wal::Wal;

/// Who syncs, and up to where that was done.
pub(super) struct Syncing {
    /// Everything up to here is durable.
    synced: SeqNo,
    has_leader: bool,
}

impl Syncing {
    /// Everything up to `synced` is durable.
    pub(super) fn at(synced: SeqNo) -> Self {
        Self {
            synced,
            has_leader: false,
        }
    }
}

impl Db {
    /// Makes durable everything written before this call. Costs nothing where that is so already.
    ///
    /// # Errors
    /// `Poisoned`, and those of the medium, which poison the store.
    pub fn sync(&self) -> Result<()> {
        self.sync_to(self.last_seqno())
    }

    /// Makes durable everything up to `seqno`, as [`Db::write`] returned it.
    ///
    /// # Errors
    /// As [`Db::sync`]. `NoSpace` does not poison: what was written stays visible, and may be synced
    /// later.
    pub fn sync_to(&self, seqno: SeqNo) -> Result<()> {
        let mut syncing = self.syncing.lock();
        loop {
            if syncing.synced >= seqno {
                return Ok(());
            }
            self.check_writable()?;
            if !syncing.has_leader {
                break;
            }
            syncing = self.synced.wait(&self.syncing, syncing);
        }
        syncing.has_leader = true;
        drop(syncing);
        let result = self.lead_sync();
        let mut syncing = self.syncing.lock();
        syncing.has_leader = false;
        if let Ok(synced) = result {
            syncing.synced = syncing.synced.max(synced);
        }
        drop(syncing);
        self.synced.notify_all();
        result.map(|_| ())
    }

    /// Everything up to `seqno` is durable in tables.
    pub(super) fn mark_synced(&self, seqno: SeqNo) {
        let mut syncing = self.syncing.lock();
        syncing.synced = syncing.synced.max(seqno);
        drop(syncing);
        self.synced.notify_all();
    }

    fn lead_sync(&self) -> Result<SeqNo> {
        self.flush_recovered()?;
        let mut writer = self.writer.lock();
        let target = writer.last_seqno;
        let is_registered = writer.is_registered && writer.retired.iter().all(|wal| wal.is_closed);
        let active = match &mut writer.wal {
            Some(wal) => {
                let reserved = wal.reserve();
                let written = reserved.and_then(|()| wal.write_out());
                if wal.is_failed() {
                    self.poison();
                }
                Some((wal.number(), wal.file(), written?))
            }
            None => None,
        };
        let has_retired = !writer.retired.is_empty();
        drop(writer);
        if !is_registered && (active.is_some() || has_retired) {
            self.register_wals(&mut self.manifest.lock())?;
        } else {
            self.before_flush()?;
        }
        if let Some((number, file, record_count)) = active {
            self.poison_on(file.sync())?;
            if let Some(wal) = &mut self.writer.lock().wal
                && wal.number() == number
            {
                wal.mark_durable(record_count);
            }
        }
        Ok(target)
    }

    /// Tells the manifest which logs there are and where those that take no more batches ended.
    /// REQUIRES: what recovery left in memory is flushed.
    pub(super) fn register_wals(&self, manifest: &mut LiveManifest) -> Result<()> {
        let (retired, active) = {
            let writer = self.writer.lock();
            let active = writer.wal.as_ref().filter(|_| !writer.is_registered);
            let retired: Vec<RetiredWal> = writer
                .retired
                .iter()
                .filter(|wal| !wal.is_closed)
                .cloned()
                .collect();
            (
                retired,
                active.map(|wal| (wal.number(), wal.salt(), wal.file())),
            )
        };
        // After the list was made: a log that ends cleanly holds no pointer to what is not durable.
        self.before_flush()?;
        let mut edit = VersionEdit::default();
        for wal in &retired {
            self.poison_on(wal.file.sync())?;
            if !wal.is_registered {
                edit.wals_added.push((wal.number, wal.salt));
            }
            edit.wals_closed
                .push((wal.number, u64::from(wal.record_count)));
        }
        if let Some((number, salt, file)) = &active {
            // Its header at least must be durable before anything names it.
            self.poison_on(file.sync())?;
            edit.wals_added.push((*number, *salt));
        }
        if edit == VersionEdit::default() {
            return Ok(());
        }
        self.poison_on(self.env.fs.sync_dir())?;
        self.install(manifest, edit, |_| ())?;
        let active = active.map(|(number, ..)| number);
        let mut writer = self.writer.lock();
        for wal in &mut writer.retired {
            let closed = retired.iter().any(|done| done.number == wal.number);
            wal.is_closed |= closed;
            wal.is_registered |= closed || active == Some(wal.number);
        }
        if active.is_some() && writer.wal.as_ref().map(Wal::number) == active {
            writer.is_registered = true;
        }
        Ok(())
    }
}

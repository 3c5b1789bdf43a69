//! What a scan has the medium fetch before it is asked for.
//!
//! - Values of neighboring keys lie anywhere in the blob files, so no one below can guess what comes
//!   next: the scan knows.
//! - A second cursor goes before the first one, as far as some values or some bytes. It begins when a
//!   value was fetched from its file, so scans of keys, and of what the cache holds, pay nothing.
//! - All of it is a hint: what fails here is met again, and told, by whoever reads the value.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Bound;
use core::sync::atomic::{AtomicBool, Ordering};

use coffer_engine::{Cursor, KeyKind};

use crate::pointer::{BlobPointer, Frames};
use crate::tree::Core;

/// So many values are on their way at most.
const COUNT_MAX: usize = 64;
/// So many bytes of them, of whole values at least one.
const LEN_MAX: u64 = 4 << 20;
/// Keys looked at for each key of the scan, until the cursor is far enough ahead.
const STEP_COUNT: usize = 4;

/// Goes before a scan.
pub(super) struct Ahead {
    /// A scan that is left alone does not keep the store open.
    core: Weak<Core>,
    /// Where the scan ends.
    end: Option<Vec<u8>>,
    /// Behind the last key that was looked at.
    cursor: Option<Cursor>,
    /// Bytes of the values between the scan and the cursor.
    lens: VecDeque<u64>,
    len: u64,
}

impl Ahead {
    pub(super) fn new(core: &Arc<Core>, end: Option<Vec<u8>>) -> Self {
        Self {
            core: Arc::downgrade(core),
            end,
            cursor: None,
            lens: VecDeque::new(),
            len: 0,
        }
    }

    /// The scan stands behind `key`; was a value fetched since its last key?
    pub(super) fn passed(&mut self, key: &[u8], fetched: &AtomicBool) {
        if self.cursor.is_some() {
            match self.lens.pop_front() {
                Some(len) => self.len -= len,
                // The scan has caught up.
                None => self.cursor = None,
            }
        }
        if fetched.load(Ordering::Relaxed) {
            fetched.store(false, Ordering::Relaxed);
            self.go_on(key);
        }
    }

    fn go_on(&mut self, key: &[u8]) {
        let Some(core) = self.core.upgrade() else {
            return;
        };
        if self.cursor.is_none() {
            let end = self.end.as_deref();
            let end = end.map_or(Bound::Unbounded, Bound::Excluded);
            self.cursor = core.db.range((Bound::Excluded(key), end), None).ok();
        }
        for _ in 0..STEP_COUNT {
            if self.lens.len() >= COUNT_MAX || self.len >= LEN_MAX {
                return;
            }
            let Some(cursor) = &mut self.cursor else {
                return;
            };
            let looked = cursor.next_with(|_, kind, bytes, _| match kind {
                KeyKind::Indirect => core.will_read(bytes),
                _ => bytes.len() as u64,
            });
            let Ok(Some(len)) = looked else {
                return;
            };
            self.lens.push_back(len);
            self.len += len;
        }
    }
}

impl Core {
    /// Has the medium fetch what a pointer leads to; bytes of it on disk.
    fn will_read(&self, pointer: &[u8]) -> u64 {
        let Ok(pointer) = BlobPointer::decode(pointer) else {
            return 0;
        };
        if let (Frames::Listed(frames), Ok(Some(reader))) =
            (&pointer.frames, self.files.reader(pointer.file))
        {
            reader.will_read(self.frame_cache.as_deref(), frames);
        }
        pointer.disk_len()
    }
}

//! The cursor over what changed since a sequence number.
//!
//! - It shows entries as they are, tombstones and overwritten versions included: keys ascend, the
//!   newest entry of a key comes first.
//! - It sees the store as it was when it was made, whatever is written or compacted meanwhile.

use alloc::sync::Arc;

use crate::cursor::merge::MergeCursor;
use crate::entry::{Entry, EntryCursor};
use crate::error::Result;
use crate::types::SeqNo;
use crate::version::Version;

/// Walks what changed. See [`Db::scan_since`](crate::Db::scan_since) for what it promises.
pub struct Changes {
    merge: MergeCursor,
    /// Keeps the files of the tables.
    _version: Arc<Version>,
    since: SeqNo,
    last_seqno: SeqNo,
    is_complete: bool,
    is_started: bool,
}

impl Changes {
    pub(crate) const fn new(
        merge: MergeCursor,
        version: Arc<Version>,
        since: SeqNo,
        last_seqno: SeqNo,
        is_complete: bool,
    ) -> Self {
        Self {
            merge,
            _version: version,
            since,
            last_seqno,
            is_complete,
            is_started: false,
        }
    }

    /// Does it show every key that was deleted and not written again? Otherwise compactions have
    /// dropped tombstones that may be newer: only a full copy shows what was deleted.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The newest entry that it shows at most: where the next scan goes on.
    #[must_use]
    pub const fn last_seqno(&self) -> SeqNo {
        self.last_seqno
    }

    /// The next entry; its kind may be a tombstone.
    ///
    /// # Errors
    /// `Corruption`, `Authentication`, `Io`: bytes of the store cannot be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator cannot be asked again after an error"
    )]
    pub fn next(&mut self) -> Result<Option<Entry>> {
        if self.is_started {
            self.merge.next()?;
        } else {
            self.merge.seek_first()?;
            self.is_started = true;
        }
        while let Some(entry) = self.merge.current() {
            if entry.seqno > self.since && entry.seqno <= self.last_seqno {
                entry.verify()?;
                return Ok(Some(Entry {
                    key: entry.key.to_vec(),
                    kind: entry.kind,
                    value: entry.value.to_vec(),
                    seqno: entry.seqno,
                }));
            }
            self.merge.next()?;
        }
        Ok(None)
    }
}

//! The cursor over what changed since a sequence number.
//!
//! - It shows entries as they are, tombstones and overwritten versions included: keys ascend, the
//!   newest entry of a key comes first.
//! - It sees the store as it was when it was made, whatever is written or compacted meanwhile.

use alloc::sync::Arc;

use crate::cursor::merge::MergeCursor;
use crate::entry::{Entry, EntryCursor};
use crate::error::{Error, Result};
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
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Walking,
    /// The cursors beneath may have passed what could not be read.
    Failed,
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
            state: State::New,
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
    /// `Corruption`, `Authentication`, `Io`: bytes of the store cannot be read. The scan is over then:
    /// `Canceled` from the next call on.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator cannot be asked again after an error"
    )]
    pub fn next(&mut self) -> Result<Option<Entry>> {
        let result = self.step();
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    fn step(&mut self) -> Result<Option<Entry>> {
        match self.state {
            State::New => self.merge.seek_first()?,
            State::Walking => self.merge.next()?,
            State::Failed => {
                let message = "this scan failed and may have passed something; begin another one";
                return Err(Error::canceled(message));
            }
        }
        self.state = State::Walking;
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

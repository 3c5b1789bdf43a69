//! Space on the medium: how much of it values may take, and what is left for deleting.
//!
//! - Values leave a reserve free, so that log, manifest and tables can take deletions.
//! - Garbage collection may use half of that reserve, because it gives back more than it takes.

use core::sync::atomic::Ordering;

use coffer_engine::env::Space;
use coffer_engine::{Error, Result};

use crate::blobfile::BlobFiles;

/// Least and most bytes of the medium that values may not take.
const RESERVE_LEN: (u64, u64) = (1 << 20, 64 << 20);
/// Bytes that a new blob file takes at once, its record in the manifest included.
pub(super) const CREATE_LEN: u64 = 8 << 10;
/// Most bytes appended between two looks at the space.
const ROOM_LEN_MAX: u64 = 16 << 20;

/// What bytes of a blob file are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A value of a writer: leaves the whole reserve.
    Value,
    /// A value moved by garbage collection, which gives back more than it takes: half of the reserve.
    Move,
}

impl BlobFiles {
    /// Is there space for `len` more bytes, and some to spare for log and manifest? Without that
    /// reserve a full medium could not even take deletions.
    ///
    /// # Errors
    /// `NoSpace`; those of the medium.
    pub(super) fn check_space(&self, len: u64, purpose: Purpose) -> Result<()> {
        let take = |room: u64| room.checked_sub(len);
        if self
            .room
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
        {
            return Ok(());
        }
        let Some(room) = self.room_for(purpose)?.checked_sub(len) else {
            return Err(Error::no_space(
                "the medium is nearly full; what is left is kept for deleting: remove something first",
            ));
        };
        if purpose == Purpose::Value {
            self.room
                .store((room / 8).min(ROOM_LEN_MAX), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Bytes of the medium that may be taken now.
    fn room_for(&self, purpose: Purpose) -> Result<u64> {
        let space = self.env.fs.space()?;
        let reserve = reserve_len(space);
        Ok(space.free_len.saturating_sub(match purpose {
            Purpose::Value => reserve,
            Purpose::Move => reserve / 2,
        }))
    }

    /// Bytes that garbage collection may move now, with what goes along with them; and whether
    /// writers are refused, or will be soon.
    ///
    /// # Errors
    /// Those of the medium.
    pub(crate) fn room_to_move(&self) -> Result<(u64, bool)> {
        let space = self.env.fs.space()?;
        let room = self.room_for(Purpose::Move)?;
        let is_short = space.free_len < 2 * reserve_len(space);
        Ok((room.saturating_sub(CREATE_LEN) / 8 * 7, is_short))
    }
}

fn reserve_len(space: Space) -> u64 {
    (space.total_len / 64).clamp(RESERVE_LEN.0, RESERVE_LEN.1)
}

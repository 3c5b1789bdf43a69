//! The range tombstones of a compaction, in step with its entries.
//!
//! - `pass` is called for each key before its entries are decided about; the fragment that covers
//!   the key is then at hand.
//! - A fragment that reaches beyond the last key of an output table is cut right behind that key:
//!   what is left belongs to the next table, and their key ranges do not overlap.

use crate::compaction::retention::Retention;
use crate::error::Result;
use crate::tombstone::{Fragment, Sweep, successor};
use crate::types::SeqNo;

/// Walks range tombstones beside entries.
pub(super) struct Ranges {
    sweep: Sweep,
    /// The first fragment that ends behind the current key.
    ahead: Option<Fragment>,
}

impl Ranges {
    pub(super) fn new(mut sweep: Sweep) -> Result<Self> {
        let ahead = sweep.next()?;
        Ok(Self { sweep, ahead })
    }

    /// The next fragment that ends at or before `key`; all others, too, where there is no key.
    pub(super) fn pass(&mut self, key: Option<&[u8]>) -> Result<Option<Fragment>> {
        let is_past = |fragment: &Fragment| key.is_none_or(|key| *fragment.end <= *key);
        if !self.ahead.as_ref().is_some_and(is_past) {
            return Ok(None);
        }
        let next = self.sweep.next()?;
        Ok(core::mem::replace(&mut self.ahead, next))
    }

    /// Cuts the fragment that reaches beyond `last`; returns the part up to there.
    pub(super) fn cut_behind(&mut self, last: &[u8]) -> Result<Option<Fragment>> {
        let Some(ahead) = self.ahead.as_mut().filter(|ahead| *ahead.start <= *last) else {
            return Ok(None);
        };
        let rest = ahead.split_off(&successor(last))?;
        match rest {
            Some(rest) => Ok(self.ahead.replace(rest)),
            None => {
                let next = self.sweep.next()?;
                Ok(core::mem::replace(&mut self.ahead, next))
            }
        }
    }

    /// Is an entry of the current key hidden from everybody?
    pub(super) fn hides(&self, key: &[u8], seqno: SeqNo, retention: &Retention) -> bool {
        let covers = |fragment: &&Fragment| *fragment.start <= *key;
        let fragment = self.ahead.as_ref().filter(covers);
        fragment.is_some_and(|fragment| retention.is_hidden(seqno, fragment))
    }
}

//! Which versions of a key survive a compaction: a pure decision.
//!
//! - A version survives if some snapshot, or the present, sees it: the newest of all versions
//!   that no snapshot tells apart.
//! - A version that a range tombstone hides goes where no snapshot sees it without the tombstone.
//! - A tombstone goes when nothing older of its key can be seen: no snapshot is older than it, and
//!   no deeper level may hold the key.

use alloc::vec::Vec;

use crate::tombstone::Fragment;
use crate::types::{KeyKind, SeqNo};

/// Decides for one version after the other, newest first within each key.
pub(crate) struct Retention {
    /// Ascending.
    snapshots: Vec<SeqNo>,
    /// How many snapshots were too old for the version of this key seen last.
    group: Option<usize>,
    /// The newest tombstone that went without a newer version of its key.
    spent_seqno: SeqNo,
}

/// What becomes of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stays.
    Keep,
    /// A newer version hides it from everybody.
    Shadowed,
    /// A tombstone with nothing left to hide.
    Spent,
}

impl Retention {
    /// Decides for readers at `snapshots` and in the present.
    pub(crate) fn new(mut snapshots: Vec<SeqNo>) -> Self {
        snapshots.sort_unstable();
        Self {
            snapshots,
            group: None,
            spent_seqno: 0,
        }
    }

    /// The newest tombstone that was spent; 0 where none was.
    pub(crate) const fn spent_seqno(&self) -> SeqNo {
        self.spent_seqno
    }

    /// A new key begins.
    pub(crate) fn next_key(&mut self) {
        self.group = None;
    }

    /// Decides about the next version of the key; `may_be_below`: may deeper levels hold it?
    pub(crate) fn fate(
        &mut self,
        seqno: SeqNo,
        kind: KeyKind,
        may_be_below: impl FnOnce() -> bool,
    ) -> Fate {
        let group = self.group_of(seqno);
        if self.group == Some(group) {
            return Fate::Shadowed;
        }
        self.group = Some(group);
        if kind == KeyKind::Delete && group == 0 && !may_be_below() {
            self.spent_seqno = self.spent_seqno.max(seqno);
            return Fate::Spent;
        }
        Fate::Keep
    }

    /// Does a tombstone of `fragment`, which covers its key, hide a version from everybody?
    pub(crate) fn is_hidden(&self, seqno: SeqNo, fragment: &Fragment) -> bool {
        let newer = fragment.next_newer(seqno);
        newer.is_some_and(|newer| self.group_of(newer) == self.group_of(seqno))
    }

    /// Leaves of a fragment the tombstones that somebody needs; `may_be_below`: may deeper levels
    /// hold keys of its range?
    pub(crate) fn thin_out(&mut self, fragment: &mut Fragment, may_be_below: bool) {
        let mut last = None;
        fragment.retain(|seqno| {
            let group = Some(self.group_of(seqno));
            let stays = last != group;
            last = group;
            stays
        });
        // The oldest one hides only what is below, if no snapshot is older than it.
        let is_spent = last == Some(0) && !may_be_below;
        let mut spent_seqno = self.spent_seqno;
        fragment.retain(|seqno| {
            let stays = !is_spent || self.group_of(seqno) > 0;
            if !stays {
                spent_seqno = spent_seqno.max(seqno);
            }
            stays
        });
        self.spent_seqno = spent_seqno;
    }

    /// How many snapshots are too old to see it.
    fn group_of(&self, seqno: SeqNo) -> usize {
        self.snapshots.partition_point(|&snapshot| snapshot < seqno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn visible(versions: &[(SeqNo, KeyKind)], at: SeqNo) -> Option<SeqNo> {
        let newest = versions.iter().find(|(seqno, _)| *seqno <= at)?;
        (newest.1 != KeyKind::Delete).then_some(newest.0)
    }

    proptest! {
        #[test]
        fn every_snapshot_sees_the_same_before_and_after(
            versions in prop::collection::btree_map(1_u64..40, any::<bool>(), 0..12),
            snapshots in prop::collection::vec(0_u64..45, 0..6),
            may_be_below: bool,
        ) {
            let kind = |put: bool| if put { KeyKind::Put } else { KeyKind::Delete };
            let versions: Vec<_> =
                versions.into_iter().rev().map(|(seqno, put)| (seqno, kind(put))).collect();
            let mut retention = Retention::new(snapshots.clone());
            retention.next_key();
            let mut kept = versions.clone();
            kept.retain(|&(seqno, kind)| {
                retention.fate(seqno, kind, || may_be_below) == Fate::Keep
            });
            for at in snapshots.iter().copied().chain([u64::MAX]) {
                prop_assert_eq!(visible(&kept, at), visible(&versions, at));
                if may_be_below {
                    // Whatever hid deeper versions still hides them.
                    let hides = |list: &[(SeqNo, KeyKind)]| list.iter().any(|v| v.0 <= at);
                    prop_assert_eq!(hides(&kept), hides(&versions));
                }
            }
            prop_assert!(kept.len() <= snapshots.len() + 1);
        }
    }

    #[test]
    fn a_tombstone_waits_for_the_oldest_snapshot() {
        let mut retention = Retention::new(alloc::vec![5]);
        assert_eq!(retention.fate(7, KeyKind::Delete, || false), Fate::Keep);
        assert_eq!(retention.fate(4, KeyKind::Put, || false), Fate::Keep);
        assert_eq!(retention.fate(3, KeyKind::Put, || false), Fate::Shadowed);
        let mut retention = Retention::new(alloc::vec![7]);
        assert_eq!(retention.fate(7, KeyKind::Delete, || true), Fate::Keep);
        retention.next_key();
        assert_eq!(retention.fate(7, KeyKind::Delete, || false), Fate::Spent);
    }
}

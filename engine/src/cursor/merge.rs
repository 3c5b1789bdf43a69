//! Merges sorted cursors into one.
//!
//! - No two children hold the same entry: (key, sequence number) is unique in a store.
//! - Ahead: the current child holds the smallest entry; backward: the largest.
//! - The runner-up is remembered, so that most steps cost one comparison.

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::entry::{BoxCursor, EntryCursor, EntryRef, compare};
use crate::error::Result;
use crate::types::SeqNo;

/// Many cursors as one.
pub(crate) struct MergeCursor {
    children: Vec<BoxCursor>,
    current: Option<usize>,
    runner_up: Option<usize>,
    backward: bool,
}

impl MergeCursor {
    pub(crate) fn new(children: Vec<BoxCursor>) -> Self {
        Self {
            children,
            current: None,
            runner_up: None,
            backward: false,
        }
    }

    /// Does the entry of child `a` come before that of `b` in the direction of travel?
    /// A child without an entry comes last.
    fn leads(&self, a: usize, b: usize) -> bool {
        let entry = |index: usize| self.children.get(index).and_then(|child| child.current());
        match (entry(a), entry(b)) {
            (Some(a), Some(b)) => {
                let order = compare((a.key, a.seqno), (b.key, b.seqno));
                order
                    == if self.backward {
                        Ordering::Greater
                    } else {
                        Ordering::Less
                    }
            }
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    fn select(&mut self) {
        let (mut first, mut second) = (None, None);
        for index in 0..self.children.len() {
            if first.is_none_or(|first| self.leads(index, first)) {
                second = first;
                first = Some(index);
            } else if second.is_none_or(|second| self.leads(index, second)) {
                second = Some(index);
            }
        }
        self.current = first;
        self.runner_up = second;
    }

    /// Moves the current child and finds the new leader.
    fn advance(&mut self) -> Result<()> {
        let Some(current) = self.current else {
            return Ok(());
        };
        if let Some(child) = self.children.get_mut(current) {
            if self.backward {
                child.prev()?
            } else {
                child.next()?
            }
        }
        if self
            .runner_up
            .is_some_and(|runner_up| !self.leads(current, runner_up))
        {
            self.select();
        }
        Ok(())
    }

    /// Brings all children to the far side of the current entry, for a change of direction.
    fn turn(&mut self, backward: bool) -> Result<()> {
        let Some(current) = self.current else {
            return Ok(());
        };
        let Some((key, seqno)) = self
            .current()
            .map(|entry| (entry.key.to_vec(), entry.seqno))
        else {
            return Ok(());
        };
        for (index, child) in self.children.iter_mut().enumerate() {
            if index == current {
                continue;
            }
            if backward {
                child.seek_back(&key, seqno)?
            } else {
                child.seek(&key, seqno)?
            }
        }
        self.backward = backward;
        self.select_runner_up(current);
        Ok(())
    }

    fn select_runner_up(&mut self, current: usize) {
        let mut second = None;
        for index in (0..self.children.len()).filter(|&index| index != current) {
            if second.is_none_or(|second| self.leads(index, second)) {
                second = Some(index);
            }
        }
        self.runner_up = second;
    }
}

impl EntryCursor for MergeCursor {
    fn current(&self) -> Option<EntryRef<'_>> {
        self.children.get(self.current?)?.current()
    }

    fn seek(&mut self, key: &[u8], seqno: SeqNo) -> Result<()> {
        self.backward = false;
        self.children
            .iter_mut()
            .try_for_each(|child| child.seek(key, seqno))?;
        self.select();
        Ok(())
    }

    fn seek_back(&mut self, key: &[u8], seqno: SeqNo) -> Result<()> {
        self.backward = true;
        self.children
            .iter_mut()
            .try_for_each(|child| child.seek_back(key, seqno))?;
        self.select();
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        self.backward = true;
        self.children
            .iter_mut()
            .try_for_each(|child| child.seek_last())?;
        self.select();
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        if self.backward {
            self.turn(false)?;
        }
        self.advance()
    }

    fn prev(&mut self) -> Result<()> {
        if !self.backward {
            self.turn(true)?;
        }
        self.advance()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::WriteBatch;
    use crate::memtable::Memtable;
    use crate::types::SEQNO_MAX;
    use alloc::boxed::Box;
    use alloc::sync::Arc;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn walks_like_one_sorted_list(
            keys in prop::collection::vec((0_u8..20, 0_usize..4), 0..60),
            walk in prop::collection::vec((0_u8..4, 0_u8..20, 0_u64..60), 0..60),
        ) {
            let memtables: Vec<_> = (0..4).map(|_| Arc::new(Memtable::new(false))).collect();
            let mut model = Vec::new();
            for (i, &(key, home)) in keys.iter().enumerate() {
                let mut batch = WriteBatch::new();
                batch.put(&[key], &[]);
                memtables[home].insert(&batch.as_ref(i as u64 + 1)).unwrap();
                model.push((key, i as u64 + 1));
            }
            model.sort_by_key(|&(key, seqno)| (key, u64::MAX - seqno));
            let children = memtables.iter().map(|m| Box::new(m.cursor()) as BoxCursor).collect();
            let mut cursor = MergeCursor::new(children);
            let mut at = None::<usize>;
            let place = |(key, seqno): (u8, u64)| (key, u64::MAX - seqno);
            for (op, key, seqno) in walk {
                match op {
                    0 => {
                        cursor.seek(&[key], seqno).unwrap();
                        let i = model.partition_point(|&m| place(m) < place((key, seqno)));
                        at = (i < model.len()).then_some(i);
                    }
                    1 => {
                        cursor.seek_back(&[key], seqno).unwrap();
                        at = model.partition_point(|&m| place(m) <= place((key, seqno))).checked_sub(1);
                    }
                    2 if at.is_some() => {
                        cursor.next().unwrap();
                        at = at.map(|i| i + 1).filter(|&i| i < model.len());
                    }
                    3 if at.is_some() => {
                        cursor.prev().unwrap();
                        at = at.and_then(|i| i.checked_sub(1));
                    }
                    _ => {
                        cursor.seek(&[], SEQNO_MAX).unwrap();
                        at = (!model.is_empty()).then_some(0);
                    }
                }
                let seen = cursor.current().map(|entry| (entry.key[0], entry.seqno));
                prop_assert_eq!(seen, at.map(|i| model[i]));
            }
        }
    }
}

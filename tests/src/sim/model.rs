//! What a simulated store must hold: all states of its history, and which of them are promised.
//!
//! - Every value has a number of its own, so a value that comes back from the dead is recognized.
//! - A state that was promised may go only where the medium damaged what nothing vouches for yet;
//!   `slack` counts how many promises that can be.

use super::workload::{ANNEX_COUNT, KEY_COUNT};

/// The number of the value of each key; 0: there is none.
pub(super) type Keys = [u32; KEY_COUNT];

/// The number of the value of each record of the annex; 0: there is none.
pub(super) type Annex = [u32; ANNEX_COUNT];

/// The history of something, and how much of it was promised.
#[derive(Clone, Debug)]
pub(super) struct History<S> {
    states: Vec<S>,
    /// The one that readers see: the last, but for one that may be found only after an opening.
    seen: usize,
    /// States that were promised, in order.
    promised: Vec<usize>,
    /// Which of them the last opening made: it rests on no log, and stays.
    opened: usize,
}

/// A moment in a history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    promise_count: usize,
    opened: usize,
    last: usize,
}

impl<S: Copy + PartialEq> History<S> {
    fn new(state: S) -> Self {
        Self {
            states: vec![state],
            seen: 0,
            promised: vec![0],
            opened: 0,
        }
    }

    pub(super) fn last(&self) -> &S {
        &self.states[self.seen]
    }

    pub(super) fn push(&mut self, state: S) {
        self.states.push(state);
        self.seen = self.states.len() - 1;
    }

    /// What a failed call may have left on the medium, although nobody sees it.
    pub(super) fn push_unseen(&mut self, state: S) {
        self.states.push(state);
    }

    /// Everything that is seen is durable.
    pub(super) fn promise(&mut self) {
        if self.promised.last() != Some(&self.seen) {
            self.promised.push(self.seen);
        }
    }

    /// A recovery found `state`: history goes on from there, and what it found is durable.
    pub(super) fn resume(&mut self, state: S) {
        self.push(state);
        self.promise();
        self.opened = self.promised.len() - 1;
    }

    /// A recovery found `state`, one of those allowed now: history goes on from there. What was promised
    /// before still is, and no more: until the next sync, what it found rests on the same logs.
    ///
    /// With `slack` it may have met damage that passes, as a read from another place: then the next
    /// recovery finds what this one did not.
    pub(super) fn go_on(&mut self, state: S, slack: usize) {
        let allowed = self.allowed_now(slack);
        let found = allowed.iter().rposition(|other| *other == state);
        let back = allowed.len() - found.expect("the state is allowed");
        // All that rests on logs, once more; without what was lost, where it is lost for good.
        let (first, end) = (self.promised[self.opened], self.states.len());
        let last = end - back;
        let promised = self.promised[self.opened..].iter().copied();
        let mut again: Vec<usize> = promised.filter(|at| *at <= last).collect();
        let promised_count = self.promised.len() - self.opened;
        self.opened = self.promised.len();
        if slack == 0 {
            self.states.extend_from_within(first..=last);
        } else {
            if again.len() < promised_count {
                // Older than what was promised: no more is, where a flush makes that durable.
                again.push(last);
            }
            self.states.extend_from_within(first..);
            self.states.push(state);
        }
        self.promised
            .extend(again.into_iter().map(|at| at + end - first));
        self.seen = self.states.len() - 1;
    }

    pub(super) fn now(&self) -> Moment {
        Moment {
            promise_count: self.promised.len(),
            opened: self.opened,
            last: self.states.len() - 1,
        }
    }

    /// The states that may be found after a crash between two moments.
    pub(super) fn allowed(&self, answered: Moment, asked: Moment, slack: usize) -> &[S] {
        let promise = answered.promise_count.saturating_sub(1 + slack);
        let promise = promise.max(answered.opened);
        &self.states[self.promised[promise]..=asked.last]
    }

    pub(super) fn allowed_now(&self, slack: usize) -> &[S] {
        self.allowed(self.now(), self.now(), slack)
    }
}

/// Everything that a store must hold.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) keys: History<Keys>,
    pub(super) annex: History<Annex>,
    /// The length of each value.
    lens: Vec<usize>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            keys: History::new([0; KEY_COUNT]),
            annex: History::new([0; ANNEX_COUNT]),
            lens: vec![0],
        }
    }

    /// The number of a new value.
    pub(super) fn number(&mut self, len: usize) -> u32 {
        self.lens.push(len);
        self.lens.len() as u32 - 1
    }

    pub(super) fn len(&self, number: u32) -> Option<usize> {
        self.lens.get(number as usize).copied()
    }
}

/// The bytes of the value with this number: they tell it, and nothing else could have made them.
pub(super) fn value(number: u32, len: usize) -> Vec<u8> {
    let mut out = number.to_le_bytes().to_vec();
    let step = number.wrapping_mul(0x9e37_79b9) >> 24;
    out.extend((out.len()..len).map(|at| (at as u32).wrapping_mul(step) as u8));
    out
}

/// The number that a value tells.
pub(super) fn number_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?))
}

pub(super) fn key(index: usize) -> Vec<u8> {
    format!("key/{:02}/{index:02}", index / 5).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_bound_what_may_be_found() {
        let mut history = History::new(0);
        let start = history.now();
        for state in 1..=4 {
            history.push(state);
            if state % 2 == 0 {
                history.promise();
            }
        }
        history.push_unseen(5);
        history.promise();
        assert_eq!(history.last(), &4);
        let now = history.now();
        assert_eq!(history.allowed_now(0), [4, 5]);
        assert_eq!(history.allowed_now(1), [2, 3, 4, 5]);
        assert_eq!(history.allowed(start, now, 0), [0, 1, 2, 3, 4, 5]);
        let mut other = history.clone();
        history.resume(4);
        assert_eq!(history.allowed_now(2), [4]);
        // What nobody had promised was lost.
        let mut third = other.clone();
        third.go_on(4, 0);
        assert_eq!(third.last(), &4);
        assert_eq!(third.allowed_now(0), [4]);
        third.push(6);
        assert_eq!(third.allowed_now(0), [4, 6]);
        assert_eq!(third.allowed_now(1), [2, 3, 4, 6], "and so is damage");
        third.promise();
        assert_eq!(third.allowed_now(0), [6]);
        let passed = third.allowed(now, third.now(), 0);
        assert_eq!(passed, [4, 5, 0, 1, 2, 3, 4, 6]);
        // Found without the sync that was promised last, which one damaged record explains; the
        // damage may pass.
        other.go_on(3, 1);
        assert_eq!(other.last(), &3);
        assert_eq!(other.allowed_now(0), [3, 4, 5, 3]);
        other.promise();
        assert_eq!(other.allowed_now(0), [3]);
    }

    #[test]
    fn values_tell_their_number() {
        assert_eq!(number_of(&value(77, 4)), Some(77));
        assert_eq!(value(77, 40).len(), 40);
        assert_ne!(value(77, 40)[4..], value(78, 40)[4..]);
    }
}

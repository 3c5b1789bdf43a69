//! Who may still read what a garbage collection wants to remove.
//!
//! - A reader takes its pin before it looks at the tree.
//! - Whatever is doomed at a moment may go once every pin taken up to that moment is gone: whoever
//!   comes later finds only what took its place.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use coffer_engine::sync::Mutex;

/// The pins of all readers.
#[derive(Default)]
pub(crate) struct Pins(Mutex<Held>);

#[derive(Default)]
struct Held {
    moment: u64,
    counts: BTreeMap<u64, usize>,
}

/// Keeps everything readable that was readable when it was taken.
pub(crate) struct Pin {
    pins: Arc<Pins>,
    moment: u64,
}

impl Pins {
    /// A pin of this moment.
    pub(crate) fn take(self: &Arc<Self>) -> Pin {
        let mut held = self.0.lock();
        let moment = held.moment;
        *held.counts.entry(moment).or_insert(0) += 1;
        Pin {
            pins: Arc::clone(self),
            moment,
        }
    }

    /// Ends this moment and returns it.
    pub(crate) fn doom(&self) -> u64 {
        let mut held = self.0.lock();
        held.moment += 1;
        held.moment - 1
    }

    /// Is every pin taken up to `moment` gone?
    pub(crate) fn is_past(&self, moment: u64) -> bool {
        self.0
            .lock()
            .counts
            .keys()
            .next()
            .is_none_or(|oldest| *oldest > moment)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut held = self.pins.0.lock();
        if let Some(count) = held.counts.get_mut(&self.moment) {
            *count -= 1;
            if *count == 0 {
                held.counts.remove(&self.moment);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_earlier_pins_hold_back() {
        let pins = Arc::new(Pins::default());
        let early = pins.take();
        let other = pins.take();
        let moment = pins.doom();
        let late = pins.take();
        assert!(!pins.is_past(moment));
        drop(early);
        assert!(!pins.is_past(moment));
        drop(other);
        assert!(pins.is_past(moment));
        let next = pins.doom();
        assert!(!pins.is_past(next));
        drop(late);
        assert!(pins.is_past(next));
    }
}

//! What range tombstones hide from one reader, key after key, in any direction.
//!
//! - Each place tells a stretch of keys over which its answer is the same; most keys are answered
//!   by the stretch that all places agreed on last.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::error::Result;
use crate::memtable::Memtable;
use crate::table::RunWindows;
use crate::tombstone::Window;
use crate::types::SeqNo;

/// A place with range tombstones.
pub(crate) enum ShadePlace {
    Memtable(Arc<Memtable>),
    Run(RunWindows),
}

/// All places with range tombstones, for a reader of one moment.
pub(crate) struct Shade {
    seqno: SeqNo,
    places: Vec<(ShadePlace, Option<Window>)>,
    together: Option<Window>,
}

impl Shade {
    pub(crate) fn new(places: Vec<ShadePlace>, seqno: SeqNo) -> Self {
        // Where there are none, all keys are uncovered.
        let together = places.is_empty().then_some(Window::ALL);
        Self {
            seqno,
            places: places.into_iter().map(|place| (place, None)).collect(),
            together,
        }
    }

    /// Is an entry of `key` with this number hidden?
    pub(super) fn hides(&mut self, key: &[u8], seqno: SeqNo) -> Result<bool> {
        match &self.together {
            Some(window) if window.contains(key) => Ok(seqno < window.seqno),
            _ => Ok(seqno < self.look(key)?),
        }
    }

    fn look(&mut self, key: &[u8]) -> Result<SeqNo> {
        self.together = None;
        let mut together = Window::ALL;
        for (place, window) in &mut self.places {
            let window = match window {
                Some(window) if window.contains(key) => window,
                stale => stale.insert(match place {
                    ShadePlace::Memtable(memtable) => memtable.window(key, self.seqno)?,
                    ShadePlace::Run(run) => run.window(key, self.seqno)?,
                }),
            };
            together = together.and(window);
        }
        let seqno = together.seqno;
        self.together = Some(together);
        Ok(seqno)
    }
}

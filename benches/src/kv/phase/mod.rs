//! What is done with an open store: each phase runs in a child process and measures some rows.
//!
//! - A phase leaves its store as the next one needs it; `Load` makes the store of the phases that read.
//! - Every value read is compared, and a scan must meet every key exactly once.
//! - Rows that count operations run for a given time; those that load run for given data.

mod load;
mod read;
mod recover;
mod scan;
mod write;

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::failure::Outcome;
use crate::kv::corpus::{Corpus, KEY_LEN};
use crate::kv::engine::{Engine, Feed, Kind, Op, Packing};
use crate::kv::rows::{Scale, Size};

/// Writers and readers of the rows with several threads.
pub const THREADS: u64 = 4;

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Loads a new store and compacts it; reads and scans look at that store.
    Load,
    /// Point reads.
    Read,
    /// Scans.
    Scan,
    /// Overwrites half of the store and compacts it.
    Overwrite,
    /// Reads and overwrites side by side.
    Mixed,
    /// Loads another new store on several threads.
    LoadMany,
    /// Commits that wait for the medium.
    Sync,
    /// Loads a new store and ends without closing it, then opens it again.
    Recover,
    /// Collected over all other phases.
    Memory,
}

impl Phase {
    /// Every phase that does something, in order.
    pub const ALL: [Self; 8] = [
        Self::Load,
        Self::Read,
        Self::Scan,
        Self::Overwrite,
        Self::Mixed,
        Self::LoadMany,
        Self::Sync,
        Self::Recover,
    ];

    /// The word for `--only`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Read => "get",
            Self::Scan => "scan",
            Self::Overwrite => "overwrite",
            Self::Mixed => "mixed",
            Self::LoadMany => "load-4t",
            Self::Sync => "sync",
            Self::Recover => "recover",
            Self::Memory => "memory",
        }
    }

    /// Does it work on the store that `Load` makes?
    #[must_use]
    pub fn needs_load(self) -> bool {
        matches!(
            self,
            Self::Read | Self::Scan | Self::Overwrite | Self::Mixed
        )
    }

    /// Why an engine without a log cannot do it, where it cannot.
    #[must_use]
    pub fn needs_log(self) -> Option<&'static str> {
        match self {
            Self::Sync => Some("it has no log: a sync would write a table"),
            Self::Recover => Some("it has no log: nothing would be there"),
            _ => None,
        }
    }

    /// The processes that do it, one after the other.
    #[must_use]
    pub fn halves(self) -> u8 {
        if self == Self::Recover { 2 } else { 1 }
    }
}

/// Values by the name of their row.
pub type Values = BTreeMap<String, f64>;

/// Everything that a phase needs.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The engine.
    pub kind: Kind,
    /// How values are made smaller.
    pub packing: Packing,
    /// The directory of the store, which exists.
    pub dir: &'a Path,
    /// Values and how many.
    pub size: Size,
    /// How much work.
    pub scale: Scale,
    /// The values.
    pub corpus: Arc<Corpus>,
}

impl Bench<'_> {
    /// Does `phase`, or the second process of it.
    ///
    /// # Errors
    /// Those of the engine; what was read and is wrong.
    pub fn run(&self, phase: Phase, half: u8) -> Outcome<Values> {
        let mut values = Values::new();
        match (phase, half) {
            (Phase::Load, _) => load::one(self, &mut values),
            (Phase::LoadMany, _) => load::many(self, &mut values),
            (Phase::Sync, _) => write::synced(self, &mut values),
            (Phase::Read, _) => read::points(self, &mut values),
            (Phase::Scan, _) => scan::all(self, &mut values),
            (Phase::Overwrite, _) => write::overwrite(self, &mut values),
            (Phase::Mixed, _) => write::mixed(self, &mut values),
            (Phase::Recover, 0) => recover::leave(self),
            (Phase::Recover, _) => recover::open(self, &mut values),
            (Phase::Memory, _) => Ok(()),
        }?;
        Ok(values)
    }

    fn open(&self, create: bool) -> Outcome<Box<dyn Engine>> {
        self.kind.open(self.dir, create, self.packing)
    }

    /// Bytes of so many entries.
    fn bytes(&self, count: u64) -> f64 {
        count as f64 * (self.size.value_len + KEY_LEN) as f64
    }

    fn row_time(&self) -> Duration {
        Duration::from_millis(self.scale.row_ms)
    }

    /// A feed of what `next` hands out.
    fn feed(&self, next: impl FnMut() -> Option<Op> + Send + 'static) -> Feed {
        Feed {
            corpus: Arc::clone(&self.corpus),
            next: Box::new(next),
        }
    }

    /// A feed that puts all of `numbers`.
    fn puts(&self, numbers: impl Iterator<Item = u64> + Send + 'static, generation: u64) -> Feed {
        let mut numbers = numbers;
        self.feed(move || numbers.next().map(|number| Op::Put(number, generation)))
    }

    /// Operations per second of so many feeds, each of which asks `next` of its number for operation
    /// 0, 1, 2 ... until `time` is over.
    fn timed(
        &self,
        engine: &dyn Engine,
        (feed_count, sync): (u64, bool),
        time: Duration,
        next: impl Fn(u64, u64) -> Op + Clone + Send + 'static,
    ) -> Outcome<f64> {
        let done = Arc::new(AtomicU64::new(0));
        let start = Instant::now();
        let feed = |number: u64| {
            let (next, done, mut count) = (next.clone(), Arc::clone(&done), 0);
            self.feed(move || {
                // The clock costs as much as a fast read: look at it seldom.
                if (count < 16 || count % 16 == 0) && start.elapsed() >= time {
                    done.fetch_add(count, Ordering::Relaxed);
                    return None;
                }
                count += 1;
                Some(next(number, count - 1))
            })
        };
        engine.drive((0..feed_count).map(feed).collect(), sync)?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(done.load(Ordering::Relaxed) as f64 / seconds)
    }
}

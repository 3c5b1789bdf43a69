//! Power cuts before every single operation on the medium.
//!
//! A workload runs once on a [`CrashFs`]; then, for every index of an operation and a few seeds, the
//! medium is cut there, the store is opened, and what it holds must be a state of history: not older
//! than the last sync that was acknowledged, not newer than the last call that was made.
//! `COFFER_CRASH_SEEDS` sets how many states are tried for each index, `COFFER_SEED` the workload.

mod copies;
mod db;
mod files;
mod trees;

use crate::mount::kill::setting;
use crate::stores::Contents;
use coffer_engine::Error;
use coffer_engine::env::Env;
use coffer_tests::crash::{CrashFs, Record};
use coffer_tests::random::Rng;
use coffer_tests::world::World;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Seed of the workload.
pub(crate) fn seed() -> u64 {
    setting("COFFER_SEED", 1)
}

/// States tried for each crash point.
pub(crate) fn state_count() -> u64 {
    setting("COFFER_CRASH_SEEDS", 2)
}

/// What is under test: something that keeps keys and values.
pub(crate) trait Level {
    /// An open store.
    type Store;
    /// Makes or opens the store.
    fn open(env: Env) -> Result<Self::Store, Error>;
    /// Writes one batch; `None` deletes.
    fn write(store: &Self::Store, batch: &[Change], sync: bool) -> Result<(), Error>;
    /// Makes everything written durable.
    fn sync(store: &Self::Store) -> Result<(), Error>;
    /// Flushes, compacts or collects garbage, as `which` says.
    fn maintain(store: &Self::Store, which: usize) -> Result<(), Error>;
    /// An orderly end.
    fn close(store: Self::Store) -> Result<(), Error>;
    /// Everything it holds.
    fn dump(store: &Self::Store) -> Result<Contents, Error>;
    /// A value for the workload.
    fn value(rng: &mut Rng) -> Vec<u8>;
}

/// One entry of a batch.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

/// One call of the workload, and when it was made.
struct Mark {
    /// Changes of the medium before the call.
    start: usize,
    /// Changes of the medium when it was answered.
    end: usize,
    /// Length of history after it.
    version: usize,
    /// Did its answer promise durability?
    is_synced: bool,
}

fn env(fs: &CrashFs, seed: u64) -> Env {
    World::new(seed).env(Arc::new(fs.clone()))
}

/// A workload that ran, and everything it was promised.
struct Run {
    seed: u64,
    record: Record,
    /// What the store held after each batch.
    history: Vec<Contents>,
    marks: Vec<Mark>,
}

impl Run {
    /// Makes `call_count` random calls.
    fn new<L: Level>(seed: u64, call_count: usize) -> Self {
        let fs = CrashFs::new();
        let mut store = L::open(env(&fs, seed)).unwrap();
        let mut rng = Rng::new(seed);
        let mut history = vec![Contents::new()];
        let mut marks = vec![Mark {
            start: 0,
            end: fs.change_count(),
            version: 0,
            is_synced: true,
        }];
        for call in 0..call_count {
            let start = fs.change_count();
            let mut is_synced = false;
            match rng.below(12) {
                0..=6 => {
                    is_synced = rng.chance(30);
                    let batch = batch::<L>(&mut rng);
                    history.push(after(history.last().unwrap(), &batch));
                    L::write(&store, &batch, is_synced).unwrap();
                }
                7 | 8 => {
                    L::sync(&store).unwrap();
                    is_synced = true;
                }
                9 | 10 => L::maintain(&store, call).unwrap(),
                _ => {
                    L::close(store).unwrap();
                    store = L::open(env(&fs, seed + call as u64 + 1)).unwrap();
                    is_synced = true;
                }
            }
            marks.push(Mark {
                start,
                end: fs.change_count(),
                version: history.len() - 1,
                is_synced,
            });
        }
        drop(store);
        Self {
            seed,
            record: fs.record(),
            history,
            marks,
        }
    }

    /// The states that may be found after a cut before change `at`.
    fn allowed(&self, at: usize) -> RangeInclusive<usize> {
        let synced = self
            .marks
            .iter()
            .filter(|mark| mark.is_synced && mark.end <= at);
        let low = synced.map(|mark| mark.version).max().unwrap();
        let made = self.marks.iter().filter(|mark| mark.start <= at);
        low..=made.map(|mark| mark.version).max().unwrap()
    }

    /// Cuts the power before change `at`, recovers, cuts it again during that recovery.
    fn cut<L: Level>(&self, at: usize, state: u64) {
        let (seed, range) = (self.seed, self.allowed(at));
        let cut = self.record.crash(at, state);
        let what = || {
            let log = self.record.describe(at);
            format!("seed {seed}, cut before {at}, state {state}, versions {range:?}\n{log}")
        };
        let found = recover::<L>(&cut, &what);
        let allowed = &self.history[range.clone()];
        let difference = || format!("{}\nholds {}", what(), differ(&found, allowed));
        assert!(allowed.contains(&found), "{}", difference());
        // What was read once stays, whatever happens to the recovery that read it.
        let recovery = cut.record();
        let mut rng = Rng::new(seed ^ at as u64);
        for _ in 0..2 {
            let second_at = rng.below(recovery.change_count() + 1);
            let what = || {
                let log = recovery.describe(second_at);
                format!(
                    "{}then cut before {second_at} of the recovery\n{log}",
                    what()
                )
            };
            let second = recover::<L>(&recovery.crash(second_at, state), &what);
            let difference = || differ(&second, std::slice::from_ref(&found));
            assert!(second == found, "{}differs: {}", what(), difference());
        }
    }
}

fn batch<L: Level>(rng: &mut Rng) -> Vec<Change> {
    (0..1 + rng.below(3))
        .map(|_| {
            let key = format!("k{}", rng.below(10)).into_bytes();
            (key, (!rng.chance(25)).then(|| L::value(rng)))
        })
        .collect()
}

fn after(before: &Contents, batch: &[Change]) -> Contents {
    let mut next = before.clone();
    for (key, value) in batch {
        match value {
            Some(value) => drop(next.insert(key.clone(), value.clone())),
            None => drop(next.remove(key)),
        }
    }
    next
}

/// Runs a workload, then cuts the power everywhere.
pub(crate) fn cut_everywhere<L: Level>(seed: u64, call_count: usize) {
    let run = Run::new::<L>(seed, call_count);
    for at in run.marks[0].end..=run.record.change_count() {
        for state in 0..state_count() {
            run.cut::<L>(at, state);
        }
    }
}

/// Opens what a power cut left; reads it twice, with an orderly end in between.
fn recover<L: Level>(fs: &CrashFs, what: &dyn Fn() -> String) -> Contents {
    let open = || {
        L::open(env(fs, 77)).unwrap_or_else(|error| panic!("{}does not open: {error:?}", what()))
    };
    let store = open();
    let found = L::dump(&store).unwrap_or_else(|error| panic!("{}{error:?}", what()));
    drop(store);
    // Nothing was written since: a reader right after recovery and one after it agree.
    let store = open();
    let again = L::dump(&store).unwrap_or_else(|error| panic!("{}{error:?}", what()));
    assert!(found == again, "{}two openings differ", what());
    found
}

/// How `found` differs from the nearest of `allowed`.
fn differ(found: &Contents, allowed: &[Contents]) -> String {
    let against = |version: &Contents| -> Vec<String> {
        let keys: std::collections::BTreeSet<_> = found.keys().chain(version.keys()).collect();
        keys.into_iter()
            .filter(|key| found.get(*key) != version.get(*key))
            .map(|key| {
                let len = |value: Option<&Vec<u8>>| value.map(Vec::len);
                let name = String::from_utf8_lossy(key).into_owned();
                format!(
                    "{name}: {:?} not {:?}",
                    len(found.get(key)),
                    len(version.get(key))
                )
            })
            .collect()
    };
    let nearest = allowed.iter().map(against).min_by_key(Vec::len);
    nearest.unwrap_or_default().join(", ")
}

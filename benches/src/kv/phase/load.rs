//! Loading a new store in random key order.
//!
//! The first time ends when the last write is acknowledged; compaction to the end is told apart.

use std::time::Instant;

use crate::failure::Outcome;
use crate::kv::phase::{Bench, THREADS, Values};

pub(super) fn one(bench: &Bench<'_>, values: &mut Values) -> Outcome<()> {
    let engine = bench.open(true)?;
    let bytes = bench.bytes(bench.size.count);
    let start = Instant::now();
    engine.drive(vec![bench.puts(0..bench.size.count, 0)], false)?;
    let rate = |start: Instant| bytes / 1e6 / start.elapsed().as_secs_f64();
    values.insert("load".into(), rate(start));
    engine.compact()?;
    values.insert("load-settled".into(), rate(start));
    engine.close()
}

pub(super) fn many(bench: &Bench<'_>, values: &mut Values) -> Outcome<()> {
    let engine = bench.open(true)?;
    let count = bench.size.count;
    let share = |thread: u64| bench.puts((thread..count).step_by(THREADS as usize), 0);
    let feeds = (0..THREADS).map(share).collect();
    let start = Instant::now();
    engine.drive(feeds, false)?;
    let seconds = start.elapsed().as_secs_f64();
    values.insert("load-4t".into(), bench.bytes(count) / 1e6 / seconds);
    engine.close()
}

//! Overwrites and compaction, commits with sync, reads and overwrites side by side.

use std::time::Instant;

use crate::data::Random;
use crate::failure::Outcome;
use crate::kv::engine::Op;
use crate::kv::phase::{Bench, THREADS, Values};
use crate::machine;

/// Overwrites every second number, compacts, closes; then looks at the disk.
pub(super) fn overwrite(bench: &Bench<'_>, values: &mut Values) -> Outcome<()> {
    let engine = bench.open(false)?;
    let written = machine::written_len()?;
    let bytes = bench.bytes(bench.size.count.div_ceil(2));
    let feed = bench.puts((0..bench.size.count).step_by(2), 1);
    let start = Instant::now();
    engine.drive(vec![feed], false)?;
    values.insert(
        "overwrite".into(),
        bytes / 1e6 / start.elapsed().as_secs_f64(),
    );
    let start = Instant::now();
    engine.compact()?;
    values.insert("compact".into(), start.elapsed().as_secs_f64());
    engine.close()?;
    let written = machine::written_len()? - written;
    values.insert("written".into(), written as f64 / bytes);
    values.insert("space".into(), machine::usage(bench.dir)?.allocated as f64);
    Ok(())
}

/// Commits that wait for the medium, on one thread and on several.
pub(super) fn synced(bench: &Bench<'_>, values: &mut Values) -> Outcome<()> {
    let engine = bench.open(true)?;
    for (row, threads) in [("sync", 1), ("sync-4t", THREADS)] {
        let next = move |thread: u64, at: u64| Op::Put((threads + thread) << 32 | at, 0);
        let rate = bench.timed(&*engine, (threads, true), bench.row_time(), next)?;
        values.insert(row.into(), rate);
    }
    Ok(())
}

/// On two threads: one read, one overwrite, and again.
pub(super) fn mixed(bench: &Bench<'_>, values: &mut Values) -> Outcome<()> {
    let engine = bench.open(false)?;
    let count = bench.size.count;
    let next = move |thread: u64, at: u64| {
        let number = Random::new(20 + thread + (at << 8)).below(count);
        if at % 2 == 1 {
            Op::Put(number, 2)
        } else {
            Op::Get(number, 2)
        }
    };
    let rate = bench.timed(&*engine, (2, false), bench.row_time() * 2, next)?;
    values.insert("mixed".into(), rate);
    engine.close()
}

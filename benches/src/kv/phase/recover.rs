//! A process that ends without closing its store, and the next one that opens it.
//!
//! Less than a memtable is written, so that everything is in the log. The first commit waits for the
//! medium, so that there is a store at all; of the others nothing is promised, and what of them is
//! there afterwards is told.

use std::time::Instant;

use crate::failure::{Failure, Outcome};
use crate::kv::corpus::key;
use crate::kv::engine::MEMTABLE_LEN;
use crate::kv::phase::{Bench, Values};

fn count(bench: &Bench<'_>) -> u64 {
    let fitting = MEMTABLE_LEN / 2 / (bench.size.value_len + 100);
    bench.size.count.min(fitting as u64)
}

/// Writes, and leaves the process at once.
pub(super) fn leave(bench: &Bench<'_>) -> Outcome<()> {
    let engine = bench.open(true)?;
    engine.drive(vec![bench.puts(0..1, 0)], true)?;
    engine.drive(vec![bench.puts(1..count(bench), 0)], false)?;
    // Nothing is dropped: no destructor may save what a killed process would lose.
    core::mem::forget(engine);
    Ok(())
}

/// Opens, and reads the first key.
pub(super) fn open(bench: &Bench<'_>, values: &mut Values) -> Outcome<()> {
    let start = Instant::now();
    let engine = bench.open(false)?;
    let there = |number| {
        engine.get(&key(number), &mut |value| {
            bench.corpus.check(number, 0..=0, value)
        })
    };
    if !there(0)? {
        return Err(Failure::new("the first key did not survive the process"));
    }
    values.insert("recover".into(), start.elapsed().as_secs_f64());
    let mut survivors = 0;
    for number in 0..count(bench) {
        survivors += u64::from(there(number)?);
    }
    values.insert(
        "recovered-share".into(),
        survivors as f64 / count(bench) as f64,
    );
    engine.close()
}

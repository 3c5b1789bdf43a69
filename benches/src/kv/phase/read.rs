//! Point reads: cold, then warm, uniform and zipfian, on one thread and on four, and of absent keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Outcome};
use crate::kv::corpus::{Spread, absent_key, picks};
use crate::kv::engine::{Engine, Op, get};
use crate::kv::phase::{Bench, THREADS, Values};
use crate::machine;

/// Picks made ahead; after the last one comes the first again.
const PICK_COUNT: usize = 1 << 17;

/// Cold reads after one opening: few enough that most of them still find nothing in memory.
fn cold_count(bench: &Bench<'_>) -> usize {
    (bench.size.count / 10).clamp(16, 5000) as usize
}

/// Openings for cold reads: few reads are over before the disk shows how it is today.
fn cold_passes(count: usize) -> u64 {
    (1000 / count as u64).clamp(1, 8)
}

/// Cold reads a second.
fn cold(bench: &Bench<'_>) -> Outcome<f64> {
    let count = cold_count(bench);
    let (mut time, passes) = (Duration::ZERO, cold_passes(count));
    for pass in 0..passes {
        machine::sync(bench.dir)?;
        machine::drop_caches()?;
        let engine = bench.open(false)?;
        let picks = picks(Spread::Uniform, bench.size.count, count, 11 + 100 * pass);
        let start = Instant::now();
        for number in &picks {
            get(&*engine, &bench.corpus, *number, 0)?;
        }
        time += start.elapsed();
        engine.close()?;
    }
    Ok((count as u64 * passes) as f64 / time.as_secs_f64())
}

pub(super) fn points(bench: &Bench<'_>, values: &mut Values) -> Outcome<()> {
    let count = bench.size.count;
    values.insert("get-cold".into(), cold(bench)?);

    let engine = bench.open(false)?;
    let engine = &*engine;
    // Everything once, so that the rest is warm: as far as the caches reach.
    engine.scan(true, &mut |_, _| Ok(()))?;
    let rows = [
        ("get-uniform", Spread::Uniform, 1),
        ("get-zipf", Spread::Zipf, 1),
        ("get-4t", Spread::Uniform, THREADS),
    ];
    for (row, spread, threads) in rows {
        let picks: Arc<[u64]> = picks(spread, count, PICK_COUNT, 12).into();
        let next = move |thread: u64, at: u64| {
            let from = thread * PICK_COUNT as u64 / THREADS;
            Op::Get(picks[(from + at) as usize % PICK_COUNT], 0)
        };
        // What a user sees after a while, not the first misses.
        bench.timed(engine, (threads, false), bench.row_time() / 2, next.clone())?;
        let rate = bench.timed(engine, (threads, false), bench.row_time(), next)?;
        values.insert(row.into(), rate);
    }
    values.insert("get-absent".into(), absent(bench, engine)?);
    Ok(())
}

fn absent(bench: &Bench<'_>, engine: &dyn Engine) -> Outcome<f64> {
    let (start, mut count) = (Instant::now(), 0);
    while count % 16 != 0 || start.elapsed() < bench.row_time() {
        if engine.get(&absent_key(count), &mut |_| Ok(()))? {
            return Err(Failure::new("a key that was never written is there"));
        }
        count += 1;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

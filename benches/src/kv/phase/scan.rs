//! Scans of everything, with values and of keys alone, each cold and then warm.
//!
//! Cold is: closed, caches of the kernel dropped, opened again and one key read, which is not timed:
//! some engines read their tables' heads when they open, some at the first read.

use std::time::Instant;

use crate::failure::{Failure, Outcome};
use crate::kv::corpus::number_of;
use crate::kv::engine::{Engine, Seen, get};
use crate::kv::phase::{Bench, Values};
use crate::machine;

/// Scans once; seconds. Every key must come exactly once, in order, with its value.
fn scan(bench: &Bench<'_>, engine: &dyn Engine, with_values: bool) -> Outcome<f64> {
    let mut count = 0;
    let mut last = Vec::new();
    let start = Instant::now();
    engine.scan(with_values, &mut |key, seen| {
        let number = number_of(key).ok_or_else(|| Failure::new("a strange key"))?;
        if last.as_slice() >= key {
            return Err(Failure::new("keys are out of order"));
        }
        last.clear();
        last.extend_from_slice(key);
        count += 1;
        match seen {
            Seen::Value(value) => bench.corpus.check(number, 0..=0, value),
            Seen::Len(len) if len != bench.size.value_len as u64 => {
                Err(Failure::new(format!("key {number} has {len} bytes")))
            }
            Seen::Len(_) | Seen::Key => Ok(()),
        }
    })?;
    let seconds = start.elapsed().as_secs_f64();
    if count == bench.size.count {
        return Ok(seconds);
    }
    let expected = bench.size.count;
    Err(Failure::new(format!(
        "a scan met {count} of {expected} keys"
    )))
}

pub(super) fn all(bench: &Bench<'_>, values: &mut Values) -> Outcome<()> {
    for (rows, with_values) in [
        (["scan-cold", "scan-warm"], true),
        (["keys-cold", "keys-warm"], false),
    ] {
        machine::sync(bench.dir)?;
        machine::drop_caches()?;
        let engine = bench.open(false)?;
        get(&*engine, &bench.corpus, 0, 0)?;
        for row in rows {
            let seconds = scan(bench, &*engine, with_values)?;
            let work = if with_values {
                bench.bytes(bench.size.count) / 1e6
            } else {
                bench.size.count as f64
            };
            values.insert(row.into(), work / seconds);
        }
        engine.close()?;
    }
    Ok(())
}

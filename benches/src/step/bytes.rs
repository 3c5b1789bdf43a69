//! Steps on one long file: written and read from end to end, or in blocks at random places.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Done, Latency, Sync};
use crate::data::{Kind, Random};
use crate::failure::{Context, Failure, Outcome};

/// Bytes per call in the sequential steps.
const STREAM_BLOCK_LEN: usize = 1 << 20;
/// Bytes per call in the random steps.
const RANDOM_BLOCK_LEN: usize = 4 << 10;

pub(super) fn write(path: &Path, kind: Kind, len: u64) -> std::io::Result<f64> {
    let pool = kind.pool();
    let start = Instant::now();
    let mut file = File::create(path)?;
    for number in 0..len / STREAM_BLOCK_LEN as u64 {
        file.write_all(block(&pool, number))?;
    }
    file.sync_all()?;
    drop(file);
    Ok(start.elapsed().as_secs_f64())
}

fn block(pool: &[u8], number: u64) -> &[u8] {
    let from = number as usize % (pool.len() / STREAM_BLOCK_LEN) * STREAM_BLOCK_LEN;
    &pool[from..from + STREAM_BLOCK_LEN]
}

pub(super) fn read(path: &Path, kind: Kind, len: u64) -> Outcome<f64> {
    let pool = kind.pool();
    let mut buffer = vec![0; STREAM_BLOCK_LEN];
    let start = Instant::now();
    let mut file = File::open(path).context(path.display())?;
    for number in 0..len / STREAM_BLOCK_LEN as u64 {
        file.read_exact(&mut buffer).context(path.display())?;
        // Both ends and one place between: enough to catch a wrong block, too little to cost.
        let (want, middle) = (
            block(&pool, number),
            number as usize * 4093 % STREAM_BLOCK_LEN,
        );
        let same = buffer[..64] == want[..64]
            && buffer[STREAM_BLOCK_LEN - 64..] == want[STREAM_BLOCK_LEN - 64..]
            && buffer[middle] == want[middle];
        if !same {
            return Err(Failure::new(format!(
                "{}: wrong bytes in MiB {number}",
                path.display()
            )));
        }
    }
    if file.read(&mut buffer).context(path.display())? != 0 {
        return Err(Failure::new(format!(
            "{}: longer than {len} bytes",
            path.display()
        )));
    }
    Ok(start.elapsed().as_secs_f64())
}

fn random_offset(random: &mut Random, len: u64) -> u64 {
    random.below(len / RANDOM_BLOCK_LEN as u64) * RANDOM_BLOCK_LEN as u64
}

pub(super) fn random_read(path: &Path, kind: Kind, len: u64, count: u64) -> Outcome<Done> {
    let pool = kind.pool();
    let mut random = Random::new(23);
    let mut buffer = [0; RANDOM_BLOCK_LEN];
    let mut times = Vec::with_capacity(count as usize);
    let start = Instant::now();
    let file = File::open(path).context(path.display())?;
    for _ in 0..count {
        let offset = random_offset(&mut random, len);
        let begin = Instant::now();
        file.read_exact_at(&mut buffer, offset)
            .context(path.display())?;
        times.push(begin.elapsed());
        let from = offset as usize % pool.len();
        if buffer[..16] != pool[from..from + 16] {
            return Err(Failure::new(format!(
                "{}: wrong bytes at {offset}",
                path.display()
            )));
        }
    }
    Ok(done(start, times))
}

pub(super) fn random_write(path: &Path, len: u64, count: u64, sync: Sync) -> std::io::Result<Done> {
    let pool = Kind::Incompressible.bytes(29, 4 << 20);
    let mut random = Random::new(31);
    let mut times = Vec::with_capacity(count as usize);
    let start = Instant::now();
    let file = OpenOptions::new().write(true).open(path)?;
    for number in 0..count {
        let offset = random_offset(&mut random, len);
        let from = (number as usize * RANDOM_BLOCK_LEN) % pool.len();
        let begin = Instant::now();
        file.write_all_at(&pool[from..from + RANDOM_BLOCK_LEN], offset)?;
        if matches!(sync, Sync::Each) {
            file.sync_all()?;
        }
        times.push(begin.elapsed());
    }
    file.sync_all()?;
    drop(file);
    Ok(done(start, times))
}

fn done(start: Instant, times: Vec<Duration>) -> Done {
    Done {
        seconds: start.elapsed().as_secs_f64(),
        latency: Latency::of(times),
        ..Done::default()
    }
}

//! The work of each group of rows on one mounted subject; the same calls for every subject.

mod files;
mod git;
mod random;
mod sqlite;
mod stream;
mod tree;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::failure::Outcome;
use crate::rows::{Group, Row};
use crate::sources::Sources;
use crate::step::{Done, Latency, Run, Step};
use crate::subject::Session;

/// How much work a run does.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Scale {
    /// Length of each long file.
    pub stream_len: u64,
    /// Random reads per row.
    pub read_count: u64,
    /// Length of the file that is overwritten at random places.
    pub overwrite_len: u64,
    /// Random writes per row.
    pub write_count: u64,
    /// Operations on small files per row.
    pub operation_count: u64,
    /// Small files.
    pub file_count: u64,
    /// Commits in rollback-journal mode; four times as many in WAL mode.
    pub commit_count: u64,
}

impl Scale {
    /// What the published numbers are made with.
    pub const FULL: Self = Self {
        stream_len: 512 << 20,
        read_count: 20_000,
        overwrite_len: 64 << 20,
        write_count: 4_000,
        operation_count: 10_000,
        file_count: 10_000,
        commit_count: 400,
    };
    /// For a look in under two minutes.
    pub const QUICK: Self = Self {
        stream_len: 128 << 20,
        read_count: 5_000,
        overwrite_len: 32 << 20,
        write_count: 1_000,
        operation_count: 2_000,
        file_count: 2_000,
        commit_count: 100,
    };

    /// Free bytes without which a run does not begin a group.
    #[must_use]
    pub fn free_len_min(&self) -> u64 {
        4 * self.stream_len + (1 << 30)
    }
}

/// What the groups work with.
#[derive(Debug)]
pub struct Bed<'a> {
    /// How much work.
    pub scale: Scale,
    /// Source text, when a wanted row needs it.
    pub sources: Option<&'a Sources>,
    /// The rows to measure.
    pub wanted: &'a [&'static Row],
    /// A directory outside every subject.
    pub scratch: &'a Path,
}

impl Bed<'_> {
    /// Whether one of these rows is to be measured.
    #[must_use]
    pub fn wants(&self, names: &[&str]) -> bool {
        self.wanted.iter().any(|row| names.contains(&row.name))
    }
}

/// What one subject reached in one pass over one group.
#[derive(Debug, Default)]
pub struct Sheet {
    /// The value of each row that was measured.
    pub values: BTreeMap<&'static str, f64>,
    /// How long single operations took, where a row counts operations.
    pub latencies: BTreeMap<&'static str, Latency>,
    /// What a row saw (lines, entries): must be the same for every subject.
    pub checks: BTreeMap<&'static str, u64>,
}

impl Sheet {
    fn put(&mut self, row: &'static str, value: f64) {
        self.values.insert(row, value);
    }

    /// Notes how many operations a step did in a second, and how long single ones took.
    fn operations(&mut self, row: &'static str, count: u64, done: &Done) {
        self.put(row, count as f64 / done.seconds);
        self.latencies
            .extend(done.latency.map(|latency| (row, latency)));
    }

    fn check(&mut self, row: &'static str, seen: u64) {
        self.checks.insert(row, seen);
    }
}

/// Measures the wanted rows of `group` on a mounted subject.
///
/// # Errors
/// At the first step that fails; what was measured before stays in `sheet`.
pub fn run(
    group: Group,
    session: &mut Session<'_>,
    bed: &Bed<'_>,
    sheet: &mut Sheet,
) -> Outcome<()> {
    match group {
        Group::Stream => stream::run(session, bed, sheet),
        Group::Random => random::run(session, bed, sheet),
        Group::Files => files::run(session, bed, sheet),
        Group::Tree => tree::run(session, bed, sheet),
        Group::Sqlite => sqlite::run(session, bed, sheet),
        Group::Git => git::run(session, bed, sheet),
        Group::Memory => Ok(()),
    }
}

fn command(dir: &Path, argv: &[&str]) -> Run {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    Run {
        argv,
        dir: dir.to_path_buf(),
        ..Run::default()
    }
}

fn megabytes_per_second(len: u64, seconds: f64) -> f64 {
    len as f64 / 1e6 / seconds
}

/// Runs a command as a step, and notes how long it took and how much it said.
fn timed(row: &'static str, session: &Session<'_>, run: Run, sheet: &mut Sheet) -> Outcome<()> {
    let done = session.step(&Step::Run(run))?;
    sheet.put(row, done.seconds);
    sheet.check(row, done.line_count);
    Ok(())
}

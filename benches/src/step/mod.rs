//! What is timed: one step, run in a child process of its own, the same for every subject.
//!
//! Only the work itself lies between the two looks at the clock: making the bytes, opening the
//! file for a read and checking what came back do not. A step that reads wrong bytes fails.

mod bytes;
mod command;
mod files;

pub use command::Run;
pub use files::{Files, Operation};

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::data::Kind;
use crate::failure::{Context, Failure, Outcome};
use crate::process::Interrupt;
use crate::program;

/// When a random write is made durable.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Sync {
    /// fsync after every write.
    Each,
    /// One fsync behind the last write.
    End,
}

/// One piece of timed work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Step {
    /// Creates a file of `len` bytes with writes of 1 MiB and one fsync at the end.
    Write {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        kind: Kind,
        /// Its length, a multiple of 1 MiB.
        len: u64,
    },
    /// Reads a file from its begin to its end with reads of 1 MiB.
    Read {
        /// The file.
        path: PathBuf,
        /// What it must hold.
        kind: Kind,
        /// Its length, a multiple of 1 MiB.
        len: u64,
    },
    /// Reads blocks of 4 KiB at random places, one at a time.
    RandomRead {
        /// The file.
        path: PathBuf,
        /// What it must hold.
        kind: Kind,
        /// Its length.
        len: u64,
        /// How many reads.
        count: u64,
    },
    /// Overwrites blocks of 4 KiB at random places of an existing file.
    RandomWrite {
        /// The file.
        path: PathBuf,
        /// Its length.
        len: u64,
        /// How many writes.
        count: u64,
        /// When they are made durable.
        sync: Sync,
    },
    /// One operation after the other on many small files.
    Files(Files),
    /// Runs a program to its end and drains what it prints.
    Run(Run),
}

/// What a step did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Done {
    /// How long the work took.
    pub seconds: f64,
    /// Lines that a command printed.
    pub line_count: u64,
    /// The beginning of what a command printed.
    pub head: String,
    /// How long single operations took, where the step counts operations.
    pub latency: Option<Latency>,
}

/// How long single operations took.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Microseconds that half of them stayed below.
    pub p50_us: f64,
    /// Microseconds that 99 of a hundred stayed below.
    pub p99_us: f64,
}

impl Latency {
    /// What the times of all operations say.
    #[must_use]
    pub fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        let at = |percent: usize| times[last * percent / 100].as_secs_f64() * 1e6;
        Some(Self {
            p50_us: at(50),
            p99_us: at(99),
        })
    }
}

impl Step {
    /// Runs the step in a child process, at most for `limit`.
    ///
    /// # Errors
    /// When the work failed, took too long, or the person asked to stop.
    pub fn run(&self, limit: Duration, scratch: &Path, interrupt: &Interrupt) -> Outcome<Done> {
        program::in_child(self, limit, scratch, interrupt).map_err(|failure: Failure| Failure {
            what: format!("{}: {}", self.describe(), failure.what),
            ..failure
        })
    }

    fn describe(&self) -> String {
        match self {
            Self::Write { .. } => "sequential write".into(),
            Self::Read { .. } => "sequential read".into(),
            Self::RandomRead { .. } => "random read".into(),
            Self::RandomWrite { .. } => "random write".into(),
            Self::Files(files) => format!("{:?}", files.operation).to_lowercase(),
            Self::Run(run) => {
                let words = run.argv.iter().filter(|word| !word.contains('\n'));
                words
                    .take(4)
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(" ")
            }
        }
    }

    /// Does the work in this process.
    ///
    /// # Errors
    /// When the file system refuses, or gives back wrong bytes.
    pub fn work(&self) -> Outcome<Done> {
        let seconds = match self {
            Self::Write { path, kind, len } => {
                bytes::write(path, *kind, *len).context(path.display())?
            }
            Self::Read { path, kind, len } => bytes::read(path, *kind, *len)?,
            Self::RandomRead {
                path,
                kind,
                len,
                count,
            } => return bytes::random_read(path, *kind, *len, *count),
            Self::RandomWrite {
                path,
                len,
                count,
                sync,
            } => return bytes::random_write(path, *len, *count, *sync).context(path.display()),
            Self::Files(files) => return files.work(),
            Self::Run(run) => return run.work(),
        };
        Ok(Done {
            seconds,
            ..Done::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_written_read_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let len = 3 << 20;
        let kind = Kind::Text;
        Step::Write {
            path: path.clone(),
            kind,
            len,
        }
        .work()
        .unwrap();
        Step::Read {
            path: path.clone(),
            kind,
            len,
        }
        .work()
        .unwrap();
        Step::RandomRead {
            path: path.clone(),
            kind,
            len,
            count: 50,
        }
        .work()
        .unwrap();
        let short = Step::Read {
            path: path.clone(),
            kind,
            len: len - (1 << 20),
        };
        assert!(short.work().unwrap_err().what.contains("longer"));
        Step::RandomWrite {
            path: path.clone(),
            len,
            count: 800,
            sync: Sync::End,
        }
        .work()
        .unwrap();
        let wrong = Step::Read { path, kind, len };
        assert!(wrong.work().unwrap_err().what.contains("wrong bytes"));
    }

    #[test]
    fn latencies_are_those_of_the_middle_and_the_end() {
        let times: Vec<_> = (1..=101).rev().map(Duration::from_micros).collect();
        let latency = Latency::of(times).unwrap();
        assert!((latency.p50_us - 51.0).abs() < 1e-6 && (latency.p99_us - 100.0).abs() < 1e-6);
        assert!(Latency::of(Vec::new()).is_none());
    }
}

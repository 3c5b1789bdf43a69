//! Steps on many small files: each job works through its own directories, one file at a time.
//!
//! File `n` of job `j` is `j/<n / per_dir>/<n>`; names follow from numbers, so that every subject
//! is asked for the same ones in the same order.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Done, Latency};
use crate::data::Kind;
use crate::failure::{Context, Failure, Outcome};

/// What is done to each file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Create, write, close.
    Create,
    /// Look it up and ask for its attributes.
    Stat,
    /// Open, read to the end, close.
    Open,
    /// Rename within its directory.
    Rename,
    /// Remove what has been renamed.
    Unlink,
    /// List the names of its directory; one operation is one directory.
    List,
}

/// Which files, and what is done to each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Files {
    /// Where the directories of the jobs are.
    pub dir: PathBuf,
    /// What is done to each.
    pub operation: Operation,
    /// How many work at the same time.
    pub job_count: u64,
    /// Number of the first file of each job.
    pub first: u64,
    /// Files of each job.
    pub count: u64,
    /// Files in a directory.
    pub per_dir: u64,
    /// Bytes of a file.
    pub len: u64,
    /// Picks files all over this many instead of those from the first on, none of them twice.
    pub scattered_over: Option<u64>,
}

/// What one job did.
#[derive(Debug, Default)]
struct Share {
    times: Vec<Duration>,
    entry_count: u64,
}

impl Files {
    pub(super) fn work(&self) -> Outcome<Done> {
        if self.operation == Operation::Create {
            self.make_directories()?;
        }
        let content = Kind::Incompressible.bytes(41, self.len as usize);
        let start = Instant::now();
        let shares: Vec<Outcome<Share>> = std::thread::scope(|scope| {
            let job = |job| {
                let content = &content;
                scope.spawn(move || self.job(job, content))
            };
            let jobs: Vec<_> = (0..self.job_count).map(job).collect();
            let failed = |_| Err(Failure::new("a job died"));
            let joined = jobs.into_iter().map(|job| job.join());
            joined.map(|share| share.unwrap_or_else(failed)).collect()
        });
        let mut done = Done {
            seconds: start.elapsed().as_secs_f64(),
            ..Done::default()
        };
        let mut times = Vec::new();
        for share in shares {
            let share = share?;
            done.line_count += share.entry_count;
            times.extend(share.times);
        }
        done.latency = Latency::of(times);
        Ok(done)
    }

    fn make_directories(&self) -> Outcome<()> {
        for job in 0..self.job_count {
            for number in self.first / self.per_dir..=(self.first + self.count - 1) / self.per_dir {
                let dir = self.dir.join(format!("{job}/{number}"));
                fs::create_dir_all(&dir).context(dir.display())?;
            }
        }
        Ok(())
    }

    fn job(&self, job: u64, content: &[u8]) -> Outcome<Share> {
        let numbers = self.numbers();
        let mut share = Share {
            times: Vec::with_capacity(numbers.len()),
            entry_count: 0,
        };
        let mut buffer = vec![0; content.len() + 1];
        for number in numbers {
            let parent = self.dir.join(format!("{job}/{}", number / self.per_dir));
            let path = parent.join(format!("{number}"));
            let begin = Instant::now();
            let seen = self.once(&parent, &path, content, &mut buffer);
            share.entry_count += seen.context(path.display())?;
            share.times.push(begin.elapsed());
        }
        Ok(share)
    }

    /// The files in the order of the work.
    fn numbers(&self) -> Vec<u64> {
        let Some(over) = self.scattered_over else {
            return (self.first..self.first + self.count).collect();
        };
        // Steps near the golden section, without a common factor, visit all before any again.
        let mut stride = (over as f64 * 0.618) as u64 | 1;
        while common_factor(stride, over) != 1 {
            stride += 2;
        }
        let count = self.count.min(over);
        (0..count)
            .map(|n| (self.first + n * stride) % over)
            .collect()
    }

    /// Does it to one file; returns how many entries it saw.
    fn once(
        &self,
        parent: &Path,
        path: &Path,
        content: &[u8],
        buffer: &mut [u8],
    ) -> std::io::Result<u64> {
        let moved = path.with_extension("renamed");
        match self.operation {
            Operation::Create => File::create_new(path)?.write_all(content)?,
            Operation::Stat => return Ok(u64::from(fs::metadata(path)?.len() == self.len)),
            Operation::Open => {
                let len = File::open(path)?.read(buffer)?;
                return Ok(u64::from(buffer[..len] == *content));
            }
            Operation::Rename => fs::rename(path, moved)?,
            Operation::Unlink => fs::remove_file(moved)?,
            Operation::List => {
                let mut count = 0;
                for entry in fs::read_dir(parent)? {
                    count += u64::from(!entry?.file_name().is_empty());
                }
                return Ok(count);
            }
        }
        Ok(1)
    }
}

fn common_factor(left: u64, right: u64) -> u64 {
    if right == 0 {
        left
    } else {
        common_factor(right, left % right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path, operation: Operation) -> Files {
        Files {
            dir: dir.into(),
            operation,
            job_count: 2,
            first: 0,
            count: 25,
            per_dir: 10,
            len: 100,
            scattered_over: None,
        }
    }

    #[test]
    fn every_operation_sees_every_file() {
        let dir = tempfile::tempdir().unwrap();
        for operation in [
            Operation::Create,
            Operation::Stat,
            Operation::Open,
            Operation::Rename,
            Operation::Unlink,
        ] {
            let done = files(dir.path(), operation).work().unwrap();
            assert_eq!(done.line_count, 50, "{operation:?}");
            assert!(done.latency.is_some());
        }
        assert!(files(dir.path(), Operation::Stat).work().is_err());
        assert_eq!(fs::read_dir(dir.path().join("1/2")).unwrap().count(), 0);
    }

    #[test]
    fn lists_count_entries() {
        let dir = tempfile::tempdir().unwrap();
        files(dir.path(), Operation::Create).work().unwrap();
        let mut list = files(dir.path(), Operation::List);
        (list.count, list.job_count) = (1, 1);
        assert_eq!(list.work().unwrap().line_count, 10);
    }

    #[test]
    fn scattered_numbers_come_once() {
        for over in [10, 100, 999, 1000] {
            let mut all = files(Path::new("/"), Operation::Stat);
            (all.scattered_over, all.count) = (Some(over), 10 * over);
            let mut numbers = all.numbers();
            numbers.sort_unstable();
            assert_eq!(numbers, (0..over).collect::<Vec<_>>());
        }
    }
}

//! What is timed: one step, run in a child process of its own, the same for every subject.
//!
//! Only the work itself lies between the two looks at the clock: making the bytes, opening the
//! file for a read and checking what came back do not. A step that reads wrong bytes fails.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::data::{Kind, Random};
use crate::failure::{Context, Failure, Outcome};
use crate::process::{self, Interrupt};

/// Bytes per call in the sequential steps.
pub const STREAM_BLOCK_LEN: usize = 1 << 20;
/// Bytes per call in the random steps.
pub const RANDOM_BLOCK_LEN: usize = 4 << 10;
/// Length of the head of its output that a command step hands back.
const HEAD_LEN: usize = 200;

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
    /// Runs a program to its end and drains what it prints.
    Run(Run),
}

/// A program to run as a step.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Run {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Where it runs.
    pub dir: PathBuf,
    /// What it reads from its standard input.
    pub input: String,
    /// Further environment; the locale is always C.
    pub env: Vec<(String, String)>,
    /// Exit codes besides 0 that mean success.
    pub accept: Vec<i32>,
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
}

impl Step {
    /// Runs the step in a child process, at most for `limit`.
    ///
    /// # Errors
    /// When the work failed, took too long, or the person asked to stop.
    pub fn run(&self, limit: Duration, scratch: &Path, interrupt: &Interrupt) -> Outcome<Done> {
        let spec = scratch.join("step-spec.json");
        let (result, log) = (scratch.join("step-result.json"), scratch.join("step.log"));
        let mut command = Command::new(std::env::current_exe().context("own program")?);
        // In a file: the input of a database is too long for an argument.
        fs::write(&spec, serde_json::to_vec(self).context("step")?).context(spec.display())?;
        command.arg("step").arg(&spec).arg(&result);
        // A result of the step before must never be taken for this one's.
        let _ = fs::remove_file(&result);
        process::run(command, limit, &log, interrupt).map_err(|failure| Failure {
            what: format!("{}: {}", self.describe(), without_name(&failure.what)),
            ..failure
        })?;
        let text = fs::read(&result).context(result.display())?;
        serde_json::from_slice(&text).context("result of a step")
    }

    fn describe(&self) -> String {
        match self {
            Self::Write { .. } => "sequential write".into(),
            Self::Read { .. } => "sequential read".into(),
            Self::RandomRead { .. } => "random read".into(),
            Self::RandomWrite { .. } => "random write".into(),
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
            Self::Write { path, kind, len } => write(path, *kind, *len).context(path.display())?,
            Self::Read { path, kind, len } => read(path, *kind, *len)?,
            Self::RandomRead {
                path,
                kind,
                len,
                count,
            } => random_read(path, *kind, *len, *count)?,
            Self::RandomWrite {
                path,
                len,
                count,
                sync,
            } => random_write(path, *len, *count, *sync).context(path.display())?,
            Self::Run(run) => return run.work(),
        };
        Ok(Done {
            seconds,
            ..Done::default()
        })
    }
}

/// The message of a step process without the name of the program, which is this one.
fn without_name(what: &str) -> &str {
    let name = std::env::current_exe()
        .unwrap_or_default()
        .display()
        .to_string();
    what.strip_prefix(&name)
        .unwrap_or(what)
        .trim_start_matches([':', ' '])
}

fn write(path: &Path, kind: Kind, len: u64) -> std::io::Result<f64> {
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

fn read(path: &Path, kind: Kind, len: u64) -> Outcome<f64> {
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

fn random_read(path: &Path, kind: Kind, len: u64, count: u64) -> Outcome<f64> {
    let pool = kind.pool();
    let mut random = Random::new(23);
    let mut buffer = [0; RANDOM_BLOCK_LEN];
    let start = Instant::now();
    let file = File::open(path).context(path.display())?;
    for _ in 0..count {
        let offset = random_offset(&mut random, len);
        file.read_exact_at(&mut buffer, offset)
            .context(path.display())?;
        let from = offset as usize % pool.len();
        if buffer[..16] != pool[from..from + 16] {
            return Err(Failure::new(format!(
                "{}: wrong bytes at {offset}",
                path.display()
            )));
        }
    }
    Ok(start.elapsed().as_secs_f64())
}

fn random_write(path: &Path, len: u64, count: u64, sync: Sync) -> std::io::Result<f64> {
    let pool = Kind::Incompressible.bytes(29, 4 << 20);
    let mut random = Random::new(31);
    let start = Instant::now();
    let file = OpenOptions::new().write(true).open(path)?;
    for number in 0..count {
        let offset = random_offset(&mut random, len);
        let from = (number as usize * RANDOM_BLOCK_LEN) % pool.len();
        file.write_all_at(&pool[from..from + RANDOM_BLOCK_LEN], offset)?;
        if matches!(sync, Sync::Each) {
            file.sync_all()?;
        }
    }
    file.sync_all()?;
    drop(file);
    Ok(start.elapsed().as_secs_f64())
}

impl Run {
    fn work(&self) -> Outcome<Done> {
        let (program, arguments) = self
            .argv
            .split_first()
            .ok_or_else(|| Failure::new("a command without a name"))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.dir)
            .env("LC_ALL", "C");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn().context(program)?;
        let mut stdin = child.stdin.take();
        let input = self.input.clone();
        let writer = std::thread::spawn(move || {
            // A program that ends early tells by its status.
            stdin
                .take()
                .map(|mut stdin| stdin.write_all(input.as_bytes()))
        });
        let mut done = Done::default();
        if let Some(mut stdout) = child.stdout.take() {
            drain(&mut stdout, &mut done).context(program)?;
        }
        let status = child.wait().context(program)?;
        done.seconds = start.elapsed().as_secs_f64();
        drop(writer.join());
        let accepted = status
            .code()
            .is_some_and(|code| self.accept.contains(&code));
        if status.success() || accepted {
            return Ok(done);
        }
        Err(Failure::new(format!(
            "{} ended with {status}",
            self.argv.join(" ")
        )))
    }
}

fn drain(from: &mut impl Read, done: &mut Done) -> std::io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut head = Vec::new();
    loop {
        let len = from.read(&mut buffer)?;
        if len == 0 {
            done.head = String::from_utf8_lossy(&head).into_owned();
            return Ok(());
        }
        let piece = &buffer[..len];
        head.extend_from_slice(&piece[..len.min(HEAD_LEN - head.len())]);
        done.line_count += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
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
    fn commands_are_drained_counted_and_judged() {
        let dir = tempfile::tempdir().unwrap();
        let run = |script: &str, accept: Vec<i32>| {
            let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
            let input = "x\ny\n".to_owned();
            Step::Run(Run {
                argv,
                dir: dir.path().into(),
                input,
                accept,
                ..Run::default()
            })
            .work()
        };
        let done = run("cat; seq 100000", vec![]).unwrap();
        assert_eq!(done.line_count, 100_002);
        assert!(done.head.starts_with("x\ny\n1\n"));
        assert!(run("exit 4", vec![1]).unwrap_err().what.contains("exit 4"));
        run("exit 1", vec![1]).unwrap();
    }
}

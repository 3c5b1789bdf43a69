//! A program as a step: run to its end, its output drained, counted and judged.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Done;
use crate::failure::{Context, Failure, Outcome};

/// Length of the head of its output that a command step hands back.
const HEAD_LEN: usize = 200;

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

impl Run {
    pub(super) fn work(&self) -> Outcome<Done> {
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
    use crate::step::Step;

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

//! Commits of SQLite, each durable, in both of its journal modes; counted and checked afterwards.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use super::{Bed, Sheet, command};
use crate::failure::{Failure, Outcome};
use crate::step::{Run, Step};
use crate::subject::Session;

/// Runs statements from standard input against the file in argv, as the `sqlite3` program does.
const PYTHON: &str = "import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for line in sys.stdin:
    for row in connection.execute(line):
        print(*row)
";

pub(super) fn run(session: &mut Session<'_>, bed: &Bed<'_>, sheet: &mut Sheet) -> Outcome<()> {
    let shell = shell()?;
    let modes = [
        ("sqlite-journal", "DELETE", bed.scale.commit_count),
        ("sqlite-wal", "WAL", bed.scale.commit_count * 4),
    ];
    for (row, mode, count) in modes {
        if !bed.wants(&[row]) {
            continue;
        }
        let database = session
            .files()
            .join(format!("{row}.db"))
            .display()
            .to_string();
        let run = |input: String| -> Run {
            let mut argv: Vec<&str> = shell.to_vec();
            argv.push(&database);
            Run {
                input,
                ..command(Path::new("/"), &argv)
            }
        };
        session.settle()?;
        let done = session.step(&Step::Run(run(script(mode, count))))?;
        sheet.put(row, count as f64 / done.seconds);
        let check = "SELECT count(*) FROM event;\nPRAGMA integrity_check;\n".to_owned();
        let seen = session.step(&Step::Run(run(check)))?.head;
        if seen.split_whitespace().collect::<Vec<_>>() != [count.to_string().as_str(), "ok"] {
            return Err(Failure::new(format!(
                "the database is wrong afterwards: {seen}"
            )));
        }
    }
    Ok(())
}

fn script(mode: &str, count: u64) -> String {
    let mut script = format!(
        "PRAGMA journal_mode={mode};\nPRAGMA synchronous=FULL;\n\
         CREATE TABLE event(id INTEGER PRIMARY KEY, name TEXT UNIQUE, body TEXT);\n"
    );
    let body = "the quick brown fox jumps over the lazy dog ".repeat(4);
    for number in 0..count {
        let key = number.wrapping_mul(2_654_435_761) % (1 << 32);
        let values = format!("{number}, 'name-{key:08x}', '{body}{key}'");
        // Writing to a string cannot fail.
        let _ = writeln!(script, "INSERT INTO event VALUES({values});");
    }
    script
}

fn shell() -> Outcome<&'static [&'static str]> {
    let runs = |program: &str| {
        Command::new(program)
            .arg("-version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if runs("sqlite3") {
        Ok(&["sqlite3", "-batch"])
    } else if Command::new("python3")
        .args(["-c", "import sqlite3"])
        .status()
        .is_ok_and(|s| s.success())
    {
        Ok(&["python3", "-c", PYTHON])
    } else {
        Err(Failure::new(
            "neither sqlite3 nor python3 with sqlite3 is installed",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shells_run_the_script() {
        let dir = tempfile::tempdir().unwrap();
        for (number, shell) in [shell().unwrap(), &["python3", "-c", PYTHON]]
            .iter()
            .enumerate()
        {
            for mode in ["DELETE", "WAL"] {
                let database = dir
                    .path()
                    .join(format!("{number}{mode}.db"))
                    .display()
                    .to_string();
                let mut argv = shell.to_vec();
                argv.push(&database);
                let run = |input: String| {
                    Step::Run(Run {
                        input,
                        ..command(dir.path(), &argv)
                    })
                    .work()
                    .unwrap()
                };
                run(script(mode, 7));
                assert_eq!(run("SELECT count(*) FROM event;\n".into()).head, "7\n");
            }
        }
    }
}

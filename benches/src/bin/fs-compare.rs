//! `fs-compare`: whole file systems, the same work, one table.
//!
//! Exit codes: 0 measured, 1 could not run, 2 wrong arguments, 3 a row failed, 130 interrupted.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use coffer_benches::args::{Arguments, Compare, Task};
use coffer_benches::compare::{Plan, check};
use coffer_benches::failure::{Context, Failure, Outcome};
use coffer_benches::process::Interrupt;
use coffer_benches::report::Report;
use coffer_benches::step::Step;
use coffer_benches::{chart, null, rows, table};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.task {
        Some(Task::Step { spec, result }) => step(spec, result),
        Some(Task::Rows) => list(),
        Some(Task::NullFs { mountpoint }) => null::serve(mountpoint).map(|()| ExitCode::SUCCESS),
        None => compare(&arguments.compare),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            say(&format!("fs-compare: {failure}"));
            ExitCode::from(if failure.interrupted { 130 } else { 1 })
        }
    }
}

/// Progress and complaints; nobody to tell is no reason to stop.
fn say(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// Results.
fn print(text: &str) -> Outcome<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("stdout")
}

fn step(spec: &Path, result: &Path) -> Outcome<ExitCode> {
    let spec = std::fs::read(spec).context(spec.display())?;
    let step: Step = serde_json::from_slice(&spec).context("step")?;
    let done = step.work()?;
    let text = serde_json::to_vec(&done).context("result")?;
    std::fs::write(result, text).context(result.display())?;
    Ok(ExitCode::SUCCESS)
}

fn list() -> Outcome<ExitCode> {
    for row in rows::ROWS {
        print(&format!(
            "{:8} {:20} {}\n",
            row.group.word(),
            row.name,
            row.title
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(compare: &Compare) -> Outcome<ExitCode> {
    let interrupt = Interrupt::install().context("signals")?;
    let selected = compare.rows().map_err(Failure::new)?;
    let program = if compare.subjects.iter().any(|name| name == "coffer") {
        coffer_program(compare.coffer.as_deref())?
    } else {
        PathBuf::new()
    };
    let subjects = compare.subjects(program).map_err(Failure::new)?;
    let dir = compare.dir.clone().map_or_else(default_dir, Ok)?;
    let plan = Plan {
        dir: &dir,
        subjects: &subjects,
        rows: selected,
        round_count: compare.rounds,
        scale: compare.scale(),
        step_limit: compare.step_limit(),
    };
    check(&plan)?;
    let report = plan.run(&interrupt, &mut |words| say(words))?;
    write_out(compare, &report)?;
    Ok(if report.has_failures() {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    })
}

fn write_out(compare: &Compare, report: &Report) -> Outcome<()> {
    let text = table::render(report);
    let json = serde_json::to_string_pretty(report).context("report")? + "\n";
    match compare.json.as_deref() {
        Some(path) if path == Path::new("-") => {
            say(&text);
            print(&json)?;
        }
        Some(path) => {
            print(&text)?;
            std::fs::write(path, json).context(path.display())?;
        }
        None => print(&text)?,
    }
    if let Some(path) = &compare.svg {
        std::fs::write(path, chart::render(report)).context(path.display())?;
    }
    Ok(())
}

/// The directory of this program's build, which is on a disk more likely than `/tmp` is.
fn default_dir() -> Outcome<PathBuf> {
    let exe = std::env::current_exe().context("own program")?;
    let target = exe.parent().and_then(Path::parent);
    let target = target.ok_or_else(|| Failure::new("no place for the stores: give --dir"))?;
    Ok(target.join("fs-compare"))
}

/// The binary under test: the one that was asked for, or one built from the sources at hand.
fn coffer_program(asked: Option<&Path>) -> Outcome<PathBuf> {
    if let Some(asked) = asked {
        return asked.canonicalize().context(asked.display());
    }
    let exe = std::env::current_exe().context("own program")?;
    let beside = exe.with_file_name("coffer");
    // Only under `cargo run` do the sources at hand belong to this program.
    if let (Some(cargo), Some(here)) = (
        std::env::var_os("CARGO"),
        std::env::var_os("CARGO_MANIFEST_DIR"),
    ) {
        let mut build = Command::new(cargo);
        build
            .args(["build", "--quiet", "--release", "-p", "coffer"])
            .current_dir(here);
        let status = build.status().context("building coffer")?;
        if !status.success() {
            return Err(Failure::new(format!("building coffer ended with {status}")));
        }
        let target = exe
            .parent()
            .and_then(Path::parent)
            .map(|dir| dir.join("release/coffer"));
        return Ok(target.unwrap_or(beside));
    }
    Ok(beside)
}

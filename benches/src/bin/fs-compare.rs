//! `fs-compare`: whole file systems, the same work, one table.
//!
//! Exit codes: 0 measured, 1 could not run, 2 wrong arguments, 3 a row failed, 130 interrupted.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use coffer_benches::args::{Arguments, COMPARED, Compare, Scaling, Task};
use coffer_benches::compare::{Plan, check};
use coffer_benches::failure::{Context, Failure, Outcome};
use coffer_benches::process::Interrupt;
use coffer_benches::program::{complain, exit_code, measured, print};
use coffer_benches::report::OURS;
use coffer_benches::step::Step;
use coffer_benches::{chart, null, rows, scale, table};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.task {
        Some(Task::Step(files)) => files.run(Step::work),
        Some(Task::Rows) => list(),
        Some(Task::Scale(scaling)) => scale(scaling),
        Some(Task::NullFs { mountpoint }) => null::serve(mountpoint).map(|()| ExitCode::SUCCESS),
        None => compare(&arguments.compare),
    };
    exit_code("fs-compare", result)
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
    let rows = compare.rows().map_err(Failure::new)?;
    let asked = compare.subjects.coffer.as_deref();
    let subjects = compare
        .subjects
        .choose(&COMPARED, || coffer_program(asked))?;
    let output = &compare.options.output;
    let dir = output.dir("fs-compare")?;
    let plan = Plan {
        dir: &dir,
        subjects: &subjects,
        rows,
        round_count: compare.options.round_count(),
        scale: compare.scale(),
        step_limit: output.step_limit(),
    };
    check(&plan)?;
    let report = plan.run(&interrupt, &mut |words| complain(words))?;
    output.tell(&table::render(&report), &report)?;
    if let Some(path) = &output.svg {
        std::fs::write(path, chart::render(&report)).context(path.display())?;
    }
    Ok(measured(report.has_failures()))
}

fn scale(scaling: &Scaling) -> Outcome<ExitCode> {
    let interrupt = Interrupt::install().context("signals")?;
    let asked = scaling.subjects.coffer.as_deref();
    let subjects = scaling.subjects.choose(&[OURS], || coffer_program(asked))?;
    let plan = scale::Plan {
        dir: &scaling.output.dir("fs-compare")?,
        subjects: &subjects,
        entries: &scaling.entries,
        files: &scaling.files,
        round_count: scaling.rounds,
        step_limit: scaling.output.step_limit(),
    };
    let report = plan.run(&interrupt, &mut |words| complain(words))?;
    scaling.output.tell(&scale::render(&report), &report)?;
    if let Some(path) = &scaling.output.svg {
        std::fs::write(path, scale::draw(&report)).context(path.display())?;
    }
    Ok(measured(!report.failures.is_empty()))
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

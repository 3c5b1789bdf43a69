//! `kv-compare`: key-value engines, the same work, one table for each length of values.
//!
//! Exit codes: 0 measured, 1 could not run, 2 wrong arguments, 3 a row failed, 130 interrupted.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use coffer_benches::failure::{Context, Failure, Outcome};
use coffer_benches::kv::args::{Arguments, Compare, Task};
use coffer_benches::kv::compare::Plan;
use coffer_benches::kv::engine::KINDS;
use coffer_benches::kv::report::Report;
use coffer_benches::kv::rows::{ROWS, select, select_values, size_word};
use coffer_benches::kv::step::Step;
use coffer_benches::kv::{chart, table};
use coffer_benches::process::Interrupt;
use coffer_benches::program::{StepFiles, complain, exit_code, measured, print};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.task {
        Some(Task::Step(files)) => step(files),
        Some(Task::Rows) => rows(),
        Some(Task::Engines) => engines(&arguments.compare),
        Some(Task::Show { reports, svg }) => show(reports, svg.as_deref()),
        None => compare(&arguments.compare),
    };
    exit_code("kv-compare", result)
}

fn step(files: &StepFiles) -> Outcome<ExitCode> {
    files.run(Step::work)?;
    // At once: whatever the phase left open stays as it is.
    std::process::exit(0)
}

fn rows() -> Outcome<ExitCode> {
    for row in ROWS {
        print(&format!(
            "{:10} {:14} {}\n",
            row.phase.word(),
            row.name,
            row.title
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn engines(compare: &Compare) -> Outcome<ExitCode> {
    for (name, kind) in KINDS {
        let words = match kind.missing() {
            Some(why) => format!("MISSING: {why}"),
            None => kind.describe(compare.packing).0,
        };
        print(&format!("{name:16} {words}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(paths: &[PathBuf], svg: Option<&Path>) -> Outcome<ExitCode> {
    let mut whole: Option<Report> = None;
    for path in paths {
        let text = std::fs::read(path).context(path.display())?;
        let report: Report = serde_json::from_slice(&text).context(path.display())?;
        match &mut whole {
            None => whole = Some(report),
            Some(whole) => whole.join(report).context(path.display())?,
        }
    }
    if let Some(report) = whole {
        print(&table::render(&report))?;
        draw(&report, svg)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(compare: &Compare) -> Outcome<ExitCode> {
    let interrupt = Interrupt::install().context("signals")?;
    let unknown = |word: String| Failure::new(format!("no row, phase or length is called {word}"));
    let output = &compare.options.output;
    let dir = output.dir("kv-compare")?;
    let plan = Plan {
        dir: &dir,
        engines: compare.kinds().map_err(Failure::new)?,
        rows: select(&compare.only).map_err(unknown)?,
        value_lens: select_values(&compare.values).map_err(unknown)?,
        round_count: compare.options.round_count(),
        scale: compare.scale(),
        packing: compare.packing,
        step_limit: output.step_limit(),
    };
    let report = plan.run(&interrupt, &mut |words| complain(words))?;
    output.tell(&table::render(&report), &report)?;
    draw(&report, output.svg.as_deref())?;
    Ok(measured(report.has_failures()))
}

/// One picture for each length of values: `kv.svg` becomes `kv-100.svg`, `kv-1K.svg` ...
fn draw(report: &Report, svg: Option<&Path>) -> Outcome<()> {
    let Some(svg) = svg else {
        return Ok(());
    };
    let stem = svg.file_stem().unwrap_or_default().to_string_lossy();
    for table in &report.tables {
        let word = size_word(table.size.value_len);
        let path = svg.with_file_name(format!("{stem}-{word}.svg"));
        std::fs::write(&path, chart::render(report, table)).context(path.display())?;
    }
    Ok(())
}

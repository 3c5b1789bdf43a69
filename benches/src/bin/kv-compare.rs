//! `kv-compare`: key-value engines, the same work, one table for each length of values.
//!
//! Exit codes: 0 measured, 1 could not run, 2 wrong arguments, 3 a row failed, 130 interrupted.

use std::io::Write;
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

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.task {
        Some(Task::Step { spec, result }) => step(spec, result),
        Some(Task::Rows) => rows(),
        Some(Task::Engines) => engines(&arguments.compare),
        Some(Task::Show { reports, svg }) => show(reports, svg.as_deref()),
        None => compare(&arguments.compare),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            say(&format!("kv-compare: {failure}"));
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
    let text = serde_json::to_vec(&step.work()?).context("result")?;
    std::fs::write(result, text).context(result.display())?;
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
    let dir = compare.dir.clone().map_or_else(default_dir, Ok)?;
    let plan = Plan {
        dir: &dir,
        engines: compare.kinds().map_err(Failure::new)?,
        rows: select(&compare.only).map_err(unknown)?,
        value_lens: select_values(&compare.values).map_err(unknown)?,
        round_count: compare.round_count(),
        scale: compare.scale(),
        packing: compare.packing,
        step_limit: compare.step_limit(),
    };
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
    draw(report, compare.svg.as_deref())
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

/// The directory of this program's build, which is on a disk more likely than `/tmp` is.
fn default_dir() -> Outcome<PathBuf> {
    let exe = std::env::current_exe().context("own program")?;
    let target = exe.parent().and_then(Path::parent);
    let target = target.ok_or_else(|| Failure::new("no place for the stores: give --dir"))?;
    Ok(target.join("kv-compare"))
}

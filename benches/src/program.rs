//! What the programs of this crate have in common: options, steps in child processes, output.
//!
//! Results go to standard output, progress and complaints to standard error. Exit codes: 0
//! measured, 1 could not run, 2 wrong arguments, 3 a row failed, 130 interrupted.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{Context, Failure, Outcome};
use crate::machine::Machine;
use crate::process::{self, Interrupt};

/// Adds a line to a string, which cannot fail.
macro_rules! say {
    ($out:expr, $($piece:tt)*) => {{
        let _ = core::fmt::Write::write_fmt($out, format_args!($($piece)*));
        $out.push('\n');
    }};
}
pub(crate) use say;

/// What every comparison can be told.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How often each row is measured; tables show medians. [default: 3, with --quick 1]
    #[arg(long, value_name = "COUNT")]
    pub rounds: Option<usize>,
    /// Less work, one round.
    #[arg(long)]
    pub quick: bool,
    /// Where and how.
    #[command(flatten)]
    pub output: Output,
}

/// Where stores and reports go, and how long a step may take.
#[derive(Debug, Clone, Args)]
pub struct Output {
    /// Directory for the stores. Default: beside the build.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Also writes the report as JSON; with `-` to stdout, the table then goes to stderr.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Also draws it.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Seconds after which a single step counts as hung.
    #[arg(long, default_value_t = 180, value_name = "SECONDS")]
    pub timeout: u64,
}

impl Options {
    /// How often each row is measured.
    #[must_use]
    pub fn round_count(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }
}

impl Output {
    /// How long one step may take.
    #[must_use]
    pub fn step_limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// Where the stores go: by default the directory of this program's build, which is on a disk
    /// more likely than `/tmp` is.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn dir(&self, program: &str) -> Outcome<PathBuf> {
        if let Some(dir) = &self.dir {
            return Ok(dir.clone());
        }
        let exe = std::env::current_exe().context("own program")?;
        let target = exe.parent().and_then(Path::parent);
        let target = target.ok_or_else(|| Failure::new("no place for the stores: give --dir"))?;
        Ok(target.join(program))
    }

    /// Tells the result: `text` for people, `report` where JSON was asked for.
    ///
    /// # Errors
    /// When one of them cannot be written.
    pub fn tell(&self, text: &str, report: &impl Serialize) -> Outcome<()> {
        let Some(path) = self.json.as_deref() else {
            return print(text);
        };
        let json = serde_json::to_string_pretty(report).context("report")? + "\n";
        if path == Path::new("-") {
            complain(text);
            return print(&json);
        }
        print(text)?;
        fs::write(path, json).context(path.display())
    }
}

/// A step that a program does in a process of its own.
#[derive(Debug, Args)]
pub struct StepFiles {
    /// File with the step, as JSON.
    spec: PathBuf,
    /// Where the result goes.
    result: PathBuf,
}

impl StepFiles {
    /// Reads the step, does it, and writes what came out.
    ///
    /// # Errors
    /// Those of the step.
    pub fn run<Step: DeserializeOwned, Done: Serialize>(
        &self,
        work: impl FnOnce(&Step) -> Outcome<Done>,
    ) -> Outcome<ExitCode> {
        let spec = fs::read(&self.spec).context(self.spec.display())?;
        let step = serde_json::from_slice(&spec).context("step")?;
        let text = serde_json::to_vec(&work(&step)?).context("result")?;
        fs::write(&self.result, text).context(self.result.display())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Runs `step` in a child of this program, at most for `limit`; files are left in `scratch`.
///
/// # Errors
/// Those of the child, with the end of what it printed.
pub fn in_child<Done: DeserializeOwned>(
    step: &impl Serialize,
    limit: Duration,
    scratch: &Path,
    interrupt: &Interrupt,
) -> Outcome<Done> {
    let (spec, result) = (scratch.join("spec.json"), scratch.join("result.json"));
    let exe = std::env::current_exe().context("own program")?;
    let mut command = Command::new(&exe);
    // In a file: the input of a database is too long for an argument.
    fs::write(&spec, serde_json::to_vec(step).context("step")?).context(spec.display())?;
    command.arg("step").arg(&spec).arg(&result);
    // A result of the step before must never be taken for this one's.
    let _ = fs::remove_file(&result);
    process::run(command, limit, &scratch.join("step.log"), interrupt).map_err(|failure| {
        // Without the name of the program, which is this one.
        let name = exe.display().to_string();
        let what = failure.what.strip_prefix(&name).unwrap_or(&failure.what);
        Failure {
            what: what.trim_start_matches([':', ' ']).to_owned(),
            ..failure
        }
    })?;
    let text = fs::read(&result).context(result.display())?;
    serde_json::from_slice(&text).context("result of a step")
}

/// Progress and complaints; nobody to tell is no reason to stop.
pub fn complain(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// Results.
///
/// # Errors
/// When standard output takes no more.
pub fn print(text: &str) -> Outcome<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("stdout")
}

/// Ends `program` as its result says.
#[must_use]
pub fn exit_code(program: &str, result: Outcome<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|failure| {
        complain(&format!("{program}: {failure}"));
        ExitCode::from(if failure.interrupted { 130 } else { 1 })
    })
}

/// The exit code of a run that came to its end.
#[must_use]
pub fn measured(has_failures: bool) -> ExitCode {
    if has_failures {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    }
}

/// The machine in one line, and a line for each thing that weakens the numbers.
#[must_use]
pub fn machine_lines(machine: &Machine) -> String {
    let mut out = format!("{}, load {}\n", machine.line(), machine.load);
    if !machine.drops_caches {
        out += "NOT root: caches were not dropped, \"cold\" means opened again only.\n";
    }
    if machine.disk == "tmpfs" {
        out += "The stores are on tmpfs: nothing here says anything about a disk.\n";
    }
    out
}

/// The rows that `words` name, all where there are none.
///
/// # Errors
/// Returns the first word that names none.
pub fn select<'a, Row>(
    rows: &'a [Row],
    words: &[String],
    names: impl Fn(&Row, &str) -> bool,
) -> Result<Vec<&'a Row>, String> {
    let unknown = |word: &&String| !rows.iter().any(|row| names(row, word));
    if let Some(word) = words.iter().find(unknown) {
        return Err(word.clone());
    }
    let wanted = |row: &&Row| words.is_empty() || words.iter().any(|word| names(row, word));
    Ok(rows.iter().filter(wanted).collect())
}

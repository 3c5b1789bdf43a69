//! What `fs-compare` understands on its command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::group::Scale;
use crate::rows;
use crate::subject::{Bare, Coffer, Gocryptfs, Null, Subject};

/// Measures Coffer against gocryptfs and the bare disk in one run.
#[derive(Debug, Parser)]
#[command(name = "fs-compare", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What to do instead of comparing.
    #[command(subcommand)]
    pub task: Option<Task>,
    /// How to compare.
    #[command(flatten)]
    pub compare: Compare,
}

/// What the program does for itself.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Does one step in this process (used by the program itself).
    #[command(hide = true)]
    Step {
        /// File with the step, as JSON.
        spec: PathBuf,
        /// Where the result goes.
        result: PathBuf,
    },
    /// Mounts a file system in memory: what FUSE itself costs.
    NullFs {
        /// Where it is mounted.
        mountpoint: PathBuf,
    },
    /// Lists the rows.
    Rows,
}

/// How to compare.
#[derive(Debug, Args)]
pub struct Compare {
    /// How often each row is measured; the table shows medians.
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    pub rounds: usize,
    /// Rows or groups of rows to measure (see `fs-compare rows`).
    #[arg(long, value_delimiter = ',', value_name = "ROW,..")]
    pub only: Vec<String>,
    /// Subjects to measure; `null-fuse`, what FUSE itself costs, only takes part when named.
    #[arg(long, value_delimiter = ',', default_value = "coffer,gocryptfs,disk")]
    pub subjects: Vec<String>,
    /// A fifth of the work, one round unless --rounds says more.
    #[arg(long)]
    pub quick: bool,
    /// Directory for the stores; its file system is the bare disk. Default: target/fs-compare.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Also writes the report as JSON; with `-` to stdout, the table then goes to stderr.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Also draws the ratios as a bar chart.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Seconds after which a single step counts as hung.
    #[arg(long, default_value_t = 180, value_name = "SECONDS")]
    pub timeout: u64,
    /// The binary `coffer`. Default: built now from this workspace, in release mode.
    #[arg(long, value_name = "PROGRAM")]
    pub coffer: Option<PathBuf>,
    /// Further argument of `coffer init`, for example --coffer-init=--ecc=none; repeatable.
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub coffer_init: Vec<String>,
    /// Further argument of `coffer mount`; repeatable.
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub coffer_mount: Vec<String>,
}

impl Compare {
    /// How much work each row is.
    #[must_use]
    pub fn scale(&self) -> Scale {
        if self.quick {
            Scale::QUICK
        } else {
            Scale::FULL
        }
    }

    /// How long one step may take.
    #[must_use]
    pub fn step_limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// The subjects of the run, Coffer with the binary `program`.
    ///
    /// # Errors
    /// Returns the first name that is none.
    pub fn subjects(&self, program: PathBuf) -> Result<Vec<Box<dyn Subject>>, String> {
        let coffer = || Coffer {
            program: program.clone(),
            init_arguments: self.coffer_init.clone(),
            mount_arguments: self.coffer_mount.clone(),
        };
        let subject = |name: &String| -> Result<Box<dyn Subject>, String> {
            match name.as_str() {
                "coffer" => Ok(Box::new(coffer())),
                "gocryptfs" => Ok(Box::new(Gocryptfs)),
                "disk" => Ok(Box::new(Bare)),
                "null-fuse" => Ok(Box::new(Null)),
                _ => Err(format!(
                    "no subject is called {name}: coffer, gocryptfs, disk, null-fuse"
                )),
            }
        };
        self.subjects.iter().map(subject).collect()
    }

    /// The rows of the run.
    ///
    /// # Errors
    /// Names the word that is neither a row nor a group.
    pub fn rows(&self) -> Result<Vec<&'static rows::Row>, String> {
        rows::select(&self.only)
            .map_err(|word| format!("no row or group is called {word}; see `fs-compare rows`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        let parsed = Arguments::parse_from(["fs-compare", "--only", "rm,git", "--quick"]);
        assert_eq!(parsed.compare.rows().unwrap().len(), 3);
        assert_eq!(parsed.compare.subjects(PathBuf::new()).unwrap().len(), 3);
        let wrong = Arguments::parse_from(["fs-compare", "--only", "x", "--subjects", "y"]);
        assert!(wrong.compare.rows().is_err());
        assert!(wrong.compare.subjects(PathBuf::new()).is_err());
    }
}

//! What `kv-compare` understands on its command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::kv::engine::{KINDS, Kind, Packing};
use crate::kv::rows::Scale;

/// Measures Coffer against other key-value engines in one run.
#[derive(Debug, Parser)]
#[command(name = "kv-compare", version, args_conflicts_with_subcommands = true)]
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
    /// Lists the rows.
    Rows,
    /// Lists the engines.
    Engines,
    /// Shows JSON reports as tables again, and draws them; several are put together as one run, which
    /// they are where they were made one after the other.
    Show {
        /// The reports.
        #[arg(required = true)]
        reports: Vec<PathBuf>,
        /// Also draws the ratios: one file for each length of values, named after this one.
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
}

/// How to compare.
#[derive(Debug, Args)]
pub struct Compare {
    /// How often each row is measured; the tables show medians. [default: 3, with --quick 1]
    #[arg(long, value_name = "COUNT")]
    pub rounds: Option<usize>,
    /// Rows or phases to measure (see `kv-compare rows`).
    #[arg(long, value_delimiter = ',', value_name = "ROW,..")]
    pub only: Vec<String>,
    /// Engines to measure (see `kv-compare engines`).
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAME,..",
        default_value = "coffer,coffer-plain,surrealkv,surrealkv-tde,fjall,coordinode,coordinode-ae,rocksdb,rocksdb-blob"
    )]
    pub engines: Vec<String>,
    /// Lengths of values: 100, 1K, 16K, 128K, 1M.
    #[arg(long, value_delimiter = ',', value_name = "LEN,..")]
    pub values: Vec<String>,
    /// How values are made smaller: by each engine's own codec, or by nobody.
    #[arg(long, value_enum, default_value = "own")]
    pub packing: Packing,
    /// An eighth of the data, shorter times, one round.
    #[arg(long)]
    pub quick: bool,
    /// Directory for the stores. Default: target/kv-compare.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Also writes the report as JSON; with `-` to stdout, the tables then go to stderr.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Also draws the ratios: one file for each length of values, named after this one.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Seconds after which a single step counts as hung.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub timeout: u64,
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

    /// How often each row is measured.
    #[must_use]
    pub fn round_count(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }

    /// How long one step may take.
    #[must_use]
    pub fn step_limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// The engines of the run.
    ///
    /// # Errors
    /// Names the first word that is none.
    pub fn kinds(&self) -> Result<Vec<(&'static str, Kind)>, String> {
        let find = |name: &String| {
            let found = KINDS.iter().find(|(known, _)| known == name);
            found
                .copied()
                .ok_or_else(|| format!("no engine is called {name}; see `kv-compare engines`"))
        };
        self.engines.iter().map(find).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        let parsed = Arguments::parse_from(["kv-compare", "--quick", "--values", "1K,1M"]).compare;
        assert_eq!((parsed.values.len(), parsed.round_count()), (2, 1));
        assert_eq!(parsed.kinds().unwrap().len(), 9);
        let wrong = Arguments::parse_from(["kv-compare", "--engines", "x"]).compare;
        assert!(wrong.kinds().is_err());
    }
}

//! What `kv-compare` understands on its command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::kv::engine::{KINDS, Kind, Packing};
use crate::kv::rows::Scale;
use crate::program::{Options, StepFiles};

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
    Step(StepFiles),
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
    /// How often, how much, where to.
    #[command(flatten)]
    pub options: Options,
}

impl Compare {
    /// How much work each row is.
    #[must_use]
    pub fn scale(&self) -> Scale {
        if self.options.quick {
            Scale::QUICK
        } else {
            Scale::FULL
        }
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
        assert_eq!((parsed.values.len(), parsed.options.round_count()), (2, 1));
        assert_eq!(parsed.kinds().unwrap().len(), 9);
        let wrong = Arguments::parse_from(["kv-compare", "--engines", "x"]).compare;
        assert!(wrong.kinds().is_err());
    }
}

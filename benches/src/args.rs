//! What `fs-compare` understands on its command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::failure::{Failure, Outcome};
use crate::group::Scale;
use crate::program::{Options, Output, StepFiles};
use crate::report::{DISK, FLOOR, OURS};
use crate::rows;
use crate::subject::{Bare, Coffer, Null, PEERS, Subject};

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
    Step(StepFiles),
    /// Mounts a file system in memory: what FUSE itself costs.
    NullFs {
        /// Where it is mounted.
        mountpoint: PathBuf,
    },
    /// Measures how costs grow with the number of files.
    Scale(Scaling),
    /// Lists the rows.
    Rows,
}

/// How to compare.
#[derive(Debug, Args)]
pub struct Compare {
    /// Rows or groups of rows to measure (see `fs-compare rows`).
    #[arg(long, value_delimiter = ',', value_name = "ROW,..")]
    pub only: Vec<String>,
    /// Which file systems.
    #[command(flatten)]
    pub subjects: Subjects,
    /// How often, how much, where to.
    #[command(flatten)]
    pub options: Options,
}

/// How to measure growth.
#[derive(Debug, Args)]
pub struct Scaling {
    /// Sizes of a single directory; 0 for none.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "COUNT,..",
        default_value = "1000,10000,100000,1000000"
    )]
    pub entries: Vec<u64>,
    /// Sizes of a store with directories of a thousand files; 0 for none.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "COUNT,..",
        default_value = "10000,100000,1000000"
    )]
    pub files: Vec<u64>,
    /// How often each size is measured; the table shows medians.
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    pub rounds: usize,
    /// Which file systems.
    #[command(flatten)]
    pub subjects: Subjects,
    /// Where to.
    #[command(flatten)]
    pub output: Output,
}

/// Which file systems are measured.
#[derive(Debug, Args)]
pub struct Subjects {
    /// Subjects to measure: coffer, gocryptfs, cryfs, encfs, securefs, disk, null-fuse (what FUSE
    /// itself costs), or all. [default: coffer,gocryptfs,disk,null-fuse; of `scale`: coffer]
    #[arg(long, value_delimiter = ',', value_name = "NAME,..")]
    pub subjects: Vec<String>,
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

impl Subjects {
    /// The subjects of the run, those of `default` where none is named, Coffer with the binary that `program` finds.
    ///
    /// # Errors
    /// Returns the first name that is none, or why there is no binary.
    pub fn choose(
        &self,
        default: &[&str],
        program: impl FnOnce() -> Outcome<PathBuf>,
    ) -> Outcome<Vec<Box<dyn Subject>>> {
        let mut named: Vec<&str> = self.subjects.iter().map(String::as_str).collect();
        if named.is_empty() {
            named = default.to_vec();
        }
        let mut known: Vec<Box<dyn Subject>> = vec![Box::new(Bare), Box::new(Null)];
        known.extend(PEERS.map(|peer| Box::new(peer) as Box<dyn Subject>));
        let takes_all = named == ["all"];
        if takes_all || named.contains(&OURS) {
            let coffer = Coffer {
                program: program()?,
                init_arguments: self.coffer_init.clone(),
                mount_arguments: self.coffer_mount.clone(),
            };
            known.insert(0, Box::new(coffer));
        }
        if takes_all {
            known.sort_by_key(|subject| ALL.iter().position(|name| *name == subject.name()));
            return Ok(known);
        }
        let mut choose = |name: &str| {
            let place = known.iter().position(|subject| subject.name() == name);
            let unknown = || {
                let names = ALL.join(", ");
                Failure::new(format!(
                    "no subject is called {name} (or twice): {names}, all"
                ))
            };
            place.map(|place| known.remove(place)).ok_or_else(unknown)
        };
        named.into_iter().map(&mut choose).collect()
    }
}

/// Who takes part in a comparison where nobody is named.
pub const COMPARED: [&str; 4] = [OURS, "gocryptfs", DISK, FLOOR];

/// The names of all subjects, in the order of the table.
const ALL: [&str; 7] = [OURS, "gocryptfs", "cryfs", "encfs", "securefs", DISK, FLOOR];

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

    fn names(subjects: &Subjects) -> Outcome<Vec<&'static str>> {
        let chosen = subjects.choose(&COMPARED, || Ok(PathBuf::new()))?;
        Ok(chosen.iter().map(|subject| subject.name()).collect())
    }

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        let parsed = Arguments::parse_from(["fs-compare", "--only", "rm,git", "--quick"]).compare;
        assert_eq!(parsed.rows().unwrap().len(), 3);
        assert_eq!(parsed.options.round_count(), 1);
        let default = names(&parsed.subjects).unwrap();
        assert_eq!(default, COMPARED);
        let all = Arguments::parse_from(["fs-compare", "--subjects", "all"]).compare;
        assert_eq!(names(&all.subjects).unwrap(), ALL);
        for word in ["y", "disk,disk"] {
            let wrong = Arguments::parse_from(["fs-compare", "--only", "x", "--subjects", word]);
            assert!(wrong.compare.rows().is_err());
            assert!(names(&wrong.compare.subjects).is_err());
        }
    }
}

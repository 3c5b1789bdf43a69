//! What `fs-compare` understands on its command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::failure::{Failure, Outcome};
use crate::group::Scale;
use crate::program::{Options, StepFiles};
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

/// Which file systems are measured.
#[derive(Debug, Args)]
pub struct Subjects {
    /// Subjects to measure: coffer, gocryptfs, cryfs, encfs, securefs, disk, null-fuse (what FUSE
    /// itself costs), or all.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAME,..",
        default_value = "coffer,gocryptfs,disk,null-fuse"
    )]
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
    /// The subjects of the run, Coffer with the binary that `program` finds.
    ///
    /// # Errors
    /// Returns the first name that is none, or why there is no binary.
    pub fn choose(
        &self,
        program: impl FnOnce() -> Outcome<PathBuf>,
    ) -> Outcome<Vec<Box<dyn Subject>>> {
        let mut known: Vec<Box<dyn Subject>> = vec![Box::new(Bare), Box::new(Null)];
        known.extend(PEERS.map(|peer| Box::new(peer) as Box<dyn Subject>));
        let takes_all = self.subjects == ["all"];
        if takes_all || self.subjects.iter().any(|name| name == OURS) {
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
        let mut choose = |name: &String| {
            let place = known.iter().position(|subject| subject.name() == name);
            let unknown = || {
                let names = ALL.join(", ");
                Failure::new(format!(
                    "no subject is called {name} (or twice): {names}, all"
                ))
            };
            place.map(|place| known.remove(place)).ok_or_else(unknown)
        };
        self.subjects.iter().map(&mut choose).collect()
    }
}

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
        let chosen = subjects.choose(|| Ok(PathBuf::new()))?;
        Ok(chosen.iter().map(|subject| subject.name()).collect())
    }

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        let parsed = Arguments::parse_from(["fs-compare", "--only", "rm,git", "--quick"]).compare;
        assert_eq!(parsed.rows().unwrap().len(), 3);
        assert_eq!(parsed.options.round_count(), 1);
        let default = names(&parsed.subjects).unwrap();
        assert_eq!(default, ["coffer", "gocryptfs", "disk", "null-fuse"]);
        let all = Arguments::parse_from(["fs-compare", "--subjects", "all"]).compare;
        assert_eq!(names(&all.subjects).unwrap(), ALL);
        for word in ["y", "disk,disk"] {
            let wrong = Arguments::parse_from(["fs-compare", "--only", "x", "--subjects", word]);
            assert!(wrong.compare.rows().is_err());
            assert!(names(&wrong.compare.subjects).is_err());
        }
    }
}

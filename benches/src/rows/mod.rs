//! The rows of the table: what each measures, in which unit, and what it promises to the user.
//!
//! This list, the targets and docs/BENCHMARKING.md name the same rows (a test compares them).

mod list;
mod targets;

pub use list::ROWS;
pub use targets::{Against, TARGETS, Target};

use serde::Serialize;

use crate::program;
use crate::unit::Unit;

/// What is on the medium when the clock stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Durability {
    /// Nothing is promised: the work may sit in memory.
    Nothing,
    /// One fsync of the file, inside the time.
    SyncAtEnd,
    /// fsync after each operation.
    SyncEach,
    /// Unmounted and everything synced, inside the time.
    Everything,
    /// What the program under test asks for by itself.
    Program,
    /// Only reads.
    Reads,
}

impl Durability {
    /// The words in the table.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Nothing => "nothing promised",
            Self::SyncAtEnd => "fsync at the end",
            Self::SyncEach => "fsync each",
            Self::Everything => "unmount + sync",
            Self::Program => "as the program asks",
            Self::Reads => "-",
        }
    }
}

/// Rows that share one mount and its preparation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Group {
    /// Long files, blocks of 1 MiB.
    Stream,
    /// Blocks of 4 KiB at random places.
    Random,
    /// One operation after the other on small files.
    Files,
    /// Ten thousand small files.
    Tree,
    /// Commits of a database.
    Sqlite,
    /// A version control system.
    Git,
    /// Collected over all other groups.
    Memory,
}

impl Group {
    /// Every group, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::Stream,
        Self::Random,
        Self::Files,
        Self::Tree,
        Self::Sqlite,
        Self::Git,
        Self::Memory,
    ];

    /// The word for `--only`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Random => "random",
            Self::Files => "files",
            Self::Tree => "tree",
            Self::Sqlite => "sqlite",
            Self::Git => "git",
            Self::Memory => "memory",
        }
    }
}

/// One row.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Row {
    /// Its name for `--only` and in the JSON.
    pub name: &'static str,
    /// Its title in the table.
    pub title: &'static str,
    /// What it shares a mount with.
    pub group: Group,
    /// Its unit.
    pub unit: Unit,
    /// What it promises.
    pub durability: Durability,
}

const fn row(
    name: &'static str,
    title: &'static str,
    group: Group,
    unit: Unit,
    durability: Durability,
) -> Row {
    Row {
        name,
        title,
        group,
        unit,
        durability,
    }
}

/// The row of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

/// The rows that the words of `--only` select: names of rows or of groups.
///
/// # Errors
/// Returns the first word that names neither.
pub fn select(words: &[String]) -> Result<Vec<&'static Row>, String> {
    program::select(ROWS, words, |row, word| {
        row.name == word || row.group.word() == word
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_targets_name_rows() {
        for (index, row) in ROWS.iter().enumerate() {
            assert!(
                ROWS[..index].iter().all(|other| other.name != row.name),
                "{}",
                row.name
            );
            assert!(
                Group::ALL.iter().all(|group| group.word() != row.name) || row.name == "memory"
            );
        }
        assert!(TARGETS.iter().all(|target| find(target.row).is_some()));
    }

    #[test]
    fn selection_takes_rows_and_groups() {
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(select(&[]).unwrap().len(), ROWS.len());
        let only = words(&["git", "rm"]);
        let rows: Vec<_> = select(&only).unwrap().iter().map(|row| row.name).collect();
        assert_eq!(rows, ["rm", "git-clone", "git-status-cold"]);
        assert_eq!(select(&words(&["rm", "nope"])).unwrap_err(), "nope");
    }

    #[test]
    fn the_document_names_every_row() {
        let document = include_str!("../../../docs/BENCHMARKING.md");
        for row in ROWS {
            assert!(
                document.contains(&format!("`{}`", row.name)),
                "{} is missing",
                row.name
            );
        }
    }
}

//! The rows of the table: what each measures, in which unit, and what it promises to the user.
//!
//! This list, the targets and docs/BENCHMARKING.md name the same rows (a test compares them).

use serde::Serialize;

/// How a value is told, and which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Millions of bytes per second; more is better.
    MegabytesPerSecond,
    /// Operations per second; more is better.
    PerSecond,
    /// Seconds; less is better.
    Seconds,
    /// Bytes; less is better, and ratios are ratios of size.
    Bytes,
}

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
    pub const ALL: [Self; 6] = [
        Self::Stream,
        Self::Random,
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

/// All rows, in the order of the table.
pub const ROWS: &[Row] = {
    use Durability::{Everything, Nothing, Program, Reads, SyncAtEnd, SyncEach};
    use Group::{Git, Memory, Random, Sqlite, Stream, Tree};
    use Unit::{Bytes, MegabytesPerSecond as Rate, PerSecond, Seconds};
    &[
        row(
            "write-text",
            "sequential write 1M, text 2:1",
            Stream,
            Rate,
            SyncAtEnd,
        ),
        row(
            "write-noise",
            "sequential write 1M, incompressible",
            Stream,
            Rate,
            SyncAtEnd,
        ),
        row(
            "read-cold-text",
            "sequential read 1M cold, text",
            Stream,
            Rate,
            Reads,
        ),
        row(
            "read-cold-noise",
            "sequential read 1M cold, incompressible",
            Stream,
            Rate,
            Reads,
        ),
        row(
            "read-warm-text",
            "sequential read 1M warm, text",
            Stream,
            Rate,
            Reads,
        ),
        row(
            "read-warm-noise",
            "sequential read 1M warm, incompressible",
            Stream,
            Rate,
            Reads,
        ),
        row(
            "random-read-cold",
            "random read 4K cold",
            Random,
            PerSecond,
            Reads,
        ),
        row(
            "random-read-warm",
            "random read 4K warm",
            Random,
            PerSecond,
            Reads,
        ),
        row(
            "random-write-fsync",
            "random write 4K + fsync",
            Random,
            PerSecond,
            SyncEach,
        ),
        row(
            "random-write-end",
            "random write 4K, one fsync",
            Random,
            PerSecond,
            SyncAtEnd,
        ),
        row("untar", "untar small files", Tree, Seconds, Nothing),
        row(
            "untar-durable",
            "untar small files, to the medium",
            Tree,
            Seconds,
            Everything,
        ),
        row("ls-cold", "ls -lR cold", Tree, Seconds, Reads),
        row("ls-warm", "ls -lR warm", Tree, Seconds, Reads),
        row("find-cold", "find cold", Tree, Seconds, Reads),
        row("du-cold", "du cold", Tree, Seconds, Reads),
        row("grep-cold", "grep -r cold", Tree, Seconds, Reads),
        row("grep-warm", "grep -r warm", Tree, Seconds, Reads),
        row("rm", "rm -rf", Tree, Seconds, Nothing),
        row(
            "sqlite-journal",
            "SQLite commits, rollback journal",
            Sqlite,
            PerSecond,
            SyncEach,
        ),
        row(
            "sqlite-wal",
            "SQLite commits, WAL, synchronous=FULL",
            Sqlite,
            PerSecond,
            SyncEach,
        ),
        row("git-clone", "git clone file://", Git, Seconds, Program),
        row("git-status-cold", "git status cold", Git, Seconds, Reads),
        row(
            "space-disk",
            "source text: bytes allocated on disk",
            Tree,
            Bytes,
            Everything,
        ),
        row(
            "space-len",
            "source text: sum of file lengths",
            Tree,
            Bytes,
            Everything,
        ),
        row(
            "memory",
            "peak memory of the daemon",
            Memory,
            Bytes,
            Nothing,
        ),
    ]
};

/// The row of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

/// The rows that the words of `--only` select: names of rows or of groups.
///
/// # Errors
/// Returns the first word that names neither.
pub fn select(words: &[String]) -> Result<Vec<&'static Row>, &str> {
    let names = |word: &str, row: &Row| row.name == word || row.group.word() == word;
    if let Some(word) = words
        .iter()
        .find(|word| !ROWS.iter().any(|row| names(word, row)))
    {
        return Err(word);
    }
    let wanted = |row: &&Row| words.is_empty() || words.iter().any(|word| names(word, row));
    Ok(ROWS.iter().filter(wanted).collect())
}

/// Against what a target is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Against {
    /// The ratio to gocryptfs must be at least this.
    PeerAtLeast(f64),
    /// The ratio to the bare disk must be at most this (sizes).
    DiskAtMost(f64),
    /// The value itself must be at most this.
    ValueAtMost(f64),
}

/// What Coffer has to reach in a row.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Target {
    /// The row.
    pub row: &'static str,
    /// What it has to reach.
    pub against: Against,
}

/// All targets.
pub const TARGETS: &[Target] = {
    const fn target(row: &'static str, against: Against) -> Target {
        Target { row, against }
    }
    use Against::{DiskAtMost, PeerAtLeast, ValueAtMost};
    &[
        target("untar", PeerAtLeast(1.5)),
        target("rm", PeerAtLeast(2.0)),
        target("ls-cold", PeerAtLeast(1.0)),
        target("ls-warm", PeerAtLeast(1.0)),
        target("write-noise", PeerAtLeast(1.0)),
        target("read-cold-noise", PeerAtLeast(1.0)),
        target("read-warm-noise", PeerAtLeast(1.0)),
        target("write-text", PeerAtLeast(0.8)),
        target("read-cold-text", PeerAtLeast(0.8)),
        target("read-warm-text", PeerAtLeast(0.8)),
        target("memory", ValueAtMost(512.0 * 1024.0 * 1024.0)),
        target("space-disk", DiskAtMost(0.7)),
        target("space-len", DiskAtMost(0.7)),
    ]
};

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
        let document = include_str!("../../docs/BENCHMARKING.md");
        for row in ROWS {
            assert!(
                document.contains(&format!("`{}`", row.name)),
                "{} is missing",
                row.name
            );
        }
    }
}

//! The rows of the table, the lengths of values, and how much work each is.
//!
//! This list and docs/BENCHMARKING.md name the same rows (a test compares them).

use serde::{Deserialize, Serialize};

use crate::kv::phase::Phase;
use crate::program;
use crate::unit::Unit;

/// One row.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Row {
    /// Its name for `--only` and in the JSON.
    pub name: &'static str,
    /// Its title in the table.
    pub title: &'static str,
    /// The phase that measures it.
    pub phase: Phase,
    /// Its unit.
    pub unit: Unit,
    /// What is on the medium when the clock stops.
    pub durability: &'static str,
}

const fn row(
    name: &'static str,
    title: &'static str,
    phase: Phase,
    unit: Unit,
    durability: &'static str,
) -> Row {
    Row {
        name,
        title,
        phase,
        unit,
        durability,
    }
}

const NOTHING: &str = "nothing promised";
const EACH: &str = "each commit";
const READS: &str = "-";

/// All rows, in the order of the table.
pub const ROWS: &[Row] = {
    use Phase::{Load, LoadMany, Mixed, Overwrite, Read, Recover, Scan, Sync};
    use Unit::{Bytes, Factor, MegabytesPerSecond as Rate, PerSecond, Seconds};
    &[
        row("load", "load, random order, 1 thread", Load, Rate, NOTHING),
        row(
            "load-4t",
            "load, random order, 4 threads",
            LoadMany,
            Rate,
            NOTHING,
        ),
        row(
            "load-settled",
            "load and compaction to the end",
            Load,
            Rate,
            "flushed tables",
        ),
        row("sync", "commits with sync, 1 thread", Sync, PerSecond, EACH),
        row(
            "sync-4t",
            "commits with sync, 4 threads",
            Sync,
            PerSecond,
            EACH,
        ),
        row("get-cold", "point reads cold", Read, PerSecond, READS),
        row(
            "get-uniform",
            "point reads warm, uniform",
            Read,
            PerSecond,
            READS,
        ),
        row(
            "get-zipf",
            "point reads warm, zipfian",
            Read,
            PerSecond,
            READS,
        ),
        row(
            "get-4t",
            "point reads warm, uniform, 4 threads",
            Read,
            PerSecond,
            READS,
        ),
        row(
            "get-absent",
            "point reads of absent keys",
            Read,
            PerSecond,
            READS,
        ),
        row("scan-cold", "scan with values cold", Scan, Rate, READS),
        row("scan-warm", "scan with values warm", Scan, Rate, READS),
        row(
            "keys-cold",
            "scan of keys and sizes cold",
            Scan,
            PerSecond,
            READS,
        ),
        row(
            "keys-warm",
            "scan of keys and sizes warm",
            Scan,
            PerSecond,
            READS,
        ),
        row("overwrite", "overwrite half", Overwrite, Rate, NOTHING),
        row(
            "compact",
            "compaction after it",
            Overwrite,
            Seconds,
            "compacted tables",
        ),
        row(
            "space",
            "space on disk after it",
            Overwrite,
            Bytes,
            "closed store",
        ),
        row(
            "written",
            "bytes written per byte overwritten",
            Overwrite,
            Factor,
            "compacted tables",
        ),
        row(
            "mixed",
            "reads and overwrites 1:1, 2 threads",
            Mixed,
            PerSecond,
            NOTHING,
        ),
        row(
            "recover",
            "reopen without having been closed",
            Recover,
            Seconds,
            NOTHING,
        ),
        row("memory", "peak memory", Phase::Memory, Bytes, READS),
    ]
};

/// The rows that `words` name, all where there are none.
///
/// # Errors
/// Returns the first word that is neither row nor phase.
pub fn select(words: &[String]) -> Result<Vec<&'static Row>, String> {
    program::select(ROWS, words, |row, word| {
        row.name == word || row.phase.word() == word
    })
}

/// A length of values and how much of it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Bytes of a value.
    pub value_len: usize,
    /// How many are loaded.
    pub count: u64,
}

/// The word for `--values` and in the table.
#[must_use]
pub fn size_word(value_len: usize) -> String {
    match value_len {
        len if len >= 1 << 20 => format!("{}M", len >> 20),
        len if len >= 1 << 10 => format!("{}K", len >> 10),
        len => format!("{len}"),
    }
}

/// How much work the rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    /// Everything is divided by this.
    pub divisor: u64,
    /// Milliseconds for each row that counts operations in a time.
    pub row_ms: u64,
}

impl Scale {
    /// The default.
    pub const FULL: Self = Self {
        divisor: 1,
        row_ms: 800,
    };
    /// A quick look.
    pub const QUICK: Self = Self {
        divisor: 8,
        row_ms: 250,
    };

    /// The work for values of `value_len` bytes.
    #[must_use]
    pub fn size(self, value_len: usize) -> Size {
        let bytes: u64 = match value_len {
            0..=255 => 40 << 20,
            256..=4095 => 64 << 20,
            4096..=65535 => 96 << 20,
            _ => 128 << 20,
        };
        Size {
            value_len,
            count: (bytes / value_len.max(1) as u64 / self.divisor).max(16),
        }
    }
}

/// The lengths of values in the order of the tables, with their words.
pub const VALUE_LENS: [usize; 5] = [100, 1 << 10, 16 << 10, 128 << 10, 1 << 20];

/// The lengths that `words` name, all where there are none.
///
/// # Errors
/// Returns the first word that is none of them.
pub fn select_values(words: &[String]) -> Result<Vec<usize>, String> {
    if words.is_empty() {
        return Ok(VALUE_LENS.to_vec());
    }
    let parse = |word: &String| {
        let found = VALUE_LENS.iter().find(|len| size_word(**len) == *word);
        found.copied().ok_or_else(|| word.clone())
    };
    words.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_select_rows_and_phases() {
        let select = |word: &str| select(&[word.to_owned()]).map(|rows| rows.len());
        assert_eq!(select("get-cold"), Ok(1));
        assert_eq!(select("scan"), Ok(4));
        assert_eq!(select("x"), Err("x".into()));
        assert_eq!(super::select(&[]).unwrap().len(), ROWS.len());
        assert_eq!(select_values(&["16K".into()]), Ok(vec![16 << 10]));
        assert!(select_values(&["17K".into()]).is_err());
    }

    #[test]
    fn the_document_names_the_same_rows() {
        let root = env!("CARGO_MANIFEST_DIR");
        let text = std::fs::read_to_string(format!("{root}/../docs/BENCHMARKING.md")).unwrap();
        for row in ROWS {
            assert!(text.contains(&format!("`{}`", row.name)), "{}", row.name);
        }
    }
}

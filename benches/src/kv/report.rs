//! The result of a run: every value, medians, ratios to the best peer. What `--json` writes.
//!
//! - A ratio is Coffer against the best peer, above 1 where Coffer is better, whatever the unit.
//! - There are two of them: to the best of those who do the same work (compress the values where
//!   Coffer does, log what Coffer logs), and to the best of all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::kv::engine::{Kind, OURS, Packing, Promise};
use crate::kv::phase::Values;
use crate::kv::rows::{ROWS, Row, Scale, Size};
use crate::machine::Machine;
use crate::unit::median;

/// One engine, as the report tells of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Column {
    /// Its short name.
    pub name: String,
    /// Version and settings.
    pub settings: String,
    /// What a commit and a sync mean to it.
    pub durability: String,
    /// Why it took no part, if so.
    pub missing: Option<String>,
}

/// What one engine reached in one row.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cell {
    /// One value per round in which it succeeded.
    pub values: Vec<f64>,
    /// Why it failed, once per round in which it did.
    pub failures: Vec<String>,
    /// Why it cannot do this row at all.
    pub cannot: Option<String>,
    /// The middle value.
    pub median: Option<f64>,
    /// It did less work than Coffer: no compression, or no log.
    pub less: bool,
}

/// One row for one length of values.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// Name of the row.
    pub row: String,
    /// A cell per engine.
    pub cells: BTreeMap<String, Cell>,
    /// Coffer against the best peer that does the same work, and its name.
    pub to_same: Option<(f64, String)>,
    /// Coffer against the best peer of all, and its name.
    pub to_any: Option<(f64, String)>,
}

/// All rows of one length of values.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    /// Values and how many.
    pub size: Size,
    /// The rows.
    pub lines: Vec<Line>,
}

/// Everything about one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// What it ran on.
    pub machine: Machine,
    /// How often each row was measured.
    pub round_count: usize,
    /// How much work each row is.
    pub scale: Scale,
    /// How values are made smaller.
    pub packing: Packing,
    /// The engines.
    pub columns: Vec<Column>,
    /// A table for each length of values.
    pub tables: Vec<Table>,
    /// How long it took.
    pub seconds: f64,
}

/// How Coffer did in one table, over the rows that it and a peer have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Rows in which it is at least as good as the best peer.
    pub ahead_count: usize,
    /// Rows that were compared.
    pub row_count: usize,
    /// The lowest ratio.
    pub lowest: f64,
}

/// The row called `name`.
#[must_use]
pub fn row_named(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

/// Does `theirs` promise less work than `ours` in this row?
fn does_less(row: &Row, ours: Promise, theirs: Promise) -> bool {
    let writes = row.durability != "-";
    (ours.packs && !theirs.packs) || (writes && ours.logs && !theirs.logs)
}

impl Line {
    /// A row without values yet.
    #[must_use]
    pub fn new(row: &Row) -> Self {
        Self {
            row: row.name.into(),
            cells: BTreeMap::new(),
            to_same: None,
            to_any: None,
        }
    }

    fn finish(&mut self, packing: Packing, value_len: usize) {
        let Some(row) = row_named(&self.row) else {
            return;
        };
        let promise = |name: &str| Kind::named(name).map(|kind| kind.promise(packing, value_len));
        let ours = promise(OURS);
        for (name, cell) in &mut self.cells {
            cell.median = median(&cell.values);
            if let (Some(ours), Some(theirs)) = (ours, promise(name)) {
                cell.less = does_less(row, ours, theirs);
            }
        }
        self.to_same = self.against_best(row, |cell| !cell.less);
        self.to_any = self.against_best(row, |_| true);
    }

    fn against_best(&self, row: &Row, wanted: impl Fn(&Cell) -> bool) -> Option<(f64, String)> {
        let ours = self.cells.get(OURS)?.median?;
        let ratio = |theirs: f64| row.unit.advantage(ours, theirs);
        let peers = self.cells.iter().filter(|(name, cell)| {
            Kind::named(name).is_some_and(|kind| !kind.is_ours()) && wanted(cell)
        });
        let ratios = peers.filter_map(|(name, cell)| Some((ratio(cell.median?), name.clone())));
        ratios.min_by(|left, right| left.0.total_cmp(&right.0))
    }
}

impl Table {
    /// How Coffer did, against those who do the same work or against all.
    #[must_use]
    pub fn score(&self, same: bool) -> Option<Score> {
        let ratio = |line: &Line| {
            let found = if same { &line.to_same } else { &line.to_any };
            found.as_ref().map(|(ratio, _)| *ratio)
        };
        let ratios: Vec<f64> = self.lines.iter().filter_map(ratio).collect();
        Some(Score {
            ahead_count: ratios.iter().filter(|ratio| **ratio >= 1.0).count(),
            row_count: ratios.len(),
            lowest: ratios.iter().copied().min_by(f64::total_cmp)?,
        })
    }

    /// Takes in further rounds.
    fn join(&mut self, other: Self) {
        for line in other.lines {
            let Some(known) = self.lines.iter_mut().find(|known| known.row == line.row) else {
                self.lines.push(line);
                continue;
            };
            for (name, cell) in line.cells {
                let known = known.cells.entry(name).or_default();
                known.values.extend(cell.values);
                known.failures.extend(cell.failures);
                known.cannot = known.cannot.take().or(cell.cannot);
            }
        }
    }

    /// Notes what an engine reached in some rows, and why the rest is missing.
    pub fn note(&mut self, name: &str, rows: &[&Row], values: &Values, why: Option<&str>) {
        for line in &mut self.lines {
            if !rows.iter().any(|row| row.name == line.row) {
                continue;
            }
            let cell = line.cells.entry(name.to_owned()).or_default();
            match (values.get(&line.row), why) {
                (Some(value), _) => cell.values.push(*value),
                (None, Some(why)) => cell.failures.push(why.to_owned()),
                (None, None) => {}
            }
        }
    }

    /// Notes that an engine cannot do some rows.
    pub fn note_cannot(&mut self, name: &str, rows: &[&Row], why: &str) {
        for line in &mut self.lines {
            if rows.iter().any(|row| row.name == line.row) {
                let cell = line.cells.entry(name.to_owned()).or_default();
                cell.cannot = Some(why.to_owned());
            }
        }
    }
}

impl Report {
    /// Computes medians and ratios.
    pub fn finish(&mut self) {
        for table in &mut self.tables {
            for line in &mut table.lines {
                line.finish(self.packing, table.size.value_len);
            }
        }
    }

    /// Takes in another part of the same run: other lengths of values, or further rounds.
    ///
    /// # Errors
    /// When it was measured otherwise.
    pub fn join(&mut self, other: Self) -> Outcome<()> {
        if (self.scale, self.packing) != (other.scale, other.packing) {
            return Err(Failure::new("another amount of work, or other packing"));
        }
        for column in other.columns {
            if !self.columns.iter().any(|known| known.name == column.name) {
                self.columns.push(column);
            }
        }
        for table in other.tables {
            match self
                .tables
                .iter_mut()
                .find(|known| known.size == table.size)
            {
                Some(known) => known.join(table),
                None => self.tables.push(table),
            }
        }
        self.tables.sort_by_key(|table| table.size.value_len);
        let lines = self.tables.iter().flat_map(|table| &table.lines);
        let counts = lines.flat_map(|line| line.cells.values().map(|cell| cell.values.len()));
        self.round_count = counts.max().unwrap_or(self.round_count);
        self.seconds += other.seconds;
        self.finish();
        Ok(())
    }

    /// Whether any engine failed in any row.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        let lines = self.tables.iter().flat_map(|table| &table.lines);
        let mut cells = lines.flat_map(|line| line.cells.values());
        cells.any(|cell| !cell.failures.is_empty())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report with made-up values: one engine missing, one failing, one that cannot.
    pub(crate) fn example() -> Report {
        let names = ["coffer", "surrealkv", "fjall", "coordinode"];
        let column = |name: &&str| Column {
            name: (*name).into(),
            settings: format!("{name} <1> & more"),
            durability: "log".into(),
            missing: (*name == "fjall").then(|| "not built".into()),
        };
        let size = Scale::QUICK.size(16 << 10);
        let mut table = Table {
            size,
            lines: ROWS.iter().map(Line::new).collect(),
        };
        for (place, row) in ROWS.iter().enumerate() {
            for (name, value) in [
                ("coffer", 100.0),
                ("surrealkv", 150.0),
                ("coordinode", 80.0),
            ] {
                let mut values = Values::new();
                if !(name == "coffer" && row.name == "keys-warm") {
                    values.insert(row.name.into(), value + place as f64);
                }
                table.note(name, &[row], &values, Some("took longer than 120 s"));
            }
            if row.phase.needs_log().is_some() {
                table.lines[place]
                    .cells
                    .insert("coordinode".into(), Cell::default());
                table.note_cannot("coordinode", &[row], "no log");
            }
        }
        let mut report = Report {
            machine: Machine::describe(std::path::Path::new("/")),
            round_count: 1,
            scale: Scale::QUICK,
            packing: Packing::Own,
            columns: names.iter().map(column).collect(),
            tables: vec![table],
            seconds: 61.0,
        };
        report.finish();
        report
    }

    #[test]
    fn ratios_are_above_one_where_coffer_is_better() {
        let report = example();
        let line = |name: &str| {
            let lines = &report.tables[0].lines;
            lines.iter().find(|line| line.row == name).unwrap()
        };
        // Values of 16 KiB: SurrealKV does not compress them, coordinode does but has no log.
        let load = line("load");
        assert!(load.cells["surrealkv"].less && load.cells["coordinode"].less);
        assert_eq!(load.to_same, None);
        assert_eq!(load.to_any, Some((100.0 / 150.0, "surrealkv".into())));
        let get = line("get-cold");
        assert_eq!(get.to_same.as_ref().unwrap().1, "coordinode");
        assert!(get.to_same.as_ref().unwrap().0 > 1.0);
        let compact = line("compact");
        assert_eq!(compact.to_any.as_ref().unwrap().1, "coordinode");
        assert!(compact.to_any.as_ref().unwrap().0 < 1.0);
        assert_eq!(line("keys-warm").to_any, None);
        assert!(report.has_failures());
    }

    #[test]
    fn parts_of_a_run_are_put_together() {
        let mut whole = example();
        whole.join(example()).unwrap();
        let load = &whole.tables[0].lines[0].cells["coffer"];
        assert_eq!(
            (whole.tables.len(), load.values.len(), whole.round_count),
            (1, 2, 2)
        );
        let mut other = example();
        other.tables[0].size = Scale::QUICK.size(100);
        whole.join(other).unwrap();
        assert_eq!(whole.tables.len(), 2);
        assert_eq!(whole.tables[0].size.value_len, 100);
        let mut full = example();
        full.scale = Scale::FULL;
        assert!(whole.join(full).is_err());
    }

    #[test]
    fn scores_count_rows() {
        let report = example();
        let score = report.tables[0].score(false).unwrap();
        assert_eq!(score.row_count, ROWS.len() - 1);
        assert!(score.ahead_count < score.row_count && score.lowest < 0.8);
    }
}

//! The result of a run: every value, medians, ratios, targets. What `--json` writes.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::group::{Scale, Sheet};
use crate::machine::Machine;
use crate::rows::{Against, Row, TARGETS, Target};
use crate::sources::Sources;
use crate::step::Latency;
use crate::subject::Subject;
use crate::unit::{Unit, median};

/// Name of the subject that the targets are about.
pub const OURS: &str = "coffer";
/// Name of the subject that the targets compare with.
pub const PEER: &str = "gocryptfs";
/// Name of the bare disk.
pub const DISK: &str = "disk";
/// Name of the null file system.
pub const FLOOR: &str = "null-fuse";

/// One subject, as the report tells of it.
#[derive(Debug, Clone, Serialize)]
pub struct Column {
    /// Its short name.
    pub name: &'static str,
    /// Version and options.
    pub description: String,
    /// What write, fsync and rename mean to it.
    pub durability: &'static str,
    /// Why it took no part, if so.
    pub missing: Option<String>,
}

impl Column {
    /// What the report tells of a subject.
    #[must_use]
    pub fn of(subject: &dyn Subject) -> Self {
        Self {
            name: subject.name(),
            description: subject.describe(),
            durability: subject.durability(),
            missing: subject.missing(),
        }
    }
}

/// What one subject reached in one row.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cell {
    /// One value per round in which it succeeded.
    pub values: Vec<f64>,
    /// Why it failed, once per round in which it did.
    pub failures: Vec<String>,
    /// The middle value.
    pub median: Option<f64>,
    /// How long single operations took, once per round, where the row counts operations.
    pub latencies: Vec<Latency>,
}

impl Cell {
    /// The middle of the medians and the middle of the 99th percentiles, in microseconds.
    #[must_use]
    pub fn latency(&self) -> Option<(f64, f64)> {
        let middle = |part: fn(&Latency) -> f64| {
            median(&self.latencies.iter().map(part).collect::<Vec<_>>())
        };
        Some((middle(|l| l.p50_us)?, middle(|l| l.p99_us)?))
    }
}

/// One row with its cells.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// The row.
    #[serde(flatten)]
    pub row: &'static Row,
    /// A cell per subject.
    pub cells: BTreeMap<&'static str, Cell>,
    /// Ours against the peer: above 1 we are faster, or larger where the unit is bytes.
    pub to_peer: Option<f64>,
    /// Ours against the bare disk, in the same sense.
    pub to_disk: Option<f64>,
    /// Ours against the null file system, in the same sense.
    pub to_floor: Option<f64>,
    /// The null file system against the peer: what no FUSE file system can pass by much.
    pub ceiling: Option<f64>,
    /// What subjects saw, where it differs although it must not.
    pub differs: Option<String>,
}

/// Whether a target was reached.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The target.
    #[serde(flatten)]
    pub target: Target,
    /// What was measured, in the terms of the target; absent when a side is missing.
    pub measured: Option<f64>,
    /// Whether that reaches the target.
    pub reached: Option<bool>,
}

/// Everything about one run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What it ran on.
    pub machine: Machine,
    /// How often each row was measured.
    pub round_count: usize,
    /// How much work each row is.
    pub scale: Scale,
    /// Where the small files came from.
    pub sources: Option<Sources>,
    /// The subjects.
    pub columns: Vec<Column>,
    /// The rows.
    pub lines: Vec<Line>,
    /// The targets among the measured rows.
    pub verdicts: Vec<Verdict>,
}

/// Ours against another: a ratio of size, or how many times as good.
fn ratio(unit: Unit, ours: f64, theirs: f64) -> f64 {
    if unit.is_size() {
        ours / theirs
    } else {
        unit.advantage(ours, theirs)
    }
}

impl Line {
    /// A row without values yet.
    #[must_use]
    pub fn new(row: &'static Row) -> Self {
        Self {
            row,
            cells: BTreeMap::new(),
            to_peer: None,
            to_disk: None,
            to_floor: None,
            ceiling: None,
            differs: None,
        }
    }

    fn median(&self, name: &str) -> Option<f64> {
        self.cells.get(name)?.median
    }

    fn finish(&mut self) {
        for cell in self.cells.values_mut() {
            cell.median = median(&cell.values);
        }
        let against = |ours: &str, theirs: &str| {
            let (ours, theirs) = (self.median(ours)?, self.median(theirs)?);
            Some(ratio(self.row.unit, ours, theirs))
        };
        let ratios = [(OURS, PEER), (OURS, DISK), (OURS, FLOOR), (FLOOR, PEER)];
        [self.to_peer, self.to_disk, self.to_floor, self.ceiling] =
            ratios.map(|(ours, theirs)| against(ours, theirs));
    }
}

impl Report {
    /// Notes what a subject reached in one pass over a group, and why the rest is missing.
    pub fn note(&mut self, name: &'static str, rows: &[&Row], sheet: &Sheet, why: Option<&str>) {
        for line in self
            .lines
            .iter_mut()
            .filter(|line| rows.iter().any(|r| r.name == line.row.name))
        {
            let cell = line.cells.entry(name).or_default();
            cell.latencies.extend(sheet.latencies.get(line.row.name));
            match (sheet.values.get(line.row.name), why) {
                (Some(value), _) => cell.values.push(*value),
                (None, Some(why)) => cell.failures.push(why.to_owned()),
                (None, None) => {}
            }
        }
    }

    /// Computes medians, ratios and verdicts.
    pub fn finish(&mut self) {
        for line in &mut self.lines {
            line.finish();
        }
        let measured = |target: &Target| self.lines.iter().find(|line| line.row.name == target.row);
        self.verdicts = TARGETS
            .iter()
            .filter_map(|target| Some(verdict(*target, measured(target)?)))
            .collect();
    }

    /// Whether any subject failed in any row.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        let mut cells = self.lines.iter().flat_map(|line| line.cells.values());
        cells.any(|cell| !cell.failures.is_empty())
            || self.lines.iter().any(|line| line.differs.is_some())
    }
}

fn verdict(target: Target, line: &Line) -> Verdict {
    let (measured, reached) = match target.against {
        Against::PeerAtLeast(least) => (line.to_peer, line.to_peer.map(|ratio| ratio >= least)),
        Against::FloorAtLeast(least) => (line.to_floor, line.to_floor.map(|ratio| ratio >= least)),
        Against::DiskAtMost(most) => (line.to_disk, line.to_disk.map(|ratio| ratio <= most)),
        Against::ValueAtMost(most) => {
            let value = line.median(OURS);
            (value, value.map(|value| value <= most))
        }
    };
    Verdict {
        target,
        measured,
        reached,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rows::ROWS;

    /// A report with made-up values, one failing cell and one missing subject.
    pub(crate) fn example() -> Report {
        let column = |name, missing| Column {
            name,
            description: format!("{name} 1.0"),
            durability: "write: <nothing> & fsync: all",
            missing,
        };
        let mut report = Report {
            machine: Machine {
                cpu: "cpu".into(),
                core_count: 2,
                memory_len: 1 << 30,
                kernel: "6".into(),
                disk: "ext4".into(),
                load: "0.1".into(),
                drops_caches: true,
            },
            round_count: 3,
            scale: Scale::QUICK,
            sources: None,
            columns: [OURS, PEER, DISK, FLOOR]
                .map(|name| column(name, None))
                .into(),
            lines: ROWS.iter().map(Line::new).collect(),
            verdicts: vec![],
        };
        for (number, row) in ROWS.iter().enumerate() {
            for (place, name) in [OURS, PEER, DISK, FLOOR].into_iter().enumerate() {
                let mut sheet = Sheet::default();
                let fails = row.name == "du-cold" && name == OURS;
                if !fails {
                    sheet
                        .values
                        .insert(row.name, (10 * (number + 1) + 7 * place) as f64 * 3.0);
                }
                if row.name == "create" {
                    let (p50_us, p99_us) = (12.5, 118.0);
                    sheet.latencies.insert(row.name, Latency { p50_us, p99_us });
                }
                report.note(name, &[row], &sheet, Some("took longer than 120 s"));
            }
        }
        report.finish();
        report
    }

    #[test]
    fn ratios_above_one_are_good_but_for_sizes() {
        assert!(ratio(Unit::Seconds, 1.0, 2.0) > 1.0);
        assert!(ratio(Unit::PerSecond, 2.0, 1.0) > 1.0);
        assert!(ratio(Unit::SecondsPerGigabyte, 1.0, 2.0) > 1.0);
        assert!(ratio(Unit::Bytes, 2.0, 1.0) > 1.0);
    }

    #[test]
    fn targets_are_judged() {
        let report = example();
        assert_eq!(report.verdicts.len(), TARGETS.len());
        let verdict = |name| {
            report
                .verdicts
                .iter()
                .find(|v| v.target.row == name)
                .unwrap()
        };
        assert_eq!(verdict("untar").reached, Some(false));
        assert_eq!(verdict("memory").reached, Some(true));
        assert!(report.has_failures());
        let only = Verdict {
            ..verdict("rm").clone()
        };
        assert!(only.measured.is_some());
        let mut alone = Line::new(&ROWS[0]);
        alone.finish();
        assert_eq!(super::verdict(TARGETS[0], &alone).reached, None);
    }
}

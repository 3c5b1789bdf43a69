//! What was measured at which size, as text and as JSON, with the targets.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Sweep;
use crate::machine::Machine;
use crate::program::{machine_lines, say};
use crate::report::{Column, OURS};
use crate::unit::Unit;

/// Something that is measured at each size.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// Its name in the JSON.
    pub name: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Its unit.
    pub unit: Unit,
}

const fn measure(name: &'static str, title: &'static str, unit: Unit) -> Measure {
    Measure { name, title, unit }
}

/// All of them, in the order of the table.
pub const MEASURES: [Measure; 8] = [
    measure(
        "fill",
        "create + write 256 B, while filling",
        Unit::PerSecond,
    ),
    measure("create", "the same after a mount", Unit::PerSecond),
    measure(
        "lookup-first",
        "lookup, first after a mount",
        Unit::PerSecond,
    ),
    measure(
        "lookup-again",
        "lookup of the same files again",
        Unit::PerSecond,
    ),
    measure("list", "entries listed", Unit::PerSecond),
    measure("mount", "mount", Unit::Seconds),
    measure("resident", "memory of the daemon then", Unit::Bytes),
    measure("memory", "peak memory of the daemon so far", Unit::Bytes),
];

/// What one subject reached at one size.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// The subject.
    pub subject: &'static str,
    /// What grows.
    pub sweep: Sweep,
    /// Files that are there.
    pub size: u64,
    /// The median of each measure.
    pub values: BTreeMap<&'static str, f64>,
    /// Each measure, a value for each round.
    pub samples: BTreeMap<&'static str, Vec<f64>>,
}

/// Everything about one run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What it ran on.
    pub machine: Machine,
    /// How often each size was measured.
    pub round_count: usize,
    /// The subjects.
    pub columns: Vec<Column>,
    /// What was measured.
    pub points: Vec<Point>,
    /// What went wrong.
    pub failures: Vec<String>,
    /// The targets, where the sizes that they name were measured.
    pub verdicts: Vec<Verdict>,
}

/// What Coffer has to reach when the store has grown.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// What is asked, in words.
    pub asked: String,
    /// What was measured.
    pub measured: String,
    /// Whether that reaches it.
    pub reached: bool,
}

impl Report {
    /// The points of a subject and a sweep, sizes growing.
    #[must_use]
    pub fn line(&self, subject: &str, sweep: Sweep) -> Vec<&Point> {
        let points = self.points.iter();
        points
            .filter(|point| point.subject == subject && point.sweep == sweep)
            .collect()
    }

    /// Judges the targets.
    pub fn finish(&mut self) {
        self.verdicts = self.judge();
    }

    fn judge(&self) -> Vec<Verdict> {
        let points = self.line(OURS, Sweep::Store);
        let small = points.iter().find(|point| point.size == 10_000);
        let (Some(small), Some(large)) = (small, points.last()) else {
            return Vec::new();
        };
        let mut out = Vec::new();
        for name in ["create", "lookup-first", "lookup-again"] {
            if let (Some(few), Some(many)) = (small.values.get(name), large.values.get(name)) {
                let cost = few / many;
                let asked = format!(
                    "{name} at {} files at most 1.3 times the cost at {}",
                    large.size, small.size
                );
                out.push(Verdict {
                    asked,
                    measured: Unit::Factor.text(cost),
                    reached: cost <= 1.3,
                });
            }
        }
        let most = [
            ("memory", Unit::Bytes, f64::from(1 << 30)),
            ("mount", Unit::Seconds, 1.0),
        ];
        for (name, unit, most) in most {
            if let Some(value) = large.values.get(name) {
                let asked = format!("{name} at {} files at most {}", large.size, unit.text(most));
                out.push(Verdict {
                    asked,
                    measured: unit.text(*value),
                    reached: *value <= most,
                });
            }
        }
        out
    }
}

/// The report as text for a terminal.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = machine_lines(&report.machine);
    say!(
        &mut out,
        "Medians of {} rounds, sizes alternating.\n\nSubjects:",
        report.round_count
    );
    for column in &report.columns {
        say!(&mut out, "  {:10} {}", column.name, column.description);
        if let Some(why) = &column.missing {
            say!(&mut out, "  {:10} MISSING: {why}", "");
        }
    }
    for sweep in Sweep::ALL {
        table(&mut out, report, sweep);
    }
    for failure in &report.failures {
        say!(&mut out, "\nFAILED: {failure}");
    }
    say!(&mut out, "\nTargets:");
    for Verdict {
        asked,
        measured,
        reached,
    } in &report.verdicts
    {
        let word = if *reached { "reached" } else { "MISSED" };
        say!(&mut out, "  {asked:65}{measured:>12}  {word}");
    }
    out
}

fn table(out: &mut String, report: &Report, sweep: Sweep) {
    let mut sizes: Vec<u64> = report
        .points
        .iter()
        .filter(|point| point.sweep == sweep)
        .map(|point| point.size)
        .collect();
    sizes.sort_unstable();
    sizes.dedup();
    if sizes.is_empty() {
        return;
    }
    let heads: String = sizes.iter().map(|size| format!("{size:>12}")).collect();
    say!(out, "\n{:49}{heads}", format!("Files, {}", sweep.words()));
    for measure in MEASURES {
        for column in &report.columns {
            let points = report.line(column.name, sweep);
            if points.is_empty() {
                continue;
            }
            let mut line = format!("{:38}{:11}", measure.title, column.name);
            for size in &sizes {
                let point = points.iter().find(|point| point.size == *size);
                let value = point.and_then(|point| point.values.get(measure.name));
                let text = value.map_or_else(|| "-".into(), |value| measure.unit.text(*value));
                line += &format!("{text:>12}");
            }
            say!(out, "{line}");
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Two subjects, two sweeps, made-up values; lookups get slower by half.
    pub(in crate::scale) fn example() -> Report {
        let column = |name| Column {
            name,
            description: format!("{name} 1.0"),
            durability: "",
            missing: None,
        };
        let mut points = Vec::new();
        for (subject, sweep, size) in [
            (OURS, Sweep::Directory, 1000),
            (OURS, Sweep::Store, 10_000),
            (OURS, Sweep::Store, 1_000_000),
            ("disk", Sweep::Store, 10_000),
        ] {
            let mut values: BTreeMap<_, _> = MEASURES
                .iter()
                .map(|measure| (measure.name, 0.75))
                .collect();
            let lookups = if size == 1_000_000 {
                10_000.0
            } else {
                15_000.0
            };
            values.insert("lookup-first", lookups);
            points.push(Point {
                subject,
                sweep,
                size,
                values,
                samples: BTreeMap::new(),
            });
        }
        let mut report = Report {
            machine: Machine::describe(std::path::Path::new("/")),
            round_count: 3,
            columns: vec![column(OURS), column("disk")],
            points,
            failures: vec!["disk: full".into()],
            verdicts: Vec::new(),
        };
        report.finish();
        report
    }

    #[test]
    fn growth_is_judged() {
        let verdicts = example().verdicts;
        let missed: Vec<_> = verdicts.iter().filter(|verdict| !verdict.reached).collect();
        assert_eq!((verdicts.len(), missed.len()), (5, 1));
        assert!(missed[0].asked.starts_with("lookup-first") && missed[0].measured == "1.50");
        let mut small = example();
        small.points.retain(|point| point.size != 10_000);
        assert!(small.judge().is_empty());
    }

    #[test]
    fn the_document_names_every_measure() {
        let document = include_str!("../../../docs/BENCHMARKING.md");
        for measure in MEASURES {
            assert!(
                document.contains(&format!("`{}`", measure.name)),
                "{}",
                measure.name
            );
        }
    }

    #[test]
    fn every_size_and_failure_is_told() {
        let text = render(&example());
        for part in [
            "1000000",
            "one directory",
            "15.0k/s",
            "MISSED",
            "disk: full",
            "750 ms",
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
    }
}

//! The report as text for a terminal.

use core::fmt::Write;

use crate::report::{Cell, Line, Report, Verdict};
use crate::rows::{Against, Unit};

/// A value with its unit, short.
#[must_use]
pub fn value(unit: Unit, value: f64) -> String {
    match unit {
        Unit::MegabytesPerSecond => format!("{value:.0} MB/s"),
        Unit::PerSecond if value >= 100_000.0 => format!("{:.0}k/s", value / 1e3),
        Unit::PerSecond if value >= 10_000.0 => format!("{:.1}k/s", value / 1e3),
        Unit::PerSecond => format!("{value:.0}/s"),
        Unit::Seconds if value < 1.0 => format!("{:.0} ms", value * 1e3),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Bytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
    }
}

/// A ratio, or a dash.
#[must_use]
pub fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}x"))
}

/// The whole report.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    head(&mut out, report);
    body(&mut out, report);
    failures(&mut out, report);
    targets(&mut out, report);
    out
}

macro_rules! say {
    ($out:expr, $($piece:tt)*) => {{
        // Writing to a string cannot fail.
        let _ = writeln!($out, $($piece)*);
    }};
}

fn head(out: &mut String, report: &Report) {
    let machine = &report.machine;
    let memory = machine.memory_len >> 30;
    say!(
        out,
        "{} x {}, {memory} GiB, Linux {}, {}, load {}",
        machine.core_count,
        machine.cpu,
        machine.kernel,
        machine.disk,
        machine.load
    );
    let scale = report.scale;
    say!(
        out,
        "Medians of {} rounds, subjects alternating. Long files {} MiB, {} small files.",
        report.round_count,
        scale.stream_len >> 20,
        scale.file_count
    );
    if let Some(sources) = &report.sources {
        let len = sources.len as f64 / f64::from(1 << 20);
        say!(out, "Source text: {len:.1} MiB, {}.", sources.origin);
    }
    if !machine.drops_caches {
        say!(
            out,
            "NOT root: caches were not dropped, \"cold\" means remounted only."
        );
    }
    if machine.disk == "tmpfs" {
        say!(
            out,
            "The work directory is on tmpfs: nothing here says anything about a disk."
        );
    }
    say!(out, "\nSubjects, and what they promise:");
    for column in &report.columns {
        say!(out, "  {:10} {}", column.name, column.description);
        say!(out, "  {:10} {}", "", column.durability);
        if let Some(why) = &column.missing {
            say!(out, "  {:10} MISSING: {why}", "");
        }
    }
    out.push('\n');
}

fn cell_text(unit: Unit, cell: Option<&Cell>, missing: bool) -> String {
    match cell.and_then(|cell| cell.median) {
        Some(median) => value(unit, median),
        None if missing => "missing".into(),
        None if cell.is_some_and(|cell| !cell.failures.is_empty()) => "FAILED".into(),
        None => "-".into(),
    }
}

fn body(out: &mut String, report: &Report) {
    let mut line = format!("{:41}", "");
    for column in &report.columns {
        line += &format!("{:>12}", column.name);
    }
    say!(out, "{line}  to gocryptfs  to disk  +-%  on the medium",);
    for row in &report.lines {
        let mut line = format!("{:41}", row.row.title);
        for column in &report.columns {
            let cell = row.cells.get(column.name);
            line += &format!(
                "{:>12}",
                cell_text(row.row.unit, cell, column.missing.is_some())
            );
        }
        let sizes = if row.row.unit == Unit::Bytes {
            " size"
        } else {
            "     "
        };
        let spread = row.cells.values().map(Cell::spread).fold(0.0, f64::max) * 100.0;
        let (peer, disk) = (ratio(row.to_peer), ratio(row.to_disk));
        let words = row.row.durability.words();
        say!(
            out,
            "{line}{peer:>9}{sizes} {disk:>8} {spread:>4.0}  {words}"
        );
    }
    say!(
        out,
        "\nRatios: Coffer against the other; above 1 Coffer is faster. \"size\": below 1 Coffer is smaller."
    );
}

fn failures(out: &mut String, report: &Report) {
    if !report.has_failures() {
        return;
    }
    say!(out, "\nFailures:");
    for line in &report.lines {
        for (name, cell) in &line.cells {
            if let Some(why) = cell.failures.first() {
                let count = cell.failures.len();
                say!(out, "  {} on {name} ({count} times): {why}", line.row.name);
            }
        }
        if let Some(differs) = &line.differs {
            say!(out, "  {}: not the same work: {differs}", line.row.name);
        }
    }
}

/// The words for what a target asks.
#[must_use]
pub fn asked(against: Against) -> String {
    match against {
        Against::PeerAtLeast(least) => format!("at least {least:.1}x gocryptfs"),
        Against::DiskAtMost(most) => format!("at most {most:.1}x the plain files"),
        Against::ValueAtMost(most) => format!("at most {}", value(Unit::Bytes, most)),
    }
}

fn targets(out: &mut String, report: &Report) {
    say!(out, "\nTargets:");
    for Verdict {
        target,
        measured,
        reached,
    } in &report.verdicts
    {
        let title = report.lines.iter().find(|line| line.row.name == target.row);
        let title = title.map_or(target.row, |line: &Line| line.row.title);
        let measured = match (target.against, measured) {
            (Against::ValueAtMost(_), Some(bytes)) => value(Unit::Bytes, *bytes),
            (_, measured) => ratio(*measured),
        };
        let word = match reached {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "not measured",
        };
        let asked = asked(target.against);
        say!(out, "  {title:41}{asked:>30}{measured:>12}  {word}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;

    #[test]
    fn values_are_short() {
        assert_eq!(value(Unit::PerSecond, 38_412.0), "38.4k/s");
        assert_eq!(value(Unit::Seconds, 0.0714), "71 ms");
        assert_eq!(value(Unit::Bytes, 1_572_864.0), "1.5 MiB");
    }

    #[test]
    fn everything_is_told() {
        let text = render(&example());
        for part in [
            "FAILED",
            "took longer",
            "reached",
            "MISSED",
            "untar",
            "fsync each",
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 140), "{text}");
    }
}

//! The report as text for a terminal.

use crate::program::{machine_lines, say};
use crate::report::{Cell, Line, Report, Verdict};
use crate::rows::Against;
use crate::unit::{Unit, ratio_text, spread};

/// The whole report.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    head(&mut out, report);
    body(&mut out, report);
    latencies(&mut out, report);
    failures(&mut out, report);
    targets(&mut out, report);
    out
}

fn head(out: &mut String, report: &Report) {
    *out += &machine_lines(&report.machine);
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
        Some(median) => unit.text(median),
        None if missing => "missing".into(),
        None if cell.is_some_and(|cell| !cell.failures.is_empty()) => "FAILED".into(),
        None => "-".into(),
    }
}

fn heads(report: &Report) -> String {
    let names = report
        .columns
        .iter()
        .map(|column| format!("{:>15}", column.name));
    format!("{:41}{}", "", names.collect::<String>())
}

fn body(out: &mut String, report: &Report) {
    let heads = heads(report);
    say!(
        out,
        "{heads}  to gocryptfs  to disk  to null  +-%  on the medium"
    );
    for row in &report.lines {
        let mut line = format!("{:41}", row.row.title);
        for column in &report.columns {
            let cell = row.cells.get(column.name);
            let text = cell_text(row.row.unit, cell, column.missing.is_some());
            line += &format!("{text:>15}");
        }
        let sizes = if row.row.unit.is_size() {
            " size"
        } else {
            "     "
        };
        let spreads = row.cells.values().map(|cell| spread(&cell.values));
        let spread = spreads.fold(0.0, f64::max) * 100.0;
        let (peer, disk) = (ratio_text(row.to_peer), ratio_text(row.to_disk));
        let floor = ratio_text(row.to_floor);
        let words = row.row.durability.words();
        say!(
            out,
            "{line}{peer:>9}{sizes} {disk:>8} {floor:>8} {spread:>4.0}  {words}"
        );
    }
    say!(
        out,
        "\nRatios: Coffer against the other; above 1 Coffer is faster. \"size\": below 1 Coffer is smaller."
    );
}

fn latencies(out: &mut String, report: &Report) {
    let has_latency = |line: &&Line| line.cells.values().any(|cell| cell.latency().is_some());
    let lines: Vec<&Line> = report.lines.iter().filter(has_latency).collect();
    if lines.is_empty() {
        return;
    }
    say!(out, "\nMicroseconds of an operation, p50 / p99:");
    say!(out, "{}", heads(report));
    for row in lines {
        let mut line = format!("{:41}", row.row.title);
        for column in &report.columns {
            let latency = row.cells.get(column.name).and_then(Cell::latency);
            let text = latency.map_or_else(
                || "-".into(),
                |(p50, p99)| format!("{} / {}", microseconds(p50), microseconds(p99)),
            );
            line += &format!("{text:>15}");
        }
        say!(out, "{line}");
    }
}

fn microseconds(us: f64) -> String {
    if us < 10.0 {
        format!("{us:.1}")
    } else {
        format!("{us:.0}")
    }
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
pub fn asked(against: Against, unit: Unit) -> String {
    match against {
        Against::PeerAtLeast(least) => format!("at least {least:.2}x gocryptfs"),
        Against::FloorAtLeast(least) => format!("at least {least:.2}x null-fuse"),
        Against::DiskAtMost(most) => format!("at most {most:.2}x the plain files"),
        Against::ValueAtMost(most) => format!("at most {}", unit.text(most)),
    }
}

fn targets(out: &mut String, report: &Report) {
    say!(
        out,
        "\nTargets (null-fuse to gocryptfs in brackets: what FUSE allows):"
    );
    for Verdict {
        target,
        measured,
        reached,
    } in &report.verdicts
    {
        let Some(line) = report.lines.iter().find(|line| line.row.name == target.row) else {
            continue;
        };
        let (title, unit) = (line.row.title, line.row.unit);
        let measured = match (target.against, measured) {
            (Against::ValueAtMost(_), Some(value)) => unit.text(*value),
            (_, measured) => ratio_text(*measured),
        };
        let ceiling = match (target.against, line.ceiling) {
            (Against::PeerAtLeast(_), Some(ratio)) => format!("[{ratio:.1}x]"),
            _ => String::new(),
        };
        let word = match reached {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "not measured",
        };
        let asked = asked(target.against, unit);
        say!(
            out,
            "  {title:41}{asked:>30}{ceiling:>9}{measured:>12}  {word}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;

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
            "12 / 118",
            "x null-fuse",
            "x]",
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 160), "{text}");
    }
}

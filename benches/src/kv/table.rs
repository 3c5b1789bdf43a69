//! The report as text for a terminal.

use crate::kv::engine::{CACHE_LEN, INLINE_LEN_MAX, MEMTABLE_LEN};
use crate::kv::report::{Cell, Line, Report, Score, Table, row_named};
use crate::kv::rows::size_word;
use crate::program::{machine_lines, say};
use crate::unit::{Unit, spread};

/// The whole report.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    head(&mut out, report);
    for table in &report.tables {
        body(&mut out, report, table);
    }
    failures(&mut out, report);
    out
}

fn head(out: &mut String, report: &Report) {
    *out += &machine_lines(&report.machine);
    say!(
        out,
        "Medians of {} rounds, engines alternating, {:.0} minutes. Keys of 20 bytes, values half compressible.",
        report.round_count,
        report.seconds / 60.0
    );
    say!(
        out,
        "Each engine: caches {} MiB, memtable {} MiB, values above {} KiB apart. Coffer is `coffer`.",
        CACHE_LEN >> 20,
        MEMTABLE_LEN >> 20,
        INLINE_LEN_MAX >> 10
    );
    say!(out, "\nEngines, and what they promise:");
    for column in &report.columns {
        if let Some(why) = &column.missing {
            say!(out, "  {:15} MISSING: {why}", column.name);
            continue;
        }
        say!(out, "  {:15} {}", column.name, column.settings);
        say!(out, "  {:15} {}", "", column.durability);
    }
}

fn cell_text(unit: Unit, cell: Option<&Cell>) -> String {
    let Some(cell) = cell else {
        return "-".into();
    };
    match cell.median {
        Some(median) if cell.less => format!("({})", unit.text(median)),
        Some(median) => unit.text(median),
        None if cell.cannot.is_some() => "n/a".into(),
        None if !cell.failures.is_empty() => "FAILED".into(),
        None => "-".into(),
    }
}

fn ratio_text(ratio: Option<&(f64, String)>) -> String {
    ratio.map_or_else(|| "-".into(), |(ratio, name)| format!("{ratio:.2}x {name}"))
}

fn body(out: &mut String, report: &Report, table: &Table) {
    let size = table.size;
    say!(
        out,
        "\nValues of {}, {} of them ({} MiB)",
        size_word(size.value_len),
        size.count,
        (size.count * size.value_len as u64) >> 20
    );
    let shown: Vec<_> = report
        .columns
        .iter()
        .filter(|column| column.missing.is_none())
        .collect();
    let mut line = format!("{:38}", "");
    for column in &shown {
        line += &format!("{:>14}", column.name);
    }
    say!(
        out,
        "{line}  {:21} {:21}+-%",
        "to best, same work",
        "to best of all"
    );
    for line in &table.lines {
        let Some(row) = row_named(&line.row) else {
            continue;
        };
        let mut text = format!("{:38}", row.title);
        for column in &shown {
            text += &format!("{:>14}", cell_text(row.unit, line.cells.get(&column.name)));
        }
        let (same, any) = (
            ratio_text(line.to_same.as_ref()),
            ratio_text(line.to_any.as_ref()),
        );
        let spreads = line.cells.values().map(|cell| spread(&cell.values));
        let spread = spreads.fold(0.0, f64::max) * 100.0;
        say!(out, "{text}  {same:21} {any:21}{spread:>3.0}");
    }
    for (same, words) in [(true, "of those doing the same work"), (false, "of all")] {
        if let Some(Score {
            ahead_count,
            row_count,
            lowest,
        }) = table.score(same)
        {
            say!(
                out,
                "Coffer is ahead of the best {words} in {ahead_count} of {row_count} rows; lowest ratio {lowest:.2}{}",
                behind(table, same)
            );
        }
    }
    say!(
        out,
        "(in brackets): does less than Coffer there: values uncompressed, or no log."
    );
}

/// The rows below 0.7.
fn behind(table: &Table, same: bool) -> String {
    let ratio = |line: &Line| {
        let found = if same { &line.to_same } else { &line.to_any };
        found.as_ref().map(|(ratio, _)| *ratio)
    };
    let low = table
        .lines
        .iter()
        .filter(|line| ratio(line).is_some_and(|ratio| ratio < 0.7));
    let names: Vec<&str> = low.map(|line| line.row.as_str()).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("; below 0.7: {}", names.join(", "))
}

fn failures(out: &mut String, report: &Report) {
    let mut seen = Vec::new();
    for table in &report.tables {
        for line in &table.lines {
            for (name, cell) in &line.cells {
                for why in cell.failures.first().into_iter().chain(&cell.cannot) {
                    let words = format!("  {name}, {}: {why}", line.row);
                    if !seen.contains(&words) {
                        seen.push(words);
                    }
                }
            }
        }
    }
    if seen.is_empty() {
        return;
    }
    say!(out, "\nFailures and gaps:");
    for words in seen {
        say!(out, "{words}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::report::tests::example;

    #[test]
    fn everything_is_told() {
        let text = render(&example());
        for part in [
            "MISSING: not built",
            "FAILED",
            "n/a",
            "took longer",
            "no log",
            "below 0.7",
            "(",
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
    }
}

//! One table as a picture: a dot per engine and row on a logarithmic axis, drawn as plain SVG.
//!
//! The line in the middle is the best peer of each row; right of it is better, also for sizes and times.

use crate::kv::engine::{KINDS, Kind, OURS};
use crate::kv::report::{Line, Report, Table, row_named};
use crate::kv::rows::size_word;
use crate::program::say;
use crate::svg::{Axis, picture, words};

const AXIS: Axis = Axis {
    left: 300.0,
    right: 960.0,
    octaves: 5,
};
const ROW_HEIGHT: f64 = 26.0;
const TOP: f64 = 112.0;

const COLOURS: [&str; 10] = [
    "#c0392b", "#e59866", "#7b241c", "#1f6fb4", "#85c1e9", "#1e8449", "#7d3c98", "#c39bd3",
    "#5d6d7e", "#aeb6bf",
];

fn colour(name: &str) -> &'static str {
    let place = KINDS.iter().position(|(known, _)| *known == name);
    COLOURS[place.unwrap_or(0) % COLOURS.len()]
}

/// The picture of one table.
#[must_use]
pub fn render(report: &Report, table: &Table) -> String {
    let height = TOP + ROW_HEIGHT * table.lines.len() as f64 + 40.0;
    let word = size_word(table.size.value_len);
    let title =
        format!("Key-value engines, values of {word}: each against the best peer of its row");
    let below = format!(
        "{}; medians of {} rounds; right is better; hollow: does less work",
        report.machine.line(),
        report.round_count
    );
    picture(height, &title, &below, |out| {
        legend(out, report);
        AXIS.draw(out, TOP, height - 34.0);
        for (number, line) in table.lines.iter().enumerate() {
            row(out, line, TOP + ROW_HEIGHT * (number as f64 + 0.5));
        }
    })
}

fn legend(out: &mut String, report: &Report) {
    let mut left = 16.0;
    for column in report
        .columns
        .iter()
        .filter(|column| column.missing.is_none())
    {
        let fill = colour(&column.name);
        say!(
            out,
            "<circle cx=\"{}\" cy=\"68\" r=\"6\" fill=\"{fill}\"/>",
            left + 6.0
        );
        words(out, (left + 17.0, 73.0), "", &column.name);
        left += 34.0 + 8.0 * column.name.len() as f64;
    }
    let at = (AXIS.right + 24.0, TOP - 8.0);
    words(out, at, "fill=\"#555\"", "coffer");
}

fn row(out: &mut String, line: &Line, middle: f64) {
    let Some(row) = row_named(&line.row) else {
        return;
    };
    let at = (AXIS.left - 14.0, middle + 4.0);
    words(out, at, "text-anchor=\"end\"", row.title);
    let peers = line
        .cells
        .iter()
        .filter(|(name, _)| Kind::named(name).is_some_and(|kind| !kind.is_ours()));
    let best = peers
        .filter_map(|(_, cell)| cell.median)
        .max_by(|left, right| row.unit.advantage(*left, *right).total_cmp(&1.0));
    let Some(best) = best else {
        return;
    };
    // Ours last, so that it lies on top.
    let mut cells: Vec<_> = line.cells.iter().collect();
    cells.sort_by_key(|(name, _)| name.as_str() == OURS);
    for (name, cell) in cells {
        let Some(median) = cell.median else {
            continue;
        };
        let (at, colour) = (AXIS.x(row.unit.advantage(median, best)), colour(name));
        let fill = if cell.less { "white" } else { colour };
        let radius = if name == OURS { 7.0 } else { 5.0 };
        say!(
            out,
            "<circle cx=\"{at:.1}\" cy=\"{middle:.1}\" r=\"{radius}\" fill=\"{fill}\" \
             stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
    }
    let ours = line.cells.get(OURS).and_then(|cell| cell.median);
    let text = ours.map_or_else(|| "-".into(), |median| row.unit.text(median));
    words(out, (AXIS.right + 24.0, middle + 4.0), "", &text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::report::tests::example;
    use crate::svg::escape;

    #[test]
    fn every_row_is_drawn() {
        let report = example();
        let svg = render(&report, &report.tables[0]);
        for line in &report.tables[0].lines {
            assert!(
                svg.contains(&escape(row_named(&line.row).unwrap().title)),
                "{}",
                line.row
            );
        }
        assert!(svg.contains(colour(OURS)) && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}

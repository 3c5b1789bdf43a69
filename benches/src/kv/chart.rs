//! One table as a picture: a dot per engine and row on a logarithmic axis, drawn as plain SVG.
//!
//! The line in the middle is the best peer of each row; right of it is better, also for sizes and times.

use core::fmt::Write;

use crate::kv::engine::{KINDS, Kind, OURS};
use crate::kv::report::{Line, Report, Table, row_named};
use crate::kv::rows::size_word;
use crate::kv::table::value;

const WIDTH: f64 = 1120.0;
const AXIS_LEFT: f64 = 300.0;
const AXIS_RIGHT: f64 = 960.0;
const ROW_HEIGHT: f64 = 26.0;
const TOP: f64 = 112.0;
/// The axis spans from 1/32 to 32.
const OCTAVES: f64 = 5.0;

const COLOURS: [&str; 10] = [
    "#c0392b", "#e59866", "#7b241c", "#1f6fb4", "#85c1e9", "#1e8449", "#7d3c98", "#c39bd3",
    "#5d6d7e", "#aeb6bf",
];

macro_rules! draw {
    ($out:expr, $($piece:tt)*) => {{
        // Writing to a string cannot fail.
        let _ = writeln!($out, $($piece)*);
    }};
}

fn colour(name: &str) -> &'static str {
    let place = KINDS.iter().position(|(known, _)| *known == name);
    COLOURS[place.unwrap_or(0) % COLOURS.len()]
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn x(ratio: f64) -> f64 {
    let octaves = ratio.max(1e-9).log2().clamp(-OCTAVES, OCTAVES);
    f64::midpoint(AXIS_LEFT, AXIS_RIGHT) + octaves / OCTAVES * (AXIS_RIGHT - AXIS_LEFT) / 2.0
}

/// The picture of one table.
#[must_use]
pub fn render(report: &Report, table: &Table) -> String {
    let mut out = String::new();
    let height = TOP + ROW_HEIGHT * table.lines.len() as f64 + 40.0;
    draw!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">"
    );
    draw!(out, "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>");
    head(&mut out, report, table);
    axis(&mut out, height - 34.0);
    for (number, line) in table.lines.iter().enumerate() {
        row(&mut out, line, TOP + ROW_HEIGHT * (number as f64 + 0.5));
    }
    draw!(out, "</svg>");
    out
}

fn head(out: &mut String, report: &Report, table: &Table) {
    let machine = &report.machine;
    let word = size_word(table.size.value_len);
    draw!(
        out,
        "<text x=\"16\" y=\"28\" font-size=\"19\" font-weight=\"bold\">Key-value engines, values of {word}: \
         each against the best peer of its row</text>"
    );
    let what = format!(
        "{} x {}, Linux {}, {}; medians of {} rounds; right is better; hollow: does less work",
        machine.core_count, machine.cpu, machine.kernel, machine.disk, report.round_count
    );
    draw!(
        out,
        "<text x=\"16\" y=\"48\" fill=\"#555\">{}</text>",
        escape(&what)
    );
    let mut left = 16.0;
    for column in report
        .columns
        .iter()
        .filter(|column| column.missing.is_none())
    {
        let fill = colour(&column.name);
        draw!(
            out,
            "<circle cx=\"{}\" cy=\"68\" r=\"6\" fill=\"{fill}\"/>",
            left + 6.0
        );
        draw!(
            out,
            "<text x=\"{}\" y=\"73\">{}</text>",
            left + 17.0,
            escape(&column.name)
        );
        left += 34.0 + 8.0 * column.name.len() as f64;
    }
    draw!(
        out,
        "<text x=\"{}\" y=\"{}\" fill=\"#555\">coffer</text>",
        AXIS_RIGHT + 24.0,
        TOP - 8.0
    );
}

fn axis(out: &mut String, bottom: f64) {
    let last = OCTAVES as i32;
    for octave in -last..=last {
        let at = x(2_f64.powi(octave));
        let colour = if octave == 0 { "#000" } else { "#e3e6e9" };
        draw!(
            out,
            "<path d=\"M{at:.1} {TOP} V{bottom:.1}\" stroke=\"{colour}\"/>"
        );
        let words = if octave < 0 {
            format!("1/{}", 1 << -octave)
        } else {
            format!("{}x", 1 << octave)
        };
        for y in [TOP - 8.0, bottom + 18.0] {
            draw!(
                out,
                "<text x=\"{at:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" fill=\"#555\">{words}</text>"
            );
        }
    }
}

fn row(out: &mut String, line: &Line, middle: f64) {
    let Some(row) = row_named(&line.row) else {
        return;
    };
    draw!(
        out,
        "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        AXIS_LEFT - 14.0,
        middle + 4.0,
        escape(row.title)
    );
    let better = |left: f64, right: f64| {
        if row.unit.more_is_better() {
            left / right
        } else {
            right / left
        }
    };
    let peers = line
        .cells
        .iter()
        .filter(|(name, _)| Kind::named(name).is_some_and(|kind| !kind.is_ours()));
    let best = peers
        .filter_map(|(_, cell)| cell.median)
        .max_by(|left, right| better(*left, *right).total_cmp(&1.0));
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
        let (at, colour) = (x(better(median, best)), colour(name));
        let fill = if cell.less { "white" } else { colour };
        let radius = if name == OURS { 7.0 } else { 5.0 };
        draw!(
            out,
            "<circle cx=\"{at:.1}\" cy=\"{middle:.1}\" r=\"{radius}\" fill=\"{fill}\" \
             stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
    }
    let ours = line.cells.get(OURS).and_then(|cell| cell.median);
    let words = ours.map_or_else(|| "-".into(), |median| value(row.unit, median));
    draw!(
        out,
        "<text x=\"{}\" y=\"{:.1}\">{words}</text>",
        AXIS_RIGHT + 24.0,
        middle + 4.0
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::report::tests::example;

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

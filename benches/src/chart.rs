//! The report as a bar chart: ratios on a logarithmic axis, drawn as plain SVG.
//!
//! A bar to the right of the line at 1 is good news, also for sizes, which are drawn inverted.

use crate::program::say;
use crate::report::{Line, Report, Verdict};
use crate::rows::Against;
use crate::svg::{Axis, picture, words};
use crate::unit::ratio_text;

const AXIS: Axis = Axis {
    left: 300.0,
    right: 900.0,
    octaves: 4,
};
const ROW_HEIGHT: f64 = 40.0;
const TOP: f64 = 110.0;
const SMALL: &str = "font-size=\"10\" fill=\"#777\"";

const PEER_COLOUR: &str = "#1f6fb4";
const DISK_COLOUR: &str = "#b9bec4";
const MISSED_COLOUR: &str = "#c0392b";

/// The chart of the ratios.
#[must_use]
pub fn render(report: &Report) -> String {
    let height = TOP + ROW_HEIGHT * report.lines.len() as f64 + 40.0;
    let below = format!(
        "{}; medians of {} rounds",
        report.machine.line(),
        report.round_count
    );
    let title = "Coffer against gocryptfs and the bare disk";
    picture(height, title, &below, |out| {
        legend(out);
        AXIS.draw(out, TOP, height - 34.0);
        for (number, line) in report.lines.iter().enumerate() {
            row(out, report, line, TOP + ROW_HEIGHT * number as f64);
        }
    })
}

fn legend(out: &mut String) {
    let legend = [
        (16.0, PEER_COLOUR, "times as good as gocryptfs"),
        (230.0, MISSED_COLOUR, "the same, target missed"),
        (420.0, DISK_COLOUR, "times as good as the bare disk"),
    ];
    for (left, colour, text) in legend {
        say!(
            out,
            "<rect x=\"{left}\" y=\"62\" width=\"14\" height=\"14\" fill=\"{colour}\"/>"
        );
        words(out, (left + 20.0, 74.0), "", text);
    }
    mark(out, 660.0, 60.0);
    words(out, (668.0, 74.0), "", "target");
    let at = (AXIS.right + 20.0, TOP - 10.0);
    words(out, at, "fill=\"#555\"", "coffer");
}

/// A dashed line where a target lies.
fn mark(out: &mut String, x: f64, y: f64) {
    say!(
        out,
        "<path d=\"M{x:.1} {y:.1} v19\" stroke=\"black\" stroke-width=\"2\" stroke-dasharray=\"3 2\"/>"
    );
}

fn row(out: &mut String, report: &Report, line: &Line, top: f64) {
    let middle = top + ROW_HEIGHT / 2.0;
    let left = AXIS.left - 12.0;
    words(
        out,
        (left, middle - 1.0),
        "text-anchor=\"end\"",
        line.row.title,
    );
    let attributes = format!("text-anchor=\"end\" {SMALL}");
    let durability = line.row.durability.words();
    words(out, (left, middle + 12.0), &attributes, durability);
    values(out, line, middle);
    let good = |ratio: f64| {
        if line.row.unit.is_size() {
            1.0 / ratio
        } else {
            ratio
        }
    };
    let (mut peer_colour, mut disk_colour) = (PEER_COLOUR, DISK_COLOUR);
    let mut marks = Vec::new();
    let of_row = |verdict: &&Verdict| verdict.target.row == line.row.name;
    for verdict in report.verdicts.iter().filter(of_row) {
        let (colour, at) = match verdict.target.against {
            Against::PeerAtLeast(least) => (&mut peer_colour, Some((least, top + 3.0))),
            Against::DiskAtMost(most) => (&mut disk_colour, Some((1.0 / most, top + 20.0))),
            Against::ValueAtMost(_) => (&mut peer_colour, None),
            Against::FloorAtLeast(_) => continue,
        };
        marks.extend(at);
        if verdict.reached == Some(false) {
            *colour = MISSED_COLOUR;
        }
    }
    if let Some(ratio) = line.to_peer.map(good) {
        bar(out, ratio, top + 5.0, 15.0, peer_colour);
    }
    if let Some(ratio) = line.to_disk.map(good) {
        bar(out, ratio, top + 22.0, 11.0, disk_colour);
    }
    for (ratio, y) in marks {
        mark(out, AXIS.x(ratio), y);
    }
}

/// What was measured, in plain numbers, right of the axis.
fn values(out: &mut String, line: &Line, middle: f64) {
    let ours = line.cells.get(crate::report::OURS);
    let text = match ours.and_then(|cell| cell.median) {
        Some(median) => line.row.unit.text(median),
        None if ours.is_some() => "failed".into(),
        None => "missing".into(),
    };
    let left = AXIS.right + 20.0;
    words(out, (left, middle - 1.0), "", &text);
    let mut others = Vec::new();
    for name in [crate::report::PEER, crate::report::DISK] {
        if let Some(median) = line.cells.get(name).and_then(|cell| cell.median) {
            others.push(format!("{name} {}", line.row.unit.text(median)));
        }
    }
    words(out, (left, middle + 12.0), SMALL, &others.join(", "));
}

fn bar(out: &mut String, ratio: f64, y: f64, height: f64, colour: &str) {
    let (one, at) = (AXIS.x(1.0), AXIS.x(ratio));
    let (from, to) = (one.min(at), one.max(at));
    say!(
        out,
        "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height}\" fill=\"{colour}\"/>",
        (to - from).max(1.0)
    );
    let (at, anchor) = if ratio >= 1.0 {
        (to + 4.0, "start")
    } else {
        (from - 4.0, "end")
    };
    let attributes = format!(
        "text-anchor=\"{anchor}\" font-size=\"11\" paint-order=\"stroke\" stroke=\"white\" \
         stroke-width=\"3\""
    );
    let at = (at, y + height - 2.5);
    words(out, at, &attributes, &ratio_text(Some(ratio)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;
    use crate::svg::escape;

    #[test]
    fn every_row_is_drawn_inside_the_picture() {
        let report = example();
        let svg = render(&report);
        for line in &report.lines {
            assert!(svg.contains(&escape(line.row.title)), "{}", line.row.name);
        }
        assert!(svg.contains(MISSED_COLOUR) && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}

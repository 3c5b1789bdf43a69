//! The report as a bar chart: ratios on a logarithmic axis, drawn as plain SVG.
//!
//! A bar to the right of the line at 1 is good news, also for sizes, which are drawn inverted.

use core::fmt::Write;

use crate::report::{Line, Report};
use crate::rows::{Against, Unit};
use crate::table;

const WIDTH: f64 = 1120.0;
const LABEL_WIDTH: f64 = 300.0;
const AXIS_RIGHT: f64 = 900.0;
const ROW_HEIGHT: f64 = 40.0;
const TOP: f64 = 110.0;
/// The axis spans from 1/16 to 16.
const OCTAVES: f64 = 4.0;

const PEER_COLOUR: &str = "#1f6fb4";
const DISK_COLOUR: &str = "#b9bec4";
const MISSED_COLOUR: &str = "#c0392b";

macro_rules! draw {
    ($out:expr, $($piece:tt)*) => {{
        // Writing to a string cannot fail.
        let _ = writeln!($out, $($piece)*);
    }};
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn x(ratio: f64) -> f64 {
    let octaves = ratio.max(1e-9).log2().clamp(-OCTAVES, OCTAVES);
    let middle = f64::midpoint(LABEL_WIDTH, AXIS_RIGHT);
    middle + octaves / OCTAVES * (AXIS_RIGHT - LABEL_WIDTH) / 2.0
}

/// The chart of the ratios.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let height = TOP + ROW_HEIGHT * report.lines.len() as f64 + 40.0;
    draw!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">"
    );
    draw!(out, "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>");
    head(&mut out, report);
    axis(&mut out, height - 34.0);
    for (number, line) in report.lines.iter().enumerate() {
        row(&mut out, report, line, TOP + ROW_HEIGHT * number as f64);
    }
    draw!(out, "</svg>");
    out
}

fn head(out: &mut String, report: &Report) {
    let machine = &report.machine;
    let what = format!(
        "{} x {}, Linux {}, {}; medians of {} rounds",
        machine.core_count, machine.cpu, machine.kernel, machine.disk, report.round_count
    );
    draw!(
        out,
        "<text x=\"16\" y=\"28\" font-size=\"19\" font-weight=\"bold\">Coffer against gocryptfs and the bare disk</text>"
    );
    draw!(
        out,
        "<text x=\"16\" y=\"48\" fill=\"#555\">{}</text>",
        escape(&what)
    );
    let legend = [
        (16.0, PEER_COLOUR, "times as good as gocryptfs"),
        (230.0, MISSED_COLOUR, "the same, target missed"),
        (420.0, DISK_COLOUR, "times as good as the bare disk"),
    ];
    for (left, colour, words) in legend {
        draw!(
            out,
            "<rect x=\"{left}\" y=\"62\" width=\"14\" height=\"14\" fill=\"{colour}\"/>"
        );
        draw!(out, "<text x=\"{}\" y=\"74\">{words}</text>", left + 20.0);
    }
    draw!(
        out,
        "<path d=\"M660 60 v18\" stroke=\"black\" stroke-width=\"2\" stroke-dasharray=\"3 2\"/>"
    );
    draw!(out, "<text x=\"668\" y=\"74\">target</text>");
    draw!(
        out,
        "<text x=\"{}\" y=\"{}\" fill=\"#555\">coffer</text>",
        AXIS_RIGHT + 20.0,
        TOP - 10.0
    );
}

fn axis(out: &mut String, bottom: f64) {
    for octave in -4_i32..=4 {
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
        for y in [TOP - 10.0, bottom + 18.0] {
            draw!(
                out,
                "<text x=\"{at:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" fill=\"#555\">{words}</text>"
            );
        }
    }
}

fn row(out: &mut String, report: &Report, line: &Line, top: f64) {
    let middle = top + ROW_HEIGHT / 2.0;
    draw!(
        out,
        "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        LABEL_WIDTH - 12.0,
        middle - 1.0,
        escape(line.row.title)
    );
    draw!(
        out,
        "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" font-size=\"10\" fill=\"#777\">{}</text>",
        LABEL_WIDTH - 12.0,
        middle + 12.0,
        line.row.durability.words()
    );
    values(out, line, middle);
    let good = |ratio: f64| {
        if line.row.unit == Unit::Bytes {
            1.0 / ratio
        } else {
            ratio
        }
    };
    let verdict = report
        .verdicts
        .iter()
        .find(|verdict| verdict.target.row == line.row.name);
    let missed = verdict.is_some_and(|verdict| verdict.reached == Some(false));
    let of_disk = verdict.is_some_and(|v| matches!(v.target.against, Against::DiskAtMost(_)));
    let peer_colour = if missed && !of_disk {
        MISSED_COLOUR
    } else {
        PEER_COLOUR
    };
    let disk_colour = if missed && of_disk {
        MISSED_COLOUR
    } else {
        DISK_COLOUR
    };
    if let Some(ratio) = line.to_peer.map(good) {
        bar(out, ratio, top + 5.0, 15.0, peer_colour);
    }
    if let Some(ratio) = line.to_disk.map(good) {
        bar(out, ratio, top + 22.0, 11.0, disk_colour);
    }
    let mark = verdict.and_then(|verdict| match verdict.target.against {
        Against::PeerAtLeast(least) => Some((least, top + 3.0)),
        Against::DiskAtMost(most) => Some((1.0 / most, top + 20.0)),
        Against::ValueAtMost(_) => None,
    });
    if let Some((ratio, y)) = mark {
        let at = x(ratio);
        draw!(
            out,
            "<path d=\"M{at:.1} {y:.1} v19\" stroke=\"black\" stroke-width=\"2\" stroke-dasharray=\"3 2\"/>"
        );
    }
}

/// What was measured, in plain numbers, right of the axis.
fn values(out: &mut String, line: &Line, middle: f64) {
    let ours = line.cells.get(crate::report::OURS);
    let words = match ours.and_then(|cell| cell.median) {
        Some(median) => table::value(line.row.unit, median),
        None if ours.is_some() => "failed".into(),
        None => "missing".into(),
    };
    draw!(
        out,
        "<text x=\"{}\" y=\"{:.1}\">{words}</text>",
        AXIS_RIGHT + 20.0,
        middle - 1.0
    );
    let mut others = Vec::new();
    for name in [crate::report::PEER, crate::report::DISK] {
        if let Some(median) = line.cells.get(name).and_then(|cell| cell.median) {
            others.push(format!("{name} {}", table::value(line.row.unit, median)));
        }
    }
    draw!(
        out,
        "<text x=\"{}\" y=\"{:.1}\" font-size=\"10\" fill=\"#777\">{}</text>",
        AXIS_RIGHT + 20.0,
        middle + 12.0,
        others.join(", ")
    );
}

fn bar(out: &mut String, ratio: f64, y: f64, height: f64, colour: &str) {
    let (from, to) = (x(1.0).min(x(ratio)), x(1.0).max(x(ratio)));
    draw!(
        out,
        "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height}\" fill=\"{colour}\"/>",
        (to - from).max(1.0)
    );
    let (at, anchor) = if ratio >= 1.0 {
        (to + 4.0, "start")
    } else {
        (from - 4.0, "end")
    };
    draw!(
        out,
        "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" font-size=\"11\" \
         paint-order=\"stroke\" stroke=\"white\" stroke-width=\"3\">{}</text>",
        y + height - 2.5,
        table::ratio(Some(ratio))
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;

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

    #[test]
    fn the_axis_is_symmetric_and_clamped() {
        let left = x(1.0) - x(0.25);
        let right = x(4.0) - x(1.0);
        assert!((left - right).abs() < 1e-6);
        assert!((x(1e9) - AXIS_RIGHT).abs() < 1e-6 && (x(0.0) - LABEL_WIDTH).abs() < 1e-6);
    }
}

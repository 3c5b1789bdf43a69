//! The growth as a picture: a panel for each measure, both axes logarithmic.
//!
//! A colour for each subject; lines are whole where the store grows and dashed where one directory
//! does.

use super::{MEASURES, Measure, Report, Sweep};
use crate::program::say;
use crate::svg::{picture, words};

const PANEL_WIDTH: f64 = 352.0;
const PANEL_HEIGHT: f64 = 230.0;
const PANELS_IN_ROW: usize = 3;
const TOP: f64 = 90.0;
const COLOURS: [&str; 7] = [
    "#c0392b", "#1f6fb4", "#1e8449", "#7d3c98", "#e59866", "#5d6d7e", "#000000",
];
const GREY: &str = "fill=\"#555\" font-size=\"11\"";

/// A range of one axis, as logarithms.
#[derive(Debug, Clone, Copy)]
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let logs: Vec<f64> = values.filter(|v| *v > 0.0).map(f64::log10).collect();
        let low = logs.iter().copied().min_by(f64::total_cmp)?;
        let high = logs.iter().copied().max_by(f64::total_cmp)?;
        // A line that hardly rises shall not look steep.
        let spare = ((0.6 - (high - low)) / 2.0).max(0.05);
        Some(Self {
            low: low - spare,
            high: high + spare,
        })
    }

    /// Where a value lies, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        (value.max(1e-12).log10() - self.low) / (self.high - self.low)
    }
}

/// The picture.
#[must_use]
pub fn render(report: &Report) -> String {
    let rows = MEASURES.len().div_ceil(PANELS_IN_ROW) as f64;
    let title = "Costs by the number of files";
    picture(
        TOP + rows * PANEL_HEIGHT,
        title,
        &report.machine.line(),
        |out| {
            let mut left = 16.0;
            for (number, column) in report.columns.iter().enumerate() {
                let fill = COLOURS[number % COLOURS.len()];
                say!(
                    out,
                    "<circle cx=\"{}\" cy=\"68\" r=\"6\" fill=\"{fill}\"/>",
                    left + 6.0
                );
                words(out, (left + 17.0, 73.0), "", column.name);
                left += 34.0 + 8.0 * column.name.len() as f64;
            }
            let legend = "whole: files of the store; dashed: entries of one directory";
            words(out, (left + 10.0, 73.0), GREY, legend);
            for (number, measure) in MEASURES.iter().enumerate() {
                let left = 16.0 + (number % PANELS_IN_ROW) as f64 * (PANEL_WIDTH + 12.0);
                let top = TOP + (number / PANELS_IN_ROW) as f64 * PANEL_HEIGHT;
                panel(out, report, measure, (left, top));
            }
        },
    )
}

fn panel(out: &mut String, report: &Report, measure: &Measure, (left, top): (f64, f64)) {
    words(
        out,
        (left, top + 14.0),
        "font-weight=\"bold\"",
        measure.title,
    );
    let values = report
        .points
        .iter()
        .filter_map(|point| point.values.get(measure.name));
    let sizes = report.points.iter().map(|point| point.size as f64);
    let (Some(x), Some(y)) = (Range::of(sizes), Range::of(values.copied())) else {
        return;
    };
    let (from, to) = (left + 62.0, left + PANEL_WIDTH - 16.0);
    let (floor, ceiling) = (top + PANEL_HEIGHT - 34.0, top + 26.0);
    let place = |size: f64, value: f64| {
        (
            from + x.share(size) * (to - from),
            floor - y.share(value) * (floor - ceiling),
        )
    };
    for step in 0..=2 {
        let value = 10_f64.powf(y.low + (y.high - y.low) * f64::from(step) / 2.0);
        let (_, at) = place(1.0, value);
        say!(
            out,
            "<path d=\"M{from:.1} {at:.1} H{to:.1}\" stroke=\"#e3e6e9\"/>"
        );
        let attributes = format!("text-anchor=\"end\" {GREY}");
        let text = measure.unit.text(value);
        words(out, (from - 5.0, at + 4.0), &attributes, &text);
    }
    for power in x.low.ceil() as i32..=x.high.floor() as i32 {
        let (at, _) = place(10_f64.powi(power), 1.0);
        say!(
            out,
            "<path d=\"M{at:.1} {ceiling:.1} V{floor:.1}\" stroke=\"#e3e6e9\"/>"
        );
        let attributes = format!("text-anchor=\"middle\" {GREY}");
        let text = format!("{}", 10_f64.powi(power));
        words(out, (at, floor + 16.0), &attributes, &text);
    }
    for (number, column) in report.columns.iter().enumerate() {
        for sweep in Sweep::ALL {
            let line = report.line(column.name, sweep);
            let points = line.iter().filter_map(|point| {
                let value = point.values.get(measure.name)?;
                Some(place(point.size as f64, *value))
            });
            curve(out, points, COLOURS[number % COLOURS.len()], sweep);
        }
    }
}

fn curve(out: &mut String, points: impl Iterator<Item = (f64, f64)>, colour: &str, sweep: Sweep) {
    let dashes = match sweep {
        Sweep::Directory => " stroke-dasharray=\"5 4\"",
        Sweep::Store => "",
    };
    let mut path = String::new();
    for (x, y) in points {
        let command = if path.is_empty() { 'M' } else { 'L' };
        path += &format!("{command}{x:.1} {y:.1} ");
        say!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
        );
    }
    say!(
        out,
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::report::tests::example;

    #[test]
    fn every_measure_and_point_is_drawn() {
        let report = example();
        let svg = render(&report);
        for measure in MEASURES {
            assert!(svg.contains(measure.title), "{}", measure.name);
        }
        let dots = svg.matches("r=\"3\"").count();
        assert_eq!(dots, MEASURES.len() * report.points.len());
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn a_range_holds_its_values() {
        let range = Range::of([10.0, 1000.0].into_iter()).unwrap();
        assert!(range.share(10.0) > 0.0 && range.share(1000.0) < 1.0);
        let flat = Range::of([7.0].into_iter()).unwrap();
        assert!((flat.share(7.0) - 0.5).abs() < 1e-9);
        assert!(Range::of([0.0].into_iter()).is_none());
    }
}

//! Plain SVG: the frame of a picture, text, and an axis of ratios.
//!
//! The axis is logarithmic and symmetric around 1; what lies outside is drawn at its end.

use crate::program::say;

/// Width of every picture.
pub const WIDTH: f64 = 1120.0;

/// Text that may stand in SVG.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A picture with a title and a line below it, and `body` between head and end.
pub fn picture(height: f64, title: &str, below: &str, body: impl FnOnce(&mut String)) -> String {
    let mut out = String::new();
    say!(
        &mut out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">"
    );
    say!(
        &mut out,
        "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
    );
    say!(
        &mut out,
        "<text x=\"16\" y=\"28\" font-size=\"19\" font-weight=\"bold\">{}</text>",
        escape(title)
    );
    words(&mut out, (16.0, 48.0), "fill=\"#555\"", below);
    body(&mut out);
    say!(&mut out, "</svg>");
    out
}

/// Words at a place, with attributes.
pub fn words(out: &mut String, (x, y): (f64, f64), attributes: &str, words: &str) {
    say!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{}</text>",
        escape(words)
    );
}

/// An axis of ratios from left to right.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// Its left end.
    pub left: f64,
    /// Its right end.
    pub right: f64,
    /// It spans from this many halvings to as many doublings.
    pub octaves: i32,
}

impl Axis {
    /// Where a ratio lies.
    #[must_use]
    pub fn x(&self, ratio: f64) -> f64 {
        let most = f64::from(self.octaves);
        let octaves = ratio.max(1e-9).log2().clamp(-most, most);
        f64::midpoint(self.left, self.right) + octaves / most * (self.right - self.left) / 2.0
    }

    /// Draws a line for each octave from `top` to `bottom`, with words at both ends.
    pub fn draw(&self, out: &mut String, top: f64, bottom: f64) {
        for octave in -self.octaves..=self.octaves {
            let at = self.x(2_f64.powi(octave));
            let colour = if octave == 0 { "#000" } else { "#e3e6e9" };
            say!(
                out,
                "<path d=\"M{at:.1} {top} V{bottom:.1}\" stroke=\"{colour}\"/>"
            );
            let ratio = if octave < 0 {
                format!("1/{}", 1 << -octave)
            } else {
                format!("{}x", 1 << octave)
            };
            for y in [top - 10.0, bottom + 18.0] {
                words(out, (at, y), "text-anchor=\"middle\" fill=\"#555\"", &ratio);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_is_symmetric_and_clamped() {
        let axis = Axis {
            left: 300.0,
            right: 900.0,
            octaves: 4,
        };
        let left = axis.x(1.0) - axis.x(0.25);
        let right = axis.x(4.0) - axis.x(1.0);
        assert!((left - right).abs() < 1e-6);
        assert!((axis.x(1e9) - axis.right).abs() < 1e-6 && (axis.x(0.0) - axis.left).abs() < 1e-6);
    }
}

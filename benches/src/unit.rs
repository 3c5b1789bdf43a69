//! How a value is told, and which way is better; the middle of several values.

use serde::{Deserialize, Serialize};

/// How a value is told, and which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Millions of bytes per second; more is better.
    MegabytesPerSecond,
    /// Operations per second; more is better.
    PerSecond,
    /// Seconds; less is better.
    Seconds,
    /// Bytes; less is better.
    Bytes,
    /// A factor; less is better.
    Factor,
    /// Seconds of a core for a thousand million bytes; less is better.
    SecondsPerGigabyte,
}

impl Unit {
    /// Is more better?
    #[must_use]
    pub fn more_is_better(self) -> bool {
        matches!(self, Self::MegabytesPerSecond | Self::PerSecond)
    }

    /// Is it space that is taken?
    #[must_use]
    pub fn is_size(self) -> bool {
        matches!(self, Self::Bytes | Self::Factor)
    }

    /// How many times as good as `theirs` is `ours`?
    #[must_use]
    pub fn advantage(self, ours: f64, theirs: f64) -> f64 {
        if self.more_is_better() {
            ours / theirs
        } else {
            theirs / ours
        }
    }

    /// A value with its unit, short.
    #[must_use]
    pub fn text(self, value: f64) -> String {
        match self {
            Self::MegabytesPerSecond if value < 10.0 => format!("{value:.1} MB/s"),
            Self::MegabytesPerSecond => format!("{value:.0} MB/s"),
            Self::PerSecond if value >= 1e6 => format!("{:.2}M/s", value / 1e6),
            Self::PerSecond if value >= 1e5 => format!("{:.0}k/s", value / 1e3),
            Self::PerSecond if value >= 1e4 => format!("{:.1}k/s", value / 1e3),
            Self::PerSecond => format!("{value:.0}/s"),
            Self::Seconds if value < 1.0 => format!("{:.0} ms", value * 1e3),
            Self::Seconds => format!("{value:.2} s"),
            Self::Bytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
            Self::Factor => format!("{value:.2}"),
            Self::SecondsPerGigabyte => format!("{value:.2} s/GB"),
        }
    }
}

/// A ratio, or a dash.
#[must_use]
pub fn ratio_text(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}x"))
}

/// The middle of some values; with an even count the mean of the two in the middle.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// Half the distance from the smallest to the largest value, as a share of the median.
#[must_use]
pub fn spread(values: &[f64]) -> f64 {
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(0.0, f64::max);
    median(values).map_or(0.0, |median| (highest - lowest) / 2.0 / median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short() {
        assert_eq!(Unit::PerSecond.text(1_234_000.0), "1.23M/s");
        assert_eq!(Unit::PerSecond.text(38_412.0), "38.4k/s");
        assert_eq!(Unit::Seconds.text(0.0714), "71 ms");
        assert_eq!(Unit::Bytes.text(1_572_864.0), "1.5 MiB");
        assert_eq!(Unit::Factor.text(2.346), "2.35");
    }

    #[test]
    fn the_middle_and_what_lies_around_it() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert!((spread(&[1.0, 2.0, 3.0]) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn an_advantage_is_above_one() {
        assert!(Unit::Seconds.advantage(1.0, 2.0) > 1.0);
        assert!(Unit::PerSecond.advantage(2.0, 1.0) > 1.0);
        assert!(Unit::Bytes.advantage(1.0, 2.0) > 1.0);
    }
}

//! Lengths and ranges as people type them. Pure.

use core::str::FromStr;

/// A length: digits with an optional unit, `4096`, `64K`, `8MiB`, `1G`. Units are powers of 1024.
pub(crate) fn parse_len(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => {
            return Err(format!(
                "`{unit}` is no unit; use K, M, G or T, as in `64M`"
            ));
        }
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` is no length; write for instance `64M`"))?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("`{text}` is too large"))
}

/// Byte positions, both included, as in HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteRange {
    pub(crate) first: u64,
    /// `None`: to the end.
    pub(crate) last: Option<u64>,
}

impl FromStr for ByteRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || format!("`{text}` is no range; write FIRST-LAST, for instance 0-499");
        let number = |part: &str| {
            if part.bytes().all(|byte| byte.is_ascii_digit()) {
                part.parse::<u64>().map_err(|_| shape())
            } else {
                Err(shape())
            }
        };
        let (first, last) = text.split_once('-').ok_or_else(shape)?;
        let first = number(first)?;
        let last = match last {
            "" => None,
            last => Some(number(last)?),
        };
        if last.is_some_and(|last| last < first) {
            return Err(format!("`{text}` ends before it begins"));
        }
        Ok(Self { first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(parse_len("0"), Ok(0));
        assert_eq!(parse_len("64K"), Ok(64 << 10));
        assert_eq!(parse_len("8 MiB"), Ok(8 << 20));
        assert_eq!(parse_len("1g"), Ok(1 << 30));
        for bad in [
            "",
            "K",
            "-1",
            "1X",
            "1.5G",
            "99999999999999999999",
            "16777216T",
        ] {
            assert!(parse_len(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges() {
        assert_eq!(
            "0-499".parse(),
            Ok(ByteRange {
                first: 0,
                last: Some(499)
            })
        );
        assert_eq!(
            "7-".parse(),
            Ok(ByteRange {
                first: 7,
                last: None
            })
        );
        for bad in ["", "-", "-5", "5", "a-b", "9-8", "1-2-3", "+1-2", "0x1-2"] {
            assert!(bad.parse::<ByteRange>().is_err(), "{bad}");
        }
    }
}

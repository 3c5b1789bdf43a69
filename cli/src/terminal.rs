//! Standard output for results, standard error for everything else.
//!
//! - Nothing here panics on a closed stream.
//! - Text from a store is shown with control characters escaped, so that a file name cannot
//!   write to the terminal; JSON escapes them by itself.

use core::fmt;
use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

use crate::failure::{Failure, Outcome};

/// Results, buffered until [`Results::finish`].
pub(crate) struct Results {
    out: BufWriter<StdoutLock<'static>>,
}

impl Results {
    pub(crate) fn new() -> Self {
        Self {
            out: BufWriter::with_capacity(64 << 10, io::stdout().lock()),
        }
    }

    /// One line of text.
    pub(crate) fn line(&mut self, line: impl fmt::Display) -> Outcome {
        writeln!(self.out, "{line}").map_err(|error| Failure::output(&error))
    }

    /// One JSON document on a line of its own.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Outcome {
        serde_json::to_writer(&mut self.out, value)
            .map_err(|error| Failure::output(&error.into()))?;
        self.line("")
    }

    /// Hands everything to the reader of standard output.
    pub(crate) fn finish(mut self) -> Outcome {
        self.out.flush().map_err(|error| Failure::output(&error))
    }
}

impl Write for Results {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A remark for a person, on standard error.
pub(crate) fn note(text: impl fmt::Display) {
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(io::stderr(), "coffer: {text}");
}

/// Bytes as people read them: `0 B`, `17 B`, `4.0 KiB`, `1.5 GiB`.
pub(crate) fn human_len(len: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if len < 1024 {
        return format!("{len} B");
    }
    let power = ((63 - len.leading_zeros()) / 10).min(6);
    let tenths = (u128::from(len) * 10) >> (10 * power);
    let unit = UNITS[power as usize - 1];
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// A name out of a store, safe for a terminal: control characters as `\xNN`, other bytes that are
/// not UTF-8 likewise.
pub(crate) fn printable(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for part in name.utf8_chunks() {
        for letter in part.valid().chars() {
            if letter.is_control() || letter == '\\' {
                let mut bytes = [0; 4];
                for byte in letter.encode_utf8(&mut bytes).bytes() {
                    push_escaped(&mut text, byte);
                }
            } else {
                text.push(letter);
            }
        }
        for &byte in part.invalid() {
            push_escaped(&mut text, byte);
        }
    }
    text
}

fn push_escaped(text: &mut String, byte: u8) {
    use fmt::Write as _;
    let _ = write!(text, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_well() {
        for (len, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(human_len(len), text);
        }
    }

    #[test]
    fn names_cannot_write_to_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb".as_bytes()), r"a\x1b[2Jb");
        assert_eq!(printable(b"\xff\xc3\xa4\\\n"), "\\xff\u{e4}\\x5c\\x0a");
    }
}

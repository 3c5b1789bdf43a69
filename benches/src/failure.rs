//! The one error of this crate: a sentence that says what could not be done and why.

use core::fmt;

/// What could not be done, in words for the person who reads the table.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The sentence, without a final dot.
    pub what: String,
    /// Set when the person asked to stop: the run ends instead of going on to the next row.
    pub interrupted: bool,
}

/// Result with a [`Failure`].
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// A failure of one row.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            interrupted: false,
        }
    }

    /// The person asked to stop.
    pub fn interrupted() -> Self {
        Self {
            what: "interrupted".into(),
            interrupted: true,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl core::error::Error for Failure {}

/// Adds to an error what was being done when it came.
pub trait Context<T> {
    /// Wraps the error as `what: error`.
    fn context(self, what: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: fmt::Display> Context<T> for Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}

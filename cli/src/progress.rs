//! Progress on standard error, where a person watches.

use core::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts bytes.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// `total_len` where it is known; nothing is shown to a file, a pipe or a quiet person.
    pub(crate) fn new(what: &str, total_len: Option<u64>, quiet: bool) -> Self {
        if quiet {
            return Self(ProgressBar::hidden());
        }
        // Draws on standard error, and only on a terminal.
        let bar = total_len.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = match total_len {
            Some(_) => "{msg} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec}, {eta} left",
            None => "{msg} {spinner} {bytes} {binary_bytes_per_sec}, {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> ").tick_chars("-\\|/ "));
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// Bytes done so far.
    pub(crate) fn set(&self, done_len: u64) {
        self.0.set_position(done_len);
    }

    /// Bytes to do in all, once that is known.
    pub(crate) fn set_total(&self, total_len: u64) {
        self.0.set_length(total_len);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

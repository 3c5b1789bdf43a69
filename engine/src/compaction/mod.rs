//! Flush and compaction: what to merge, what survives, how it is written.
//!
//! - `pick` and `retention` decide and touch nothing; `run` does and decides nothing.

mod pick;
mod retention;
mod run;

pub(crate) use pick::{Plan, pick, pick_range, pick_rewrite};
pub(crate) use retention::Retention;
pub(crate) use run::{Job, Output, run};

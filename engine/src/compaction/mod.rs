//! Flush and compaction: what to merge, what survives, how it is written.
//!
//! - `pick`, `claims`, `split` and `retention` decide and touch nothing; `run` does and decides
//!   nothing.

mod claims;
mod pick;
mod plan;
mod ranges;
mod retention;
mod run;
mod split;
mod targets;

pub(crate) use claims::Claims;
pub(crate) use pick::{pick, pick_range, pick_rewrite};
pub(crate) use plan::Plan;
pub(crate) use retention::Retention;
pub(crate) use run::{Job, Output, run};
pub(crate) use split::{Cutter, split};

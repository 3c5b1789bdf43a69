//! Cursors that join cursors: over a level, over everything, over the live keys of a range, over
//! what changed.
//!
//! - Beneath are cursors over entries in internal order; on top stands [`Cursor`], which shows
//!   each key once.

mod changes;
mod level;
mod merge;
mod range;
mod shade;

pub use changes::Changes;
pub(crate) use level::LevelCursor;
pub(crate) use merge::MergeCursor;
pub use range::Cursor;
pub(crate) use range::{KeyRange, prefix_range};
pub(crate) use shade::{Shade, ShadePlace};

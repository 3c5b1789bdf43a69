//! Tables: sorted, immutable files of entries.
//!
//! - A table is written once, front to back, and never changed.
//! - Whoever opens it names its root: no other bytes open as it.

mod cursor;
mod entries;
mod examine;
mod extra;
mod index;
mod jobs;
mod many;
mod meta;
mod newer;
mod point;
mod ranges;
mod readahead;
mod reader;
mod sealing;
mod section;
mod sink;
mod writer;

pub(crate) use cursor::TableCursor;
pub(crate) use extra::Lineage;
pub(crate) use jobs::{JobQueue, Lender, LentThread};
pub(crate) use many::Ask;
pub(crate) use meta::TableMeta;
pub(crate) use newer::NewerCursor;
pub(crate) use ranges::{RunFragments, RunWindows};
pub(crate) use reader::{Fill, LiveTable};

pub(crate) use sink::TableOpener;
pub(crate) use writer::TableWriter;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk_tests;

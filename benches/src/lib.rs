//! Benchmarks of Coffer against its peers: what is measured, on what, and how it is told.
//!
//! The binary `fs-compare` runs whole file systems (*subjects*) through the same *rows* in
//! alternation. Invariants:
//! - A row is measured in a child process (`step`), so that a hung mount costs a row, not the run.
//! - Every subject does the same work: same bytes, same commands, same syncs, same checks.
//! - Whatever was mounted or created is unmounted and removed, also after a panic or a signal.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a benchmark has an operating system; only the engine goes without"
)]

pub mod args;
pub mod chart;
pub mod compare;
pub mod data;
pub mod failure;
pub mod group;
pub mod kv;
pub mod machine;
pub mod null;
pub mod process;
pub mod program;
pub mod report;
pub mod rows;
pub mod scale;
pub mod sources;
pub mod step;
pub mod subject;
pub mod svg;
pub mod table;
pub mod unit;
pub mod workdir;

//! `kv-compare`: key-value engines, the same work, one table for each length of values.
//!
//! - An engine lives in a child process of its own, so that memory and caches are its own.
//! - Every engine gets the same keys in the same order and the same values, and what it reads is
//!   compared with what was written.
//! - An engine that this build lacks, or that cannot do a row, is told as missing, never left out.

pub mod args;
pub mod chart;
pub mod compare;
pub mod corpus;
pub mod engine;
pub mod phase;
pub mod report;
pub mod rows;
pub mod step;
pub mod table;

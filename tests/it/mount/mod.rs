//! The `coffer` binary, mounted for real, driven by the programs that people run.
//!
//! Where FUSE or a program is missing these tests are compiled as ignored, with the reason.

mod copies;
mod damage;
mod disk;
mod ends;
mod holes;
pub(crate) mod kill;
mod lifecycle;
mod limits;
mod programs;
mod refusals;
mod requests;
mod twin;

//! The one integration binary of Coffer.
#![allow(
    clippy::unwrap_used,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::panic,
    clippy::print_stderr,
    reason = "test code: a failed expectation ends the test, and skipped tests say so"
)]

mod axes;
mod blob_crash;
mod crash;
mod engine;
mod fault;
mod fault_files;
mod golden;
mod model_fs;
mod mount;
mod plaintext;
mod sim;
mod stores;
mod threat;
mod tidy;
mod walks;

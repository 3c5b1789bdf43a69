//! The test harness of Coffer: simulated media, seeded worlds, house rules.
//!
//! - Everything random comes from a seed, so that every failure can be replayed.
//! - Nothing here is part of the product.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "test code on the operating system: a failed expectation ends the test"
)]

pub mod crash;
pub mod fault;
pub mod image;
pub mod model_fs;
pub mod play_fs;
pub mod process;
pub mod random;
pub mod sample;
pub mod sim;
pub mod tidy;
pub mod world;

//! The test harness of Coffer: simulated media, seeded worlds, house rules.
//!
//! - Everything random comes from a seed, so that every failure can be replayed.
//! - Nothing here is part of the product.

pub mod tidy;

#![allow(warnings)]
extern crate self as coffer_tests;
#[path = "../../tests/src/crash.rs"]
pub mod crash;
#[path = "../../tests/it/engine.rs"]
mod engine;
#[path = "../../tests/src/fault.rs"]
pub mod fault;
#[path = "../../tests/src/random.rs"]
pub mod random;
#[path = "../../tests/src/world.rs"]
pub mod world;

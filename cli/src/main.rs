//! `coffer`, the command.
//!
//! - Standard output holds results only; remarks, progress and errors go to standard error.
//! - Exit codes and JSON shapes are stable: `docs/CLI.md`.

extern crate alloc;

mod args;
mod commands;
mod failure;
mod moment;
mod mount_options;
mod progress;
mod secrets;
mod store;
mod system;
mod terminal;
mod units;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    system::harden();
    match commands::run(args::CommandLine::parse()) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

//! A file system under test: how it is made, mounted, left, and what it promises.
//!
//! A subject only says *which* commands do that; [`Session`] runs them for all alike, each with a
//! limit, and ends whatever does not end by itself.

mod bare;
mod coffer;
mod null;
mod peer;
mod session;

pub use bare::Bare;
pub use coffer::Coffer;
pub use null::Null;
pub use peer::{PEERS, Peer};
pub use session::Session;

use core::fmt;
use std::path::Path;
use std::process::Command;

use crate::workdir::Place;

/// How a mount tells that it can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// It stands in the mount table.
    Mounted,
    /// It stands in the mount table and the command has printed this line.
    Line(&'static str),
}

/// A file system under test.
pub trait Subject: fmt::Debug {
    /// Short name, the head of its column.
    fn name(&self) -> &'static str;
    /// Version and options, for the head of the report.
    fn describe(&self) -> String;
    /// Why it cannot take part on this machine, if so.
    fn missing(&self) -> Option<String>;
    /// The command that makes an empty store, if one is needed.
    fn init(&self, place: &Place) -> Option<Command>;
    /// The command that mounts it and stays in the foreground; `None` when nothing is mounted.
    fn mount(&self, place: &Place) -> Option<Command>;
    /// How the mount tells that it can be used.
    fn ready(&self) -> Ready {
        Ready::Mounted
    }
    /// Whether its files outlive an unmount.
    fn remounts(&self) -> bool {
        true
    }
    /// The command that unmounts it.
    fn unmount(&self, place: &Place) -> Command;
    /// What write, fsync and close mean to it.
    fn durability(&self) -> &'static str;
    /// Where the user's files are seen.
    fn files<'a>(&self, place: &'a Place) -> &'a Path {
        &place.mount
    }
    /// What takes the bytes on the disk, if anything does.
    fn stored<'a>(&self, place: &'a Place) -> Option<&'a Path> {
        Some(&place.store)
    }
}

/// The first line a program prints when asked for its version, if it runs.
fn version_line(program: &Path, argument: &str) -> Option<String> {
    first_line(Command::new(program).arg(argument))
}

/// The first line a command prints, if it succeeds.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = if output.stdout.is_empty() {
        output.stderr
    } else {
        output.stdout
    };
    let line = String::from_utf8_lossy(&text);
    output
        .status
        .success()
        .then(|| line.lines().next().unwrap_or_default().trim().to_owned())
}

/// The command that unmounts any file system of FUSE.
fn fusermount(place: &Place) -> Command {
    let mut command = Command::new("fusermount3");
    command.arg("-u").arg(&place.mount);
    command
}

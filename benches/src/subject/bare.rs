//! The disk itself: the file system below all others, without encryption.

use std::path::Path;
use std::process::Command;

use super::Subject;
use crate::workdir::Place;

/// The bare disk.
#[derive(Debug)]
pub struct Bare;

impl Subject for Bare {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn describe(&self) -> String {
        "the file system below the others, no encryption".into()
    }

    fn missing(&self) -> Option<String> {
        None
    }

    fn init(&self, _: &Place) -> Option<Command> {
        None
    }

    fn mount(&self, _: &Place) -> Option<Command> {
        None
    }

    fn unmount(&self, _: &Place) -> Command {
        Command::new("true")
    }

    fn durability(&self) -> &'static str {
        "write: page cache only; fsync: on the medium; rename: atomic"
    }

    fn stored<'a>(&self, place: &'a Place) -> Option<&'a Path> {
        Some(&place.mount)
    }
}

//! The null file system: FUSE, and nothing behind it.

use std::path::Path;
use std::process::Command;

use super::Subject;
use crate::workdir::Place;

/// The null file system.
#[derive(Debug)]
pub struct Null;

impl Subject for Null {
    fn name(&self) -> &'static str {
        "null-fuse"
    }

    fn describe(&self) -> String {
        "a FUSE file system in memory: the floor for every other; \"cold\" is cold for the kernel only".into()
    }

    fn missing(&self) -> Option<String> {
        let found = Path::new("/dev/fuse").exists();
        (!found).then(|| "/dev/fuse is not there".into())
    }

    fn init(&self, _: &Place) -> Option<Command> {
        None
    }

    fn mount(&self, place: &Place) -> Option<Command> {
        let mut command = Command::new(std::env::current_exe().ok()?);
        command.arg("null-fs").arg(&place.mount);
        Some(command)
    }

    fn remounts(&self) -> bool {
        false
    }

    fn unmount(&self, place: &Place) -> Command {
        super::fusermount(place)
    }

    fn stored<'a>(&self, _: &'a Place) -> Option<&'a Path> {
        None
    }

    fn durability(&self) -> &'static str {
        "none: everything is gone at unmount"
    }
}

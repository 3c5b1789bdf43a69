//! Coffer, as its own binary mounts it.

use std::path::PathBuf;
use std::process::Command;

use super::{Ready, Subject, version_line};
use crate::workdir::Place;

/// Coffer.
#[derive(Debug)]
pub struct Coffer {
    /// The binary `coffer`.
    pub program: PathBuf,
    /// Further arguments of `coffer init`.
    pub init_arguments: Vec<String>,
    /// Further arguments of `coffer mount`.
    pub mount_arguments: Vec<String>,
}

impl Subject for Coffer {
    fn name(&self) -> &'static str {
        "coffer"
    }

    fn describe(&self) -> String {
        let version = version_line(&self.program, "--version").unwrap_or_default();
        let with = |arguments: &[String]| match arguments {
            [] => "defaults".to_owned(),
            some => some.join(" "),
        };
        let (init, mount) = (with(&self.init_arguments), with(&self.mount_arguments));
        format!("{version}; init: {init}; mount: {mount}")
    }

    fn missing(&self) -> Option<String> {
        let found = version_line(&self.program, "--version").is_some();
        (!found).then(|| format!("{} does not run", self.program.display()))
    }

    fn init(&self, place: &Place) -> Option<Command> {
        let mut command = Command::new(&self.program);
        command.arg("init").args(&self.init_arguments);
        command
            .arg("--passphrase-file")
            .arg(&place.passphrase)
            .arg(&place.store);
        Some(command)
    }

    fn mount(&self, place: &Place) -> Option<Command> {
        let mut command = Command::new(&self.program);
        command.arg("mount").args(&self.mount_arguments);
        command.arg("--passphrase-file").arg(&place.passphrase);
        command.arg(&place.store).arg(&place.mount);
        Some(command)
    }

    fn ready(&self) -> Ready {
        Ready::Line("READY")
    }

    fn unmount(&self, place: &Place) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("umount").arg(&place.mount);
        command
    }

    fn durability(&self) -> &'static str {
        "write: survives a crash of nothing (written out within 5 s); fsync: on the medium; \
         rename: atomic, after the data of the file; every block authenticated"
    }
}

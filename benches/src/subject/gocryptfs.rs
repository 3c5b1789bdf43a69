//! gocryptfs with its defaults, as Debian packages it.

use std::path::Path;
use std::process::Command;

use super::{Subject, version_line};
use crate::workdir::Place;

/// gocryptfs.
#[derive(Debug)]
pub struct Gocryptfs;

const PROGRAM: &str = "gocryptfs";

impl Subject for Gocryptfs {
    fn name(&self) -> &'static str {
        PROGRAM
    }

    fn describe(&self) -> String {
        let version = version_line(Path::new(PROGRAM), "-version").unwrap_or_default();
        format!("{version}; default options (AES-256-GCM per 4 KiB, EME names)")
    }

    fn missing(&self) -> Option<String> {
        let found = version_line(Path::new(PROGRAM), "-version").is_some();
        (!found).then(|| "not installed (Debian package gocryptfs)".into())
    }

    fn init(&self, place: &Place) -> Option<Command> {
        let mut command = Command::new(PROGRAM);
        command
            .args(["-init", "-q", "-passfile"])
            .arg(&place.passphrase)
            .arg(&place.store);
        Some(command)
    }

    fn mount(&self, place: &Place) -> Option<Command> {
        let mut command = Command::new(PROGRAM);
        command
            .args(["-fg", "-q", "-nosyslog", "-passfile"])
            .arg(&place.passphrase);
        command.arg(&place.store).arg(&place.mount);
        Some(command)
    }

    fn unmount(&self, place: &Place) -> Command {
        let mut command = Command::new("fusermount3");
        command.arg("-u").arg(&place.mount);
        command
    }

    fn durability(&self) -> &'static str {
        "write: page cache of the disk below; fsync: the file below is synced (a fresh directory \
         may still be lost with the power); rename: atomic; every 4 KiB authenticated"
    }
}

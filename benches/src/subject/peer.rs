//! Encrypting file systems of others, as Debian packages them, with their defaults.

use std::path::Path;
use std::process::Command;

use super::{Subject, first_line, version_line};
use crate::workdir::Place;

/// A file system with a program that makes and mounts it.
#[derive(Debug)]
pub struct Peer {
    /// Its name, that of its program and that of its Debian package.
    name: &'static str,
    /// What makes the program tell its version.
    version: &'static str,
    /// What it is by default.
    settings: &'static str,
    /// Makes an empty store, where the first mount does not: a line for the shell.
    init: Option<&'static str>,
    /// Mounts and stays in the foreground: a line for the shell.
    mount: &'static str,
    /// What write, fsync and rename mean to it.
    durability: &'static str,
}

/// All of them. The lines see the store as `$1`, the mount point as `$2`, the file with the
/// passphrase as `$3` and a file name for itself as `$4`.
pub const PEERS: [Peer; 4] = [
    Peer {
        name: "gocryptfs",
        version: "-version",
        settings: "AES-256-GCM per 4 KiB, EME names",
        init: Some("exec gocryptfs -init -q -passfile \"$3\" \"$1\""),
        mount: "exec gocryptfs -fg -q -nosyslog -passfile \"$3\" \"$1\" \"$2\"",
        durability: "write: page cache of the disk below; fsync: the file below is synced (a fresh \
            directory may still be lost with the power); rename: atomic; every 4 KiB authenticated",
    },
    Peer {
        name: "cryfs",
        version: "--version",
        settings: "XChaCha20-Poly1305 per 16 KiB, each a file, names and sizes hidden",
        init: None,
        mount: "export CRYFS_FRONTEND=noninteractive CRYFS_NO_UPDATE_CHECK=true \
            CRYFS_LOCAL_STATE_DIR=\"$4\"; exec cryfs -f \"$1\" \"$2\" < \"$3\"",
        durability: "write: its own cache, then the page cache of the disk below; what fsync and \
            rename promise was not looked at; every 16 KiB authenticated",
    },
    Peer {
        name: "encfs",
        version: "--version",
        settings: "standard configuration (AES-192-CBC per 1 KiB, stream cipher for names)",
        init: None,
        mount: "export PASSPHRASE_FILE=\"$3\"; \
            exec encfs --standard --extpass='cat \"$PASSPHRASE_FILE\"' -f \"$1\" \"$2\"",
        durability: "write: page cache of the disk below; fsync: the file below is synced; rename: \
            that of the disk below; nothing authenticated",
    },
    Peer {
        name: "securefs",
        version: "version",
        settings: "format 4 (AES-256-GCM per 4 KiB, AES-SIV names)",
        init: Some("exec securefs create --keyfile \"$3\" \"$1\""),
        mount: "exec securefs mount --keyfile \"$3\" \"$1\" \"$2\"",
        durability: "write: page cache of the disk below; fsync: the file below is synced; rename: \
            that of the disk below; every 4 KiB authenticated",
    },
];

impl Peer {
    fn shell(&self, line: &str, place: &Place) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line, self.name]);
        command.args([&place.store, &place.mount, &place.passphrase]);
        command.arg(place.store.with_file_name("state"));
        command
    }
}

impl Subject for Peer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn describe(&self) -> String {
        let version = version_line(Path::new(self.name), self.version).unwrap_or_default();
        // Some builds do not know their own version; the package does.
        let package = first_line(Command::new("dpkg-query").args([
            "-W",
            "-f",
            "Debian ${Version}",
            self.name,
        ]));
        let package = package.unwrap_or_default();
        format!("{version}, {package}; defaults: {}", self.settings)
    }

    fn missing(&self) -> Option<String> {
        let found = version_line(Path::new(self.name), self.version).is_some();
        (!found).then(|| format!("not installed (Debian package {})", self.name))
    }

    fn init(&self, place: &Place) -> Option<Command> {
        self.init.map(|line| self.shell(line, place))
    }

    fn mount(&self, place: &Place) -> Option<Command> {
        Some(self.shell(self.mount, place))
    }

    fn unmount(&self, place: &Place) -> Command {
        super::fusermount(place)
    }

    fn durability(&self) -> &'static str {
        self.durability
    }
}

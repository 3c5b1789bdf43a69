//! Finds out what this machine can do, so that tests that cannot run count as ignored, never as
//! passed.
//!
//! - `can_fuse`: a FUSE file system can be mounted. `can_tmpfs`: so can one of limited size.
//! - `has_NAME`: the program is installed.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

const PROGRAMS: [&str; 5] = ["rsync", "git", "sqlite3", "setfattr", "setfacl"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=/dev/fuse");
    println!("cargo::rerun-if-env-changed=PATH");
    let set = |name: &str, is_set: bool| {
        println!("cargo::rustc-check-cfg=cfg({name})");
        if is_set {
            println!("cargo::rustc-cfg={name}");
        }
    };
    for program in PROGRAMS {
        let found = which(program);
        println!("cargo::rerun-if-changed=/usr/bin/{program}");
        set(&format!("has_{program}"), found);
    }
    let may_mount = succeeds(
        "unshare",
        &[
            "--mount", "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt",
        ],
    );
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
    set(
        "can_fuse",
        device.is_ok() && (may_mount || which("fusermount3")),
    );
    set("can_tmpfs", may_mount);
}

fn which(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

//! What Coffer has to reach in which row.

use serde::Serialize;

/// Against what a target is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Against {
    /// The ratio to gocryptfs must be at least this.
    PeerAtLeast(f64),
    /// The ratio to the null file system must be at least this.
    FloorAtLeast(f64),
    /// The ratio to the bare disk must be at most this (sizes).
    DiskAtMost(f64),
    /// The value itself must be at most this.
    ValueAtMost(f64),
}

/// What Coffer has to reach in a row.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Target {
    /// The row.
    pub row: &'static str,
    /// What it has to reach.
    pub against: Against,
}

/// All targets.
pub const TARGETS: &[Target] = {
    const fn target(row: &'static str, against: Against) -> Target {
        Target { row, against }
    }
    use Against::{DiskAtMost, FloorAtLeast, PeerAtLeast, ValueAtMost};
    &[
        target("create", PeerAtLeast(2.0)),
        target("unlink", PeerAtLeast(2.0)),
        target("ls-dir-cold", PeerAtLeast(3.0)),
        target("ls-dir-warm", PeerAtLeast(3.0)),
        target("untar", PeerAtLeast(2.0)),
        target("rm", PeerAtLeast(4.0)),
        target("ls-cold", PeerAtLeast(4.0)),
        target("ls-warm", PeerAtLeast(4.0)),
        target("write-noise", PeerAtLeast(2.0)),
        target("write-text", PeerAtLeast(1.0)),
        // Half of it, and the parity of that.
        target("space-text", ValueAtMost(0.65)),
        target("read-cold-text", PeerAtLeast(1.5)),
        target("read-cold-noise", PeerAtLeast(1.5)),
        target("random-read-cold", PeerAtLeast(1.0)),
        target("random-write-fsync", PeerAtLeast(1.25)),
        target("sqlite-journal", PeerAtLeast(3.0)),
        target("git-clone", PeerAtLeast(1.3)),
        target("git-status-cold", PeerAtLeast(1.3)),
        target("create", FloorAtLeast(0.5)),
        target("create-2", FloorAtLeast(0.5)),
        target("unlink", FloorAtLeast(0.5)),
        target("unlink-2", FloorAtLeast(0.5)),
        target("read-warm-text", FloorAtLeast(1.0 / 1.1)),
        target("read-warm-noise", FloorAtLeast(1.0 / 1.1)),
        target("random-read-warm", FloorAtLeast(1.0 / 1.1)),
        target("memory", ValueAtMost(512.0 * 1024.0 * 1024.0)),
        target("space-disk", DiskAtMost(0.7)),
        target("space-len", DiskAtMost(0.7)),
    ]
};

//! The machine under the run: caches, mounts, space, the memory of a process, a description.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::failure::{Context, Failure, Outcome};

/// What the numbers were measured on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// Model name of the processor.
    pub cpu: String,
    /// Cores the run may use.
    pub core_count: usize,
    /// Bytes of memory.
    pub memory_len: u64,
    /// Kernel release.
    pub kernel: String,
    /// Type of the file system that holds everything.
    pub disk: String,
    /// Processes that wanted a core when the run began, over one minute.
    pub load: String,
    /// Whether page, inode and name caches could be dropped for cold rows.
    pub drops_caches: bool,
}

impl Machine {
    /// Describes this machine, with the file system under `dir`.
    #[must_use]
    pub fn describe(dir: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let line = |text: &str, key: &str| {
            let found = text.lines().find(|line| line.starts_with(key));
            found
                .and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
        };
        let memory_kib = line(&read("/proc/meminfo"), "MemTotal").and_then(|value| {
            value
                .split(' ')
                .next()
                .and_then(|digits| digits.parse::<u64>().ok())
        });
        Self {
            cpu: line(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            core_count: std::thread::available_parallelism().map_or(1, usize::from),
            memory_len: memory_kib.unwrap_or(0) << 10,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            disk: mounts()
                .into_iter()
                .filter(|mount| dir.starts_with(&mount.point))
                .max_by_key(|mount| mount.point.as_os_str().len())
                .map_or_else(String::new, |mount| mount.kind),
            load: read("/proc/loadavg")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
            drops_caches: may_drop_caches(),
        }
    }

    /// In one line, without what changes by the minute.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "{} x {}, {} GiB, Linux {}, {}",
            self.core_count,
            self.cpu,
            self.memory_len >> 30,
            self.kernel,
            self.disk
        )
    }
}

const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// Whether this process may drop the caches of the kernel.
#[must_use]
pub fn may_drop_caches() -> bool {
    rustix::process::geteuid().is_root()
        && fs::OpenOptions::new().write(true).open(DROP_CACHES).is_ok()
}

/// Drops page, inode and name caches; without the right to do so it does nothing.
///
/// # Errors
/// When the kernel refuses although it let us open the switch.
pub fn drop_caches() -> Outcome<()> {
    drop_kind("3")
}

/// Drops the caches of names and inodes and leaves data where it is; without the right to do so it
/// does nothing.
///
/// # Errors
/// When the kernel refuses although it let us open the switch.
pub fn drop_names() -> Outcome<()> {
    drop_kind("2")
}

fn drop_kind(kind: &str) -> Outcome<()> {
    if may_drop_caches() {
        fs::write(DROP_CACHES, kind).context(DROP_CACHES)
    } else {
        Ok(())
    }
}

/// Makes everything on the file system of `dir` durable; returns the seconds that took.
///
/// # Errors
/// When the directory cannot be opened or synced.
pub fn sync(dir: &Path) -> Outcome<f64> {
    let file = fs::File::open(dir).context(dir.display())?;
    let start = Instant::now();
    rustix::fs::syncfs(&file).context(format_args!("syncing {}", dir.display()))?;
    Ok(start.elapsed().as_secs_f64())
}

/// Bytes free to this process on the file system of `dir`.
///
/// # Errors
/// When the file system does not say.
pub fn free_len(dir: &Path) -> Outcome<u64> {
    let stat = rustix::fs::statvfs(dir).context(dir.display())?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Fails when fewer than `len` bytes are free under `dir`.
///
/// # Errors
/// Says how many bytes are free and how many are needed.
pub fn require_free(dir: &Path, len: u64) -> Outcome<()> {
    let free = free_len(dir)?;
    if free >= len {
        return Ok(());
    }
    let (free, len) = (free >> 20, len >> 20);
    Err(Failure::new(format!(
        "{}: {free} MiB free, {len} MiB needed",
        dir.display()
    )))
}

/// One line of the mount table.
#[derive(Debug)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Its file system type.
    pub kind: String,
}

/// The mount table, in order. Reading it never touches a mounted file system, so it cannot hang.
#[must_use]
pub fn mounts() -> Vec<Mount> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table.lines().filter_map(parse_mount).collect()
}

fn parse_mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let point = left.split(' ').nth(4)?;
    let unescaped = point
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\134", "\\");
    Some(Mount {
        point: unescaped.into(),
        kind: right.split(' ').next()?.to_owned(),
    })
}

/// Whether something is mounted exactly at `point` (an absolute path without links).
#[must_use]
pub fn is_mounted(point: &Path) -> bool {
    mounts().iter().any(|mount| mount.point == point)
}

/// Peak resident bytes of the process `pid` (VmHWM).
#[must_use]
pub fn peak_memory(pid: u32) -> Option<u64> {
    status_len(pid, "VmHWM:")
}

/// Resident bytes of the process `pid` now (VmRSS).
#[must_use]
pub fn resident_memory(pid: u32) -> Option<u64> {
    status_len(pid, "VmRSS:")
}

fn status_len(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|kib| kib << 10)
}

/// Seconds of a core that the process group `group` has used so far, ended children included.
#[must_use]
pub fn cpu_seconds(group: u32) -> Option<f64> {
    let ticks = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        cpu_ticks(&fs::read_to_string(entry.path().join("stat")).ok()?, group)
    });
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Some(ticks.sum::<u64>() as f64 / per_second)
}

/// The ticks in one line of `/proc/PID/stat`, if that process belongs to `group`.
fn cpu_ticks(stat: &str, group: u32) -> Option<u64> {
    // The name of the program stands in brackets and may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    if fields.get(2)?.parse::<u32>().ok()? != group {
        return None;
    }
    let used = fields.get(11..15)?.iter();
    Some(used.filter_map(|field| field.parse::<u64>().ok()).sum())
}

/// Bytes that this process has handed to disks so far, by writes and by mappings.
///
/// # Errors
/// When the kernel does not say.
pub fn written_len() -> Outcome<u64> {
    let text = fs::read_to_string("/proc/self/io").context("/proc/self/io")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    let len = line.and_then(|digits| digits.parse().ok());
    len.ok_or_else(|| Failure::new("/proc/self/io tells no write_bytes"))
}

/// What the regular files of a directory tree take.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Sum of their lengths.
    pub len: u64,
    /// Bytes allocated on the disk, directories included.
    pub allocated: u64,
    /// How many files.
    pub file_count: u64,
}

/// Adds up a directory tree; hard links count once.
///
/// # Errors
/// When a directory or a file cannot be read.
pub fn usage(dir: &Path) -> Outcome<Usage> {
    let mut seen = BTreeMap::new();
    let mut total = Usage::default();
    let mut pending = vec![dir.to_path_buf()];
    while let Some(dir) = pending.pop() {
        total.allocated += fs::symlink_metadata(&dir).context(dir.display())?.blocks() * 512;
        for entry in fs::read_dir(&dir).context(dir.display())? {
            let entry = entry.context(dir.display())?;
            let meta = entry.metadata().context(entry.path().display())?;
            if meta.is_dir() {
                pending.push(entry.path());
            } else if seen.insert((meta.dev(), meta.ino()), ()).is_none() {
                total.allocated += meta.blocks() * 512;
                total.len += if meta.is_file() { meta.len() } else { 0 };
                total.file_count += 1;
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_lines_are_understood() {
        let line = "36 35 98:0 /mnt1 /a\\040b rw,noatime master:1 - fuse.gocryptfs /dev/x rw";
        let mount = parse_mount(line).unwrap();
        assert_eq!(mount.point, Path::new("/a b"));
        assert_eq!(mount.kind, "fuse.gocryptfs");
        assert!(is_mounted(Path::new("/")) && !is_mounted(Path::new("/no/such/mount")));
    }

    #[test]
    fn usage_counts_links_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/a"), [1; 10_000]).unwrap();
        fs::hard_link(dir.path().join("sub/a"), dir.path().join("b")).unwrap();
        let usage = usage(dir.path()).unwrap();
        assert_eq!((usage.len, usage.file_count), (10_000, 1));
    }

    #[test]
    fn ticks_are_those_of_the_group() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 10 20 3 4 20 0 1";
        assert_eq!(cpu_ticks(stat, 7), Some(37));
        assert_eq!(cpu_ticks(stat, 8), None);
        assert_eq!(cpu_ticks("", 7), None);
    }

    #[test]
    fn this_process_has_a_peak() {
        assert!(peak_memory(std::process::id()).unwrap() > 100_000);
    }
}

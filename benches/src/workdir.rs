//! The directory that holds everything of a run, and the promise that nothing of it stays.
//!
//! Its name carries the process id, so that a later run finds what a killed one left behind.
//! Nothing is removed while anything is still mounted below it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::failure::{Context, Failure, Outcome};
use crate::machine;
use crate::process::{self, Interrupt};

/// Owner of the directory of one run; dropping it unmounts and removes everything below.
#[derive(Debug)]
pub struct WorkDir {
    root: PathBuf,
}

/// Where one subject lives: its store, its mount point, its secret.
#[derive(Debug, Clone)]
pub struct Place {
    /// What the subject keeps on the disk.
    pub store: PathBuf,
    /// Where its files are seen.
    pub mount: PathBuf,
    /// File with the passphrase.
    pub passphrase: PathBuf,
    /// What its commands print.
    pub log: PathBuf,
}

impl WorkDir {
    /// Makes a fresh directory below `parent`, after clearing what dead runs of `program` left there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(parent: &Path, program: &str) -> Outcome<Self> {
        fs::create_dir_all(parent).context(parent.display())?;
        let parent = parent.canonicalize().context(parent.display())?;
        clear_leftovers(&parent, program);
        let root = parent.join(format!("{program}.{}", std::process::id()));
        fs::create_dir(&root).context(root.display())?;
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).context(root.display())?;
        Ok(Self { root })
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A fresh, empty place for a subject; what was there before is removed.
    ///
    /// # Errors
    /// When something is still mounted there, or the disk refuses.
    pub fn place(&self, name: &str) -> Outcome<Place> {
        let dir = self.root.join(name);
        remove_tree(&dir)?;
        let place = Place {
            store: dir.join("store"),
            mount: dir.join("mnt"),
            passphrase: dir.join("passphrase"),
            log: dir.join("log"),
        };
        for dir in [&place.store, &place.mount] {
            fs::create_dir_all(dir).context(dir.display())?;
        }
        fs::write(&place.passphrase, "correct horse battery staple\n")
            .context(place.passphrase.display())?;
        fs::set_permissions(&place.passphrase, fs::Permissions::from_mode(0o600))
            .context(place.passphrase.display())?;
        Ok(place)
    }

    /// Removes the place of a subject.
    ///
    /// # Errors
    /// When something is still mounted there, or the disk refuses.
    pub fn remove(&self, name: &str) -> Outcome<()> {
        remove_tree(&self.root.join(name))
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // Nobody is left to tell; the next run tries again.
        let _ = remove_tree(&self.root);
    }
}

fn clear_leftovers(parent: &Path, program: &str) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix(program)
            .and_then(|rest| rest.strip_prefix('.'))
            .and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = remove_tree(&entry.path());
        }
    }
}

/// Unmounts whatever is mounted at or below `dir`, lazily when nothing else helps.
pub fn unmount_below(dir: &Path) {
    let below = |dir: &Path| -> Vec<PathBuf> {
        let mounts = machine::mounts().into_iter().rev();
        mounts
            .map(|mount| mount.point)
            .filter(|point| point.starts_with(dir))
            .collect()
    };
    let attempts: [&[&str]; 3] = [&["umount"], &["fusermount3", "-u"], &["umount", "-l"]];
    for attempt in attempts {
        for point in below(dir) {
            let mut command = Command::new(attempt[0]);
            command.args(&attempt[1..]).arg(&point);
            let log = Path::new("/dev/null");
            // The next attempt, or the check before removal, sees a failure.
            let _ = process::run(command, Duration::from_secs(10), log, &Interrupt::default());
        }
    }
}

fn remove_tree(dir: &Path) -> Outcome<()> {
    if !dir.exists() && !machine::is_mounted(dir) {
        return Ok(());
    }
    unmount_below(dir);
    if let Some(mount) = machine::mounts()
        .iter()
        .find(|mount| mount.point.starts_with(dir))
    {
        return Err(Failure::new(format!(
            "{} is still mounted",
            mount.point.display()
        )));
    }
    fs::remove_dir_all(dir).context(dir.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_and_leftovers_go() {
        let parent = tempfile::tempdir().unwrap();
        // No process has an id this high.
        let dead = parent.path().join("fs-compare.4194999");
        let other = parent.path().join("fs-compare.notes");
        fs::create_dir_all(dead.join("sub")).unwrap();
        fs::create_dir(&other).unwrap();
        let work = WorkDir::create(parent.path(), "fs-compare").unwrap();
        assert!(!dead.exists() && other.exists());
        let place = work.place("x").unwrap();
        fs::write(place.store.join("file"), "x").unwrap();
        let place = work.place("x").unwrap();
        assert!(!place.store.join("file").exists());
        let root = work.root().to_path_buf();
        drop(work);
        assert!(!root.exists());
    }
}

//! Directory trees on a real file system, made from a seed, and their comparison.

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::random::Rng;

/// Fills the directory `root` with `file_count` files of all kinds: texts, noise, empty ones, one
/// of several MiB, hard links, symbolic links, a pipe, odd names, modes, times, attributes.
pub fn fill(root: &Path, seed: u64, file_count: usize) {
    let mut rng = Rng::new(seed);
    let mut folders = vec![root.to_owned()];
    for index in 0..file_count {
        if index % 15 == 0 {
            let folder = rng.pick(&folders).join(format!("folder {index}"));
            std::fs::create_dir(&folder).unwrap();
            folders.push(folder);
        }
        let path = rng.pick(&folders).join(format!("file-{index}.txt"));
        let bytes = match rng.below(50) {
            0 => rng.text(300_000),
            1 => rng.bytes(150_000),
            _ => rng.value(20_000),
        };
        std::fs::write(&path, &bytes).unwrap();
        let mode = *rng.pick(&[0o644, 0o600, 0o755, 0o444, 0o4755]);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        if rng.chance(5) {
            let name = format!("user.note{}", rng.below(9));
            let len = 1 + rng.below(300);
            let value = rng.bytes(len);
            rustix::fs::setxattr(&path, name.as_str(), &value, XattrFlags::empty()).unwrap();
        }
        if rng.chance(5) {
            std::fs::hard_link(&path, rng.pick(&folders).join(format!("hard-{index}"))).unwrap();
        }
        if rng.chance(5) {
            // An old time: rsync leaves the time of a link alone where the seconds agree already.
            let link = rng.pick(&folders).join(format!("soft-{index}"));
            symlink(&path, &link).unwrap();
            set_mtime(&link, 1_050_000_000, 7);
        }
        set_mtime(
            &path,
            1_000_000_000 + rng.below(700_000_000) as i64,
            123_456_789,
        );
    }
    std::fs::write(root.join("large"), rng.text(5_000_000)).unwrap();
    std::fs::write(root.join("b\u{e4}r \"quoted\"\n"), b"odd name").unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    set_mtime(&root.join("dangling"), 1_050_000_001, 7);
    rustix::fs::mknodat(
        CWD,
        root.join("pipe"),
        FileType::Fifo,
        Mode::from_bits_retain(0o600),
        0,
    )
    .unwrap();
    set_mtime(&root.join("pipe"), 1_050_000_002, 7);
    for folder in folders.iter().rev() {
        set_mtime(folder, 1_100_000_000, 5);
    }
}

fn set_mtime(path: &Path, secs: i64, nanos: i64) {
    let time = Timespec {
        tv_sec: secs,
        tv_nsec: nanos,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// What `root` holds: one line for each path below it, with mode, links, owner, length, content and
/// the time of the last change.
#[must_use]
pub fn describe(root: &Path) -> BTreeMap<String, String> {
    describe_with(root, true)
}

/// As [`describe`], without times.
#[must_use]
pub fn describe_without_times(root: &Path) -> BTreeMap<String, String> {
    describe_with(root, false)
}

fn describe_with(root: &Path, has_times: bool) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let found = path.symlink_metadata().unwrap();
            let content = if found.is_symlink() {
                format!("-> {}", std::fs::read_link(&path).unwrap().display())
            } else if found.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&bytes))
            } else {
                String::new()
            };
            let len = if found.is_dir() { 0 } else { found.len() };
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            let time = if has_times {
                format!("{}.{:09} ", found.mtime(), found.mtime_nsec())
            } else {
                String::new()
            };
            let (mode, links, owner, group) =
                (found.mode(), found.nlink(), found.uid(), found.gid());
            out.insert(
                name,
                format!("{mode:o} {links} {owner}:{group} {len} {time}{content}"),
            );
            if found.is_dir() {
                open.push(path);
            }
        }
    }
    out
}

/// Every difference between two answers of [`describe`], one line each.
#[must_use]
pub fn differences(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names
        .into_iter()
        .filter(|name| a.get(*name) != b.get(*name))
        .map(|name| format!("{name}: {:?} and {:?}", a.get(name), b.get(name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_tree() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fill(a.path(), 5, 40);
        fill(b.path(), 5, 40);
        let (mut left, mut right) = (describe(a.path()), describe(b.path()));
        // Links name their own tree, and these three have the time of their making.
        for side in [&mut left, &mut right] {
            side.retain(|_, line| !line.contains("-> "));
            for name in ["large", "pipe", "b\u{e4}r \"quoted\"\n"] {
                assert!(side.remove(name).is_some());
            }
        }
        assert!(left.len() > 40);
        assert_eq!(differences(&left, &right), [""; 0]);
        right.pop_first();
        assert_eq!(differences(&left, &right).len(), 1);
    }
}

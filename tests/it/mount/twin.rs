//! The same random calls on a mount and on a plain directory: the same answers, the same errno, the
//! same tree, also after remounts. `COFFER_TWIN_CALLS` sets how many (default 3,000), `COFFER_SEED`
//! which.

use super::kill::setting;
use coffer_tests::process::Mounted;
use coffer_tests::random::Rng;
use coffer_tests::sample;
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, SeekFrom, Timespec, Timestamps, XattrFlags,
};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What a call answers: some bytes or numbers as text, or an errno.
type Answer = Result<String, Errno>;

/// One side: a directory, and the files open in it.
struct Side {
    root: PathBuf,
    open: Vec<OwnedFd>,
}

/// One call, in terms of paths below the root.
#[derive(Clone, Debug)]
enum Call {
    Open(String, OFlags),
    Close(usize),
    Read(usize, u64, usize),
    Write(usize, u64, Vec<u8>),
    Append(usize, Vec<u8>),
    FTruncate(usize, u64),
    Fsync(usize),
    FStat(usize),
    Truncate(String, u64),
    Mkdir(String),
    Rmdir(String),
    Unlink(String),
    Rename(String, String, RenameFlags),
    Link(String, String),
    Symlink(String, String),
    ReadLink(String),
    Chmod(String, u32),
    Chown(String, u32),
    Times(String, i64),
    Stat(String),
    List(String),
    SetXattr(String, String, Vec<u8>, bool),
    GetXattr(String, String),
    RemoveXattr(String, String),
    ListXattr(String),
    Remount,
}

fn path(rng: &mut Rng) -> String {
    let leaf = |rng: &mut Rng| match rng.below(30) {
        0 => "n".repeat(255),
        1 => "n".repeat(256),
        2 => ".".to_owned(),
        _ => (*rng.pick(&["a", "b", "c", "d", "e"])).to_owned(),
    };
    let mut out = leaf(rng);
    while rng.chance(40) {
        out = format!("{out}/{}", leaf(rng));
    }
    out
}

fn flags(rng: &mut Rng) -> OFlags {
    let mut flags = *rng.pick(&[OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR, OFlags::RDWR]);
    for (flag, percent) in [
        (OFlags::CREATE, 60),
        (OFlags::EXCL, 10),
        (OFlags::TRUNC, 15),
        (OFlags::APPEND, 10),
        (OFlags::NOFOLLOW, 10),
        (OFlags::DIRECTORY, 3),
    ] {
        if rng.chance(percent) {
            flags |= flag;
        }
    }
    // Both at once are undefined, and answered differently by different kernels.
    if flags.contains(OFlags::CREATE) {
        flags -= OFlags::DIRECTORY;
    }
    flags
}

fn call(rng: &mut Rng, open_count: usize) -> Call {
    let offset = |rng: &mut Rng| match rng.below(4) {
        0 => 0,
        1 => rng.below(300) as u64,
        2 => rng.below(200_000) as u64,
        _ => 128 * 1024 * rng.below(4) as u64,
    };
    let file = rng.below(open_count);
    match rng.below(44) {
        0..=6 => Call::Open(path(rng), flags(rng)),
        7 | 8 if open_count > 0 => Call::Close(file),
        9..=11 if open_count > 0 => Call::Read(file, offset(rng), rng.below(150_000)),
        12..=15 if open_count > 0 => Call::Write(file, offset(rng), rng.value(150_000)),
        16 if open_count > 0 => Call::Append(file, rng.value(20_000)),
        17 if open_count > 0 => Call::FTruncate(file, offset(rng)),
        18 if open_count > 0 => Call::Fsync(file),
        19 if open_count > 0 => Call::FStat(file),
        20 => Call::Truncate(path(rng), offset(rng)),
        21 | 22 => Call::Mkdir(path(rng)),
        23 => Call::Rmdir(path(rng)),
        24 | 25 => Call::Unlink(path(rng)),
        26..=28 => {
            let all = [
                RenameFlags::empty(),
                RenameFlags::NOREPLACE,
                RenameFlags::EXCHANGE,
            ];
            Call::Rename(path(rng), path(rng), all[rng.below(9) / 3 * rng.below(2)])
        }
        29 => Call::Link(path(rng), path(rng)),
        30 => {
            let target = if rng.chance(50) {
                path(rng)
            } else {
                "t".repeat(1 + rng.below(2_000))
            };
            Call::Symlink(target, path(rng))
        }
        31 => Call::ReadLink(path(rng)),
        32 => Call::Chmod(path(rng), rng.below(0o10000) as u32 | 0o700),
        33 => Call::Chown(path(rng), rng.below(3) as u32),
        34 => Call::Times(path(rng), rng.below(2_000_000_000) as i64),
        35 | 36 => Call::Stat(path(rng)),
        37 | 38 => Call::List(path(rng)),
        39 => {
            let len = rng.below(100);
            Call::SetXattr(
                path(rng),
                format!("user.{}", rng.below(3)),
                rng.bytes(len),
                rng.chance(20),
            )
        }
        40 => Call::GetXattr(path(rng), format!("user.{}", rng.below(3))),
        41 => Call::RemoveXattr(path(rng), format!("user.{}", rng.below(3))),
        42 => Call::ListXattr(path(rng)),
        _ if rng.chance(25) => Call::Remount,
        _ => Call::List(".".to_owned()),
    }
}

impl Side {
    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn stat(found: &rustix::fs::Stat) -> String {
        let kind = found.st_mode & 0o170_000;
        // The length of a directory is the business of each file system.
        let len = if kind == 0o040_000 { 0 } else { found.st_size };
        format!(
            "{:o} {} {}:{} {len}",
            found.st_mode, found.st_nlink, found.st_uid, found.st_gid
        )
    }

    #[allow(clippy::too_many_lines, reason = "one short arm for each call")]
    fn run(&mut self, call: &Call) -> Answer {
        let done = |()| String::new();
        match call {
            Call::Open(path, flags) => {
                let file = rustix::fs::open(self.at(path), *flags, Mode::from_bits_retain(0o644))?;
                self.open.push(file);
                Ok(String::new())
            }
            Call::Close(file) => {
                drop(self.open.remove(*file));
                Ok(String::new())
            }
            Call::Read(file, offset, len) => {
                let mut buf = vec![0; *len];
                let len = rustix::io::pread(&self.open[*file], &mut buf, *offset)?;
                Ok(format!(
                    "{len} {:x}",
                    xxhash_rust::xxh3::xxh3_64(&buf[..len])
                ))
            }
            Call::Write(file, offset, bytes) => {
                Ok(rustix::io::pwrite(&self.open[*file], bytes, *offset)?.to_string())
            }
            Call::Append(file, bytes) => {
                rustix::fs::seek(&self.open[*file], SeekFrom::End(0))?;
                Ok(rustix::io::write(&self.open[*file], bytes)?.to_string())
            }
            Call::FTruncate(file, len) => rustix::fs::ftruncate(&self.open[*file], *len).map(done),
            Call::Fsync(file) => rustix::fs::fsync(&self.open[*file]).map(done),
            Call::FStat(file) => Ok(Self::stat(&rustix::fs::fstat(&self.open[*file])?)),
            Call::Truncate(path, len) => {
                let file = rustix::fs::open(self.at(path), OFlags::WRONLY, Mode::empty())?;
                rustix::fs::ftruncate(file, *len).map(done)
            }
            Call::Mkdir(path) => {
                rustix::fs::mkdir(self.at(path), Mode::from_bits_retain(0o755)).map(done)
            }
            Call::Rmdir(path) => rustix::fs::rmdir(self.at(path)).map(done),
            Call::Unlink(path) => rustix::fs::unlink(self.at(path)).map(done),
            Call::Rename(from, to, flags) => {
                rustix::fs::renameat_with(CWD, self.at(from), CWD, self.at(to), *flags).map(done)
            }
            Call::Link(from, to) => rustix::fs::link(self.at(from), self.at(to)).map(done),
            Call::Symlink(target, path) => {
                rustix::fs::symlink(target.as_str(), self.at(path)).map(done)
            }
            Call::ReadLink(path) => {
                let target = rustix::fs::readlink(self.at(path), Vec::new())?;
                Ok(target.into_string().unwrap_or_default())
            }
            Call::Chmod(path, mode) => {
                rustix::fs::chmod(self.at(path), Mode::from_bits_retain(*mode)).map(done)
            }
            Call::Chown(path, owner) => {
                let uid = rustix::fs::Uid::from_raw(*owner);
                rustix::fs::chown(self.at(path), Some(uid), None).map(done)
            }
            Call::Times(path, secs) => {
                let time = Timespec {
                    tv_sec: *secs,
                    tv_nsec: 999_999_999,
                };
                let times = Timestamps {
                    last_access: time,
                    last_modification: time,
                };
                let path = self.at(path);
                rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
                let found = rustix::fs::lstat(&path)?;
                Ok(format!("{}.{}", found.st_mtime, found.st_mtime_nsec))
            }
            Call::Stat(path) => Ok(Self::stat(&rustix::fs::lstat(self.at(path))?)),
            Call::List(path) => {
                let entries = std::fs::read_dir(self.at(path))
                    .map_err(|error| Errno::from_raw_os_error(error.raw_os_error().unwrap_or(0)))?;
                let mut names: Vec<String> = entries
                    .map(|entry| format!("{:?}", entry.unwrap().file_name()))
                    .collect();
                names.sort();
                Ok(names.join(" "))
            }
            Call::SetXattr(path, name, value, must_exist) => {
                let flags = if *must_exist {
                    XattrFlags::REPLACE
                } else {
                    XattrFlags::empty()
                };
                rustix::fs::setxattr(self.at(path), name.as_str(), value, flags).map(done)
            }
            Call::GetXattr(path, name) => {
                let mut buf = vec![0; 4096];
                let len = rustix::fs::getxattr(self.at(path), name.as_str(), &mut buf)?;
                Ok(format!("{:?}", &buf[..len]))
            }
            Call::RemoveXattr(path, name) => {
                rustix::fs::removexattr(self.at(path), name.as_str()).map(done)
            }
            Call::ListXattr(path) => {
                let mut buf = vec![0; 4096];
                let len = rustix::fs::listxattr(self.at(path), &mut buf)?;
                let mut names: Vec<&[u8]> = buf[..len].split(|byte| *byte == 0).collect();
                names.sort_unstable();
                Ok(format!("{names:?}"))
            }
            Call::Remount => Ok(String::new()),
        }
    }
}

fn same_tree(mount: &Path, plain: &Path, what: &str) {
    let differences = sample::differences(
        &sample::describe_without_times(mount),
        &sample::describe_without_times(plain),
    );
    assert!(
        differences.is_empty(),
        "{what}: mount and plain differ:\n{}",
        differences.join("\n")
    );
}

/// Makes the same calls on both sides.
fn compare(left: &Path, right: &Path, seed: u64, count: u64, remount: &mut dyn FnMut()) {
    let mut rng = Rng::new(seed);
    let mut sides = [left, right].map(|root| Side {
        root: root.to_owned(),
        open: Vec::new(),
    });
    let mut log: Vec<String> = Vec::new();
    for index in 0..count {
        let call = call(&mut rng, sides[0].open.len());
        let answers = [sides[0].run(&call), sides[1].run(&call)];
        let shown: String = format!("{index}: {call:?}").chars().take(300).collect();
        let end = if answers[0].is_ok() { "ok" } else { "error" };
        log.push(format!("{shown} -> {end}"));
        let recent = || {
            let start = log.len().saturating_sub(60);
            format!("seed {seed}, the last calls:\n{}", log[start..].join("\n"))
        };
        assert_eq!(
            answers[0],
            answers[1],
            "mount left, plain right; {}",
            recent()
        );
        if sides[0].open.len() > 6 {
            sides.iter_mut().for_each(|side| drop(side.open.remove(0)));
        }
        let is_remount = matches!(call, Call::Remount);
        if is_remount {
            sides.iter_mut().for_each(|side| side.open.clear());
            same_tree(left, right, &recent());
            remount();
        }
        if index % 100 == 99 || is_remount {
            same_tree(left, right, &recent());
        }
    }
}

/// fsync of every regular file and directory: a directory alone does not promise contents.
fn sync_below(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            sync_below(&entry.path());
        } else if kind.is_file() {
            File::open(entry.path()).unwrap().sync_all().unwrap();
        }
    }
    File::open(folder).unwrap().sync_all().unwrap();
}

#[test]
fn two_plain_directories_answer_alike() {
    // What differs here would differ anywhere: the calls themselves are repeatable.
    let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    compare(left.path(), right.path(), 5, 2_000, &mut || ());
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_mount_answers_as_a_plain_directory_does() {
    let seed = setting("COFFER_SEED", 1);
    let mut mounted = Mounted::new();
    let root = mounted.path("root");
    std::fs::create_dir(&root).unwrap();
    let plain = tempfile::tempdir().unwrap();
    let count = setting("COFFER_TWIN_CALLS", 3_000);
    compare(&root, plain.path(), seed, count, &mut || {
        mounted.remount();
    });
    sync_below(&root);
    mounted.kill();
    mounted.mount();
    same_tree(
        &root,
        plain.path(),
        &format!("seed {seed}, after fsync and kill -9"),
    );
    mounted.unmount();
}

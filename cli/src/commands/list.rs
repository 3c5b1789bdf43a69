//! `ls` and `stat`.

use core::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

use coffer_fusefs::attr::{Attr, Kind, Time};
use coffer_fusefs::path::{self, Listed};
use coffer_fusefs::{FileSystem, FsError, FsResult};
use serde::Serialize;

use super::objects::shown;
use crate::args::{Ls, Stat};
use crate::failure::{Failure, Outcome};
use crate::moment::rfc3339;
use crate::store::with_files;
use crate::terminal::{Results, printable};

/// One entry, as `ls --json` and `stat --json` show it. The keys are stable.
#[derive(Serialize)]
struct Entry {
    /// From the root of the store; bytes that are not UTF-8 are replaced.
    path: String,
    /// The exact bytes in hexadecimal, only where `path` could not hold them.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    kind: &'static str,
    /// Permission bits, in octal.
    mode: String,
    size: u64,
    blocks: u64,
    nlink: u32,
    uid: u32,
    gid: u32,
    ino: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rdev: Option<u32>,
    atime: String,
    mtime: String,
    ctime: String,
    btime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// As `path_hex`.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_hex: Option<String>,
}

impl Entry {
    fn new(found: &Found) -> Self {
        let attr = &found.attr;
        let (path, path_hex) = lossless(&found.path);
        let (target, target_hex) = found.target.as_deref().map(lossless).unzip();
        Self {
            path,
            path_hex,
            kind: kind_word(attr.kind),
            mode: format!("{:04o}", attr.mode),
            size: attr.size,
            blocks: attr.blocks,
            nlink: attr.nlink,
            uid: attr.uid,
            gid: attr.gid,
            ino: attr.ino,
            rdev: matches!(attr.kind, Kind::BlockDevice | Kind::CharDevice).then_some(attr.rdev),
            atime: stamp(attr.atime),
            mtime: stamp(attr.mtime),
            ctime: stamp(attr.ctime),
            btime: stamp(attr.btime),
            target,
            target_hex: target_hex.flatten(),
        }
    }
}

/// Bytes as text, and in hexadecimal where the text cannot hold them.
fn lossless(bytes: &[u8]) -> (String, Option<String>) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let hex = (text.as_bytes() != bytes).then(|| {
        bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    });
    (text, hex)
}

fn stamp(time: Time) -> String {
    rfc3339(time.secs, Some(time.nanos))
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Fifo => "fifo",
        Kind::CharDevice => "char-device",
        Kind::Directory => "directory",
        Kind::BlockDevice => "block-device",
        Kind::File => "file",
        Kind::Symlink => "symlink",
        Kind::Socket => "socket",
    }
}

/// `-rw-r--r--`, as ls(1) shows it.
fn mode_text(attr: &Attr) -> String {
    let mut text = String::with_capacity(10);
    text.push(match attr.kind {
        Kind::Fifo => 'p',
        Kind::CharDevice => 'c',
        Kind::Directory => 'd',
        Kind::BlockDevice => 'b',
        Kind::File => '-',
        Kind::Symlink => 'l',
        Kind::Socket => 's',
    });
    for (shift, special, letters) in [
        (6, 0o4000, ['s', 'S']),
        (3, 0o2000, ['s', 'S']),
        (0, 0o1000, ['t', 'T']),
    ] {
        let bits = attr.mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (attr.mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => letters[0],
            (true, false) => letters[1],
        });
    }
    text
}

/// An entry whose inode can be read.
struct Found {
    path: Vec<u8>,
    attr: Attr,
    /// Of a symbolic link.
    target: Option<Vec<u8>>,
}

impl Found {
    fn new(fs: &FileSystem, path: &[u8], attr: Attr) -> FsResult<Self> {
        let target = match attr.kind {
            Kind::Symlink => Some(path::read_link(fs, path)?),
            _ => None,
        };
        Ok(Self {
            path: path.to_vec(),
            attr,
            target,
        })
    }
}

/// Shows what can be read, then fails with what cannot. Names alone need no inodes.
pub(crate) fn ls(args: &Ls) -> Outcome {
    with_files(&args.store, &args.secrets, true, |fs| {
        let mut entries = Vec::new();
        let listed = path::list(fs, args.path.as_bytes(), args.recursive, &mut |entry| {
            entries.push(entry);
            true
        });
        let mut results = Results::new();
        let mut failures = Vec::new();
        if args.long || args.json {
            let mut found = Vec::new();
            for Listed { path, attr, .. } in entries {
                match attr.and_then(|attr| Found::new(fs, &path, attr)) {
                    Ok(entry) => found.push(entry),
                    Err(error) => failures.push(damaged(&path, error)),
                }
            }
            if args.json {
                for entry in &found {
                    results.json(&Entry::new(entry))?;
                }
            } else {
                for line in long_lines(&found, args.recursive) {
                    results.line(line)?;
                }
            }
        } else {
            for Listed { path, attr, .. } in entries {
                results.line(printable(name(&path, args.recursive)))?;
                if let Err(error) = attr
                    && args.recursive
                {
                    failures.push(damaged(&path, error));
                }
            }
        }
        results.finish()?;
        if let Err(error) = listed {
            failures.push(Failure::from(error).context(shown(&args.path)));
        }
        Failure::all(failures)
    })
}

fn damaged(path: &[u8], error: FsError) -> Failure {
    Failure::from(error).context(printable(path))
}

/// The whole path below each other, the last part within one directory.
fn name(path: &[u8], recursive: bool) -> &[u8] {
    if recursive {
        return path;
    }
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

/// Columns as wide as their widest field.
fn long_lines(entries: &[Found], recursive: bool) -> Vec<String> {
    let width = |field: fn(&Attr) -> u64| {
        let widest = entries.iter().map(|entry| field(&entry.attr)).max();
        widest.unwrap_or(0).to_string().len()
    };
    let links = width(|attr| u64::from(attr.nlink));
    let uids = width(|attr| u64::from(attr.uid));
    let gids = width(|attr| u64::from(attr.gid));
    let sizes = width(|attr| attr.size);
    entries
        .iter()
        .map(|entry| {
            let attr = &entry.attr;
            let mut line = format!(
                "{} {:links$} {:uids$} {:gids$} {:sizes$} {} {}",
                mode_text(attr),
                attr.nlink,
                attr.uid,
                attr.gid,
                attr.size,
                rfc3339(attr.mtime.secs, None),
                printable(name(&entry.path, recursive)),
            );
            if let Some(target) = &entry.target {
                line.push_str(" -> ");
                line.push_str(&printable(target));
            }
            line
        })
        .collect()
}

pub(crate) fn stat(args: &Stat) -> Outcome {
    let at = &args.at;
    with_files(&at.store, &at.secrets, true, |fs| {
        let failed = |error| Failure::from(error).context(shown(&at.path));
        let path = at.path.as_bytes();
        let found = path::stat(fs, path)
            .and_then(|attr| Found::new(fs, path, attr))
            .map_err(failed)?;
        let entry = Entry::new(&found);
        let mut results = Results::new();
        if args.json {
            results.json(&entry)?;
        } else {
            for (what, value) in lines(&found, &entry) {
                results.line(format_args!("{what:7} {value}"))?;
            }
        }
        results.finish()
    })
}

fn lines(found: &Found, entry: &Entry) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("path", printable(&found.path)),
        ("kind", entry.kind.to_owned()),
        ("mode", format!("{} {}", entry.mode, mode_text(&found.attr))),
        ("size", entry.size.to_string()),
        ("owner", format!("{}:{}", entry.uid, entry.gid)),
        ("links", entry.nlink.to_string()),
        ("inode", entry.ino.to_string()),
    ];
    if let Some(rdev) = entry.rdev {
        lines.push(("device", rdev.to_string()));
    }
    if let Some(target) = &found.target {
        lines.push(("target", printable(target)));
    }
    lines.extend([
        ("access", entry.atime.clone()),
        ("modify", entry.mtime.clone()),
        ("change", entry.ctime.clone()),
        ("birth", entry.btime.clone()),
    ]);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attr(kind: Kind, mode: u32) -> Attr {
        let time = Time::default();
        Attr {
            ino: 1,
            generation: 0,
            kind,
            mode,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 0,
            blocks: 0,
            atime: time,
            mtime: time,
            ctime: time,
            btime: time,
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_whole() {
        let link = |path: &[u8], target: &[u8]| Found {
            path: path.to_vec(),
            attr: attr(Kind::Symlink, 0o777),
            target: Some(target.to_vec()),
        };
        let found = link(b"a", b"\xffb");
        let odd = Entry::new(&found);
        assert_eq!(odd.target.as_deref(), Some("\u{fffd}b"));
        assert_eq!(odd.target_hex.as_deref(), Some("ff62"));
        assert_eq!(odd.path_hex, None);
        let shown = lines(&found, &odd);
        assert!(shown.contains(&("target", "\\xffb".to_owned())));
        let plain = Entry::new(&link(b"\xfe", b"b"));
        assert_eq!(
            (plain.path_hex.as_deref(), plain.target_hex),
            (Some("fe"), None)
        );
    }

    #[test]
    fn modes_read_like_those_of_ls() {
        for (kind, mode, text) in [
            (Kind::File, 0o644, "-rw-r--r--"),
            (Kind::Directory, 0o1777, "drwxrwxrwt"),
            (Kind::File, 0o4755, "-rwsr-xr-x"),
            (Kind::File, 0o2640, "-rw-r-S---"),
            (Kind::Symlink, 0o777, "lrwxrwxrwx"),
        ] {
            assert_eq!(mode_text(&attr(kind, mode)), text);
        }
    }
}

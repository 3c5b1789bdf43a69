//! `put`, `get`, `cat`, `rm`: whole files of a store that is not mounted.
//!
//! - What is replaced is replaced whole: on either side the old file stays until all of the new
//!   one is there.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use coffer_fusefs::FileSystem;
use coffer_fusefs::attr::{Attr, Kind};
use coffer_fusefs::path::{self, Listed};

use crate::args::{Get, OnePath, Put, Rm};
use crate::failure::{Code, Failure, Outcome, streamed};
use crate::progress::Progress;
use crate::store::{caller, with_files};
use crate::terminal::{Results, printable};
use crate::units::ByteRange;

const STREAM: &str = "-";

pub(crate) fn put(args: &Put, quiet: bool) -> Outcome {
    let (mut source, mode, len) = open_source(&args.local)?;
    with_files(&args.store, &args.secrets, false, |fs| {
        let progress = Progress::new("put", len, quiet);
        path::put(
            fs,
            &caller(),
            args.path.as_bytes(),
            mode,
            &mut *source,
            &mut |done| progress.set(done),
        )
        .map(drop)
        .map_err(|error| streamed(error, &args.local).context(shown(&args.path)))
    })
}

/// Reads to the first end that a stream tells: a terminal tells one for each Ctrl-D and goes on.
struct ToFirstEnd<R>(Option<R>);

impl<R: Read> Read for ToFirstEnd<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(stream) = &mut self.0 else {
            return Ok(0);
        };
        let len = stream.read(buf)?;
        if len == 0 && !buf.is_empty() {
            self.0 = None;
        }
        Ok(len)
    }
}

/// What is stored, with the permissions it shall have and its length where that is known.
fn open_source(local: &Path) -> Outcome<(Box<dyn Read>, u32, Option<u64>)> {
    if local == Path::new(STREAM) {
        // Not locked: the passphrase may come first on the same stream.
        let source = ToFirstEnd(Some(io::stdin()));
        return Ok((Box::new(source), 0o644, None));
    }
    let failed = |error| Failure::path(local, &error);
    let file = File::open(local).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(
            Failure::new(Code::Exists, format!("{} is a directory", local.display()))
                .hint("`put` stores one file; mount the store to copy a tree"),
        );
    }
    let len = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(file), metadata.permissions().mode() & 0o777, len))
}

pub(crate) fn get(args: &Get, quiet: bool) -> Outcome {
    with_files(&args.store, &args.secrets, true, |fs| {
        let attr = path::resolve(fs, args.path.as_bytes())
            .map_err(|error| Failure::from(error).context(shown(&args.path)))?;
        let range = range_of(&attr, args.range, &args.path)?;
        let progress = Progress::new("get", Some(range.1), quiet);
        let mut copy = |sink: &mut dyn Write| {
            let range = args.range.map(|_| range);
            path::get(fs, args.path.as_bytes(), range, sink, &mut |done| {
                progress.set(done);
            })
            .map_err(|error| streamed(error, &args.local).context(shown(&args.path)))
        };
        if args.local == Path::new(STREAM) {
            let mut results = Results::new();
            copy(&mut results)?;
            results.finish()
        } else {
            replace(&args.local, attr.mode & 0o777, &mut copy)
        }
    })
}

pub(crate) fn cat(args: &OnePath) -> Outcome {
    with_files(&args.store, &args.secrets, true, |fs| {
        let attr = path::resolve(fs, args.path.as_bytes())
            .map_err(|error| Failure::from(error).context(shown(&args.path)))?;
        range_of(&attr, None, &args.path)?;
        let mut results = Results::new();
        path::get(fs, args.path.as_bytes(), None, &mut results, &mut |_| {})
            .map_err(|error| streamed(error, Path::new("standard output")))
            .map_err(|failure| failure.context(shown(&args.path)))?;
        results.finish()
    })
}

/// Offset and length of the bytes asked for; a last position behind the end means the end.
fn range_of(attr: &Attr, range: Option<ByteRange>, path: &OsStr) -> Outcome<(u64, u64)> {
    if attr.kind != Kind::File {
        return Err(Failure::new(
            Code::Exists,
            format!("{} is not a regular file", shown(path)),
        ));
    }
    let Some(range) = range else {
        return Ok((0, attr.size));
    };
    if range.first >= attr.size {
        return Err(Failure::new(
            Code::Usage,
            format!(
                "{} has {} bytes; the range begins behind its end",
                shown(path),
                attr.size
            ),
        ));
    }
    let last = range
        .last
        .map_or(attr.size - 1, |last| last.min(attr.size - 1));
    Ok((range.first, last - range.first + 1))
}

/// Writes a local file by way of a temporary one beside it; what is no regular file is written to
/// directly.
fn replace(
    local: &Path,
    mode: u32,
    copy: &mut dyn FnMut(&mut dyn Write) -> Outcome<u64>,
) -> Outcome {
    let failed = |error| Failure::path(local, &error);
    match local.metadata() {
        Ok(metadata) if metadata.is_dir() => {
            let text = format!("{} is a directory", local.display());
            return Err(Failure::new(Code::Exists, text).hint("name the file to write"));
        }
        Ok(metadata) if !metadata.is_file() => {
            let mut file = OpenOptions::new().write(true).open(local).map_err(failed)?;
            return copy(&mut file).map(drop);
        }
        _ => {}
    }
    let replaces = local.symlink_metadata().is_ok();
    let temporary = beside(local)?;
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .map_err(failed)
        .and_then(|file| {
            let mut buffered = BufWriter::with_capacity(1 << 20, file);
            copy(&mut buffered)?;
            buffered.flush().map_err(failed)?;
            if replaces {
                // The new file before its name: a power cut leaves one of the two, whole.
                buffered.get_ref().sync_all().map_err(failed)?;
            }
            std::fs::rename(&temporary, local).map_err(failed)
        });
    if written.is_err() {
        // It may be missing: then there is nothing to take away.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn beside(local: &Path) -> Outcome<PathBuf> {
    let name = local
        .file_name()
        .ok_or_else(|| Failure::new(Code::Usage, format!("{} is no file name", local.display())))?;
    // A long name is cut: the temporary one must fit too.
    let name = &name.as_bytes()[..name.len().min(200)];
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(OsStr::from_bytes(name));
    temporary.push(format!(".coffer-{}", std::process::id()));
    Ok(local.with_file_name(temporary))
}

pub(crate) fn rm(args: &Rm) -> Outcome {
    let at = &args.at;
    if is_root(at.path.as_bytes()) {
        let text = "this names the root of the store, which cannot be removed";
        return Err(
            Failure::new(Code::Usage, text).hint("name what is in it, one path for each call")
        );
    }
    with_files(&at.store, &at.secrets, false, |fs| {
        let failed = |error| Failure::from(error).context(shown(&at.path));
        let kind = path::kind(fs, at.path.as_bytes()).map_err(failed)?;
        if kind != Kind::Directory {
            return path::remove(fs, at.path.as_bytes()).map_err(failed);
        }
        if !args.recursive {
            let text = format!("{} is a directory", shown(&at.path));
            return Err(Failure::new(Code::Exists, text)
                .hint("`coffer rm -r` removes it with everything in it"));
        }
        remove_tree(fs, at.path.as_bytes())
    })
}

fn is_root(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/')
        .all(|part| part.is_empty() || part == b".")
}

/// Removes what is below first, and goes on past what it cannot remove; then fails with the first
/// reason.
fn remove_tree(fs: &FileSystem, top: &[u8]) -> Outcome {
    let mut found = Vec::new();
    let listed = path::list(fs, top, true, &mut |entry| {
        found.push(entry);
        true
    });
    let named = |path: &[u8], error| Failure::from(error).context(printable(path));
    let mut outcome = listed.map_err(|error| named(top, error));
    for Listed { path, attr, .. } in found.into_iter().rev() {
        // A damaged directory may hold names that nobody sees: its damage is the better reason.
        let removed = path::remove(fs, &path).map_err(|error| attr.err().unwrap_or(error));
        outcome = outcome.and(removed.map_err(|error| named(&path, error)));
    }
    let removed = path::remove(fs, top);
    outcome.and(removed.map_err(|error| named(top, error)))
}

pub(super) fn shown(path: &OsStr) -> String {
    printable(path.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: u64) -> Attr {
        let time = coffer_fusefs::attr::Time::default();
        Attr {
            ino: 2,
            generation: 0,
            kind: Kind::File,
            mode: 0o644,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size,
            blocks: 0,
            atime: time,
            mtime: time,
            ctime: time,
            btime: time,
        }
    }

    #[test]
    fn ranges_are_cut_at_the_end() {
        let range = |text: &str| text.parse::<ByteRange>().ok();
        let bytes = |size, text| range_of(&file(size), range(text), OsStr::new("x")).ok();
        assert_eq!(bytes(10, "0-0"), Some((0, 1)));
        assert_eq!(bytes(10, "0-99"), Some((0, 10)));
        assert_eq!(bytes(10, "9-"), Some((9, 1)));
        assert_eq!(bytes(10, "10-"), None);
        assert_eq!(bytes(0, "0-0"), None);
        assert_eq!(range_of(&file(0), None, OsStr::new("x")).ok(), Some((0, 0)));
    }

    #[test]
    fn standard_input_stays_free_for_a_passphrase_before_the_contents() {
        let source = open_source(Path::new(STREAM)).expect("standard input");
        let (sender, answer) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(io::stdin().lock());
            sender.send(())
        });
        let waited = answer.recv_timeout(core::time::Duration::from_secs(20));
        assert!(waited.is_ok(), "somebody holds standard input");
        drop(source);
    }

    #[test]
    fn the_first_end_of_a_stream_is_its_end() {
        struct Terminal(Vec<&'static [u8]>);
        impl Read for Terminal {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                let line = self.0.remove(0);
                buf[..line.len()].copy_from_slice(line);
                Ok(line.len())
            }
        }
        let mut source = ToFirstEnd(Some(Terminal(vec![b"one", b"", b"two"])));
        let mut buf = [0; 8];
        let mut next = || source.read(&mut buf).ok();
        assert_eq!([next(), next(), next()], [Some(3), Some(0), Some(0)]);
    }

    #[test]
    fn the_root_is_told_by_any_of_its_names() {
        for root in ["", "/", "//", ".", "/./"] {
            assert!(is_root(root.as_bytes()), "{root}");
        }
        assert!(!is_root(b"a") && !is_root(b"/..a"));
    }

    #[test]
    fn a_temporary_name_fits() {
        let long = "n".repeat(255);
        let temporary = beside(&Path::new("/tmp").join(long)).expect("a name");
        assert!(temporary.file_name().is_some_and(|name| name.len() <= 255));
        assert_eq!(temporary.parent(), Some(Path::new("/tmp")));
    }
}

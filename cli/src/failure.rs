//! How a command fails: an exit code that scripts can rely on, and words that help.
//!
//! - The codes are stable and stand in `docs/CLI.md`.
//! - A closed pipe behind standard output is no failure: the reader has seen enough.

use core::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use coffer_engine::{Error, ErrorKind};
use coffer_fusefs::path::StreamError;
use coffer_fusefs::{Errno, FsError, MountError};

/// Exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    Ok = 0,
    General = 1,
    /// clap uses the same for a wrong command line.
    Usage = 2,
    /// Wrong passphrase or key file, or bytes that are whole but not the expected ones.
    Authentication = 3,
    /// Damaged or missing bytes.
    Corruption = 4,
    /// Another process holds the store, or uses the mount.
    Locked = 5,
    /// No such store, path or mount.
    NotFound = 6,
    NoSpace = 7,
    /// Acknowledged data may not have reached the medium.
    NotWritten = 8,
    /// Made by a newer version, or the system lacks something (FUSE).
    Unsupported = 9,
    /// Something is in the way: a store, a file, a directory that is not empty.
    Exists = 10,
}

/// The end of a command that did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    text: String,
    hint: Option<String>,
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            hint: None,
        }
    }

    /// Standard output was closed by its reader: end quietly.
    fn closed_pipe() -> Self {
        Self::new(Code::Ok, "")
    }

    /// Says what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert(hint.into());
        self
    }

    /// Says what was being done.
    pub(crate) fn context(mut self, what: impl fmt::Display) -> Self {
        if self.code != Code::Ok {
            self.text = format!("{what}: {}", self.text);
        }
        self
    }

    /// The words of the command line are to blame.
    pub(crate) fn into_usage(mut self) -> Self {
        self.code = Code::Usage;
        self
    }

    /// Says what helps a damaged store, in place of a hint that does not know where it lies.
    pub(crate) fn of_store(mut self, store: &Path) -> Self {
        let store = store.display();
        match self.code {
            _ if self.hint.is_none() => {}
            Code::Corruption => {
                self.hint = Some(format!(
                    "`coffer scrub --repair {store}` heals what parity can; where a file is missing or \
                     lost, put back the whole store from a copy; docs/USING.md"
                ));
            }
            Code::NoSpace => {
                self.hint = Some(format!(
                    "free space on the medium that holds the store; what was deleted in it becomes free \
                     with `coffer compact {store}`"
                ));
            }
            _ => {}
        }
        self
    }

    pub(crate) fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => Code::NotFound,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::NoSpace,
            io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => Code::Exists,
            _ => Code::General,
        };
        Self::new(code, format!("{what}: {}", plain(error)))
    }

    pub(crate) fn path(path: &Path, error: &io::Error) -> Self {
        Self::io(path.display(), error)
    }

    /// An error of writing results: nothing to say where the reader went away.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::closed_pipe()
        } else {
            Self::io("standard output", error)
        }
    }

    /// Several failures of one command: prints a line for all but the last, which ends it.
    pub(crate) fn all(mut failures: Vec<Self>) -> Outcome {
        let Some(last) = failures.pop() else {
            return Ok(());
        };
        for failure in failures {
            crate::terminal::note(format_args!("error: {}", failure.text));
        }
        Err(last)
    }

    /// Prints what happened and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if self.code != Code::Ok {
            crate::terminal::note(format_args!("error: {}", self.text));
            if let Some(hint) = &self.hint {
                crate::terminal::note(format_args!("hint: {hint}"));
            }
        }
        ExitCode::from(self.code as u8)
    }
}

fn code_of(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Invalid => Code::Usage,
        ErrorKind::Corruption => Code::Corruption,
        ErrorKind::Authentication | ErrorKind::KeyMissing => Code::Authentication,
        ErrorKind::Unsupported => Code::Unsupported,
        ErrorKind::Locked => Code::Locked,
        ErrorKind::NoSpace => Code::NoSpace,
        ErrorKind::Poisoned => Code::NotWritten,
        _ => Code::General,
    }
}

fn hint_of(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::Corruption => {
            "`coffer scrub --repair` heals what parity can; where a file is missing or lost, put back the \
             whole store from a copy; docs/USING.md"
        }
        ErrorKind::Locked => {
            "the store is mounted or in use; work in the mount, or `coffer umount MOUNTPOINT` first"
        }
        ErrorKind::NoSpace => "free space on the medium that holds the store, then try again",
        ErrorKind::Poisoned => {
            "a write to the medium failed earlier; check the medium, then open the store again"
        }
        ErrorKind::Unsupported => "use the version of coffer that wrote this store, or a newer one",
        _ => return None,
    })
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Self::new(code_of(error.kind()), error.to_string());
        match hint_of(error.kind()) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// The words of the operating system, without the number that the standard library appends.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    words.to_owned()
}

impl From<FsError> for Failure {
    fn from(error: FsError) -> Self {
        if let Some(beneath) = error.store_error() {
            return beneath.duplicate().into();
        }
        let code = match error.errno() {
            Errno::ENOENT => Code::NotFound,
            Errno::EEXIST | Errno::ENOTEMPTY | Errno::EISDIR | Errno::ENOTDIR => Code::Exists,
            Errno::ENOSPC => Code::NoSpace,
            Errno::EIO => Code::Corruption,
            Errno::EINVAL | Errno::ENAMETOOLONG => Code::Usage,
            _ => Code::General,
        };
        let os = io::Error::from_raw_os_error(error.errno().code());
        let failure = Self::new(code, plain(&os));
        match hint_of(ErrorKind::NoSpace) {
            Some(hint) if code == Code::NoSpace => failure.hint(hint),
            _ => failure,
        }
    }
}

/// An error of a stream between the store and `local`.
pub(crate) fn streamed(error: StreamError, local: &Path) -> Failure {
    match error {
        StreamError::Fs(error) => error.into(),
        StreamError::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Failure::closed_pipe()
        }
        StreamError::Io(error) => Failure::path(local, &error),
    }
}

impl From<MountError> for Failure {
    fn from(error: MountError) -> Self {
        let code = match error {
            MountError::NoDevice(_) | MountError::NoHelper => Code::Unsupported,
            MountError::Busy(_) => Code::Locked,
            MountError::Gone(_) => Code::NotFound,
            _ => Code::General,
        };
        Self::new(code, error.to_string())
    }
}

//! One error for engine and blob store: what kind, where, and what lies beneath.
//!
//! - A kind says what the caller must do, not which function failed.
//! - Absence is `Option`, never an error; healing is an event, never an error.
//! - An error is built where it is detected and carries no user data: ids and offsets only.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use crate::types::FileId;

/// Result of every fallible call of the engine and the blob store.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// What the caller must do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong (an argument, an option); correct it and call again.
    Invalid,
    /// Bytes of the store are damaged, missing or cut off; scrub or restore them.
    Corruption,
    /// Bytes are whole but not the ones expected: a wrong key, or somebody changed the store.
    Authentication,
    /// No key is at hand for these bytes.
    KeyMissing,
    /// Written by a newer version, or with a feature this build lacks.
    Unsupported,
    /// Another process holds the store.
    Locked,
    /// The medium is full.
    NoSpace,
    /// The medium answered with an error.
    Io,
    /// An earlier sync failed; writes are refused until the store is opened again.
    Poisoned,
    /// The caller or a shutdown ended the work.
    Canceled,
}

/// Where an error was found. All parts are optional.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file of the store.
    pub file: Option<FileId>,
    /// Byte offset in that file.
    pub offset: Option<u64>,
    /// The part of the format, for instance `"data block"` or `"footer"`.
    pub part: Option<&'static str>,
}

/// What happened, where, and what to do about it.
///
/// One pointer wide, so that `Result`s on hot paths stay small.
pub struct Error(Box<Repr>);

struct Repr {
    kind: ErrorKind,
    place: Place,
    message: Cow<'static, str>,
    source: Option<Box<dyn core::error::Error + Send + Sync>>,
}

impl Error {
    /// A new error of `kind`; `message` says what happened and, where it helps, what to do next.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Repr {
            kind,
            place: Place::default(),
            message: message.into(),
            source: None,
        }))
    }

    /// Names the file of the store.
    #[must_use]
    pub fn in_file(mut self, file: FileId) -> Self {
        self.0.place.file.get_or_insert(file);
        self
    }

    /// Names the byte offset in the file.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.0.place.offset.get_or_insert(offset);
        self
    }

    /// Names the part of the format.
    #[must_use]
    pub fn part(mut self, part: &'static str) -> Self {
        self.0.place.part.get_or_insert(part);
        self
    }

    /// Keeps the error beneath this one.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What the caller must do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Where it was found.
    #[must_use]
    pub fn place(&self) -> Place {
        self.0.place
    }

    /// What happened, without place and source.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// A copy for a second waiter of the same work (the source becomes text).
    #[must_use]
    pub fn duplicate(&self) -> Self {
        use alloc::string::ToString;
        let source = self.0.source.as_ref().map(|source| {
            let text: String = source.to_string();
            Box::<dyn core::error::Error + Send + Sync>::from(text)
        });
        Self(Box::new(Repr {
            kind: self.0.kind,
            place: self.0.place,
            message: self.0.message.clone(),
            source,
        }))
    }
}

macro_rules! shorthands {
    ($($name:ident => $kind:ident, $doc:literal;)*) => {
        impl Error {
            $(
                #[doc = $doc]
                #[must_use]
                pub fn $name(message: impl Into<Cow<'static, str>>) -> Self {
                    Self::new(ErrorKind::$kind, message)
                }
            )*
        }
    };
}

shorthands! {
    invalid => Invalid, "A wrong request.";
    corruption => Corruption, "Damaged bytes.";
    authentication => Authentication, "Whole bytes that are not the expected ones.";
    key_missing => KeyMissing, "No key at hand.";
    unsupported => Unsupported, "Made by a newer version or with a missing feature.";
    locked => Locked, "Held by another process.";
    no_space => NoSpace, "A full medium.";
    io => Io, "An error of the medium.";
    poisoned => Poisoned, "Refused after a failed sync.";
    canceled => Canceled, "Ended by the caller or a shutdown.";
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        let Place { file, offset, part } = self.0.place;
        if file.is_some() || offset.is_some() || part.is_some() {
            f.write_str(" (")?;
            let mut gap = "";
            if let Some(part) = part {
                write!(f, "{part}")?;
                gap = ", ";
            }
            if let Some(file) = file {
                write!(f, "{gap}file {file}")?;
                gap = ", ";
            }
            if let Some(offset) = offset {
                write!(f, "{gap}offset {offset}")?;
            }
            f.write_str(")")?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl core::error::Error for Error {}

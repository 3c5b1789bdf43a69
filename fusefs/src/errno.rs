//! What an operation answers when it fails: one number of errno(3), and the error beneath it.
//!
//! - The table from the kinds of the store's errors to errno stands here and nowhere else.

use core::fmt;

use coffer_blobstore::{Error, ErrorKind};

/// Result of every operation of the file system.
pub type FsResult<T> = Result<T, FsError>;

/// The numbers of errno(3) on Linux that the file system answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[allow(clippy::upper_case_acronyms, reason = "the names of errno(3)")]
pub enum Errno {
    /// Not permitted.
    EPERM = 1,
    /// No such file or directory.
    ENOENT = 2,
    /// Damaged data or an error of the medium.
    EIO = 5,
    /// No data behind this offset.
    ENXIO = 6,
    /// Argument list too long: a value above its limit.
    E2BIG = 7,
    /// No such handle, or one that was not opened for this.
    EBADF = 9,
    /// Permission denied.
    EACCES = 13,
    /// Busy.
    EBUSY = 16,
    /// The name is taken.
    EEXIST = 17,
    /// Not a directory.
    ENOTDIR = 20,
    /// Is a directory.
    EISDIR = 21,
    /// An argument makes no sense.
    EINVAL = 22,
    /// The file would grow beyond the largest offset.
    EFBIG = 27,
    /// No space left.
    ENOSPC = 28,
    /// Mounted for reading only.
    EROFS = 30,
    /// Too many links.
    EMLINK = 31,
    /// The buffer is too small for the answer.
    ERANGE = 34,
    /// The name is too long.
    ENAMETOOLONG = 36,
    /// Not built in.
    ENOSYS = 38,
    /// The directory is not empty.
    ENOTEMPTY = 39,
    /// Too many symbolic links on a path.
    ELOOP = 40,
    /// No such extended attribute.
    ENODATA = 61,
    /// A value does not fit its field.
    EOVERFLOW = 75,
    /// Not supported here.
    EOPNOTSUPP = 95,
    /// The inode is gone.
    ESTALE = 116,
}

impl Errno {
    /// The number of errno(3).
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// What a program gets for a store error of this kind.
    #[must_use]
    pub const fn from_kind(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::NoSpace => Self::ENOSPC,
            ErrorKind::Invalid => Self::EINVAL,
            ErrorKind::Unsupported => Self::EOPNOTSUPP,
            ErrorKind::Locked => Self::EBUSY,
            // Damage, foreign bytes, missing keys, a broken medium, a poisoned store: EIO.
            _ => Self::EIO,
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A failed operation: the errno for the program, the store's error for the log.
pub struct FsError {
    errno: Errno,
    source: Option<Error>,
}

impl FsError {
    /// The answer to the program.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        self.errno
    }

    /// The store's error beneath, where there is one.
    #[must_use]
    pub const fn store_error(&self) -> Option<&Error> {
        self.source.as_ref()
    }

    /// Does it tell of damaged bytes, which stay so however often they are read?
    #[must_use]
    pub fn is_damage(&self) -> bool {
        self.source.as_ref().is_some_and(|error| {
            matches!(
                error.kind(),
                ErrorKind::Corruption | ErrorKind::Authentication
            )
        })
    }

    /// The store's error with another answer to the program.
    #[must_use]
    pub const fn with_source(errno: Errno, source: Error) -> Self {
        Self {
            errno,
            source: Some(source),
        }
    }

    /// A copy for a second waiter of the same work.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            errno: self.errno,
            source: self.source.as_ref().map(Error::duplicate),
        }
    }
}

impl From<Errno> for FsError {
    fn from(errno: Errno) -> Self {
        Self {
            errno,
            source: None,
        }
    }
}

impl From<Error> for FsError {
    fn from(source: Error) -> Self {
        Self {
            errno: Errno::from_kind(source.kind()),
            source: Some(source),
        }
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{source} [{}]", self.errno),
            None => fmt::Display::fmt(&self.errno, f),
        }
    }
}

impl fmt::Debug for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for FsError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_errno() {
        for (kind, errno) in [
            (ErrorKind::Invalid, Errno::EINVAL),
            (ErrorKind::Corruption, Errno::EIO),
            (ErrorKind::Authentication, Errno::EIO),
            (ErrorKind::KeyMissing, Errno::EIO),
            (ErrorKind::Unsupported, Errno::EOPNOTSUPP),
            (ErrorKind::Locked, Errno::EBUSY),
            (ErrorKind::NoSpace, Errno::ENOSPC),
            (ErrorKind::Io, Errno::EIO),
            (ErrorKind::Poisoned, Errno::EIO),
            (ErrorKind::Canceled, Errno::EIO),
        ] {
            assert_eq!(FsError::from(Error::new(kind, "x")).errno(), errno);
        }
    }

    #[test]
    fn numbers_are_those_of_linux() {
        assert_eq!(Errno::ENOTEMPTY.code(), 39);
        assert_eq!(Errno::ENODATA.code(), 61);
        assert_eq!(Errno::ESTALE.code(), 116);
    }
}

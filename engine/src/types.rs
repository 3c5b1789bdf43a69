//! The nouns that every layer shares: file names, sequence numbers, kinds of entries.
//!
//! - File numbers are never reused within a store.
//! - The values of these enums are on disk: they never change their meaning.

use core::fmt;

/// Position of an entry in the history of the store; grows by one with each entry.
pub type SeqNo = u64;

/// Largest sequence number: entries carry 56 bits.
pub(crate) const SEQNO_MAX: SeqNo = (1 << 56) - 1;

/// Sixteen random bytes that name a store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StoreId(pub [u8; 16]);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The kinds of files in a store directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FileKind {
    /// Wrapped keys; numbers 0 and 1 are its two copies.
    Keyring = 1,
    /// Names the live manifest; number 0.
    Current = 2,
    /// Held by the process that has the store open; number 0, never read.
    Lock = 3,
    /// Log of version edits.
    Manifest = 4,
    /// Write-ahead log.
    Wal = 5,
    /// Sorted table.
    Table = 6,
    /// Frames of large values.
    Blob = 7,
    /// A side file that is renamed into place once whole.
    Temp = 8,
    /// A file of any kind that a repair did not take: nobody reads or removes it.
    Aside = 9,
}

/// Name of one file of a store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// What the file holds.
    pub kind: FileKind,
    /// Its number.
    pub number: u64,
}

impl FileId {
    /// The file of `kind` with `number`.
    #[must_use]
    pub const fn new(kind: FileKind, number: u64) -> Self {
        Self { kind, number }
    }

    /// Parses a file name as [`Display`](fmt::Display) writes it; `None` for any other name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "KEYRING" => return Some(Self::new(FileKind::Keyring, 0)),
            "KEYRING.copy" => return Some(Self::new(FileKind::Keyring, 1)),
            "CURRENT" => return Some(Self::new(FileKind::Current, 0)),
            "LOCK" => return Some(Self::new(FileKind::Lock, 0)),
            _ => {}
        }
        let (number, kind) = name.split_once('.')?;
        let kind = match kind {
            "manifest" => FileKind::Manifest,
            "wal" => FileKind::Wal,
            "table" => FileKind::Table,
            "blob" => FileKind::Blob,
            "temp" => FileKind::Temp,
            "aside" => FileKind::Aside,
            _ => return None,
        };
        if number.len() < 6 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        if number.len() > 6 && number.starts_with('0') {
            return None;
        }
        number.parse().ok().map(|number| Self { kind, number })
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number;
        match self.kind {
            FileKind::Keyring if number == 0 => f.write_str("KEYRING"),
            FileKind::Keyring => f.write_str("KEYRING.copy"),
            FileKind::Current => f.write_str("CURRENT"),
            FileKind::Lock => f.write_str("LOCK"),
            FileKind::Manifest => write!(f, "{number:06}.manifest"),
            FileKind::Wal => write!(f, "{number:06}.wal"),
            FileKind::Table => write!(f, "{number:06}.table"),
            FileKind::Blob => write!(f, "{number:06}.blob"),
            FileKind::Temp => write!(f, "{number:06}.temp"),
            FileKind::Aside => write!(f, "{number:06}.aside"),
        }
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an entry of the log, the memtable or a table says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum KeyKind {
    /// The key is gone.
    Delete = 0,
    /// The value follows.
    Put = 1,
    /// The value is a pointer that only the layer above understands.
    Indirect = 2,
    /// All keys from this one on are gone, up to the one that follows, which is not among them.
    DeleteRange = 3,
}

impl KeyKind {
    /// The kind with this value on disk.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Delete),
            1 => Some(Self::Put),
            2 => Some(Self::Indirect),
            3 => Some(Self::DeleteRange),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn file_names_round_trip() {
        for kind in [
            FileKind::Manifest,
            FileKind::Wal,
            FileKind::Table,
            FileKind::Blob,
            FileKind::Temp,
            FileKind::Aside,
        ] {
            for number in [0, 1, 999_999, 1_000_000, u64::MAX] {
                let id = FileId::new(kind, number);
                assert_eq!(FileId::parse(&id.to_string()), Some(id));
            }
        }
        for name in ["KEYRING", "KEYRING.copy", "CURRENT", "LOCK"] {
            assert_eq!(
                FileId::parse(name).map(|id| id.to_string()).as_deref(),
                Some(name)
            );
        }
        for name in [
            "",
            "1.wal",
            "0000001.wal",
            "+00001.wal",
            "000001.sst",
            "000001",
            "../x",
        ] {
            assert_eq!(FileId::parse(name), None, "{name}");
        }
    }
}

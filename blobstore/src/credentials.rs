//! What opens a store: a passphrase or the contents of a key file.
//!
//! - Secret bytes are wiped when dropped and never printed.
//! - A credential of one kind is never tried on a slot of the other kind.

use alloc::vec::Vec;
use core::fmt;

use coffer_engine::{Error, Result};
use zeroize::Zeroizing;

/// Shortest key file, in bytes.
pub const KEY_FILE_LEN_MIN: usize = 32;
/// Longest key file and longest passphrase, in bytes.
pub const CREDENTIAL_LEN_MAX: usize = 1 << 20;

/// A secret that opens one slot of the keyring.
pub enum Credential {
    /// Bytes that a person typed, exactly as given (no normalization, no line end).
    Passphrase(Zeroizing<Vec<u8>>),
    /// All bytes of a key file; they should come from a source of randomness.
    KeyFile(Zeroizing<Vec<u8>>),
}

/// The two kinds of credentials, as slots record them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CredentialKind {
    /// Opened by a passphrase.
    Passphrase = 1,
    /// Opened by a key file.
    KeyFile = 2,
}

impl CredentialKind {
    /// The kind with this value on disk.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Passphrase),
            2 => Some(Self::KeyFile),
            _ => None,
        }
    }

    /// The word for messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passphrase => "passphrase",
            Self::KeyFile => "key file",
        }
    }
}

impl Credential {
    /// A passphrase.
    #[must_use]
    pub fn passphrase(bytes: &[u8]) -> Self {
        Self::Passphrase(Zeroizing::new(bytes.to_vec()))
    }

    /// The contents of a key file.
    #[must_use]
    pub fn key_file(bytes: &[u8]) -> Self {
        Self::KeyFile(Zeroizing::new(bytes.to_vec()))
    }

    /// Which kind of slot it opens.
    #[must_use]
    pub const fn kind(&self) -> CredentialKind {
        match self {
            Self::Passphrase(_) => CredentialKind::Passphrase,
            Self::KeyFile(_) => CredentialKind::KeyFile,
        }
    }

    pub(crate) fn secret(&self) -> &[u8] {
        match self {
            Self::Passphrase(bytes) | Self::KeyFile(bytes) => bytes,
        }
    }

    /// Is it fit to protect a slot?
    ///
    /// # Errors
    /// `Invalid` for an empty or over-long passphrase and a key file that is too short or too long.
    pub fn validate(&self) -> Result<()> {
        let len = self.secret().len();
        match self {
            Self::Passphrase(_) if len == 0 => Err(Error::invalid("the passphrase is empty")),
            Self::KeyFile(_) if len < KEY_FILE_LEN_MIN => Err(Error::invalid(format!(
                "the key file holds {len} bytes; it must hold at least {KEY_FILE_LEN_MIN} random bytes"
            ))),
            _ if len > CREDENTIAL_LEN_MAX => Err(Error::invalid(format!(
                "the {} holds {len} bytes; {CREDENTIAL_LEN_MAX} are allowed",
                self.kind().word()
            ))),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.kind().word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::ErrorKind;

    #[test]
    fn debug_prints_no_secret() {
        let text = format!("{:?}", Credential::passphrase(b"hunter2"));
        assert_eq!(text, "Credential(passphrase)");
    }

    #[test]
    fn unfit_credentials_are_named() {
        let refused = |credential: Credential| {
            credential.validate().expect_err("unfit").kind() == ErrorKind::Invalid
        };
        assert!(refused(Credential::passphrase(b"")));
        assert!(refused(Credential::key_file(&[7; 31])));
        assert!(refused(Credential::passphrase(
            &[7; CREDENTIAL_LEN_MAX + 1]
        )));
        assert!(Credential::passphrase(b"a").validate().is_ok());
        assert!(Credential::key_file(&[7; 32]).validate().is_ok());
    }
}

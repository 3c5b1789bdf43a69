//! STUB until the real blob store lands.
pub(crate) enum Credential {
    Passphrase(zeroize::Zeroizing<Vec<u8>>),
    KeyFile(zeroize::Zeroizing<Vec<u8>>),
}

//! Keys of the file system in the blob tree.
//!
//! - All numbers are big-endian, so that a prefix scan meets them in order.
//! - A name is stored behind its hash: the order of a directory is the order of hashes, and a
//!   cookie is a place in that order, the same for ever, whatever comes and goes around it.
//!
//! ```text
//! S                                   superblock
//! I ino:8                             attributes of an inode
//! D parent:8 hash:7 name              name in a directory
//! C ino:8 index:8                     chunk of content
//! P ino:8 index:8 page:1              page laid over a chunk
//! X ino:8 name                        extended attribute
//! O ino:8                             inode without a name, to be reaped
//! ```

use alloc::vec::Vec;

use crate::attr::Ino;

/// The key of the superblock.
pub(crate) const SUPERBLOCK: &[u8] = b"S";
/// Prefix of all inodes.
pub(crate) const INODES: &[u8] = b"I";
/// Prefix of all orphans.
pub(crate) const ORPHANS: &[u8] = b"O";

const HASH_BITS: u32 = 55;
const HASH_LEN: usize = 7;
/// Separates the key of names from everything else that comes of a seed.
const NAME_CONTEXT: &str = "coffer file system, hash of names, version 2";
const RANK_BITS: u32 = 8;
/// Largest rank of a cookie.
pub(crate) const RANK_MAX: u64 = (1 << RANK_BITS) - 1;

/// Cookie of `.`.
pub(crate) const COOKIE_DOT: u64 = 1;
/// Cookie of `..`.
pub(crate) const COOKIE_DOT_DOT: u64 = 2;

fn with_ino(letter: u8, ino: Ino, rest: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(9 + rest);
    key.push(letter);
    key.extend_from_slice(&ino.to_be_bytes());
    key
}

/// The attributes of an inode.
pub(crate) fn inode(ino: Ino) -> Vec<u8> {
    with_ino(b'I', ino, 0)
}

/// The mark of an inode without a name.
pub(crate) fn orphan(ino: Ino) -> Vec<u8> {
    with_ino(b'O', ino, 0)
}

/// All chunks of an inode.
pub(crate) fn chunks(ino: Ino) -> Vec<u8> {
    with_ino(b'C', ino, 8)
}

/// One chunk.
pub(crate) fn chunk(ino: Ino, index: u64) -> Vec<u8> {
    let mut key = chunks(ino);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// All pages of an inode.
pub(crate) fn patches(ino: Ino) -> Vec<u8> {
    with_ino(b'P', ino, 9)
}

/// The pages over one chunk.
pub(crate) fn chunk_patches(ino: Ino, index: u64) -> Vec<u8> {
    let mut key = patches(ino);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// One page over a chunk.
pub(crate) fn patch(ino: Ino, index: u64, page: usize) -> Vec<u8> {
    let mut key = chunk_patches(ino, index);
    key.push(u8::try_from(page).expect("a chunk has 32 pages"));
    key
}

/// All extended attributes of an inode.
pub(crate) fn xattrs(ino: Ino) -> Vec<u8> {
    with_ino(b'X', ino, 64)
}

/// One extended attribute.
pub(crate) fn xattr(ino: Ino, name: &[u8]) -> Vec<u8> {
    let mut key = with_ino(b'X', ino, name.len());
    key.extend_from_slice(name);
    key
}

/// The key of the hash that orders names, expanded from the seed of the superblock.
///
/// Programs see the hashes as offsets of a directory. Without the key nobody can look for names
/// whose hashes collide, and so nobody can fill the ranks behind one hash.
#[derive(Clone)]
pub(crate) struct NameKey([u8; 32]);

impl NameKey {
    /// The key that comes of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(blake3::derive_key(NAME_CONTEXT, &seed.to_le_bytes()))
    }

    /// The hash of a name, 1 to 2^55 - 1.
    pub(crate) fn hash(&self, name: &[u8]) -> u64 {
        let hash = blake3::keyed_hash(&self.0, name);
        let head = hash.as_bytes().first_chunk().expect("32 bytes");
        (u64::from_le_bytes(*head) >> (64 - HASH_BITS)).max(1)
    }
}

/// All names of a directory.
pub(crate) fn names(parent: Ino) -> Vec<u8> {
    with_ino(b'D', parent, HASH_LEN)
}

/// The first possible name with `hash` in a directory.
pub(crate) fn names_from(parent: Ino, hash: u64) -> Vec<u8> {
    let mut key = with_ino(b'D', parent, HASH_LEN + 32);
    key.extend(hash.to_be_bytes().into_iter().skip(8 - HASH_LEN));
    key
}

/// One name in a directory.
pub(crate) fn name(parent: Ino, name_key: &NameKey, name: &[u8]) -> Vec<u8> {
    let mut key = names_from(parent, name_key.hash(name));
    key.extend_from_slice(name);
    key
}

/// Hash and name out of the key of a name; none for bytes that are no such key.
pub(crate) fn split_name(key: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = key.split_at_checked(9)?;
    let (hash, name) = rest.split_at_checked(HASH_LEN)?;
    if head.first() != Some(&b'D') || name.is_empty() {
        return None;
    }
    let hash = hash.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    Some((hash, name))
}

/// The big-endian number behind the letter and, with `skip` 9, behind the inode number.
pub(crate) fn number_at(key: &[u8], skip: usize) -> Option<u64> {
    let bytes = key.get(skip..skip.checked_add(8)?)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// The cookie of the `rank`th name (from 0) among those with the same hash.
pub(crate) fn cookie(hash: u64, rank: u64) -> u64 {
    hash << RANK_BITS | rank.min(RANK_MAX)
}

/// Hash and rank of a cookie; none for those of `.` and `..` and for 0.
pub(crate) fn split_cookie(cookie: u64) -> Option<(u64, u64)> {
    let hash = cookie >> RANK_BITS;
    (hash != 0).then_some((hash, cookie & RANK_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_scan_in_order() {
        let mut last = Vec::new();
        for ino in [0, 1, 255, 256, u64::MAX - 1] {
            for index in [0, 1, 255, 256, 1 << 46] {
                let key = chunk(ino, index);
                assert!(last < key && key.starts_with(&chunks(ino)));
                assert_eq!(number_at(&key, 1), Some(ino));
                assert_eq!(number_at(&key, 9), Some(index));
                last = key;
            }
        }
    }

    #[test]
    fn names_come_back_and_cookies_follow_their_order() {
        let name_key = NameKey::new(42);
        let mut all: Vec<_> = (0..500_u32)
            .map(|number| number.to_string().into_bytes())
            .chain([vec![0xff; 255], vec![b'/'], vec![0]])
            .map(|text| (name(7, &name_key, &text), text))
            .collect();
        all.sort();
        let mut last = COOKIE_DOT_DOT;
        for (key, text) in &all {
            let (hash, found) = split_name(key).unwrap();
            assert_eq!((hash, found), (name_key.hash(text), &text[..]));
            let cookie = cookie(hash, 0);
            assert!(cookie > last && i64::try_from(cookie).is_ok());
            assert_eq!(split_cookie(cookie), Some((hash, 0)));
            assert_eq!(names_from(7, hash), key[..16]);
            last = cookie;
        }
    }

    #[test]
    fn foreign_keys_are_refused() {
        for key in [
            &b""[..],
            b"D",
            b"D12345678",
            b"D123456781234567",
            b"X1234567812345678",
        ] {
            assert_eq!(split_name(key), None);
        }
        assert_eq!(number_at(b"C1234567", 1), None);
        assert_eq!(number_at(b"C", usize::MAX), None);
        assert_eq!(split_cookie(COOKIE_DOT_DOT), None);
    }
}

//! POSIX access control lists as extended attributes carry them: checks, and what a mode means for
//! a list and a list for a mode. Pure.
//!
//! - A list that was decoded is sound: one owner, one group, one mask where somebody is named, one
//!   entry for all others, in this order.
//!
//! ```text
//! 0 version = 2:4     then, for each entry:  0 tag:2   2 permissions:2   4 id:4
//! ```

use alloc::vec::Vec;

use crate::errno::{Errno, FsResult};

/// The attribute that holds the list of an inode.
pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute that holds what new inodes in a directory get.
pub(crate) const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const ENTRY_LEN: usize = 8;
const UNNAMED: u32 = u32::MAX;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: u16,
    bits: u32,
    id: u32,
}

/// A list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acl(Vec<Entry>);

impl Acl {
    /// The list in the value of an attribute; none for a list without entries.
    pub(crate) fn decode(bytes: &[u8]) -> FsResult<Option<Self>> {
        let (head, rest) = bytes.split_first_chunk().ok_or(Errno::EINVAL)?;
        let entries = rest.chunks_exact(ENTRY_LEN);
        if u32::from_le_bytes(*head) != VERSION || !entries.remainder().is_empty() {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let entries: Option<Vec<Entry>> = entries.map(Entry::decode).collect();
        match entries.map(Self) {
            Some(Self(entries)) if entries.is_empty() => Ok(None),
            Some(list) if list.is_sound() => Ok(Some(list)),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    /// The value of the attribute.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = VERSION.to_le_bytes().to_vec();
        for entry in &self.0 {
            out.extend_from_slice(&entry.tag.to_le_bytes());
            out.extend_from_slice(&(entry.bits as u16).to_le_bytes());
            out.extend_from_slice(&entry.id.to_le_bytes());
        }
        out
    }

    fn is_sound(&self) -> bool {
        let mut last = 0;
        let mut named = false;
        let mut count = [0_usize; 3];
        for entry in &self.0 {
            let repeats = matches!(entry.tag, USER | GROUP);
            if entry.tag < last || (entry.tag == last && !repeats) || entry.bits > 7 {
                return false;
            }
            if repeats && entry.id == UNNAMED {
                return false;
            }
            last = entry.tag;
            named |= repeats;
            match entry.tag {
                USER_OBJ | GROUP_OBJ | OTHER => count[0] += 1,
                MASK => count[1] += 1,
                USER | GROUP => count[2] += 1,
                _ => return false,
            }
        }
        count[0] == 3 && (!named || count[1] == 1)
    }

    fn entry_mut(&mut self, tag: u16) -> Option<&mut Entry> {
        self.0.iter_mut().find(|entry| entry.tag == tag)
    }

    /// The permission bits that stat(2) shows of an inode with this list.
    pub(crate) fn mode(&self) -> u32 {
        let mut mode = 0;
        let mut mask = None;
        for entry in &self.0 {
            match entry.tag {
                USER_OBJ => mode |= entry.bits << 6,
                GROUP_OBJ => mode |= entry.bits << 3,
                OTHER => mode |= entry.bits,
                MASK => mask = Some(entry.bits),
                _ => {}
            }
        }
        mask.map_or(mode, |mask| mode & !0o070 | mask << 3)
    }

    /// Does it say no more than a mode?
    pub(crate) fn is_mode(&self) -> bool {
        self.0
            .iter()
            .all(|entry| !matches!(entry.tag, USER | GROUP | MASK))
    }

    /// chmod: owner, others, and the mask (or the group where there is none) become those of `mode`.
    pub(crate) fn set_mode(&mut self, mode: u32) {
        let class = if self.entry_mut(MASK).is_some() {
            MASK
        } else {
            GROUP_OBJ
        };
        for (tag, bits) in [(USER_OBJ, mode >> 6), (class, mode >> 3), (OTHER, mode)] {
            if let Some(entry) = self.entry_mut(tag) {
                entry.bits = bits & 7;
            }
        }
    }

    /// What a new inode gets of this default list when it is made with `mode`: each class has no
    /// more than both allow. Answers the permission bits.
    pub(crate) fn inherit(&mut self, mode: u32) -> u32 {
        let old = self.mode();
        let new = mode & old;
        self.set_mode(new);
        mode & !0o777 | new
    }
}

impl Entry {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first_chunk()?;
        let (bits, id) = rest.split_first_chunk()?;
        let tag = u16::from_le_bytes(*tag);
        let id = u32::from_le_bytes(id.try_into().ok()?);
        Some(Self {
            tag,
            bits: u32::from(u16::from_le_bytes(*bits)),
            id: if matches!(tag, USER | GROUP) {
                id
            } else {
                UNNAMED
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(entries: &[(u16, u32, u32)]) -> Acl {
        let entries = entries
            .iter()
            .map(|&(tag, bits, id)| Entry { tag, bits, id });
        Acl(entries.collect())
    }

    fn sample() -> Acl {
        list(&[
            (USER_OBJ, 7, UNNAMED),
            (USER, 6, 1000),
            (GROUP_OBJ, 5, UNNAMED),
            (GROUP, 7, 100),
            (MASK, 7, UNNAMED),
            (OTHER, 0, UNNAMED),
        ])
    }

    fn plain(mode: u32) -> Acl {
        list(&[
            (USER_OBJ, mode >> 6 & 7, UNNAMED),
            (GROUP_OBJ, mode >> 3 & 7, UNNAMED),
            (OTHER, mode & 7, UNNAMED),
        ])
    }

    #[test]
    fn lists_come_back() {
        let bytes = sample().encode();
        assert_eq!(bytes.len(), 4 + 6 * ENTRY_LEN);
        assert_eq!(bytes[..12], [2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255]);
        assert_eq!(Acl::decode(&bytes).unwrap(), Some(sample()));
        assert_eq!(Acl::decode(&[2, 0, 0, 0]).unwrap(), None);
    }

    #[test]
    fn unsound_lists_are_refused() {
        let mut twice = sample();
        twice.0.insert(0, twice.0[0]);
        let mut turned = sample();
        turned.0.swap(2, 3);
        let mut maskless = sample();
        maskless.0.remove(4);
        let mut wide = sample();
        wide.0[0].bits = 8;
        for unsound in [
            twice,
            turned,
            maskless,
            wide,
            list(&[(USER_OBJ, 7, UNNAMED)]),
        ] {
            let answer = Acl::decode(&unsound.encode()).map_err(|error| error.errno());
            assert_eq!(answer, Err(Errno::EINVAL));
        }
        for noise in [&b""[..], b"\x02\0\0", b"\x03\0\0\0", b"\x02\0\0\0\x01"] {
            assert!(Acl::decode(noise).is_err());
        }
    }

    #[test]
    fn a_mode_and_a_list_follow_each_other() {
        for mode in 0..0o1000 {
            let mut acl = plain(mode);
            assert!(acl.is_mode() && acl.mode() == mode);
            acl.set_mode(!mode & 0o777);
            assert_eq!(acl, plain(!mode & 0o777));
            let mut acl = sample();
            acl.set_mode(mode);
            assert!(!acl.is_mode() && acl.mode() == mode);
            assert_eq!(acl.0[2].bits, 5, "the mask moves, the group does not");
        }
    }

    #[test]
    fn new_inodes_get_what_both_allow() {
        let mut acl = sample();
        assert_eq!(acl.inherit(0o2666), 0o2660);
        assert_eq!((acl.0[0].bits, acl.0[1].bits, acl.0[4].bits), (6, 6, 6));
        assert_eq!(acl.0[5].bits, 0);
        let mut acl = plain(0o751);
        assert_eq!(acl.inherit(0o666), 0o640);
        assert_eq!(acl, plain(0o640));
    }

    proptest! {
        #[test]
        fn noise_is_refused_or_sound(noise in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut bytes = VERSION.to_le_bytes().to_vec();
            bytes.extend(noise);
            if let Ok(Some(acl)) = Acl::decode(&bytes) {
                prop_assert_eq!(Acl::decode(&acl.encode()).unwrap(), Some(acl));
            }
        }
    }
}

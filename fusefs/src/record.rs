//! Values of the keys `I`, `D`, `O` and `S`: fixed layouts, little-endian, version first.
//!
//! - Decoding never panics and never trusts: a wrong length, version or value is `Corruption`.
//! - `size` and the counts of an inode record describe exactly the chunks and patches that the
//!   tree holds when the record is there; both change in one batch.
//!
//! ```text
//! I   0 version = 1      D   0 version = 1     S   0 version = 2
//!     1 kind                 1 kind                1 flags: bit 0 closed cleanly
//!     2 mode:2               2 ino:8               2 chunk_len:4
//!     4 nlink:4                                    6 next_ino:8 (end of the lease)
//!     8 uid:4            O   0 version = 1        14 name_seed:8
//!    12 gid:4                                     22 inode_count:8 (if closed cleanly)
//!    16 rdev:4
//!    20 xattr_count:4
//!    24 size:8 (directories: entries)
//!    32 trim_len:8 (chunks from size up to here await deletion)
//!    40 hole_count:8 (chunks below size that do not exist)
//!    48 patch_count:8
//!    56 parent:8 (directories)
//!    64 flags:4: bit 0 has security.capability, bit 1 has an access list, bit 2 a default list
//!    68 atime, mtime, ctime, btime, each secs:8 nanos:4
//!   116 target (symbolic links)
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;

use coffer_blobstore::{Error, Result};

use crate::attr::{Attr, Ino, Kind, Time};
use crate::extent::{CHUNK_LEN, FILE_LEN_MAX, chunk_count};

const VERSION: u8 = 1;
/// 2: names are ordered by a hash with a key.
const SUPERBLOCK_VERSION: u8 = 2;
const INODE_LEN: usize = 116;
const NAME_LEN: usize = 10;
const SUPERBLOCK_LEN: usize = 30;

/// Longest target of a symbolic link.
pub(crate) const TARGET_LEN_MAX: usize = 4095;

const FLAG_CAPABILITY: u32 = 1;
const FLAG_ACCESS_LIST: u32 = 1 << 1;
const FLAG_DEFAULT_LIST: u32 = 1 << 2;
const FLAGS: u32 = FLAG_CAPABILITY | FLAG_ACCESS_LIST | FLAG_DEFAULT_LIST;
const FLAG_CLEAN: u8 = 1;

/// What the tree knows of an inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InodeRecord {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) nlink: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u32,
    pub(crate) xattr_count: u32,
    /// Bytes; of a directory, entries.
    pub(crate) size: u64,
    /// Chunks between `size` and here are left over from a truncation, if larger than `size`.
    pub(crate) trim_len: u64,
    /// Chunks below `size` that do not exist and read as zeros.
    pub(crate) hole_count: u64,
    /// Pages laid over chunks.
    pub(crate) patch_count: u64,
    /// The directory that holds this directory; 0 for other kinds.
    pub(crate) parent: Ino,
    /// There is a `security.capability` attribute.
    pub(crate) has_capability: bool,
    /// There is an access control list that says more than the mode.
    pub(crate) has_access_list: bool,
    /// There is a list that new inodes in this directory get.
    pub(crate) has_default_list: bool,
    pub(crate) atime: Time,
    pub(crate) mtime: Time,
    pub(crate) ctime: Time,
    pub(crate) btime: Time,
    /// Target of a symbolic link.
    pub(crate) target: Box<[u8]>,
}

impl InodeRecord {
    /// A new inode with one name (directories: two).
    pub(crate) fn new(kind: Kind, mode: u32, uid: u32, gid: u32, now: Time) -> Self {
        Self {
            kind,
            mode: mode & 0o7777,
            nlink: if kind == Kind::Directory { 2 } else { 1 },
            uid,
            gid,
            rdev: 0,
            xattr_count: 0,
            size: 0,
            trim_len: 0,
            hole_count: 0,
            patch_count: 0,
            parent: 0,
            has_capability: false,
            has_access_list: false,
            has_default_list: false,
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            target: Box::default(),
        }
    }

    /// As stat(2) shows it.
    pub(crate) fn attr(&self, ino: Ino) -> Attr {
        let filled = match self.kind {
            Kind::File if self.hole_count == 0 => self.size,
            Kind::File => chunk_count(self.size)
                .saturating_sub(self.hole_count)
                .saturating_mul(CHUNK_LEN as u64),
            _ => 0,
        };
        Attr {
            ino,
            generation: 0,
            kind: self.kind,
            mode: self.mode,
            nlink: self.nlink,
            uid: self.uid,
            gid: self.gid,
            rdev: self.rdev,
            size: self.size,
            blocks: filled.div_ceil(512),
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
            btime: self.btime,
        }
    }

    /// The value of key `I`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(INODE_LEN + self.target.len());
        out.push(VERSION);
        out.push(self.kind as u8);
        out.extend_from_slice(&((self.mode & 0o7777) as u16).to_le_bytes());
        for number in [self.nlink, self.uid, self.gid, self.rdev, self.xattr_count] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [
            self.size,
            self.trim_len,
            self.hole_count,
            self.patch_count,
            self.parent,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let flags = [
            (self.has_capability, FLAG_CAPABILITY),
            (self.has_access_list, FLAG_ACCESS_LIST),
            (self.has_default_list, FLAG_DEFAULT_LIST),
        ];
        let flags = flags.iter().filter(|(is_set, _)| *is_set);
        let flags = flags.fold(0_u32, |sum, (_, flag)| sum | flag);
        out.extend_from_slice(&flags.to_le_bytes());
        for time in [self.atime, self.mtime, self.ctime, self.btime] {
            out.extend_from_slice(&time.secs.to_le_bytes());
            out.extend_from_slice(&time.nanos.to_le_bytes());
        }
        out.extend_from_slice(&self.target);
        out
    }

    /// The record in the value of key `I`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let flags = bytes.get(64..68).and_then(|bytes| bytes.try_into().ok());
        if flags.map_or(0, u32::from_le_bytes) & !FLAGS != 0 {
            return Err(Error::unsupported(
                "an inode has something that this version of coffer does not know",
            ));
        }
        Self::fields(bytes)
            .filter(Self::is_sound)
            .ok_or_else(|| Error::corruption("an inode record makes no sense").part("inode record"))
    }

    fn fields(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.u8()? != VERSION {
            return None;
        }
        let kind = Kind::from_byte(fields.u8()?)?;
        let mode = u32::from(fields.u16()?);
        let [nlink, uid, gid, rdev, xattr_count] = [
            fields.u32()?,
            fields.u32()?,
            fields.u32()?,
            fields.u32()?,
            fields.u32()?,
        ];
        let [size, trim_len, hole_count, patch_count, parent] = [
            fields.u64()?,
            fields.u64()?,
            fields.u64()?,
            fields.u64()?,
            fields.u64()?,
        ];
        let flags = fields.u32()?;
        let [atime, mtime, ctime, btime] = [
            fields.time()?,
            fields.time()?,
            fields.time()?,
            fields.time()?,
        ];
        Some(Self {
            kind,
            mode,
            nlink,
            uid,
            gid,
            rdev,
            xattr_count,
            size,
            trim_len,
            hole_count,
            patch_count,
            parent,
            has_capability: flags & FLAG_CAPABILITY != 0,
            has_access_list: flags & FLAG_ACCESS_LIST != 0,
            has_default_list: flags & FLAG_DEFAULT_LIST != 0,
            atime,
            mtime,
            ctime,
            btime,
            target: fields.0.into(),
        })
    }

    fn is_sound(&self) -> bool {
        let link = self.kind == Kind::Symlink;
        self.mode <= 0o7777
            && self.size <= FILE_LEN_MAX
            && self.trim_len <= FILE_LEN_MAX
            && self.hole_count <= chunk_count(self.size)
            && self.target.len() <= TARGET_LEN_MAX
            && (link || self.target.is_empty())
            && (!link || self.target.len() as u64 == self.size)
            && (self.kind == Kind::Directory) == (self.parent != 0)
            && (self.kind == Kind::Directory || !self.has_default_list)
            && (!link || !self.has_access_list)
    }
}

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameRecord {
    pub(crate) ino: Ino,
    pub(crate) kind: Kind,
}

impl NameRecord {
    /// The value of key `D`.
    pub(crate) fn encode(self) -> [u8; NAME_LEN] {
        let mut out = [0; NAME_LEN];
        out[0] = VERSION;
        out[1] = self.kind as u8;
        out[2..].copy_from_slice(&self.ino.to_le_bytes());
        out
    }

    /// The record in the value of key `D`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields(bytes);
        let found = (|| {
            (fields.u8()? == VERSION).then_some(())?;
            let kind = Kind::from_byte(fields.u8()?)?;
            let ino = fields.u64()?;
            (ino != 0 && fields.0.is_empty()).then_some(Self { ino, kind })
        })();
        found.ok_or_else(|| Error::corruption("a name record makes no sense").part("name record"))
    }
}

/// The value of key `O`.
pub(crate) const ORPHAN: [u8; 1] = [VERSION];

/// Numbers of the whole file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// No inode number from here on was ever given.
    pub(crate) next_ino: Ino,
    /// Seed of the key of the hash of names.
    pub(crate) name_seed: u64,
    /// Inodes, where the last mount ended cleanly.
    pub(crate) inode_count: Option<u64>,
}

impl Superblock {
    /// The value of key `S`.
    pub(crate) fn encode(self) -> [u8; SUPERBLOCK_LEN] {
        let mut out = [0; SUPERBLOCK_LEN];
        out[0] = SUPERBLOCK_VERSION;
        out[1] = if self.inode_count.is_some() {
            FLAG_CLEAN
        } else {
            0
        };
        out[2..6].copy_from_slice(&(CHUNK_LEN as u32).to_le_bytes());
        out[6..14].copy_from_slice(&self.next_ino.to_le_bytes());
        out[14..22].copy_from_slice(&self.name_seed.to_le_bytes());
        out[22..].copy_from_slice(&self.inode_count.unwrap_or(0).to_le_bytes());
        out
    }

    /// The superblock in the value of key `S`; `Unsupported` for another version or chunk length.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields(bytes);
        if fields
            .u8()
            .is_some_and(|version| version != SUPERBLOCK_VERSION)
        {
            return Err(Error::unsupported(
                "the file system was made by another version of coffer; use that one",
            ));
        }
        let found = (|| {
            let flags = fields.u8()?;
            let chunk_len = fields.u32()?;
            let next_ino = fields.u64()?;
            let name_seed = fields.u64()?;
            let inode_count = fields.u64()?;
            let sound = flags & !FLAG_CLEAN == 0 && next_ino > 1 && fields.0.is_empty();
            sound.then_some((flags, chunk_len, next_ino, name_seed, inode_count))
        })();
        let (flags, chunk_len, next_ino, name_seed, inode_count) = found
            .ok_or_else(|| Error::corruption("the superblock makes no sense").part("superblock"))?;
        if chunk_len != CHUNK_LEN as u32 {
            return Err(Error::unsupported(
                "the file system has a chunk length that this version cannot read",
            ));
        }
        Ok(Self {
            next_ino,
            name_seed,
            inode_count: (flags & FLAG_CLEAN != 0).then_some(inode_count),
        })
    }
}

/// Takes fields off the front of hostile bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }
    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
    fn time(&mut self) -> Option<Time> {
        let secs = self.take().map(i64::from_le_bytes)?;
        let nanos = self.u32()?;
        (nanos < 1_000_000_000).then_some(Time { secs, nanos })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> InodeRecord {
        let time = Time {
            secs: -5,
            nanos: 999_999_999,
        };
        InodeRecord {
            nlink: 3,
            rdev: 77,
            xattr_count: 2,
            size: 300_000,
            trim_len: 1 << 40,
            hole_count: 2,
            patch_count: 9,
            has_capability: true,
            has_access_list: true,
            ..InodeRecord::new(Kind::File, 0o4755, 1000, u32::MAX, time)
        }
    }

    #[test]
    fn records_come_back() {
        let file = sample();
        assert_eq!(InodeRecord::decode(&file.encode()).unwrap(), file);
        let mut link = InodeRecord::new(Kind::Symlink, 0o777, 0, 0, Time::default());
        link.target = b"../x".to_vec().into();
        link.size = 4;
        assert_eq!(InodeRecord::decode(&link.encode()).unwrap(), link);
        let name = NameRecord {
            ino: u64::MAX,
            kind: Kind::Socket,
        };
        assert_eq!(NameRecord::decode(&name.encode()).unwrap(), name);
        for inode_count in [None, Some(5)] {
            let superblock = Superblock {
                next_ino: 99,
                name_seed: u64::MAX,
                inode_count,
            };
            assert_eq!(
                Superblock::decode(&superblock.encode()).unwrap(),
                superblock
            );
        }
    }

    #[test]
    fn bytes_lie_where_the_picture_says() {
        let bytes = sample().encode();
        assert_eq!(bytes.len(), INODE_LEN);
        assert_eq!(
            bytes[..4],
            [1, 8, 0o4755_u16 as u8, (0o4755_u16 >> 8) as u8]
        );
        assert_eq!(bytes[24..32], 300_000_u64.to_le_bytes());
        assert_eq!(bytes[40..48], 2_u64.to_le_bytes());
        assert_eq!(bytes[64..68], 3_u32.to_le_bytes());
        assert_eq!(bytes[68..76], (-5_i64).to_le_bytes());
    }

    #[test]
    fn blocks_are_counted_without_holes() {
        let mut file = sample();
        assert_eq!(file.attr(5).blocks, 256);
        file.hole_count = 3;
        assert_eq!(file.attr(5).blocks, 0);
        file.hole_count = 0;
        assert_eq!(file.attr(5).blocks, 586);
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_or_sound(
            noise in proptest::collection::vec(any::<u8>(), 0..200),
            at in 0..INODE_LEN,
            value: u8,
        ) {
            let mut bytes = sample().encode();
            bytes[at] = value;
            for bytes in [&noise, &bytes] {
                if let Ok(record) = InodeRecord::decode(bytes) {
                    prop_assert_eq!(&record.encode(), bytes);
                }
                if let Ok(record) = NameRecord::decode(bytes) {
                    prop_assert_eq!(&record.encode()[..], &bytes[..]);
                }
                let _ = Superblock::decode(bytes);
            }
        }
    }
}

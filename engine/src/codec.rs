//! Numbers and byte strings on disk: little-endian, LEB128 varints, a reader for hostile bytes.
//!
//! - A [`Reader`] never panics and never allocates: what does not fit is `Corruption`.
//! - Every value has exactly one encoding: overlong varints are refused.

use alloc::vec::Vec;

use crate::error::{Error, Result};

/// Longest varint of a `u64`.
pub const VARINT_LEN_MAX: usize = 10;

/// Appends `value`, 2 bytes.
pub fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends `value`, 4 bytes.
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends `value`, 8 bytes.
pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends `value` in groups of 7 bits, lowest first, 1 to 10 bytes.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the length of `bytes` as a varint, then `bytes`.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// How many bytes [`put_varint`] appends for `value`.
#[must_use]
pub const fn varint_len(value: u64) -> usize {
    let bits = (64 - value.leading_zeros()) as usize;
    if bits == 0 { 1 } else { bits.div_ceil(7) }
}

/// Takes values off the front of bytes that nobody has vouched for.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their start.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been taken yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Has everything been taken?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes `len` bytes.
    ///
    /// # Errors
    /// `Corruption` where fewer are left.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or_else(short)?;
        self.rest = rest;
        Ok(head)
    }

    /// Takes `N` bytes.
    ///
    /// # Errors
    /// `Corruption` where fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk().ok_or_else(short)?;
        self.rest = rest;
        Ok(*head)
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// `Corruption` at the end.
    #[inline]
    pub fn u8(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    /// Takes 2 bytes.
    ///
    /// # Errors
    /// `Corruption` where fewer are left.
    #[inline]
    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes 4 bytes.
    ///
    /// # Errors
    /// `Corruption` where fewer are left.
    #[inline]
    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes 8 bytes.
    ///
    /// # Errors
    /// `Corruption` where fewer are left.
    #[inline]
    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes a varint.
    ///
    /// # Errors
    /// `Corruption` where it ends too early, does not fit 64 bits, or is longer than it needs.
    #[inline]
    pub fn varint(&mut self) -> Result<u64> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            [first, second, rest @ ..] if matches!(second, 1..0x80) => {
                self.rest = rest;
                Ok(u64::from(first & 0x7f) | u64::from(*second) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for index in 0..VARINT_LEN_MAX {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * index as u32;
            value |= bits << shift;
            if byte < 0x80 {
                let fits = value >> shift == bits;
                let shortest = index == 0 || byte != 0;
                if fits && shortest {
                    return Ok(value);
                }
                break;
            }
        }
        Err(Error::corruption("a number is not encoded as it must be"))
    }

    /// Takes a varint that fits 32 bits.
    ///
    /// # Errors
    /// Those of [`Reader::varint`], and `Corruption` where it is larger.
    #[inline]
    pub fn varint_u32(&mut self) -> Result<u32> {
        u32::try_from(self.varint()?).map_err(|_| Error::corruption("a number is too large"))
    }

    /// Takes a varint length and as many bytes.
    ///
    /// # Errors
    /// `Corruption` where fewer are left.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = usize::try_from(self.varint()?).map_err(|_| short())?;
        self.take(len)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// `Corruption` where bytes are left.
    pub fn finish(self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::corruption("more bytes than expected"))
        }
    }
}

#[cold]
fn short() -> Error {
    Error::corruption("bytes end too early")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn varints_round_trip_at_every_length() {
        for bits in 0..64 {
            for value in [1u64 << bits, (1 << bits) - 1, (1 << bits) + 1, u64::MAX] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                assert_eq!(out.len(), varint_len(value));
                let mut reader = Reader::new(&out);
                assert_eq!(reader.varint().unwrap(), value);
                reader.finish().unwrap();
                for cut in 0..out.len() {
                    assert!(Reader::new(&out[..cut]).varint().is_err());
                }
            }
        }
    }

    #[test]
    fn overlong_and_overflowing_varints_are_refused() {
        assert!(Reader::new(&[0x80, 0]).varint().is_err());
        assert!(Reader::new(&[0xff, 0x80, 0]).varint().is_err());
        assert!(Reader::new(&[0xff; 11]).varint().is_err());
        let mut too_large = vec![0xff; 9];
        too_large.push(2);
        assert!(Reader::new(&too_large).varint().is_err());
        too_large[9] = 1;
        assert_eq!(Reader::new(&too_large).varint().unwrap(), u64::MAX);
    }

    #[test]
    fn hostile_lengths_are_errors() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        out.extend_from_slice(b"short");
        assert!(Reader::new(&out).bytes().is_err());
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.varint() {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                prop_assert_eq!(&out[..], &bytes[..bytes.len() - reader.rest().len()]);
            }
        }
    }
}

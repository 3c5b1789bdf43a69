//! Parity beside a block: computed from its bytes, used to compute damaged ones again.
//!
//! - Parity lies over ciphertext and needs no key. It proves nothing: whoever repairs a block must
//!   check its checksum, and its tag where a key is at hand, before believing it.
//! - Shards carry checksums, so damaged ones are located: one decode, never a search.
//! - Parity may be damaged as well as data.
//!
//! Parity bytes: SEC-DED one check byte per 8 bytes; XOR and Reed-Solomon
//! `parity shards || u32 checksum of each data shard, then of each parity shard`.

mod secded;
mod shards;

use reed_solomon_erasure::galois_8::ReedSolomon;

use crate::options::Ecc;

/// What a repair did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// No damage was found.
    Whole,
    /// Data bytes were changed; only a checksum can tell whether to their right values.
    Changed,
    /// There is more damage than the parity can heal.
    Lost,
}

impl Ecc {
    /// Bytes of parity for `data_len` bytes of data.
    #[must_use]
    pub const fn parity_len(self, data_len: usize) -> usize {
        match self {
            Self::None => 0,
            Self::SecDed => data_len.div_ceil(8),
            Self::Xor { data } => {
                let shard_len = data_len.div_ceil(data as usize);
                shard_len + shards::CHECKSUM_LEN * (data as usize + 1)
            }
            Self::ReedSolomon { data, parity } => {
                let shard_len = data_len.div_ceil(data as usize);
                let count = data as usize + parity as usize;
                parity as usize * shard_len + shards::CHECKSUM_LEN * count
            }
        }
    }

    /// Bytes of data where data and parity together are `total_len`; `None` where no data fits.
    #[must_use]
    pub const fn data_len(self, total_len: usize) -> Option<usize> {
        let (mut low, mut high) = (0, total_len);
        while low < high {
            let middle = low + (high - low) / 2;
            if middle + self.parity_len(middle) < total_len {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low + self.parity_len(low) == total_len {
            Some(low)
        } else {
            None
        }
    }
}

/// Computes and uses the parity of one [`Ecc`] choice.
#[derive(Debug)]
pub struct Protector {
    ecc: Ecc,
    reed_solomon: Option<ReedSolomon>,
}

impl Protector {
    /// For `ecc`, whose shard counts must be within bounds.
    #[must_use]
    pub fn new(ecc: Ecc) -> Self {
        let reed_solomon = match ecc {
            Ecc::ReedSolomon { data, parity } => {
                let codec = ReedSolomon::new(usize::from(data), usize::from(parity));
                Some(codec.expect("shard counts are within bounds"))
            }
            _ => None,
        };
        Self { ecc, reed_solomon }
    }

    /// The choice.
    #[must_use]
    pub const fn ecc(&self) -> Ecc {
        self.ecc
    }

    /// Fills `parity`, [`Ecc::parity_len`] bytes, from `data`.
    pub fn protect(&self, data: &[u8], parity: &mut [u8]) {
        debug_assert_eq!(parity.len(), self.ecc.parity_len(data.len()));
        match (self.ecc, &self.reed_solomon) {
            (Ecc::SecDed, _) => secded::protect(data, parity),
            (Ecc::Xor { data: count }, _) => shards::protect_xor(count.into(), data, parity),
            (_, Some(codec)) => shards::protect_reed_solomon(codec, data, parity),
            _ => {}
        }
    }

    /// Repairs `data` by `parity`, which has [`Ecc::parity_len`] bytes.
    pub fn repair(&self, data: &mut [u8], parity: &[u8]) -> Repair {
        if parity.len() != self.ecc.parity_len(data.len()) {
            return Repair::Lost;
        }
        if data.is_empty() {
            return Repair::Whole;
        }
        match (self.ecc, &self.reed_solomon) {
            (Ecc::SecDed, _) => secded::repair(data, parity),
            (Ecc::Xor { data: count }, _) => shards::repair_xor(count.into(), data, parity),
            (_, Some(codec)) => shards::repair_reed_solomon(codec, data, parity),
            _ => Repair::Whole,
        }
    }
}

#[cfg(test)]
mod tests;

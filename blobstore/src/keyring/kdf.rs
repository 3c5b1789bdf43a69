//! From a credential to key material: Argon2id with bounded cost.
//!
//! - Cost read from disk is bounded on both sides *before* anything is allocated or computed: a
//!   weakened slot is refused, and so is one that would eat the machine.
//! - Passphrases and key files take the same path; their kind enters the slot's key afterwards.
//! - The memory of the function and its output are wiped.
//! - Its lanes are computed on threads that end with it.

use alloc::vec::Vec;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use coffer_engine::{Error, Result};
use rayon::iter::{
    IndexedParallelIterator, IntoParallelIterator, IntoParallelRefMutIterator, ParallelIterator,
};
use rayon::{ThreadPool, ThreadPoolBuilder};
use zeroize::{Zeroize, Zeroizing};

use crate::credentials::Credential;

/// Cost of Argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes; as many are computed at a time as there are cores.
    pub lanes: u32,
}

impl KdfCost {
    /// Least memory accepted: 8 MiB.
    pub const MEMORY_KIB_MIN: u32 = 8 << 10;
    /// Most memory accepted: 4 GiB.
    pub const MEMORY_KIB_MAX: u32 = 4 << 20;
    /// Most passes and most lanes accepted.
    pub const ROUNDS_MAX: u32 = 16;

    /// The least cost that is accepted at all; for tests, and key files that are random.
    pub const FLOOR: Self = Self {
        memory_kib: Self::MEMORY_KIB_MIN,
        passes: 1,
        lanes: 1,
    };

    /// Memory times passes, which the time of a run follows; lanes share the memory.
    pub(super) fn work(&self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    /// Is the cost within its bounds?
    ///
    /// # Errors
    /// `Invalid` naming the bounds.
    pub fn validate(&self) -> Result<()> {
        let rounds = 1..=Self::ROUNDS_MAX;
        if (Self::MEMORY_KIB_MIN..=Self::MEMORY_KIB_MAX).contains(&self.memory_kib)
            && rounds.contains(&self.passes)
            && rounds.contains(&self.lanes)
        {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "key derivation cost out of bounds: {} KiB, {} passes, {} lanes; allowed are {} to {} \
             KiB, 1 to {rounds_max} passes, 1 to {rounds_max} lanes",
            self.memory_kib,
            self.passes,
            self.lanes,
            Self::MEMORY_KIB_MIN,
            Self::MEMORY_KIB_MAX,
            rounds_max = Self::ROUNDS_MAX,
        )))
    }
}

impl Default for KdfCost {
    /// About one second.
    fn default() -> Self {
        Self {
            memory_kib: 256 << 10,
            passes: 3,
            lanes: 4,
        }
    }
}

/// Memory of one run, wiped at its end, and the threads that compute its lanes: they also share the
/// work of touching all of it first and of wiping it last.
struct Arena {
    blocks: Vec<Block>,
    threads: ThreadPool,
}

impl Arena {
    fn new(block_count: usize, lanes: u32) -> Result<Self> {
        let mut blocks = Vec::new();
        blocks
            .try_reserve_exact(block_count)
            .map_err(|_| Error::invalid("not enough memory for the key derivation of this slot"))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = ThreadPoolBuilder::new()
            .num_threads(cores.min(lanes as usize))
            .thread_name(|number| format!("lane-{number}"))
            .build()
            .map_err(|fault| Error::invalid(format!("no threads to derive the key: {fault}")))?;
        threads.install(|| {
            let fill = (0..block_count).into_par_iter().map(|_| Block::new());
            fill.collect_into_vec(&mut blocks);
        });
        Ok(Self { blocks, threads })
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let blocks = &mut self.blocks;
        self.threads
            .install(|| blocks.par_iter_mut().for_each(Zeroize::zeroize));
    }
}

/// What [`stretch`] does, so that tests can count what opening a keyring costs.
pub(super) type Stretch<'a> =
    dyn FnMut(&Credential, &[u8; 32], KdfCost) -> Result<Zeroizing<[u8; 32]>> + 'a;

/// Stretches `credential` with `salt`.
///
/// # Errors
/// `Invalid` where `cost` is out of bounds or the memory cannot be had.
pub(super) fn stretch(
    credential: &Credential,
    salt: &[u8; 32],
    cost: KdfCost,
) -> Result<Zeroizing<[u8; 32]>> {
    cost.validate()?;
    let fault = |fault: argon2::Error| Error::invalid(format!("key derivation: {fault}"));
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(fault)?;
    let mut arena = Arena::new(params.block_count(), cost.lanes)?;
    let mut out = Zeroizing::new([0; 32]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let Arena { blocks, threads } = &mut arena;
    let derived = threads.install(|| {
        let (secret, memory) = (credential.secret(), blocks.as_mut_slice());
        argon2.hash_password_into_with_memory(secret, salt, out.as_mut_slice(), memory)
    });
    derived.map_err(fault)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_bounded_on_both_sides() {
        let floor = KdfCost::FLOOR;
        assert!(floor.validate().is_ok());
        assert!(KdfCost::default().validate().is_ok());
        for cost in [
            KdfCost {
                memory_kib: floor.memory_kib - 1,
                ..floor
            },
            KdfCost {
                memory_kib: KdfCost::MEMORY_KIB_MAX + 1,
                ..floor
            },
            KdfCost { passes: 0, ..floor },
            KdfCost {
                passes: 17,
                ..floor
            },
            KdfCost { lanes: 0, ..floor },
            KdfCost { lanes: 17, ..floor },
        ] {
            assert!(cost.validate().is_err(), "{cost:?}");
            let credential = Credential::passphrase(b"x");
            assert!(stretch(&credential, &[0; 32], cost).is_err());
        }
    }

    #[test]
    fn secret_salt_and_cost_all_matter() {
        let run = |secret: &[u8], salt: u8, passes: u32| {
            let cost = KdfCost {
                passes,
                ..KdfCost::FLOOR
            };
            *stretch(&Credential::passphrase(secret), &[salt; 32], cost).unwrap()
        };
        let first = run(b"a", 1, 1);
        assert_eq!(first, run(b"a", 1, 1));
        assert_ne!(first, run(b"b", 1, 1));
        assert_ne!(first, run(b"a", 2, 1));
        assert_ne!(first, run(b"a", 1, 2));
    }
}

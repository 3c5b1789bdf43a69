//! All single and double flips of a word, all shards, damaged parity, hostile lengths.

use super::*;
use alloc::vec;
use alloc::vec::Vec;

const CHOICES: [Ecc; 8] = [
    Ecc::None,
    Ecc::SecDed,
    Ecc::Xor { data: 1 },
    Ecc::Xor { data: 5 },
    Ecc::DEFAULT_STORE,
    Ecc::METADATA,
    Ecc::ReedSolomon { data: 1, parity: 1 },
    Ecc::ReedSolomon { data: 8, parity: 3 },
];

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn parity_of(protector: &Protector, data: &[u8]) -> Vec<u8> {
    let mut parity = vec![0xee; protector.ecc().parity_len(data.len())];
    protector.protect(data, &mut parity);
    parity
}

#[test]
fn lengths_are_inverse() {
    for ecc in CHOICES {
        for data_len in 0..3000 {
            let total = data_len + ecc.parity_len(data_len);
            assert_eq!(ecc.data_len(total), Some(data_len), "{ecc:?}");
        }
    }
    assert_eq!(Ecc::DEFAULT_STORE.data_len(3), None);
}

/// Every length that parity alone may have, each byte of it wrong once: an attacker appends what
/// he likes.
#[test]
fn parity_of_no_data_heals_nothing_and_harms_nothing() {
    for ecc in CHOICES {
        let protector = Protector::new(ecc);
        for total_len in 0..100 {
            let Some(data_len) = ecc.data_len(total_len) else {
                continue;
            };
            let data = noise(data_len);
            let parity = parity_of(&protector, &data);
            for at in 0..parity.len() {
                let (mut copy, mut damaged) = (data.clone(), parity.clone());
                damaged[at] ^= 1;
                let repair = protector.repair(&mut copy, &damaged);
                assert!(data_len > 0 || repair == Repair::Whole, "{ecc:?}");
            }
        }
    }
}

#[test]
fn whole_data_stays_as_it_is() {
    for ecc in CHOICES {
        let protector = Protector::new(ecc);
        for len in [0, 1, 7, 8, 9, 63, 80, 81, 100, 1000, 1024] {
            let data = noise(len);
            let parity = parity_of(&protector, &data);
            let mut copy = data.clone();
            assert_eq!(
                protector.repair(&mut copy, &parity),
                Repair::Whole,
                "{ecc:?} {len}"
            );
            assert_eq!(copy, data);
        }
    }
}

#[test]
fn parity_of_a_wrong_length_heals_nothing() {
    for ecc in CHOICES {
        let protector = Protector::new(ecc);
        let mut data = noise(100);
        for wrong in [0, 1, 500] {
            if wrong != ecc.parity_len(100) {
                assert_eq!(protector.repair(&mut data, &vec![0; wrong]), Repair::Lost);
            }
        }
    }
}

#[test]
fn secded_heals_every_single_flip_and_detects_every_double_flip() {
    let protector = Protector::new(Ecc::SecDed);
    for len in [8, 5] {
        let data = noise(len);
        let parity = parity_of(&protector, &data);
        let whole = [&data[..], &parity].concat();
        let bits = whole.len() * 8;
        for first in 0..bits {
            let mut one = whole.clone();
            one[first / 8] ^= 1 << (first % 8);
            let (healed, check) = one.split_at_mut(len);
            let repair = protector.repair(healed, check);
            assert_eq!(repair == Repair::Changed, first / 8 < len);
            assert_eq!(healed, data, "bit {first}");
            for second in first + 1..bits {
                let mut two = whole.clone();
                two[first / 8] ^= 1 << (first % 8);
                two[second / 8] ^= 1 << (second % 8);
                let (damaged, check) = two.split_at_mut(len);
                assert_eq!(
                    protector.repair(damaged, check),
                    Repair::Lost,
                    "{first} {second}"
                );
            }
        }
    }
}

#[test]
fn secded_heals_one_flip_in_each_word() {
    let protector = Protector::new(Ecc::SecDed);
    let data = noise(1003);
    let parity = parity_of(&protector, &data);
    let mut damaged = data.clone();
    for (index, word) in damaged.chunks_mut(8).enumerate() {
        let bit = index * 7 % (word.len() * 8);
        word[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(protector.repair(&mut damaged, &parity), Repair::Changed);
    assert_eq!(damaged, data);
}

/// Destroys shards (data first, then parity) and repairs.
fn destroy(protector: &Protector, len: usize, counts: (usize, usize), shards: &[usize]) -> bool {
    let data = noise(len);
    let mut parity = parity_of(protector, &data);
    let mut damaged = data.clone();
    let shard_len = len.div_ceil(counts.0);
    for shard in shards {
        let (bytes, index) = if *shard < counts.0 {
            (&mut damaged[..], *shard)
        } else {
            (&mut parity[..], *shard - counts.0)
        };
        let start = (index * shard_len).min(bytes.len());
        let end = (start + shard_len).min(bytes.len());
        bytes[start..end].iter_mut().for_each(|byte| *byte = !*byte);
    }
    let repair = protector.repair(&mut damaged, &parity);
    assert_eq!(repair == Repair::Lost, damaged != data, "{len} {shards:?}");
    damaged == data
}

#[test]
fn xor_heals_any_one_shard() {
    for count in [1, 2, 5, 16] {
        let protector = Protector::new(Ecc::Xor { data: count as u8 });
        for len in [80, 81, 100, 1000] {
            for shard in 0..=count {
                assert!(destroy(&protector, len, (count, 1), &[shard]));
                for second in shard + 1..count {
                    let gone = len.div_ceil(count) * second >= len;
                    let healed = destroy(&protector, len, (count, 1), &[shard, second]);
                    assert_eq!(healed, gone, "{count} {len} {shard} {second}");
                }
            }
        }
    }
}

#[test]
fn reed_solomon_heals_any_shards_up_to_its_parity() {
    for (data, parity) in [(1, 1), (4, 2), (6, 3)] {
        let ecc = Ecc::ReedSolomon {
            data: data as u8,
            parity: parity as u8,
        };
        let protector = Protector::new(ecc);
        let all = data + parity;
        for set in 0u32..1 << all {
            let shards: Vec<usize> = (0..all).filter(|shard| set >> shard & 1 == 1).collect();
            // 97 bytes leave the last shard shorter, 96 do not.
            for len in [96, 97] {
                let data_hit = shards.iter().any(|shard| *shard < data);
                let healed = destroy(&protector, len, (data, parity), &shards);
                assert_eq!(
                    healed,
                    shards.len() <= parity || !data_hit,
                    "{ecc:?} {shards:?}"
                );
            }
        }
    }
}

#[test]
fn damaged_checksums_do_not_harm_whole_shards() {
    for ecc in [Ecc::DEFAULT_STORE, Ecc::METADATA] {
        let protector = Protector::new(ecc);
        let data = noise(500);
        let parity = parity_of(&protector, &data);
        for at in 0..parity.len() {
            let mut hurt = parity.clone();
            hurt[at] ^= 0x10;
            let mut copy = data.clone();
            assert_ne!(
                protector.repair(&mut copy, &hurt),
                Repair::Lost,
                "{ecc:?} {at}"
            );
            assert_eq!(copy, data);
        }
    }
}

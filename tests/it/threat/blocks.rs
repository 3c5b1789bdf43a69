//! Attacks on single blocks: flips, swaps, transplants, replays, edits, forged parity.

use super::{Verdict, Victim};
use crate::axes::ECCS;
use coffer_engine::Ecc;
use coffer_tests::image::{BlockView, Image};
use coffer_tests::random::Rng;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

fn sum(verdicts: &[Verdict]) -> (usize, usize) {
    let noticed = verdicts.iter().filter(|verdict| verdict.noticed()).count();
    (noticed, verdicts.len() - noticed)
}

#[test]
fn flipped_bits_heal_or_are_named() {
    for ecc in ECCS {
        let victim = Victim::new(2, ecc);
        let mut rng = Rng::new(7);
        let mut verdicts = Vec::new();
        for name in victim.image.0.keys() {
            for _ in 0..8 {
                let bit = rng.below(victim.image.0[name].len() * 8);
                let what = format!("{ecc:?}: bit {bit} of {name} flipped");
                verdicts.push(victim.attack(&what, |image| {
                    image.0.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
                }));
            }
        }
        let (noticed, healed) = sum(&verdicts);
        if ecc == Ecc::None {
            assert!(
                noticed > healed / 4,
                "{noticed} noticed, {healed} without effect"
            );
        } else {
            assert_eq!(noticed, 0, "{ecc:?} did not heal single bits");
        }
    }
}

#[test]
fn burnt_regions_are_named() {
    for ecc in ECCS {
        let victim = Victim::new(3, ecc);
        let mut rng = Rng::new(8);
        for name in victim.image.0.keys() {
            let len = victim.image.0[name].len();
            for burn in [64, 700, 5_000] {
                let at = rng.below(len);
                victim.attack(
                    &format!("{ecc:?}: {burn} bytes of {name} at {at}"),
                    |image| {
                        let file = image.0.get_mut(name).unwrap();
                        let end = (at + burn).min(len);
                        rng.fill(&mut file[at..end]);
                    },
                );
            }
        }
    }
}

#[test]
fn zeroed_blocks_are_refused() {
    let victim = Victim::new(4, Ecc::None);
    let mut noticed = 0;
    let blocks = victim.image.blocks();
    for block in blocks.iter().step_by(2) {
        let verdict = victim.attack(&format!("zeroes over {block:?}"), |image| {
            image.0.get_mut(&block.file).unwrap()[block.range.clone()].fill(0);
        });
        noticed += usize::from(verdict.noticed());
    }
    assert!(
        noticed > blocks.len() / 4,
        "only {noticed} of {} noticed",
        blocks.len() / 2
    );
}

/// Pairs of blocks worth swapping: neighbours, same kinds in other files, every pair of kinds.
fn pairs(blocks: &[BlockView], rng: &mut Rng) -> Vec<(BlockView, BlockView)> {
    let mut out = Vec::new();
    let mut kinds: BTreeMap<u8, Vec<&BlockView>> = BTreeMap::new();
    for block in blocks {
        kinds.entry(block.kind).or_default().push(block);
    }
    for a in kinds.values() {
        for b in kinds.values() {
            for _ in 0..3 {
                let (a, b) = (*rng.pick(a), *rng.pick(b));
                if a != b {
                    out.push((a.clone(), b.clone()));
                }
            }
        }
    }
    for _ in 0..40 {
        let at = rng.below(blocks.len() - 1);
        if blocks[at].file == blocks[at + 1].file {
            out.push((blocks[at].clone(), blocks[at + 1].clone()));
        }
    }
    out
}

fn swap(image: &mut Image, a: &BlockView, b: &BlockView) {
    let (a_bytes, b_bytes) = (image.bytes(a).to_vec(), image.bytes(b).to_vec());
    // The one further behind first, so that the other place stays true.
    let mut places = [(a, b_bytes), (b, a_bytes)];
    places.sort_by_key(|(block, _)| std::cmp::Reverse(block.range.start));
    for (block, bytes) in places {
        image.put(block, &bytes);
    }
}

#[test]
fn swapped_blocks_are_refused() {
    let victim = Victim::new(5, Ecc::None);
    let mut rng = Rng::new(9);
    let pairs = pairs(&victim.image.blocks(), &mut rng);
    let verdicts: Vec<Verdict> = pairs
        .iter()
        .map(|(a, b)| {
            victim.attack(&format!("swapped {a:?} and {b:?}"), |image| {
                swap(image, a, b)
            })
        })
        .collect();
    let (noticed, _) = sum(&verdicts);
    assert!(
        noticed > pairs.len() / 2,
        "only {noticed} of {} noticed",
        pairs.len()
    );
}

#[test]
fn blocks_of_another_store_are_refused() {
    let victim = Victim::new(5, Ecc::None);
    // The same calls with the same passphrase: only what is random differs.
    let other = Victim::new(5, Ecc::None).image;
    assert_ne!(victim.image, other);
    let mut noticed = 0;
    let blocks = victim.image.blocks();
    let theirs = other.blocks();
    for block in blocks.iter().step_by(3) {
        let twin = theirs
            .iter()
            .find(|twin| twin.file == block.file && twin.ordinal == block.ordinal);
        let Some(twin) = twin else { continue };
        let verdict = victim.attack(&format!("{block:?} from another store"), |image| {
            image.put(block, other.bytes(twin));
        });
        noticed += usize::from(verdict.noticed());
    }
    assert!(noticed > blocks.len() / 8, "only {noticed} noticed");
    for name in victim.image.0.keys() {
        let Some(file) = other.0.get(name) else {
            continue;
        };
        let verdict = victim.attack(&format!("{name} of another store"), |image| {
            image.0.insert(name.clone(), file.clone());
        });
        // A spare copy, or a file whose values are all dead, need not be met.
        let is_spare = name.starts_with("KEYRING") || name.ends_with(".blob");
        assert!(
            verdict.noticed() || is_spare,
            "{name} of another store was taken"
        );
    }
}

#[test]
fn old_blocks_at_their_own_place_are_refused() {
    let victim = Victim::new(6, Ecc::None);
    let old_blocks = victim.old_image.blocks();
    let mut tried = 0;
    for block in victim.image.blocks() {
        for old in &old_blocks {
            let same_place = old.kind == block.kind
                && old.ordinal == block.ordinal
                && old.range.start == block.range.start;
            if !same_place || victim.old_image.bytes(old) == victim.image.bytes(&block) {
                continue;
            }
            tried += 1;
            if tried % 3 == 0 {
                victim.attack(&format!("old {old:?} at {block:?}"), |image| {
                    image.put(&block, victim.old_image.bytes(old));
                });
            }
        }
    }
    assert!(tried > 10, "only {tried} blocks had an older twin");
}

/// Changes bytes of a frame and makes its checksum right again, as anybody can.
fn edit_frame(image: &mut Image, block: &BlockView, change: impl FnOnce(&mut [u8])) {
    let file = image.0.get_mut(&block.file).unwrap();
    let frame = &mut file[block.range.start..block.range.start + 64];
    change(frame);
    let sum = xxh3_64(&frame[..56]);
    frame[56..].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn edited_frames_are_refused() {
    let victim = Victim::new(7, Ecc::None);
    let mut rng = Rng::new(10);
    let blocks = victim.image.blocks();
    let mut noticed = 0;
    let count = 150;
    for _ in 0..count {
        let block = rng.pick(&blocks);
        let at = 4 + rng.below(52);
        let value = *rng.pick(&[0_u8, 1, 2, 0x7f, 0x80, 0xff]);
        let what = format!("byte {at} of the frame set to {value}, checksum made right: {block:?}");
        let verdict = victim.attack(&what, |image| {
            edit_frame(image, block, |frame| frame[at] ^= value)
        });
        noticed += usize::from(value != 0 && verdict.noticed());
    }
    assert!(noticed > count / 3, "only {noticed} of {count} noticed");
    // Lengths that would exhaust memory if anybody believed them.
    for field in [16, 20] {
        for block in blocks.iter().step_by(5) {
            victim.attack(
                &format!("length {field} set to the largest: {block:?}"),
                |image| {
                    edit_frame(image, block, |frame| frame[field..field + 4].fill(0xff));
                },
            );
        }
    }
}

/// Changes the body, then makes checksum and XOR parity agree with it, as anybody can. With `burnt`
/// the changed shard itself is garbage, so that a repair would bring the forged bytes.
fn forge(block: &mut [u8], body_len: usize, is_burnt: bool) -> bool {
    const SHARDS: usize = 16;
    let checksum_at = 64 + body_len;
    let covered_len = checksum_at + 16;
    let shard_len = covered_len.div_ceil(SHARDS);
    if block.len() < covered_len + shard_len + 4 * (SHARDS + 1) {
        return false;
    }
    let low = |bytes: &[u8]| xxh3_128(bytes) as u64;
    let stored = u64::from_le_bytes(block[checksum_at..checksum_at + 8].try_into().unwrap());
    let mix = stored ^ low(&block[..checksum_at]);
    let target = 64 + body_len / 2;
    block[target] ^= 0x55;
    let sum = xxh3_128(&block[..checksum_at]);
    let (low, high) = (sum as u64 ^ mix, (sum >> 64) as u64);
    block[checksum_at..checksum_at + 8].copy_from_slice(&low.to_le_bytes());
    block[checksum_at + 8..covered_len].copy_from_slice(&high.to_le_bytes());
    let (data, parity) = block.split_at_mut(covered_len);
    let (xor, sums) = parity.split_at_mut(shard_len);
    xor.fill(0);
    let shards: Vec<&[u8]> = (0..SHARDS)
        .map(|index| {
            let end = ((index + 1) * shard_len).min(covered_len);
            &data[(index * shard_len).min(end)..end]
        })
        .collect();
    for shard in &shards {
        xor.iter_mut()
            .zip(*shard)
            .for_each(|(sum, byte)| *sum ^= byte);
    }
    for (index, shard) in shards.iter().chain([&&*xor]).enumerate() {
        let sum = xxh3_64_with_seed(shard, index as u64) as u32;
        sums[4 * index..4 * index + 4].copy_from_slice(&sum.to_le_bytes());
    }
    if is_burnt {
        let start = target / shard_len * shard_len;
        data[start.max(64)..(start + shard_len).min(checksum_at)].fill(0xee);
    }
    true
}

#[test]
fn forged_parity_is_refused() {
    let victim = Victim::new(8, Ecc::Xor { data: 16 });
    let (mut tried, mut noticed) = (0, 0);
    let endings = [".table", ".blob", ".wal"];
    for (index, block) in victim.image.blocks().iter().enumerate() {
        if block.body_len < 200 || !endings.iter().any(|ending| block.file.ends_with(ending)) {
            continue;
        }
        let mut forged = victim.image.bytes(block).to_vec();
        assert!(
            forge(&mut forged, block.body_len, index % 2 == 0),
            "{block:?}"
        );
        tried += 1;
        let verdict = victim.attack(&format!("forged {block:?}"), |image| {
            image.put(block, &forged)
        });
        noticed += usize::from(verdict.noticed());
    }
    assert!(
        tried > 10 && noticed > tried / 2,
        "{noticed} of {tried} noticed"
    );
}

//! XOR and Reed-Solomon parity over shards, each with a checksum that tells whether it is damaged.
//!
//! - Data is cut into shards of equal length; the last ones may be shorter or empty and count as
//!   filled up with zeros.
//! - The checksums stand behind the parity shards: a burst at the end of the data reaches them last.

use alloc::vec;
use alloc::vec::Vec;

use reed_solomon_erasure::galois_8::ReedSolomon;

use crate::checksum::xxh3_64_seeded;
use crate::ecc::Repair;

pub(super) const CHECKSUM_LEN: usize = 4;

/// Checksum of the shard at `index`: two exchanged shards are two damaged ones.
fn checksum(index: usize, shard: &[u8]) -> [u8; CHECKSUM_LEN] {
    (xxh3_64_seeded(shard, index as u64) as u32).to_le_bytes()
}

/// The data shard at `index`, without the zeros that are not there.
fn shard(data: &[u8], index: usize, shard_len: usize) -> &[u8] {
    let start = (index * shard_len).min(data.len());
    let end = (start + shard_len).min(data.len());
    &data[start..end]
}

fn shard_mut(data: &mut [u8], index: usize, shard_len: usize) -> &mut [u8] {
    let start = (index * shard_len).min(data.len());
    let end = (start + shard_len).min(data.len());
    &mut data[start..end]
}

fn xor_into(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to ^= from;
    }
}

fn write_checksums(count: usize, shard_len: usize, data: &[u8], shards: &[u8], out: &mut [u8]) {
    let data_shards = (0..count).map(|index| shard(data, index, shard_len));
    let all = data_shards.chain(shards.chunks(shard_len.max(1)));
    for ((index, shard), out) in all.enumerate().zip(out.chunks_mut(CHECKSUM_LEN)) {
        out.copy_from_slice(&checksum(index, shard));
    }
}

/// Which shards, data then parity, do not match their checksum?
fn damaged(count: usize, shard_len: usize, data: &[u8], parity: &[u8]) -> Vec<usize> {
    let shards_len = parity.len() - CHECKSUM_LEN * parity_shard_count(count, shard_len, parity);
    let (shards, checksums) = parity.split_at(shards_len);
    let data_shards = (0..count).map(|index| shard(data, index, shard_len));
    data_shards
        .chain(shards.chunks(shard_len.max(1)))
        .zip(checksums.chunks(CHECKSUM_LEN))
        .enumerate()
        .filter(|(index, (shard, expected))| checksum(*index, shard) != **expected)
        .map(|(index, _)| index)
        .collect()
}

/// Shards of data and parity together, from the length of the parity.
const fn parity_shard_count(count: usize, shard_len: usize, parity: &[u8]) -> usize {
    count + (parity.len() - CHECKSUM_LEN * count) / (shard_len + CHECKSUM_LEN)
}

pub(super) fn protect_xor(count: usize, data: &[u8], parity: &mut [u8]) {
    let shard_len = data.len().div_ceil(count);
    let (sum, checksums) = parity.split_at_mut(shard_len);
    sum.copy_from_slice(shard(data, 0, shard_len));
    for index in 1..count {
        xor_into(sum, shard(data, index, shard_len));
    }
    write_checksums(count, shard_len, data, sum, checksums);
}

pub(super) fn repair_xor(count: usize, data: &mut [u8], parity: &[u8]) -> Repair {
    let shard_len = data.len().div_ceil(count);
    let broken = match damaged(count, shard_len, data, parity)[..] {
        [] => return Repair::Whole,
        [index] if index == count => return Repair::Whole,
        [index] => index,
        _ => return Repair::Lost,
    };
    let mut sum = parity[..shard_len].to_vec();
    for index in (0..count).filter(|index| *index != broken) {
        xor_into(&mut sum, shard(data, index, shard_len));
    }
    let broken = shard_mut(data, broken, shard_len);
    broken.copy_from_slice(&sum[..broken.len()]);
    Repair::Changed
}

pub(super) fn protect_reed_solomon(codec: &ReedSolomon, data: &[u8], parity: &mut [u8]) {
    let count = codec.data_shard_count();
    let shard_len = data.len().div_ceil(count);
    let (shards, checksums) = parity.split_at_mut(shard_len * codec.parity_shard_count());
    if shard_len > 0 {
        let mut sums: Vec<&mut [u8]> = shards.chunks_mut(shard_len).collect();
        let mut padded = Vec::new();
        for index in 0..count {
            let shard = full_shard(data, index, shard_len, &mut padded);
            let encoded = codec.encode_single_sep(index, shard, &mut sums);
            encoded.expect("all shards have one length");
        }
    }
    write_checksums(count, shard_len, data, shards, checksums);
}

/// The data shard at `index` at its full length, filled up in `padded` where it is shorter.
fn full_shard<'a>(
    data: &'a [u8],
    index: usize,
    shard_len: usize,
    padded: &'a mut Vec<u8>,
) -> &'a [u8] {
    let shard = shard(data, index, shard_len);
    if shard.len() == shard_len {
        return shard;
    }
    padded.clear();
    padded.extend_from_slice(shard);
    padded.resize(shard_len, 0);
    padded
}

pub(super) fn repair_reed_solomon(codec: &ReedSolomon, data: &mut [u8], parity: &[u8]) -> Repair {
    let count = codec.data_shard_count();
    let shard_len = data.len().div_ceil(count);
    let damaged = damaged(count, shard_len, data, parity);
    if damaged.len() > codec.parity_shard_count() {
        return Repair::Lost;
    }
    if damaged.iter().all(|index| *index >= count) {
        return Repair::Whole;
    }
    let mut shards: Vec<Option<Vec<u8>>> = Vec::new();
    for index in 0..count {
        let mut padded = vec![0; shard_len];
        let shard = shard(data, index, shard_len);
        padded[..shard.len()].copy_from_slice(shard);
        shards.push(Some(padded));
    }
    let parity_shards = parity.chunks(shard_len).take(codec.parity_shard_count());
    shards.extend(parity_shards.map(|shard| Some(shard.to_vec())));
    for index in &damaged {
        shards[*index] = None;
    }
    if codec.reconstruct_data(&mut shards).is_err() {
        return Repair::Lost;
    }
    for index in damaged.into_iter().filter(|index| *index < count) {
        let place = shard_mut(data, index, shard_len);
        if let Some(shard) = &shards[index] {
            place.copy_from_slice(&shard[..place.len()]);
        }
    }
    Repair::Changed
}

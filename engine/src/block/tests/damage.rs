//! Damage: each flipped bit, each burst, each cut.

use super::*;
use crate::ecc::Repair;

/// What opening a damaged block gave: the right bytes or an error that names the damage.
fn outcome(context: &FileContext, handle: &BlockHandle, disk: &[u8], plain: &[u8]) -> bool {
    match open(context, handle, disk) {
        Ok(block) => {
            assert_eq!(*block, *plain, "wrong bytes");
            true
        }
        Err(error) => {
            let kind = error.kind();
            assert!(
                matches!(kind, ErrorKind::Corruption | ErrorKind::Authentication),
                "{error:?}"
            );
            false
        }
    }
}

#[test]
fn every_flipped_bit_heals_or_is_an_error() {
    for transform in transforms() {
        let context = file_context(1, transform);
        let plain = text(150);
        let (handle, whole) = seal(&context, 0, &plain);
        let covered_len = transform.ecc.data_len(whole.len()).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut disk = whole.clone();
            disk[bit / 8] ^= 1 << (bit % 8);
            let opened = outcome(&context, &handle, &disk, &plain);
            let intact = context.is_intact(&Expect::new(BlockKind::Data, &handle), &disk);
            assert_eq!(intact, bit / 8 >= covered_len, "{transform:?} bit {bit}");
            if transform.ecc != Ecc::None {
                assert!(opened, "{transform:?} did not heal bit {bit}");
                continue;
            }
            // Without parity a frame heals by its own checksum, and a checksum by the tag.
            let in_frame = bit / 8 < FRAME_LEN;
            let in_checksum = bit / 8 >= covered_len - CHECKSUM_LEN;
            let heals = in_frame || in_checksum && transform.cipher != Cipher::None;
            assert_eq!(opened, heals, "{transform:?} bit {bit}");
        }
    }
}

#[test]
fn what_healed_says_so() {
    let context = file_context(1, plain_transform(Cipher::Aes256Gcm, Ecc::DEFAULT_STORE));
    let (handle, mut disk) = seal(&context, 0, &text(1000));
    assert!(!open(&context, &handle, &disk).unwrap().opened().healed);
    disk[500] ^= 1;
    assert!(open(&context, &handle, &disk).unwrap().opened().healed);
}

#[test]
fn bursts_heal_as_far_as_the_parity_reaches() {
    for cipher in CIPHERS {
        for (ecc, reach) in [(Ecc::DEFAULT_STORE, 1), (Ecc::METADATA, 2)] {
            let context = file_context(1, plain_transform(cipher, ecc));
            let plain = text(4016);
            let (handle, whole) = seal(&context, 0, &plain);
            // 4016 + 80 bytes: shards of 256 and of 1024 bytes, none shorter.
            let count = if reach == 1 { 16 } else { 4 };
            let shard_len = 4096 / count;
            for first in 0..count {
                for width in 1..=3.min(count - first) {
                    let mut disk = whole.clone();
                    disk[first * shard_len..(first + width) * shard_len].fill(0xa5);
                    let opened = outcome(&context, &handle, &disk, &plain);
                    assert_eq!(opened, width <= reach, "{ecc:?} {first} {width}");
                }
            }
        }
    }
}

#[test]
fn cut_and_overlong_blocks_are_errors() {
    for transform in transforms() {
        let context = file_context(1, transform);
        let (handle, whole) = seal(&context, 0, &text(100));
        for cut in 0..whole.len() {
            assert!(
                open(&context, &handle, &whole[..cut]).is_err(),
                "{transform:?} {cut}"
            );
        }
        let longer = [&whole[..], &[0]].concat();
        assert!(open(&context, &handle, &longer).is_err());
    }
}

#[test]
fn noise_and_zeros_are_errors() {
    for transform in transforms() {
        let context = file_context(1, transform);
        let (handle, whole) = seal(&context, 0, &text(100));
        let mut noise = vec![0; whole.len()];
        let error = open(&context, &handle, &noise).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        for seed in 0u32..50 {
            blake3::Hasher::new()
                .update(&seed.to_le_bytes())
                .finalize_xof()
                .fill(&mut noise);
            assert!(open(&context, &handle, &noise).is_err());
        }
    }
}

#[test]
fn a_single_bit_is_healed_before_the_length_is_believed() {
    let context = file_context(1, plain_transform(Cipher::Aes256Gcm, Ecc::None));
    let (_, disk) = seal(&context, 0, &text(100));
    let whole: [u8; FRAME_LEN] = *disk.first_chunk().unwrap();
    for first in 0..FRAME_LEN * 8 {
        let mut bytes = whole;
        bytes[first / 8] ^= 1 << (first % 8);
        assert!(MetadataFrame::decode(&bytes).is_err());
        assert!(MetadataFrame::heal_one_bit(&mut bytes).is_some());
        assert_eq!(bytes, whole);
        let second = (first + 77) % (FRAME_LEN * 8);
        bytes[first / 8] ^= 1 << (first % 8);
        bytes[second / 8] ^= 1 << (second % 8);
        let before = bytes;
        assert_eq!(MetadataFrame::heal_one_bit(&mut bytes), None);
        assert_eq!(bytes, before);
    }
}

#[test]
fn a_verified_tag_outweighs_a_lost_checksum() {
    for ecc in [Ecc::None, Ecc::SecDed] {
        let context = file_context(1, plain_transform(Cipher::Aes256Gcm, ecc));
        let plain = text(96);
        let (handle, mut disk) = seal(&context, 0, &plain);
        let checksum = FRAME_LEN + plain.len();
        disk[checksum..checksum + CHECKSUM_LEN].fill(0x77);
        let block = open(&context, &handle, &disk).unwrap();
        assert_eq!(*block, plain);
        assert!(block.opened().healed);
    }
}

#[test]
fn parity_with_whole_checksums_over_other_bytes_is_not_believed() {
    // Damage that the shard checksums miss, because they were made over it.
    let context = file_context(1, plain_transform(Cipher::None, Ecc::DEFAULT_STORE));
    let (handle, mut disk) = seal(&context, 0, &text(1000));
    disk[300] ^= 1;
    let covered = FRAME_LEN + 1000 + CHECKSUM_LEN;
    let protector = crate::ecc::Protector::new(Ecc::DEFAULT_STORE);
    let (data, parity) = disk.split_at_mut(covered);
    protector.protect(data, parity);
    assert_eq!(protector.repair(data, parity), Repair::Whole);
    let error = open(&context, &handle, &disk).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
}

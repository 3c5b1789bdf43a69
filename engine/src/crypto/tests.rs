//! Known answers, and every implementation against every other.

use super::*;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// AES-256 test cases 13 to 16 of McGrew and Viega's submission of GCM to NIST:
/// key, nonce, associated data, plaintext, ciphertext, tag.
const GCM_VECTORS: [[&str; 6]; 4] = [
    [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "000000000000000000000000",
        "",
        "",
        "",
        "530f8afbc74536b9a963b4f1c4cb738b",
    ],
    [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "000000000000000000000000",
        "",
        "00000000000000000000000000000000",
        "cea7403d4d606b6e074ec5d3baf39d18",
        "d0d1c8a799996bf0265b98b5d48ab919",
    ],
    [
        "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        "cafebabefacedbaddecaf888",
        "",
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
        "b094dac5d93471bdec1a502270e3cc6c",
    ],
    [
        "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        "cafebabefacedbaddecaf888",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
        "76fc6ece0f4e1768cddf8853bb2d551b",
    ],
];

#[test]
fn every_arm_gives_the_published_bytes() {
    for [key, nonce, aad, plain, sealed, tag] in GCM_VECTORS {
        let key: [u8; 32] = hex(key).try_into().unwrap();
        let nonce: Nonce = hex(nonce).try_into().unwrap();
        for (name, make) in arms() {
            let aead = make(&key);
            let mut data = hex(plain);
            let made = aead.seal_in_place(&nonce, &hex(aad), &mut data);
            assert_eq!(data, hex(sealed), "{name}");
            assert_eq!(made.to_vec(), hex(tag), "{name}");
            aead.open_in_place(&nonce, &hex(aad), &mut data, &made)
                .unwrap();
            assert_eq!(data, hex(plain), "{name}");
        }
    }
}

#[test]
fn hkdf_gives_the_bytes_of_rfc_5869() {
    let mut out = [0; 42];
    let info = hex("f0f1f2f3f4f5f6f7f8f9");
    hkdf_sha256(
        &[0x0b; 22],
        &hex("000102030405060708090a0b0c"),
        &[&info[..3], &info[3..]],
        &mut out,
    );
    let expected =
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
    assert_eq!(out.to_vec(), hex(expected));
}

proptest! {
    #[test]
    fn arms_open_what_other_arms_sealed(
        key: [u8; 32],
        nonce: [u8; 12],
        aad in proptest::collection::vec(any::<u8>(), 0..80),
        plain in proptest::collection::vec(any::<u8>(), 0..5000),
        flip: proptest::sample::Index,
    ) {
        for (_, seal) in arms() {
            let mut sealed = plain.clone();
            let tag = seal(&key).seal_in_place(&nonce, &aad, &mut sealed);
            for (_, open) in arms() {
                let mut data = sealed.clone();
                prop_assert_eq!(open(&key).open_in_place(&nonce, &aad, &mut data, &tag), Ok(()));
                prop_assert_eq!(&data, &plain);
                let mut all = [&nonce[..], &aad, &sealed, &tag].concat();
                let bit = flip.index(all.len() * 8);
                all[bit / 8] ^= 1 << (bit % 8);
                let (nonce, rest) = all.split_first_chunk::<12>().unwrap();
                let (aad, rest) = rest.split_at(aad.len());
                let (body, tag) = rest.split_last_chunk::<16>().unwrap();
                let mut data = body.to_vec();
                let opened = open(&key).open_in_place(nonce, aad, &mut data, tag);
                prop_assert_eq!(opened, Err(Forged));
            }
        }
    }
}

#[test]
fn keys_differ_by_master_salt_and_identity() {
    let derive = |master: u8, salt: u8, identity: &[u8]| {
        let keys = FileKeys::derive(&MasterKey::new([master; 32]), &[salt; 32], identity);
        (*keys.commitment(), keys.nonce(b"message"))
    };
    let base = derive(1, 1, b"one");
    assert_eq!(base, derive(1, 1, b"one"));
    for other in [
        derive(2, 1, b"one"),
        derive(1, 2, b"one"),
        derive(1, 1, b"two"),
    ] {
        assert_ne!(base.0, other.0);
        assert_ne!(base.1, other.1);
    }
    assert_ne!(
        public_commitment(&[1; 32], b"one"),
        public_commitment(&[2; 32], b"one")
    );
}

#[test]
fn debug_output_holds_no_key_bytes() {
    let key = MasterKey::new([0xab; 32]);
    assert_eq!(format!("{key:?}"), "MasterKey");
    let keys = FileKeys::derive(&key, &[0; 32], b"");
    assert_eq!(format!("{keys:?}"), "FileKeys");
}

#[test]
fn large_buffers_agree() {
    let mut sealed = Vec::new();
    for (_, make) in arms() {
        let mut data = vec![0x5a; (1 << 20) + 13];
        let tag = make(&[7; 32]).seal_in_place(&[9; 12], b"aad", &mut data);
        data.extend_from_slice(&tag);
        sealed.push(data);
    }
    assert!(sealed.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn without_keys_every_epoch_is_missing() {
    let error = NoKeys.master(0).unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::KeyMissing);
}

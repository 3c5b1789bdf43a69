//! Attacks on keys: the key file, the cost of its derivation, nonces.

use super::Victim;
use crate::stores::{self, Contents};
use coffer_blobstore::{BlobTree, Credential, ErrorKind};
use coffer_engine::Ecc;
use coffer_tests::crash::CrashFs;
use coffer_tests::image::Image;
use coffer_tests::random::Rng;
use coffer_tests::world::World;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn wrong_credentials_open_nothing() {
    let victim = Victim::new(41, Ecc::None);
    victim.image.write(&victim.folder());
    let open = |credential: Credential| {
        let env = stores::os(&victim.folder());
        BlobTree::open(env, &credential, &stores::open_options()).map(drop)
    };
    for wrong in [
        "",
        "correct horse battery stapl",
        "correct horse battery staple\n",
    ] {
        let passphrase = Credential::Passphrase(wrong.as_bytes().to_vec().into());
        let error = open(passphrase).unwrap_err();
        let kinds = [
            ErrorKind::Authentication,
            ErrorKind::KeyMissing,
            ErrorKind::Invalid,
        ];
        assert!(kinds.contains(&error.kind()), "{error:?}");
        assert!(error.message().contains("passphrase"), "{error:?}");
    }
    let same_bytes = coffer_tests::process::PASSPHRASE.as_bytes().to_vec();
    assert!(
        open(Credential::KeyFile(same_bytes.into())).is_err(),
        "a key file is no passphrase"
    );
    assert!(open(stores::credential()).is_ok());
}

/// Both copies of the key file with the same change.
fn change_keyrings(image: &mut Image, change: impl Fn(&mut Vec<u8>)) {
    for (name, bytes) in &mut image.0 {
        if name.starts_with("KEYRING") {
            change(bytes);
        }
    }
}

#[test]
fn moved_key_slots_are_refused() {
    let victim = Victim::new(42, Ecc::None);
    let len = victim.image.0["KEYRING"].len();
    let mut rng = Rng::new(3);
    let other = Victim::new(43, Ecc::None).image.0["KEYRING"].clone();
    for _ in 0..60 {
        // Pieces of the key file moved to other places, or taken from another store.
        let piece = 8 << rng.below(5);
        let (from, to) = (rng.below(len - piece), rng.below(len - piece));
        let foreign = rng.chance(50) && other.len() >= from + piece;
        victim.attack(
            &format!("{piece} bytes of the key file from {from} to {to}"),
            |image| {
                change_keyrings(image, |bytes| {
                    let source = if foreign { &other } else { &*bytes };
                    let moved = source[from..from + piece].to_vec();
                    bytes[to..to + piece].copy_from_slice(&moved);
                });
            },
        );
    }
    // One copy alone is enough, whichever is burnt.
    for name in ["KEYRING", "KEYRING.copy"] {
        let verdict = victim.attack(&format!("{name} burnt"), |image| {
            image.0.get_mut(name).unwrap().fill(0);
        });
        assert!(
            verdict.opened && verdict.refused == 0,
            "{name} burnt: {verdict:?}"
        );
    }
}

#[test]
fn weak_or_huge_kdf_costs_are_refused() {
    // Whatever stands in any field of the key file: no panic, no minutes, no gigabytes.
    let victim = Victim::new(44, Ecc::None);
    let len = victim.image.0["KEYRING"].len();
    // Header, the one slot that is in use, and the rest more coarsely.
    let places = (0..256).step_by(5).chain((256..len - 4).step_by(211));
    for at in places {
        for bytes in [&[0][..], &[0xff], &[0x7f; 4], &[0xff; 4]] {
            let what = format!("{bytes:?} at {at} of the key file");
            let start = Instant::now();
            victim.attack(&what, |image| {
                change_keyrings(image, |file| {
                    file[at..at + bytes.len()].copy_from_slice(bytes)
                });
            });
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "{what}: took too long"
            );
        }
    }
}

/// A block by what decides about its key, its place, its nonce and its tag.
type Seal = (Vec<u8>, u32, [u8; 12], [u8; 16]);

/// Runs the same calls up to `fork`, then calls that depend on `branch`; answers all blocks.
fn branch(fork: usize, branch: u64) -> Vec<Seal> {
    // A clone of a running machine: same memory, same randomness, same disk.
    let medium = CrashFs::new();
    let env = World::new(5).env(Arc::new(medium.clone()));
    let options = stores::store_options(stores::transform(Ecc::None));
    let tree = BlobTree::create(env, &stores::credential(), options).unwrap();
    let mut contents = Contents::new();
    let mut rng = Rng::new(6);
    for call in 0..40 {
        if call == fork {
            rng = Rng::new(branch);
        }
        let key = rng.below(20);
        stores::fill(&tree, &mut contents, &mut rng, &[key, key + 1]);
        if call % 10 == 9 {
            tree.compact(&mut |_| ()).unwrap();
        }
    }
    tree.close().unwrap();
    drop(tree);
    let named = medium
        .contents()
        .into_iter()
        .map(|(id, bytes)| (id.to_string(), bytes));
    let image = Image(named.filter(|(name, _)| name != "LOCK").collect());
    let blocks = image.blocks();
    blocks
        .iter()
        .map(|block| {
            let salt = image.0[&block.file][..128].to_vec();
            (salt, block.ordinal, block.nonce, block.tag)
        })
        .collect()
}

#[test]
fn clones_never_share_a_nonce_for_different_bytes() {
    let mut repeats = 0;
    for fork in [3, 17, 30] {
        let (one, two) = (branch(fork, 100), branch(fork, 200));
        // The same header means the same file key.
        let mut seen: BTreeMap<(Vec<u8>, [u8; 12]), [u8; 16]> = BTreeMap::new();
        let mut shared_files = 0;
        for (header, ordinal, nonce, tag) in one.into_iter().chain(two) {
            if nonce == [0; 12] {
                continue;
            }
            if let Some(older) = seen.insert((header, nonce), tag) {
                assert_eq!(older, tag, "ordinal {ordinal}: one nonce for two messages");
                shared_files += 1;
            }
        }
        repeats += shared_files;
    }
    // The clones did share keys: what they sealed before the fork is the same.
    assert!(
        repeats > 20,
        "only {repeats} blocks were sealed twice: the test tests nothing"
    );
}

//! Attacks on keys: the key file, the cost of its derivation, nonces.

use super::Victim;
use crate::stores::{self, Contents};
use coffer_blobstore::{BlobTree, Credential, ErrorKind};
use coffer_engine::Ecc;
use coffer_engine::ecc::Protector;
use coffer_tests::crash::CrashFs;
use coffer_tests::image::Image;
use coffer_tests::process::{CHEAP_KDF, PASSPHRASE, coffer, describe, limited};
use coffer_tests::random::Rng;
use coffer_tests::world::World;
use std::collections::BTreeMap;
use std::process::Output;
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
    let same_bytes = PASSPHRASE.as_bytes().to_vec();
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

const CHANGED: &str = "a passphrase that nobody else knows";

/// `coffer key change` from the passphrase of the victim to [`CHANGED`].
fn change_passphrase(victim: &Victim) -> Output {
    let file = |name: &str, secret: &str| {
        let path = victim.folder().with_file_name(name);
        std::fs::write(&path, secret).unwrap();
        path
    };
    limited(60, coffer())
        .args(["key", "change", "--passphrase-file"])
        .arg(file("old", PASSPHRASE))
        .arg("--new-passphrase-file")
        .arg(file("new", CHANGED))
        .args(CHEAP_KDF)
        .arg(victim.folder())
        .output()
        .unwrap()
}

fn opens_with(victim: &Victim, passphrase: &str) -> Result<(), ErrorKind> {
    let credential = Credential::passphrase(passphrase.as_bytes());
    let env = stores::os(&victim.folder());
    let opened = BlobTree::open(env, &credential, &stores::open_options());
    opened.map(drop).map_err(|error| error.kind())
}

/// The first of these images with the key file of the second.
fn with_old_keyring(new: &Image, old: &Image) -> Image {
    let mut image = new.clone();
    for (name, bytes) in &mut image.0 {
        if name.starts_with("KEYRING") {
            bytes.clone_from(&old.0[name]);
        }
    }
    image
}

#[test]
fn an_old_key_file_put_back_is_refused() {
    let victim = Victim::new(45, Ecc::None);
    victim.image.write(&victim.folder());
    let output = change_passphrase(&victim);
    assert!(output.status.success(), "{}", describe(&output));
    let changed = Image::read(&victim.folder());

    // At once, without any opening in between.
    let put_back = with_old_keyring(&changed, &victim.image);
    put_back.write(&victim.folder());
    for passphrase in [PASSPHRASE, CHANGED] {
        let refused = opens_with(&victim, passphrase);
        assert_eq!(refused, Err(ErrorKind::Authentication), "{passphrase}");
    }
    // Nor does changing it make it the newest.
    let output = change_passphrase(&victim);
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    let kept = Image::read(&victim.folder());
    assert_eq!(kept.0["KEYRING"], put_back.0["KEYRING"]);
    assert_eq!(kept.0["KEYRING.copy"], put_back.0["KEYRING.copy"]);

    // Beside the new copy the old one counts for nothing.
    for name in ["KEYRING", "KEYRING.copy"] {
        let mut image = changed.clone();
        image
            .0
            .insert(name.to_owned(), victim.image.0[name].clone());
        image.write(&victim.folder());
        let refused = opens_with(&victim, PASSPHRASE);
        assert_eq!(refused, Err(ErrorKind::Authentication), "{name}");
        assert_eq!(opens_with(&victim, CHANGED), Ok(()), "{name}");
    }
}

#[test]
fn a_store_that_does_not_open_learns_of_a_key_change_later() {
    let victim = Victim::new(46, Ecc::None);
    let mut damaged = victim.image.clone();
    let current = damaged.0.remove("CURRENT").unwrap();
    damaged.write(&victim.folder());
    let output = change_passphrase(&victim);
    assert!(output.status.success(), "{}", describe(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("open it once").count(), 1, "{said}");

    let mut changed = Image::read(&victim.folder());
    changed.0.insert("CURRENT".to_owned(), current);
    changed.write(&victim.folder());
    assert_eq!(opens_with(&victim, CHANGED), Ok(()));
    with_old_keyring(&Image::read(&victim.folder()), &victim.image).write(&victim.folder());
    let refused = opens_with(&victim, PASSPHRASE);
    assert_eq!(refused, Err(ErrorKind::Authentication));
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

/// A copy of a key file with eight slots at the highest cost, and with checksum and parity right:
/// all that an attacker without keys can make.
fn costly(copy: &[u8]) -> Vec<u8> {
    const SLOTS: std::ops::Range<usize> = 64..1600;
    let mut copy = copy.to_vec();
    let (content, parity) = copy.split_at_mut(4096);
    content[32] = 200;
    content[SLOTS.start + 4..][..4].copy_from_slice(&(4u32 << 20).to_le_bytes());
    content[SLOTS.start + 8..][..4].copy_from_slice(&16u32.to_le_bytes());
    for at in SLOTS.step_by(192) {
        content.copy_within(64..256, at);
    }
    let checksum = xxhash_rust::xxh3::xxh3_128(&content[..4080]);
    content[4080..].copy_from_slice(&checksum.to_le_bytes());
    Protector::new(Ecc::METADATA).protect(content, parity);
    copy
}

#[test]
fn a_costly_forged_copy_of_the_key_file_delays_nobody() {
    let victim = Victim::new(47, Ecc::None);
    for name in ["KEYRING", "KEYRING.copy"] {
        let mut image = victim.image.clone();
        let forged = costly(&image.0[name]);
        image.0.insert(name.to_owned(), forged.clone());
        image.write(&victim.folder());
        let secret = victim.folder().with_file_name("secret");
        std::fs::write(&secret, PASSPHRASE).unwrap();
        // To compute what the forged copy asks for would take minutes and 4 GiB.
        let output = limited(20, coffer())
            .args(["compact", "--passphrase-file"])
            .arg(&secret)
            .arg(victim.folder())
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", describe(&output));
        let healed = Image::read(&victim.folder());
        assert_eq!(healed.0[name], victim.image.0[name], "{name}");
        assert_ne!(healed.0[name], forged);
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

//! Nothing readable is on the disk: 1,000 known names and contents, searched in every byte.

use crate::stores;
use coffer_blobstore::{BlobTree, StoreOptions};
use coffer_engine::{Cipher, Compression, Ecc};
use coffer_fusefs::attr::{Caller, SetXattr};
use coffer_fusefs::{FileSystem, MountOptions, path};
use coffer_tests::image::Image;
use coffer_tests::process::PASSPHRASE;
use coffer_tests::random::Rng;
use std::collections::HashSet;
use std::sync::Arc;

const NEEDLE_LEN: usize = 16;

/// Every run of 16 bytes of a store file that belongs to something secret.
fn finds(image: &Image, secrets: &[Vec<u8>]) -> Vec<String> {
    let mut needles: HashSet<&[u8]> = HashSet::new();
    for secret in secrets {
        // A name may stand anywhere: all of its runs. Of contents, one run of each 16 bytes is
        // met wherever the content stands unchanged.
        let step = if secret.len() < 300 { 1 } else { NEEDLE_LEN };
        for needle in secret.windows(NEEDLE_LEN).step_by(step) {
            if needle.iter().any(|byte| *byte != needle[0]) {
                needles.insert(needle);
            }
        }
    }
    let mut out = Vec::new();
    for (name, bytes) in &image.0 {
        for (at, window) in bytes.windows(NEEDLE_LEN).enumerate() {
            if needles.contains(window) {
                out.push(format!(
                    "{name} at {at}: {}",
                    String::from_utf8_lossy(window)
                ));
            }
        }
    }
    out
}

/// A store with 1,000 files through the file system; answers everything that must not be seen.
fn fill(image_of: &std::path::Path, options: StoreOptions) -> (Image, Vec<Vec<u8>>) {
    let tree = BlobTree::create(stores::os(image_of), &stores::credential(), options).unwrap();
    let fs = FileSystem::open(Arc::new(tree), MountOptions::default()).unwrap();
    let caller = Caller::default();
    let mut rng = Rng::new(77);
    let mut secrets = vec![PASSPHRASE.as_bytes().to_vec()];
    for index in 0..1_000 {
        let folder = format!("secret-folder-number-{:03}", index % 50);
        let leaf = format!("secret-file-name-{index:06}-{:08x}", rng.next_u64() as u32);
        let len = match index % 10 {
            0..=5 => rng.below(300),
            6..=8 => rng.below(6_000),
            _ => rng.below(200_000),
        };
        let mut content = format!("the secret content of file {index}: ").into_bytes();
        content.extend(if rng.chance(50) {
            rng.text(len)
        } else {
            rng.bytes(len)
        });
        let name = format!("{folder}/{leaf}");
        let attr = path::put(
            &fs,
            &caller,
            name.as_bytes(),
            0o644,
            &mut &content[..],
            &mut |_| (),
        )
        .unwrap();
        let (key, value) = (format!("user.secret-attribute-{index}"), rng.text(100));
        if index % 20 == 0 {
            fs.setxattr(&caller, attr.ino, key.as_bytes(), &value, SetXattr::Either)
                .unwrap();
            let target = format!("the-secret-target-of-link-{index}");
            let (parent, link) = (attr.ino, format!("secret-link-name-{index}"));
            let root = coffer_fusefs::attr::ROOT;
            assert_ne!(parent, root);
            fs.symlink(&caller, root, link.as_bytes(), target.as_bytes())
                .unwrap();
            secrets.extend([
                key.into_bytes(),
                value,
                target.into_bytes(),
                link.into_bytes(),
            ]);
        }
        secrets.extend([folder.into_bytes(), leaf.into_bytes(), content]);
    }
    fs.close().unwrap();
    drop(fs);
    (Image::read(image_of), secrets)
}

#[test]
fn nothing_readable_is_on_the_disk() {
    for (compression, ecc) in [
        (Compression::Zstd { level: 1 }, Ecc::Xor { data: 16 }),
        (Compression::None, Ecc::SecDed),
        (Compression::None, Ecc::ReedSolomon { data: 8, parity: 2 }),
    ] {
        let home = tempfile::tempdir().unwrap();
        let mut options = stores::store_options(stores::transform(ecc));
        options.transform.compression = compression;
        let (image, secrets) = fill(home.path(), options);
        let total: usize = image.0.values().map(Vec::len).sum();
        assert!(total > 1_000_000, "only {total} bytes stored");
        let found = finds(&image, &secrets);
        assert!(
            found.is_empty(),
            "{} finds: {:?}",
            found.len(),
            &found[..found.len().min(9)]
        );
        // No zstd frame either: compressed plaintext would begin with its magic number.
        let magic = [0x28, 0xb5, 0x2f, 0xfd];
        for (name, bytes) in &image.0 {
            let frames = bytes.windows(4).filter(|window| *window == magic).count();
            let by_chance = 1 + bytes.len() / 100_000_000;
            assert!(frames <= by_chance, "{name} holds {frames} zstd frames");
        }
    }
}

#[test]
fn the_search_finds_what_is_there() {
    // The same store without a cipher and without compression: everything can be found.
    let home = tempfile::tempdir().unwrap();
    let mut options = stores::store_options(stores::transform(Ecc::None));
    options.transform.compression = Compression::None;
    options.transform.cipher = Cipher::None;
    let (image, secrets) = fill(home.path(), options);
    let found = finds(&image, &secrets);
    assert!(found.len() > 5_000, "only {} finds", found.len());
    assert!(
        !found
            .iter()
            .any(|line| line.contains(&PASSPHRASE[..NEEDLE_LEN]))
    );
}

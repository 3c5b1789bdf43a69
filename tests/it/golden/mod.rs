//! Golden stores: made once by a version of Coffer, opened by every later one.
//!
//! Each directory in `tests/golden` is a store; its passphrase is
//! [`PASSPHRASE`](coffer_tests::process::PASSPHRASE). What it holds is computed, not stored.
//! `make_golden` writes them anew: run it only together with a change of the format version.

mod files;

use crate::axes::ECCS;
use crate::stores::{self, Contents};
use coffer_blobstore::{BlobBatch, BlobTree};
use coffer_engine::{BlockTransform, Cipher, Compression, Ecc};
use coffer_tests::image::Image;
use coffer_tests::random::Rng;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The stores, each by the name of its directory.
fn kinds() -> Vec<(String, BlockTransform)> {
    let mut out = Vec::new();
    for (compression, zstd) in [
        (Compression::None, "plain"),
        (Compression::Zstd { level: 1 }, "zstd"),
    ] {
        for (cipher, name) in [(Cipher::None, "clear"), (Cipher::Aes256Gcm, "aes")] {
            for ecc in ECCS {
                let parity = match ecc {
                    Ecc::None => "none",
                    Ecc::SecDed => "secded",
                    Ecc::Xor { .. } => "xor",
                    Ecc::ReedSolomon { .. } => "rs",
                };
                let transform = BlockTransform {
                    compression,
                    cipher,
                    ecc,
                };
                out.push((format!("{zstd}-{name}-{parity}"), transform));
            }
        }
    }
    out
}

/// What a golden store holds, by calls in two sessions; with a tree, makes the calls.
fn calls(mut session: impl FnMut(usize, &Contents, &[Vec<u8>])) -> Contents {
    let mut rng = Rng::new(2_026);
    let mut all = Contents::new();
    let mut first = Contents::new();
    for key in 0..24 {
        let value = match key % 4 {
            0 => Vec::new(),
            1 => rng.text(200),
            2 => rng.text(5_000),
            _ => rng.bytes(9_000 + key * 100),
        };
        first.insert(format!("golden-{key:03}").into_bytes(), value);
    }
    session(0, &first, &[]);
    all.extend(first);
    let mut second = Contents::new();
    for key in (0..24).step_by(5) {
        second.insert(format!("golden-{key:03}").into_bytes(), rng.text(700));
    }
    let gone: Vec<Vec<u8>> = (2..24)
        .step_by(7)
        .map(|key| format!("golden-{key:03}").into_bytes())
        .collect();
    session(1, &second, &gone);
    all.extend(second);
    all.retain(|key, _| !gone.contains(key));
    all
}

#[test]
#[ignore = "writes tests/golden anew; only for a new format version"]
fn make_golden() {
    for (name, transform) in kinds() {
        let folder = folder().join(&name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        calls(|session, puts, deletes| {
            let env = stores::os(&folder);
            let tree = if session == 0 {
                let options = stores::store_options(transform);
                BlobTree::create(env, &stores::credential(), options).unwrap()
            } else {
                stores::open(env).unwrap()
            };
            let mut batch = BlobBatch::new();
            puts.iter().for_each(|(key, value)| batch.put(key, value));
            deletes.iter().for_each(|key| batch.delete(key));
            tree.write(batch, true).unwrap();
            if session == 0 {
                tree.close().unwrap();
            }
            // The second session ends without close: golden stores hold a log to recover, too.
        });
    }
}

#[test]
fn golden_stores_hold_what_they_held() {
    let expected = calls(|_, _, _| ());
    for (name, _) in kinds() {
        let original = Image::read(&folder().join(&name));
        assert!(original.0.len() >= 5, "{name}: {:?}", original.0.keys());
        let home = tempfile::tempdir().unwrap();
        let copy = home.path().join("store");
        original.write(&copy);
        let tree =
            stores::open(stores::os(&copy)).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        stores::assert_holds(&tree, &expected, &name);
        // And goes on.
        let mut batch = BlobBatch::new();
        batch.put(b"new", b"value");
        tree.write(batch, true).unwrap();
        tree.close().unwrap();
        drop(tree);
        let tree = stores::open(stores::os(&copy)).unwrap();
        assert_eq!(tree.get(b"new").unwrap().unwrap(), b"value");
    }
}

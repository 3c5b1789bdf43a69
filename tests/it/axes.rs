//! The four axes are independent: every combination writes, reads, recovers and compacts.

use crate::stores::{self, Contents};
use coffer_blobstore::{BlobBatch, BlobTree, Work};
use coffer_engine::{BlockTransform, Cipher, Compression, Ecc, KvProtection};
use coffer_tests::random::Rng;

/// Every parity there is.
pub(crate) const ECCS: [Ecc; 4] = [
    Ecc::None,
    Ecc::SecDed,
    Ecc::Xor { data: 16 },
    Ecc::ReedSolomon { data: 8, parity: 2 },
];

#[test]
fn every_combination_round_trips() {
    for compression in [Compression::None, Compression::Zstd { level: 1 }] {
        for cipher in [Cipher::None, Cipher::Aes256Gcm] {
            for ecc in ECCS {
                for kv_protection in [KvProtection::Off, KvProtection::On] {
                    let transform = BlockTransform {
                        compression,
                        cipher,
                        ecc,
                    };
                    round_trip(transform, kv_protection);
                }
            }
        }
    }
}

fn round_trip(transform: BlockTransform, kv_protection: KvProtection) {
    let what = format!("{transform:?} {kv_protection:?}");
    let mut options = stores::store_options(transform);
    options.kv_protection = kv_protection;
    let env = coffer_engine::env::mem::env_seeded(9);
    let tree = BlobTree::create(env.clone(), &stores::credential(), options).unwrap();
    let mut contents = Contents::new();
    let mut rng = Rng::new(4);
    let keys: Vec<usize> = (0..40).collect();
    stores::fill(&tree, &mut contents, &mut rng, &keys);
    stores::assert_holds(&tree, &contents, &what);
    // Unclean end, then a clean one.
    drop(tree);
    let tree = stores::open(env.clone()).unwrap();
    tree.sync().unwrap();
    let found = stores::dump(&tree).unwrap();
    assert!(
        found
            .iter()
            .all(|(key, value)| contents.get(key) == Some(value)),
        "{what}"
    );
    stores::fill(&tree, &mut contents, &mut rng, &keys);
    let mut batch = BlobBatch::new();
    for key in contents.keys().step_by(4) {
        batch.delete(key);
    }
    tree.write(batch, true).unwrap();
    let gone: Vec<Vec<u8>> = contents.keys().step_by(4).cloned().collect();
    contents.retain(|key, _| !gone.contains(key));
    stores::assert_holds(&tree, &contents, &what);
    tree.close().unwrap();
    drop(tree);
    let tree = stores::open(env).unwrap();
    stores::assert_holds(&tree, &contents, &what);
    tree.compact(&mut |_| ()).unwrap();
    while tree.maintain().unwrap() == Work::Did {}
    stores::assert_holds(&tree, &contents, &what);
    tree.close().unwrap();
}

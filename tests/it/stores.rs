//! Small stores for tests: quick to open, many blocks, several files.

use coffer_blobstore::{
    BlobBatch, BlobTree, Credential, Error, KdfCost, OpenOptions, StoreOptions,
};
use coffer_engine::env::{self, Env};
use coffer_engine::{BlockTransform, Cipher, Compression, Ecc, KvProtection};
use coffer_tests::process::PASSPHRASE;
use coffer_tests::random::Rng;
use std::collections::BTreeMap;
use std::path::Path;

/// Keys and values.
pub(crate) type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// The passphrase of all test stores.
pub(crate) fn credential() -> Credential {
    Credential::Passphrase(PASSPHRASE.as_bytes().to_vec().into())
}

/// The default axes of a store with this parity.
pub(crate) fn transform(ecc: Ecc) -> BlockTransform {
    BlockTransform {
        compression: Compression::Zstd { level: 1 },
        cipher: Cipher::Aes256Gcm,
        ecc,
    }
}

/// Small frames, little inline, the cheapest KDF.
pub(crate) fn store_options(transform: BlockTransform) -> StoreOptions {
    StoreOptions {
        transform,
        kv_protection: KvProtection::On,
        frame_len: 4 << 10,
        inline_len_max: 300,
        blob_file_len: 64 << 10,
        kdf: KdfCost::FLOOR,
        ..StoreOptions::default()
    }
}

/// No threads, small memory.
pub(crate) fn open_options() -> OpenOptions {
    OpenOptions {
        background: false,
        memtable_len: 64 << 10,
        cache_len: 1 << 20,
        ..OpenOptions::default()
    }
}

/// The operating system.
pub(crate) fn os(folder: &Path) -> Env {
    env::os::env(folder).unwrap()
}

pub(crate) fn open(env: Env) -> Result<BlobTree, Error> {
    BlobTree::open(env, &credential(), &open_options())
}

/// Everything in the tree, by a scan.
pub(crate) fn dump(tree: &BlobTree) -> Result<Contents, Error> {
    let mut out = Contents::new();
    let mut scan = tree.scan(b"", b"")?;
    while let Some((key, value)) = scan.next()? {
        let bytes = value.bytes(tree)?;
        assert_eq!(
            value.value_len()?,
            bytes.len() as u64,
            "length in the listing"
        );
        let older = out.insert(key, bytes);
        assert!(older.is_none(), "a key was listed twice");
    }
    Ok(out)
}

/// A value: inline, one frame, or many.
pub(crate) fn value(rng: &mut Rng) -> Vec<u8> {
    match rng.below(6) {
        0 => Vec::new(),
        1 | 2 => {
            let len = rng.below(290);
            rng.text(len)
        }
        3 => {
            let len = 300 + rng.below(3000);
            rng.bytes(len)
        }
        4 => {
            let len = 4_000 + rng.below(9_000);
            rng.text(len)
        }
        _ => {
            let len = rng.below(30_000);
            rng.bytes(len)
        }
    }
}

/// Writes a new value for every key of `keys`, some batches of several; answers what the tree held
/// after each batch.
pub(crate) fn fill(
    tree: &BlobTree,
    contents: &mut Contents,
    rng: &mut Rng,
    keys: &[usize],
) -> Vec<Contents> {
    let mut history = Vec::new();
    for part in keys.chunks(3) {
        let mut batch = BlobBatch::new();
        for key in part {
            let key = format!("key-{key:04}").into_bytes();
            let value = value(rng);
            batch.put(&key, &value);
            contents.insert(key, value);
        }
        tree.write(batch, rng.chance(20)).unwrap();
        history.push(contents.clone());
    }
    history
}

/// Every key and every range answers as `contents` says.
pub(crate) fn assert_holds(tree: &BlobTree, contents: &Contents, what: &str) {
    let found = dump(tree).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let names = |map: &Contents| -> Vec<String> {
        map.keys()
            .map(|key| String::from_utf8_lossy(key).into_owned())
            .collect()
    };
    assert_eq!(names(&found), names(contents), "{what}: keys");
    assert!(found == *contents, "{what}: values");
    for (key, value) in contents {
        let got = tree.get(key).unwrap();
        assert!(got.as_ref() == Some(value), "{what}: get");
        let (offset, len) = (value.len() / 3, value.len() / 2 + 5);
        let part = tree.get_range(key, offset as u64, len).unwrap().unwrap();
        let end = (offset + len).min(value.len());
        assert!(part == value[offset..end], "{what}: range");
    }
    assert!(tree.get(b"no such key").unwrap().is_none());
}

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use std::thread;

use coffer_engine::env::Fs;
use coffer_engine::env::mem::MemFs;
use coffer_engine::{ErrorKind, FileId, Preset};
use proptest::prelude::*;

use super::*;
use crate::blobfile::Effort;
use crate::blobfile::tests::value;

mod behind;
mod copies;
mod garbage;
mod ranges;
mod shared;
mod window;

const PASS: &[u8] = b"correct horse";

pub(super) fn small_options() -> StoreOptions {
    let mut options = StoreOptions::preset(Preset::CofferDefault);
    options.kdf = KdfCost::FLOOR;
    options.frame_len = 4096;
    options.inline_len_max = 1000;
    options.blob_file_len = 256 << 10;
    options
}

fn credential() -> Credential {
    Credential::passphrase(PASS)
}

struct World {
    fs: Arc<MemFs>,
    opened: u64,
}

impl World {
    fn new() -> (Self, BlobTree) {
        Self::with(small_options())
    }

    fn with(options: StoreOptions) -> (Self, BlobTree) {
        let mut world = Self {
            fs: MemFs::new(),
            opened: 0,
        };
        let tree = BlobTree::create(world.env(), &credential(), options).unwrap();
        (world, tree)
    }

    fn env(&mut self) -> Env {
        self.opened += 1;
        mem::env_over(self.fs.clone(), self.opened)
    }

    fn open(&mut self) -> Result<BlobTree> {
        BlobTree::open(self.env(), &credential(), &OpenOptions::default())
    }

    fn blobs(&self) -> Vec<FileId> {
        let mut ids = self.fs.list().unwrap();
        ids.retain(|id| id.kind == FileKind::Blob);
        ids
    }
}

fn contents(tree: &BlobTree) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut scan = tree.scan(b"", b"").unwrap();
    let mut found = BTreeMap::new();
    while let Some((key, value)) = scan.next().unwrap() {
        let bytes = value.bytes(tree).unwrap();
        assert_eq!(value.value_len().unwrap(), bytes.len() as u64);
        found.insert(key, bytes);
    }
    found
}

#[test]
fn values_of_all_lengths_survive_closing_and_dropping() {
    let (mut world, mut tree) = World::new();
    let mut model = BTreeMap::new();
    let lens = [
        0, 1, 999, 1000, 1001, 4095, 4096, 4097, 8192, 65_535, 65_536, 65_537, 200_000,
    ];
    for (round, close) in [(0, true), (1, false), (2, true)] {
        for len in lens {
            let key = format!("{round}/{len:07}").into_bytes();
            let value = value(len, round);
            tree.put(&key, &value).unwrap();
            assert_eq!(tree.get(&key).unwrap().as_ref(), Some(&value));
            assert_eq!(tree.len_of(&key).unwrap(), Some(len as u64));
            model.insert(key, value);
        }
        assert_eq!(contents(&tree), model);
        tree.sync().unwrap();
        if close {
            tree.close().unwrap();
        }
        drop(tree);
        tree = world.open().unwrap();
        assert_eq!(contents(&tree), model, "after round {round}");
    }
    assert_eq!(tree.get(b"no such key").unwrap(), None);
    assert_eq!(tree.len_of(b"no such key").unwrap(), None);
    assert_eq!(tree.get_range(b"no such key", 0, 9).unwrap(), None);
    tree.delete(b"0/0200000").unwrap();
    assert_eq!(tree.get(b"0/0200000").unwrap(), None);
}

#[test]
fn every_transform_round_trips() {
    use coffer_engine::{BlockTransform, Compression, Ecc, KvProtection};
    for compression in [Compression::None, Compression::Zstd { level: 1 }] {
        for cipher in [Cipher::None, Cipher::Aes256Gcm] {
            for ecc in [
                Ecc::None,
                Ecc::SecDed,
                Ecc::ReedSolomon { data: 8, parity: 2 },
            ] {
                let mut options = small_options();
                options.transform = BlockTransform {
                    compression,
                    cipher,
                    ecc,
                };
                options.kv_protection = KvProtection::On;
                let (mut world, tree) = World::with(options.clone());
                let large = value(50_000, 1);
                tree.put(b"large", &large).unwrap();
                tree.put(b"small", b"few bytes").unwrap();
                tree.close().unwrap();
                let tree = world.open().unwrap();
                assert_eq!(tree.get(b"large").unwrap(), Some(large));
                assert_eq!(
                    tree.get(b"small").unwrap().as_deref(),
                    Some(b"few bytes".as_slice())
                );
                let found = tree.store_options();
                assert_eq!(found.transform, options.transform);
                assert_eq!(found.kv_protection, options.kv_protection);
                assert_eq!((found.frame_len, found.inline_len_max), (4096, 1000));
            }
        }
    }
}

#[test]
fn a_store_is_made_once_and_opened_with_its_credential() {
    let (mut world, tree) = World::new();
    tree.put(b"a", b"1").unwrap();
    let busy = world.open().err().expect("held by the first tree");
    assert_eq!(busy.kind(), ErrorKind::Locked);
    tree.close().unwrap();
    let again = BlobTree::create(world.env(), &credential(), small_options());
    assert_eq!(again.err().unwrap().kind(), ErrorKind::Invalid);
    let wrong = Credential::passphrase(b"wrong");
    let refused = BlobTree::open(world.env(), &wrong, &OpenOptions::default());
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::Authentication);
    let nothing = BlobTree::open(mem::env(), &credential(), &OpenOptions::default());
    assert_eq!(nothing.err().unwrap().kind(), ErrorKind::Invalid);
    assert!(world.open().is_ok());
}

#[test]
fn a_missing_current_is_not_an_empty_store() {
    let (mut world, tree) = World::new();
    tree.put(b"a", b"1").unwrap();
    tree.close().unwrap();
    let current = FileId::new(FileKind::Current, 0);
    world.fs.remove(current).unwrap();
    let error = world.open().err().expect("CURRENT is gone");
    assert_eq!(
        (error.kind(), error.place().file),
        (ErrorKind::Corruption, Some(current))
    );
}

#[test]
fn an_older_keyring_is_refused_once_a_newer_one_was_used() {
    let (mut world, tree) = World::new();
    tree.close().unwrap();
    let ids = crate::keyring::COPIES;
    let old = ids.map(|id| world.fs.contents(id).unwrap());
    let mut keyring = Keyring::open(&world.env(), &credential()).unwrap();
    let added = Credential::passphrase(b"second");
    keyring.add(&world.env(), &added, KdfCost::FLOOR).unwrap();
    world.open().unwrap().close().unwrap();
    for (id, bytes) in ids.into_iter().zip(old) {
        world.fs.set_contents(id, bytes);
    }
    assert_eq!(
        world.open().err().unwrap().kind(),
        ErrorKind::Authentication
    );
}

#[test]
fn staged_values_become_visible_with_their_batch() {
    let (mut world, tree) = World::new();
    let (one, two) = (value(30_000, 1), value(30_000, 2));
    let staged = tree.stage(&one).unwrap();
    let low = tree.stage_with(&two, Effort::Low).unwrap();
    let small = tree.stage(b"tiny").unwrap();
    let unused = tree.stage(&one).unwrap();
    assert_eq!((staged.len(), small.len()), (30_000, 4));
    assert!(contents(&tree).is_empty());
    let mut batch = BlobBatch::new();
    batch.put_staged(b"one", staged);
    batch.put_staged(b"two", low);
    batch.put_staged(b"tiny", small);
    batch.put(b"raw", &two);
    batch.delete(b"nothing");
    assert_eq!(batch.len(), 5);
    tree.write(batch, true).unwrap();
    drop(unused);
    drop(tree);
    let tree = world.open().unwrap();
    let found = contents(&tree);
    assert_eq!(found.len(), 4);
    assert_eq!(
        (&found[b"one".as_slice()], &found[b"two".as_slice()]),
        (&one, &two)
    );
    assert_eq!(
        (
            &found[b"raw".as_slice()],
            found[b"tiny".as_slice()].as_slice()
        ),
        (&two, b"tiny".as_slice())
    );
}

#[test]
fn streams_of_64_mib_pass_through() {
    let mut options = small_options();
    options.frame_len = 128 << 10;
    options.blob_file_len = 8 << 20;
    let (_, tree) = World::with(options);
    let large = value(64 << 20, 9);
    assert_eq!(
        tree.put_stream(b"large", &mut large.as_slice()).unwrap(),
        large.len() as u64
    );
    for len in [0usize, 1000, 1001, 128 << 10, (128 << 10) + 1, 256 << 10] {
        let key = format!("{len}").into_bytes();
        assert_eq!(
            tree.put_stream(&key, &mut &large[..len]).unwrap(),
            len as u64
        );
        assert_eq!(
            tree.get(&key).unwrap().as_deref(),
            Some(&large[..len]),
            "{len}"
        );
    }
    assert_eq!(tree.get(b"large").unwrap().as_ref(), Some(&large));
    let mut out = Vec::new();
    let written = tree.get_stream(b"large", 0, u64::MAX, &mut out).unwrap();
    assert_eq!(written, Some(large.len() as u64));
    assert!(out == large);
    for (offset, len) in [
        (5, 10),
        (1 << 20, 3 << 20),
        ((1 << 20) - 1, (2 << 20) + 2),
        (64 << 20, 9),
    ] {
        out.clear();
        tree.get_stream(b"large", offset as u64, len as u64, &mut out)
            .unwrap();
        assert!(out == large[offset..(offset + len).min(large.len())]);
    }
    assert_eq!(tree.get_stream(b"none", 0, 1, &mut out).unwrap(), None);
}

#[test]
fn a_source_that_fails_changes_nothing() {
    struct Failing(usize);
    impl std::io::Read for Failing {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::Error::other("broken pipe"));
            }
            let len = buf.len().min(self.0).min(1000);
            self.0 -= len;
            buf[..len].fill(1);
            Ok(len)
        }
    }
    let (_, tree) = World::new();
    tree.put(b"key", b"before").unwrap();
    for len in [0, 500, 5000, 500_000] {
        let error = tree.put_stream(b"key", &mut Failing(len)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(
            tree.get(b"key").unwrap().as_deref(),
            Some(b"before".as_slice())
        );
    }
}

#[test]
fn a_scan_shows_values_where_they_lie() {
    let tree = BlobTree::in_memory().unwrap();
    let large = vec![7; 300 << 10];
    tree.put(b"a", b"small").unwrap();
    tree.put(b"b", &large).unwrap();
    let mut scan = tree.scan(b"", b"").unwrap();
    let first = scan.next_with(|key, value| {
        assert_eq!((key, value.inline()), (&b"a"[..], Some(&b"small"[..])));
        (value.value_len().unwrap(), value.bytes(&tree).unwrap())
    });
    assert_eq!(first.unwrap(), Some((5, b"small".to_vec())));
    let second = scan.next_with(|key, value| {
        assert_eq!((key, value.inline()), (&b"b"[..], None));
        (value.value_len().unwrap(), value.bytes(&tree).unwrap())
    });
    assert_eq!(second.unwrap(), Some((large.len() as u64, large)));
    assert!(scan.next_with(|_, _| ()).unwrap().is_none());
}

#[test]
fn scans_see_one_moment_and_keep_what_they_may_read() {
    let mut options = small_options();
    options.blob_file_len = 64 << 10;
    let (_, tree) = World::with(options);
    for number in 0..50u64 {
        tree.put(format!("k{number:03}").as_bytes(), &value(3000, number))
            .unwrap();
    }
    let mut scan = tree.scan(b"k0", b"k010").unwrap();
    let snapshot = tree.snapshot();
    for number in 0..50u64 {
        tree.put(
            format!("k{number:03}").as_bytes(),
            &value(3000, 1000 + number),
        )
        .unwrap();
    }
    tree.compact(&mut |_| ()).unwrap();
    tree.collect_garbage().unwrap();
    let mut expected = 10..50u64;
    while let Some((key, found)) = scan.next().unwrap() {
        let number = expected.next().unwrap();
        assert_eq!(key, format!("k{number:03}").as_bytes());
        assert_eq!(found.bytes(&tree).unwrap(), value(3000, number));
    }
    assert_eq!(expected.next(), None);
    assert_eq!(snapshot.get(b"k007").unwrap(), Some(value(3000, 7)));
    assert_eq!(
        snapshot.get_range(b"k007", 100, 5).unwrap().as_deref(),
        Some(&value(3000, 7)[100..105])
    );
    assert_eq!(snapshot.len_of(b"k007").unwrap(), Some(3000));
    assert_eq!(tree.get(b"k007").unwrap(), Some(value(3000, 1007)));
    let before = tree.garbage().unwrap().file_count;
    drop((scan, snapshot));
    tree.compact(&mut |_| ()).unwrap();
    tree.collect_garbage().unwrap();
    assert!(
        tree.garbage().unwrap().file_count < before,
        "what nobody reads any more is gone"
    );
    assert_eq!(tree.get(b"k007").unwrap(), Some(value(3000, 1007)));
}

#[test]
fn a_flipped_bit_in_any_file_is_healed_or_named() {
    let (world, tree) = World::new();
    for number in 0..8u64 {
        tree.put(format!("{number}").as_bytes(), &value(9000, number))
            .unwrap();
    }
    tree.put(b"small", b"in the tree").unwrap();
    let model = contents(&tree);
    tree.close().unwrap();
    drop(tree);
    for id in world.fs.list().unwrap() {
        let whole = world.fs.contents(id).unwrap();
        for offset in (3..whole.len()).step_by(whole.len() / 7 + 1) {
            let fork = World {
                fs: world.fs.fork(),
                opened: offset as u64,
            };
            let mut bytes = whole.clone();
            bytes[offset] ^= 0x20;
            fork.fs.set_contents(id, bytes);
            let mut fork = fork;
            let tree = fork
                .open()
                .unwrap_or_else(|error| panic!("{id} {offset}: {error:?}"));
            assert_eq!(contents(&tree), model, "{id} {offset}");
        }
    }
}

#[test]
fn a_lost_frame_is_named_and_hurts_nothing_else() {
    let mut options = small_options();
    options.transform.ecc = coffer_engine::Ecc::None;
    let (mut world, tree) = World::with(options);
    for number in 0..8u64 {
        tree.put(format!("{number}").as_bytes(), &value(9000, number))
            .unwrap();
    }
    tree.close().unwrap();
    drop(tree);
    let id = world.blobs()[0];
    let mut bytes = world.fs.contents(id).unwrap();
    bytes[2000] ^= 1;
    world.fs.set_contents(id, bytes);
    let tree = world.open().unwrap();
    let mut lost = 0;
    for number in 0..8u64 {
        match tree.get(format!("{number}").as_bytes()) {
            Ok(found) => assert_eq!(found, Some(value(9000, number))),
            Err(error) => {
                lost += 1;
                assert_eq!(error.place().file, Some(id));
                assert!(matches!(
                    error.kind(),
                    ErrorKind::Corruption | ErrorKind::Authentication
                ));
            }
        }
    }
    assert_eq!(lost, 1);
    let report = tree.verify(&mut |_| ()).unwrap();
    assert_eq!((report.key_count, report.damaged.len()), (8, 1));
    assert_eq!(report.damaged[0].1.place().file, Some(id));
    // What cannot be read is not collected away, and does not stop the collection.
    for number in 0..7u64 {
        tree.delete(format!("{number}").as_bytes()).unwrap();
    }
    tree.compact(&mut |_| ()).unwrap();
    tree.collect_garbage().unwrap();
    assert_eq!(tree.get(b"7").unwrap(), Some(value(9000, 7)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn it_behaves_like_a_map(
        steps in proptest::collection::vec((0u8..10, 0u8..12, 0usize..20_000), 1..80),
    ) {
        let (mut world, mut tree) = World::new();
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for (seed, (step, key, len)) in steps.into_iter().enumerate() {
            let key = vec![b'k', key];
            match step {
                0..=3 => {
                    let value = value(len, seed as u64);
                    tree.put(&key, &value).unwrap();
                    model.insert(key, value);
                }
                4 => {
                    tree.delete(&key).unwrap();
                    model.remove(&key);
                }
                5 | 6 => {
                    let found = tree.get_range(&key, len as u64 / 2, len).unwrap();
                    let expected = model.get(&key).map(|value| {
                        let first = (len / 2).min(value.len());
                        value[first..(first + len).min(value.len())].to_vec()
                    });
                    prop_assert_eq!(found, expected);
                }
                7 => { tree.maintain().unwrap(); }
                8 => {
                    tree.compact(&mut |_| ()).unwrap();
                }
                _ => {
                    tree.sync().unwrap();
                    if seed % 2 == 0 {
                        tree.close().unwrap();
                    }
                    drop(tree);
                    tree = world.open().unwrap();
                }
            }
        }
        prop_assert_eq!(contents(&tree), model);
    }
}

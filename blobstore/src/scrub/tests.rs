use alloc::sync::Arc;

use coffer_engine::env::Fs;
use coffer_engine::env::mem::{self, MemFs};

use super::*;
use crate::credentials::Credential;
use crate::keyring::KdfCost;
use crate::options::{OpenOptions, StoreOptions};
use crate::tree::BlobTree;

fn sample() -> Arc<MemFs> {
    sample_of(5)
}

fn sample_of(seed: u64) -> Arc<MemFs> {
    let fs = MemFs::new();
    let options = StoreOptions {
        kdf: KdfCost::FLOOR,
        ..StoreOptions::default()
    };
    let tree = BlobTree::create(
        mem::env_over(fs.clone(), seed),
        &Credential::passphrase(b"p"),
        options,
    )
    .unwrap();
    for number in 0..6u8 {
        tree.put(&[number], &noise(300_000)).unwrap();
        tree.put(&[number, 1], &[number; 30]).unwrap();
    }
    tree.close().unwrap();
    fs
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut out);
    out
}

fn env(fs: &Arc<MemFs>) -> Env {
    mem::env_over(fs.clone(), 5)
}

fn run(fs: &Arc<MemFs>, repair: bool) -> ScrubReport {
    let mut last = 0;
    let mut total = 0;
    let report = scrub(&env(fs), repair, &mut |progress| {
        assert!(progress.done_len >= last && progress.done_len <= progress.total_len);
        (last, total) = (progress.done_len, progress.total_len);
    });
    assert!(total > 0);
    report.unwrap()
}

#[test]
fn a_fresh_store_is_whole() {
    let report = run(&sample(), false);
    assert!(report.is_readable());
    assert_eq!((report.healed_count(), report.lost_count()), (0, 0));
    let kinds: Vec<_> = report.files.iter().map(|file| file.id.kind).collect();
    for kind in [
        FileKind::Keyring,
        FileKind::Current,
        FileKind::Manifest,
        FileKind::Table,
    ] {
        assert!(kinds.contains(&kind), "{kind:?}");
    }
    assert!(
        report
            .files
            .iter()
            .all(|file| file.whole_count > 0 && file.torn_tail.is_none())
    );
}

#[test]
fn repair_gives_back_the_bytes_that_were_written() {
    let fs = sample();
    for id in fs.list().unwrap() {
        if id.kind == FileKind::Lock {
            continue;
        }
        let whole = fs.contents(id).unwrap();
        for offset in (5..whole.len()).step_by(whole.len() / 9 + 1) {
            let mut bytes = whole.clone();
            bytes[offset] ^= 0x11;
            fs.set_contents(id, bytes.clone());
            let found = run(&fs, false);
            assert_eq!(
                (found.healed_count(), found.lost_count()),
                (1, 0),
                "{id} {offset}"
            );
            assert!(
                fs.contents(id).unwrap() == bytes,
                "a scrub without repair writes nothing"
            );
            assert_eq!(run(&fs, true).healed_count(), 1);
            assert!(fs.contents(id).unwrap() == whole, "{id} {offset}");
        }
        assert_eq!(run(&fs, true).healed_count(), 0);
    }
}

#[test]
fn what_is_lost_is_named_by_file_and_place() {
    let fs = sample();
    let ids = fs.list().unwrap();
    let blob = *ids.iter().find(|id| id.kind == FileKind::Blob).unwrap();
    let mut bytes = fs.contents(blob).unwrap();
    bytes[400..20_000].fill(0xee);
    fs.set_contents(blob, bytes);
    let report = run(&fs, true);
    let lost: Vec<_> = report.files.iter().filter(|file| file.is_lost()).collect();
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].id, blob);
    assert_eq!(lost[0].lost[0].offset, 256);
    assert!(lost[0].whole_count > 0, "the rest of the file is looked at");

    let table = *ids.iter().find(|id| id.kind == FileKind::Table).unwrap();
    let whole = fs.contents(table).unwrap();
    fs.set_contents(table, whole[..whole.len() - 40].to_vec());
    assert!(
        run(&fs, true)
            .files
            .iter()
            .any(|file| file.id == table && file.is_lost())
    );
    fs.set_contents(table, Vec::new());
    assert!(
        run(&fs, true)
            .files
            .iter()
            .any(|file| file.id == table && file.fault.is_some())
    );
}

#[test]
fn a_lost_copy_of_the_keyring_is_made_from_the_other() {
    let fs = sample();
    for copy in COPIES {
        let whole = fs.contents(copy).unwrap();
        fs.set_contents(copy, b"gone".to_vec());
        let counts = |report: ScrubReport| (report.healed_count(), report.lost_count());
        assert_eq!(counts(run(&fs, false)), (1, 0));
        assert_eq!(counts(run(&fs, true)), (1, 0));
        assert!(fs.contents(copy).unwrap() == whole);
        fs.remove(copy).unwrap();
        assert_eq!(counts(run(&fs, false)), (1, 0));
        assert!(fs.contents(copy).is_none());
        assert_eq!(counts(run(&fs, true)), (1, 0));
        assert!(fs.contents(copy).unwrap() == whole);
    }
    for copy in COPIES {
        fs.set_contents(copy, b"gone".to_vec());
    }
    for repair in [false, true] {
        let report = run(&fs, repair);
        assert_eq!((report.healed_count(), report.lost_count()), (0, 2));
        assert!(!report.is_readable());
    }
}

#[test]
fn a_torn_tail_is_not_damage() {
    let fs = MemFs::new();
    let options = StoreOptions {
        kdf: KdfCost::FLOOR,
        ..StoreOptions::default()
    };
    let credential = Credential::passphrase(b"p");
    let tree = BlobTree::create(env(&fs), &credential, options).unwrap();
    tree.put(b"k", &[7; 300_000]).unwrap();
    tree.sync().unwrap();
    drop(tree);
    for id in fs.list().unwrap() {
        if matches!(id.kind, FileKind::Blob | FileKind::Wal) {
            let mut bytes = fs.contents(id).unwrap();
            bytes.extend_from_slice(&[0x55; 100]);
            fs.set_contents(id, bytes);
        }
    }
    let report = run(&fs, true);
    assert!(report.is_readable());
    assert_eq!(
        report
            .files
            .iter()
            .filter(|file| file.torn_tail.is_some())
            .count(),
        2
    );
    let tree = BlobTree::open(env(&fs), &credential, &OpenOptions::default()).unwrap();
    assert_eq!(tree.get(b"k").unwrap(), Some(vec![7; 300_000]));
    let held = scrub(&env(&fs), false, &mut |_| ()).expect_err("held");
    assert_eq!(held.kind(), ErrorKind::Locked);
}

#[test]
fn an_empty_directory_is_no_store() {
    let refused = scrub(&mem::env(), false, &mut |_| ()).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

fn file_of(fs: &Arc<MemFs>, kind: FileKind) -> FileId {
    let ids = fs.list().unwrap();
    *ids.iter().find(|id| id.kind == kind).unwrap()
}

fn lost(report: &ScrubReport) -> Vec<FileId> {
    let lost = report.files.iter().filter(|file| file.is_lost());
    lost.map(|file| file.id).collect()
}

#[test]
fn what_a_store_cannot_be_without_is_missed_without_a_key() {
    let fs = sample();
    fs.remove(CURRENT).unwrap();
    assert_eq!(lost(&run(&fs, true)), [CURRENT]);
    let fs = sample();
    for copy in COPIES {
        fs.remove(copy).unwrap();
    }
    assert_eq!(lost(&run(&fs, true)), COPIES);
}

#[test]
fn a_current_that_was_cut_short_is_lost_and_not_healed() {
    let whole = sample().contents(CURRENT).unwrap();
    for len in [
        0,
        100,
        128,
        200,
        255,
        256,
        257,
        whole.len() / 2,
        whole.len() - 1,
    ] {
        let fs = sample();
        fs.set_contents(CURRENT, whole[..len].to_vec());
        for repair in [false, true] {
            assert_eq!(lost(&run(&fs, repair)), [CURRENT], "{len}");
        }
    }
}

#[test]
fn a_file_of_another_store_is_named() {
    let (fs, other) = (sample(), sample_of(9));
    for id in [CURRENT, COPIES[0], file_of(&fs, FileKind::Blob)] {
        let (own, foreign) = (fs.contents(id).unwrap(), other.contents(id).unwrap());
        fs.set_contents(id, foreign);
        assert_eq!(lost(&run(&fs, false)), [id]);
        fs.set_contents(id, own);
    }
}

#[test]
fn with_the_key_missing_and_shortened_files_are_found_and_nothing_is_written() {
    let credential = Credential::passphrase(b"p");
    let look = |fs: &Arc<MemFs>| {
        let mut report = run(fs, false);
        report.add_named(&env(fs), &credential).unwrap();
        lost(&report)
    };
    for kind in [FileKind::Blob, FileKind::Table, FileKind::Manifest] {
        let fs = sample();
        let id = file_of(&fs, kind);
        let all = |fs: &Arc<MemFs>| -> Vec<_> {
            let mut ids = fs.list().unwrap();
            ids.retain(|id| id.kind != FileKind::Lock);
            ids.sort_unstable();
            ids.into_iter().map(|id| (id, fs.contents(id))).collect()
        };
        let before = all(&fs);
        assert!(look(&fs).is_empty());
        assert!(all(&fs) == before);
        let whole = fs.contents(id).unwrap();
        fs.set_contents(id, whole[..whole.len() / 2].to_vec());
        assert_eq!(look(&fs), [id], "{kind:?} cut short");
        fs.remove(id).unwrap();
        assert_eq!(look(&fs), [id], "{kind:?} missing");
    }
    let wrong = run(&sample(), false).add_named(&env(&sample()), &Credential::passphrase(b"q"));
    assert_eq!(wrong.expect_err("wrong").kind(), ErrorKind::Authentication);
}

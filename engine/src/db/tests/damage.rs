//! Damage to files of a closed or crashed store: the right answers or a named error.

use super::*;
use crate::ecc::Protector;

/// Keys `0000..count` with their number as value, the first half in tables, the rest in the log.
fn sample(fs: &Arc<MemFs>, options: &Options, count: u16) -> Contents {
    let db = open(fs, options).unwrap();
    let mut contents = Contents::new();
    for i in 0..count {
        let (key, value) = (
            format!("{i:04}").into_bytes(),
            format!("value {i}").into_bytes(),
        );
        put(&db, &key, &value);
        contents.insert(key, value);
        if i == count / 2 {
            db.flush().unwrap();
        }
        if i % 8 == 0 {
            db.sync().unwrap();
        }
    }
    db.sync().unwrap();
    contents
}

fn files(fs: &Arc<MemFs>) -> Vec<FileId> {
    let list = mem::env_over(fs.clone(), 1).fs.list().unwrap();
    list.into_iter()
        .filter(|id| id.kind != FileKind::Lock)
        .collect()
}

fn quick() -> Options {
    Options {
        memtable_len: 1 << 20,
        ..small()
    }
}

fn no_ecc() -> Options {
    let options = quick();
    Options {
        transform: BlockTransform {
            ecc: Ecc::None,
            ..options.transform
        },
        ..options
    }
}

/// What the store says: its contents, or the error of opening or reading it.
fn look(fs: &Arc<MemFs>, options: &Options) -> Result<Contents> {
    let db = open(fs, options)?;
    let mut cursor = db.range(.., None)?;
    let mut contents = Contents::new();
    while let Some(entry) = cursor.next()? {
        contents.insert(entry.key, entry.value);
    }
    Ok(contents)
}

fn is_prefix(found: &Contents, whole: &Contents) -> bool {
    found.iter().eq(whole.iter().take(found.len()))
}

#[test]
fn every_missing_file_is_named() {
    let fs = MemFs::new();
    sample(&fs, &quick(), 40);
    for id in files(&fs) {
        let damaged = fs.fork();
        mem::env_over(damaged.clone(), 1).fs.remove(id).unwrap();
        let error = look(&damaged, &quick()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{id}");
        assert_eq!(error.place().file, Some(id), "{error}");
    }
}

#[test]
fn files_of_an_older_store_are_refused() {
    let fs = MemFs::new();
    sample(&fs, &quick(), 40);
    let old = fs.fork();
    let db = open(&fs.fork(), &quick()).unwrap();
    drop(db);
    // The same names with other salts, from a store with the same key.
    let other = MemFs::new();
    let env = mem::env_over(other.clone(), 77);
    let db = Db::open(env, one_key(), STORE, quick(), None).unwrap();
    put(&db, b"0000", b"foreign");
    db.flush().unwrap();
    put(&db, b"0001", b"foreign");
    db.sync().unwrap();
    drop(db);
    let mut tried = 0;
    for id in files(&old) {
        if let Some(bytes) = other.contents(id) {
            let mixed = old.fork();
            mixed.set_contents(id, bytes);
            let error = look(&mixed, &quick()).unwrap_err();
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::Authentication | ErrorKind::Corruption
                ),
                "{id}: {error}"
            );
            tried += 1;
        }
    }
    assert!(tried >= 3);
}

#[test]
fn a_log_cut_anywhere_gives_a_prefix_or_an_error() {
    let fs = MemFs::new();
    let options = no_ecc();
    let whole = sample(&fs, &options, 40);
    let wal = files(&fs)
        .into_iter()
        .find(|id| id.kind == FileKind::Wal)
        .unwrap();
    let bytes = fs.contents(wal).unwrap();
    let mut prefixes = alloc::collections::BTreeSet::new();
    for len in 0..bytes.len() {
        let cut = fs.fork();
        cut.set_contents(wal, bytes[..len].to_vec());
        match look(&cut, &options) {
            Ok(found) => {
                assert!(is_prefix(&found, &whole), "cut at {len}");
                assert!(found.len() > 20);
                prefixes.insert(found.len());
            }
            Err(error) => {
                assert_eq!(error.place().file, Some(wal), "cut at {len}: {error}");
                assert!(len < 256, "cut at {len}: {error}");
            }
        }
    }
    assert!(prefixes.len() > 2, "{prefixes:?}");
    assert_eq!(look(&fs, &options).unwrap(), whole);
}

#[test]
fn a_flipped_byte_of_a_log_is_a_torn_tail_only_at_the_end() {
    let fs = MemFs::new();
    let options = no_ecc();
    let whole = sample(&fs, &options, 40);
    let wal = files(&fs)
        .into_iter()
        .find(|id| id.kind == FileKind::Wal)
        .unwrap();
    let bytes = fs.contents(wal).unwrap();
    let (mut errors, mut prefixes) = (0, 0);
    for at in (0..bytes.len()).step_by(3) {
        let damaged = fs.fork();
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x11;
        damaged.set_contents(wal, bytes);
        match look(&damaged, &options) {
            Ok(found) => {
                assert!(is_prefix(&found, &whole), "byte {at}");
                prefixes += usize::from(found.len() < whole.len());
            }
            Err(error) => {
                assert_eq!(error.place().file, Some(wal), "byte {at}: {error}");
                errors += 1;
            }
        }
    }
    assert!(
        errors > 0 && prefixes > 0,
        "{errors} errors, {prefixes} prefixes"
    );
}

#[test]
fn flipped_bytes_anywhere_never_change_an_answer() {
    for options in [quick(), no_ecc()] {
        let fs = MemFs::new();
        let whole = sample(&fs, &options, 40);
        for id in files(&fs) {
            let bytes = fs.contents(id).unwrap();
            for at in (0..bytes.len()).step_by(11) {
                let damaged = fs.fork();
                let mut bytes = bytes.clone();
                bytes[at] ^= 0x40;
                damaged.set_contents(id, bytes);
                match look(&damaged, &options) {
                    Ok(found) if id.kind == FileKind::Wal => assert!(is_prefix(&found, &whole)),
                    Ok(found) => assert_eq!(found, whole, "{id} byte {at}"),
                    Err(error) => {
                        assert!(
                            id.kind != FileKind::Manifest,
                            "{id} byte {at} heals: {error}"
                        );
                        assert_eq!(error.place().file, Some(id), "{id} byte {at}: {error}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_cut_table_is_named_when_the_store_is_opened() {
    let fs = MemFs::new();
    sample(&fs, &quick(), 40);
    let table = files(&fs)
        .into_iter()
        .find(|id| id.kind == FileKind::Table)
        .unwrap();
    let bytes = fs.contents(table).unwrap();
    for len in [0, 100, 255, 256, bytes.len() - 1, bytes.len() + 1] {
        let damaged = fs.fork();
        let mut bytes = bytes.clone();
        bytes.resize(len, 0);
        damaged.set_contents(table, bytes);
        let error = open(&damaged, &quick()).unwrap_err();
        assert_eq!(
            (error.kind(), error.place().file),
            (ErrorKind::Corruption, Some(table))
        );
    }
}

#[test]
fn a_manifest_that_forgot_a_log_is_found_out() {
    let fs = MemFs::new();
    let options = quick();
    let db = open(&fs, &options).unwrap();
    let manifest = db
        .live_files()
        .iter()
        .find(|f| f.id.kind == FileKind::Manifest)
        .unwrap()
        .id;
    let before = fs.contents(manifest).unwrap();
    for i in 0..4 {
        put(&db, b"key", &[i]);
        db.sync().unwrap();
    }
    let cut = fs.fork();
    cut.set_contents(manifest, before);
    let error = open(&cut, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert_eq!(look(&fs.fork(), &options).unwrap()[b"key".as_slice()], [3]);
}

#[test]
fn damage_to_a_block_is_an_error_not_a_miss() {
    let fs = MemFs::new();
    let options = Options {
        cache_len: 0,
        ..no_ecc()
    };
    let db = open(&fs, &options).unwrap();
    put(&db, b"key", b"old");
    db.compact_all(&mut |_| ()).unwrap();
    put(&db, b"key", b"new");
    db.flush().unwrap();
    let newest = db.super_version().version.level(0)[0].meta().file();
    db.close().unwrap();
    let bytes = fs.contents(newest).unwrap();
    let mut errors = 0;
    for at in 256..bytes.len() {
        let damaged = fs.fork();
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        damaged.set_contents(newest, bytes);
        let db = open(&damaged, &options).unwrap();
        match db.get(b"key", None) {
            Ok(value) => assert_eq!(value.unwrap().bytes, b"new", "byte {at}"),
            Err(error) => {
                assert_eq!(error.place().file, Some(newest));
                errors += 1;
            }
        }
        // Keys that are elsewhere can still be read and written.
        put(&db, b"other", b"fine");
        assert_eq!(get(&db, b"other").unwrap(), b"fine");
    }
    // Single bits of a frame heal even without parity.
    assert!(
        errors > (bytes.len() - 256) / 8,
        "{errors} of {}",
        bytes.len()
    );
}

#[test]
fn a_bit_that_flips_in_memory_is_neither_read_nor_written() {
    let fs = MemFs::new();
    let db = open(&fs, &quick()).unwrap();
    put(&db, b"a", b"value");
    put(&db, b"b", b"value");
    db.super_version().memtable.flip_a_bit();
    assert_eq!(
        db.get(b"a", None).unwrap_err().kind(),
        ErrorKind::Corruption
    );
    assert_eq!(
        db.range(.., None).unwrap().next().unwrap_err().kind(),
        ErrorKind::Corruption
    );
    assert_eq!(get(&db, b"b").unwrap(), b"value");
    assert_eq!(db.flush().unwrap_err().kind(), ErrorKind::Corruption);
    assert!(files(&fs).iter().all(|id| id.kind != FileKind::Table));
    assert_eq!(
        db.get(b"a", None).unwrap_err().kind(),
        ErrorKind::Corruption
    );
    // Without digests nobody notices: that is what they are for.
    let options = Options {
        kv_protection: KvProtection::Off,
        ..quick()
    };
    let db = open(&MemFs::new(), &options).unwrap();
    put(&db, b"a", b"value");
    db.super_version().memtable.flip_a_bit();
    assert_eq!(get(&db, b"a").unwrap(), b"valud");
}

#[test]
fn a_damaged_input_stops_compactions_and_nothing_else() {
    let fs = MemFs::new();
    let options = Options {
        level0_trigger: 2,
        level0_stall: 3,
        cache_len: 0,
        ..no_ecc()
    };
    let db = open(&fs, &options).unwrap();
    put(&db, b"a", b"lost");
    put(&db, b"z", b"lost too");
    db.flush().unwrap();
    let table = db.super_version().version.level(0)[0].meta().file();
    let mut bytes = fs.contents(table).unwrap();
    bytes[300..340].fill(0);
    fs.set_contents(table, bytes);
    let mut errors = 0;
    for i in 0..10_u8 {
        put(&db, b"key", &[i]);
        db.flush().unwrap();
        while let Ok(Work::Did) = db.maintain().inspect_err(|_| errors += 1) {}
    }
    assert_eq!(errors, 1);
    assert!(db.stats().is_uncompactable && !db.is_poisoned());
    assert_eq!(get(&db, b"key").unwrap(), [9]);
    assert_eq!(db.get(b"a", None).unwrap_err().place().file, Some(table));
}

/// Parity of an empty block, one checksum wrong, behind a log that nobody closed: whoever holds the
/// medium can append that without a key.
#[test]
fn parity_alone_behind_an_open_log_is_a_torn_tail() {
    let fs = MemFs::new();
    let contents = sample(&fs, &quick(), 20);
    let protector = Protector::new(Ecc::METADATA);
    let mut tail = vec![0; Ecc::METADATA.parity_len(0)];
    protector.protect(&[], &mut tail);
    tail[0] ^= 1;
    for id in files(&fs) {
        let damaged = fs.fork();
        let bytes = fs.contents(id).unwrap();
        damaged.set_contents(id, [bytes, tail.clone()].concat());
        match look(&damaged, &quick()) {
            Ok(found) => assert_eq!(found, contents, "{id}"),
            Err(error) => assert_eq!(error.place().file, Some(id), "{error}"),
        }
    }
}

//! Edits of the manifest: small, in a chain, begun anew when there are many.

use super::*;

fn manifest_of(db: &Db) -> FileId {
    let mut files = db.live_files().into_iter().map(|file| file.id);
    files.find(|id| id.kind == FileKind::Manifest).unwrap()
}

/// A flush and a compaction write as much into the manifest of a store with hundreds of tables in
/// a level as into that of one with a few.
#[test]
fn edits_stay_small_whatever_the_size_of_a_level() {
    let mut grown = Vec::new();
    for count in [500, 12_000] {
        let fs = MemFs::new();
        let options = Options {
            memtable_len: 1 << 20,
            ..small()
        };
        let db = open(&fs, &options).unwrap();
        for i in 0..count {
            put(&db, format!("{i:06}").as_bytes(), &[7; 40]);
        }
        db.compact_all(&mut |_| ()).unwrap();
        let levels = db.stats().levels;
        let tables = levels.iter().map(|level| level.table_count);
        assert!(count < 1000 || tables.sum::<usize>() > 100);
        let manifest = manifest_of(&db);
        let len = || fs.contents(manifest).unwrap().len();
        let before = len();
        put(&db, b"000100", b"new");
        db.flush().unwrap();
        let flushed = len();
        db.compact_range(b"000100", Some(b"000100"), &mut |_| ())
            .unwrap();
        assert_eq!(manifest_of(&db), manifest);
        grown.push((flushed - before, len() - flushed));
    }
    assert!(grown[1].0 <= grown[0].0 + 16, "{grown:?}");
    // A table more or less may be merged, and numbers are longer.
    assert!(grown[1].1 <= 2 * grown[0].1, "{grown:?}");
    assert!(grown[1].1 < 8 << 10, "{grown:?}");
}

/// A whole edit, sealed with the right key and in its place of the chain, is refused where it does
/// not continue the one before.
#[test]
fn an_edit_that_does_not_follow_is_refused() {
    for (skipped, removed) in [(1, None), (0, Some((3, 999)))] {
        let fs = MemFs::new();
        let db = open(&fs, &small()).unwrap();
        put(&db, b"key", b"value");
        db.flush().unwrap();
        {
            let mut manifest = db.manifest.lock();
            let edit = VersionEdit {
                counter: manifest.state.counter + 1 + skipped,
                session: manifest.state.session,
                removed: removed.into_iter().collect(),
                ..VersionEdit::default()
            };
            manifest.log.append(&edit).unwrap();
        }
        let error = open(&fs.fork(), &small()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
        assert_eq!(error.place().file, Some(manifest_of(&db)));
    }
}

//! Checkpoints: whole, separate, and linked where that can be.

use super::*;
use crate::env::os;
use crate::env::os::OsFs;

fn fill(db: &Db, round: u32) {
    for i in 0..400_u32 {
        put(
            db,
            format!("{:05}", i * 7 % 400).as_bytes(),
            format!("{round} {i}").as_bytes(),
        );
    }
}

#[test]
fn a_checkpoint_is_a_store_of_its_own() {
    let (fs, other) = (MemFs::new(), MemFs::new());
    let db = open(&fs, &small()).unwrap();
    fill(&db, 0);
    db.write_annex(vec![(b"k".to_vec(), Some(b"v".to_vec()))])
        .unwrap();
    put(&db, b"last", b"in memory only");
    let expected = all(&db, None);
    db.checkpoint(other.clone()).unwrap();
    let error = db.checkpoint(other.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    // The first store goes on, and leaves none of these tables.
    fill(&db, 1);
    db.compact_all(&mut |_| ()).unwrap();
    let second = open(&other, &small()).unwrap();
    assert_eq!(all(&second, None), expected);
    assert_eq!(second.annex(), db.annex());
    let before = db.last_seqno();
    put(&second, b"own", b"history");
    fill(&second, 2);
    second.compact_all(&mut |_| ()).unwrap();
    second.close().unwrap();
    assert_eq!(db.last_seqno(), before);
    assert!(get(&db, b"own").is_none());
    assert_eq!(get(&db, b"00007").unwrap(), b"1 1");
    drop(second);
    let second = open(&other, &small()).unwrap();
    assert_eq!(get(&second, b"own").unwrap(), b"history");
    assert_eq!(get(&second, b"00007").unwrap(), b"2 1");
}

#[test]
fn tables_are_linked_on_one_medium_and_outlive_the_first_store() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let db = Db::open(
        os::env(home.path()).unwrap(),
        one_key(),
        STORE,
        small(),
        None,
    )
    .unwrap();
    fill(&db, 0);
    let expected = all(&db, None);
    db.checkpoint(Arc::new(OsFs::open(other.path()).unwrap()))
        .unwrap();
    let tables = db
        .live_files()
        .into_iter()
        .filter(|file| file.id.kind == FileKind::Table);
    let links = |id: FileId| {
        let file = rustix::fs::stat(other.path().join(format!("{id}"))).unwrap();
        file.st_nlink
    };
    assert!(tables.map(|file| links(file.id)).all(|count| count == 2));
    fill(&db, 1);
    db.compact_all(&mut |_| ()).unwrap();
    db.close().unwrap();
    drop(db);
    home.close().unwrap();
    let env = os::env(other.path()).unwrap();
    let second = Db::open(env, one_key(), STORE, small(), None).unwrap();
    assert_eq!(all(&second, None), expected);
}

use super::*;
use crate::batch::WriteBatch;
use crate::crypto::NoKeys;
use crate::db::{Db, Work, WriteOptions};
use crate::env::Fs;
use crate::env::mem::{self, MemFs};
use alloc::format;
use alloc::vec;

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

const STORE: StoreId = StoreId([3; 16]);

fn keys() -> Arc<dyn KeySource> {
    Arc::new(NoKeys)
}

/// Small enough that a few thousand writes fill several levels.
fn options() -> Options {
    Options {
        kv_protection: KvProtection::On,
        memtable_len: 4 << 10,
        block_len: 512,
        table_len: 2 << 10,
        level_base_len: 8 << 10,
        level_ratio: 3,
        ..Options::default()
    }
}

fn open(fs: &Arc<MemFs>) -> Result<Db> {
    Db::open(mem::env_over(fs.clone(), 5), keys(), STORE, options(), None)
}

fn mend(fs: &Arc<MemFs>) -> Result<RepairReport> {
    repair(
        &mem::env_over(fs.clone(), 6),
        &keys(),
        STORE,
        &options(),
        None,
    )
}

fn all(db: &Db) -> Contents {
    let mut cursor = db.range(.., None).unwrap();
    let mut all = Contents::new();
    while let Some(entry) = cursor.next().unwrap() {
        assert_eq!(
            db.get(&entry.key, None).unwrap().unwrap().bytes,
            entry.value
        );
        all.insert(entry.key, entry.value);
    }
    all
}

/// Writes and deletes at random, and does the work that is due.
fn churn(db: &Db, random: &mut u64, count: u64) {
    for i in 0..count {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        let key = format!("{:05}", *random % 1500);
        let mut batch = WriteBatch::new();
        match *random >> 32 & 127 {
            1 => {
                let end = format!("{:05}", *random % 1500 + (*random >> 40) % 60);
                batch.delete_range(key.as_bytes(), end.as_bytes());
            }
            kind if kind % 4 == 0 => batch.delete(key.as_bytes()),
            _ => batch.put(
                key.as_bytes(),
                format!("{i} of {random} in {count}").as_bytes(),
            ),
        }
        db.write(batch, WriteOptions { sync: i % 16 == 0 }).unwrap();
        if i % 64 == 0 {
            while db.maintain().unwrap() == Work::Did {}
        }
    }
    let sync = WriteOptions { sync: true };
    db.write(WriteBatch::new(), sync).unwrap();
}

fn files_of(fs: &MemFs, kind: FileKind) -> Vec<FileId> {
    let mut files = fs.list().unwrap();
    files.retain(|id| id.kind == kind);
    files
}

/// A store that was not closed, with several levels and a log, and what is in it.
fn store(seed: u64) -> (Arc<MemFs>, Contents) {
    let fs = MemFs::new();
    let db = open(&fs).unwrap();
    db.write_annex(vec![(b"a".to_vec(), Some(b"b".to_vec()))])
        .unwrap();
    churn(&db, &mut (seed * 77 + 1), 3000);
    let levels = db.stats().levels;
    assert!(
        levels.iter().filter(|level| level.table_count > 0).count() >= 2,
        "{levels:?}"
    );
    (fs.fork(), all(&db))
}

/// Repairs the store; it must hold this, and every file must be there still.
fn check(fs: &Arc<MemFs>, expected: &Contents, what: &str) -> RepairReport {
    let bytes_of = |id| fs.contents(id).unwrap();
    let before: Vec<_> = fs
        .list()
        .unwrap()
        .into_iter()
        .map(|id| (id, bytes_of(id)))
        .collect();
    let report = mend(fs).unwrap();
    for (id, bytes) in before {
        let set_aside = report.set_aside.iter().find(|left| left.file == id);
        assert_eq!(
            bytes_of(set_aside.map_or(id, |left| left.name)),
            bytes,
            "{what}: {id}"
        );
    }
    let db = open(fs).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(all(&db) == *expected, "{what}");
    assert!(report.gaps.is_empty(), "{what}: {:?}", report.gaps);
    let aside = || report.set_aside.iter().map(|left| left.name);
    assert!(aside().all(|id| fs.contents(id).is_some()));
    db.compact_all(&mut |_| ()).unwrap();
    assert!(all(&db) == *expected, "{what}, compacted");
    drop(db);
    assert!(aside().all(|id| fs.contents(id).is_some()));
    report
}

#[test]
fn a_lost_or_damaged_manifest_is_rebuilt() {
    for seed in 1..3 {
        let (fs, expected) = store(seed);
        let manifest = files_of(&fs, FileKind::Manifest)[0];
        let whole = fs.contents(manifest).unwrap();
        let damaged = |change: &dyn Fn(&MemFs)| {
            let fs = fs.fork();
            change(&fs);
            fs
        };
        let report = check(&damaged(&|_| ()), &expected, "healthy");
        assert_eq!(report.annex_count, 1);
        assert!(report.batch_count > 0);
        let gone = damaged(&|fs| fs.remove(CURRENT).unwrap());
        assert!(open(&gone).is_err());
        assert_eq!(check(&gone, &expected, "CURRENT gone").annex_count, 1);
        let gone = damaged(&|fs| fs.remove(manifest).unwrap());
        assert!(open(&gone).is_err());
        check(&gone, &expected, "manifest gone");
        let gone = damaged(&|fs| {
            fs.remove(manifest).unwrap();
            fs.remove(CURRENT).unwrap();
        });
        check(&gone, &expected, "both gone");
        for part in 0..6 {
            let len = whole.len() * part / 6;
            let cut = damaged(&|fs| fs.set_contents(manifest, whole[..len].to_vec()));
            check(&cut, &expected, &format!("cut to {len}"));
            let wrong = damaged(&|fs| {
                let mut bytes = whole.clone();
                bytes[len..].fill(0x5a);
                fs.set_contents(manifest, bytes);
                fs.set_contents(CURRENT, vec![1; 100]);
            });
            check(&wrong, &expected, &format!("overwritten from {len}"));
        }
    }
}

fn without_manifest(fs: &MemFs) -> Arc<MemFs> {
    let fork = fs.fork();
    for id in files_of(&fork, FileKind::Manifest) {
        fork.remove(id).unwrap();
    }
    fork
}

/// Readers hold on to old versions, so that most tables that the store ever had lie there still.
#[test]
fn inputs_and_outputs_are_never_both_taken() {
    for seed in 1..3 {
        let fs = MemFs::new();
        let db = open(&fs).unwrap();
        let mut random = seed * 1234 + 7;
        let mut held = Vec::new();
        for round in 0..20 {
            churn(&db, &mut random, 90);
            held.push(db.range(.., None).unwrap());
            if round % 10 == 9 {
                let report = check(&without_manifest(&fs), &all(&db), "all there was");
                let is_superseded = |left: &&SetAside| left.reason == Reason::Superseded;
                let count = report.set_aside.iter().filter(is_superseded).count();
                assert!(count > 3, "{count}");
            }
        }
    }
}

/// Compactions have written their outputs, and all inputs, some of them or none are there.
#[test]
fn outputs_are_taken_over_inputs() {
    for seed in 1..3 {
        let (fs, expected) = store(seed);
        let db = open(&fs).unwrap();
        db.flush().unwrap();
        let inputs = files_of(&fs, FileKind::Table);
        let held = db.range(.., None).unwrap();
        db.compact_all(&mut |_| ()).unwrap();
        let all_there = without_manifest(&fs);
        let outputs = files_of(&all_there, FileKind::Table);
        assert!(inputs.iter().all(|id| outputs.contains(id)));
        let report = check(&all_there, &expected, "all there");
        assert!(report.taken.iter().all(|id| !inputs.contains(id)));
        for count in [1, inputs.len() / 2, inputs.len()] {
            let state = without_manifest(&fs);
            inputs[..count]
                .iter()
                .for_each(|&id| state.remove(id).unwrap());
            check(&state, &expected, "inputs gone");
        }
        drop(held);
    }
}

/// One compaction at a time: whatever part of its outputs is there, beside all inputs.
#[test]
fn outputs_that_are_not_all_there_are_not_taken() {
    let mut seen = 0;
    for seed in 1..3 {
        let fs = MemFs::new();
        let db = open(&fs).unwrap();
        let mut random = seed * 4321 + 7;
        for _ in 0..24 {
            churn(&db, &mut random, 63);
            db.flush().unwrap();
            let expected = all(&db);
            let start = fs.fork();
            if db.maintain().unwrap() != Work::Did {
                continue;
            }
            let tables = files_of(&start, FileKind::Table);
            let mut outputs = files_of(&fs, FileKind::Table);
            outputs.retain(|id| !tables.contains(id));
            for (i, &missing) in outputs.iter().enumerate() {
                for is_torn in [false, true] {
                    let state = start.fork();
                    for &id in &outputs {
                        let bytes = fs.contents(id).unwrap();
                        let len = if id == missing {
                            bytes.len() - 1
                        } else {
                            bytes.len()
                        };
                        if id != missing || is_torn {
                            state.set_contents(id, bytes[..len].to_vec());
                        }
                    }
                    seen += usize::from(outputs.len() > 1);
                    check(
                        &without_manifest(&state),
                        &expected,
                        &format!("without output {i}"),
                    );
                }
            }
        }
    }
    assert!(seen > 3, "{seen}");
}

#[test]
fn where_nothing_can_be_read_nothing_changes() {
    struct Other;
    impl KeySource for Other {
        fn epoch(&self) -> u32 {
            0
        }
        fn master(&self, _: u32) -> Result<Arc<crate::crypto::MasterKey>> {
            Err(Error::key_missing("no key"))
        }
    }
    let (fs, expected) = store(1);
    let env = mem::env_over(fs.clone(), 6);
    let files = fs.list().unwrap();
    let other: Arc<dyn KeySource> = Arc::new(Other);
    let error = repair(&env, &other, StoreId([4; 16]), &options(), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert_eq!(fs.list().unwrap(), files);
    assert!(all(&open(&fs).unwrap()) == expected);
    let error = mend(&MemFs::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// A log that is lost leaves a gap, which is told; a table that is torn is set aside.
#[test]
fn what_is_lost_is_told() {
    let fs = MemFs::new();
    let db = open(&fs).unwrap();
    churn(&db, &mut 5, 2000);
    db.flush().unwrap();
    drop(db);
    let table = files_of(&fs, FileKind::Table)[0];
    let bytes = fs.contents(table).unwrap();
    fs.set_contents(table, bytes[..bytes.len() - 7].to_vec());
    fs.remove(CURRENT).unwrap();
    let report = mend(&fs).unwrap();
    let left = report
        .set_aside
        .iter()
        .find(|left| left.file == table)
        .unwrap();
    assert_eq!(left.reason, Reason::Unreadable);
    assert!(left.error.is_some());
    assert!(!all(&open(&fs).unwrap()).is_empty());
}

/// Only the manifest has the number of an ingested table, until a compaction writes it out.
#[test]
fn ingested_tables_are_taken_where_their_number_is_known() {
    let fs = MemFs::new();
    let db = open(&fs).unwrap();
    let put = |keys: core::ops::Range<u32>, value: &[u8]| {
        let mut batch = WriteBatch::new();
        keys.for_each(|i| batch.put(format!("{i:05}").as_bytes(), value));
        db.write(batch, WriteOptions { sync: true }).unwrap();
    };
    put(0..300, b"old");
    let before = all(&db);
    let ingest = |db: &Db, end: Result<()>| {
        db.ingest(|sink| {
            let mut keys = 100..200_u32;
            keys.try_for_each(|i| sink.put(format!("{i:05}").as_bytes(), &[7; 40]))?;
            end
        })
    };
    let seqno = ingest(&db, Ok(())).unwrap();
    put(190..192, b"newer");
    let expected = all(&db);
    let open_still = fs.fork();
    open_still.remove(CURRENT).unwrap();
    let report = check(&open_still, &expected, "manifest there");
    let is_unnumbered = |left: &&SetAside| left.reason == Reason::Unnumbered;
    assert_eq!(report.set_aside.iter().filter(is_unnumbered).count(), 0);
    // Without it they are set aside, and what they hid is there again.
    let lost = without_manifest(&fs);
    let report = mend(&lost).unwrap();
    assert!(report.set_aside.iter().filter(is_unnumbered).count() > 1);
    assert_eq!(report.gaps, vec![(seqno, seqno + 1)]);
    let mut left = before;
    for i in 190..192 {
        left.insert(format!("{i:05}").into_bytes(), b"newer".to_vec());
    }
    let mended = open(&lost).unwrap();
    assert!(all(&mended) == left);
    ingest(&mended, Ok(())).unwrap();
    assert_eq!(all(&mended).len(), 300);
    db.compact_all(&mut |_| ()).unwrap();
    let report = check(&without_manifest(&fs), &expected, "compacted");
    assert_eq!(report.set_aside.iter().filter(is_unnumbered).count(), 0);
    // An ingest that did not come to its end belongs to no store.
    assert!(ingest(&db, Err(Error::canceled("enough"))).is_err());
    check(&without_manifest(&fs), &expected, "canceled");
}

/// Logs that are lost between others leave gaps.
#[test]
fn lost_logs_leave_gaps_that_are_told() {
    let fs = MemFs::new();
    let db = open(&fs).unwrap();
    let put = |key: u32| {
        let mut batch = WriteBatch::new();
        batch.put(format!("{key:05}").as_bytes(), &[7; 900]);
        db.write(batch, WriteOptions { sync: true }).unwrap()
    };
    // As many memtables as may wait, and the one that takes writes: three logs.
    let mut firsts = BTreeMap::new();
    while firsts.len() < 3 {
        let (seqno, logs) = (put(firsts.len() as u32), files_of(&fs, FileKind::Wal));
        firsts
            .entry(logs.into_iter().max().unwrap())
            .or_insert(seqno);
    }
    let logs: Vec<(FileId, SeqNo)> = firsts.into_iter().collect();
    let last_seqno = db.last_seqno();
    for lost in 0..2 {
        let state = without_manifest(&fs);
        state.remove(logs[lost].0).unwrap();
        let report = mend(&state).unwrap();
        assert_eq!(report.gaps, [(logs[lost].1, logs[lost + 1].1)]);
        assert_eq!(report.last_seqno, last_seqno);
    }
    let state = without_manifest(&fs);
    assert!(mend(&state).unwrap().gaps.is_empty());
}

struct Pointers(bool);

impl IndirectHook for Pointers {
    fn session(&self) -> alloc::boxed::Box<dyn crate::hook::IndirectSession> {
        unreachable!("a repair drops nothing")
    }
    fn present(&self, _: &[u8]) -> Result<bool> {
        Ok(self.0)
    }
    fn before_flush(&self) -> Result<()> {
        Ok(())
    }
}

/// A record that nothing vouches for is taken only where its pointers lead somewhere.
#[test]
fn pointers_that_lead_nowhere_end_a_log() {
    let fs = MemFs::new();
    let db = open(&fs).unwrap();
    for key in [b"a", b"b", b"c"] {
        let mut batch = WriteBatch::new();
        batch.put_indirect(key, b"pointer");
        db.write(batch, WriteOptions { sync: true }).unwrap();
    }
    for (is_there, count) in [(true, 3), (false, 2)] {
        let state = without_manifest(&fs);
        let env = mem::env_over(state.clone(), 6);
        let hook = Pointers(is_there);
        repair(&env, &keys(), STORE, &options(), Some(&hook)).unwrap();
        // Later records vouch for the first two.
        assert_eq!(all(&open(&state).unwrap()).len(), count);
    }
}

/// Tables that do not say where they come from, as earlier versions wrote them: what later edits may
/// have added is taken, what the manifest has lost is not.
#[test]
fn tables_without_lineage_may_have_been_added_by_edits_that_are_lost() {
    let fs = MemFs::new();
    for _ in 0..3 {
        let db = open(&fs).unwrap();
        db.write_annex(vec![(b"a".to_vec(), Some(b"b".to_vec()))])
            .unwrap();
    }
    let manifest = files_of(&fs, FileKind::Manifest)[0].number;
    let place = Place {
        env: mem::env_over(fs.clone(), 9),
        keys: keys(),
        store_id: STORE,
        transform: options().transform,
    };
    let opener = opener(&place, &Arc::new(Cache::new(0)), 0);
    for (number, is_taken) in [(manifest + 3, true), (manifest - 1, false)] {
        let options = Options {
            kv_protection: KvProtection::Off,
            ..options()
        };
        let sink = opener.create(number).unwrap();
        let mut writer = crate::table::TableWriter::new(sink, number, &options);
        let entry = crate::entry::EntryRef {
            key: b"key",
            seqno: 1,
            kind: crate::types::KeyKind::Put,
            value: b"value",
            digest: None,
        };
        writer.add(&entry).unwrap();
        writer.finish().unwrap();
        let report = mend(&fs.fork()).unwrap();
        let id = FileId::new(FileKind::Table, number);
        assert_eq!(report.taken.contains(&id), is_taken, "{number}");
    }
}

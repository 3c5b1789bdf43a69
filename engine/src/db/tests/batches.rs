//! Batches longer than a record of the log.

use super::*;

fn long(round: u8) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.delete_range(b"", b"z");
    for i in 0..200_u32 {
        batch.put(format!("{i:05}").as_bytes(), &[round; 40]);
    }
    batch
}

/// The log is cut at every byte: the batch is there as a whole, or nothing of it.
#[test]
fn a_long_batch_comes_back_whole_or_not_at_all() {
    let fs = MemFs::new();
    let mut options = small();
    options.memtable_len = 1 << 20;
    let db = open(&fs, &options).unwrap();
    for round in 1..3 {
        let sync = round == 1;
        db.write(long(round), WriteOptions { sync }).unwrap();
    }
    db.write_out(db.writer.lock().wal.as_mut().unwrap())
        .unwrap();
    let log = db.live_files();
    let log = log.iter().find(|file| file.id.kind == FileKind::Wal);
    let log = log.unwrap().id;
    let whole = fs.contents(log).unwrap();
    let mut seen = [0; 3];
    for cut in (0..whole.len()).step_by(61).chain([whole.len()]) {
        let fork = fs.fork();
        fork.set_contents(log, whole[..cut].to_vec());
        let Ok(db) = open(&fork, &options) else {
            seen[0] += 1;
            continue;
        };
        let found = all(&db, None);
        assert!(found.len() == 200 || found.is_empty(), "cut at {cut}");
        let round = found.values().next().map_or(0, |value| value[0]);
        assert!(found.values().all(|value| value[..] == [round; 40]));
        seen[usize::from(round)] += 1;
    }
    assert!(seen[1] > 100 && seen[2] >= 1, "{seen:?}");
}

#[test]
fn a_batch_larger_than_any_record_is_written() {
    let fs = MemFs::new();
    let db = open(
        &fs,
        &Options {
            transform: small().transform,
            ..Options::default()
        },
    )
    .unwrap();
    let mut batch = WriteBatch::new();
    for i in 0..40_u8 {
        batch.put(&[i], &vec![i; 1 << 20]);
    }
    db.write(batch, WriteOptions { sync: true }).unwrap();
    let options = Options {
        transform: small().transform,
        ..Options::default()
    };
    let crashed = open(&fs.fork(), &options).unwrap();
    for i in 0..40_u8 {
        assert_eq!(get(&crashed, &[i]).unwrap(), vec![i; 1 << 20]);
    }
}

use super::*;
use crate::block::Block;
use crate::cache::Cache;
use crate::compress::ScratchPool;
use crate::crypto::NoKeys;
use crate::entry::{EntryCursor, EntryRef, compare};
use crate::env::{Env, mem};
use crate::filter::filter_hash;
use crate::options::{BlockTransform, KvProtection, Options};
use crate::types::{KeyKind, SEQNO_MAX, SeqNo, StoreId};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

fn opener(env: &Env, cache_len: usize) -> TableOpener {
    TableOpener {
        env: env.clone(),
        keys: Arc::new(NoKeys),
        store_id: StoreId([7; 16]),
        transform: BlockTransform::PLAIN,
        cache: Arc::new(Cache::<Block>::new(cache_len)),
        rows: Arc::new(Cache::new(cache_len)),
        scratches: Arc::new(ScratchPool::new()),
        lender: Arc::new(Lender::new(&env.spawner)),
    }
}

fn options() -> Options {
    Options {
        block_len: 512,
        kv_protection: KvProtection::On,
        ..Options::default()
    }
}

/// Keys with one to three versions each; `i` has odd numbers only, so that there are gaps.
fn entries(count: u64) -> Vec<(String, SeqNo)> {
    let versions = |i: u64| {
        (0..=i % 3)
            .rev()
            .map(move |v| (format!("key{:06}", 2 * i + 1), v + 1))
    };
    (0..count).flat_map(versions).collect()
}

fn write(opener: &TableOpener, entries: &[(String, SeqNo)]) -> Arc<LiveTable> {
    write_to(opener.create(5).unwrap(), entries)
}

fn write_to(sink: sink::BlockSink, entries: &[(String, SeqNo)]) -> Arc<LiveTable> {
    let mut writer = TableWriter::new(sink, 5, &options());
    for (key, seqno) in entries {
        let value = format!("value of {key} at {seqno}");
        let (key, value) = (key.as_bytes(), value.as_bytes());
        let kind = KeyKind::Put;
        writer
            .add(&EntryRef {
                key,
                seqno: *seqno,
                kind,
                value,
                digest: None,
            })
            .unwrap();
    }
    LiveTable::new(writer.finish().unwrap().0)
}

#[test]
fn finds_every_version_and_nothing_else() {
    for cache_len in [0, 1 << 20] {
        let opener = opener(&mem::env(), cache_len);
        let entries = entries(4000);
        let table = write(&opener, &entries);
        let reader = table.reader(&opener).unwrap();
        let find =
            |key: &str, seqno| reader.find(key.as_bytes(), filter_hash(key.as_bytes()), seqno);
        for (key, seqno) in &entries {
            let value = find(key, *seqno).unwrap().unwrap();
            assert_eq!(value.bytes, format!("value of {key} at {seqno}").as_bytes());
            assert_eq!(value.seqno, *seqno);
        }
        for i in 0..4001_u64 {
            let newest = (i < 4000).then_some(i % 3 + 1);
            let key = format!("key{:06}", 2 * i + 1);
            assert_eq!(
                find(&key, SEQNO_MAX).unwrap().map(|value| value.seqno),
                newest
            );
            assert_eq!(find(&key, 0).unwrap(), None);
            assert_eq!(find(&format!("key{:06}", 2 * i), SEQNO_MAX).unwrap(), None);
        }
    }
}

#[test]
fn cursors_walk_and_seek_both_ways() {
    let opener = opener(&mem::env(), 1 << 20);
    let entries = entries(1500);
    let table = write(&opener, &entries);
    let mut cursor = table.reader(&opener).unwrap().cursor(Fill::Keep);
    let place = |cursor: &TableCursor| {
        let entry = cursor.current()?;
        entry.verify().unwrap();
        Some((String::from_utf8(entry.key.to_vec()).unwrap(), entry.seqno))
    };
    cursor.seek_first().unwrap();
    for entry in &entries {
        assert_eq!(place(&cursor).as_ref(), Some(entry));
        cursor.next().unwrap();
    }
    assert_eq!(place(&cursor), None);
    cursor.seek_last().unwrap();
    for entry in entries.iter().rev() {
        assert_eq!(place(&cursor).as_ref(), Some(entry));
        cursor.prev().unwrap();
    }
    assert_eq!(place(&cursor), None);
    for i in 0..3100 {
        for seqno in [0, 2, SEQNO_MAX] {
            let key = format!("key{i:06}");
            let before =
                |at: &(String, SeqNo)| compare((at.0.as_bytes(), at.1), (key.as_bytes(), seqno));
            cursor.seek(key.as_bytes(), seqno).unwrap();
            let index = entries.partition_point(|at| before(at).is_lt());
            assert_eq!(place(&cursor).as_ref(), entries.get(index));
            cursor.seek_back(key.as_bytes(), seqno).unwrap();
            let index = entries.partition_point(|at| before(at).is_le());
            assert_eq!(
                place(&cursor).as_ref(),
                index.checked_sub(1).and_then(|i| entries.get(i))
            );
        }
    }
}

#[test]
fn what_the_manifest_knows_is_true() {
    let opener = opener(&mem::env(), 0);
    let entries = entries(100);
    let table = write(&opener, &entries);
    let meta = table.meta();
    assert_eq!(
        (meta.smallest.as_slice(), meta.largest.as_slice()),
        (&b"key000001"[..], &b"key000199"[..])
    );
    assert_eq!(
        (meta.entry_count, meta.tombstone_count),
        (entries.len() as u64, 0)
    );
    assert_eq!(
        (meta.first_seqno, meta.last_seqno, meta.with_digests),
        (1, 3, true)
    );
}

#[test]
fn every_flipped_byte_is_an_error_or_harmless() {
    let fs = mem::MemFs::new();
    let env = mem::env_over(fs.clone(), 1);
    let entries = entries(60);
    let table = write(&opener(&env, 0), &entries);
    let whole = fs.contents(table.meta().file()).unwrap();
    let mut errors = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs.set_contents(table.meta().file(), bytes);
        let (opener, table) = (opener(&env, 0), LiveTable::new(table.meta().clone()));
        for (key, seqno) in &entries {
            let hash = filter_hash(key.as_bytes());
            let found = table
                .reader(&opener)
                .and_then(|reader| reader.find(key.as_bytes(), hash, *seqno));
            match found {
                Ok(value) => assert_eq!(value.map(|value| value.seqno), Some(*seqno), "byte {at}"),
                Err(error) => {
                    assert_eq!(error.place().file, Some(table.meta().file()));
                    errors += 1;
                }
            }
        }
    }
    assert!(errors > whole.len());
}

/// Nobody helps, nobody but the writer may seal, four threads help: the same file comes out.
#[test]
fn helpers_change_no_byte() {
    let spawner = crate::env::os::spawner();
    let entries = entries(6000);
    let mut files = Vec::new();
    for helper_count in [None, Some(0), Some(4)] {
        let fs = mem::MemFs::new();
        let opener = opener(&mem::env_over(fs.clone(), 1), 0);
        let mut sink = opener.create(5).unwrap();
        let queue = JobQueue::new();
        if helper_count.is_some() {
            sink = sink.sealed_at(&queue);
        }
        let help = |_| {
            let queue = Arc::clone(&queue);
            let work = move || queue.help(core::time::Duration::from_millis(1), &mut || ());
            spawner
                .spawn("helper", alloc::boxed::Box::new(work))
                .unwrap()
        };
        let helpers: Vec<_> = (0..helper_count.unwrap_or(0)).map(help).collect();
        let table = write_to(sink, &entries);
        queue.close();
        helpers.into_iter().for_each(crate::env::Task::join);
        files.push(fs.contents(table.meta().file()).unwrap());
    }
    assert!(files[0].len() > 100 * 512);
    assert!(files.iter().all(|file| *file == files[0]));
}

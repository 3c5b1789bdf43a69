//! Long walks over a table, with and without a thread that opens blocks ahead.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::block::Block;
use crate::cache::Cache;
use crate::crypto::NoKeys;
use crate::db::opener;
use crate::entry::{EntryCursor, EntryRef};
use crate::env::mem::{self, MemFs};
use crate::env::{Spawner, Task, os};
use crate::filter::filter_hash;
use crate::manifest::Place;
use crate::options::{BlockTransform, Options};
use crate::table::{Fill, LiveTable, TableCursor, TableOpener, TableWriter};
use crate::types::{KeyKind, SEQNO_MAX, StoreId};

const COUNT: u64 = 3000;
const CACHE_LEN: usize = 16 << 20;

/// Lends threads, and counts them.
struct Threads {
    parallelism: usize,
    count: AtomicUsize,
}

impl Spawner for Threads {
    fn spawn(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) -> Option<Box<dyn Task>> {
        assert_eq!(name, "coffer-open");
        self.count.fetch_add(1, Ordering::AcqRel);
        os::spawner().spawn(name, work)
    }

    fn parallelism(&self) -> usize {
        self.parallelism
    }
}

struct World {
    fs: Arc<MemFs>,
    threads: Arc<Threads>,
    opener: TableOpener,
    table: Arc<LiveTable>,
}

impl World {
    fn lent_count(&self) -> usize {
        self.threads.count.load(Ordering::Acquire)
    }
}

fn value(number: u64) -> Vec<u8> {
    let mut value = number.to_le_bytes().repeat(64);
    value.truncate(500 + number as usize % 12);
    value
}

fn add(writer: &mut TableWriter, number: u64, value: &[u8]) {
    let (seqno, kind, digest) = (1, KeyKind::Put, None);
    let key = &number.to_be_bytes();
    writer
        .add(&EntryRef {
            key,
            seqno,
            kind,
            value,
            digest,
        })
        .unwrap();
}

fn world(parallelism: usize, cache_len: usize) -> World {
    let fs = MemFs::new();
    let count = AtomicUsize::new(0);
    let threads = Arc::new(Threads { parallelism, count });
    let mut env = mem::env_over(fs.clone(), 1);
    env.spawner = threads.clone();
    let place = Place {
        env,
        keys: Arc::new(NoKeys),
        store_id: StoreId([7; 16]),
        transform: BlockTransform::PLAIN,
    };
    let cache = Arc::new(Cache::<Block>::new(cache_len));
    let opener = opener(&place, &cache, 0);
    let options = Options {
        block_len: 4 << 10,
        ..Options::default()
    };
    let mut writer = TableWriter::new(opener.create(5).unwrap(), 5, &options);
    for number in 0..COUNT {
        add(&mut writer, number, &value(number));
    }
    let table = LiveTable::new(writer.finish().unwrap().0);
    World {
        fs,
        threads,
        opener,
        table,
    }
}

fn cursor(world: &World) -> TableCursor {
    world
        .table
        .reader(&world.opener)
        .unwrap()
        .cursor(Fill::Keep)
}

fn stands_on(cursor: &TableCursor) -> Option<u64> {
    let entry = cursor.current()?;
    let number = u64::from_be_bytes(entry.key.try_into().unwrap());
    assert_eq!(entry.value, value(number));
    Some(number)
}

#[test]
fn a_long_walk_has_blocks_opened_ahead_where_there_is_a_thread_to_spare() {
    for (parallelism, has_help) in [(1, false), (2, true), (4, true)] {
        let world = world(parallelism, CACHE_LEN);
        let mut walk = cursor(&world);
        walk.seek_first().unwrap();
        for number in 0..COUNT {
            assert_eq!(stands_on(&walk), Some(number));
            walk.next().unwrap();
        }
        assert_eq!(stands_on(&walk), None);
        // One that goes home in between, because this thread had to wait, is lent again.
        let lent_count = world.lent_count();
        assert_eq!(lent_count > 0, has_help);
        // All of it is in the cache now: nobody needs a thread.
        let mut again = cursor(&world);
        again.seek_first().unwrap();
        (0..COUNT).for_each(|_| again.next().unwrap());
        assert_eq!(world.lent_count(), lent_count);
    }
}

#[test]
fn two_walks_share_what_threads_there_are_and_turn_where_they_like() {
    let world = world(2, 0);
    let (mut first, mut second) = (cursor(&world), cursor(&world));
    first.seek_first().unwrap();
    second.seek_first().unwrap();
    for number in 0..COUNT {
        assert_eq!(stands_on(&first), Some(number));
        first.next().unwrap();
        if number % 2 == 1 {
            assert_eq!(stands_on(&second), Some(number / 2));
            second.next().unwrap();
        }
        if number % 700 == 699 {
            // Back a little, and on again.
            first
                .seek(&(number - 300).to_be_bytes(), SEQNO_MAX)
                .unwrap();
            assert_eq!(stands_on(&first), Some(number - 300));
            first.prev().unwrap();
            assert_eq!(stands_on(&first), Some(number - 301));
            first.seek(&(number + 1).to_be_bytes(), SEQNO_MAX).unwrap();
        }
    }
    let lent_count = world.lent_count();
    assert!(lent_count > 0);
    drop((first, second));
    // The thread went home with the first walk: the next long one has it.
    let mut third = cursor(&world);
    third.seek_first().unwrap();
    (0..COUNT).for_each(|_| third.next().unwrap());
    assert!(world.lent_count() > lent_count);
}

#[test]
fn a_walk_that_goes_elsewhere_leaves_no_work_behind() {
    let world = world(2, 0);
    let mut walk = cursor(&world);
    walk.seek_first().unwrap();
    (0..COUNT / 2).for_each(|_| walk.next().unwrap());
    for round in 0..300 {
        let number = round * 1237 % COUNT;
        walk.seek(&number.to_be_bytes(), SEQNO_MAX).unwrap();
        assert_eq!(stands_on(&walk), Some(number));
        let (waiting_count, len) = walk.readahead().waiting();
        assert!(
            waiting_count <= 64 && len <= 64 * 5000,
            "{waiting_count} {len}"
        );
    }
    assert_eq!(walk.readahead().waiting(), (0, 0));
}

#[test]
fn long_blocks_are_opened_ahead_by_their_bytes() {
    let world = world(2, 0);
    let sink = world.opener.create(6).unwrap();
    let mut writer = TableWriter::new(sink, 6, &Options::default());
    let value = [7; 400 << 10];
    for number in 0..40_u64 {
        add(&mut writer, number, &value);
    }
    let table = LiveTable::new(writer.finish().unwrap().0);
    let mut walk = table.reader(&world.opener).unwrap().cursor(Fill::Keep);
    walk.seek_first().unwrap();
    let mut len_max = 0;
    for number in 0..40_u64 {
        assert_eq!(walk.current().unwrap().key, number.to_be_bytes());
        walk.next().unwrap();
        len_max = len_max.max(walk.readahead().waiting().1);
    }
    assert!(len_max < 3 << 20, "{len_max}");
}

#[test]
fn damage_ahead_of_a_walk_is_told_where_it_is_reached() {
    let world = world(2, CACHE_LEN);
    let id = world.table.meta().file();
    let mut bytes = world.fs.contents(id).unwrap();
    // The value of the wanted entry, in the middle of the file.
    let wanted = 2000;
    let place = bytes
        .windows(500)
        .position(|at| at == &value(wanted)[..500]);
    bytes[place.unwrap() + 100] ^= 1;
    world.fs.set_contents(id, bytes);
    let mut walk = cursor(&world);
    let mut walked = walk.seek_first();
    let mut last = None;
    while walked.is_ok() && stands_on(&walk).is_some() {
        last = stands_on(&walk);
        walked = walk.next();
    }
    let error = walked.unwrap_err();
    assert_eq!(error.place().file, Some(id));
    assert!(
        error
            .place()
            .offset
            .is_some_and(|at| at <= place.unwrap() as u64)
    );
    // The entries before its block were shown, and none of it.
    assert!((wanted - 10..wanted).contains(&last.unwrap()), "{last:?}");
    assert!(world.lent_count() > 0);
}

#[test]
fn point_reads_hold_filter_and_index_and_give_them_back() {
    let world = world(1, CACHE_LEN);
    let find = |number: u64| {
        let key = number.to_be_bytes();
        let reader = world.table.reader(&world.opener).unwrap();
        reader.find(&key, filter_hash(&key), SEQNO_MAX).unwrap()
    };
    assert_eq!(find(77).unwrap().bytes, value(77));
    let cache = &world.opener.cache;
    cache.forget(5);
    let held_len = cache.len();
    assert!(held_len > COUNT as usize, "a filter at least: {held_len}");
    let misses = cache.counts().1;
    assert_eq!(find(78).unwrap().bytes, value(78));
    assert!(find(COUNT + 5).is_none());
    assert_eq!(cache.counts().1, misses + 1, "the data block alone");
    let (cache, table) = (Arc::clone(cache), world.table);
    drop(table);
    cache.forget(5);
    assert_eq!(cache.len(), 0, "{cache:?}");
}

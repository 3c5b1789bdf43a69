use coffer_engine::env::Fs;
use coffer_engine::env::mem::{self, MemFs};
use coffer_engine::{ErrorKind, Options, Preset};
use proptest::prelude::*;

use super::*;
use crate::garbage::Annex;
use crate::pointer::Frames;

/// An annex in memory.
#[derive(Default)]
struct Fake {
    next: AtomicU64,
    annex: Mutex<Annex>,
}

impl Catalog for Fake {
    fn allocate_number(&self) -> Result<u64> {
        Ok(self.next.fetch_add(1, Ordering::Relaxed) + 1)
    }
    fn commit(&self, updates: AnnexUpdates) -> Result<()> {
        let mut annex = self.annex.lock();
        for (key, value) in updates {
            match value {
                Some(value) => annex.insert(key, value),
                None => annex.remove(&key),
            };
        }
        Ok(())
    }
}

struct Bench {
    fs: Arc<MemFs>,
    fake: Arc<Fake>,
    files: BlobFiles,
}

fn options() -> StoreOptions {
    let mut options = StoreOptions::preset(Preset::RocksDbParity);
    options.frame_len = 4096;
    options.blob_file_len = 1 << 20;
    options
}

fn bench_over(fs: Arc<MemFs>, fake: Arc<Fake>, options: StoreOptions) -> Result<Bench> {
    let env = mem::env_over(fs.clone(), fake.next.load(Ordering::Relaxed) + 77);
    let keys = Arc::new(coffer_engine::crypto::NoKeys);
    let files = BlobFiles::new(env, keys, StoreId([1; 16]), options, 2);
    let catalog: Weak<dyn Catalog> = Arc::downgrade(&(fake.clone() as Arc<dyn Catalog>));
    let ledger = Ledger::read(&fake.annex.lock())?;
    files.attach(catalog, &ledger)?;
    Ok(Bench { fs, fake, files })
}

fn bench(options: StoreOptions) -> Bench {
    bench_over(MemFs::new(), Arc::default(), options).unwrap()
}

/// A value for tests; half of it compresses.
pub(crate) fn value(len: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut out);
    out.chunks_exact_mut(64)
        .for_each(|chunk| chunk[32..].fill(7));
    out
}

impl Bench {
    fn put(&self, value: &[u8]) -> BlobPointer {
        let staged = self.files.stage(value, Effort::Normal).unwrap();
        staged.claim.settle(staged.pointer.disk_len());
        BlobPointer::decode(&staged.pointer.encode()).unwrap()
    }

    fn range(&self, pointer: &BlobPointer, offset: u64, len: u64) -> Result<Vec<u8>> {
        let reader = self.files.reader(pointer.file)?.expect("a known file");
        let mut out = Vec::new();
        with_scratch(|scratch| {
            let frames = reader.frames(pointer, scratch)?;
            reader.read(pointer.shape, &frames, (offset, len), scratch, &mut out)
        })?;
        Ok(out)
    }

    fn get(&self, pointer: &BlobPointer) -> Result<Vec<u8>> {
        self.range(pointer, 0, u64::MAX)
    }
}

#[test]
fn values_of_all_lengths_round_trip_in_every_transform() {
    for preset in [Preset::RocksDbParity] {
        let mut options = options();
        let mut engine = Options::default();
        engine.apply(preset);
        options.transform = engine.transform;
        let bench = bench(options);
        for frames in [1usize, 2, 3, 15, 16, 17, 33] {
            for len in [frames * 4096 - 1, frames * 4096, frames * 4096 + 1] {
                let value = value(len, len as u64);
                let pointer = bench.put(&value);
                assert_eq!(bench.get(&pointer).unwrap(), value, "{len}");
                let listed = matches!(pointer.frames, Frames::Listed(_));
                assert_eq!(listed, len.div_ceil(4096) <= 16);
            }
        }
        let one = value(1, 1);
        assert_eq!(bench.get(&bench.put(&one)).unwrap(), one);
    }
}

#[test]
fn finished_and_inherited_files_are_read_after_reopening() {
    let first = bench(options());
    let values: Vec<_> = (0..40).map(|seed| value(100_000, seed)).collect();
    let pointers: Vec<_> = values.iter().map(|value| first.put(value)).collect();
    assert!(first.files.finish_one().unwrap());
    let numbers: Vec<_> = pointers.iter().map(|pointer| pointer.file).collect();
    assert!(numbers.last() > numbers.first(), "the first file was full");
    let Bench { fs, fake, files } = first;
    drop(files);
    let again = bench_over(fs, fake, options()).unwrap();
    for (value, pointer) in values.iter().zip(&pointers) {
        assert_eq!(again.get(pointer).unwrap(), *value);
    }
    assert!(!again.files.is_inherited(numbers[0]));
    assert!(again.files.is_inherited(*numbers.last().unwrap()));
    assert!(
        !numbers.contains(&again.put(&values[0]).file),
        "nothing is appended to old files"
    );
}

#[test]
fn a_claimed_file_is_not_finished() {
    let bench = bench(options());
    let staged = bench.files.stage(&value(5000, 1), Effort::Low).unwrap();
    bench.files.active.lock().take();
    assert!(!bench.files.finish_one().unwrap());
    drop(staged);
    assert!(bench.files.finish_one().unwrap());
    let ledger = Ledger::read(&bench.fake.annex.lock()).unwrap();
    let entry = ledger.files.values().next().unwrap();
    assert!(entry.is_whole_dead(), "nothing of it ever reached the tree");
}

#[test]
fn missing_swapped_and_orphaned_files() {
    let first = bench(options());
    let kept = first.put(&value(9000, 1));
    first.files.finish_all().unwrap();
    let other = first.put(&value(9000, 2));
    first.files.finish_all().unwrap();
    let Bench { fs, fake, files } = first;
    drop(files);

    fs.set_contents(blob_id(99), b"orphan".to_vec());
    let whole = fs.contents(blob_id(kept.file)).unwrap();
    let swapped = fs.contents(blob_id(other.file)).unwrap();
    let again = bench_over(fs.clone(), fake.clone(), options()).unwrap();
    assert_eq!(fs.contents(blob_id(99)), None);
    again.get(&kept).unwrap();

    fs.set_contents(blob_id(kept.file), swapped);
    let again = bench_over(fs.clone(), fake.clone(), options()).unwrap();
    assert_eq!(
        again.get(&kept).unwrap_err().kind(),
        ErrorKind::Authentication
    );
    for cut in [0, 100, 300, whole.len() / 2, whole.len() - 1] {
        fs.set_contents(blob_id(kept.file), whole[..cut].to_vec());
        let again = bench_over(fs.clone(), fake.clone(), options()).unwrap();
        let error = again.get(&kept).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{cut}");
        assert_eq!(error.place().file, Some(blob_id(kept.file)));
    }
    fs.remove(blob_id(kept.file)).unwrap();
    let error = bench_over(fs, fake, options())
        .err()
        .expect("a file is missing");
    assert_eq!(
        (error.kind(), error.place().file),
        (ErrorKind::Corruption, Some(blob_id(kept.file)))
    );
}

#[test]
fn recovery_asks_what_is_on_disk() {
    let first = bench(options());
    let staged = first
        .files
        .stage(&value(30_000, 3), Effort::Normal)
        .unwrap();
    let pointer = staged.pointer;
    let id = blob_id(pointer.file);
    let whole = first.fs.contents(id).unwrap();
    assert!(first.files.is_present(&pointer).unwrap());
    first.fs.set_contents(id, whole[..whole.len() - 1].to_vec());
    assert!(!first.files.is_present(&pointer).unwrap());
    let mut flipped = whole;
    *flipped.last_mut().unwrap() ^= 1;
    first.fs.set_contents(id, flipped);
    assert!(!first.files.is_present(&pointer).unwrap());
    first.fs.remove(id).unwrap();
    assert!(
        !first
            .files
            .is_present(&BlobPointer {
                file: 55,
                ..pointer
            })
            .unwrap()
    );
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the threads of the test itself")]
fn four_threads_stage_at_once() {
    let bench = bench(options());
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let bench = &bench;
            scope.spawn(move || {
                for round in 0..40 {
                    let value = value(20_000 + round * 997, thread * 1000 + round as u64);
                    let pointer = bench.put(&value);
                    assert_eq!(bench.get(&pointer).unwrap(), value);
                }
            });
        }
    });
    bench.files.finish_all().unwrap();
    let ledger = Ledger::read(&bench.fake.annex.lock()).unwrap();
    assert!(ledger.files.len() > 1);
    assert!(
        ledger
            .files
            .values()
            .all(|entry| entry.record.end.is_some())
    );
}

#[test]
fn a_file_ends_in_one_footer() {
    let bench = bench(options());
    let pointer = bench.put(&value(5000, 1));
    let writer = bench.files.active.lock().take().unwrap();
    let root = writer.end().unwrap();
    assert_eq!(writer.end().unwrap(), root);
    assert_eq!(writer.len(), root.len);
    assert!(bench.files.finish_one().unwrap());
    let again = bench_over(bench.fs, bench.fake, options()).unwrap();
    assert_eq!(again.get(&pointer).unwrap(), value(5000, 1));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the threads of the test itself")]
fn files_are_finished_once_and_never_under_a_writer() {
    let mut options = options();
    options.blob_file_len = 1;
    let bench = bench(options.clone());
    let done = AtomicBool::new(false);
    let pointers: Vec<_> = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    bench.files.finish_one().unwrap();
                }
            });
        }
        let put = |seed| {
            let staged = bench.files.stage(&value(5000, seed), Effort::Normal)?;
            staged.claim.settle(staged.pointer.disk_len());
            Ok(staged.pointer)
        };
        let pointers: Vec<Result<_>> = (0..1000).map(put).collect();
        done.store(true, Ordering::Relaxed);
        pointers
    });
    bench.files.finish_all().unwrap();
    let again = bench_over(bench.fs, bench.fake, options).unwrap();
    for (pointer, seed) in pointers.into_iter().zip(0..) {
        let pointer = pointer.unwrap();
        assert!(!again.files.is_inherited(pointer.file));
        assert_eq!(again.get(&pointer).unwrap(), value(5000, seed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn ranges_equal_those_of_the_value(
        len in 1usize..100_000,
        ranges in proptest::collection::vec((0usize..110_000, 0usize..110_000), 1..12),
    ) {
        let bench = bench(options());
        let value = value(len, len as u64);
        let pointer = bench.put(&value);
        for (offset, range_len) in ranges {
            let first = offset.min(len);
            let expected = &value[first..(first + range_len).min(len)];
            prop_assert_eq!(&bench.range(&pointer, offset as u64, range_len as u64).unwrap(), expected);
        }
    }
}

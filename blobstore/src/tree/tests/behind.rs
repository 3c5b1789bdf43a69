use core::sync::atomic::AtomicU64;

use coffer_engine::env::{File, OpenMode, os};

use super::*;

/// A directory whose medium is as full as it is told to be.
struct Narrow {
    fs: Arc<MemFs>,
    free_len: AtomicU64,
}

impl Fs for Narrow {
    fn open(&self, id: FileId, mode: OpenMode) -> Result<Arc<dyn File>> {
        let is_full = self.free_len.load(Ordering::Relaxed) == 0;
        if is_full && mode == OpenMode::Create && id.kind == FileKind::Blob {
            return Err(Error::no_space("as full as it was told to be"));
        }
        self.fs.open(id, mode)
    }
    fn rename(&self, from: FileId, to: FileId) -> Result<()> {
        self.fs.rename(from, to)
    }
    fn remove(&self, id: FileId) -> Result<()> {
        self.fs.remove(id)
    }
    fn list(&self) -> Result<Vec<FileId>> {
        self.fs.list()
    }
    fn sync_dir(&self) -> Result<()> {
        self.fs.sync_dir()
    }
    fn lock(&self) -> Result<Box<dyn Send + Sync>> {
        self.fs.lock()
    }
    fn space(&self) -> Result<Space> {
        Ok(Space {
            total_len: 1 << 40,
            free_len: self.free_len.load(Ordering::Relaxed),
        })
    }
}

/// A store whose values are queued where they come in a row.
struct Queued {
    narrow: Arc<Narrow>,
    opened: u64,
}

impl Queued {
    fn new() -> (Self, BlobTree) {
        let free_len = AtomicU64::new(1 << 39);
        let fs = MemFs::new();
        let mut world = Self {
            narrow: Arc::new(Narrow { fs, free_len }),
            opened: 0,
        };
        let tree = BlobTree::create(world.env(), &credential(), small_options()).unwrap();
        (world, tree)
    }

    fn env(&mut self) -> Env {
        self.opened += 1;
        Env {
            spawner: Arc::new(Pair(os::spawner())),
            ..mem::env_over(self.narrow.clone(), self.opened)
        }
    }

    fn open(&mut self) -> BlobTree {
        BlobTree::open(self.env(), &credential(), &OpenOptions::default()).unwrap()
    }
}

/// Two processors, whatever the machine has.
struct Pair(Arc<dyn coffer_engine::env::Spawner>);

impl coffer_engine::env::Spawner for Pair {
    fn spawn(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) -> Option<Box<dyn Task>> {
        self.0.spawn(name, work)
    }
    fn parallelism(&self) -> usize {
        2
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("{number:05}").into_bytes()
}

/// A value that is stored apart, and soon fills the queue.
fn long(number: u64) -> Vec<u8> {
    value(20_000 + 77 * number as usize % 30_000, number)
}

fn put_many(tree: &BlobTree, numbers: core::ops::Range<u64>) {
    for number in numbers {
        tree.put(&key(number), &long(number)).unwrap();
    }
}

fn was_queued(tree: &BlobTree) -> bool {
    tree.core.behind.queue_number() > 0
}

#[test]
fn what_is_queued_is_seen_by_whoever_asks() {
    type Ask = fn(&BlobTree, &[u8], &[u8]);
    let asks: [Ask; 9] = [
        |tree, key, value| assert_eq!(tree.get(key).unwrap().as_deref(), Some(value)),
        |tree, key, value| {
            let snapshot = tree.snapshot();
            assert_eq!(snapshot.get(key).unwrap().as_deref(), Some(value));
        },
        |tree, key, value| {
            let mut scan = tree.scan(key, b"").unwrap();
            let (_, found) = scan.next().unwrap().unwrap();
            assert_eq!(found.bytes(tree).unwrap(), value);
        },
        |tree, key, value| {
            assert_eq!(tree.len_of(key).unwrap(), Some(value.len() as u64));
        },
        |tree, key, value| {
            let part = tree.get_range(key, 100, 50).unwrap().unwrap();
            assert_eq!(part, value[100..150]);
        },
        |tree, key, value| {
            assert_eq!(tree.shared(key).unwrap().unwrap().to_vec(), value);
        },
        |tree, key, value| {
            let mut found = Vec::new();
            tree.get_stream(key, 0, u64::MAX, &mut found).unwrap();
            assert_eq!(found, value);
        },
        |tree, key, value| {
            let mut found = Vec::new();
            assert!(tree.read_into(key, &mut found).unwrap());
            assert_eq!(found, value);
        },
        |tree, key, _| {
            tree.delete(key).unwrap();
            assert_eq!(tree.get(key).unwrap(), None);
        },
    ];
    let (_world, tree) = Queued::new();
    for (round, ask) in asks.into_iter().enumerate() {
        let first = round as u64 * 1000;
        put_many(&tree, first..first + 60);
        ask(&tree, &key(first + 59), &long(first + 59));
        assert_eq!(tree.get(&key(first + 30)).unwrap(), Some(long(first + 30)));
    }
    assert!(was_queued(&tree));
}

#[test]
fn puts_in_a_row_keep_their_order_and_survive_a_sync() {
    let (mut world, tree) = Queued::new();
    let mut model = BTreeMap::new();
    for number in 0..400 {
        // Few keys, short values among them: the last put of each is what stays.
        let (key, value) = (key(number % 7), long(number));
        let value = &value[..if number % 31 == 0 { 10 } else { value.len() }];
        tree.put(&key, value).unwrap();
        model.insert(key, value.to_vec());
    }
    assert!(was_queued(&tree));
    tree.sync().unwrap();
    let fork = BlobTree::open(
        mem::env_over(world.narrow.fs.fork(), 77),
        &credential(),
        &OpenOptions::default(),
    );
    assert_eq!(contents(&fork.unwrap()), model, "after a power cut");
    put_many(&tree, 1000..1100);
    model.extend((1000..1100).map(|number| (key(number), long(number))));
    tree.close().unwrap();
    assert!(tree.put(b"late", &long(1)).is_err());
    drop(tree);
    assert_eq!(contents(&world.open()), model);
}

#[test]
fn what_cannot_be_sealed_is_told_once_and_costs_nothing_else() {
    let (world, tree) = Queued::new();
    put_many(&tree, 0..50);
    tree.sync().unwrap();
    put_many(&tree, 100..150);
    world.narrow.free_len.store(0, Ordering::Relaxed);
    let told = (200..300).find_map(|number| tree.put(&key(number), &long(number)).err());
    let told = told.or_else(|| tree.sync().err());
    assert_eq!(told.unwrap().kind(), ErrorKind::NoSpace);
    let _others = tree.sync();
    for number in (0..50).chain(100..150) {
        let found = tree.get(&key(number)).unwrap();
        assert!(found.is_none_or(|found| found == long(number)), "{number}");
    }
    assert_eq!(tree.get(&key(7)).unwrap(), Some(long(7)));
    tree.delete(&key(7)).unwrap();
    world.narrow.free_len.store(1 << 39, Ordering::Relaxed);
    put_many(&tree, 300..350);
    tree.sync().unwrap();
    assert_eq!(tree.get(&key(349)).unwrap(), Some(long(349)));
    assert_eq!(tree.get(&key(7)).unwrap(), None);
    tree.close().unwrap();
}

#[test]
fn a_failure_met_by_readers_is_told_by_the_next_writer() {
    let (world, tree) = Queued::new();
    put_many(&tree, 0..40);
    world.narrow.free_len.store(0, Ordering::Relaxed);
    let told = (100..130).find_map(|number| tree.put(&key(number), &long(number)).err());
    drop(tree.snapshot());
    assert_eq!(tree.get(&key(0)).unwrap(), Some(long(0)));
    let told = told.or_else(|| tree.sync().err());
    assert_eq!(told.unwrap().kind(), ErrorKind::NoSpace);
}

#[test]
fn a_tree_that_is_dropped_gives_up_what_is_queued() {
    let (mut world, tree) = Queued::new();
    put_many(&tree, 0..60);
    tree.sync().unwrap();
    put_many(&tree, 100..160);
    drop(tree);
    let found = contents(&world.open());
    assert!((0..60).all(|number| found.get(&key(number)) == Some(&long(number))));
    let late = (100..160).take_while(|number| found.contains_key(&key(*number)));
    assert_eq!(60 + late.count(), found.len(), "a beginning of what came");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the threads of the test itself")]
fn writers_and_readers_on_four_threads_see_their_own_puts() {
    let (mut world, tree) = Queued::new();
    thread::scope(|scope| {
        for writer in 0..4_u64 {
            let tree = &tree;
            scope.spawn(move || {
                for number in 0..150 {
                    let number = writer * 1000 + number;
                    tree.put(&key(number), &long(number)).unwrap();
                    if number % 40 == 39 {
                        let seen = number - number % 5;
                        assert_eq!(tree.get(&key(seen)).unwrap(), Some(long(seen)));
                    }
                }
            });
        }
    });
    tree.close().unwrap();
    drop(tree);
    assert_eq!(contents(&world.open()).len(), 600);
}

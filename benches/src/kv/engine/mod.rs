//! The engines under test, behind one narrow interface.
//!
//! - Every engine has the same budget: one cache of `CACHE_LEN`, memtables of `MEMTABLE_LEN`, values
//!   longer than `INLINE_LEN_MAX` apart from the keys where it can do that under its promises.
//! - What an engine does less of than the others is told by its `Promise`, and the table marks it.

mod coffer;
#[cfg(feature = "peers")]
mod coordinode;
#[cfg(feature = "peers")]
mod fjall;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "peers")]
mod surrealkv;

use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::kv::corpus::{Corpus, key};

/// Memory of all caches of an engine together.
pub const CACHE_LEN: usize = 64 << 20;
/// Memory of one memtable.
pub const MEMTABLE_LEN: usize = 64 << 20;
/// Longer values lie apart from the keys.
pub const INLINE_LEN_MAX: usize = 4 << 10;
/// Key of the engines that encrypt.
#[cfg(feature = "peers")]
const ROOT_KEY: [u8; 32] = [7; 32];

/// A look at what was read, in parts that lie one behind the other.
pub type Look<'a> = dyn FnMut(&[&[u8]]) -> Outcome<()> + 'a;
/// A look at a key, and at its value or, where only sizes are asked for, its length.
pub type LookEntry<'a> = dyn FnMut(&[u8], Seen<'_>) -> Outcome<()> + 'a;

/// What a scan shows of a value.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// The value, in parts that lie one behind the other.
    Value(&'a [&'a [u8]]),
    /// Its length alone.
    Len(u64),
    /// Nothing: the engine cannot tell the length without reading the value.
    Key,
}

/// One operation of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Sets the number to its value of the generation.
    Put(u64, u64),
    /// Reads the number, which has its value of one of the generations up to this one.
    Get(u64, u64),
}

/// What one thread, or one task of an engine that has tasks, has to do.
pub struct Feed {
    /// The values.
    pub corpus: Arc<Corpus>,
    /// Hands out operations until there is none left.
    pub next: Box<dyn FnMut() -> Option<Op> + Send>,
}

/// An open store.
pub trait Engine: Send + Sync {
    /// Does what the feeds say, side by side, each operation a commit or a read of its own; with `sync`
    /// each commit is on the medium before the next operation of its feed begins.
    ///
    /// # Errors
    /// Those of the engine; a value that is wrong.
    fn drive(&self, feeds: Vec<Feed>, sync: bool) -> Outcome<()> {
        std::thread::scope(|scope| {
            let run = |feed| scope.spawn(move || run_feed(self, feed, sync));
            let running: Vec<_> = feeds.into_iter().map(run).collect();
            let mut result = Ok(());
            for thread in running {
                let ended = thread.join();
                result = result.and(ended.map_err(|_| Failure::new("a thread panicked"))?);
            }
            result
        })
    }

    /// Sets a key; with `sync` it is on the medium when this returns.
    ///
    /// # Errors
    /// Those of the engine.
    fn put(&self, key: &[u8], value: &[u8], sync: bool) -> Outcome<()>;

    /// Shows the value of a key; false where there is none.
    ///
    /// # Errors
    /// Those of the engine, and what `look` finds wrong.
    fn get(&self, key: &[u8], look: &mut Look<'_>) -> Outcome<bool>;

    /// Shows every entry in order.
    ///
    /// # Errors
    /// Those of the engine, and what `look` finds wrong.
    fn scan(&self, with_values: bool, look: &mut LookEntry<'_>) -> Outcome<()>;

    /// Flushes, and compacts everything to the end, the last level and dead values included.
    ///
    /// # Errors
    /// Those of the engine.
    fn compact(&self) -> Outcome<()>;

    /// Closes as a careful user does.
    ///
    /// # Errors
    /// Those of the engine.
    fn close(self: Box<Self>) -> Outcome<()>;
}

fn run_feed<E: Engine + ?Sized>(engine: &E, mut feed: Feed, sync: bool) -> Outcome<()> {
    while let Some(op) = (feed.next)() {
        match op {
            Op::Put(number, generation) => {
                engine.put(&key(number), feed.corpus.value(number, generation), sync)?;
            }
            Op::Get(number, latest) => get(engine, &feed.corpus, number, latest)?,
        }
    }
    Ok(())
}

/// Reads a key, which must be there with its value of one of the generations up to `latest`.
///
/// # Errors
/// Those of the engine; a value that is missing or wrong.
pub fn get<E: Engine + ?Sized>(
    engine: &E,
    corpus: &Corpus,
    number: u64,
    latest: u64,
) -> Outcome<()> {
    let look = &mut |value: &[&[u8]]| corpus.check(number, 0..=latest, value);
    if engine.get(&key(number), look)? {
        return Ok(());
    }
    Err(Failure::new(format!("key {number} is missing")))
}

/// How values are made smaller in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum Packing {
    /// Each engine by its own codec.
    Own,
    /// Not at all, by nobody.
    None,
}

/// What an engine does for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Promise {
    /// A commit goes through a log, which survives the process and, with a sync, the machine.
    pub logs: bool,
    /// Values are compressed.
    pub packs: bool,
    /// Everything is encrypted and authenticated.
    pub seals: bool,
    /// Damaged blocks are computed again.
    pub heals: bool,
}

/// One kind of engine with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Coffer under a preset.
    Coffer(coffer_engine::Preset),
    /// SurrealKV, encrypted or not.
    SurrealKv(bool),
    /// Fjall.
    Fjall,
    /// coordinode-lsm-tree, sealed and with parity, or plain.
    Coordinode(bool),
    /// RocksDB, with values in blob files or in tables.
    RocksDb(bool),
}

/// Name of the engine that the ratios are about.
pub const OURS: &str = "coffer";

/// Every engine by its name.
pub const KINDS: [(&str, Kind); 10] = {
    use coffer_engine::Preset::{CofferDefault, CofferParanoid, RocksDbParity};
    [
        (OURS, Kind::Coffer(CofferDefault)),
        ("coffer-plain", Kind::Coffer(RocksDbParity)),
        ("coffer-paranoid", Kind::Coffer(CofferParanoid)),
        ("surrealkv", Kind::SurrealKv(false)),
        ("surrealkv-tde", Kind::SurrealKv(true)),
        ("fjall", Kind::Fjall),
        ("coordinode", Kind::Coordinode(false)),
        ("coordinode-ae", Kind::Coordinode(true)),
        ("rocksdb", Kind::RocksDb(false)),
        ("rocksdb-blob", Kind::RocksDb(true)),
    ]
};

const NO_PEERS: &str = "this build is without it: --features peers";
const NO_ROCKSDB: &str = "this build is without it: --features rocksdb";

impl Kind {
    /// The engine called `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let found = KINDS.iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| *kind)
    }

    /// Is it Coffer?
    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Coffer(_))
    }

    /// Why it takes no part, if so.
    #[must_use]
    pub fn missing(self) -> Option<&'static str> {
        match self {
            Self::Coffer(_) => None,
            Self::SurrealKv(_) | Self::Fjall | Self::Coordinode(_) => {
                (!cfg!(feature = "peers")).then_some(NO_PEERS)
            }
            Self::RocksDb(_) => (!cfg!(feature = "rocksdb")).then_some(NO_ROCKSDB),
        }
    }

    /// What it promises for values of `value_len` bytes.
    #[must_use]
    pub fn promise(self, packing: Packing, value_len: usize) -> Promise {
        let own = packing == Packing::Own;
        let apart = value_len > INLINE_LEN_MAX;
        let promise = |packs, seals, heals| Promise {
            logs: true,
            packs: own && packs,
            seals,
            heals,
        };
        match self {
            Self::Coffer(coffer_engine::Preset::RocksDbParity) => promise(true, false, false),
            Self::Coffer(_) => promise(true, true, true),
            Self::SurrealKv(sealed) => promise(!apart, sealed, false),
            Self::Fjall | Self::RocksDb(_) => promise(true, false, false),
            Self::Coordinode(sealed) => Promise {
                logs: false,
                ..promise(true, sealed, sealed)
            },
        }
    }

    /// Version and settings, and what a commit means.
    #[must_use]
    pub fn describe(self, packing: Packing) -> (String, String) {
        match self {
            Self::Coffer(preset) => coffer::describe(preset, packing),
            #[cfg(feature = "peers")]
            Self::SurrealKv(sealed) => surrealkv::describe(sealed, packing),
            #[cfg(feature = "peers")]
            Self::Fjall => fjall::describe(packing),
            #[cfg(feature = "peers")]
            Self::Coordinode(sealed) => coordinode::describe(sealed, packing),
            #[cfg(feature = "rocksdb")]
            Self::RocksDb(apart) => rocksdb::describe(apart, packing),
            #[cfg(not(all(feature = "peers", feature = "rocksdb")))]
            _ => (String::new(), String::new()),
        }
    }

    /// Opens the store in `dir`, which exists; makes it where `create` is set.
    ///
    /// # Errors
    /// Those of the engine; where this build is without it.
    pub fn open(self, dir: &Path, create: bool, packing: Packing) -> Outcome<Box<dyn Engine>> {
        if let Some(why) = self.missing() {
            return Err(Failure::new(why));
        }
        match self {
            Self::Coffer(preset) => coffer::open(preset, dir, create, packing),
            #[cfg(feature = "peers")]
            Self::SurrealKv(sealed) => surrealkv::open(sealed, dir, packing),
            #[cfg(feature = "peers")]
            Self::Fjall => fjall::open(dir, packing),
            #[cfg(feature = "peers")]
            Self::Coordinode(sealed) => coordinode::open(sealed, dir, packing),
            #[cfg(feature = "rocksdb")]
            Self::RocksDb(apart) => rocksdb::open(apart, dir, packing),
            #[cfg(not(all(feature = "peers", feature = "rocksdb")))]
            _ => Err(Failure::new("this build is without it")),
        }
    }
}

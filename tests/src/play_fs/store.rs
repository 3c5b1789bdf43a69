//! The store beneath the player: in memory, with numbers so small that everything moves.

use coffer_blobstore::env::{Clock, Env, mem, os};
use coffer_blobstore::{BlobTree, Credential, KdfCost, OpenOptions, StoreOptions};
use coffer_fusefs::attr::Time;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A clock that only the player moves.
pub(super) struct Hand(Mutex<Duration>);

impl Clock for Hand {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }
    fn monotonic(&self) -> Duration {
        self.now()
    }
}

impl Hand {
    pub(super) fn new(now: Duration) -> Self {
        Self(Mutex::new(now))
    }

    pub(super) fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    pub(super) fn time(&self) -> Time {
        let now = self.now();
        Time {
            secs: now.as_secs() as i64,
            nanos: now.subsec_nanos(),
        }
    }
}

/// A store in memory with threads, and numbers so small that it flushes, compacts and collects.
#[must_use]
pub fn small_store(clock: Arc<dyn Clock>) -> Arc<BlobTree> {
    let env = Env {
        clock,
        spawner: os::spawner(),
        ..mem::env()
    };
    let options = StoreOptions {
        blob_file_len: 256 << 10,
        kdf: KdfCost::FLOOR,
        ..StoreOptions::default()
    };
    Arc::new(BlobTree::create_with(env, &key(), options, &opening()).unwrap())
}

/// The store again, after a clean end or, as it seems to the store, after a crash.
#[must_use]
pub fn reopened(tree: Arc<BlobTree>) -> Arc<BlobTree> {
    let env = tree.env().clone();
    drop(Arc::into_inner(tree).expect("nobody else has the tree"));
    Arc::new(BlobTree::open(env, &key(), &opening()).unwrap())
}

fn key() -> Credential {
    Credential::key_file(&[7; 32])
}

fn opening() -> OpenOptions {
    OpenOptions {
        memtable_len: 100_000,
        cache_len: 500_000,
        ..OpenOptions::default()
    }
}

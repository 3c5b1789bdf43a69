//! Coffer as a user of the library has it: a `BlobTree` with its own thread for maintenance.
//!
//! The key derivation has the least cost, since no peer derives a key at all.

use std::path::Path;

use coffer_blobstore::{
    BlobBatch, BlobTree, Compression, Credential, KdfCost, OpenOptions, Preset, SharedValue,
    StoreOptions, ValueView, env,
};

use crate::failure::{Context, Outcome};
use crate::kv::engine::{CACHE_LEN, Engine, INLINE_LEN_MAX, Look, LookEntry, MEMTABLE_LEN};
use crate::kv::engine::{Packing, Seen};

/// Memory of the row cache: part of the budget.
const ROW_CACHE_LEN: usize = CACHE_LEN / 32;

struct Coffer(BlobTree);

fn store_options(preset: Preset, packing: Packing) -> StoreOptions {
    let mut options = StoreOptions {
        kdf: KdfCost::FLOOR,
        inline_len_max: INLINE_LEN_MAX as u32,
        ..StoreOptions::preset(preset)
    };
    if packing == Packing::None {
        options.transform.compression = Compression::None;
    }
    options
}

fn open_options() -> OpenOptions {
    OpenOptions {
        memtable_len: MEMTABLE_LEN,
        cache_len: CACHE_LEN - ROW_CACHE_LEN,
        row_cache_len: ROW_CACHE_LEN,
        ..OpenOptions::default()
    }
}

pub(super) fn describe(preset: Preset, packing: Packing) -> (String, String) {
    let options = store_options(preset, packing);
    let transform = options.transform;
    (
        format!(
            "{}, preset {preset:?}: {:?}, {:?}, {:?}, per-entry digests {:?}, frames {} KiB",
            env!("CARGO_PKG_VERSION"),
            transform.compression,
            transform.cipher,
            transform.ecc,
            options.kv_protection,
            options.frame_len >> 10
        ),
        "log, written at 64 KiB or by a sync; sync: fdatasync of values, then of the log".into(),
    )
}

pub(super) fn open(
    preset: Preset,
    dir: &Path,
    create: bool,
    packing: Packing,
) -> Outcome<Box<dyn Engine>> {
    let env = env::os::env(dir).context("coffer")?;
    let credential = Credential::passphrase(b"correct horse battery staple");
    let tree = if create {
        let options = store_options(preset, packing);
        BlobTree::create_with(env, &credential, options, &open_options())
    } else {
        BlobTree::open(env, &credential, &open_options())
    };
    Ok(Box::new(Coffer(tree.context("coffer")?)))
}

fn show(value: &SharedValue, look: &mut Look<'_>) -> Outcome<()> {
    match value.as_slice() {
        Some(bytes) => look(&[bytes]),
        None => look(&value.parts().collect::<Vec<_>>()),
    }
}

impl Engine for Coffer {
    fn put(&self, key: &[u8], value: &[u8], sync: bool) -> Outcome<()> {
        if !sync {
            return self.0.put(key, value).context("put");
        }
        let mut batch = BlobBatch::new();
        batch.put_staged(key, self.0.stage(value).context("stage")?);
        self.0.write(batch, true).context("write")
    }

    fn get(&self, key: &[u8], look: &mut Look<'_>) -> Outcome<bool> {
        match self.0.shared(key).context("get")? {
            Some(value) => show(&value, look).map(|()| true),
            None => Ok(false),
        }
    }

    fn scan(&self, with_values: bool, look: &mut LookEntry<'_>) -> Outcome<()> {
        let mut scan = self.0.scan(&[], &[]).context("scan")?;
        let mut visit = |key: &[u8], value: ValueView<'_>| {
            if !with_values {
                look(key, Seen::Len(value.value_len().context("scan")?))
            } else if let Some(bytes) = value.inline() {
                look(key, Seen::Value(&[bytes]))
            } else {
                let value = value.shared(&self.0).context("scan")?;
                show(&value, &mut |parts| look(key, Seen::Value(parts)))
            }
        };
        while let Some(seen) = scan.next_with(&mut visit).context("scan")? {
            seen?;
        }
        Ok(())
    }

    fn compact(&self) -> Outcome<()> {
        self.0.compact(&mut |_| ()).context("compact")
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.0.close().context("close")
    }
}

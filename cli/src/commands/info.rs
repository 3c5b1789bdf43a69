//! `info`: what a store is, with the key or without it.
//!
//! - Without the key: names, numbers and lengths of files, and the slots. Nothing of it is vouched
//!   for by anything but checksums.

use alloc::collections::BTreeMap;

use coffer_blobstore::Keyring;
use coffer_engine::types::FileKind;
use serde::Serialize;

use super::key::SlotEntry;
use crate::args::Info;
use crate::failure::{Failure, Outcome};
use crate::store;
use crate::terminal::{Results, human_len};

/// What `info --json` prints. The keys are stable.
#[derive(Serialize)]
struct Report {
    store: String,
    store_id: String,
    format_version: u32,
    keyring_generation: u64,
    slots: Vec<SlotEntry>,
    files: BTreeMap<&'static str, Files>,
    stored_len: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    opened: Option<Opened>,
}

#[derive(Default, Serialize)]
struct Files {
    count: u64,
    len: u64,
}

/// What only the key tells.
#[derive(Serialize)]
struct Opened {
    compression: String,
    cipher: &'static str,
    ecc: String,
}

fn kind_word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Keyring => "keyring",
        FileKind::Current => "current",
        FileKind::Lock => "lock",
        FileKind::Manifest => "manifest",
        FileKind::Wal => "wal",
        FileKind::Table => "table",
        FileKind::Blob => "blob",
        FileKind::Temp => "temp",
    }
}

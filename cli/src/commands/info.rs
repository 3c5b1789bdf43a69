//! `info`: what a store is, with the key or without it.
//!
//! - Without the key: numbers and lengths of files, and the slots. Nothing but checksums vouches for
//!   that.
//! - The key is used only where an option names it: nobody is asked.

use alloc::collections::BTreeMap;
use std::path::Path;

use coffer_blobstore::env::{Env, Space};
use coffer_blobstore::{BlobTree, Cipher, Compression, Ecc, FileKind, StoreInfo};
use serde::Serialize;

use super::key::SlotEntry;
use crate::args::Info;
use crate::failure::{Failure, Outcome};
use crate::store::{self, keyring_is_there};
use crate::terminal::{Results, human_len, note};

/// What `info --json` prints. The keys are stable.
#[derive(Serialize)]
struct Report {
    store_id: String,
    format_version: u32,
    cipher: Option<&'static str>,
    ecc: Option<String>,
    key_epoch: Option<u32>,
    keyring_generation: u64,
    slots: Vec<SlotEntry>,
    files: BTreeMap<&'static str, Files>,
    stored_len: u64,
    medium_total_len: u64,
    medium_free_len: u64,
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
    frame_len: u32,
    entry_count: u64,
    tombstone_count: u64,
    blob_len: u64,
    blob_live_len: u64,
}

pub(crate) fn info(args: &Info) -> Outcome {
    let env = store::env(&args.at.store)?;
    let report = inspect(&env, args)?;
    let mut results = Results::new();
    if args.json {
        results.json(&report)?;
    } else {
        for (what, value) in lines(&report) {
            results.line(format_args!("{what:11} {value}"))?;
        }
    }
    results.finish()
}

fn inspect(env: &Env, args: &Info) -> Outcome<Report> {
    let info = read(env, &args.at.store)?;
    let Space {
        total_len,
        free_len,
    } = env.fs.space()?;
    let opened = if args.at.secrets.is_given() {
        let tree = store::open(&args.at.store, &args.at.secrets)?;
        let opened = opened(&tree);
        tree.close()?;
        Some(opened?)
    } else {
        None
    };
    let files = info
        .kinds
        .iter()
        .filter(|files| files.kind != FileKind::Lock);
    Ok(Report {
        store_id: info.store_id.to_string(),
        format_version: info.format_version,
        cipher: info.cipher.map(cipher_word),
        ecc: info.ecc.map(ecc_words),
        key_epoch: info.epoch,
        keyring_generation: info.keyring.generation,
        slots: info.keyring.slots.iter().map(SlotEntry::new).collect(),
        stored_len: info.len(),
        files: files
            .map(|files| {
                let (count, len) = (files.count, files.len);
                (kind_word(files.kind), Files { count, len })
            })
            .collect(),
        medium_total_len: total_len,
        medium_free_len: free_len,
        opened,
    })
}

fn read(env: &Env, store: &Path) -> Outcome<StoreInfo> {
    keyring_is_there(env, store)?;
    let failed = |error| {
        Failure::from(error)
            .context(store.display())
            .of_store(store)
    };
    let info = StoreInfo::read(env).map_err(failed)?;
    if info
        .kinds
        .iter()
        .all(|files| files.kind != FileKind::Current)
    {
        note(format_args!(
            "{}: CURRENT is missing: the store does not open; put it back from a copy (docs/USING.md)",
            store.display()
        ));
    }
    Ok(info)
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
        FileKind::Aside => "aside",
    }
}

fn cipher_word(cipher: Cipher) -> &'static str {
    match cipher {
        Cipher::None => "none",
        Cipher::Aes256Gcm => "aes-256-gcm",
    }
}

fn ecc_words(ecc: Ecc) -> String {
    match ecc {
        Ecc::None => "none".to_owned(),
        Ecc::SecDed => "secded".to_owned(),
        Ecc::Xor { data } => format!("xor {data}+1"),
        Ecc::ReedSolomon { data, parity } => format!("reed-solomon {data}+{parity}"),
    }
}

fn opened(tree: &BlobTree) -> Outcome<Opened> {
    let options = tree.store_options();
    let levels = tree.stats().levels;
    let garbage = tree.garbage()?;
    Ok(Opened {
        compression: match options.transform.compression {
            Compression::None => "none".to_owned(),
            Compression::Zstd { level } => format!("zstd level {level}"),
        },
        frame_len: options.frame_len,
        entry_count: levels.iter().map(|level| level.entry_count).sum(),
        tombstone_count: levels.iter().map(|level| level.tombstone_count).sum(),
        blob_len: garbage.len,
        blob_live_len: garbage.live_len,
    })
}

fn lines(report: &Report) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("store id", report.store_id.clone()),
        ("format", report.format_version.to_string()),
        ("cipher", report.cipher.unwrap_or("unknown").to_owned()),
        (
            "ecc",
            report.ecc.clone().unwrap_or_else(|| "unknown".to_owned()),
        ),
        (
            "keyring",
            format!("generation {}", report.keyring_generation),
        ),
    ];
    lines.extend(report.slots.iter().map(|slot| ("", slot.line())));
    for (kind, Files { count, len }) in &report.files {
        lines.push((kind, format!("{count} file(s), {}", human_len(*len))));
    }
    lines.push(("stored", human_len(report.stored_len)));
    lines.push((
        "medium",
        format!(
            "{} free of {}",
            human_len(report.medium_free_len),
            human_len(report.medium_total_len)
        ),
    ));
    match &report.opened {
        Some(opened) => lines.extend([
            ("compression", opened.compression.clone()),
            ("frames", human_len(u64::from(opened.frame_len))),
            (
                "entries",
                format!(
                    "{}, {} tombstones",
                    opened.entry_count, opened.tombstone_count
                ),
            ),
            (
                "blobs",
                format!(
                    "{} live of {}",
                    human_len(opened.blob_live_len),
                    human_len(opened.blob_len)
                ),
            ),
        ]),
        None => lines.push((
            "more",
            "with the key: `--passphrase-file` or another of its options".to_owned(),
        )),
    }
    lines
}

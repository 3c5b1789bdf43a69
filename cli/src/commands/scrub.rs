//! `scrub`: reads every byte of a store and verifies it.
//!
//! - A scrub needs no key, so whoever keeps the disks can run it. With the key it also knows which
//!   files there must be; the key is used only where an option names it.
//! - Damage that is left on the medium is exit code 4, whether it could be healed or not.

use std::process::ExitCode;

use coffer_blobstore::{FileReport, ScrubReport, Stretch, scrub as scrub_store};
use serde::Serialize;

use crate::args::Scrub;
use crate::failure::{Code, Failure, Outcome};
use crate::progress::Progress;
use crate::store;
use crate::terminal::{Results, human_len};

/// What `scrub --json` prints. The keys are stable.
#[derive(Serialize)]
struct Report {
    /// Was what could be healed written back?
    repaired: bool,
    /// Was the key at hand, to tell missing and shortened files?
    with_key: bool,
    healed_count: usize,
    lost_count: usize,
    files: Vec<File>,
}

#[derive(Serialize)]
struct File {
    file: String,
    len: u64,
    whole_count: u64,
    healed: Vec<Piece>,
    lost: Vec<Piece>,
    #[serde(skip_serializing_if = "Option::is_none")]
    torn_tail: Option<Piece>,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    missing: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

#[derive(Serialize)]
struct Piece {
    offset: u64,
    len: u64,
}

impl From<&Stretch> for Piece {
    fn from(stretch: &Stretch) -> Self {
        Self {
            offset: stretch.offset,
            len: stretch.len,
        }
    }
}

impl From<&FileReport> for File {
    fn from(report: &FileReport) -> Self {
        Self {
            file: report.id.to_string(),
            len: report.len,
            whole_count: report.whole_count,
            healed: report.healed.iter().map(Piece::from).collect(),
            lost: report.lost.iter().map(Piece::from).collect(),
            torn_tail: report.torn_tail.as_ref().map(Piece::from),
            missing: report.is_missing,
            fault: report.fault.as_ref().map(ToString::to_string),
        }
    }
}

pub(crate) fn scrub(args: &Scrub, quiet: bool) -> Outcome<ExitCode> {
    let env = store::env(&args.store)?;
    let with_key = args.secrets.is_given();
    let credential = with_key.then(|| args.secrets.credential(&args.store));
    let credential = credential.transpose()?;
    let progress = Progress::new("scrub", Some(0), quiet);
    let mut report = scrub_store(&env, args.repair, &mut |now| {
        progress.set_total(now.total_len);
        progress.set(now.done_len);
    })
    .map_err(|error| Failure::from(error).context(args.store.display()))?;
    drop(progress);
    if let Some(credential) = &credential {
        report
            .add_named(&env, credential)
            .map_err(|error| store::cannot_open(&args.store, error))?;
    }
    let mut results = Results::new();
    if args.json {
        results.json(&Report {
            repaired: args.repair,
            with_key,
            healed_count: report.healed_count(),
            lost_count: report.lost_count(),
            files: report.files.iter().map(File::from).collect(),
        })?;
    } else {
        for file in &report.files {
            for line in damage(file, args.repair) {
                results.line(format_args!("{}: {line}", file.id))?;
            }
        }
        results.line(summary(&report, args, with_key))?;
    }
    results.finish()?;
    let left = report.lost_count() > 0 || (report.healed_count() > 0 && !args.repair);
    Ok(ExitCode::from(
        if left { Code::Corruption } else { Code::Ok } as u8,
    ))
}

/// One line for each damaged stretch.
fn damage(file: &FileReport, repaired: bool) -> Vec<String> {
    let at = |stretch: &Stretch| format!("{} bytes at offset {}", stretch.len, stretch.offset);
    let word = if repaired { "healed" } else { "can be healed" };
    let mut lines = Vec::new();
    lines.extend(
        file.healed
            .iter()
            .map(|piece| format!("{word}: block of {}", at(piece))),
    );
    lines.extend(file.lost.iter().map(|piece| format!("lost: {}", at(piece))));
    if let Some(tail) = &file.torn_tail {
        lines.push(format!("torn tail, as a crash leaves it: {}", at(tail)));
    }
    match &file.fault {
        Some(fault) if file.is_missing => lines.push(format!("missing: {fault}")),
        Some(fault) => lines.push(format!("cannot be relied on: {fault}")),
        None if file.is_missing => lines.push("missing".to_owned()),
        None => {}
    }
    lines
}

fn summary(report: &ScrubReport, args: &Scrub, with_key: bool) -> String {
    let (repaired, store) = (args.repair, args.store.display());
    let blocks: u64 = report.files.iter().map(|file| file.whole_count).sum();
    let len = report.files.iter().map(|file| file.len).sum();
    let whole = if with_key {
        "everything is whole"
    } else {
        "every block that is here is whole; files that are missing or cut short show only with the key \
         (--passphrase-file)"
    };
    let state = match (report.healed_count(), report.lost_count()) {
        (0, 0) => whole.to_owned(),
        (healed, 0) if repaired => format!("healed {healed} block(s); {whole}"),
        (healed, 0) => {
            format!("{healed} damaged block(s); `coffer scrub --repair {store}` heals them")
        }
        (healed, lost) => {
            let healed = match healed {
                0 => String::new(),
                _ if repaired => format!("healed {healed} block(s), "),
                _ => format!("{healed} damaged block(s) can be healed, "),
            };
            format!(
                "{healed}{lost} stretch(es) or file(s) lost: what they belong to answers with errors; \
                 put back the whole store from a copy, or the files of yours that do not read \
                 (docs/USING.md)"
            )
        }
    };
    let files = report.files.iter().filter(|file| !file.is_missing).count();
    format!(
        "{files} files, {blocks} whole blocks, {}: {state}",
        human_len(len)
    )
}

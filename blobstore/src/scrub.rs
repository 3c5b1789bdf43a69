//! Scrub: reads every block of every file, without a key, and heals what parity can heal.
//!
//! - Checksums and parity lie over ciphertext, so whoever keeps the disks can scrub and knows nothing.
//! - What a repair writes back is vouched for by checksums; readers with a key check the tag as well.
//! - A log or blob file that was cut short by a crash has a torn tail: told apart from damage.
//! - Which files should be there only the manifest knows: without the key a scrub misses none but
//!   `CURRENT` and the keyring; [`ScrubReport::add_named`] has the key.

use alloc::vec::Vec;

use coffer_engine::block::BlockKind;
use coffer_engine::block::blank::is_blank;
use coffer_engine::block::walk::Finding;
use coffer_engine::env::{Env, Event, File, OpenMode};
use coffer_engine::file::{Copies, HEADER_LEN, read_copies, read_header, walk};
use coffer_engine::{Error, ErrorKind, FileId, FileKind, Result, StoreId};

use crate::keyring::{COPIES, CopyState, owner_of_copy, scrub_copies};

mod named;
mod overlay;

/// A stretch of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its first byte.
    pub offset: u64,
    /// Its bytes.
    pub len: u64,
}

/// What a scrub found in one file.
#[derive(Debug)]
pub struct FileReport {
    /// The file.
    pub id: FileId,
    /// Its bytes.
    pub len: u64,
    /// Blocks that are as they were written.
    pub whole_count: u64,
    /// Damaged blocks that parity heals; healed in place where a repair was asked for.
    pub healed: Vec<Stretch>,
    /// Damage beyond repair.
    pub lost: Vec<Stretch>,
    /// Bytes behind the last block of a file that a crash cut short.
    pub torn_tail: Option<Stretch>,
    /// Is the file missing, and nothing there to make it from?
    pub is_missing: bool,
    /// Why the file could not be looked at to its end, or is not the one that belongs there.
    pub fault: Option<Error>,
}

impl FileReport {
    fn new(id: FileId) -> Self {
        Self {
            id,
            len: 0,
            whole_count: 0,
            healed: Vec::new(),
            lost: Vec::new(),
            torn_tail: None,
            is_missing: false,
            fault: None,
        }
    }

    /// Is something lost?
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.is_missing || !self.lost.is_empty() || self.fault.is_some()
    }
}

/// What a scrub found.
#[derive(Debug, Default)]
pub struct ScrubReport {
    /// One for each file, in the order of their names.
    pub files: Vec<FileReport>,
}

impl ScrubReport {
    /// Is everything whole, or healable?
    #[must_use]
    pub fn is_readable(&self) -> bool {
        !self.files.iter().any(FileReport::is_lost)
    }

    /// Damaged blocks that parity heals.
    #[must_use]
    pub fn healed_count(&self) -> usize {
        self.files.iter().map(|file| file.healed.len()).sum()
    }

    /// Stretches that are lost.
    #[must_use]
    pub fn lost_count(&self) -> usize {
        self.files
            .iter()
            .map(|file| file.lost.len().max(usize::from(file.is_lost())))
            .sum()
    }
}

/// How far a scrub has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubProgress {
    /// The file that is read now.
    pub file: FileId,
    /// Bytes read.
    pub done_len: u64,
    /// Bytes of all files.
    pub total_len: u64,
}

/// Verifies every block of the store in `env`; with `repair`, writes healed blocks back in place.
///
/// # Errors
/// `Locked` while another process holds the store, `Invalid` where there is none. Damage, and errors
/// of the medium within one file, are in the report.
pub fn scrub(
    env: &Env,
    repair: bool,
    progress: &mut dyn FnMut(ScrubProgress),
) -> Result<ScrubReport> {
    let _lock = env.fs.lock()?;
    let mut ids = env.fs.list()?;
    ids.retain(|id| !matches!(id.kind, FileKind::Lock | FileKind::Temp | FileKind::Aside));
    if ids.is_empty() {
        return Err(Error::invalid("there is no store in this directory"));
    }
    let must_be = COPIES.into_iter().chain([CURRENT]);
    let missing: Vec<_> = must_be.filter(|id| !ids.contains(id)).collect();
    ids.extend(&missing);
    ids.sort_unstable();
    let mut lens = Vec::new();
    for id in &ids {
        lens.push(
            env.fs
                .open(*id, OpenMode::Read)
                .and_then(|file| file.len())
                .unwrap_or(0),
        );
    }
    let total_len = lens.iter().sum();
    let mut report = ScrubReport::default();
    let mut before_len = 0;
    let keyring = scrub_copies(env, repair)?;
    let owner = owner(env, &ids);
    for (id, len) in ids.into_iter().zip(lens) {
        let mut file = FileReport {
            len,
            ..FileReport::new(id)
        };
        let mut tell = |done_len: u64| {
            progress(ScrubProgress {
                file: id,
                done_len: before_len + done_len,
                total_len,
            });
        };
        tell(0);
        match COPIES.iter().position(|copy| *copy == id) {
            Some(copy) => {
                file.is_missing = missing.contains(&id);
                take_copy(&mut file, keyring.get(copy).copied());
                file.fault = foreign(env, id, owner);
            }
            None if missing.contains(&id) => file.is_missing = true,
            None => {
                file.fault = foreign(env, id, owner);
                if file.fault.is_none()
                    && let Err(error) = scrub_file(env, repair, &mut file, &mut tell)
                {
                    file.fault = Some(error.in_file(id));
                }
            }
        }
        before_len += len;
        report.files.push(file);
    }
    Ok(report)
}

/// What a store cannot be without, besides its keyring.
const CURRENT: FileId = FileId::new(FileKind::Current, 0);

/// The store that most files say they belong to.
fn owner(env: &Env, ids: &[FileId]) -> Option<StoreId> {
    let mut counts: Vec<(StoreId, usize)> = Vec::new();
    for id in ids.iter().filter(|id| id.kind != FileKind::Keyring) {
        let Some(store) = store_of(env, *id) else {
            continue;
        };
        match counts.iter_mut().find(|(known, _)| *known == store) {
            Some((_, count)) => *count += 1,
            None => counts.push((store, 1)),
        }
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(store, _)| store)
}

fn store_of(env: &Env, id: FileId) -> Option<StoreId> {
    if id.kind == FileKind::Keyring {
        return owner_of_copy(env, id);
    }
    let file = env.fs.open(id, OpenMode::Read).ok()?;
    Some(read_header(&*file).ok()?.identity.store_id)
}

fn foreign(env: &Env, id: FileId, owner: Option<StoreId>) -> Option<Error> {
    let message = "the file belongs to another store than the other files";
    let is_foreign = match (store_of(env, id), owner) {
        (Some(store), Some(owner)) => store != owner,
        _ => false,
    };
    is_foreign.then(|| Error::authentication(message).in_file(id))
}

fn take_copy(file: &mut FileReport, state: Option<CopyState>) {
    let all = Stretch {
        offset: 0,
        len: file.len,
    };
    match state {
        Some(CopyState::Whole) => file.whole_count = 1,
        Some(CopyState::Healed) => file.healed.push(all),
        Some(CopyState::Lost) | None if file.is_missing => return,
        Some(CopyState::Lost) | None => file.lost.push(all),
    }
    file.is_missing = false;
}

fn scrub_file(
    env: &Env,
    repair: bool,
    report: &mut FileReport,
    tell: &mut dyn FnMut(u64),
) -> Result<()> {
    let mode = if repair {
        OpenMode::Repair
    } else {
        OpenMode::Read
    };
    let file = env.fs.open(report.id, mode)?;
    let (header, copies) = read_copies(&*file)?;
    if header.identity.id != report.id {
        return Err(Error::new(
            ErrorKind::Authentication,
            "the file is another one than its name says",
        ));
    }
    if report.len < 2 * HEADER_LEN as u64 {
        return Err(Error::corruption("the file was cut short within its header").at(report.len));
    }
    if copies == Copies::OneDamaged {
        let both = [header.encode(); 2];
        heal(env, &*file, repair, report, 0, both.as_flattened())?;
    }
    let mut blocks = walk(&*file, &header)?;
    let mut finished = false;
    while let Some(found) = blocks.next()? {
        let stretch = Stretch {
            offset: found.offset,
            len: found.disk_len,
        };
        match &found.finding {
            Finding::Whole => report.whole_count += 1,
            Finding::Healed(bytes) => heal(env, &*file, repair, report, found.offset, bytes)?,
            Finding::Lost => report.lost.push(stretch),
        }
        finished = found
            .frame
            .is_some_and(|frame| frame.kind == BlockKind::Footer);
        tell(found.offset + found.disk_len);
    }
    let grows = matches!(
        report.id.kind,
        FileKind::Wal | FileKind::Blob | FileKind::Manifest
    );
    if grows && !finished {
        let reaches_end = |lost: &Stretch| lost.offset + lost.len == report.len;
        if let Some(tail) = report.lost.pop_if(|lost| reaches_end(lost)) {
            let is_room = is_blank(&*file, tail.offset..report.len)?;
            report.torn_tail = (!is_room).then_some(tail);
        }
    } else if report.id.kind == FileKind::Table && !finished {
        return Err(Error::corruption("the table has no footer: it was cut off").at(report.len));
    } else if report.id == CURRENT && report.len == 2 * HEADER_LEN as u64 {
        return Err(Error::corruption("the file was cut short behind its header").at(report.len));
    }
    if repair && !report.healed.is_empty() {
        file.sync()?;
    }
    Ok(())
}

fn heal(
    env: &Env,
    file: &dyn File,
    repair: bool,
    report: &mut FileReport,
    offset: u64,
    bytes: &[u8],
) -> Result<()> {
    if repair {
        file.write_at(offset, bytes)?;
        env.listener.event(&Event::Healed {
            file: report.id,
            offset,
        });
    }
    report.healed.push(Stretch {
        offset,
        len: bytes.len() as u64,
    });
    Ok(())
}

#[cfg(test)]
mod tests;

//! A walk over all blocks of a file, without a key: for scrub, repair and forensics.
//!
//! - Every byte from the start to the end of the file belongs to exactly one finding.
//! - A length is believed only where the checksum of its frame matches; where none does, the walk
//!   goes on at the next whole block of this very file.
//! - What it heals is vouched for by checksums alone: who holds a key checks the tag as well.

use alloc::vec;
use alloc::vec::Vec;

use crate::block::CHECKSUM_LEN;
use crate::block::blank::last_block_ends;
use crate::block::context::{FileContext, FileIdentity};
use crate::block::frame::{FRAME_LEN, MAGIC, MetadataFrame};
use crate::block::handle::BLOCK_LEN_MAX;
use crate::block::verify::{State, Verifier, tag_of};
use crate::crypto::Tag;
use crate::ecc::Protector;
use crate::env::{File, read_exact_at, read_held_at};
use crate::error::{Error, Result};
use crate::options::Ecc;

/// The state of a stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A block, with its parity, as it was written.
    Whole,
    /// Damaged; these bytes in its place make it whole.
    Healed(Vec<u8>),
    /// Damaged beyond repair.
    Lost,
}

/// A stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its first byte.
    pub offset: u64,
    /// Its length: of one block, or of all bytes up to the next block.
    pub disk_len: u64,
    /// What the block says about itself, where that is readable.
    pub frame: Option<MetadataFrame>,
    /// Its tag, or its checksum where it has no cipher; `None` where it is lost.
    pub tag: Option<Tag>,
    /// Its state.
    pub finding: Finding,
}

/// Goes over the blocks of a file.
pub struct Walk<'a> {
    file: &'a dyn File,
    verifier: Verifier,
    offset: u64,
    end: u64,
    budget: u64,
}

impl<'a> Walk<'a> {
    /// Over `file` from its first block at `start`.
    ///
    /// # Errors
    /// Those of [`File::len`].
    pub fn new(file: &'a dyn File, identity: &FileIdentity, ecc: Ecc, start: u64) -> Result<Self> {
        let end = file.len()?;
        let protector = Protector::new(ecc);
        let mix = identity.mix();
        Ok(Self {
            file,
            verifier: Verifier { protector, mix },
            offset: start,
            end,
            budget: scan_budget(end),
        })
    }

    /// The next stretch; `None` at the end of the file.
    ///
    /// # Errors
    /// Those of [`File::read_at`]; damage is a finding.
    #[expect(clippy::should_implement_trait, reason = "it can fail")]
    pub fn next(&mut self) -> Result<Option<Found>> {
        let offset = self.offset;
        if offset >= self.end {
            return Ok(None);
        }
        let mut found = self.block_at(offset)?;
        if found.is_none() {
            let (file, budget) = (self.file, &mut self.budget);
            let from = offset + 1;
            let next = next_block(file, &self.verifier, from, self.end, budget, &|_| true)?;
            found = Some(match next {
                Some((next, _)) => self.examine(offset, next - offset)?,
                None => self.last_at(offset)?,
            });
        }
        self.offset += found.as_ref().map_or(0, |found| found.disk_len);
        Ok(found)
    }

    /// The block at `offset`, where its frame tells a believable length.
    fn block_at(&self, offset: u64) -> Result<Option<Found>> {
        match frame_at(self.file, offset, self.end)? {
            Some((frame, _)) => {
                let disk_len = self.verifier.disk_len(frame.body_len as usize) as u64;
                if disk_len > self.end - offset {
                    return Ok(None);
                }
                self.examine(offset, disk_len).map(Some)
            }
            None => Ok(None),
        }
    }

    /// The last block of the file, whose frame is lost; zeros may lie behind it.
    fn last_at(&self, offset: u64) -> Result<Found> {
        for end in last_block_ends(self.file, offset..self.end)? {
            let found = self.examine(offset, end - offset)?;
            if found.finding != Finding::Lost {
                return Ok(found);
            }
        }
        self.examine(offset, self.end - offset)
    }

    /// Looks at `disk_len` bytes as one block.
    fn examine(&self, offset: u64, disk_len: u64) -> Result<Found> {
        let mut found = Found {
            offset,
            disk_len,
            frame: None,
            tag: None,
            finding: Finding::Lost,
        };
        let longest = self.verifier.disk_len(BLOCK_LEN_MAX) as u64;
        if disk_len > longest {
            return Ok(found);
        }
        let mut disk = vec![0; usize::try_from(disk_len).expect("checked above")];
        read_exact_at(self.file, offset, &mut disk)?;
        let mut state = self.verifier.look(&disk);
        let whole = matches!(state, State::Whole(_));
        if !whole {
            state = self.verifier.heal(&mut disk);
        }
        let (State::Whole(frame)
        | State::OtherLength(frame)
        | State::BadBody(frame)
        | State::OtherFile(frame)) = state
        else {
            return Ok(found);
        };
        found.frame = Some(frame);
        if matches!(state, State::Whole(_)) {
            found.tag = Some(tag_of(&frame, &disk));
            let parity_changed = self.protect_again(&mut disk, frame.body_len as usize);
            found.finding = if whole && !parity_changed {
                Finding::Whole
            } else {
                Finding::Healed(disk)
            };
        }
        Ok(found)
    }

    /// Computes the parity of a whole block again; was it another one?
    fn protect_again(&self, disk: &mut [u8], body_len: usize) -> bool {
        let (data, parity) = disk.split_at_mut(FRAME_LEN + body_len + CHECKSUM_LEN);
        let mut again = vec![0; parity.len()];
        self.verifier.protector.protect(data, &mut again);
        let changed = parity != again;
        parity.copy_from_slice(&again);
        changed
    }
}

/// The frame at `offset`, with at most one bit healed; was one?
pub(crate) fn frame_at(
    file: &dyn File,
    offset: u64,
    end: u64,
) -> Result<Option<(MetadataFrame, bool)>> {
    let mut bytes = [0; FRAME_LEN];
    if end.saturating_sub(offset) < FRAME_LEN as u64 {
        return Ok(None);
    }
    read_exact_at(file, offset, &mut bytes)?;
    if let Ok(frame) = MetadataFrame::parse(&bytes) {
        return Ok(Some((frame, false)));
    }
    Ok(MetadataFrame::heal_one_bit(&mut bytes).map(|frame| (frame, true)))
}

impl FileContext {
    /// The next whole block of this file at `from` or later that `wanted` accepts.
    pub(crate) fn next_block(
        &self,
        file: &dyn File,
        from: u64,
        end: u64,
        budget: &mut u64,
        wanted: &dyn Fn(&MetadataFrame) -> bool,
    ) -> Result<Option<(u64, MetadataFrame)>> {
        next_block(file, self.verifier(), from, end, budget, wanted)
    }
}

/// How many bytes of candidates a scan may verify: forged frames must not make it endless.
pub(crate) const fn scan_budget(file_len: u64) -> u64 {
    file_len.saturating_mul(4).saturating_add(64 << 20)
}

/// Bytes read at one time while scanning.
const WINDOW_LEN: usize = 64 << 10;

fn next_block(
    file: &dyn File,
    verifier: &Verifier,
    mut from: u64,
    end: u64,
    budget: &mut u64,
    wanted: &dyn Fn(&MetadataFrame) -> bool,
) -> Result<Option<(u64, MetadataFrame)>> {
    let mut window = vec![0; WINDOW_LEN];
    while end.saturating_sub(from) >= FRAME_LEN as u64 {
        let filled = read_held_at(file, from, end, &mut window)?;
        let filled = window.get(..filled).unwrap_or_default();
        let Some(last) = filled.len().checked_sub(FRAME_LEN) else {
            break;
        };
        for at in 0..=last {
            let Some(bytes) = filled.get(at..).and_then(<[u8]>::first_chunk) else {
                break;
            };
            if bytes.starts_with(&MAGIC)
                && let Ok(frame) = MetadataFrame::parse(bytes)
                && wanted(&frame)
                && is_whole(file, verifier, from + at as u64, end, &frame, budget)?
            {
                return Ok(Some((from + at as u64, frame)));
            }
        }
        from += last as u64 + 1;
    }
    Ok(None)
}

/// Is the candidate at `offset` a whole block of this file, perhaps after healing?
fn is_whole(
    file: &dyn File,
    verifier: &Verifier,
    offset: u64,
    end: u64,
    frame: &MetadataFrame,
    budget: &mut u64,
) -> Result<bool> {
    let disk_len = verifier.disk_len(frame.body_len as usize);
    if disk_len as u64 > end - offset {
        return Ok(false);
    }
    *budget = budget.checked_sub(disk_len as u64).ok_or_else(|| {
        Error::corruption("the file holds too many forged blocks to be searched").at(offset)
    })?;
    let mut disk = vec![0; disk_len];
    read_exact_at(file, offset, &mut disk)?;
    let whole = |state| matches!(state, State::Whole(_));
    Ok(whole(verifier.look(&disk)) || whole(verifier.heal(&mut disk)))
}

//! Zeros behind the last block of a log: room for more, written ahead (see [`File::reserve`]).

use core::ops::{Range, RangeInclusive};

use crate::env::{File, read_held_at};
use crate::error::Result;

/// Longest run of zeros at the end of a log that is room for more records.
const BLANK_LEN_MAX: u64 = 4 << 20;
/// A block ends in a checksum or in parity with its checksums: so many zeros may end it by chance.
const ZEROS_MAX: u64 = 16;
const PART_LEN: usize = 4096;

/// Are these bytes up to the end of a log room for more records: zeros alone, and not more than may
/// be written ahead?
///
/// # Errors
/// Those of [`File::read_at`].
pub fn is_blank(file: &dyn File, range: Range<u64>) -> Result<bool> {
    if range.end - range.start > BLANK_LEN_MAX {
        return Ok(false);
    }
    let mut part = [0; PART_LEN];
    let mut offset = range.start;
    while offset < range.end {
        let len = read_held_at(file, offset, range.end, &mut part)?;
        let (found, _) = part.split_at(len);
        if found.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += len as u64;
    }
    Ok(true)
}

/// Where the last block of a file may end, if it begins at the start of `range` and its length is
/// lost: behind the last byte that is not zero, or a little later.
pub(crate) fn last_block_ends(file: &dyn File, range: Range<u64>) -> Result<RangeInclusive<u64>> {
    let mut part = [0; PART_LEN];
    let mut end = range.end;
    let lowest = range.start.max(end.saturating_sub(BLANK_LEN_MAX));
    while end > lowest {
        let start = lowest.max(end.saturating_sub(PART_LEN as u64));
        let wanted = usize::try_from(end - start).expect("a short part");
        let (wanted, _) = part.split_at_mut(wanted);
        read_held_at(file, start, end, wanted)?;
        let last = wanted.iter().rposition(|byte| *byte != 0);
        if let Some(last) = last {
            end = start + last as u64 + 1;
            break;
        }
        end = start;
    }
    let end = end.max(range.start + 1);
    Ok(end..=range.end.min(end + ZEROS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Fs, OpenMode, mem::MemFs};
    use crate::types::{FileId, FileKind};
    use alloc::vec;

    #[test]
    fn the_end_of_what_was_written_is_found() {
        for (held, zeros) in [(0, 3), (1, 0), (5, 1), (4096, 4096), (9000, 20_000)] {
            let id = FileId::new(FileKind::Wal, 1);
            let file = MemFs::new().open(id, OpenMode::Create).unwrap();
            file.append(&vec![7; 10 + held]).unwrap();
            file.append(&vec![0; zeros]).unwrap();
            let (start, end) = (10, 10 + (held + zeros) as u64);
            let ends = last_block_ends(&*file, start..end).unwrap();
            // Never an empty block.
            assert_eq!(*ends.start(), start + held.max(1) as u64);
            assert_eq!(*ends.end(), end.min(ends.start() + ZEROS_MAX));
            assert_eq!(is_blank(&*file, start..end).unwrap(), held == 0);
        }
    }
}

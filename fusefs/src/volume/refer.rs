//! Copies of chunks by reference: the chunk of another file, or of another place, gets a second key.
//!
//! - One batch brings the chunks, the pages over them, and the record that counts them: after a crash
//!   all of it is there or nothing.
//! - Only what is in the tree is referred to, and only what is in the tree is replaced: the unwritten of
//!   both files is written out before. Where somebody writes meanwhile, bytes are copied instead.
//! - Nobody who changes a chunk later looks whether it has other keys: he changes what his key leads to.
//! - Holes stay holes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use coffer_blobstore::{BlobBatch, Error};

use crate::errno::FsResult;
use crate::extent::{CHUNK_LEN, FILE_LEN_MAX, chunk_count, index_of, pages_of, within};
use crate::inode::{Inode, Locked, State};
use crate::key;
use crate::record::{InodeRecord, ORPHAN};
use crate::volume::Volume;

/// Chunks that one batch brings at most.
pub(crate) const REFER_COUNT_MAX: u64 = 1024;
/// The rest of a file is worth a reference from this length on.
pub(crate) const REFER_TAIL_LEN_MIN: u64 = 32 << 10;

/// A place in a file.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) inode: &'a Arc<Inode>,
    pub(crate) offset: u64,
}

/// A run of chunks of the source.
struct Run {
    /// Their number, holes included.
    count: u64,
    /// Their bytes.
    len: u64,
    /// The chunks that there are, and the pages over each.
    chunks: Vec<(u64, u32)>,
}

impl Volume {
    /// Lets up to `len` bytes at `to` be those at `from`, as far as they are whole chunks, or a last one that
    /// ends both files; answers how many. None where bytes have to be copied. `change` goes with it.
    /// REQUIRES: both places begin a chunk, ranges of one file lie apart.
    pub(crate) fn refer(
        self: &Arc<Self>,
        from: Place<'_>,
        to: Place<'_>,
        len: u64,
        change: impl FnOnce(&mut InodeRecord),
    ) -> FsResult<u64> {
        let most = len.min(REFER_COUNT_MAX * CHUNK_LEN as u64);
        let size_of = |place: Place<'_>| place.inode.lock().record.size;
        let sizes = (size_of(from), size_of(to));
        let len = referable((from.offset, to.offset), sizes, most);
        let end = from.offset.saturating_add(len);
        if len == 0 || to.offset.saturating_add(len) > FILE_LEN_MAX {
            return Ok(0);
        }
        self.have_stored(from.inode, |state| Self::is_stored(state, from.offset, end))?;
        self.have_stored(to.inode, Self::is_clean)?;
        let mut locked = Locked::new(&[from.inode, to.inode]);
        let target_len = locked.of(to.inode.ino).record.size;
        let source = locked.of(from.inode.ino);
        // Somebody may have been at them meanwhile.
        let sizes = (source.record.size, target_len);
        let is_same = len == referable((from.offset, to.offset), sizes, most);
        if !is_same || !Self::is_stored(source, from.offset, end) {
            return Ok(0);
        }
        let run = self.run(from, source, len)?;
        let target = locked.of(to.inode.ino);
        if !Self::is_clean(target) {
            return Ok(0);
        }
        let mut record = target.record.clone();
        change(&mut record);
        self.put_run(from, to, target, record, &run)?;
        Ok(len)
    }

    /// Writes an inode out unless it is as wanted.
    fn have_stored(
        self: &Arc<Self>,
        inode: &Arc<Inode>,
        is_wanted: impl FnOnce(&State) -> bool,
    ) -> FsResult<()> {
        {
            let mut state = inode.lock();
            state.must_be_file()?;
            if is_wanted(&state) {
                return Ok(());
            }
            // A truncation that a crash interrupted ends with the next record.
            state.changed |= state.trim_pending();
        }
        self.write_out(inode)
    }

    /// Is what the tree has all that there is of these bytes?
    fn is_stored(state: &State, start: u64, end: u64) -> bool {
        let mut unwritten = state
            .content
            .chunks
            .range(index_of(start)..chunk_count(end));
        // Of a last chunk that was cut the tree may have more.
        let is_cut = within(end) > 0 && state.trim_pending();
        end <= state.content.base_len && !is_cut && unwritten.next().is_none()
    }

    /// Is the tree's record what programs see, and all that the tree has?
    fn is_clean(state: &State) -> bool {
        state.stored && !state.reaped && !state.is_unwritten() && !state.trim_pending()
    }

    /// The chunks of the source.
    fn run(&self, from: Place<'_>, state: &mut State, len: u64) -> FsResult<Run> {
        let first = index_of(from.offset);
        let count = chunk_count(len);
        let range = first..first + count;
        let stored = self.stored_in(from.inode, state, &range, count as usize)?;
        if state.record.hole_count == 0 && (stored.len() as u64) < count {
            return Err(Error::corruption("a chunk of a file is missing").into());
        }
        let mut chunks = Vec::with_capacity(stored.len());
        for index in stored {
            chunks.push((index, self.patch_mask(from.inode.ino, state, index)?));
        }
        Ok(Run { count, len, chunks })
    }

    /// Puts a run in the place of what the target had there, with its record.
    fn put_run(
        &self,
        from: Place<'_>,
        to: Place<'_>,
        state: &mut State,
        mut record: InodeRecord,
        run: &Run,
    ) -> FsResult<()> {
        let ino = to.inode.ino;
        let (source_first, first) = (index_of(from.offset), index_of(to.offset));
        let range = first..first + run.count;
        let old_count = chunk_count(record.size);
        let mut batch = BlobBatch::new();
        let mut over = Vec::with_capacity(run.chunks.len());
        let mut chunks = run.chunks.iter().peekable();
        for index in range.clone() {
            let source_index = source_first + (index - first);
            let found = chunks.next_if(|(index, _)| *index == source_index);
            let pages = found.map_or(0, |(_, pages)| *pages);
            let old_pages = self.patch_mask(ino, state, index)?;
            for page in pages_of(old_pages & !pages) {
                batch.delete(&key::patch(ino, index, page));
            }
            for page in pages_of(pages) {
                let source = key::patch(from.inode.ino, source_index, page);
                batch.copy(&source, &key::patch(ino, index, page));
            }
            match found {
                Some(_) => {
                    let source = key::chunk(from.inode.ino, source_index);
                    batch.copy(&source, &key::chunk(ino, index));
                }
                None if index < old_count => batch.delete(&key::chunk(ino, index)),
                None => {}
            }
            let gone = u64::from(old_pages.count_ones());
            record.patch_count = record.patch_count.saturating_sub(gone);
            record.patch_count += u64::from(pages.count_ones());
            over.push((index, pages));
        }
        let old_holes = self.holes_of(to.inode, state, range)?;
        let gap = first.saturating_sub(old_count);
        let holes = run.count - run.chunks.len() as u64;
        record.hole_count = record.hole_count.saturating_sub(old_holes) + gap + holes;
        record.size = record.size.max(to.offset.saturating_add(run.len));
        batch.put(&key::inode(ino), &record.encode());
        let orphan = record.nlink == 0 && !state.orphan;
        if orphan {
            batch.put(&key::orphan(ino), &ORPHAN);
        }
        self.note_space(self.tree.write(batch, false))?;
        state.orphan |= orphan;
        state.content.stored_len = record.size;
        state.content.base_len = record.size;
        state.record = record;
        for (index, pages) in over {
            state.content.patches.remove(&index);
            if pages != 0 {
                state.content.patches.insert(index, pages);
            }
            self.cache.forget(Self::base(to.inode, state, index).id);
        }
        Ok(())
    }

    /// Holes among these chunks, as far as the file reaches. REQUIRES: nothing is unwritten.
    fn holes_of(
        &self,
        inode: &Inode,
        state: &State,
        range: core::ops::Range<u64>,
    ) -> FsResult<u64> {
        let end = range.end.min(state.chunk_count());
        if state.record.hole_count == 0 || range.start >= end {
            return Ok(0);
        }
        let count = end - range.start;
        let stored = self.stored_in(inode, state, &(range.start..end), count as usize)?;
        Ok(count - stored.len() as u64)
    }
}

/// How many of `len` bytes may be referred to: whole chunks, and the last one of the source where it
/// becomes the last one of the target.
fn referable(offsets: (u64, u64), sizes: (u64, u64), len: u64) -> u64 {
    let rest = within(len) as u64;
    let ends_source = offsets.0.saturating_add(len) == sizes.0;
    let ends_target = offsets.1.saturating_add(len) >= sizes.1;
    if ends_source && ends_target && rest >= REFER_TAIL_LEN_MIN {
        len
    } else {
        len - rest
    }
}

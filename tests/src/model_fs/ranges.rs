//! Ranges of the model: fallocate and copies.

use super::{Answer, Id, LEN_MAX, ModelFs, node::CHUNK};
use coffer_fusefs::Errno;
use coffer_fusefs::attr::{Allocate, Caller};
use std::ops::Range;

/// Shortest last chunk that is referred to.
const REFERRED_LEN_MIN: u64 = 32 << 10;

impl ModelFs {
    /// fallocate of an open file. There is always space.
    pub fn fallocate(
        &mut self,
        caller: &Caller,
        id: Id,
        range: Range<u64>,
        how: Allocate,
    ) -> Answer<()> {
        if range.is_empty() {
            return Err(Errno::EINVAL);
        }
        if range.end > LEN_MAX {
            return Err(Errno::EFBIG);
        }
        let now = self.now;
        let node = self.at(id);
        let grows = matches!(how, Allocate::Reserve | Allocate::ZeroRange);
        let zeros = matches!(how, Allocate::PunchHole | Allocate::ZeroRange);
        if zeros && range.start < node.size {
            node.punch(range.clone());
        }
        if zeros || (grows && range.end > node.size) {
            node.times[1] = now;
        }
        if grows {
            node.size = node.size.max(range.end);
        }
        if caller.uid != 0 {
            node.drop_privileges(Some(caller.gid));
        }
        node.times[2] = now;
        Ok(())
    }

    /// Copies within and between files.
    pub fn copy_range(
        &mut self,
        caller: &Caller,
        (from, from_offset): (Id, u64),
        (to, to_offset): (Id, u64),
        len: usize,
    ) -> Answer<usize> {
        let data = self.node(from).read(from_offset, len);
        let far = from_offset.abs_diff(to_offset) >= data.len() as u64;
        if from == to && !far {
            return Err(Errno::EINVAL);
        }
        let holes = self.copied_holes((from, from_offset), (to, to_offset), data.len() as u64);
        self.write(
            to,
            Some(to_offset),
            &data,
            (caller.uid != 0).then_some(caller.gid),
        )?;
        let target = self.at(to);
        for index in holes {
            target.chunks.remove(&index);
            target.punched.insert(index);
        }
        if !data.is_empty() {
            self.touch(from);
        }
        Ok(data.len())
    }

    /// Chunks of the target that become holes: whole chunks of the source are referred to where they lie alike
    /// in both files, and a long rest that ends both.
    fn copied_holes(
        &self,
        (from, from_offset): (Id, u64),
        (to, to_offset): (Id, u64),
        len: u64,
    ) -> Vec<u64> {
        let start = from_offset.next_multiple_of(CHUNK);
        let end = from_offset + len;
        if from_offset % CHUNK != to_offset % CHUNK || start >= end {
            return Vec::new();
        }
        let (source, target) = (self.node(from), self.node(to));
        let ends_both = end == source.size && to_offset + len >= target.size;
        let last = match ends_both && end % CHUNK >= REFERRED_LEN_MIN {
            true => end.div_ceil(CHUNK),
            false => end / CHUNK,
        };
        let first = to_offset.div_ceil(CHUNK);
        let run = start / CHUNK..last;
        run.clone()
            .filter(|index| !source.chunks.contains(index))
            .map(|index| first + (index - run.start))
            .collect()
    }
}

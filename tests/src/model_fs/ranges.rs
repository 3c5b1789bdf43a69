//! Ranges of the model: fallocate and copies.

use super::{Answer, Id, LEN_MAX, ModelFs};
use coffer_fusefs::Errno;
use coffer_fusefs::attr::{Allocate, Caller};
use std::ops::Range;

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
        self.write(
            to,
            Some(to_offset),
            &data,
            (caller.uid != 0).then_some(caller.gid),
        )?;
        if !data.is_empty() {
            self.touch(from);
        }
        Ok(data.len())
    }
}

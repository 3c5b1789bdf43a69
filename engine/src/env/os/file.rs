//! One file of the operating system, read and written at offsets.
//!
//! - Appends go behind the last byte that this handle wrote; one at a time. Zeros may lie behind it:
//!   a sync of bytes that go over them needs no change of the file's length, and so no turn of the
//!   journal of the file system below. That is most of the cost of a small sync.
//! - A sync covers the length: `fdatasync` writes what is needed to read the data back.

extern crate std;

use alloc::sync::Arc;
use alloc::vec;
use core::num::NonZeroU64;
use core::ops::Range;
use std::os::fd::OwnedFd;

use rustix::fs::{self, Advice, Stat};
use rustix::io::{self, Errno};

use crate::env::File;
use crate::env::os::ahead::Readahead;
use crate::env::os::around::{Around, Reader};
use crate::env::os::failed;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Mutex;
use crate::types::FileId;

/// Zeros are written in steps of this length, and not for appends longer than a quarter of it.
const RESERVE_LEN: u64 = 1 << 20;

/// Where a file ends.
#[derive(Clone, Copy, Debug)]
struct End {
    /// Behind the last byte appended.
    appended: u64,
    /// Behind the zeros that were written ahead.
    reserved: u64,
}

impl End {
    const fn at(len: u64) -> Self {
        Self {
            appended: len,
            reserved: len,
        }
    }
}

/// Refuses pipes, devices and directories.
pub(super) fn check_regular(id: FileId, fd: &OwnedFd) -> Result<Stat> {
    let stat = fs::fstat(fd).map_err(|errno| failed("cannot stat the file", errno))?;
    if fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Ok(stat);
    }
    Err(Error::corruption("not a regular file").in_file(id))
}

#[derive(Debug)]
pub(super) struct OsFile {
    id: FileId,
    fd: OwnedFd,
    end: Mutex<End>,
    ahead: Mutex<Readahead>,
    around: Arc<Around>,
}

impl OsFile {
    pub(super) fn new(id: FileId, fd: OwnedFd, around: &Arc<Around>) -> Result<Self> {
        let stat = check_regular(id, &fd)?;
        let end = Mutex::new(End::at(u64::try_from(stat.st_size).unwrap_or(0)));
        let ahead = Mutex::new(Readahead::default());
        let around = Arc::clone(around);
        Ok(Self {
            id,
            fd,
            end,
            ahead,
            around,
        })
    }

    /// Has the system fetch what is likely to be read soon: what comes next, where the readers go
    /// forward, and what lies around reads that come near each other.
    fn fetch_more(&self, offset: u64, len: usize) {
        let next = self.ahead.lock().note(offset, len);
        let around = || self.around.note(self.id, offset, len as u64, Reader::Now);
        if let Some(range) = next.or_else(around) {
            self.fetch(range);
        }
    }

    /// Has the system fetch `range`; one that does not take the hint reads later.
    fn fetch(&self, range: Range<u64>) {
        let len = NonZeroU64::new(range.end - range.start);
        let _ = fs::fadvise(&self.fd, range.start, len, Advice::WillNeed);
    }

    fn failed(&self, what: &'static str, errno: Errno) -> Error {
        failed(what, errno).in_file(self.id)
    }

    /// Cuts off everything behind what was appended.
    fn cut(&self, end: &mut End) -> Result<()> {
        let len = end.appended;
        fs::ftruncate(&self.fd, len).map_err(|errno| self.failed("cannot cut", errno))?;
        *end = End::at(len);
        Ok(())
    }

    fn write_all_at(&self, mut offset: u64, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match io::pwrite(&self.fd, bytes, offset) {
                Ok(0) => return Err(self.failed("cannot write", Errno::IO).at(offset)),
                Ok(len) => {
                    bytes = &bytes[len..];
                    offset += len as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed("cannot write", errno).at(offset)),
            }
        }
        Ok(())
    }
}

impl File for OsFile {
    fn len(&self) -> Result<u64> {
        let stat = fs::fstat(&self.fd).map_err(|errno| self.failed("cannot stat", errno))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.fetch_more(offset, buf.len());
        let mut filled = 0;
        while filled < buf.len() {
            let at = offset + filled as u64;
            match io::pread(&self.fd, &mut buf[filled..], at) {
                Ok(0) => break,
                Ok(len) => filled += len,
                Err(Errno::INTR) => {}
                // Offsets past what the system can name are past the end.
                Err(Errno::INVAL | Errno::OVERFLOW) if i64::try_from(at).is_err() => break,
                Err(errno) => return Err(self.failed("cannot read", errno).at(at)),
            }
        }
        Ok(filled)
    }

    fn will_read(&self, offset: u64, len: u64) {
        let around = self.around.note(self.id, offset, len, Reader::Soon);
        self.fetch(around.unwrap_or(offset..offset.saturating_add(len)));
    }

    fn append(&self, bytes: &[u8]) -> Result<()> {
        let mut end = self.end.lock();
        self.write_all_at(end.appended, bytes)?;
        end.appended += bytes.len() as u64;
        end.reserved = end.reserved.max(end.appended);
        Ok(())
    }

    fn reserve(&self, len: u64) -> Result<()> {
        let mut end = self.end.lock();
        if end.appended + len <= end.reserved || len > RESERVE_LEN / 4 {
            return Ok(());
        }
        let zeros = vec![0; usize::try_from(RESERVE_LEN).expect("a short step")];
        match self.write_all_at(end.reserved, &zeros) {
            Ok(()) => end.reserved += RESERVE_LEN,
            Err(error) if error.kind() == ErrorKind::NoSpace => self.cut(&mut end)?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let end = self.end.lock();
        if offset
            .checked_add(bytes.len() as u64)
            .is_none_or(|last| last > end.appended)
        {
            return Err(Error::invalid("a repair past the end")
                .in_file(self.id)
                .at(offset));
        }
        self.write_all_at(offset, bytes)
    }

    fn sync(&self) -> Result<()> {
        fs::fdatasync(&self.fd).map_err(|errno| self.failed("cannot sync", errno))
    }

    fn truncate(&self, len: u64) -> Result<()> {
        let mut end = self.end.lock();
        if len > end.appended {
            return Err(Error::invalid("a cut past the end")
                .in_file(self.id)
                .at(len));
        }
        end.appended = len;
        self.cut(&mut end)
    }
}

//! A medium with faults: rules say which operation on which file goes wrong, and how.
//!
//! - One file system for all faults; it stands before any other. What only a medium can do, such as
//!   losing what a failed sync should have kept, it asks of a [`CrashFs`].
//! - The first rule that matches an operation decides; a rule counts its matches.
//! - Without a rule every operation goes through unchanged.

use coffer_engine::env::{File, Fs, OpenMode, Space};
use coffer_engine::{Error, FileId, FileKind, Result};
use std::sync::{Arc, Mutex};

use crate::crash::{CrashFs, Mishap};

/// Kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Opening an existing file.
    Open,
    /// Creating a file.
    Create,
    /// Renaming a file; the rule sees the new name.
    Rename,
    /// Removing a file.
    Remove,
    /// Listing the directory.
    List,
    /// Syncing the directory.
    SyncDir,
    /// Reading.
    Read,
    /// Appending.
    Append,
    /// Writing zeros ahead.
    Reserve,
    /// Writing in place.
    WriteAt,
    /// Syncing a file.
    Sync,
    /// Cutting a file.
    Truncate,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The medium answers with an error and does nothing.
    Io,
    /// The medium is full.
    NoSpace,
    /// An append writes only this many bytes, then fails.
    TornAppend(usize),
    /// An append reports success and writes nothing.
    LostAppend,
    /// A read gives only this many bytes.
    ShortRead(usize),
    /// A read gives one wrong bit: this one, counted from the start of the answer.
    FlipBit(usize),
    /// A read is answered from this many bytes further on.
    Misdirected(u64),
    /// A sync fails, and what it should have kept is gone for good, though reads still show it and
    /// the next sync goes well. Needs a [`CrashFs`]; before others it is [`Fault::Io`].
    LostSync,
    /// An append reports success, reads show it, and the disk has it in another place, over whatever
    /// was there, or nowhere; the seed says where. Needs a [`CrashFs`]; before others nothing happens.
    MisdirectedWrite(u64),
    /// The code behind the operation has a bug.
    Panic,
}

impl Fault {
    /// Can this go wrong with that operation?
    #[must_use]
    pub const fn is_possible(self, on: Operation) -> bool {
        match self {
            Self::Io | Self::Panic => true,
            Self::NoSpace => matches!(
                on,
                Operation::Create
                    | Operation::Append
                    | Operation::WriteAt
                    | Operation::Rename
                    | Operation::Sync
                    | Operation::SyncDir
            ),
            Self::TornAppend(_) | Self::LostAppend | Self::MisdirectedWrite(_) => {
                matches!(on, Operation::Append)
            }
            Self::ShortRead(_) | Self::FlipBit(_) | Self::Misdirected(_) => {
                matches!(on, Operation::Read)
            }
            Self::LostSync => matches!(on, Operation::Sync | Operation::SyncDir),
        }
    }
}

/// When what goes wrong.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The operation; `None` for all, of which those go wrong that can.
    pub on: Option<Operation>,
    /// Only on files of this kind; `None` for all.
    pub kind: Option<FileKind>,
    /// How many matching operations go well first.
    pub skip_count: u64,
    /// How many go wrong after that.
    pub hit_count_max: u64,
    /// What happens to them.
    pub fault: Fault,
}

impl Rule {
    /// `fault` on every `on` from now on.
    #[must_use]
    pub fn new(on: Operation, fault: Fault) -> Self {
        Self {
            on: Some(on),
            ..Self::any(fault)
        }
    }

    /// `fault` on every operation that can go wrong so, from now on.
    #[must_use]
    pub fn any(fault: Fault) -> Self {
        Self {
            on: None,
            kind: None,
            skip_count: 0,
            hit_count_max: u64::MAX,
            fault,
        }
    }

    /// Only on files of this kind.
    #[must_use]
    pub fn on_kind(mut self, kind: FileKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only once, after `skip_count` operations that go well.
    #[must_use]
    pub fn once_after(self, skip_count: u64) -> Self {
        self.times_after(1, skip_count)
    }

    /// Among `hit_count_max` operations, after `skip_count` that go well.
    #[must_use]
    pub fn times_after(mut self, hit_count_max: u64, skip_count: u64) -> Self {
        self.skip_count = skip_count;
        self.hit_count_max = hit_count_max;
        self
    }
}

#[derive(Default)]
struct Rules {
    rules: Vec<(Rule, u64)>,
    hit_count: u64,
    /// Bytes of the longest write that went astray.
    astray_len: usize,
    /// All operations so far, where somebody asked for them.
    seen: Option<Vec<Operation>>,
}

/// A file system with faults before another one.
#[derive(Clone)]
pub struct FaultFs {
    inner: Arc<dyn Fs>,
    /// The same, where it is a medium that can have mishaps.
    medium: Option<CrashFs>,
    rules: Arc<Mutex<Rules>>,
}

impl FaultFs {
    /// No faults yet.
    #[must_use]
    pub fn new(inner: Arc<dyn Fs>) -> Self {
        Self {
            inner,
            medium: None,
            rules: Arc::default(),
        }
    }

    /// No faults yet; before a medium that can have all of them.
    #[must_use]
    pub fn before(medium: &CrashFs) -> Self {
        Self {
            medium: Some(medium.clone()),
            ..Self::new(Arc::new(medium.clone()))
        }
    }

    /// Another directory of the same medium, under the same rules.
    #[must_use]
    pub fn directory(&self, number: u32) -> Self {
        let Some(medium) = &self.medium else {
            panic!("only a medium has directories")
        };
        Self {
            rules: Arc::clone(&self.rules),
            ..Self::before(&medium.directory(number))
        }
    }

    /// Adds a rule; earlier rules go first.
    pub fn add(&self, rule: Rule) {
        self.rules.lock().unwrap().rules.push((rule, 0));
    }

    /// Remembers all operations from now on, for [`FaultFs::operations`].
    pub fn watch(&self) {
        self.rules.lock().unwrap().seen = Some(Vec::new());
    }

    /// All operations since [`FaultFs::watch`], in order.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        let rules = self.rules.lock().unwrap();
        rules.seen.clone().unwrap_or_default()
    }

    /// Forgets all rules.
    pub fn heal(&self) {
        self.rules.lock().unwrap().rules.clear();
    }

    /// How many operations went wrong so far.
    #[must_use]
    pub fn hit_count(&self) -> u64 {
        self.rules.lock().unwrap().hit_count
    }

    /// Bytes of the longest write that went astray; 0: none did.
    #[must_use]
    pub fn astray_len(&self) -> usize {
        self.rules.lock().unwrap().astray_len
    }

    fn fault(&self, on: Operation, id: Option<FileId>) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let kind = id.map(|id| id.kind);
        let mut hit = None;
        for (rule, seen) in &mut rules.rules {
            let is_other = rule.on.is_some_and(|wanted| wanted != on);
            if is_other || (rule.kind.is_some() && rule.kind != kind) {
                continue;
            }
            *seen += 1;
            let past = *seen - 1;
            let is_possible = rule.on.is_some() || rule.fault.is_possible(on);
            if hit.is_none()
                && is_possible
                && past >= rule.skip_count
                && past - rule.skip_count < rule.hit_count_max
            {
                hit = Some(rule.fault);
            }
        }
        rules.hit_count += u64::from(hit.is_some());
        if let Some(seen) = &mut rules.seen {
            seen.push(on);
        }
        hit
    }

    /// Lets the medium fail a sync, where the fault asks for that.
    fn lose(&self, fault: Fault, sync: &dyn Fn() -> Result<()>) -> Result<()> {
        match &self.medium {
            Some(medium) if fault == Fault::LostSync => {
                medium.expect(Mishap::LostSync);
                sync()
            }
            _ => Ok(()),
        }
    }

    /// The error of a plain fault; others mean nothing to this operation.
    fn check(&self, on: Operation, id: Option<FileId>) -> Result<()> {
        match self.fault(on, id) {
            Some(fault) => Err(error(fault, id)),
            None => Ok(()),
        }
    }
}

fn error(fault: Fault, id: Option<FileId>) -> Error {
    let error = match fault {
        Fault::Panic => panic!("simulated: a bug"),
        Fault::NoSpace => Error::no_space("simulated: the medium is full"),
        _ => Error::io("simulated: the medium answers with an error"),
    };
    match id {
        Some(id) => error.in_file(id),
        None => error,
    }
}

impl Fs for FaultFs {
    fn open(&self, id: FileId, mode: OpenMode) -> Result<Arc<dyn File>> {
        let on = match mode {
            OpenMode::Create => Operation::Create,
            _ => Operation::Open,
        };
        self.check(on, Some(id))?;
        Ok(Arc::new(FaultFile {
            inner: self.inner.open(id, mode)?,
            fs: self.clone(),
            id,
        }))
    }

    fn rename(&self, from: FileId, to: FileId) -> Result<()> {
        self.check(Operation::Rename, Some(to))?;
        self.inner.rename(from, to)
    }

    fn remove(&self, id: FileId) -> Result<()> {
        self.check(Operation::Remove, Some(id))?;
        self.inner.remove(id)
    }

    fn list(&self) -> Result<Vec<FileId>> {
        self.check(Operation::List, None)?;
        self.inner.list()
    }

    fn sync_dir(&self) -> Result<()> {
        match self.fault(Operation::SyncDir, None) {
            None => self.inner.sync_dir(),
            Some(fault) => {
                self.lose(fault, &|| self.inner.sync_dir())?;
                Err(error(fault, None))
            }
        }
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>> {
        self.inner.lock()
    }

    fn space(&self) -> Result<Space> {
        self.inner.space()
    }
}

struct FaultFile {
    inner: Arc<dyn File>,
    fs: FaultFs,
    id: FileId,
}

impl File for FaultFile {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        match self.fs.fault(Operation::Read, Some(self.id)) {
            None => self.inner.read_at(offset, buf),
            Some(Fault::ShortRead(len)) => {
                let len = len.min(buf.len());
                self.inner.read_at(offset, &mut buf[..len])
            }
            Some(Fault::FlipBit(bit)) => {
                let len = self.inner.read_at(offset, buf)?;
                if len > 0 {
                    buf[bit / 8 % len] ^= 1 << (bit % 8);
                }
                Ok(len)
            }
            Some(Fault::Misdirected(by)) => self.inner.read_at(offset + by, buf),
            Some(fault) => Err(error(fault, Some(self.id))),
        }
    }

    fn append(&self, bytes: &[u8]) -> Result<()> {
        match self.fs.fault(Operation::Append, Some(self.id)) {
            None => self.inner.append(bytes),
            Some(Fault::LostAppend) => Ok(()),
            Some(Fault::MisdirectedWrite(seed)) => {
                if let Some(medium) = &self.fs.medium {
                    let mut rules = self.fs.rules.lock().unwrap();
                    rules.astray_len = rules.astray_len.max(bytes.len());
                    medium.expect(Mishap::Astray(seed));
                }
                self.inner.append(bytes)
            }
            Some(Fault::TornAppend(len)) => {
                self.inner.append(&bytes[..len.min(bytes.len())])?;
                Err(error(Fault::Io, Some(self.id)))
            }
            Some(fault) => Err(error(fault, Some(self.id))),
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.fs.check(Operation::WriteAt, Some(self.id))?;
        self.inner.write_at(offset, bytes)
    }

    fn reserve(&self, len: u64) -> Result<()> {
        self.fs.check(Operation::Reserve, Some(self.id))?;
        self.inner.reserve(len)
    }

    fn sync(&self) -> Result<()> {
        match self.fs.fault(Operation::Sync, Some(self.id)) {
            None => self.inner.sync(),
            Some(fault) => {
                self.fs.lose(fault, &|| self.inner.sync())?;
                Err(error(fault, Some(self.id)))
            }
        }
    }

    fn truncate(&self, len: u64) -> Result<()> {
        self.fs.check(Operation::Truncate, Some(self.id))?;
        self.inner.truncate(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::ErrorKind;

    const WAL: FileId = FileId::new(FileKind::Wal, 1);
    const BLOB: FileId = FileId::new(FileKind::Blob, 2);

    fn pair() -> (FaultFs, Arc<dyn File>) {
        let fs = FaultFs::before(&CrashFs::new());
        let file = fs.open(WAL, OpenMode::Create).unwrap();
        file.append(b"0123456789").unwrap();
        (fs, file)
    }

    #[test]
    fn the_nth_operation_fails_once() {
        let (fs, file) = pair();
        fs.add(Rule::new(Operation::Sync, Fault::Io).once_after(1));
        assert!(file.sync().is_ok());
        assert_eq!(file.sync().unwrap_err().kind(), ErrorKind::Io);
        assert!(file.sync().is_ok());
        assert_eq!(fs.hit_count(), 1);
    }

    #[test]
    fn rules_look_at_the_kind_of_file() {
        let (fs, file) = pair();
        fs.add(Rule::new(Operation::Append, Fault::NoSpace).on_kind(FileKind::Blob));
        assert!(file.append(b"x").is_ok());
        let blob = fs.open(BLOB, OpenMode::Create).unwrap();
        assert_eq!(blob.append(b"x").unwrap_err().kind(), ErrorKind::NoSpace);
        fs.heal();
        assert!(blob.append(b"x").is_ok());
    }

    #[test]
    fn reads_and_appends_go_wrong_in_each_way() {
        let read = |fault| {
            let (fs, file) = pair();
            fs.add(Rule::new(Operation::Read, fault));
            let mut buf = [0; 4];
            let len = file.read_at(2, &mut buf).unwrap();
            buf[..len].to_vec()
        };
        assert_eq!(read(Fault::ShortRead(3)), b"234");
        assert_eq!(read(Fault::FlipBit(8)), b"2245");
        assert_eq!(read(Fault::Misdirected(4)), b"6789");
        for (fault, len, ok) in [
            (Fault::TornAppend(2), 12, false),
            (Fault::LostAppend, 10, true),
            (Fault::Io, 10, false),
        ] {
            let (fs, file) = pair();
            fs.add(Rule::new(Operation::Append, fault));
            assert_eq!(file.append(b"abc").is_ok(), ok);
            assert_eq!(file.len().unwrap(), len);
        }
    }

    #[test]
    fn one_rule_meets_all_operations_that_can_go_wrong_so() {
        let (fs, file) = pair();
        fs.watch();
        fs.add(Rule::any(Fault::NoSpace).times_after(3, 1));
        let mut buf = [0; 4];
        assert!(file.append(b"x").is_ok());
        assert!(file.read_at(0, &mut buf).is_ok());
        assert_eq!(file.sync().unwrap_err().kind(), ErrorKind::NoSpace);
        assert!(file.append(b"x").is_err());
        assert!(file.append(b"x").is_ok());
        let seen = fs.operations();
        assert_eq!(
            seen[..3],
            [Operation::Append, Operation::Read, Operation::Sync]
        );
        assert_eq!(fs.hit_count(), 2);
    }

    /// What reads show, and what a power cut leaves of it.
    fn seen_and_left(medium: &CrashFs, file: &Arc<dyn File>) -> (Vec<u8>, Vec<u8>) {
        let mut seen = vec![0; 600];
        let len = file.read_at(0, &mut seen).unwrap();
        seen.truncate(len);
        (seen, medium.crash(0).contents()[&WAL].clone())
    }

    #[test]
    fn reads_show_what_a_failed_sync_lost_and_a_write_that_went_astray() {
        let medium = CrashFs::new();
        let fs = FaultFs::before(&medium);
        let file = fs.open(WAL, OpenMode::Create).unwrap();
        fs.sync_dir().unwrap();
        fs.add(Rule::new(Operation::Sync, Fault::LostSync).once_after(0));
        file.append(b"lost").unwrap();
        assert_eq!(file.sync().unwrap_err().kind(), ErrorKind::Io);
        file.sync().unwrap();
        assert_eq!(
            seen_and_left(&medium, &file),
            (b"lost".to_vec(), vec![0; 4])
        );
        let mut landed = 0;
        for seed in 0..8 {
            fs.heal();
            fs.add(Rule::new(Operation::Append, Fault::MisdirectedWrite(seed)));
            file.append(b"far").unwrap();
            file.sync().unwrap();
            let (seen, left) = seen_and_left(&medium, &file);
            assert!(seen.ends_with(b"far") && left.ends_with(&[0; 3]));
            landed += usize::from(left.starts_with(b"far"));
        }
        assert!(landed > 0);
    }

    #[test]
    fn names_lost_by_a_failed_sync_of_the_directory_never_come_back() {
        let medium = CrashFs::new();
        let fs = FaultFs::before(&medium);
        fs.add(Rule::new(Operation::SyncDir, Fault::LostSync).once_after(0));
        fs.open(WAL, OpenMode::Create).unwrap();
        assert!(fs.sync_dir().is_err());
        fs.directory(1).open(BLOB, OpenMode::Create).unwrap();
        fs.sync_dir().unwrap();
        fs.directory(1).sync_dir().unwrap();
        assert_eq!(fs.list().unwrap(), [WAL]);
        let after = medium.crash(0);
        assert!(after.contents().is_empty());
        assert!(after.directory(1).contents().contains_key(&BLOB));
    }
}

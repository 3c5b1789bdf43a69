//! The manifest: a chained log of version edits, and `CURRENT`, which names the live one.
//!
//! - Every edit is durable before the next is appended, so only the last can be torn.
//! - The first edit of a manifest is a whole picture; a new manifest is begun at each opening of
//!   the store and when the old one has grown long. Nothing is appended to an old one.
//! - `CURRENT` is written beside, synced, and renamed into place; it holds number and salt of the
//!   manifest, so that another manifest under that number is found. An orderly close writes it once
//!   more with the number of edits: a manifest that was cut off afterwards is found, too.
//! - Both carry parity whatever the store chose.
//!
//! ```text
//! CURRENT: | header | sealed block: manifest number u64, salt [32], edits u32 (0: not closed) |
//! ```

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::block::{BlockHandle, BlockKind, Codec, Expect, read_block};
use crate::codec::Reader;
use crate::compress::Scratch;
use crate::crypto::{KeySource, SALT_LEN, Tag};
use crate::env::{Env, OpenMode};
use crate::error::{Error, Result};
use crate::file::{DATA_OFFSET, create_file, create_file_as, open_file};
use crate::log::{LogEnd, LogReader, LogWriter};
use crate::options::BlockTransform;
use crate::table::{LiveTable, TableMeta};
use crate::types::{FileId, FileKind, SeqNo, StoreId};
use crate::version::{AnnexUpdates, Version, VersionEdit};

/// `CURRENT` as a file.
pub(crate) const CURRENT: FileId = FileId::new(FileKind::Current, 0);

const CURRENT_LEN: u32 = 8 + SALT_LEN as u32 + 4;

/// A live log, as the manifest knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LiveWal {
    pub(crate) salt: [u8; SALT_LEN],
    /// Its records, where it ended cleanly.
    pub(crate) closed: Option<u32>,
}

/// Everything the manifest says.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) counter: u64,
    pub(crate) session: [u8; 16],
    pub(crate) version: Arc<Version>,
    pub(crate) wals: BTreeMap<u64, LiveWal>,
    pub(crate) next_number: u64,
    pub(crate) last_seqno: SeqNo,
    /// No tombstone newer than this one has gone for good: what was deleted since can be told.
    pub(crate) spent_seqno: SeqNo,
    pub(crate) annex: Arc<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl State {
    /// Of a store that holds nothing.
    pub(crate) fn empty() -> Self {
        Self {
            counter: 0,
            session: [0; 16],
            version: Arc::new(Version::empty()),
            wals: BTreeMap::new(),
            next_number: 1,
            last_seqno: 0,
            spent_seqno: 0,
            annex: Arc::new(BTreeMap::new()),
        }
    }

    /// The state after `edit`. Tables that only change their level stay the same table.
    pub(crate) fn apply(&self, edit: &VersionEdit) -> Result<Self> {
        let mut next = self.clone();
        next.counter = edit.counter;
        next.session = edit.session;
        let added: Vec<_> = edit
            .added
            .iter()
            .map(|(level, meta)| (*level, self.live(meta)))
            .collect();
        next.version = Arc::new(self.version.apply(&edit.removed, &added)?);
        for &(number, salt) in &edit.wals_added {
            next.wals.insert(number, LiveWal { salt, closed: None });
        }
        for &(number, record_count) in &edit.wals_closed {
            let count = u32::try_from(record_count).ok();
            match (next.wals.get_mut(&number), count) {
                (Some(wal), Some(count)) => wal.closed = Some(count),
                _ => {
                    return Err(Error::corruption(
                        "the manifest closes a log it does not name",
                    ));
                }
            }
        }
        for number in &edit.wals_removed {
            next.wals.remove(number);
        }
        next.next_number = self.next_number.max(edit.next_number.unwrap_or(0));
        next.last_seqno = self.last_seqno.max(edit.last_seqno.unwrap_or(0));
        next.spent_seqno = self.spent_seqno.max(edit.spent_seqno.unwrap_or(0));
        if !edit.annex.is_empty() {
            apply_annex(Arc::make_mut(&mut next.annex), &edit.annex);
        }
        Ok(next)
    }

    fn live(&self, meta: &TableMeta) -> Arc<LiveTable> {
        let same = self
            .version
            .tables()
            .find(|(_, table)| table.meta() == meta);
        same.map_or_else(
            || LiveTable::new(meta.clone()),
            |(_, table)| Arc::clone(table),
        )
    }

    /// One edit that says everything.
    fn picture(&self) -> VersionEdit {
        let annex = self
            .annex
            .iter()
            .map(|(key, value)| (key.clone(), Some(value.clone())));
        let closed = self
            .wals
            .iter()
            .filter_map(|(&n, wal)| Some((n, u64::from(wal.closed?))));
        VersionEdit {
            counter: self.counter,
            session: self.session,
            added: self
                .version
                .tables()
                .map(|(level, t)| (level, t.meta().clone()))
                .collect(),
            removed: Vec::new(),
            wals_added: self
                .wals
                .iter()
                .map(|(&number, wal)| (number, wal.salt))
                .collect(),
            wals_closed: closed.collect(),
            wals_removed: Vec::new(),
            next_number: Some(self.next_number),
            last_seqno: Some(self.last_seqno),
            spent_seqno: Some(self.spent_seqno),
            annex: annex.collect(),
        }
    }
}

fn apply_annex(annex: &mut BTreeMap<Vec<u8>, Vec<u8>>, updates: &AnnexUpdates) {
    for (key, value) in updates {
        match value {
            Some(value) => annex.insert(key.clone(), value.clone()),
            None => annex.remove(key),
        };
    }
}

/// Where manifests live.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) env: Env,
    pub(crate) keys: Arc<dyn KeySource>,
    pub(crate) store_id: StoreId,
    pub(crate) transform: BlockTransform,
}

/// The live manifest.
pub(crate) struct Manifest {
    number: u64,
    log: LogWriter,
    /// Length of the file when it held the first edit only.
    picture_len: u64,
}

impl Manifest {
    /// Writes `state` as a new manifest and makes it the live one. `NoSpace` means that it is not.
    pub(crate) fn create(place: &Place, number: u64, state: &State) -> Result<Self> {
        let manifest = Self::write(place, number, state)?;
        manifest.switch_to(place)?;
        Ok(manifest)
    }

    /// Writes `state` as a new manifest, durable on return, and nothing else.
    pub(crate) fn write(place: &Place, number: u64, state: &State) -> Result<Self> {
        let id = FileId::new(FileKind::Manifest, number);
        let transform = place.transform.for_metadata();
        let (env, keys, store_id) = (&place.env, &*place.keys, place.store_id);
        let (file, context) = create_file(env, keys, id, store_id, transform)?;
        let mut log = LogWriter::new(file, context, BlockKind::ManifestRecord);
        log.append(&state.picture().encode())?;
        log.sync()?;
        env.fs.sync_dir()?;
        let picture_len = log.len();
        Ok(Self {
            number,
            log,
            picture_len,
        })
    }

    /// Makes it the live one.
    pub(crate) fn switch_to(&self, place: &Place) -> Result<()> {
        switch_current(place, self.number, self.log.context().salt(), 0)
    }

    /// Appends an edit and makes it durable.
    pub(crate) fn append(&mut self, edit: &VersionEdit) -> Result<()> {
        self.log.append(&edit.encode())?;
        self.log.sync()
    }

    /// Can another edit be appended? Not after a failed append, even on a full medium: the edit is
    /// sealed, and whether it holds is decided by what comes after it.
    pub(crate) const fn is_whole(&self) -> bool {
        !self.log.is_failed() && self.log.buffered_len() == 0
    }

    /// Has a write failed for good?
    pub(crate) const fn is_failed(&self) -> bool {
        self.log.is_failed()
    }

    /// Records in `CURRENT` where it ends. Nothing may be appended after that.
    pub(crate) fn close(&self, place: &Place) -> Result<()> {
        let salt = *self.log.context().salt();
        switch_current(place, self.number, &salt, self.log.count())
    }

    pub(crate) const fn id(&self) -> FileId {
        FileId::new(FileKind::Manifest, self.number)
    }

    /// Is it time for a new one, with so many bytes of edits?
    pub(crate) fn is_long(&self, edits_len: u64) -> bool {
        let limit = self.picture_len.saturating_mul(2);
        self.log.len() > limit.saturating_add(edits_len)
    }

    /// The tag of the last edit.
    pub(crate) fn last_tag(&self) -> Option<Tag> {
        self.log.last_tag()
    }
}

/// Makes `CURRENT` name the manifest, and where it ends unless `edit_count` is 0.
fn switch_current(
    place: &Place,
    number: u64,
    salt: &[u8; SALT_LEN],
    edit_count: u32,
) -> Result<()> {
    let side = FileId::new(FileKind::Temp, number);
    let transform = place.transform.for_metadata();
    let (env, keys, store_id) = (&place.env, &*place.keys, place.store_id);
    let (file, context) = create_file_as(env, keys, side, CURRENT, store_id, transform)?;
    let mut plain = number.to_le_bytes().to_vec();
    plain.extend_from_slice(salt);
    plain.extend_from_slice(&edit_count.to_le_bytes());
    let (kind, mut scratch, mut out) = (BlockKind::Current, Scratch::new(), Vec::new());
    context.seal(kind, 0, 0, 0, &[], &plain, &mut scratch, &mut out)?;
    file.append(&out)?;
    file.sync()?;
    env.fs.rename(side, CURRENT)?;
    // From here on `CURRENT` may name either manifest, even where only space was wanting.
    env.fs.sync_dir().map_err(|error| {
        let message = "cannot make the name of the live manifest durable";
        Error::io(message).in_file(CURRENT).because(error)
    })
}

/// Reads `CURRENT`: number and salt of the live manifest, and where it ends.
fn read_current(place: &Place) -> Result<(u64, [u8; SALT_LEN], LogEnd)> {
    let (env, keys) = (&place.env, &*place.keys);
    let (file, context) = open_file(env, keys, CURRENT, place.store_id, OpenMode::Read)?;
    let handle = BlockHandle {
        offset: DATA_OFFSET,
        disk_len: context.disk_len(CURRENT_LEN as usize) as u32,
        raw_len: CURRENT_LEN,
        ordinal: 0,
        codec: Codec::None,
    };
    if file.len()? != DATA_OFFSET + u64::from(handle.disk_len) {
        return Err(Error::corruption("the file has a wrong length").in_file(CURRENT));
    }
    let expect = Expect::new(BlockKind::Current, &handle);
    let block = read_block(&*file, &context, &handle, &expect, &mut Scratch::new())?;
    let mut reader = Reader::new(&block);
    let (number, salt) = (reader.u64()?, reader.array()?);
    let end = match reader.u32()? {
        0 => LogEnd::Open,
        edit_count => LogEnd::Closed(edit_count),
    };
    Ok((number, salt, end))
}

/// Reads what the live manifest says, and the number above which it has named no log.
pub(crate) fn read_manifest(place: &Place) -> Result<(State, u64)> {
    let (number, salt, end) = read_current(place)?;
    let id = FileId::new(FileKind::Manifest, number);
    let (env, keys) = (&place.env, &*place.keys);
    let (file, context) = open_file(env, keys, id, place.store_id, OpenMode::Read)?;
    if *context.salt() != salt {
        let message = "the manifest is not the one that CURRENT names";
        return Err(Error::authentication(message).in_file(id).part("header"));
    }
    let log = LogReader::new(file, context, BlockKind::ManifestRecord, end)?;
    let replayed = replay(log, id, number);
    let (state, last_wal) = (replayed.state, replayed.last_wal);
    replayed.ended.map(|()| (state, last_wal))
}

/// What a manifest says, up to its end or to what cannot be read.
pub(crate) struct Replayed {
    /// The state after the last edit.
    pub(crate) state: State,
    /// The number above which no log is named.
    last_wal: u64,
    /// Numbers from here on were not given yet when the manifest was begun.
    first_number: u64,
    /// Tables that were part of the store, and then were not.
    removed: BTreeSet<u64>,
    ended: Result<()>,
}

impl Replayed {
    /// Was this table certainly no part of the store after the last edit? What later edits, which
    /// cannot be read, may have added is not. A table that was being written when the manifest was
    /// begun cannot be told from one that was a leftover then.
    pub(crate) fn has_lost(&self, number: u64) -> bool {
        let mut named = self.state.version.tables();
        let is_old = number < self.first_number || self.removed.contains(&number);
        is_old && !named.any(|(_, table)| table.meta().number == number)
    }
}

/// As much as can be read of a manifest that nothing vouches for; `None` where that is nothing.
pub(crate) fn salvage_manifest(place: &Place, id: FileId) -> Option<Replayed> {
    let (env, keys) = (&place.env, &*place.keys);
    let (file, context) = open_file(env, keys, id, place.store_id, OpenMode::Read).ok()?;
    let log = LogReader::new(file, context, BlockKind::ManifestRecord, LogEnd::Open).ok()?;
    let replayed = replay(log, id, id.number);
    (replayed.state.counter > 0).then_some(replayed)
}

fn replay(mut log: LogReader, id: FileId, number: u64) -> Replayed {
    let mut state = State::empty();
    let (mut is_empty, mut counts_spent) = (true, true);
    let (mut last_wal, mut first_number) = (number, 0);
    let mut removed = BTreeSet::new();
    let mut next = || {
        let Some(record) = log.next()? else {
            return Ok(None);
        };
        let named = |error: Error| error.in_file(id).at(record.offset).part("manifest record");
        let edit = VersionEdit::decode(&record.payload).map_err(named)?;
        if !is_empty && edit.counter != state.counter + 1 {
            return Err(named(Error::corruption(
                "an edit of the manifest is missing",
            )));
        }
        state = state.apply(&edit).map_err(named)?;
        if is_empty {
            counts_spent = edit.spent_seqno.is_some();
            first_number = state.next_number;
        }
        removed.extend(edit.removed.iter().map(|(_, number)| *number));
        let wals = edit.wals_added.iter().map(|wal| wal.0);
        last_wal = wals.fold(last_wal, u64::max);
        is_empty = false;
        Ok(Some(()))
    };
    let mut ended = loop {
        match next() {
            Ok(Some(())) => {}
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    if is_empty && ended.is_ok() {
        // `CURRENT` is switched only after the first edit is durable.
        ended = Err(Error::corruption("the manifest holds no edit").in_file(id));
    }
    if !counts_spent {
        // Written by a version that did not count: any tombstone may be gone.
        state.spent_seqno = state.last_seqno;
    }
    Replayed {
        state,
        last_wal,
        first_number,
        removed,
        ended,
    }
}

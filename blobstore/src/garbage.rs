//! Which bytes of which blob file are dead: the ledger behind garbage collection.
//!
//! - Facts live in the manifest's annex, so they commit with the compaction that makes them true.
//! - No two writers share a record: a blob file's own record is written by the store alone, and each
//!   flush or compaction adds records of its own number, which are summed when they are read. So
//!   nothing is lost, whoever commits first.
//! - A file is whole dead when every byte handed to the tree was dropped again. Bytes that never
//!   reached the tree (a crash between staging and writing) are not counted as live to begin with.
//! - A file left unfinished by a crash has no total: it is decided by reading the tree, not the ledger.
//! - Nor has a shared file, to one of whose values several keys may point: each of them dies by itself.
//!   The mark is durable before a second key points there, and stays as long as the file.
//!
//! ```text
//! annex key 'b' | file number u64 BE            a blob file that the store owns
//!   value: state 1 (0 open, 1 finished) | salt of the file 32
//!          | finished only: length u64, root 32, live u64
//! annex key 'g' | file number u64 BE | record number u64 BE     bytes that died in it
//!   value: dead varint
//! annex key 's' | file number u64 BE            several keys may point to one of its values
//!   value: nothing
//! annex key 'k'                                 highest keyring generation seen
//!   value: u64
//! ```

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use coffer_engine::codec::{Reader, put_u64, put_varint};
use coffer_engine::crypto::SALT_LEN;
use coffer_engine::file::FileRoot;
use coffer_engine::{Error, FileId, FileKind, Result};

/// A shared file is worth a count when such a part of it may have died.
const DUE_PART: u64 = 8;

/// Changes to the annex: a key and its new value, or none.
pub(crate) type AnnexUpdates = Vec<(Vec<u8>, Option<Vec<u8>>)>;
/// The annex as the engine hands it out.
pub(crate) type Annex = BTreeMap<Vec<u8>, Vec<u8>>;

const FILE: u8 = b'b';
const DEAD: u8 = b'g';
const KEYRING: u8 = b'k';
const SHARED: u8 = b's';

/// What the store says of one of its blob files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlobRecord {
    /// The random bytes of the file: no other file of this number is the one meant.
    pub(crate) salt: [u8; SALT_LEN],
    /// What is known once it is closed for ever; `None` while frames are or were being appended.
    pub(crate) end: Option<BlobEnd>,
}

/// What is known of a finished blob file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlobEnd {
    /// Length and digest of the file.
    pub(crate) root: FileRoot,
    /// Bytes that the tree pointed to when the file was finished.
    pub(crate) live_len: u64,
}

impl BlobRecord {
    fn encode(self) -> Vec<u8> {
        let mut out = vec![u8::from(self.end.is_some())];
        out.extend_from_slice(&self.salt);
        if let Some(BlobEnd { root, live_len }) = self.end {
            put_u64(&mut out, root.len);
            out.extend_from_slice(&root.root);
            put_u64(&mut out, live_len);
        }
        out
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self> {
        let state = reader.u8()?;
        let salt = reader.array()?;
        let end = match state {
            0 => None,
            1 => Some(BlobEnd {
                root: FileRoot {
                    len: reader.u64()?,
                    root: reader.array()?,
                },
                live_len: reader.u64()?,
            }),
            _ => return Err(Error::unsupported("a blob file record of a newer version")),
        };
        Ok(Self { salt, end })
    }
}

/// The update that sets or removes the record of a blob file.
pub(crate) fn record_update(number: u64, record: Option<BlobRecord>) -> (Vec<u8>, Option<Vec<u8>>) {
    (file_key(number), record.map(BlobRecord::encode))
}

/// The update that adds `dead_len` to the garbage of a file, under a record number of its own.
pub(crate) fn dead_update(number: u64, record: u64, dead_len: u64) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut value = Vec::new();
    put_varint(&mut value, dead_len);
    (dead_key(number, record), Some(value))
}

/// The update that marks a file as shared.
pub(crate) fn shared_update(number: u64) -> (Vec<u8>, Option<Vec<u8>>) {
    (shared_key(number), Some(Vec::new()))
}

/// The update that remembers the generation of the keyring.
pub(crate) fn keyring_update(generation: u64) -> (Vec<u8>, Option<Vec<u8>>) {
    (vec![KEYRING], Some(generation.to_le_bytes().to_vec()))
}

fn file_key(number: u64) -> Vec<u8> {
    let mut key = vec![FILE];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn shared_key(number: u64) -> Vec<u8> {
    let mut key = vec![SHARED];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn dead_key(number: u64, record: u64) -> Vec<u8> {
    let mut key = vec![DEAD];
    key.extend_from_slice(&number.to_be_bytes());
    key.extend_from_slice(&record.to_be_bytes());
    key
}

/// One blob file in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) record: BlobRecord,
    pub(crate) dead_len: u64,
    /// Several keys may point to one of its values: its account says nothing.
    pub(crate) is_shared: bool,
    dead_records: Vec<u64>,
}

impl Entry {
    /// Was every byte that the tree pointed to dropped?
    pub(crate) fn is_whole_dead(&self) -> bool {
        let is_dead = |end: BlobEnd| self.dead_len >= end.live_len;
        !self.is_shared && self.record.end.is_some_and(is_dead)
    }

    /// Is its account all that there is to know?
    pub(crate) fn is_counted(&self) -> bool {
        self.record.end.is_some() && !self.is_shared
    }

    /// Should what lives in it be counted again? `seen_len` is what had died when that was done last.
    /// REQUIRES: it is finished and shared.
    pub(crate) fn is_due(&self, seen_len: Option<u64>) -> bool {
        let end_len = self.record.end.map_or(0, |end| end.live_len);
        match seen_len {
            None => self.dead_len >= end_len / DUE_PART,
            Some(seen_len) => self.dead_len > seen_len.saturating_add(end_len / DUE_PART),
        }
    }

    /// Dead bytes of a finished file in percent of its length.
    pub(crate) fn garbage_percent(&self) -> u64 {
        let Some(BlobEnd { root, .. }) = self.record.end else {
            return 0;
        };
        let dead_len = root.len.saturating_sub(self.live_len());
        dead_len
            .saturating_mul(100)
            .checked_div(root.len)
            .unwrap_or(100)
    }

    /// Bytes of a finished file that the tree still points to; of a shared one, at most.
    pub(crate) fn live_len(&self) -> u64 {
        let dead_len = if self.is_shared { 0 } else { self.dead_len };
        self.record
            .end
            .map_or(0, |end| end.live_len.saturating_sub(dead_len))
    }
}

/// All blob files, as the annex has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) files: BTreeMap<u64, Entry>,
    pub(crate) keyring_generation: u64,
    /// Keys of garbage records and marks of files that are gone.
    orphans: Vec<Vec<u8>>,
}

impl Ledger {
    /// Reads the annex.
    ///
    /// # Errors
    /// `Corruption` and `Unsupported` for records that this version does not write.
    pub(crate) fn read(annex: &Annex) -> Result<Self> {
        let mut ledger = Self::default();
        for (key, value) in annex {
            ledger
                .take(key, value)
                .map_err(|error| error.part("annex record"))?;
        }
        Ok(ledger)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut reader = Reader::new(key);
        let mut value = Reader::new(value);
        match reader.u8()? {
            FILE => {
                let number = u64::from_be_bytes(reader.array()?);
                let record = BlobRecord::take(&mut value)
                    .map_err(|error| error.in_file(FileId::new(FileKind::Blob, number)))?;
                let entry = Entry {
                    record,
                    dead_len: 0,
                    is_shared: false,
                    dead_records: Vec::new(),
                };
                self.files.insert(number, entry);
            }
            DEAD => {
                let number = u64::from_be_bytes(reader.array()?);
                let record = u64::from_be_bytes(reader.array()?);
                let dead_len = value.varint()?;
                match self.files.get_mut(&number) {
                    Some(entry) => {
                        entry.dead_len = entry.dead_len.saturating_add(dead_len);
                        entry.dead_records.push(record);
                    }
                    None => self.orphans.push(key.to_vec()),
                }
            }
            SHARED => match self.files.get_mut(&u64::from_be_bytes(reader.array()?)) {
                Some(entry) => entry.is_shared = true,
                None => self.orphans.push(key.to_vec()),
            },
            KEYRING => self.keyring_generation = value.u64()?,
            _ => return Err(Error::unsupported("an annex record of a newer version")),
        }
        reader.finish()?;
        value.finish()
    }

    /// How many garbage records could be summed or removed.
    pub(crate) fn foldable_count(&self) -> usize {
        let extra = |entry: &Entry| entry.dead_records.len().saturating_sub(1);
        self.orphans.len() + self.files.values().map(extra).sum::<usize>()
    }

    /// The updates that leave one garbage record for each file and none for files that are gone.
    pub(crate) fn fold(&self) -> AnnexUpdates {
        let mut updates = AnnexUpdates::new();
        updates.extend(self.orphans.iter().map(|key| (key.clone(), None)));
        for (number, entry) in &self.files {
            let [first, rest @ ..] = entry.dead_records.as_slice() else {
                continue;
            };
            if rest.is_empty() {
                continue;
            }
            updates.extend(rest.iter().map(|record| (dead_key(*number, *record), None)));
            updates.push(dead_update(*number, *first, entry.dead_len));
        }
        updates
    }

    /// The updates that forget a file and its garbage.
    pub(crate) fn forget(&self, number: u64) -> AnnexUpdates {
        let mut updates = vec![record_update(number, None)];
        if let Some(entry) = self.files.get(&number) {
            let records = entry.dead_records.iter();
            updates.extend(records.map(|record| (dead_key(number, *record), None)));
            updates.extend(entry.is_shared.then(|| (shared_key(number), None)));
        }
        updates
    }

    /// Finished files that nothing points to any more.
    pub(crate) fn whole_dead(&self) -> Vec<u64> {
        let dead = self.files.iter().filter(|(_, entry)| entry.is_whole_dead());
        dead.map(|(number, _)| *number).collect()
    }

    /// Files worth emptying: those with at least `percent_min` of garbage, and unfinished and shared ones,
    /// for which `live_len` says how much lives in them. The least living bytes first, at most
    /// `budget_len` and at least one file, but never more than `room_len`.
    ///
    /// A file for which `live_len` answers `None` is passed over.
    pub(crate) fn victims(
        &self,
        percent_min: u8,
        (budget_len, room_len): (u64, u64),
        live_len: impl Fn(u64, &Entry) -> Option<u64>,
    ) -> Vec<u64> {
        let is_wanted = |entry: &Entry| {
            !entry.is_counted()
                || (!entry.is_whole_dead() && entry.garbage_percent() >= percent_min.into())
        };
        let wanted = self.files.iter().filter(|(_, entry)| is_wanted(entry));
        let mut wanted: Vec<(u64, u64)> = wanted
            .filter_map(|(number, entry)| Some((live_len(*number, entry)?, *number)))
            .collect();
        wanted.sort_unstable();
        let mut spent_len = 0u64;
        let mut victims = Vec::new();
        for (live_len, number) in wanted {
            spent_len = spent_len.saturating_add(live_len);
            if spent_len > room_len || (spent_len > budget_len && !victims.is_empty()) {
                break;
            }
            victims.push(number);
        }
        victims
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPEN: BlobRecord = BlobRecord {
        salt: [1; 32],
        end: None,
    };

    fn finished(len: u64, live_len: u64) -> BlobRecord {
        let root = FileRoot { len, root: [7; 32] };
        BlobRecord {
            salt: [2; 32],
            end: Some(BlobEnd { root, live_len }),
        }
    }

    fn apply(annex: &mut Annex, updates: AnnexUpdates) {
        for (key, value) in updates {
            match value {
                Some(value) => annex.insert(key, value),
                None => annex.remove(&key),
            };
        }
    }

    #[test]
    fn records_round_trip() {
        let mut annex = Annex::new();
        apply(
            &mut annex,
            vec![
                record_update(3, Some(OPEN)),
                record_update(4, Some(finished(1000, 900))),
                dead_update(4, 17, 500),
                dead_update(4, 18, 400),
                dead_update(9, 2, 1),
                record_update(5, Some(finished(1000, 900))),
                dead_update(5, 19, 900),
                shared_update(5),
                shared_update(8),
                keyring_update(6),
            ],
        );
        let ledger = Ledger::read(&annex).unwrap();
        assert_eq!(ledger.files[&3].record, OPEN);
        assert_eq!(ledger.files[&4].record, finished(1000, 900));
        assert_eq!(ledger.files[&4].dead_len, 900);
        assert_eq!(ledger.keyring_generation, 6);
        assert_eq!(ledger.whole_dead(), [4], "shared files have no account");
        assert!(ledger.files[&5].is_shared && !ledger.files[&4].is_shared);
        assert_eq!(
            ledger.foldable_count(),
            3,
            "one of each of the files 4, 8, 9"
        );
        let refused = |key: Vec<u8>, value: Vec<u8>| {
            let mut other = annex.clone();
            other.insert(key, value);
            assert!(Ledger::read(&other).is_err());
        };
        for (key, value) in &annex {
            refused([key.as_slice(), b"x"].concat(), value.clone());
            refused(key.clone(), [value.as_slice(), b"x"].concat());
            for cut in 0..value.len() {
                refused(key.clone(), value[..cut].to_vec());
            }
        }
        refused(vec![b'?'], vec![]);
    }

    #[test]
    fn victims_are_the_emptiest_above_the_ratio_within_budget_and_room() {
        let mut annex = Annex::new();
        for (number, dead_len) in [(1, 100), (2, 600), (3, 1000), (4, 700), (5, 800)] {
            let updates = vec![
                record_update(number, Some(finished(1000, 1000))),
                dead_update(number, number, dead_len),
            ];
            apply(&mut annex, updates);
        }
        apply(&mut annex, vec![record_update(6, Some(OPEN))]);
        let ledger = Ledger::read(&annex).unwrap();
        assert_eq!(ledger.whole_dead(), [3]);
        let victims = |percent, budget_len, room_len, inherited: Option<u64>| {
            ledger.victims(percent, (budget_len, room_len), |_, entry| {
                entry.record.end.map(|_| entry.live_len()).or(inherited)
            })
        };
        const ALL: u64 = 10_000;
        assert_eq!(victims(50, ALL, ALL, None), [5, 4, 2]);
        assert_eq!(victims(50, ALL, ALL, Some(350)), [5, 4, 6, 2]);
        assert_eq!(victims(75, ALL, ALL, Some(0)), [6, 5]);
        assert_eq!(victims(50, 500, ALL, None), [5, 4]);
        assert_eq!(victims(50, 0, ALL, None), [5], "one at least");
        assert_eq!(victims(50, ALL, 899, None), [5, 4]);
        assert_eq!(victims(50, 0, 199, None), [0; 0], "no room for it");
    }

    proptest! {
        #[test]
        fn folding_keeps_every_sum(
            deaths in proptest::collection::vec((1u64..6, 0u64..1000), 0..60),
            files in proptest::collection::vec(1u64..6, 0..5),
        ) {
            let mut annex = Annex::new();
            for number in files {
                apply(&mut annex, vec![record_update(number, Some(finished(9999, 9999)))]);
            }
            for (record, (number, dead_len)) in (1..).zip(deaths) {
                apply(&mut annex, vec![dead_update(number, record, dead_len)]);
            }
            let before = Ledger::read(&annex).unwrap();
            apply(&mut annex, before.fold());
            let after = Ledger::read(&annex).unwrap();
            prop_assert_eq!(after.foldable_count(), 0);
            let sums = |ledger: &Ledger| {
                ledger.files.iter().map(|(n, e)| (*n, e.dead_len)).collect::<Vec<_>>()
            };
            prop_assert_eq!(sums(&before), sums(&after));
            for number in before.files.keys() {
                apply(&mut annex, after.forget(*number));
            }
            prop_assert!(annex.is_empty());
        }
    }
}

//! Tails torn in every way, and what is no torn tail.

use super::*;
use crate::crypto::{KeySource, MasterKey, NoKeys};
use crate::env::mem::{MemFs, env_over};
use crate::env::{Env, OpenMode};
use crate::file::{create_file, open_file};
use crate::options::{BlockTransform, Cipher, Compression, Ecc};
use crate::types::{FileId, FileKind, StoreId};

struct OneKey;

impl KeySource for OneKey {
    fn epoch(&self) -> u32 {
        1
    }
    fn master(&self, _epoch: u32) -> Result<Arc<MasterKey>> {
        Ok(Arc::new(MasterKey::new([7; 32])))
    }
}

const ID: FileId = FileId::new(FileKind::Wal, 1);
const STORE: StoreId = StoreId([3; 16]);

/// A log, and what cuts and damage need to know about it.
struct Log {
    fs: Arc<MemFs>,
    env: Env,
    keys: &'static dyn KeySource,
    bytes: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
}

impl Log {
    /// Records of these lengths; the first `synced` of them synced before the next one.
    fn new(cipher: Cipher, ecc: Ecc, lens: &[usize], synced: usize) -> Self {
        let keys: &'static dyn KeySource = match cipher {
            Cipher::None => &NoKeys,
            Cipher::Aes256Gcm => &OneKey,
        };
        let transform = BlockTransform {
            compression: Compression::None,
            cipher,
            ecc,
        };
        let fs = MemFs::new();
        let env = env_over(fs.clone(), 1);
        let (file, context) = create_file(&env, keys, ID, STORE, transform).unwrap();
        let mut writer = LogWriter::new(file, context, BlockKind::WalRecord);
        let mut ends = Vec::new();
        for (index, len) in lens.iter().enumerate() {
            writer.append(&payload(index, *len)).unwrap();
            ends.push(usize::try_from(writer.len()).unwrap());
            if index < synced {
                writer.sync().unwrap();
            }
        }
        writer.write_out().unwrap();
        let bytes = fs.contents(ID).unwrap();
        Self {
            fs,
            env,
            keys,
            bytes,
            ends,
        }
    }

    /// How many records a reader gets out of these bytes.
    fn read(&self, bytes: &[u8], end: LogEnd) -> Result<usize> {
        self.fs.set_contents(ID, bytes.to_vec());
        let (file, context) = open_file(&self.env, self.keys, ID, STORE, OpenMode::Read)?;
        let mut reader = LogReader::new(file, context, BlockKind::WalRecord, end)?;
        let mut count = 0;
        while let Some(record) = reader.next()? {
            let expected = payload(count, record.payload.len());
            assert_eq!(*record.payload, expected[..]);
            count += 1;
        }
        Ok(count)
    }
}

fn payload(index: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + index) as u8).collect()
}

const ECCS: [Ecc; 4] = [Ecc::None, Ecc::SecDed, Ecc::DEFAULT_STORE, Ecc::METADATA];

#[test]
fn a_tail_torn_at_any_byte_ends_the_log() {
    for cipher in [Cipher::None, Cipher::Aes256Gcm] {
        for ecc in ECCS {
            let log = Log::new(cipher, ecc, &[40, 0, 700], 2);
            for len in log.ends[1]..=log.bytes.len() {
                let what = alloc::format!("{cipher:?} {ecc:?} cut to {len} of {:?}", log.ends);
                let count = log.read(&log.bytes[..len], LogEnd::Open);
                let count = count.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                assert!(
                    count == 2 || (count == 3 && len > log.ends[1]),
                    "{what}: {count}"
                );
            }
        }
    }
}

#[test]
fn lost_sectors_in_the_tail_end_the_log() {
    for cipher in [Cipher::None, Cipher::Aes256Gcm] {
        for ecc in ECCS {
            let log = Log::new(cipher, ecc, &[40, 100, 2_000, 300], 2);
            let first = log.ends[1].next_multiple_of(512) - 512;
            for start in (first..log.bytes.len()).step_by(512) {
                for end in (start..log.bytes.len() + 512).step_by(512) {
                    let mut bytes = log.bytes.clone();
                    let end = end.min(bytes.len());
                    bytes[start.max(log.ends[1])..end.max(log.ends[1])].fill(0);
                    let what = alloc::format!("{cipher:?} {ecc:?} zeros {start}..{end}");
                    let count = log.read(&bytes, LogEnd::Open);
                    let count = count.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                    assert!((2..=4).contains(&count), "{what}: {count}");
                }
            }
        }
    }
}

#[test]
fn what_a_later_record_vouches_for_is_no_torn_tail() {
    for cipher in [Cipher::None, Cipher::Aes256Gcm] {
        let log = Log::new(cipher, Ecc::None, &[300, 300, 300], 2);
        for victim in 0..2 {
            let mut bytes = log.bytes.clone();
            let end = log.ends[victim];
            bytes[end - 120..end].fill(0);
            let error = log.read(&bytes, LogEnd::Open).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{error:?}");
            assert_eq!(error.place().file, Some(ID));
        }
        // Nothing vouches for the last one.
        let mut bytes = log.bytes.clone();
        let end = log.ends[2];
        bytes[end - 120..end].fill(0);
        assert_eq!(log.read(&bytes, LogEnd::Open).unwrap(), 2);
    }
}

#[test]
fn a_closed_log_has_its_records_or_is_damaged() {
    let log = Log::new(Cipher::Aes256Gcm, Ecc::None, &[300, 300, 300], 3);
    assert_eq!(log.read(&log.bytes, LogEnd::Closed(3)).unwrap(), 3);
    for (len, count) in [
        (log.ends[1], 3),
        (log.ends[2] - 100, 3),
        (log.ends[2], 2),
        (log.ends[2], 4),
    ] {
        let error = log
            .read(&log.bytes[..len], LogEnd::Closed(count))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{error:?}");
    }
}

#[test]
fn swapped_and_foreign_records_are_refused() {
    for cipher in [Cipher::None, Cipher::Aes256Gcm] {
        let log = Log::new(cipher, Ecc::None, &[300, 300, 300], 3);
        let record = |index: usize| {
            let start = index
                .checked_sub(1)
                .map_or(log.ends[0] - (log.ends[1] - log.ends[0]), |before| {
                    log.ends[before]
                });
            start..log.ends[index]
        };
        for (a, b) in [(0, 1), (1, 2), (0, 2)] {
            let mut bytes = log.bytes.clone();
            bytes[record(a)].copy_from_slice(&log.bytes[record(b)]);
            bytes[record(b)].copy_from_slice(&log.bytes[record(a)]);
            assert!(
                log.read(&bytes, LogEnd::Open).is_err(),
                "{cipher:?} {a} {b}"
            );
        }
    }
}

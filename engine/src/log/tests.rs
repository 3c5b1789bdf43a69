//! Logs cut at every byte, with every bit flipped, swapped, spliced and closed.

use super::*;
use crate::crypto::{KeySource, MasterKey, NoKeys};
use crate::env::mem::{self, MemFs};
use crate::env::{Env, Listener, OpenMode};
use crate::file::{create_file, open_file};
use crate::options::{BlockTransform, Cipher, Compression, Ecc};
use crate::sync::Mutex;
use crate::types::{FileId, FileKind, StoreId};

const ID: FileId = FileId::new(FileKind::Wal, 4);
const STORE: StoreId = StoreId([3; 16]);
const KIND: BlockKind = BlockKind::WalRecord;

struct OneKey;

impl KeySource for OneKey {
    fn epoch(&self) -> u32 {
        1
    }
    fn master(&self, _epoch: u32) -> Result<Arc<MasterKey>> {
        Ok(Arc::new(MasterKey::new([7; 32])))
    }
}

fn keys(cipher: Cipher) -> &'static dyn KeySource {
    match cipher {
        Cipher::None => &NoKeys,
        Cipher::Aes256Gcm => &OneKey,
    }
}

const fn transform(cipher: Cipher, ecc: Ecc) -> BlockTransform {
    let compression = Compression::None;
    BlockTransform {
        compression,
        cipher,
        ecc,
    }
}

const SEALED: BlockTransform = transform(Cipher::Aes256Gcm, Ecc::None);

fn payload(ordinal: u32) -> Vec<u8> {
    let len = [20, 27, 0, 700, 48, 55][ordinal as usize];
    vec![ordinal as u8 + 1; len]
}

/// Bytes of a log and where its records start; the last entry is its length.
struct Log {
    transform: BlockTransform,
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

/// Six records; a sync behind record 1 and, where `synced`, behind each.
fn log_of_six(transform: BlockTransform, synced: bool) -> Log {
    log_from(1, transform, synced)
}

fn log_from(seed: u64, transform: BlockTransform, synced: bool) -> Log {
    let fs = MemFs::new();
    let env = mem::env_over(fs.clone(), seed);
    let (file, context) = create_file(&env, keys(transform.cipher), ID, STORE, transform).unwrap();
    let mut writer = LogWriter::new(file, context, KIND);
    let mut starts = Vec::new();
    for ordinal in 0..6 {
        starts.push(writer.len() as usize);
        assert_eq!(writer.append(&payload(ordinal)).unwrap(), ordinal);
        if synced || ordinal == 1 {
            writer.sync().unwrap();
        }
    }
    writer.write_out().unwrap();
    starts.push(writer.len() as usize);
    let bytes = fs.contents(ID).unwrap();
    assert_eq!(bytes.len(), starts[6]);
    Log {
        transform,
        bytes,
        starts,
    }
}

/// What reading gave: records, the torn tail, the kind of the error.
#[derive(Debug, PartialEq)]
struct Read {
    count: u32,
    torn: Option<TornTail>,
    error: Option<ErrorKind>,
}

fn read(log: &Log, bytes: &[u8], end: LogEnd) -> Read {
    let fs = MemFs::new();
    fs.set_contents(ID, bytes.to_vec());
    let env = mem::env_over(fs, 1);
    let (file, context) =
        open_file(&env, keys(log.transform.cipher), ID, STORE, OpenMode::Read).unwrap();
    let mut reader = LogReader::new(file, context, KIND, end).unwrap();
    let error = loop {
        let ordinal = reader.count();
        match reader.next() {
            Ok(Some(record)) => {
                assert_eq!(*record.payload, payload(ordinal), "wrong bytes");
                assert_eq!(record.ordinal, ordinal);
                assert_eq!(record.offset, log.starts[ordinal as usize] as u64);
            }
            Ok(None) => {
                assert!(reader.next().unwrap().is_none(), "the end stays the end");
                break None;
            }
            Err(error) => {
                assert_eq!(error.place().file, Some(ID));
                assert!(error.place().offset.is_some());
                break Some(error.kind());
            }
        }
    };
    let (count, torn) = (reader.count(), reader.torn_tail());
    Read { count, torn, error }
}

fn whole(count: u32) -> Read {
    Read {
        count,
        torn: None,
        error: None,
    }
}

fn failed(count: u32, error: ErrorKind) -> Read {
    Read {
        count,
        torn: None,
        error: Some(error),
    }
}

const ECCS: [Ecc; 4] = [Ecc::None, Ecc::SecDed, Ecc::DEFAULT_STORE, Ecc::METADATA];

#[test]
fn records_come_back_in_order() {
    for cipher in [Cipher::None, Cipher::Aes256Gcm] {
        for ecc in ECCS {
            let log = log_of_six(transform(cipher, ecc), false);
            assert_eq!(read(&log, &log.bytes, LogEnd::Open), whole(6));
            assert_eq!(read(&log, &log.bytes, LogEnd::Closed(6)), whole(6));
        }
    }
}

#[test]
fn a_log_without_records_is_a_log() {
    let env = mem::env_seeded(1);
    let (file, context) = create_file(&env, &OneKey, ID, STORE, SEALED).unwrap();
    let mut reader = LogReader::new(file.clone(), context.clone(), KIND, LogEnd::Open).unwrap();
    assert!(reader.next().unwrap().is_none());
    let mut reader = LogReader::new(file, context, KIND, LogEnd::Closed(0)).unwrap();
    assert!(reader.next().unwrap().is_none());
    assert_eq!(reader.torn_tail(), None);
}

#[test]
fn a_tail_torn_at_any_byte_ends_at_the_last_whole_record() {
    for cipher in [Cipher::None, Cipher::Aes256Gcm] {
        for ecc in ECCS {
            let log = log_of_six(transform(cipher, ecc), false);
            for cut in 256..log.bytes.len() {
                let got = read(&log, &log.bytes[..cut], LogEnd::Open);
                assert_eq!(got.error, None, "{cipher:?} {ecc:?} {cut}");
                // A record that only lacks parity may heal; never fewer than the whole ones.
                let whole = log.starts.iter().filter(|start| **start <= cut).count() - 1;
                assert!(got.count as usize >= whole, "{ecc:?} {cut}");
                let next = log.starts[got.count as usize];
                let torn = (next < cut).then(|| TornTail {
                    offset: next as u64,
                    len: (cut - next) as u64,
                });
                assert_eq!(got.torn, torn);
            }
        }
    }
}

/// Sectors may reach the disk in any order: any run of them behind the last sync may be missing.
#[test]
fn lost_sectors_behind_the_last_sync_are_a_torn_tail() {
    const SECTOR_LEN: usize = 128;
    for cipher in [Cipher::None, Cipher::Aes256Gcm] {
        for ecc in ECCS {
            let log = log_of_six(transform(cipher, ecc), false);
            let (durable, len) = (log.starts[2], log.bytes.len());
            for start in (0..len).step_by(SECTOR_LEN) {
                for end in (start + SECTOR_LEN..len + SECTOR_LEN).step_by(SECTOR_LEN) {
                    let mut bytes = log.bytes.clone();
                    bytes[start.max(durable)..end.clamp(durable, len)].fill(0);
                    let got = read(&log, &bytes, LogEnd::Open);
                    let what = (cipher, ecc, start, end);
                    assert!(got.error.is_none() && got.count >= 2, "{what:?} {got:?}");
                }
            }
        }
    }
}

#[test]
fn zeros_behind_the_last_record_are_room_for_more() {
    let log = log_of_six(SEALED, true);
    for len in [1, 64, 5000, 1 << 20] {
        let mut bytes = log.bytes.clone();
        bytes.resize(log.bytes.len() + len, 0);
        for end in [LogEnd::Open, LogEnd::Closed(6)] {
            assert_eq!(read(&log, &bytes, end), whole(6), "{len}");
        }
        assert_eq!(
            read(&log, &bytes, LogEnd::Closed(7)),
            failed(6, ErrorKind::Corruption)
        );
        // Anything else in it is not: a single bit tells.
        *bytes.last_mut().unwrap() = 1;
        assert_eq!(
            read(&log, &bytes, LogEnd::Closed(6)),
            failed(6, ErrorKind::Corruption)
        );
        assert!(read(&log, &bytes, LogEnd::Open).torn.is_some());
    }
}

#[test]
fn noise_behind_the_last_record_is_a_torn_tail() {
    let log = log_of_six(SEALED, true);
    for fill in [1, 0xff, b'C'] {
        for len in [1, 63, 64, 65, 5000] {
            let mut bytes = log.bytes.clone();
            bytes.resize(bytes.len() + len, fill);
            let got = read(&log, &bytes, LogEnd::Open);
            assert_eq!((got.count, got.error), (6, None));
            let offset = log.bytes.len() as u64;
            assert_eq!(
                got.torn,
                Some(TornTail {
                    offset,
                    len: len as u64
                })
            );
            let closed = read(&log, &bytes, LogEnd::Closed(6));
            assert_eq!(closed, failed(6, ErrorKind::Corruption));
        }
    }
}

/// Records 0 and 1 were synced before the others were written.
#[test]
fn every_flipped_bit_heals_or_ends_the_log_only_where_nothing_was_durable() {
    for ecc in ECCS {
        let log = log_of_six(transform(Cipher::Aes256Gcm, ecc), false);
        for bit in 256 * 8..log.bytes.len() * 8 {
            let record = log.starts.iter().filter(|start| **start <= bit / 8).count() as u32 - 1;
            let mut bytes = log.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let got = read(&log, &bytes, LogEnd::Open);
            if got == whole(6) {
                continue;
            }
            assert_eq!(ecc, Ecc::None, "bit {bit} did not heal");
            if record < 2 {
                assert_eq!(got, failed(record, ErrorKind::Corruption), "bit {bit}");
            } else {
                let offset = log.starts[record as usize] as u64;
                let len = log.bytes.len() as u64 - offset;
                let torn = Some(TornTail { offset, len });
                assert_eq!(
                    got,
                    Read {
                        count: record,
                        torn,
                        error: None
                    },
                    "bit {bit}"
                );
            }
            let closed = read(&log, &bytes, LogEnd::Closed(6));
            assert_eq!(closed, failed(record, ErrorKind::Corruption));
        }
    }
}

/// As the manifest does: each record is durable before the next is written.
#[test]
fn where_each_record_was_synced_only_the_last_can_be_torn() {
    let log = log_of_six(SEALED, true);
    for record in 0..6 {
        let (start, end) = (log.starts[record], log.starts[record + 1]);
        for damaged in [
            start..end,
            start..start + 64,
            start + 30..end,
            start..start + 1,
        ] {
            let mut bytes = log.bytes.clone();
            bytes[damaged].fill(0);
            let got = read(&log, &bytes, LogEnd::Open);
            if record == 5 {
                let is_blank = bytes[start..].iter().all(|byte| *byte == 0);
                assert_eq!((got.torn.is_none(), got.count), (is_blank, 5), "{got:?}");
            } else {
                assert_eq!(got, failed(record as u32, ErrorKind::Corruption));
            }
        }
    }
}

#[test]
fn parity_heals_a_record_whose_frame_is_destroyed() {
    let log = log_of_six(transform(Cipher::Aes256Gcm, Ecc::METADATA), false);
    for record in 0..6 {
        let mut bytes = log.bytes.clone();
        bytes[log.starts[record]..log.starts[record] + 40].fill(0);
        assert_eq!(read(&log, &bytes, LogEnd::Open), whole(6), "{record}");
        bytes.resize(bytes.len() + (1 << 20), 0);
        assert_eq!(
            read(&log, &bytes, LogEnd::Open),
            whole(6),
            "{record} with room"
        );
    }
}

#[test]
fn moved_dropped_and_repeated_records_are_refused() {
    for cipher in [Cipher::None, Cipher::Aes256Gcm] {
        let log = log_of_six(transform(cipher, Ecc::DEFAULT_STORE), false);
        let record = |index: usize| &log.bytes[log.starts[index]..log.starts[index + 1]];
        let head = &log.bytes[..256];
        let swapped = [head, record(0), record(2), record(1)].concat();
        let refused = |count| failed(count, ErrorKind::Authentication);
        assert_eq!(read(&log, &swapped, LogEnd::Open), refused(1));
        let dropped = [head, record(0), record(2)].concat();
        assert_eq!(read(&log, &dropped, LogEnd::Open), refused(1));
        let first_gone = [head, record(1), record(2)].concat();
        assert_eq!(read(&log, &first_gone, LogEnd::Open), refused(0));
        let repeated = [head, record(0), record(0)].concat();
        assert_eq!(read(&log, &repeated, LogEnd::Open), refused(1));
    }
}

/// Two writers that share salt and keys, as after a fork, wrote different records.
#[test]
fn records_of_a_fork_do_not_fit_into_the_chain() {
    let log = log_of_six(SEALED, false);
    let fs = MemFs::new();
    let env = mem::env_over(fs.clone(), 1);
    let (file, context) = create_file(&env, &OneKey, ID, STORE, SEALED).unwrap();
    let mut writer = LogWriter::new(file, context, KIND);
    let mut other = payload(0);
    other[0] ^= 1;
    writer.append(&other).unwrap();
    writer.append(&payload(1)).unwrap();
    writer.sync().unwrap();
    let fork = fs.contents(ID).unwrap();
    assert_eq!(fork[..256], log.bytes[..256]);
    let start = log.starts[1];
    let spliced = [&log.bytes[..start], &fork[start..]].concat();
    assert_eq!(
        read(&log, &spliced, LogEnd::Open),
        failed(1, ErrorKind::Authentication)
    );
}

#[test]
fn records_of_another_log_are_refused() {
    let log = log_of_six(SEALED, false);
    let other = log_from(2, SEALED, false);
    for record in 0..6 {
        let start = log.starts[record];
        let spliced = [&log.bytes[..start], &other.bytes[start..]].concat();
        let refused = failed(record as u32, ErrorKind::Authentication);
        assert_eq!(read(&log, &spliced, LogEnd::Open), refused);
    }
}

#[test]
fn a_closed_log_has_exactly_its_records() {
    let log = log_of_six(SEALED, true);
    for count in 0..6 {
        let cut = &log.bytes[..log.starts[count as usize]];
        assert_eq!(read(&log, cut, LogEnd::Closed(count)), whole(count));
        assert_eq!(
            read(&log, cut, LogEnd::Closed(6)),
            failed(count, ErrorKind::Corruption)
        );
        let longer = read(&log, &log.bytes, LogEnd::Closed(count));
        assert_eq!(longer, failed(count, ErrorKind::Corruption));
    }
}

#[test]
fn durable_counts_are_those_known_when_writing() {
    let env = mem::env_seeded(1);
    let (file, context) = create_file(&env, &OneKey, ID, STORE, SEALED).unwrap();
    let mut writer = LogWriter::new(file.clone(), context.clone(), KIND);
    writer.append(b"a").unwrap();
    writer.append(b"b").unwrap();
    writer.sync().unwrap();
    writer.append(b"c").unwrap();
    writer.mark_durable(9);
    assert_eq!(writer.durable_count(), 3);
    writer.append(b"d").unwrap();
    writer.write_out().unwrap();
    let last_tag = writer.last_tag();
    let mut reader = LogReader::new(file, context, KIND, LogEnd::Open).unwrap();
    let mut counts = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        counts.push(record.durable_count);
    }
    assert_eq!(counts, [0, 0, 2, 3]);
    assert_eq!(reader.durable_count(), 3);
    assert_eq!(reader.last_tag(), last_tag);
}

/// Fails while it is told to: appends with this kind, after half of the bytes; or syncs.
struct Failing {
    inner: Arc<dyn File>,
    append: Mutex<Option<ErrorKind>>,
    sync: bool,
}

impl File for Failing {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.inner.read_at(offset, buf)
    }
    fn append(&self, bytes: &[u8]) -> Result<()> {
        match *self.append.lock() {
            Some(kind) => {
                self.inner.append(&bytes[..bytes.len() / 2])?;
                Err(Error::new(kind, "failed"))
            }
            None => self.inner.append(bytes),
        }
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.inner.write_at(offset, bytes)
    }
    fn sync(&self) -> Result<()> {
        if self.sync {
            Err(Error::io("failed"))
        } else {
            self.inner.sync()
        }
    }
    fn truncate(&self, len: u64) -> Result<()> {
        self.inner.truncate(len)
    }
}

fn failing(append: Option<ErrorKind>, sync: bool) -> (Arc<Failing>, LogWriter) {
    let env = mem::env_seeded(1);
    let (inner, context) = create_file(&env, &OneKey, ID, STORE, SEALED).unwrap();
    let append = Mutex::new(append);
    let file = Arc::new(Failing {
        inner,
        append,
        sync,
    });
    (file.clone(), LogWriter::new(file, context, KIND))
}

#[test]
fn after_a_failed_write_or_sync_a_writer_refuses_everything() {
    for (append, sync) in [(Some(ErrorKind::Io), false), (None, true)] {
        let (_, mut writer) = failing(append, sync);
        writer.append(b"a").unwrap();
        assert_eq!(writer.sync().unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(writer.durable_count(), 0);
        assert!(writer.is_failed());
        assert_eq!(writer.append(b"b").unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(writer.write_out().unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(writer.sync().unwrap_err().kind(), ErrorKind::Poisoned);
    }
}

#[test]
fn records_that_found_no_space_are_written_once_there_is_some() {
    let (file, mut writer) = failing(Some(ErrorKind::NoSpace), false);
    writer.append(b"a").unwrap();
    assert_eq!(writer.sync().unwrap_err().kind(), ErrorKind::NoSpace);
    writer.append(b"b").unwrap();
    assert_eq!(writer.sync().unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(writer.durable_count(), 0);
    *file.append.lock() = None;
    writer.sync().unwrap();
    assert_eq!(writer.durable_count(), 2);
    let context = writer.context().clone();
    let mut reader = LogReader::new(file, context, KIND, LogEnd::Closed(2)).unwrap();
    assert_eq!(*reader.next().unwrap().unwrap().payload, *b"a");
    assert_eq!(*reader.next().unwrap().unwrap().payload, *b"b");
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn a_torn_tail_and_a_healed_record_are_events() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<Event>>);
    impl Listener for Heard {
        fn event(&self, event: &Event) {
            self.0.lock().push(event.clone());
        }
    }
    let log = log_of_six(transform(Cipher::Aes256Gcm, Ecc::SecDed), false);
    let fs = MemFs::new();
    let cut = log.starts[5] + 10;
    let mut bytes = log.bytes[..cut].to_vec();
    bytes[log.starts[3] + 80] ^= 1;
    fs.set_contents(ID, bytes);
    let heard = Arc::new(Heard::default());
    let listener: Arc<dyn Listener> = heard.clone();
    let env = Env {
        listener,
        ..mem::env_over(fs, 1)
    };
    let (file, context) = open_file(&env, &OneKey, ID, STORE, OpenMode::Read).unwrap();
    let mut reader = LogReader::new(file, context, KIND, LogEnd::Open).unwrap();
    while reader.next().unwrap().is_some() {}
    let healed = Event::Healed {
        file: ID,
        offset: log.starts[3] as u64,
    };
    let torn = Event::TornTail {
        file: ID,
        offset: log.starts[5] as u64,
        len: 10,
    };
    assert_eq!(*heard.0.lock(), [healed, torn]);
}

/// A file whose read number `short` gives one byte less than there is.
struct Short {
    file: Arc<dyn File>,
    short: usize,
    read_count: Mutex<usize>,
}

impl File for Short {
    fn len(&self) -> Result<u64> {
        self.file.len()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let mut count = self.read_count.lock();
        *count += 1;
        let held = self
            .file
            .len()?
            .saturating_sub(offset)
            .min(buf.len() as u64) as usize;
        let len = held - usize::from(*count - 1 == self.short);
        self.file.read_at(offset, &mut buf[..len])
    }
    fn append(&self, bytes: &[u8]) -> Result<()> {
        self.file.append(bytes)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_at(offset, bytes)
    }
    fn sync(&self) -> Result<()> {
        self.file.sync()
    }
    fn truncate(&self, len: u64) -> Result<()> {
        self.file.truncate(len)
    }
}

#[test]
fn a_short_read_is_an_error_of_the_medium_and_no_torn_tail() {
    let log = log_of_six(SEALED, false);
    for tail in [0, 9_000] {
        let mut short_count = 0;
        for short in 0.. {
            let fs = MemFs::new();
            let mut bytes = log.bytes.clone();
            bytes.resize(bytes.len() + tail, 0);
            fs.set_contents(ID, bytes);
            let env = mem::env_over(fs, 1);
            let (file, context) = open_file(&env, &OneKey, ID, STORE, OpenMode::Read).unwrap();
            let read_count = Mutex::new(0);
            let file = Arc::new(Short {
                file,
                short,
                read_count,
            });
            let mut reader = LogReader::new(file.clone(), context, KIND, LogEnd::Open).unwrap();
            let mut count = 0;
            let error = loop {
                match reader.next() {
                    Ok(Some(_)) => count += 1,
                    Ok(None) => break None,
                    Err(error) => break Some(error.kind()),
                }
            };
            if *file.read_count.lock() <= short {
                assert_eq!((count, error), (6, None));
                break;
            }
            short_count += 1;
            assert_eq!(error, Some(ErrorKind::Io), "read {short}");
        }
        assert!(short_count > 6);
    }
}

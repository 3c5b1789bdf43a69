//! Headers and footers under damage and forgery.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::block::{BlockKind, Expect, read_block};
use crate::compress::Scratch;
use crate::crypto::{KeySource, MasterKey, NoKeys};
use crate::env::mem::{self, MemFs};
use crate::env::{Entropy, read_exact_at};
use crate::error::ErrorKind;
use crate::options::Ecc;
use crate::types::FileKind;

const ID: FileId = FileId::new(FileKind::Table, 5);
const STORE: StoreId = StoreId([3; 16]);
const SEALED: BlockTransform = BlockTransform {
    compression: Compression::None,
    cipher: Cipher::Aes256Gcm,
    ecc: Ecc::DEFAULT_STORE,
};

struct Keys {
    byte: u8,
    epoch: u32,
}

impl KeySource for Keys {
    fn epoch(&self) -> u32 {
        self.epoch
    }
    fn master(&self, epoch: u32) -> Result<Arc<MasterKey>> {
        if epoch == 0 || epoch > self.epoch {
            return Err(Error::key_missing("no key of this epoch"));
        }
        Ok(Arc::new(MasterKey::new([self.byte + epoch as u8; 32])))
    }
}

const KEYS: Keys = Keys { byte: 1, epoch: 1 };

fn keys_of(transform: BlockTransform) -> &'static dyn KeySource {
    match transform.cipher {
        Cipher::None => &NoKeys,
        Cipher::Aes256Gcm => &KEYS,
    }
}

/// An environment with the file `ID` of three blocks, and the root of that file.
fn finished(transform: BlockTransform) -> (Arc<MemFs>, Env, FileRoot) {
    let fs = MemFs::new();
    let env = mem::env_over(fs.clone(), 1);
    let (file, context) = create_file(&env, keys_of(transform), ID, STORE, transform).unwrap();
    let (mut hasher, mut out, mut scratch) = (RootHasher::new(), Vec::new(), Scratch::new());
    for ordinal in 0..3 {
        let sealed = context
            .seal(
                BlockKind::Data,
                ordinal,
                0,
                0,
                &[],
                &[ordinal as u8; 90],
                &mut scratch,
                &mut out,
            )
            .unwrap();
        hasher.push(&sealed.tag);
    }
    let len = DATA_OFFSET + out.len() as u64;
    let root = seal_footer(&context, hasher, b"payload", len, &mut out).unwrap();
    file.append(&out).unwrap();
    (fs, env, root)
}

fn open(env: &Env, keys: &dyn KeySource) -> Result<(Arc<dyn File>, Arc<FileContext>)> {
    open_file(env, keys, ID, STORE, OpenMode::Read)
}

fn open_root(env: &Env, transform: BlockTransform, root: Option<&FileRoot>) -> Result<Footer> {
    let (file, context) = open(env, keys_of(transform))?;
    open_footer(&*file, &context, root, &mut Scratch::new())
}

fn kind_of<T>(result: Result<T>) -> ErrorKind {
    let error = result.err().expect("an error");
    assert_eq!(error.place().file, Some(ID), "{error:?}");
    error.kind()
}

#[test]
fn headers_round_trip_and_need_no_key() {
    let (_, env, _) = finished(SEALED);
    let file = env.fs.open(ID, OpenMode::Read).unwrap();
    let header = read_header(&*file).unwrap();
    assert_eq!(header.identity.id, ID);
    assert_eq!(header.identity.store_id, STORE);
    assert_eq!(
        (header.cipher, header.ecc, header.epoch),
        (SEALED.cipher, SEALED.ecc, 1)
    );
    assert_eq!(FileHeader::decode(&header.encode()).unwrap(), header);
    assert_eq!(read_copies(&*file).unwrap().1, Copies::Whole);
}

#[test]
fn either_copy_of_the_header_is_enough() {
    let (fs, env, _) = finished(SEALED);
    let whole = fs.contents(ID).unwrap();
    for bit in 0..DATA_OFFSET as usize * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs.set_contents(ID, bytes.clone());
        let (file, _) = open(&env, &KEYS).unwrap();
        assert_eq!(read_copies(&*file).unwrap().1, Copies::OneDamaged);
        let twin = (bit / 8 + HEADER_LEN) % (2 * HEADER_LEN);
        bytes[twin] ^= 1 << (bit % 8);
        fs.set_contents(ID, bytes);
        assert_eq!(kind_of(open(&env, &KEYS)), ErrorKind::Corruption);
    }
}

#[test]
fn every_forged_field_of_the_header_is_refused() {
    let (fs, env, _) = finished(SEALED);
    let whole = fs.contents(ID).unwrap();
    let header = FileHeader::decode(whole.first_chunk().unwrap()).unwrap();
    let forgeries: [fn(&mut FileHeader); 9] = [
        |header| header.identity.id.number += 1,
        |header| header.identity.id.kind = FileKind::Blob,
        |header| header.identity.store_id.0[0] ^= 1,
        |header| header.identity.salt[0] ^= 1,
        |header| header.cipher = Cipher::None,
        |header| (header.cipher, header.epoch) = (Cipher::None, 0),
        |header| header.ecc = Ecc::None,
        |header| header.epoch = 0,
        |header| header.commitment[31] ^= 1,
    ];
    for (index, forge) in forgeries.into_iter().enumerate() {
        let mut forged = header;
        forge(&mut forged);
        let mut bytes = whole.clone();
        bytes[..256].copy_from_slice([forged.encode(); 2].as_flattened());
        fs.set_contents(ID, bytes);
        assert_eq!(
            kind_of(open(&env, &KEYS)),
            ErrorKind::Authentication,
            "{index}"
        );
    }
    let mut forged = header;
    forged.epoch = 2;
    let mut bytes = whole.clone();
    bytes[..256].copy_from_slice([forged.encode(); 2].as_flattened());
    fs.set_contents(ID, bytes);
    assert_eq!(kind_of(open(&env, &KEYS)), ErrorKind::KeyMissing);
    let two = Keys { byte: 1, epoch: 2 };
    assert_eq!(kind_of(open(&env, &two)), ErrorKind::Authentication);
}

/// A file whose public commitment is right, as anybody can make one.
#[test]
fn an_unencrypted_file_is_refused_in_an_encrypted_store_and_the_other_way_round() {
    let plain = BlockTransform {
        cipher: Cipher::None,
        ..SEALED
    };
    let (_, env, _) = finished(plain);
    open(&env, &NoKeys).unwrap();
    assert_eq!(kind_of(open(&env, &KEYS)), ErrorKind::Authentication);
    let (_, env, _) = finished(SEALED);
    assert_eq!(kind_of(open(&env, &NoKeys)), ErrorKind::Authentication);
    assert_eq!(
        kind_of(create_file(&env, &KEYS, ID, STORE, plain)),
        ErrorKind::Invalid
    );
    assert_eq!(
        kind_of(create_file(&env, &NoKeys, ID, STORE, SEALED)),
        ErrorKind::Invalid
    );
}

#[test]
fn wrong_keys_names_and_stores_are_refused() {
    let (fs, env, _) = finished(SEALED);
    let wrong = Keys { byte: 9, epoch: 1 };
    assert_eq!(kind_of(open(&env, &wrong)), ErrorKind::Authentication);
    let other_store = open_file(&env, &KEYS, ID, StoreId([4; 16]), OpenMode::Read);
    assert_eq!(kind_of(other_store), ErrorKind::Authentication);
    let renamed = FileId::new(FileKind::Table, 6);
    fs.set_contents(renamed, fs.contents(ID).unwrap());
    let error = open_file(&env, &KEYS, renamed, STORE, OpenMode::Read)
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert_eq!(error.place().file, Some(renamed));
}

#[test]
fn files_of_older_epochs_open_with_newer_keys() {
    let (_, env, root) = finished(SEALED);
    let newer = Keys { byte: 1, epoch: 7 };
    let (file, context) = open(&env, &newer).unwrap();
    assert_eq!(context.epoch(), 1);
    open_footer(&*file, &context, Some(&root), &mut Scratch::new()).unwrap();
}

#[test]
fn other_versions_are_unsupported() {
    let (fs, env, _) = finished(SEALED);
    for (at, value) in [
        (8, 2),
        (10, 99),
        (10, FileKind::Temp as u8),
        (11, 9),
        (12, 9),
        (44, 1),
        (112, 1),
    ] {
        let mut bytes = fs.contents(ID).unwrap();
        bytes[at] = value;
        let checksum = crate::checksum::xxh3_64(&bytes[..120]).to_le_bytes();
        bytes[120..128].copy_from_slice(&checksum);
        bytes.copy_within(..128, 128);
        let other = MemFs::new();
        other.set_contents(ID, bytes);
        let env = Env {
            fs: other,
            ..env.clone()
        };
        assert_eq!(
            kind_of(open(&env, &KEYS)),
            ErrorKind::Unsupported,
            "{at} {value}"
        );
    }
}

#[test]
fn a_side_file_opens_under_its_final_name_alone() {
    let env = mem::env_seeded(1);
    let name = FileId::new(FileKind::Temp, 9);
    create_file_as(&env, &KEYS, name, ID, STORE, SEALED).unwrap();
    env.fs.rename(name, ID).unwrap();
    open(&env, &KEYS).unwrap();
}

#[test]
fn footers_round_trip() {
    for cipher in [Cipher::None, Cipher::Aes256Gcm] {
        for ecc in [Ecc::None, Ecc::SecDed, Ecc::DEFAULT_STORE, Ecc::METADATA] {
            let transform = BlockTransform {
                cipher,
                ecc,
                ..SEALED
            };
            let (_, env, root) = finished(transform);
            let footer = open_root(&env, transform, Some(&root)).unwrap();
            assert_eq!(footer.block_count, 3);
            assert_eq!(footer.payload, b"payload");
            assert_eq!(footer.root, root);
            assert_eq!(open_root(&env, transform, None).unwrap(), footer);
            let file = env.fs.open(ID, OpenMode::Read).unwrap();
            verify_root(&*file, &read_header(&*file).unwrap(), &footer).unwrap();
            let mut encoded = Vec::new();
            root.encode(&mut encoded);
            assert_eq!(encoded.len(), FileRoot::ENCODED_LEN);
            let mut reader = crate::codec::Reader::new(&encoded);
            assert_eq!(FileRoot::decode(&mut reader).unwrap(), root);
        }
    }
}

#[test]
fn cut_and_longer_files_are_named_errors() {
    let (fs, env, root) = finished(SEALED);
    let whole = fs.contents(ID).unwrap();
    for cut in 0..whole.len() {
        fs.set_contents(ID, whole[..cut].to_vec());
        for expected in [Some(&root), None] {
            let kind = kind_of(open_root(&env, SEALED, expected));
            let named = matches!(kind, ErrorKind::Corruption | ErrorKind::Authentication);
            assert!(named, "{cut}: {kind:?}");
        }
    }
    fs.set_contents(ID, [&whole[..], b"x"].concat());
    assert_eq!(
        kind_of(open_root(&env, SEALED, Some(&root))),
        ErrorKind::Corruption
    );
    assert!(open_root(&env, SEALED, None).is_err());
}

#[test]
fn another_file_of_the_same_name_is_not_the_one_that_the_store_names() {
    let (_, _, root) = finished(SEALED);
    // Same salt, same length, same keys: a fork that wrote something else.
    let env = mem::env_seeded(1);
    let (file, context) = create_file(&env, &KEYS, ID, STORE, SEALED).unwrap();
    let (mut hasher, mut out, mut scratch) = (RootHasher::new(), Vec::new(), Scratch::new());
    for ordinal in 0..3 {
        let sealed = context
            .seal(
                BlockKind::Data,
                ordinal,
                0,
                0,
                &[],
                &[77; 90],
                &mut scratch,
                &mut out,
            )
            .unwrap();
        hasher.push(&sealed.tag);
    }
    let len = DATA_OFFSET + out.len() as u64;
    let other = seal_footer(&context, hasher, b"payload", len, &mut out).unwrap();
    file.append(&out).unwrap();
    assert_eq!(other.len, root.len);
    open_root(&env, SEALED, Some(&other)).unwrap();
    assert_eq!(
        kind_of(open_root(&env, SEALED, Some(&root))),
        ErrorKind::Authentication
    );
}

#[test]
fn a_block_put_back_from_a_fork_does_not_match_the_footer() {
    let (fs, env, root) = finished(SEALED);
    let footer = open_root(&env, SEALED, Some(&root)).unwrap();
    let (_, context) = open(&env, &KEYS).unwrap();
    let mut other = Vec::new();
    context
        .seal(
            BlockKind::Data,
            1,
            0,
            0,
            &[],
            &[55; 90],
            &mut Scratch::new(),
            &mut other,
        )
        .unwrap();
    let mut bytes = fs.contents(ID).unwrap();
    let start = DATA_OFFSET as usize + other.len();
    bytes[start..start + other.len()].copy_from_slice(&other);
    fs.set_contents(ID, bytes);
    let (file, _) = open(&env, &KEYS).unwrap();
    let result = verify_root(&*file, &read_header(&*file).unwrap(), &footer);
    assert_eq!(kind_of(result), ErrorKind::Authentication);
}

#[test]
fn blocks_are_read_through_their_handles() {
    let (fs, env, _) = finished(SEALED);
    let (file, context) = open(&env, &KEYS).unwrap();
    let disk_len = context.disk_len(90);
    let handle = |ordinal: u32| crate::block::BlockHandle {
        offset: DATA_OFFSET + u64::from(ordinal) * disk_len as u64,
        disk_len: disk_len as u32,
        raw_len: 90,
        ordinal,
        codec: crate::block::Codec::None,
    };
    for ordinal in 0..3 {
        let handle = handle(ordinal);
        let expect = Expect::new(BlockKind::Data, &handle);
        let block = read_block(&*file, &context, &handle, &expect, &mut Scratch::new()).unwrap();
        assert_eq!(*block, [ordinal as u8; 90]);
    }
    // Behind the end of the file.
    let (_, len) = (fs, file.len().unwrap());
    let behind = crate::block::BlockHandle {
        offset: len - 5,
        ..handle(0)
    };
    let expect = Expect::new(BlockKind::Data, &behind);
    let result = read_block(&*file, &context, &behind, &expect, &mut Scratch::new());
    assert_eq!(kind_of(result), ErrorKind::Corruption);
    let mut rest = vec![0; 5];
    read_exact_at(&*file, len - 5, &mut rest).unwrap();
}

#[test]
fn a_footer_keeps_a_bounded_payload() {
    let env = mem::env_seeded(1);
    let (_, context) = create_file(&env, &KEYS, ID, STORE, SEALED).unwrap();
    let mut out = Vec::new();
    let longest = [1; FOOTER_PAYLOAD_LEN];
    seal_footer(&context, RootHasher::new(), &longest, DATA_OFFSET, &mut out).unwrap();
    let longer = [1; FOOTER_PAYLOAD_LEN + 1];
    let result = seal_footer(&context, RootHasher::new(), &longer, DATA_OFFSET, &mut out);
    assert_eq!(kind_of(result), ErrorKind::Invalid);
}

struct Counting(u8);

impl Entropy for Counting {
    fn fill(&self, buf: &mut [u8]) -> Result<()> {
        let bytes = (self.0..).zip(buf);
        bytes.for_each(|(byte, place)| *place = byte);
        Ok(())
    }
}

struct CountingKey;

impl KeySource for CountingKey {
    fn epoch(&self) -> u32 {
        1
    }
    fn master(&self, _epoch: u32) -> Result<Arc<MasterKey>> {
        Ok(Arc::new(MasterKey::new(core::array::from_fn(|index| {
            0x80 + index as u8
        }))))
    }
}

/// Lines of 16 bytes with their offset.
fn dump(offset: usize, bytes: &[u8], out: &mut String) {
    for (line, bytes) in bytes.chunks(16).enumerate() {
        out.push_str(&format!("{:04x} ", offset + 16 * line));
        bytes
            .iter()
            .for_each(|byte| out.push_str(&format!(" {byte:02x}")));
        out.push('\n');
    }
}

#[test]
fn the_worked_example_of_the_format_document_is_what_this_build_writes() {
    let env = Env {
        entropy: Arc::new(Counting(0x40)),
        ..mem::env_seeded(1)
    };
    let id = FileId::new(FileKind::Table, 42);
    let store = StoreId(core::array::from_fn(|index| index as u8));
    let (file, context) = create_file(&env, &CountingKey, id, store, SEALED).unwrap();
    let mut block = Vec::new();
    let plain = b"Hello, Coffer!";
    context
        .seal(
            BlockKind::Data,
            0,
            0,
            0,
            &[],
            plain,
            &mut Scratch::new(),
            &mut block,
        )
        .unwrap();
    assert_eq!(block.len(), 168);
    let mut header = [0; HEADER_LEN];
    read_exact_at(&*file, 0, &mut header).unwrap();
    let mut example = String::from("```example\n");
    dump(0, &header, &mut example);
    dump(256, &block, &mut example);
    example.push_str("```\n");
    let document = include_str!("../../../docs/FORMAT.md");
    assert!(
        document.contains(&example),
        "docs/FORMAT.md must say\n{example}"
    );
    assert_eq!(
        context.disk_len(168),
        332,
        "the footer, as the document says"
    );
}

//! Every axis, every flip, every swap.

mod damage;
mod forgery;
mod walks;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::*;
use crate::codec::Reader;
use crate::crypto::{KeySource, MasterKey, NoKeys};
use crate::env::mem;
use crate::error::ErrorKind;
use crate::file::create_file;
use crate::options::{BlockTransform, Cipher, Compression, Ecc};
use crate::types::{FileId, FileKind, StoreId};

pub(crate) struct OneKey;

impl KeySource for OneKey {
    fn epoch(&self) -> u32 {
        1
    }
    fn master(&self, _epoch: u32) -> Result<Arc<MasterKey>> {
        Ok(Arc::new(MasterKey::new([7; 32])))
    }
}

pub(crate) fn keys(cipher: Cipher) -> &'static dyn KeySource {
    match cipher {
        Cipher::None => &NoKeys,
        Cipher::Aes256Gcm => &OneKey,
    }
}

pub(crate) const STORE: StoreId = StoreId([3; 16]);

/// A table file; every call with the same arguments gives the same salt and keys, as a fork would.
fn file_context(number: u64, transform: BlockTransform) -> Arc<FileContext> {
    let id = FileId::new(FileKind::Table, number);
    context_of(id, STORE, 1, transform)
}

fn context_of(
    id: FileId,
    store: StoreId,
    seed: u64,
    transform: BlockTransform,
) -> Arc<FileContext> {
    let env = mem::env_seeded(seed);
    create_file(&env, keys(transform.cipher), id, store, transform)
        .unwrap()
        .1
}

const ECCS: [Ecc; 4] = [Ecc::None, Ecc::SecDed, Ecc::DEFAULT_STORE, Ecc::METADATA];
const CIPHERS: [Cipher; 2] = [Cipher::None, Cipher::Aes256Gcm];

fn transforms() -> Vec<BlockTransform> {
    let mut all = Vec::new();
    for compression in [Compression::None, Compression::Zstd { level: 1 }] {
        for cipher in CIPHERS {
            for ecc in ECCS {
                all.push(BlockTransform {
                    compression,
                    cipher,
                    ecc,
                });
            }
        }
    }
    all
}

const fn plain_transform(cipher: Cipher, ecc: Ecc) -> BlockTransform {
    let compression = Compression::None;
    BlockTransform {
        compression,
        cipher,
        ecc,
    }
}

fn text(len: usize) -> Vec<u8> {
    b"Coffer keeps what you give it. "
        .iter()
        .copied()
        .cycle()
        .take(len)
        .collect()
}

fn seal(context: &FileContext, ordinal: u32, plain: &[u8]) -> (BlockHandle, Vec<u8>) {
    let mut out = Vec::new();
    let mut scratch = Scratch::new();
    let kind = BlockKind::Data;
    let sealed = context
        .seal(kind, ordinal, 0, 0, &[], plain, &mut scratch, &mut out)
        .unwrap();
    assert_eq!(out.len(), sealed.disk_len as usize);
    (sealed.handle(256, plain.len() as u32, ordinal), out)
}

fn open(context: &FileContext, handle: &BlockHandle, disk: &[u8]) -> Result<Block> {
    open_as(context, &Expect::new(BlockKind::Data, handle), disk)
}

fn open_as(context: &FileContext, expect: &Expect<'_>, disk: &[u8]) -> Result<Block> {
    context.open(expect, disk.to_vec(), &mut Scratch::new())
}

#[test]
fn all_axes_round_trip_at_many_lengths() {
    for transform in transforms() {
        let context = file_context(1, transform);
        for len in [0, 1, 63, 64, 65, 100, 1000, 4096, 70_000] {
            let plain = text(len);
            let (handle, disk) = seal(&context, 5, &plain);
            let block = open(&context, &handle, &disk).unwrap();
            assert_eq!(*block, plain, "{transform:?} {len}");
            assert!(!block.opened().healed);
            assert_eq!(block.into_vec(), plain);
            let mut out = b"before".to_vec();
            let expect = Expect::new(BlockKind::Data, &handle);
            let mut disk = disk.clone();
            context
                .open_into(&expect, &mut disk, &mut Scratch::new(), &mut out)
                .unwrap();
            assert_eq!(out, [b"before", &plain[..]].concat());
        }
    }
}

#[test]
fn handles_round_trip_and_hostile_ones_are_refused() {
    let handle = BlockHandle {
        offset: u64::MAX,
        disk_len: u32::MAX,
        raw_len: BLOCK_LEN_MAX as u32,
        ordinal: ORDINAL_MAX,
        codec: Codec::Zstd,
    };
    let mut out = Vec::new();
    handle.encode(&mut out);
    assert!(out.len() <= BlockHandle::ENCODED_LEN_MAX);
    let mut reader = Reader::new(&out);
    assert_eq!(BlockHandle::decode(&mut reader).unwrap(), handle);
    for cut in 0..out.len() {
        assert!(BlockHandle::decode(&mut Reader::new(&out[..cut])).is_err());
    }
    out.pop();
    out.push(9);
    assert!(BlockHandle::decode(&mut Reader::new(&out)).is_err());
    let mut too_long = Vec::new();
    let raw_len = BLOCK_LEN_MAX as u32 + 1;
    BlockHandle { raw_len, ..handle }.encode(&mut too_long);
    assert!(BlockHandle::decode(&mut Reader::new(&too_long)).is_err());
}

#[test]
fn blocks_are_sealed_up_to_their_longest_length_and_not_above() {
    let context = file_context(1, BlockTransform::PLAIN);
    let mut plain = vec![0x61; BLOCK_LEN_MAX];
    let (handle, disk) = seal(&context, 0, &plain);
    assert_eq!(*open(&context, &handle, &disk).unwrap(), plain);
    plain.push(0);
    let (mut scratch, mut out) = (Scratch::new(), Vec::new());
    let result = context.seal(
        BlockKind::Data,
        1,
        0,
        0,
        &[],
        &plain,
        &mut scratch,
        &mut out,
    );
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(out.is_empty());
}

#[test]
fn the_budget_of_a_file_key_ends_in_an_error() {
    let context = file_context(1, plain_transform(Cipher::Aes256Gcm, Ecc::None));
    context
        .seal_count
        .store(context::SEAL_COUNT_MAX - 1, Ordering::Relaxed);
    let (mut scratch, mut out) = (Scratch::new(), Vec::new());
    let mut seal = || context.seal(BlockKind::Data, 0, 0, 0, &[], b"x", &mut scratch, &mut out);
    seal().unwrap();
    assert_eq!(seal().unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(seal().unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn the_ordinal_of_the_footer_is_no_ordinal_of_a_block() {
    let context = file_context(1, BlockTransform::PLAIN);
    let (mut scratch, mut out) = (Scratch::new(), Vec::new());
    let mut seal = |ordinal| {
        context.seal(
            BlockKind::Data,
            ordinal,
            0,
            0,
            &[],
            b"x",
            &mut scratch,
            &mut out,
        )
    };
    seal(ORDINAL_MAX).unwrap();
    assert_eq!(seal(u32::MAX).unwrap_err().kind(), ErrorKind::Invalid);
}

/// Two writers that share everything, as after a fork or in a restored snapshot of a machine.
#[test]
fn forked_writers_never_use_a_nonce_for_two_messages() {
    let transform = plain_transform(Cipher::Aes256Gcm, Ecc::None);
    let writers = [file_context(1, transform), file_context(1, transform)];
    assert_eq!(writers[0].salt(), writers[1].salt());
    let mut seen = BTreeMap::new();
    let mut repeats = 0;
    for ordinal in 0..50 {
        for flags in [0, FLAG_LAST] {
            for kind in [BlockKind::Data, BlockKind::Index] {
                for (writer, context) in writers.iter().enumerate() {
                    // Every third ordinal both writers write the same.
                    let data = if ordinal % 3 == 0 { 0 } else { writer };
                    let plain = [data as u8; 40];
                    let (mut scratch, mut out) = (Scratch::new(), Vec::new());
                    context
                        .seal(kind, ordinal, flags, 0, &[], &plain, &mut scratch, &mut out)
                        .unwrap();
                    let frame = MetadataFrame::decode(out.first_chunk().unwrap()).unwrap();
                    let message = (kind, ordinal, flags, plain);
                    let first = seen.entry(frame.nonce).or_insert(message);
                    assert_eq!(*first, message, "one nonce for two messages");
                    repeats += usize::from(data != writer);
                }
            }
        }
    }
    assert_eq!(seen.len() + repeats, 50 * 2 * 2 * 2);
}

#[test]
fn every_part_of_the_identity_changes_the_keys() {
    let transform = plain_transform(Cipher::Aes256Gcm, Ecc::None);
    let id = FileId::new(FileKind::Table, 1);
    let nonce = |context: &FileContext| {
        let (_, disk) = seal(context, 0, b"the same bytes");
        MetadataFrame::decode(disk.first_chunk().unwrap())
            .unwrap()
            .nonce
    };
    let nonces = [
        nonce(&context_of(id, STORE, 1, transform)),
        nonce(&context_of(
            FileId::new(FileKind::Table, 2),
            STORE,
            1,
            transform,
        )),
        nonce(&context_of(
            FileId::new(FileKind::Wal, 1),
            STORE,
            1,
            transform,
        )),
        nonce(&context_of(id, StoreId([4; 16]), 1, transform)),
        nonce(&context_of(id, STORE, 2, transform)),
        nonce(&context_of(
            id,
            STORE,
            1,
            plain_transform(Cipher::Aes256Gcm, Ecc::SecDed),
        )),
    ];
    for (index, nonce) in nonces.iter().enumerate() {
        assert!(!nonces[..index].contains(nonce), "{index}");
    }
}

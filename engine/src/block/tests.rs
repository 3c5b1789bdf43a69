//! Every axis, every flip, every swap.

use alloc::sync::Arc;

use super::*;
use crate::crypto::{KeySource, MasterKey, NoKeys};
use crate::env::mem;
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

const STORE: StoreId = StoreId([3; 16]);

fn file_context(number: u64, transform: BlockTransform) -> Arc<FileContext> {
    let env = mem::env_seeded(1);
    let id = FileId::new(FileKind::Table, number);
    create_file(&env, keys(transform.cipher), id, STORE, transform)
        .unwrap()
        .1
}

fn transforms() -> Vec<BlockTransform> {
    let mut all = Vec::new();
    for compression in [Compression::None, Compression::Zstd { level: 1 }] {
        for cipher in [Cipher::None, Cipher::Aes256Gcm] {
            for ecc in [Ecc::None, Ecc::SecDed, Ecc::DEFAULT_STORE, Ecc::METADATA] {
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
    let expect = Expect::new(BlockKind::Data, handle);
    context.open(&expect, disk.to_vec(), &mut Scratch::new())
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

//! An attacker who knows everything but the keys: moves, relabels, rewrites all that is public.

use super::*;
use crate::block::verify::Verifier;
use crate::ecc::Protector;

/// Changes a block and makes its public parts match again: frame checksum, checksum, parity.
fn forge(
    context: &FileContext,
    disk: &[u8],
    change: impl FnOnce(&mut MetadataFrame, &mut Vec<u8>),
) -> Vec<u8> {
    let mut frame = MetadataFrame::decode(disk.first_chunk().unwrap()).unwrap();
    let mut body = disk[FRAME_LEN..FRAME_LEN + frame.body_len as usize].to_vec();
    change(&mut frame, &mut body);
    let mut out = [&frame.encode()[..], &body].concat();
    context.verifier().finish(&mut out, 0);
    out
}

fn refused(result: Result<Block>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Authentication);
}

#[test]
fn blocks_swapped_within_a_file_are_refused() {
    for cipher in CIPHERS {
        for ecc in ECCS {
            let context = file_context(1, plain_transform(cipher, ecc));
            let (first, first_disk) = seal(&context, 0, &[1; 100]);
            let (second, second_disk) = seal(&context, 1, &[2; 100]);
            refused(open(&context, &first, &second_disk));
            refused(open(&context, &second, &first_disk));
            let (_, longer) = seal(&context, 2, &[3; 101]);
            refused(open(&context, &first, &longer));
        }
    }
}

#[test]
fn blocks_of_other_files_and_stores_are_refused() {
    let id = FileId::new(FileKind::Table, 1);
    for ecc in ECCS {
        let transform = plain_transform(Cipher::Aes256Gcm, ecc);
        let context = context_of(id, STORE, 1, transform);
        let (handle, _) = seal(&context, 0, &[1; 100]);
        for other in [
            context_of(FileId::new(FileKind::Table, 2), STORE, 1, transform),
            context_of(FileId::new(FileKind::Blob, 1), STORE, 1, transform),
            context_of(id, StoreId([9; 16]), 1, transform),
            context_of(id, STORE, 2, transform),
        ] {
            let (_, disk) = seal(&other, 0, &[1; 100]);
            refused(open(&context, &handle, &disk));
            // The same with a checksum made for its new place.
            refused(open(&context, &handle, &forge(&context, &disk, |_, _| ())));
        }
    }
}

#[test]
fn without_a_cipher_a_block_of_another_file_is_still_found() {
    for ecc in ECCS {
        let transform = plain_transform(Cipher::None, ecc);
        let (handle, _) = seal(&file_context(1, transform), 0, &[1; 100]);
        let (_, disk) = seal(&file_context(2, transform), 0, &[1; 100]);
        let error = open(&file_context(1, transform), &handle, &disk).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
    }
}

#[test]
fn a_block_opens_only_as_what_it_was_sealed_as() {
    for cipher in CIPHERS {
        let context = file_context(1, plain_transform(cipher, Ecc::DEFAULT_STORE));
        let (handle, disk) = seal(&context, 7, &[1; 100]);
        let right = Expect::new(BlockKind::Data, &handle);
        open_as(&context, &right, &disk).unwrap();
        for kind in BlockKind::ALL
            .into_iter()
            .filter(|kind| *kind != BlockKind::Data)
        {
            refused(open_as(&context, &Expect { kind, ..right }, &disk));
        }
        refused(open_as(
            &context,
            &Expect {
                ordinal: 6,
                ..right
            },
            &disk,
        ));
        refused(open_as(
            &context,
            &Expect {
                flags: FLAG_LAST,
                ..right
            },
            &disk,
        ));
        refused(open_as(
            &context,
            &Expect {
                aux: Some(1),
                ..right
            },
            &disk,
        ));
        refused(open_as(
            &context,
            &Expect {
                raw_len: Some(99),
                ..right
            },
            &disk,
        ));
        refused(open_as(
            &context,
            &Expect {
                codec: Codec::Zstd,
                ..right
            },
            &disk,
        ));
    }
    // The chain is no part of the frame: the tag alone knows it.
    let context = file_context(1, plain_transform(Cipher::Aes256Gcm, Ecc::None));
    let (handle, disk) = seal(&context, 7, &[1; 100]);
    let right = Expect::new(BlockKind::Data, &handle);
    refused(open_as(
        &context,
        &Expect {
            chain: &[0; 16],
            ..right
        },
        &disk,
    ));
}

#[test]
fn forged_labels_are_refused_by_the_tag() {
    for ecc in ECCS {
        let context = file_context(1, plain_transform(Cipher::Aes256Gcm, ecc));
        let (handle, disk) = seal(&context, 7, &[1; 100]);
        let right = Expect::new(BlockKind::Data, &handle);
        let open = |expect: Expect<'_>, change: &dyn Fn(&mut MetadataFrame)| {
            let disk = forge(&context, &disk, |frame, _| change(frame));
            refused(open_as(&context, &expect, &disk));
        };
        let kind = BlockKind::Index;
        open(Expect { kind, ..right }, &|frame| {
            frame.kind = BlockKind::Index
        });
        open(
            Expect {
                ordinal: 8,
                ..right
            },
            &|frame| frame.ordinal = 8,
        );
        open(Expect { flags: 1, ..right }, &|frame| frame.flags = 1);
        open(
            Expect {
                aux: Some(3),
                ..right
            },
            &|frame| frame.aux = 3,
        );
        open(Expect { aux: None, ..right }, &|frame| frame.aux = 3);
        open(right, &|frame| frame.nonce[0] ^= 1);
        open(right, &|frame| frame.tag[15] ^= 1);
        open(right, &|frame| frame.epoch = 2);
        open(right, &|frame| frame.cipher = Cipher::None);
    }
}

#[test]
fn forged_bodies_are_refused_whatever_parity_says() {
    for ecc in ECCS {
        let context = file_context(1, plain_transform(Cipher::Aes256Gcm, ecc));
        let (handle, disk) = seal(&context, 0, &text(1000));
        // Everything public is made to match the forged body.
        let forged = forge(&context, &disk, |_, body| body[10] ^= 1);
        refused(open(&context, &handle, &forged));
        // Parity and checksum of the forged body beside damaged bytes: the repair yields what the
        // attacker chose, and the tag refuses it.
        if ecc != Ecc::None {
            let mut lure = forged.clone();
            lure[FRAME_LEN + 500] ^= 1;
            assert!(open(&context, &handle, &lure).is_err());
            let mut mixed = disk.clone();
            mixed[FRAME_LEN + 1000..].copy_from_slice(&forged[FRAME_LEN + 1000..]);
            assert!(open(&context, &handle, &mixed).is_err() || ecc == Ecc::SecDed);
        }
    }
}

#[test]
fn decompression_stops_at_the_sealed_length() {
    let transform = BlockTransform {
        compression: Compression::Zstd { level: 1 },
        cipher: Cipher::Aes256Gcm,
        ecc: Ecc::None,
    };
    let context = file_context(1, transform);
    let mut scratch = Scratch::new();
    let bomb = scratch
        .compress(transform.compression, &vec![0; 4 << 20])
        .unwrap()
        .to_vec();
    for raw_len in [bomb.len() as u32 + 1, 1000, (4 << 20) - 1, (4 << 20) + 1] {
        let handle = BlockHandle {
            offset: 0,
            disk_len: 0,
            raw_len,
            ordinal: 0,
            codec: Codec::Zstd,
        };
        let expect = Expect::new(BlockKind::Data, &handle);
        let mut disk = Vec::new();
        context.seal_body(&expect, &bomb, &mut disk).unwrap();
        let error = open_as(&context, &expect, &disk).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        let mut out = b"before".to_vec();
        context
            .open_into(&expect, &mut disk.clone(), &mut scratch, &mut out)
            .unwrap_err();
        assert_eq!(out, b"before");
    }
}

/// A file that fails the test where somebody reads with a buffer longer than the file.
struct Watched(Vec<u8>);

impl File for Watched {
    fn len(&self) -> Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        assert!(buf.len() <= 128 << 10, "a buffer of {} bytes", buf.len());
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
    fn append(&self, _bytes: &[u8]) -> Result<()> {
        unreachable!()
    }
    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> Result<()> {
        unreachable!()
    }
    fn sync(&self) -> Result<()> {
        unreachable!()
    }
    fn truncate(&self, _len: u64) -> Result<()> {
        unreachable!()
    }
}

#[test]
fn hostile_lengths_do_not_allocate() {
    let context = file_context(1, plain_transform(Cipher::Aes256Gcm, Ecc::None));
    let (handle, disk) = seal(&context, 0, &[1; 100]);
    let expect = Expect::new(BlockKind::Data, &handle);
    for disk_len in [handle.disk_len + 1, 1 << 30, u32::MAX] {
        let hostile = BlockHandle { disk_len, ..handle };
        let file = Watched(disk.clone());
        let error = read_block(&file, &context, &hostile, &expect, &mut Scratch::new());
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Corruption);
    }
    // A frame whose checksum matches and which claims far more than there is.
    let huge = BLOCK_LEN_MAX as u32;
    let forged = forge(&context, &disk, |frame, _| {
        frame.raw_len = huge;
        frame.body_len = huge;
    });
    refused(open(&context, &handle, &forged));
    let identity = FileIdentity {
        id: context.id(),
        store_id: STORE,
        salt: *context.salt(),
    };
    let file = Watched(forged);
    let mut walk = walk::Walk::new(&file, &identity, Ecc::None, 0).unwrap();
    let found = walk.next().unwrap().unwrap();
    assert_eq!(found.finding, walk::Finding::Lost);
    assert!(walk.next().unwrap().is_none());
}

#[test]
fn frames_that_contradict_themselves_are_refused() {
    let context = file_context(1, BlockTransform::PLAIN);
    let (_, disk) = seal(&context, 0, &[1; 100]);
    for (codec, raw_len) in [
        (Codec::None, 101),
        (Codec::Zstd, 100),
        (Codec::Zstd, 17 << 20),
    ] {
        let forged = forge(&context, &disk, |frame, _| {
            frame.codec = codec;
            frame.raw_len = raw_len;
        });
        let error = MetadataFrame::decode(forged.first_chunk().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn the_checksum_knows_its_file() {
    let mix = |context: &FileContext| context.verifier().mix;
    let base = mix(&file_context(1, BlockTransform::PLAIN));
    assert_ne!(base, mix(&file_context(2, BlockTransform::PLAIN)));
    let verifier = |mix| Verifier {
        protector: Protector::new(Ecc::None),
        mix,
    };
    assert_ne!(verifier(1).checksum(b"x"), verifier(2).checksum(b"x"));
}

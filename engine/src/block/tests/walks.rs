//! Walks without a key over whole, damaged and hostile files.

use super::*;
use crate::block::walk::{Finding, Found};
use crate::env::{Env, OpenMode};
use crate::file::{DATA_OFFSET, open_file, read_header, walk};

const ID: FileId = FileId::new(FileKind::Table, 1);

/// A file of five blocks: its bytes and the offset of each.
fn file_of_five(env: &Env, transform: BlockTransform) -> (Vec<u8>, Vec<u64>) {
    let (file, context) = create_file(env, keys(transform.cipher), ID, STORE, transform).unwrap();
    let mut offsets = Vec::new();
    for ordinal in 0..5 {
        offsets.push(file.len().unwrap());
        let (_, disk) = seal(&context, ordinal, &text(100 + 30 * ordinal as usize));
        file.append(&disk).unwrap();
    }
    offsets.push(file.len().unwrap());
    let mut bytes = vec![0; file.len().unwrap() as usize];
    read_exact_at(&*file, 0, &mut bytes).unwrap();
    env.fs.remove(ID).unwrap();
    (bytes, offsets)
}

fn findings(bytes: &[u8]) -> Vec<Found> {
    let fs = mem::MemFs::new();
    fs.set_contents(ID, bytes.to_vec());
    let file = mem::env_over(fs, 1).fs.open(ID, OpenMode::Read).unwrap();
    let header = read_header(&*file).unwrap();
    let mut walk = walk(&*file, &header).unwrap();
    let mut all = Vec::new();
    let mut at = DATA_OFFSET;
    while let Some(found) = walk.next().unwrap() {
        assert_eq!(found.offset, at, "every byte belongs to one finding");
        assert!(found.disk_len > 0);
        at += found.disk_len;
        all.push(found);
    }
    assert_eq!(at, bytes.len() as u64);
    all
}

#[test]
fn whole_files_are_whole_and_tags_match_those_of_sealing() {
    for transform in transforms() {
        let (bytes, offsets) = file_of_five(&mem::env_seeded(1), transform);
        let found = findings(&bytes);
        assert_eq!(found.len(), 5);
        for (index, found) in found.iter().enumerate() {
            assert_eq!(found.offset, offsets[index]);
            assert_eq!(found.finding, Finding::Whole);
            assert_eq!(found.frame.unwrap().ordinal, index as u32);
        }
    }
}

#[test]
fn every_flipped_bit_is_found_and_what_heals_is_the_old_bytes() {
    for transform in [
        plain_transform(Cipher::Aes256Gcm, Ecc::None),
        plain_transform(Cipher::Aes256Gcm, Ecc::SecDed),
        plain_transform(Cipher::None, Ecc::DEFAULT_STORE),
        plain_transform(Cipher::Aes256Gcm, Ecc::METADATA),
    ] {
        let (whole, offsets) = file_of_five(&mem::env_seeded(1), transform);
        let (start, end) = (offsets[1] as usize, offsets[2] as usize);
        for bit in start * 8..end * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found = findings(&bytes);
            assert_eq!(found.len(), 5, "bit {bit}");
            for (index, found) in found.iter().enumerate().filter(|(index, _)| *index != 1) {
                assert_eq!(found.finding, Finding::Whole, "bit {bit} block {index}");
            }
            match &found[1].finding {
                Finding::Healed(healed) => assert_eq!(*healed, whole[start..end]),
                Finding::Lost => assert_eq!(transform.ecc, Ecc::None),
                Finding::Whole => panic!("bit {bit} of {transform:?} was not found"),
            }
        }
    }
}

#[test]
fn a_destroyed_frame_is_bridged_and_healed_by_parity() {
    for (ecc, heals) in [
        (Ecc::None, false),
        (Ecc::SecDed, false),
        (Ecc::METADATA, true),
    ] {
        let transform = plain_transform(Cipher::Aes256Gcm, ecc);
        let (whole, offsets) = file_of_five(&mem::env_seeded(1), transform);
        for block in 0..5 {
            let (start, end) = (offsets[block] as usize, offsets[block + 1] as usize);
            let mut bytes = whole.clone();
            bytes[start..start + FRAME_LEN].fill(0);
            let found = findings(&bytes);
            assert_eq!(found.len(), 5, "{ecc:?} {block}");
            if heals {
                assert_eq!(
                    found[block].finding,
                    Finding::Healed(whole[start..end].to_vec())
                );
            } else {
                assert_eq!(found[block].finding, Finding::Lost);
            }
        }
    }
}

#[test]
fn several_lost_blocks_are_one_stretch() {
    let transform = plain_transform(Cipher::Aes256Gcm, Ecc::DEFAULT_STORE);
    let (mut bytes, offsets) = file_of_five(&mem::env_seeded(1), transform);
    bytes[offsets[1] as usize..offsets[3] as usize].fill(0xff);
    let found = findings(&bytes);
    assert_eq!(found.len(), 4);
    assert_eq!(found[1].finding, Finding::Lost);
    assert_eq!(found[1].disk_len, offsets[3] - offsets[1]);
}

#[test]
fn a_cut_file_ends_in_a_lost_stretch() {
    let transform = plain_transform(Cipher::Aes256Gcm, Ecc::None);
    let (bytes, offsets) = file_of_five(&mem::env_seeded(1), transform);
    for cut in offsets[4] + 1..offsets[5] {
        let found = findings(&bytes[..cut as usize]);
        assert_eq!(found.len(), 5);
        assert_eq!(found[4].finding, Finding::Lost);
    }
}

/// A store without encryption may hold the bytes of another store: they are no blocks of this one.
#[test]
fn blocks_inside_of_a_body_are_not_taken_for_blocks() {
    let (inner, _) = file_of_five(&mem::env_seeded(9), BlockTransform::PLAIN);
    let env = mem::env_seeded(1);
    let (file, context) =
        create_file(&env, keys(Cipher::None), ID, STORE, BlockTransform::PLAIN).unwrap();
    let (_, disk) = seal(&context, 0, &inner);
    file.append(&disk).unwrap();
    let (_, last) = seal(&context, 1, &text(50));
    file.append(&last).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    read_exact_at(&*file, 0, &mut bytes).unwrap();
    let start = DATA_OFFSET as usize;
    bytes[start..start + FRAME_LEN].fill(0);
    let found = findings(&bytes);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].disk_len, disk.len() as u64);
}

#[test]
fn forged_frames_do_not_make_the_walk_endless() {
    let env = mem::env_seeded(1);
    let (file, context) =
        create_file(&env, keys(Cipher::None), ID, STORE, BlockTransform::PLAIN).unwrap();
    let (_, disk) = seal(&context, 0, &text(300_000));
    let mut frame = MetadataFrame::decode(disk.first_chunk().unwrap()).unwrap();
    frame.ordinal = 1;
    file.append(&[0; 1]).unwrap();
    for _ in 0..20_000 {
        file.append(&frame.encode()).unwrap();
    }
    let header = read_header(&*file).unwrap();
    let mut walk = walk(&*file, &header).unwrap();
    let mut result = walk.next();
    while let Ok(Some(_)) = result {
        result = walk.next();
    }
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Corruption);
}

#[test]
fn reading_a_damaged_block_tells_the_listener_and_names_the_place() {
    use crate::env::{Event, Listener};
    use crate::sync::Mutex;

    #[derive(Default)]
    struct Heard(Mutex<Vec<Event>>);
    impl Listener for Heard {
        fn event(&self, event: &Event) {
            self.0.lock().push(event.clone());
        }
    }

    let transform = plain_transform(Cipher::Aes256Gcm, Ecc::DEFAULT_STORE);
    let (mut bytes, offsets) = file_of_five(&mem::env_seeded(1), transform);
    let (start, second) = (offsets[0] as usize, offsets[1] as usize);
    bytes[start + 70] ^= 4;
    bytes[second..second + 120].fill(0);
    let fs = mem::MemFs::new();
    fs.set_contents(ID, bytes);
    let heard = Arc::new(Heard::default());
    let mut env = mem::env_over(fs, 1);
    env.listener = heard.clone();
    let (file, context) =
        open_file(&env, keys(transform.cipher), ID, STORE, OpenMode::Read).unwrap();
    let read = |block: usize| {
        let handle = BlockHandle {
            offset: offsets[block],
            disk_len: (offsets[block + 1] - offsets[block]) as u32,
            raw_len: 100 + 30 * block as u32,
            ordinal: block as u32,
            codec: Codec::None,
        };
        let expect = Expect::new(BlockKind::Data, &handle);
        read_block(&*file, &context, &handle, &expect, &mut Scratch::new())
    };
    assert_eq!(*read(0).unwrap(), text(100));
    assert_eq!(
        *heard.0.lock(),
        [Event::Healed {
            file: ID,
            offset: DATA_OFFSET
        }]
    );
    let error = read(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert_eq!(error.place().file, Some(ID));
    assert_eq!(error.place().offset, Some(offsets[1]));
    assert_eq!(error.place().part, Some("data block"));
    read(2).unwrap();
}

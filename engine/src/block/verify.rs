//! Checksum and parity of a block on disk: is it whole, can it be healed? Needs no key.
//!
//! - The low half of the checksum is mixed with the identity of the file, the high half is not: a
//!   whole block of another file is told apart from a damaged one.

use alloc::vec::Vec;

use crate::block::CHECKSUM_LEN;
use crate::block::frame::{FRAME_LEN, FrameFault, MetadataFrame};
use crate::checksum::xxh3_128;
use crate::crypto::Tag;
use crate::ecc::{Protector, Repair};
use crate::options::Cipher;

/// What a look at the bytes of a block found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Everything matches.
    Whole(MetadataFrame),
    /// The frame is whole and says that the block has another length.
    OtherLength(MetadataFrame),
    /// The frame is whole; body or checksum are not.
    BadBody(MetadataFrame),
    /// Written whole, for another file.
    OtherFile(MetadataFrame),
    /// The frame is damaged.
    BadFrame,
    /// The frame is whole and of an unknown kind.
    Unknown,
}

/// The tag of a whole block; its checksum where it has no cipher.
pub(super) fn tag_of(frame: &MetadataFrame, disk: &[u8]) -> Tag {
    let behind = disk.get(FRAME_LEN + frame.body_len as usize..);
    match (frame.cipher, behind.and_then(<[u8]>::first_chunk)) {
        (Cipher::None, Some(checksum)) => *checksum,
        _ => frame.tag,
    }
}

/// Verifies and heals the blocks of one file.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) protector: Protector,
    /// Digest of the identity of the file.
    pub(super) mix: u64,
}

impl Verifier {
    /// Bytes on disk of a block whose body has `body_len` bytes.
    pub(super) const fn disk_len(&self, body_len: usize) -> usize {
        let covered = FRAME_LEN + body_len + CHECKSUM_LEN;
        covered + self.protector.ecc().parity_len(covered)
    }

    /// The checksum of frame and body, which are `covered`.
    pub(super) fn checksum(&self, covered: &[u8]) -> [u8; CHECKSUM_LEN] {
        let (low, high) = xxh3_128(covered);
        let mut bytes = [0; CHECKSUM_LEN];
        bytes[..8].copy_from_slice(&(low ^ self.mix).to_le_bytes());
        bytes[8..].copy_from_slice(&high.to_le_bytes());
        bytes
    }

    /// Appends checksum and parity to `out`, where the block starts at `start`.
    pub(super) fn finish(&self, out: &mut Vec<u8>, start: usize) {
        let checksum = self.checksum(&out[start..]);
        out.extend_from_slice(&checksum);
        let covered_len = out.len() - start;
        let parity_len = self.protector.ecc().parity_len(covered_len);
        if parity_len > 0 {
            out.resize(start + covered_len + parity_len, 0);
            let (data, parity) = out[start..].split_at_mut(covered_len);
            self.protector.protect(data, parity);
        }
    }

    /// Looks at all bytes of a block.
    pub(super) fn look(&self, disk: &[u8]) -> State {
        let Some(frame) = disk.first_chunk::<FRAME_LEN>() else {
            return State::BadFrame;
        };
        let frame = match MetadataFrame::parse(frame) {
            Ok(frame) => frame,
            Err(FrameFault::Damaged) => return State::BadFrame,
            Err(FrameFault::Unknown) => return State::Unknown,
        };
        let body_len = frame.body_len as usize;
        if disk.len() != self.disk_len(body_len) {
            return State::OtherLength(frame);
        }
        let (covered, rest) = disk.split_at(FRAME_LEN + body_len);
        let expected = self.checksum(covered);
        let (expected_low, expected_high) = expected.split_at(CHECKSUM_LEN / 2);
        match rest.get(..CHECKSUM_LEN) {
            Some(checksum) if checksum == expected => State::Whole(frame),
            Some(checksum) if checksum.ends_with(expected_high) => {
                debug_assert!(!checksum.starts_with(expected_low));
                State::OtherFile(frame)
            }
            _ => State::BadBody(frame),
        }
    }

    /// Heals what can be healed without a key: first by parity, then a single bit of the frame.
    pub(super) fn heal(&self, disk: &mut [u8]) -> State {
        if let Some(covered_len) = self.protector.ecc().data_len(disk.len()) {
            let (data, parity) = disk.split_at_mut(covered_len);
            if self.protector.repair(data, parity) == Repair::Changed {
                let state = self.look(disk);
                if matches!(state, State::Whole(_)) {
                    return state;
                }
            }
        }
        if let Some(frame) = disk.first_chunk_mut::<FRAME_LEN>()
            && MetadataFrame::parse(frame) == Err(FrameFault::Damaged)
        {
            MetadataFrame::heal_one_bit(frame);
        }
        self.look(disk)
    }
}

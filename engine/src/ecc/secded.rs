//! SEC-DED: the (72, 64) code of Hsiao. One check byte for each 8 data bytes.
//!
//! - Any single flipped bit of the 72 is corrected, any two are detected.
//! - The column of a data bit has odd weight (3 or 5) and that of a check bit weight 1: the syndrome
//!   of one error is its column, the syndrome of two has even weight.

use crate::ecc::Repair;

const WORD_LEN: usize = 8;

/// The columns of the 64 data bits: all 56 bytes of weight 3, then the 8 rotations of `0b11111`.
const COLUMNS: [u8; 64] = columns();

const fn columns() -> [u8; 64] {
    let mut columns = [0; 64];
    let mut filled = 0;
    let mut byte = 0u8;
    while filled < 56 {
        if byte.count_ones() == 3 {
            columns[filled] = byte;
            filled += 1;
        }
        byte += 1;
    }
    while filled < 64 {
        columns[filled] = 0b1_1111u8.rotate_left(filled as u32 - 56);
        filled += 1;
    }
    columns
}

/// Check bits of each value of each byte of a word.
const TABLES: [[u8; 256]; WORD_LEN] = tables();

const fn tables() -> [[u8; 256]; WORD_LEN] {
    let mut tables = [[0; 256]; WORD_LEN];
    let mut position = 0;
    while position < WORD_LEN {
        let mut value = 0;
        while value < 256 {
            let mut bit = 0;
            while bit < 8 {
                if value >> bit & 1 == 1 {
                    tables[position][value] ^= COLUMNS[position * 8 + bit];
                }
                bit += 1;
            }
            value += 1;
        }
        position += 1;
    }
    tables
}

/// Which data bit has this column? `NO_BIT` for none.
const BIT_OF: [u8; 256] = bit_of();
const NO_BIT: u8 = u8::MAX;

const fn bit_of() -> [u8; 256] {
    let mut bits = [NO_BIT; 256];
    let mut bit = 0;
    while bit < COLUMNS.len() {
        bits[COLUMNS[bit] as usize] = bit as u8;
        bit += 1;
    }
    bits
}

/// Check bits of up to 8 bytes; missing ones count as zero.
fn check(word: &[u8]) -> u8 {
    let bytes = word.iter().zip(&TABLES);
    bytes.fold(0, |check, (byte, table)| check ^ table[usize::from(*byte)])
}

pub(super) fn protect(data: &[u8], parity: &mut [u8]) {
    for (word, check_byte) in data.chunks(WORD_LEN).zip(parity) {
        *check_byte = check(word);
    }
}

pub(super) fn repair(data: &mut [u8], parity: &[u8]) -> Repair {
    let mut repair = Repair::Whole;
    for (word, check_byte) in data.chunks_mut(WORD_LEN).zip(parity) {
        let syndrome = check(word) ^ check_byte;
        if syndrome.count_ones() < 2 {
            // No error, or one in the check byte itself.
            continue;
        }
        let bit = usize::from(BIT_OF[usize::from(syndrome)]);
        match word.get_mut(bit / 8) {
            Some(byte) => {
                *byte ^= 1 << (bit % 8);
                if repair == Repair::Whole {
                    repair = Repair::Changed;
                }
            }
            // The other words still heal: a tag may prove that only the checksum was in this one.
            None => repair = Repair::Lost,
        }
    }
    repair
}

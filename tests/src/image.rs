//! A store as a hex editor sees it: the bytes of all files, and where their blocks lie.
//!
//! - Written from docs/FORMAT.md alone, not with the code of the engine: a second opinion.
//! - Nothing here has a key.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 4] = b"CoBk";
const FRAME_LEN: usize = 64;

/// All files of a store directory by name, without the lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image(pub BTreeMap<String, Vec<u8>>);

/// One sealed block in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockView {
    /// Name of the file.
    pub file: String,
    /// Its bytes, with checksum and parity.
    pub range: Range<usize>,
    /// Role, as its frame says.
    pub kind: u8,
    /// Bytes of the body.
    pub body_len: usize,
    /// Number in the file, as its frame says.
    pub ordinal: u32,
    /// The nonce.
    pub nonce: [u8; 12],
    /// The tag.
    pub tag: [u8; 16],
}

impl Image {
    /// Reads a store directory.
    #[must_use]
    pub fn read(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name != "LOCK" {
                files.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
        Self(files)
    }

    /// Makes `folder` hold exactly these files.
    pub fn write(&self, folder: &Path) {
        if folder.exists() {
            std::fs::remove_dir_all(folder).unwrap();
        }
        std::fs::create_dir(folder).unwrap();
        for (name, bytes) in &self.0 {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }

    /// Names of the files with this ending; `""` for those without one.
    pub fn names(&self, ending: &str) -> Vec<String> {
        let of = |name: &String| name.split_once('.').map_or("", |(_, end)| end) == ending;
        self.0.keys().filter(|name| of(name)).cloned().collect()
    }

    /// All blocks of all files, in order.
    #[must_use]
    pub fn blocks(&self) -> Vec<BlockView> {
        self.0
            .iter()
            .flat_map(|(name, bytes)| blocks(name, bytes))
            .collect()
    }

    /// The bytes of a block.
    #[must_use]
    pub fn bytes(&self, block: &BlockView) -> &[u8] {
        &self.0[&block.file][block.range.clone()]
    }

    /// Puts `bytes` in the place of a block; what stands behind moves if the lengths differ.
    pub fn put(&mut self, block: &BlockView, bytes: &[u8]) {
        let file = self.0.get_mut(&block.file).unwrap();
        file.splice(block.range.clone(), bytes.iter().copied());
    }
}

fn blocks(name: &str, bytes: &[u8]) -> Vec<BlockView> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some(frame) = bytes.get(at..at + FRAME_LEN) {
        let sum = frame[56..64].try_into().unwrap();
        if &frame[..4] == MAGIC && xxh3_64(&frame[..56]) == u64::from_le_bytes(sum) {
            starts.push(at);
            at += FRAME_LEN;
        } else {
            at += 1;
        }
    }
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| BlockView {
            file: name.to_owned(),
            range: *start..end,
            kind: bytes[start + 4],
            body_len: number(start + 20) as usize,
            ordinal: number(start + 24),
            nonce: bytes[start + 28..start + 40].try_into().unwrap(),
            tag: bytes[start + 40..start + 56].try_into().unwrap(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(kind: u8, ordinal: u32, body: &[u8]) -> Vec<u8> {
        let mut out = vec![0; FRAME_LEN];
        out[..4].copy_from_slice(MAGIC);
        out[4] = kind;
        out[20..24].copy_from_slice(&(body.len() as u32).to_le_bytes());
        out[24..28].copy_from_slice(&ordinal.to_le_bytes());
        let sum = xxh3_64(&out[..56]);
        out[56..64].copy_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn blocks_are_found_and_replaced() {
        let (a, b) = (block(1, 0, b"CoBk no frame"), block(2, 1, b"b"));
        let file = [b"header".as_slice(), &a, &b].concat();
        let mut image = Image([("000001.table".to_owned(), file)].into());
        let found = image.blocks();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].range, 6..6 + a.len());
        assert_eq!(
            (found[1].kind, found[1].ordinal, found[1].body_len),
            (2, 1, 1)
        );
        image.put(&found[0], &b);
        assert_eq!(image.0["000001.table"].len(), 6 + 2 * b.len());
        assert_eq!(image.names("table"), ["000001.table"]);
    }
}

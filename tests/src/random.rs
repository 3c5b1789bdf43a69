//! Everything random in the tests: one small generator, and makers of names and contents.
//!
//! - The same seed gives the same sequence, on every machine and in every version.

/// A splitmix64 generator: small, fast, and good enough to choose test cases.
#[derive(Clone, Debug)]
pub struct Rng(u64);

/// Words of the texts made here.
const WORDS: [&str; 24] = [
    "coffer", "block", "level", "table", "record", "the", "of", "and", "seal", "open", "frame",
    "value", "key", "tree", "store", "a", "to", "in", "is", "flush", "merge", "read", "write",
    "\n",
];

impl Rng {
    /// A generator for this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 where `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next_u64() % (end.max(1) as u64)) as usize
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `items`, which must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Fills `buf`.
    pub fn fill(&mut self, buf: &mut [u8]) {
        for part in buf.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            part.copy_from_slice(&bytes[..part.len()]);
        }
    }

    /// Incompressible bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        self.fill(&mut out);
        out
    }

    /// Compressible bytes.
    pub fn text(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend_from_slice(self.pick(&WORDS).as_bytes());
            out.push(b' ');
        }
        out.truncate(len);
        out
    }

    /// A value of a kind and length that real stores see: often small, sometimes large, text or
    /// noise; `len_max` bytes at most.
    pub fn value(&mut self, len_max: usize) -> Vec<u8> {
        let len = match self.below(10) {
            0 => 0,
            1..=5 => self.below(len_max.min(200) + 1),
            6..=8 => self.below(len_max.min(5_000) + 1),
            _ => self.below(len_max + 1),
        };
        if self.chance(60) {
            self.text(len)
        } else {
            self.bytes(len)
        }
    }

    /// A file name: mostly plain, sometimes of the longest length, with spaces or not UTF-8.
    pub fn name(&mut self) -> Vec<u8> {
        let number = self.below(40);
        match self.below(20) {
            0 => vec![b'n'; 255],
            1 => format!("with space {number}").into_bytes(),
            2 => vec![0xff, 0xfe, b'a' + (number % 26) as u8],
            3 => format!(".hidden-{number}").into_bytes(),
            _ => format!("file-{number}").into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_sequence() {
        let (mut a, mut b) = (Rng::new(7), Rng::new(7));
        assert_eq!(a.bytes(1000), b.bytes(1000));
        assert_eq!(a.value(5000), b.value(5000));
        assert_ne!(Rng::new(7).next_u64(), Rng::new(8).next_u64());
    }

    #[test]
    fn lengths_and_bounds_hold() {
        let mut rng = Rng::new(1);
        for _ in 0..1000 {
            assert!(rng.below(3) < 3);
            assert!(rng.value(9_000).len() <= 9_000);
            assert!((1..=255).contains(&rng.name().len()));
        }
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.text(77).len(), 77);
    }
}

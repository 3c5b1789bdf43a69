//! Walking keys in order.
//!
//! - Keys and lengths come without touching a blob file; values only when asked for.
//! - A scan sees the store as it was when it began, and keeps what it may still read.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;
use core::sync::atomic::{AtomicBool, Ordering};

use coffer_engine::{Cursor, KeyKind, Result, Snapshot};

use crate::pins::Pin;
use crate::pointer::{self, BlobPointer};
use crate::tree::ahead::Ahead;
use crate::tree::read::missing_file;
use crate::tree::{BlobTree, Core, SharedValue, TreeSnapshot};

/// Walks the keys of one prefix.
pub struct Scan {
    cursor: Cursor,
    shared: Arc<Shared>,
    ahead: Ahead,
}

/// What a scan and the values that it met share.
struct Shared {
    /// Keeps the files of the values.
    _pin: Pin,
    /// A value was fetched from its file since the last key.
    fetched: AtomicBool,
}

/// A value where it lies, before anything of it is copied.
#[derive(Clone, Copy)]
pub struct ValueView<'a> {
    kind: KeyKind,
    bytes: &'a [u8],
    fetched: &'a AtomicBool,
}

/// The value of a key met by a scan.
pub struct ValueRef {
    kind: KeyKind,
    bytes: Vec<u8>,
    shared: Arc<Shared>,
}

impl Core {
    /// `pin` was taken before `at`, or before now.
    fn scan(
        self: &Arc<Self>,
        prefix: &[u8],
        from: &[u8],
        at: Option<&Snapshot>,
        pin: Pin,
    ) -> Result<Scan> {
        let first = Bound::Included(from.max(prefix));
        let end = end_of(prefix);
        let bound = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let cursor = self.db.range((first, bound), at)?;
        let shared = Shared {
            _pin: pin,
            fetched: AtomicBool::new(false),
        };
        Ok(Scan {
            cursor,
            shared: Arc::new(shared),
            ahead: Ahead::new(self, end),
        })
    }
}

/// The first key behind all keys that start with `prefix`.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < 0xff)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

impl BlobTree {
    /// All entries whose key starts with `prefix`, from `from` on (empty: from the first).
    ///
    /// # Errors
    /// `Corruption` and `Authentication` naming file and offset; those of the medium.
    pub fn scan(&self, prefix: &[u8], from: &[u8]) -> Result<Scan> {
        self.core.settle();
        let pin = self.core.pins.take();
        self.core.scan(prefix, from, None, pin)
    }
}

impl TreeSnapshot {
    /// As [`BlobTree::scan`], at the snapshot.
    ///
    /// # Errors
    /// As [`BlobTree::scan`].
    pub fn scan(&self, prefix: &[u8], from: &[u8]) -> Result<Scan> {
        let core = self.core();
        core.scan(prefix, from, Some(self.at()), core.pins.take())
    }
}

impl Scan {
    /// The next key and its value.
    ///
    /// # Errors
    /// As [`BlobTree::scan`].
    #[expect(clippy::should_implement_trait, reason = "it can fail")]
    pub fn next(&mut self) -> Result<Option<(Vec<u8>, ValueRef)>> {
        let Some(entry) = self.cursor.next()? else {
            return Ok(None);
        };
        self.ahead.passed(&entry.key, &self.shared.fetched);
        let value = ValueRef {
            kind: entry.kind,
            bytes: entry.value,
            shared: Arc::clone(&self.shared),
        };
        Ok(Some((entry.key, value)))
    }

    /// As [`Scan::next`]: `show` sees key and value where they lie, and nothing is copied but what it
    /// asks for.
    ///
    /// # Errors
    /// As [`BlobTree::scan`].
    pub fn next_with<R>(
        &mut self,
        show: impl FnOnce(&[u8], ValueView<'_>) -> R,
    ) -> Result<Option<R>> {
        let (ahead, fetched) = (&mut self.ahead, &self.shared.fetched);
        self.cursor.next_with(|key, kind, bytes, _| {
            ahead.passed(key, fetched);
            let value = ValueView {
                kind,
                bytes,
                fetched,
            };
            show(key, value)
        })
    }
}

impl<'a> ValueView<'a> {
    /// Bytes of the value, without reading it.
    ///
    /// # Errors
    /// `Corruption` where the tree holds no pointer in its place.
    pub fn value_len(&self) -> Result<u64> {
        match self.kind {
            KeyKind::Indirect => pointer::raw_len_of(self.bytes),
            _ => Ok(self.bytes.len() as u64),
        }
    }

    /// The value, where it lies in the tree itself.
    #[must_use]
    pub fn inline(&self) -> Option<&'a [u8]> {
        (self.kind != KeyKind::Indirect).then_some(self.bytes)
    }

    /// The value.
    ///
    /// # Errors
    /// `Corruption` and `Authentication` naming file and offset; those of the medium.
    pub fn bytes(&self, tree: &BlobTree) -> Result<Vec<u8>> {
        if let Some(value) = self.inline() {
            return Ok(value.to_vec());
        }
        Ok(self.fetch(tree)?.to_vec())
    }

    /// The value, shared with the cache instead of copied out of it.
    ///
    /// # Errors
    /// As [`ValueView::bytes`].
    pub fn shared(&self, tree: &BlobTree) -> Result<SharedValue> {
        match self.inline() {
            Some(value) => Ok(SharedValue::inline(value.to_vec())),
            None => self.fetch(tree),
        }
    }

    fn fetch(&self, tree: &BlobTree) -> Result<SharedValue> {
        let pointer = BlobPointer::decode(self.bytes)?;
        if let Some(cached) = tree.core.cached(&pointer) {
            return Ok(cached);
        }
        self.fetched.store(true, Ordering::Relaxed);
        let file = pointer.file;
        let blob = tree.core.follow(pointer)?;
        let blob = blob.ok_or_else(|| missing_file(file))?;
        blob.blocks().map(SharedValue::of)
    }
}

impl ValueRef {
    /// Bytes of the value, without reading it.
    ///
    /// # Errors
    /// `Corruption` where the tree holds no pointer in its place.
    pub fn value_len(&self) -> Result<u64> {
        self.view().value_len()
    }

    /// The value, where it lies in the tree itself: no file is read.
    #[must_use]
    pub fn inline(&self) -> Option<&[u8]> {
        self.view().inline()
    }

    fn view(&self) -> ValueView<'_> {
        ValueView {
            kind: self.kind,
            bytes: &self.bytes,
            fetched: &self.shared.fetched,
        }
    }

    /// The value.
    ///
    /// # Errors
    /// `Corruption` and `Authentication` naming file and offset; those of the medium.
    pub fn bytes(&self, tree: &BlobTree) -> Result<Vec<u8>> {
        self.view().bytes(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_key_of_its_length() {
        assert_eq!(end_of(b""), None);
        assert_eq!(end_of(b"a").as_deref(), Some(b"b".as_slice()));
        assert_eq!(end_of(b"a\xff\xff").as_deref(), Some(b"b".as_slice()));
        assert_eq!(end_of(b"\xff"), None);
        assert_eq!(end_of(b"\x01\xfe").as_deref(), Some(b"\x01\xff".as_slice()));
    }
}

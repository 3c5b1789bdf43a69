//! The memtable: the newest entries, sorted, in memory.
//!
//! - Entries are only added. One writer at a time adds a whole batch under one lock.
//! - Each entry is one allocation: key and value side by side. The front of its key stands in the tree
//!   itself, so that a search seldom has to look elsewhere in memory.
//! - A cursor copies a few entries at a time, so that no lock is held between two calls.
//! - Where the store asks for digests every entry has one.
//! - Range tombstones stand beside the entries, as fragments; who has none does not look.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::ops::Bound;

use crate::batch::BatchRef;
use crate::entry::{EntryCursor, EntryRef, Value, compare, pack, unpack};
use crate::error::Result;
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering as Memory};
use crate::tombstone::{Fragment, FragmentMap, FragmentSource, Window};
use crate::types::{KeyKind, SEQNO_MAX, SeqNo};

/// What an entry costs beyond its bytes: the node, its share of the tree, the allocation.
const NODE_LEN: usize = 80;

/// The first 16 bytes of a key, zeros behind a shorter one: they order as keys do, but for equal ones.
type Head = [u64; 2];

fn head_of(key: &[u8]) -> Head {
    let mut bytes = [0; 16];
    let len = key.len().min(16);
    bytes[..len].copy_from_slice(&key[..len]);
    let whole = u128::from_be_bytes(bytes);
    [(whole >> 64) as u64, whole as u64]
}

/// One entry: key and value side by side.
struct Node {
    head: Head,
    data: Box<[u8]>,
    trailer: u64,
    key_len: u32,
    digest: u32,
}

impl Node {
    fn key(&self) -> &[u8] {
        &self.data[..self.key_len as usize]
    }

    fn entry(&self, with_digests: bool) -> EntryRef<'_> {
        let (key, value) = self.data.split_at(self.key_len as usize);
        let (seqno, kind) = unpack(self.trailer).unwrap_or((0, KeyKind::Delete));
        EntryRef {
            key,
            seqno,
            kind,
            value,
            digest: with_digests.then_some(self.digest),
        }
    }
}

/// A place in the order: of a node, or one to look for.
trait Place {
    fn head(&self) -> Head;
    fn place(&self) -> (&[u8], SeqNo);
}

impl Place for Node {
    fn head(&self) -> Head {
        self.head
    }

    fn place(&self) -> (&[u8], SeqNo) {
        (self.key(), self.trailer >> 8)
    }
}

/// A place to look for.
struct Wanted<'a> {
    head: Head,
    place: (&'a [u8], SeqNo),
}

impl<'a> Wanted<'a> {
    fn at(place: (&'a [u8], SeqNo)) -> Self {
        let head = head_of(place.0);
        Self { head, place }
    }
}

impl Place for Wanted<'_> {
    fn head(&self) -> Head {
        self.head
    }

    fn place(&self) -> (&[u8], SeqNo) {
        self.place
    }
}

fn order(a: &(impl Place + ?Sized), b: &(impl Place + ?Sized)) -> Ordering {
    let heads = a.head().cmp(&b.head());
    heads.then_with(|| compare(a.place(), b.place()))
}

impl<'a> Borrow<dyn Place + 'a> for Node {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for dyn Place + '_ {}
impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        order(self, other)
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Node {}
impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Node {
    fn cmp(&self, other: &Self) -> Ordering {
        order(self, other)
    }
}

/// The newest entries, sorted.
pub(crate) struct Memtable {
    nodes: RwLock<BTreeSet<Node>>,
    with_digests: bool,
    byte_len: AtomicUsize,
    count: AtomicUsize,
    has_pointers: AtomicBool,
    ranges: RwLock<FragmentMap>,
    has_ranges: AtomicBool,
}

impl Memtable {
    pub(crate) fn new(with_digests: bool) -> Self {
        Self {
            nodes: RwLock::new(BTreeSet::new()),
            with_digests,
            byte_len: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            has_pointers: AtomicBool::new(false),
            ranges: RwLock::default(),
            has_ranges: AtomicBool::new(false),
        }
    }

    /// Adds all entries of a batch; returns how many they were.
    #[cfg(test)]
    pub(crate) fn insert(&self, batch: &BatchRef<'_>) -> Result<u32> {
        self.insert_behind(batch, batch.first - 1)
    }

    /// Adds all entries of a batch, or of a part of one; returns how many they were. Nobody reads at
    /// a number behind `seen` before the whole batch is there.
    pub(crate) fn insert_behind(&self, batch: &BatchRef<'_>, seen: SeqNo) -> Result<u32> {
        let mut added_len = 0;
        let mut added_count = 0;
        let mut has_pointers = false;
        let mut nodes = self.nodes.write();
        for entry in batch.entries() {
            let entry = entry?;
            added_count += 1;
            if entry.kind == KeyKind::DeleteRange {
                // Readers who see it come later.
                self.has_ranges.store(true, Memory::Relaxed);
                let mut ranges = self.ranges.write();
                added_len += ranges.insert(&entry, seen, self.with_digests)?;
                continue;
            }
            let mut data = Vec::with_capacity(entry.key.len() + entry.value.len());
            data.extend_from_slice(entry.key);
            data.extend_from_slice(entry.value);
            added_len += data.len() + NODE_LEN;
            has_pointers |= entry.kind == KeyKind::Indirect;
            let digest = match entry.digest {
                Some(digest) => digest,
                None if self.with_digests => entry.expected_digest(),
                None => 0,
            };
            nodes.insert(Node {
                head: head_of(entry.key),
                data: data.into_boxed_slice(),
                trailer: pack(entry.seqno, entry.kind),
                key_len: entry.key.len() as u32,
                digest,
            });
        }
        drop(nodes);
        self.byte_len.fetch_add(added_len, Memory::Relaxed);
        self.count.fetch_add(added_count, Memory::Relaxed);
        if has_pointers {
            self.has_pointers.store(true, Memory::Relaxed);
        }
        Ok(added_count as u32)
    }

    /// The newest entry of `key` at or before `seqno`; a tombstone is an entry too, also one that
    /// covers a range.
    pub(crate) fn find(&self, key: &[u8], seqno: SeqNo) -> Result<Option<Value>> {
        // What a reader may see was counted before its number was given out.
        if self.is_empty() {
            return Ok(None);
        }
        let found = self.find_entry(key, seqno)?;
        if !self.has_ranges() {
            return Ok(found);
        }
        let covering = self.ranges.read().covering(key, seqno)?;
        Ok(Value::unless_covered(found, covering))
    }

    fn find_entry(&self, key: &[u8], seqno: SeqNo) -> Result<Option<Value>> {
        let nodes = self.nodes.read();
        let from: &dyn Place = &Wanted::at((key, seqno));
        let found = nodes
            .range::<dyn Place, _>((Bound::Included(from), Bound::Unbounded))
            .next();
        let Some(entry) = found.map(|node| node.entry(self.with_digests)) else {
            return Ok(None);
        };
        if entry.key != key {
            return Ok(None);
        }
        entry.verify()?;
        Ok(Some(Value {
            kind: entry.kind,
            bytes: entry.value.to_vec(),
            seqno: entry.seqno,
        }))
    }

    /// Memory in use, about.
    pub(crate) fn byte_len(&self) -> usize {
        self.byte_len.load(Memory::Relaxed)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Memory::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Is any entry a pointer?
    pub(crate) fn has_pointers(&self) -> bool {
        self.has_pointers.load(Memory::Relaxed)
    }

    /// Are there range tombstones?
    pub(crate) fn has_ranges(&self) -> bool {
        self.has_ranges.load(Memory::Relaxed)
    }

    /// Would so many more range tombstones, in one batch, take many times their own room?
    pub(crate) fn is_strained_by(&self, range_count: usize, len_max: usize) -> bool {
        range_count > 1 && self.ranges.read().cost_of(range_count) > len_max
    }

    /// The stretch around `key` that is covered as `key` is, for a reader at `seqno`.
    pub(crate) fn window(&self, key: &[u8], seqno: SeqNo) -> Result<Window> {
        self.ranges.read().window(key, seqno)
    }

    /// Its range tombstones.
    pub(crate) fn fragments(self: &Arc<Self>) -> impl FragmentSource + use<> {
        MemtableFragments {
            memtable: Arc::clone(self),
            last: None,
        }
    }

    /// What a flipped bit in memory does: the first entry has another value from now on.
    #[cfg(test)]
    pub(crate) fn flip_a_bit(&self) {
        let mut nodes = self.nodes.write();
        let mut node = nodes.pop_first().unwrap();
        *node.data.last_mut().unwrap() ^= 1;
        nodes.insert(node);
    }

    /// A cursor over all entries.
    pub(crate) fn cursor(self: &Arc<Self>) -> MemtableCursor {
        MemtableCursor {
            memtable: Arc::clone(self),
            data: Vec::new(),
            entries: Vec::new(),
            index: 0,
            batch_len: FIRST_BATCH_LEN,
        }
    }
}

/// Walks the range tombstones of a memtable that takes no more.
struct MemtableFragments {
    memtable: Arc<Memtable>,
    /// Where the fragment given last begins.
    last: Option<Vec<u8>>,
}

impl FragmentSource for MemtableFragments {
    fn next(&mut self) -> Result<Option<Fragment>> {
        let next = self.memtable.ranges.read();
        let next = next.next(self.last.as_deref()).cloned();
        if let Some(next) = &next {
            self.last = Some(next.start.clone());
        }
        Ok(next)
    }
}

/// Entries copied at first, and at most, for one hold of the lock.
const FIRST_BATCH_LEN: usize = 4;
const BATCH_LEN_MAX: usize = 128;

/// A copied entry: where it lies in the cursor's `data`.
struct Copied {
    start: usize,
    end: usize,
    key_len: u32,
    digest: u32,
    trailer: u64,
}

/// Walks a memtable; what is added behind its back may or may not appear.
pub(crate) struct MemtableCursor {
    memtable: Arc<Memtable>,
    data: Vec<u8>,
    entries: Vec<Copied>,
    index: usize,
    batch_len: usize,
}

impl MemtableCursor {
    fn refill(&mut self, from: Bound<(&[u8], SeqNo)>, back: bool) {
        self.data.clear();
        self.entries.clear();
        let memtable = Arc::clone(&self.memtable);
        let nodes = memtable.nodes.read();
        let (included, excluded);
        let bound: Bound<&dyn Place> = match from {
            Bound::Included(place) => {
                included = Wanted::at(place);
                Bound::Included(&included)
            }
            Bound::Excluded(place) => {
                excluded = Wanted::at(place);
                Bound::Excluded(&excluded)
            }
            Bound::Unbounded => Bound::Unbounded,
        };
        if back {
            let range = nodes.range::<dyn Place, _>((Bound::Unbounded, bound));
            range
                .rev()
                .take(self.batch_len)
                .for_each(|node| self.copy(node));
            self.entries.reverse();
            self.index = self.entries.len().wrapping_sub(1);
        } else {
            let range = nodes.range::<dyn Place, _>((bound, Bound::Unbounded));
            range.take(self.batch_len).for_each(|node| self.copy(node));
            self.index = 0;
        }
    }

    fn copy(&mut self, node: &Node) {
        let start = self.data.len();
        self.data.extend_from_slice(&node.data);
        self.entries.push(Copied {
            start,
            end: self.data.len(),
            key_len: node.key_len,
            digest: node.digest,
            trailer: node.trailer,
        });
    }

    /// Continues behind the entry under the cursor, which is copied out because `refill` reuses
    /// the memory that it lies in.
    fn refill_from_current(&mut self, back: bool) {
        self.batch_len = (self.batch_len * 2).min(BATCH_LEN_MAX);
        if let Some((key, seqno)) = self
            .current()
            .map(|entry| (entry.key.to_vec(), entry.seqno))
        {
            self.refill(Bound::Excluded((&key, seqno)), back);
        }
    }
}

impl EntryCursor for MemtableCursor {
    fn current(&self) -> Option<EntryRef<'_>> {
        let copied = self.entries.get(self.index)?;
        let (key, value) = self
            .data
            .get(copied.start..copied.end)?
            .split_at_checked(copied.key_len as usize)?;
        let (seqno, kind) = unpack(copied.trailer)?;
        let digest = self.memtable.with_digests.then_some(copied.digest);
        Some(EntryRef {
            key,
            seqno,
            kind,
            value,
            digest,
        })
    }

    fn seek(&mut self, key: &[u8], seqno: SeqNo) -> Result<()> {
        self.batch_len = FIRST_BATCH_LEN;
        self.refill(Bound::Included((key, seqno)), false);
        Ok(())
    }

    fn seek_back(&mut self, key: &[u8], seqno: SeqNo) -> Result<()> {
        self.batch_len = FIRST_BATCH_LEN;
        self.refill(Bound::Included((key, seqno)), true);
        Ok(())
    }

    fn seek_first(&mut self) -> Result<()> {
        self.seek(&[], SEQNO_MAX)
    }

    fn seek_last(&mut self) -> Result<()> {
        self.batch_len = FIRST_BATCH_LEN;
        self.refill(Bound::Unbounded, true);
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        if self.index + 1 < self.entries.len() {
            self.index += 1;
        } else {
            self.refill_from_current(false);
        }
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        if self.index > 0 {
            self.index -= 1;
        } else {
            self.refill_from_current(true);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::WriteBatch;
    use alloc::format;

    fn filled(count: u64) -> Arc<Memtable> {
        let memtable = Arc::new(Memtable::new(true));
        for i in 0..count {
            let mut batch = WriteBatch::new();
            batch.put(format!("{:04}", i * 7 % count).as_bytes(), &i.to_le_bytes());
            memtable.insert(&batch.as_ref(i + 1)).unwrap();
        }
        memtable
    }

    #[test]
    fn cursor_walks_all_entries_both_ways() {
        let memtable = filled(1000);
        let mut cursor = memtable.cursor();
        let mut seen = Vec::new();
        cursor.seek_first().unwrap();
        while let Some(entry) = cursor.current() {
            entry.verify().unwrap();
            seen.push(entry.key.to_vec());
            cursor.next().unwrap();
        }
        assert_eq!(seen.len(), 1000);
        assert!(seen.is_sorted());
        cursor.seek_last().unwrap();
        while let Some(entry) = cursor.current() {
            assert_eq!(Some(entry.key.to_vec()), seen.pop());
            cursor.prev().unwrap();
        }
        assert!(seen.is_empty());
    }

    #[test]
    fn cursor_turns_around_anywhere() {
        let memtable = filled(300);
        let mut cursor = memtable.cursor();
        for start in 0..299_u32 {
            let key = format!("{start:04}");
            cursor.seek(key.as_bytes(), SEQNO_MAX).unwrap();
            cursor.next().unwrap();
            cursor.prev().unwrap();
            assert_eq!(cursor.current().unwrap().key, key.as_bytes());
            cursor.seek_back(key.as_bytes(), 0).unwrap();
            assert_eq!(cursor.current().unwrap().key, key.as_bytes());
        }
    }

    #[test]
    fn find_sees_the_newest_at_or_before() {
        let memtable = Memtable::new(false);
        for seqno in [2, 4, 6] {
            let mut batch = WriteBatch::new();
            batch.put(b"key", &[seqno as u8]);
            memtable.insert(&batch.as_ref(seqno)).unwrap();
        }
        let at = |seqno| {
            memtable
                .find(b"key", seqno)
                .unwrap()
                .map(|value| value.bytes[0])
        };
        assert_eq!(
            [at(1), at(2), at(3), at(5), at(9)],
            [None, Some(2), Some(2), Some(4), Some(6)]
        );
        assert_eq!(memtable.find(b"kex", 9).unwrap(), None);
        assert_eq!(memtable.find(b"key0", 9).unwrap(), None);
    }

    #[test]
    fn a_flipped_value_is_found() {
        let memtable = filled(1);
        memtable.flip_a_bit();
        assert!(memtable.find(b"0000", 9).is_err());
    }
}

//! Every attack that docs/THREAT_MODEL.md calls defeated, performed on the files of a real store.
//!
//! - The attacker has a hex editor, old copies and other stores, and no key.
//! - The reader gets the right bytes or a named error: never wrong bytes, never an older answer,
//!   never a silent miss. [`Victim::judge`] decides; it fails the test otherwise.

mod blocks;
mod files;
mod keys;
mod names;

use crate::stores::{self, Contents};
use coffer_blobstore::{BlobBatch, BlobTree, Error, ErrorKind};
use coffer_engine::Ecc;
use coffer_tests::image::Image;
use coffer_tests::random::Rng;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A store with a past.
pub(crate) struct Victim {
    home: tempfile::TempDir,
    /// Its files as they should be.
    pub(crate) image: Image,
    /// Its files after its first session.
    pub(crate) old_image: Image,
    /// What it holds.
    pub(crate) contents: Contents,
    /// What a reader may find: `contents`, and where the last session had no end, what the store
    /// held after each of its batches.
    states: Vec<Contents>,
    /// Every key that it ever held.
    keys: BTreeSet<Vec<u8>>,
}

/// How a reader fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The store opened.
    pub(crate) opened: bool,
    /// Keys that were answered rightly.
    pub(crate) right: usize,
    /// Keys that were answered with a named error.
    pub(crate) refused: usize,
}

impl Verdict {
    /// Was anything at all refused?
    pub(crate) fn noticed(self) -> bool {
        !self.opened || self.refused > 0
    }
}

impl Victim {
    /// A store with two sessions: values replaced, keys deleted, several tables, logs, blob files;
    /// closed in order.
    pub(crate) fn new(seed: u64, ecc: Ecc) -> Self {
        Self::with_end(seed, ecc, true)
    }

    /// As [`Victim::new`], but the last session ended like a power cut: its last writes stand in a
    /// log whose end nobody recorded, and what cuts that tail off cannot be told from the power cut
    /// (row 8). A reader finds a state of that session, not a mixture.
    pub(crate) fn unclean(seed: u64, ecc: Ecc) -> Self {
        Self::with_end(seed, ecc, false)
    }

    fn with_end(seed: u64, ecc: Ecc, is_closed: bool) -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("store");
        std::fs::create_dir(&folder).unwrap();
        let options = stores::store_options(stores::transform(ecc));
        let tree = BlobTree::create(stores::os(&folder), &stores::credential(), options).unwrap();
        let (mut contents, mut rng) = (Contents::new(), Rng::new(seed));
        let all: Vec<usize> = (0..60).collect();
        stores::fill(&tree, &mut contents, &mut rng, &all);
        tree.close().unwrap();
        drop(tree);
        let old_image = Image::read(&folder);
        let keys = contents.keys().cloned().collect();
        let mut states = vec![contents.clone()];
        let tree = stores::open(stores::os(&folder)).unwrap();
        states.extend(stores::fill(&tree, &mut contents, &mut rng, &all[..40]));
        let mut batch = BlobBatch::new();
        for key in &all[30..35] {
            let key = format!("key-{key:04}").into_bytes();
            batch.delete(&key);
            contents.remove(&key);
        }
        tree.write(batch, true).unwrap();
        if is_closed {
            tree.close().unwrap();
            states.clear();
        }
        states.push(contents.clone());
        drop(tree);
        Self {
            image: Image::read(&folder),
            home,
            old_image,
            contents,
            states,
            keys,
        }
    }

    /// The directory that attacks happen in.
    pub(crate) fn folder(&self) -> PathBuf {
        self.home.path().join("store")
    }

    /// What a reader of this image gets.
    pub(crate) fn judge(&self, image: &Image, what: &str) -> Verdict {
        image.write(&self.folder());
        self.judge_folder(what)
    }

    /// What a reader of the directory as it is gets.
    pub(crate) fn judge_folder(&self, what: &str) -> Verdict {
        let mut verdict = Verdict::default();
        let tree = match stores::open(stores::os(&self.folder())) {
            Ok(tree) => tree,
            Err(error) => {
                named(&error, what);
                return verdict;
            }
        };
        verdict.opened = true;
        let mut states: Vec<&Contents> = self.states.iter().collect();
        for key in &self.keys {
            let name = String::from_utf8_lossy(key).into_owned();
            match tree.get(key) {
                Ok(found) => {
                    let expected = self.contents.get(key).map(Vec::len);
                    states.retain(|state| state.get(key) == found.as_ref());
                    assert!(
                        !states.is_empty(),
                        "{what}: {name} answers {:?} bytes, not {expected:?}",
                        found.map(|value| value.len()),
                    );
                    verdict.right += 1;
                }
                Err(error) => {
                    named(&error, what);
                    verdict.refused += 1;
                }
            }
        }
        match stores::dump(&tree) {
            Ok(found) => assert!(states.contains(&&found), "{what}: the listing differs"),
            Err(error) => named(&error, what),
        }
        verdict
    }

    /// One attack on a copy of the image.
    pub(crate) fn attack(&self, what: &str, change: impl FnOnce(&mut Image)) -> Verdict {
        let mut image = self.image.clone();
        change(&mut image);
        self.judge(&image, what)
    }
}

/// The error says that the store is damaged or not the expected one.
pub(crate) fn named(error: &Error, what: &str) {
    let kinds = [
        ErrorKind::Corruption,
        ErrorKind::Authentication,
        ErrorKind::Unsupported,
        ErrorKind::KeyMissing,
    ];
    assert!(
        kinds.contains(&error.kind()),
        "{what}: an unfitting error: {error:?}"
    );
    assert!(!error.message().is_empty());
}

#[test]
fn the_victim_is_worth_attacking() {
    for victim in [Victim::new(1, Ecc::None), Victim::unclean(1, Ecc::None)] {
        for ending in ["table", "blob", "manifest"] {
            assert!(!victim.image.names(ending).is_empty(), "no .{ending} file");
        }
        assert!(victim.image.blocks().len() > 60);
        let verdict = victim.judge(&victim.image, "nothing");
        assert!(verdict.opened && verdict.refused == 0, "{verdict:?}");
        assert_eq!(verdict.right, 60);
    }
    assert!(
        !Victim::unclean(1, Ecc::None).image.names("wal").is_empty(),
        "no log"
    );
}

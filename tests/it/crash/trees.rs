//! Power cuts under a blob tree: values inline and in blob files.

use super::{Change, Level, cut_everywhere, seed};
use crate::stores::{self, Contents};
use coffer_blobstore::{BlobBatch, BlobTree, Error, Result};
use coffer_engine::Ecc;
use coffer_engine::env::Env;
use coffer_tests::random::Rng;

struct Tree;

impl Level for Tree {
    type Store = BlobTree;

    fn open(env: Env) -> Result<BlobTree> {
        if BlobTree::exists(&env)? {
            return stores::open(env);
        }
        let options = stores::store_options(stores::transform(Ecc::None));
        BlobTree::create(env, &stores::credential(), options)
    }

    fn write(tree: &BlobTree, changes: &[Change], sync: bool) -> Result<()> {
        let mut batch = BlobBatch::new();
        for (index, (key, value)) in changes.iter().enumerate() {
            match value {
                Some(value) if index % 2 == 0 => batch.put_staged(key, tree.stage(value)?),
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        tree.write(batch, sync)
    }

    fn sync(tree: &BlobTree) -> Result<()> {
        tree.sync()
    }

    fn maintain(tree: &BlobTree, which: usize) -> Result<()> {
        match which % 3 {
            0 => tree.compact(&mut |_| ()),
            _ => tree.maintain().map(drop),
        }
    }

    fn close(tree: BlobTree) -> Result<(), Error> {
        tree.close()
    }

    fn dump(tree: &BlobTree) -> Result<Contents> {
        stores::dump(tree)
    }

    fn value(rng: &mut Rng) -> Vec<u8> {
        stores::value(rng)
    }
}

#[test]
fn every_cut_leaves_a_prefix_of_history_of_the_tree() {
    for workload in 0..2 {
        cut_everywhere::<Tree>(seed() * 100 + workload, 45);
    }
}

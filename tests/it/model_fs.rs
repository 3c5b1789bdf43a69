//! Random operations on the file system and on its model: the same answers, the same tree.
//!
//! - `COFFER_CASES` sets how many sequences are played, `COFFER_OPS` how long each is.

use coffer_blobstore::BlobTree;
use coffer_fusefs::MountOptions;
use coffer_tests::play_fs::{Op, Player, op};
use proptest::prelude::*;
use std::sync::Arc;

fn number(name: &str, default: usize) -> usize {
    let set = std::env::var(name).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Caches and buffers so small that everything moves.
fn cramped(worker_count: usize) -> MountOptions {
    MountOptions {
        worker_count,
        dirty_len_max: 300_000,
        dirty_age_ms_max: 2_000,
        chunk_cache_len: 300_000,
        inode_cache_count: 4,
        ..MountOptions::default()
    }
}

fn play(ops: &[Op], options: MountOptions) {
    let tree = Arc::new(BlobTree::in_memory().unwrap());
    Player::new(tree, options, Box::new(|tree| tree)).play(ops);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: number("COFFER_CASES", 24) as u32,
        max_shrink_iters: 4000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_file_system_answers_as_its_model(
        ops in proptest::collection::vec(op(), 1..number("COFFER_OPS", 300)),
        small: bool,
        workers in 0..3_usize,
    ) {
        let options = match small {
            true => cramped(workers),
            false => MountOptions { worker_count: workers, ..MountOptions::default() },
        };
        play(&ops, options);
    }
}

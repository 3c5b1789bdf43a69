//! The house rules hold for this repository.

use coffer_tests::tidy::{Tree, complaints};
use std::path::Path;

#[test]
fn the_tree_keeps_the_house_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let tree = Tree::read(root).unwrap();
    assert!(tree.files.contains_key("docs/ARCHITECTURE.md"));
    let complaints = complaints(&tree);
    assert!(
        complaints.is_empty(),
        "{} complaints:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}

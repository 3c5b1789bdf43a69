#!/usr/bin/env bash
# Builds and tests a small crate inside the mount, twice: the second build must find nothing to do.
source "$(dirname "$0")/lib.sh"
cd "$MNT"
timeout 60 cargo new --quiet --vcs none --lib small
cd small
cat >src/lib.rs <<'RUST'
pub fn twice(text: &str) -> String { text.repeat(2) }
#[test]
fn works() { assert_eq!(twice("ab"), "abab"); }
RUST
export CARGO_TARGET_DIR=$MNT/small/target
say "build and test"
timeout 300 cargo build --quiet --offline
timeout 300 cargo test --quiet --offline
cd /
unmount
mount
cd "$MNT/small"
say "build again after a remount"
timeout 300 cargo build --offline 2>&1 | tee "$WORK/log"
if grep -q Compiling "$WORK/log"; then
    echo "FAILED: times were not kept, cargo compiled again"
    exit 1
fi
cd /
unmount
say "ok"

#!/usr/bin/env bash
# The engine's unit tests around its unsafe code and its threads under the address sanitizer, which
# also finds leaks.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=$(rustc -vV | sed -n 's/^host: //p')
case $target in
    x86_64-unknown-linux-gnu | aarch64-unknown-linux-gnu) ;;
    *)
        echo "SKIPPED: no sanitizers on $target"
        exit 77
        ;;
esac
# Sanitizers are part of every compiler, and locked in the stable one.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=1
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/sanitizers/address
timeout 3600 cargo test --locked --target "$target" -p coffer-engine --lib -- \
    compress:: crypto:: block:: cache:: table:: db::tests::threads

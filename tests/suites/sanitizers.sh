#!/usr/bin/env bash
# The engine's unit tests around its unsafe code and its threads under the address sanitizer, which
# also finds leaks, and under the thread sanitizer. There locks are the spinning ones: those of the
# standard library are not built for it.
# Usage: sanitizers.sh [address] [thread]   default: both
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD
target=$(rustc -vV | sed -n 's/^host: //p')
case $target in
    x86_64-unknown-linux-gnu | aarch64-unknown-linux-gnu) ;;
    *)
        echo "SKIPPED: no sanitizers on $target"
        exit 77
        ;;
esac
# Sanitizers are part of every compiler, and locked in the stable one.
export RUSTC_BOOTSTRAP=1 ASAN_OPTIONS=detect_leaks=1
export TSAN_OPTIONS="suppressions=$here/tests/suites/sanitizers-thread.txt"
targets=${CARGO_TARGET_DIR:-target}/sanitizers

run() {
    CARGO_TARGET_DIR=$targets/$1 RUSTFLAGS="-Zsanitizer=$1 $2" timeout 3600 cargo test --locked \
        --target "$target" -p coffer-engine --lib -- \
        compress:: crypto:: block:: cache:: table:: db::tests::threads --test-threads=1
}

for kind in "${@:-address thread}"; do
    for one in $kind; do
        case $one in
            address) run address "" ;;
            thread) run thread "-Cunsafe-allow-abi-mismatch=sanitizer --cfg coffer_spin" ;;
            *)
                echo "usage: sanitizers.sh [address] [thread]" >&2
                exit 2
                ;;
        esac
    done
done

# Shared by the suites: a scratch directory, a mounted store, and an end that leaves nothing behind.
# Source this file. Sets WORK, STORE, MNT, COFFER. Set COFFER_WORK to choose the disk, COFFER to use
# a binary that is built already; OPTIONS, before sourcing, are those of every mount.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ -z "${COFFER:-}" ]; then
    cargo build --release --quiet --manifest-path "$ROOT/Cargo.toml" -p coffer
    COFFER=${CARGO_TARGET_DIR:-$ROOT/target}/release/coffer
fi
WORK=$(mktemp -d "${COFFER_WORK:-/tmp}/coffer-suite.XXXXXX")
STORE=$WORK/store
MNT=$WORK/mnt
echo "a passphrase for the suites" >"$WORK/passphrase"

unmount() { timeout 120 "$COFFER" umount "$MNT"; }
mount() {
    timeout 60 "$COFFER" mount --daemon --quiet --passphrase-file "$WORK/passphrase" \
        ${OPTIONS:+-o "$OPTIONS"} "$@" "$STORE" "$MNT"
}
finish() {
    if mountpoint -q "$MNT"; then timeout 60 "$COFFER" umount "$MNT" || umount -l "$MNT" || fusermount3 -uz "$MNT"; fi
    rm -rf "$WORK"
}
trap finish EXIT
# A suite that cannot run here says why and ends with 77.
skip() {
    echo "SKIPPED: $*"
    exit 77
}
fail() {
    echo "FAILED: $*"
    exit 1
}
# Programs that a suite cannot do without. Those of cargo may lie outside the path.
needs() {
    PATH=$PATH:${COFFER_TOOLS:-$HOME/.cargo/bin}
    for program in "$@"; do
        command -v "$program" >/dev/null || skip "$program is not installed"
    done
}
needs_root() { [ "$(id -u)" = 0 ] || skip "needs root"; }
say() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }
mount --create --kdf-memory 8MiB --kdf-passes 1 --kdf-lanes 1

# Shared by the suites: a scratch directory, a mounted store, and an end that leaves nothing behind.
# Source this file. Sets WORK, STORE, MNT, COFFER. Set COFFER_WORK to choose the disk, COFFER to use
# a binary that is built already.
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
mount() { timeout 60 "$COFFER" mount --daemon --passphrase-file "$WORK/passphrase" "$@" "$STORE" "$MNT"; }
finish() {
    if mountpoint -q "$MNT"; then timeout 60 "$COFFER" umount "$MNT" || umount -l "$MNT" || fusermount3 -uz "$MNT"; fi
    rm -rf "$WORK"
}
trap finish EXIT
say() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }
mount --create

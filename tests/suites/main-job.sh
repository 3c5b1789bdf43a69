#!/usr/bin/env bash
# The main job on real input: at least 10,000 files and 300 MB through a mount and back.
# Usage: main-job.sh [TREE ...]   default: /usr/include, /usr/share, the cargo registry
source "$(dirname "$0")/lib.sh"
TREES=("$@")
if [ "${#TREES[@]}" = 0 ]; then
    for tree in /usr/include /usr/share "$HOME/.cargo/registry/src"; do
        if [ -d "$tree" ]; then TREES+=("$tree"); fi
    done
fi
say "copy ${TREES[*]}"
for tree in "${TREES[@]}"; do
    mkdir -p "$MNT$tree"
    timeout 1800 rsync -aHAX "$tree/" "$MNT$tree/"
done
say "unmount, mount again"
unmount
mount
say "compare every byte and attribute"
for tree in "${TREES[@]}"; do
    timeout 1800 rsync -anc -HAX --delete --itemize-changes "$tree/" "$MNT$tree/" >"$WORK/differences"
    if [ -s "$WORK/differences" ]; then
        head -20 "$WORK/differences"
        echo "FAILED: $tree differs"
        exit 1
    fi
done
files=$(find "$MNT" -type f | wc -l)
plain=$(du -s --apparent-size -m "$MNT" | cut -f1)
stored=$(du -s -m "$STORE" | cut -f1)
[ "$files" -ge 10000 ] && [ "$plain" -ge 300 ] || { echo "FAILED: only $files files, $plain MiB"; exit 1; }
say "scrub without the key"
unmount
timeout 600 "$COFFER" scrub "$STORE"
say "ok: $files files, $plain MiB, $stored MiB in the store, no difference"

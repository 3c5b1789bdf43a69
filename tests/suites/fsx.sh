#!/usr/bin/env bash
# fsx in full mode: reads, writes, mappings, truncations, holes, allocations, copies, sendfile.
# Usage: fsx.sh [SEEDS] [OPERATIONS] [FIRST SEED]   default: 3 seeds of 10,000 operations from 1
# Install: cargo install fsx@0.3.2
source "$(dirname "$0")/lib.sh"
needs fsx
cat >"$WORK/fsx.toml" <<'TOML'
flen = 3000000
[opsize]
max = 262144
[weights]
close_open = 1
read = 10
write = 10
mapread = 10
mapwrite = 10
invalidate = 1
truncate = 2
fsync = 1
fdatasync = 1
posix_fallocate = 3
punch_hole = 5
sendfile = 2
posix_fadvise = 1
copy_file_range = 5
TOML
first=${3:-1}
for seed in $(seq "$first" $((first + ${1:-3} - 1))); do
    say "seed $seed"
    timeout 3600 fsx -q -f "$WORK/fsx.toml" -N "${2:-10000}" -S "$seed" -P "$WORK" "$MNT/fsx-$seed" \
        || fail "seed $seed"
    cp "$MNT/fsx-$seed" "$WORK/before"
    unmount
    mount
    cmp "$MNT/fsx-$seed" "$WORK/before" || fail "seed $seed: other bytes after a remount"
    rm "$MNT/fsx-$seed"
done
unmount
say "ok"

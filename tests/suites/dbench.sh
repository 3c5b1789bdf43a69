#!/usr/bin/env bash
# dbench: the calls of a file server under load. Usage: dbench.sh [SECONDS] [CLIENTS]
source "$(dirname "$0")/lib.sh"
needs dbench
for flags in "" "-s" "-F"; do
    say "dbench ${flags:-plain}"
    # shellcheck disable=SC2086 # no flags is no argument
    # The clients wait for each other with a semaphore of System V.
    timeout 600 dbench $flags -D "$MNT" -t "${1:-10}" "${2:-4}" >"$WORK/log" 2>&1 \
        || { grep -q 'barrier semaphore' "$WORK/log" && skip "no semaphores of System V here"; } \
        || fail "dbench $flags: $(tail -3 "$WORK/log")"
    if grep -i 'failed\|error' "$WORK/log"; then fail "dbench $flags"; fi
    tail -1 "$WORK/log"
done
unmount
say "ok"

#!/usr/bin/env bash
# The stressors of stress-ng that use files, one after the other, each verifying what it does.
# Usage: stress-ng.sh [SECONDS PER STRESSOR] [STRESSOR ...]   default: 3 seconds, all of the class
OPTIONS=allow_other,suid,dev
source "$(dirname "$0")/lib.sh"
needs stress-ng
seconds=${1:-3}
shift || true
if [ "$#" = 0 ]; then
    mapfile -t all < <(stress-ng --class 'filesystem?' 2>&1 | sed 's/^class .*: //' | tr ' ' '\n' | grep .)
    set -- "${all[@]}"
fi
mkdir "$MNT/jobs"
cd "$MNT/jobs"
failed=()
for stressor in "$@"; do
    code=0
    timeout -k 10 $((seconds * 10 + 60)) stress-ng "--$stressor" 2 --timeout "${seconds}s" --verify \
        --temp-path "$MNT/jobs" >"$WORK/log" 2>&1 || code=$?
    case $code in
        0) echo "$stressor: ok" ;;
        3 | 4) echo "$stressor: not implemented here" ;;
        *)
            if grep -q 'No stress workers invoked' "$WORK/log"; then
                echo "$stressor: stress-ng does not run it unasked"
                continue
            fi
            echo "$stressor: FAILED with $code"
            tail -5 "$WORK/log"
            failed+=("$stressor")
            ;;
    esac
    rm -rf "$MNT"/jobs/*
done
[ -z "$(ls -A "$MNT/jobs")" ] || fail "something cannot be removed: $(ls -A "$MNT/jobs" | head -3)"
cd /
[ "${#failed[@]}" = 0 ] || fail "${failed[*]}"
unmount
say "ok"

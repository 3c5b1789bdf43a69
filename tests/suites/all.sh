#!/usr/bin/env bash
# Runs all suites, or those that are named, and sums up. Logs go to COFFER_LOGS, or to a new
# directory. Suites that cannot run here are told, and are no failure.
# Usage: all.sh [SUITE ...]   for example: all.sh fsx overlayfs
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
logs=${COFFER_LOGS:-$(mktemp -d /tmp/coffer-suites.XXXXXX)}
mkdir -p "$logs"
if [ "$#" = 0 ]; then
    set -- pjdfstest fsx attributes fio-verify dbench stress-ng sqlite postgres git-hardlinks overlayfs \
        main-job cargo-build-inside kill-cycles schedules sanitizers
fi
if [ -z "${COFFER:-}" ]; then
    cargo build --release --quiet --manifest-path "$here/../../Cargo.toml" -p coffer || exit 1
    export COFFER=${CARGO_TARGET_DIR:-$here/../../target}/release/coffer
fi
failures=0
for suite in "$@"; do
    start=$SECONDS
    code=0
    "$here/$suite.sh" >"$logs/$suite.log" 2>&1 || code=$?
    case $code in
        0) result=ok ;;
        77) result=$(grep -m1 '^SKIPPED' "$logs/$suite.log") ;;
        *)
            result="FAILED ($code): $(grep -m1 '^FAILED' "$logs/$suite.log" || tail -1 "$logs/$suite.log")"
            failures=$((failures + 1))
            ;;
    esac
    printf '%-20s %4ss  %s\n' "$suite" $((SECONDS - start)) "$result"
done
echo "logs: $logs"
exit $((failures > 0))

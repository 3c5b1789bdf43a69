#!/usr/bin/env bash
# pjdfstest on the mount and, in the same run, on a plain directory beside it: whatever passes there
# must pass on the mount, but for what `pjdfstest.exceptions` names with a reason.
# Install: cargo install pjdfstest@0.2.2
OPTIONS=allow_other,suid,dev
source "$(dirname "$0")/lib.sh"
needs pjdfstest
needs_root
cat >"$WORK/pjdfstest.toml" <<'TOML'
[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}
[settings]
naptime = 0.02
allow_remount = false
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
TOML
mkdir "$WORK/plain"
chmod 755 "$WORK"
run() {
    say "on $1"
    timeout 900 pjdfstest -c "$WORK/pjdfstest.toml" -p "$1" >"$WORK/$2.log" 2>&1 || true
    grep '^Summary' "$WORK/$2.log" || fail "pjdfstest ended early: $(tail -3 "$WORK/$2.log")"
    awk '$2 == "FAILED" { print $1 }' "$WORK/$2.log" | sort >"$WORK/$2.failed"
}
run "$WORK/plain" plain
run "$MNT" mount
grep -v '^#' "$(dirname "$0")/pjdfstest.exceptions" | awk 'NF { print $1 }' | sort >"$WORK/exceptions"
comm -23 "$WORK/mount.failed" "$WORK/plain.failed" | comm -12 - "$WORK/exceptions" >"$WORK/excused"
comm -23 "$WORK/mount.failed" "$WORK/plain.failed" | comm -23 - "$WORK/exceptions" >"$WORK/new"
if [ -s "$WORK/excused" ]; then echo "excused: $(tr '\n' ' ' <"$WORK/excused")"; fi
if [ -s "$WORK/new" ]; then
    grep -A3 FAILED "$WORK/mount.log" || true
    fail "passes on the plain directory alone: $(tr '\n' ' ' <"$WORK/new")"
fi
unmount
say "ok"

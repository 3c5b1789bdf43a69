#!/usr/bin/env bash
# PostgreSQL under pgbench, shut down immediately (as after a crash) again and again: its balances
# agree, checksums hold. Usage: postgres.sh [ROUNDS] [SECONDS]   default: 3 rounds of 6 seconds
OPTIONS=allow_other
source "$(dirname "$0")/lib.sh"
needs_root
BIN=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1)
[ -n "$BIN" ] && [ -x "$BIN/initdb" ] && [ -x "$BIN/pgbench" ] || skip "postgresql is not installed"
id postgres >/dev/null || skip "there is no user postgres"
chmod 755 "$WORK"
mkdir "$MNT/pg" "$WORK/socket"
chown postgres "$MNT/pg" "$WORK/socket"
as() { timeout 300 setpriv --reuid postgres --regid postgres --init-groups env -C "$WORK/socket" "$@"; }
start() { as "$BIN/pg_ctl" -s -w -t 120 -D "$MNT/pg" -l "$WORK/socket/log" -o "-k $WORK/socket -h ''" start; }
stop() { as "$BIN/pg_ctl" -s -w -t 120 -D "$MNT/pg" -m "$1" stop; }
sql() { as "$BIN/psql" -qAt -h "$WORK/socket" -d postgres -c "$1"; }
say "initdb with checksums"
as "$BIN/initdb" -k -D "$MNT/pg" >/dev/null
start
as "$BIN/pgbench" -q -h "$WORK/socket" -i -s 2 postgres >/dev/null 2>&1
for round in $(seq "${1:-3}"); do
    as "$BIN/pgbench" -h "$WORK/socket" -n -c 4 -j 2 -T "${2:-6}" postgres >"$WORK/log" 2>&1 &
    bench=$!
    sleep $(("${2:-6}" - 2))
    stop immediate
    wait $bench || true
    start
    sums=$(sql 'SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT coalesce(sum(delta), 0) FROM pgbench_history);')
    [ "$(tr '|' '\n' <<<"$sums" | sort -u | wc -l)" = 1 ] || fail "round $round: balances $sums"
    echo "round $round: $(sql 'SELECT count(*) FROM pgbench_history;') transactions"
done
sql 'VACUUM FULL; REINDEX DATABASE postgres;' >/dev/null 2>&1 || sql 'VACUUM FULL;'
stop fast
unmount
mount
as "$BIN/pg_checksums" --check -D "$MNT/pg" | grep 'Bad checksums'
start
stop fast
unmount
say "ok"

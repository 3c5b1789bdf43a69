#!/usr/bin/env bash
# SQLite in every journal mode: writers side by side, killed in the middle; nothing committed is
# lost, nothing half committed stays. Usage: sqlite.sh [ROUNDS]   default: 3
source "$(dirname "$0")/lib.sh"
needs sqlite3
sql() { sqlite3 -cmd '.timeout 20000' "$@"; }
for mode in wal delete truncate persist; do
    say "$mode"
    db=$MNT/$mode.db
    sql "$db" "PRAGMA journal_mode=$mode; CREATE TABLE t (w INTEGER, n INTEGER, v BLOB, PRIMARY KEY (w, n));" >/dev/null
    for round in $(seq "${1:-3}"); do
        pids=()
        for writer in 1 2; do
            (
                n=$((round * 100000))
                while true; do
                    n=$((n + 1))
                    sql "$db" \
                        "BEGIN IMMEDIATE; INSERT INTO t VALUES ($writer, $n, randomblob(3000)); INSERT INTO t VALUES (-$writer, $n, randomblob(10)); COMMIT;" \
                        >/dev/null 2>&1 && echo "$n" >>"$WORK/told-$writer"
                done
            ) &
            pids+=($!)
        done
        sleep 2
        # The programs of the writers first, in the middle of whatever they do.
        for pid in "${pids[@]}"; do
            kill -STOP "$pid"
            pkill -9 -P "$pid" || true
            kill -9 "$pid"
        done
        wait "${pids[@]}" 2>/dev/null || true
        [ "$(sql "$db" 'PRAGMA integrity_check;')" = ok ] || fail "$mode: integrity"
        half=$(sql "$db" 'SELECT count(*) FROM t a WHERE NOT EXISTS (SELECT 1 FROM t b WHERE b.w = -a.w AND b.n = a.n);')
        [ "$half" = 0 ] || fail "$mode: $half rows of half a transaction"
        for writer in 1 2; do
            told=$(tail -n 1 "$WORK/told-$writer")
            there=$(sql "$db" "SELECT count(*) FROM t WHERE w = $writer AND n = $told;")
            [ "$there" = 1 ] || fail "$mode: row $told of writer $writer was committed and is gone"
        done
    done
done
unmount
mount
for mode in wal delete truncate persist; do
    [ "$(sql "$MNT/$mode.db" 'PRAGMA integrity_check;')" = ok ] || fail "$mode after a remount"
    echo "$mode: $(sql "$MNT/$mode.db" 'SELECT count(*) FROM t;') rows"
done
unmount
say "ok"

#!/usr/bin/env bash
# fio writes with checksums in every way a program can write, and verifies, also after a remount.
source "$(dirname "$0")/lib.sh"
needs fio
size=${1:-64m}
job() {
    timeout 900 fio --name="$1" --directory="$MNT" --size="$size" --verify=crc32c --verify_fatal=1 --verify_state_save=0 \
        --group_reporting --output="$WORK/log" "${@:2}" || fail "$1: $(tail -20 "$WORK/log")"
}
jobs_of() {
    job seq "$@" --rw=write --bs=1m
    job random "$@" --rw=randwrite --bs=4k --norandommap=0
    job mixed "$@" --rw=randrw --bs=4k-64k --bssplit=4k/60:16k/30:64k/10 --rwmixread=30
    job synced "$@" --rw=randwrite --bs=8k --fsync=16 --size=16m
    job direct "$@" --rw=randwrite --bs=16k --direct=1 --ioengine=libaio --iodepth=8
    job many "$@" --rw=randwrite --bs=4k --numjobs=4 --size=8m
    job map "$@" --rw=randwrite --bs=4k --ioengine=mmap --size=16m
}
say "write and verify"
jobs_of
unmount
mount
say "verify after a remount"
jobs_of --verify_only
unmount
say "ok"

#!/usr/bin/env bash
# git within the mount: a clone by hard links, repacked, checked, also after a remount.
source "$(dirname "$0")/lib.sh"
needs git
git() { timeout 600 env git -c user.name=t -c user.email=t@localhost -c safe.directory='*' -c init.defaultBranch=main "$@"; }
cd "$MNT"
git init -q origin
cd origin
for n in $(seq 30); do
    for file in $(seq 20); do seq $((n * file)) >"file-$file"; done
    git add -A
    git commit -q -m "change $n"
done
cd ..
say "clone by hard links"
git clone -q --local origin copy
links=$(find copy/.git/objects -type f -links 2 | wc -l)
[ "$links" -gt 100 ] || fail "only $links objects are hard links"
git -C origin gc -q
git -C copy fsck --full --strict
cd /
unmount
mount
cd "$MNT"
git -C copy fsck --full --strict
git -C origin fsck --full --strict
[ -z "$(git -C copy status --porcelain)" ] || fail "changes after a remount"
rm -rf origin
git -C copy repack -qad
git -C copy fsck --full --strict
cd /
unmount
say "ok: $links links"

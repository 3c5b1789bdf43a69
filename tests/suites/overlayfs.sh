#!/usr/bin/env bash
# The mount as the upper layer of a union (overlayfs): whiteouts, opaque directories, copies up.
OPTIONS=allow_other,suid,dev
source "$(dirname "$0")/lib.sh"
needs_root
grep -q overlay /proc/filesystems || modprobe overlay 2>/dev/null || skip "the kernel has no overlayfs"
mkdir -p "$WORK/lower/dir/below" "$WORK/union" "$MNT/upper" "$MNT/work"
union_up() {
    command mount -t overlay overlay -o "lowerdir=$WORK/lower,upperdir=$MNT/upper,workdir=$MNT/work" "$WORK/union"
}
union_down() { umount "$WORK/union"; }
finish_all() {
    umount -l "$WORK/union" 2>/dev/null || true
    finish
}
trap finish_all EXIT
for n in $(seq 50); do seq "$n" >"$WORK/lower/dir/$n"; done
echo kept >"$WORK/lower/dir/below/file"
echo gone >"$WORK/lower/gone"
ln -s dir/1 "$WORK/lower/link"
setfattr -n user.note -v lower "$WORK/lower/dir/2" 2>/dev/null || true
check() {
    [ ! -e gone ] || fail "$1: a removed name is back"
    [ "$(cat dir/1)" = "1
more" ] || fail "$1: a file that was copied up differs"
    [ "$(ls -A below)" = new ] || fail "$1: a directory that was made anew is not opaque"
    [ "$(cat moved/7)" = "$(seq 7)" ] || fail "$1: a moved directory"
    [ "$(readlink link)" = elsewhere ] || fail "$1: link"
    [ "$(stat -c %a dir/3)" = 600 ] || fail "$1: mode"
    [ "$(cat renamed)" = "$(seq 5)" ] || fail "$1: renamed file"
    [ ! -e dir/5 ] || fail "$1: the old name of a renamed file"
}
union_up
cd "$WORK/union"
say "change everything"
rm gone
echo more >>dir/1
mkdir tree
cp -a dir/. tree/
mv dir/below below
rm -rf below
mkdir below
touch below/new
mv tree moved
ln -sf elsewhere link
chmod 600 dir/3
mv dir/5 renamed
check "at once"
cd /
union_down
unmount
mount
union_up
cd "$WORK/union"
say "after a remount"
check "after a remount"
timeout 120 cp -a /usr/include/linux copied
timeout 120 diff -r /usr/include/linux copied || fail "a copied tree differs"
rm -rf copied
cd /
union_down
find "$MNT/upper" -type c | head -3
[ -n "$(find "$MNT/upper" -type c)" ] || fail "there are no whiteouts"
unmount
say "ok"

#!/usr/bin/env bash
# Trees with access control lists, extended attributes, holes and hard links, through rsync, tar and
# cp and back: nothing is different.
source "$(dirname "$0")/lib.sh"
needs rsync tar setfacl getfacl setfattr getfattr
mkdir "$WORK/source"
cd "$WORK/source"
mkdir -p a/b
for n in $(seq 20); do seq "$n" >"a/$n"; done
setfacl -m u:1000:rwx,g:100:r a/1 a/b
setfacl -d -m u:1000:rw,m:rwx a/b
echo inherited >a/b/file
setfattr -n user.note -v "a value" a/2 a
ln a/3 a/hard
ln -s nowhere a/link
truncate -s 1G a/sparse
echo end >>a/sparse
describe() {
    cd "$1"
    # Times of links are rounded to seconds by rsync, lengths of directories are nobody's business.
    find . -type l -printf '%p %l\n' | sort
    find . -type f -printf '%p %m %n %s %T@\n' | sort
    find . -not -type l | sort | while read -r path; do
        getfacl "$path" 2>/dev/null
        getfattr -d -m '^user' "$path" 2>/dev/null
    done
    find . -type f -not -name sparse -exec sha256sum {} + | sort -k2
}
describe "$WORK/source" >"$WORK/expected"
compare() {
    describe "$2" >"$WORK/found"
    diff "$WORK/expected" "$WORK/found" || fail "$1"
}
say "rsync -aHAX, cp -a, tar --acls --xattrs"
timeout 300 rsync -aHAXS "$WORK/source/" "$MNT/rsync/"
timeout 300 cp -a --sparse=always "$WORK/source" "$MNT/cp"
mkdir "$MNT/tar"
tar -C "$WORK/source" --acls --xattrs -Scf - . | tar -C "$MNT/tar" --acls --xattrs -xpf -
cd /
unmount
mount
for tree in rsync cp tar; do compare "$tree" "$MNT/$tree"; done
timeout 300 cp -a --sparse=always "$MNT/rsync" "$WORK/back"
compare "back" "$WORK/back"
[ "$(du -s -m "$MNT/cp" | cut -f1)" -le 16 ] || fail "holes take space"
cd /
unmount
say "ok"

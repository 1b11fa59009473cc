# SPDX-License-Identifier: LGPL-2.1-or-later
# The mounted tree: what it shows, and umbra mount, umbra umount, mount.umbra, mount -t umbra.
# shellcheck disable=SC2030,SC2031 # output is bats'
export TEST_LIMIT=400 # 100000 files, with sanitizers
load helper

tree() {
	mkdir -p "$T/data/sub" "$T/mnt"
	echo one >"$T/data/a"
	echo two >"$T/data/sub/b"
	umbra create --provider copy "$T/data" >/dev/null
	TOKEN=$(latest_token)
}

mounted() {
	require_fuse
	tree
	umbra mount "$T/mnt" >/dev/null
	TOP=$T/mnt/$TOKEN$T/data
	VOLUME=$(cd "$T/mnt/by-volume" && echo *)
}

umbra_gone() {
	umbra umount "$T/mnt"
	run ! mountpoint -q "$T/mnt"
}

# The process behind $T/mnt.
daemon() {
	local pid
	for pid in $(processes_here); do
		[ "$(cat "/proc/$pid/comm")" = mount.umbra ] && echo "$pid"
	done
}

@test "the tree has sets, latest and by-volume" {
	mounted
	[ "$(ls "$T/mnt")" = "$TOKEN"$'\n'by-volume$'\n'latest ]
	[ "$(readlink "$T/mnt/latest")" = "$TOKEN" ]
	[ "$(cat "$TOP/sub/b")" = two ]
	[ "$(cat "$T/mnt/latest$T/data/a")" = one ]
	[ "$(cat "$T/mnt/by-volume/$VOLUME/$TOKEN/a")" = one ]
	[ "$(ls "$TOP")" = a$'\n'sub ]
	[ "$(stat -c %Y "$T/mnt/$TOKEN")" = "$(umbra list --json |
		jq -r '.sets[0].timestamp | strptime("@GMT-%Y.%m.%d-%H.%M.%S") | mktime')" ]
	[ "$(findmnt -no FSTYPE,SOURCE "$T/mnt" | tr -s ' ')" = "fuse.umbra $UMBRA_STATE" ]
	umbra_gone
}

@test "a path in the tree, also by volume, stands for the live path that it shows" {
	mounted
	local in=$T/mnt/by-volume/$VOLUME/$TOKEN
	echo changed >"$T/data/a"
	[ "$(umbra versions --json "$in/a" | jq -r .path)" = "$T/data/a" ]
	[ "$(umbra versions --json "$in" | jq -r .path)" = "$T/data" ]
	[ "$(cd "$in/sub" && umbra versions --json b | jq -r .path)" = "$T/data/sub/b" ]
	[ "$(umbra versions --json "$TOP/a" | jq -r .path)" = "$T/data/a" ]
	run umbra diff "$in/a"
	[[ $output == *"-one"*"+changed"* ]]
	umbra restore "$in/a"
	[ "$(cat "$T/data/a")" = one ]
	local path
	for path in "$T/mnt" "$T/mnt/by-volume" "$T/mnt/by-volume/$VOLUME" \
		"$T/mnt/by-volume/$VOLUME/x" "$T/mnt/by-volume/x/$TOKEN" "$T/mnt/x"; do
		run umbra versions "$path"
		assert_error 2 "not in one of its sets"
	done
	umbra_gone
}

@test "a name that is not there stays not there, at every level" {
	mounted
	local name
	for name in x @GMT-2026.01.01-00.00.00 "$TOKEN/x" by-volume/x "by-volume/$VOLUME/x" \
		"by-volume/$VOLUME/@GMT-2026.01.01-00.00.00" "$TOKEN$T/data/x"; do
		run ! ls "$T/mnt/$name"
		[[ $output == *"No such file or directory"* ]]
	done
	umbra_gone
}

# bats test_tags=slow
@test "a copy is exactly its origin" {
	require_fuse
	mkdir "$T/mnt"
	"$UMBRA_RUN/bin/umbra-hostile" "$T/data"
	umbra create --provider copy "$T/data" >/dev/null
	umbra mount "$T/mnt" >/dev/null
	"$UMBRA_RUN/bin/umbra-compare" "$T/data" "$T/mnt/latest$T/data" --no-atime
	# Contents were compared, without reading 6 GiB of holes; rsync has no paths beyond PATH_MAX.
	run -0 rsync -aHAXn --exclude=/beyond --delete --itemize-changes "$T/data/" "$T/mnt/latest$T/data/"
	[ -z "$output" ]
	umbra_gone
}

# bats test_tags=slow
@test "a copy reached by paths is exactly its origin" {
	require_fuse
	mkdir "$T/mnt"
	"$UMBRA_RUN/bin/umbra-hostile" "$T/data"
	umbra create --provider copy "$T/data" >/dev/null
	UMBRA_TEST_PATHS=1 umbra mount "$T/mnt" >/dev/null
	"$UMBRA_RUN/bin/umbra-compare" "$T/data" "$T/mnt/latest$T/data" --no-atime
	umbra_gone
}

# bats test_tags=slow
@test "a btrfs copy is exactly its origin, nested subvolumes in their places" {
	require_fuse
	require_loop_btrfs
	make_btrfs "$T/vol" 8G
	"$UMBRA_RUN/bin/umbra-hostile" "$T/vol/tree"
	btrfs -q subvolume create "$T/vol/tree/nested"
	echo in >"$T/vol/tree/nested/file"
	btrfs -q subvolume create "$T/vol/tree/nested/deeper"
	echo deep >"$T/vol/tree/nested/deeper/file"
	mkdir "$T/mnt"
	umbra create "$T/vol" >/dev/null
	umbra mount "$T/mnt" >/dev/null
	"$UMBRA_RUN/bin/umbra-compare" "$T/vol/tree" "$T/mnt/latest$T/vol/tree" --no-atime
	[ "$(cat "$T/mnt/latest$T/vol/tree/nested/deeper/file")" = deep ]
	# By volume each is alone, and where another was is an empty directory of its own.
	local token
	token=$(latest_token)
	run -0 find "$T/mnt/by-volume" -path "*vol/$token/tree/nested*" -o -path '*nested/*/deeper*'
	[ "${#lines[@]}" = 2 ]
	[ "$(find "${lines[@]}" -mindepth 1 | wc -l)" = 0 ]
	[ -z "$(find "$T/mnt/by-volume" -type d -printf '%i\n' | sort | uniq -d)" ]
	umbra_gone
}

# Numbers of directories and of files with one link are unique; a listing says the same number.
unique_numbers() {
	timeout 60 python3 - "$1" <<'PY'
import os, sys
seen, bad = {}, 0
def walk(path):
    global bad
    me = os.lstat(path).st_ino
    for e in os.scandir(path):
        st = os.lstat(e.path)
        if e.inode() != st.st_ino:
            bad += 1; print("listed as", e.inode(), "is", st.st_ino, e.path)
        if st.st_ino in seen and (st.st_nlink == 1 or e.is_dir(follow_symlinks=False)):
            bad += 1; print("same number:", e.path, seen[st.st_ino])
        seen[st.st_ino] = e.path
        if e.is_dir(follow_symlinks=False):
            if os.stat(e.path + "/..").st_ino != me:
                bad += 1; print("wrong ..:", e.path)
            walk(e.path)
walk(sys.argv[1])
sys.exit(bad > 0)
PY
}

@test "a member below what hides a nested subvolume is reached" {
	require_loop_btrfs
	require_fuse
	make_btrfs "$T/vol"
	mkdir "$T/mnt"
	btrfs -q subvolume create "$T/vol/sub"
	mount_known -t tmpfs tmpfs "$T/vol/sub"
	mkdir "$T/vol/sub/deep"
	echo x >"$T/vol/sub/deep/file"
	umbra create "$T/vol" "$T/vol/sub/deep"
	umount "$T/vol/sub"
	umbra mount "$T/mnt"
	[ "$(cat "$T/mnt/latest$T/vol/sub/deep/file")" = x ]
	[ "$(ls "$T/mnt/latest$T/vol/sub")" = deep ]
	umbra_gone
	umbra delete --yes latest
}

@test "inode numbers are unique, as listed, and the same after a remount" {
	mounted
	ln "$T/data/a" "$T/data/hard"
	umbra create --provider copy "$T/data" >/dev/null
	unique_numbers "$T/mnt"
	[ "$(stat -c %i "$T/mnt/latest$T/data/a")" = "$(stat -c %i "$T/mnt/latest$T/data/hard")" ]
	find "$T/mnt" -printf '%i %p\n' | sort >"$T/before"
	umbra_gone
	umbra mount "$T/mnt"
	find "$T/mnt" -printf '%i %p\n' | sort >"$T/after"
	cmp "$T/before" "$T/after"
	umbra_gone
}

assert_silent() {
	[ -z "$output" ] || { echo "$output" >&2 && false; }
}

# Every way to change something; prints those that did not fail with EROFS.
change_everything() {
	timeout 60 python3 - "$@" <<'PY'
import errno, os, sys
top, mnt, token = sys.argv[1:4]
def fails(what, f, *a, **k):
    try:
        r = f(*a, **k)
        if isinstance(r, int) and what.startswith("open"):
            os.write(r, b"x")
        print("done:", what, a)
    except OSError as e:
        if e.errno != errno.EROFS:
            print(what, a, e)
for d in (mnt, mnt + "/by-volume", mnt + "/" + token, top, top + "/sub"):
    fails("create", os.open, d + "/new", os.O_CREAT | os.O_WRONLY)
    fails("mkdir", os.mkdir, d + "/new")
    fails("mknod", os.mkfifo, d + "/new")
    fails("symlink", os.symlink, "x", d + "/new")
    fails("chmod", os.chmod, d, 0o777)
    fails("chown", os.chown, d, 1, 1)
    fails("utime", os.utime, d)
    fails("setxattr", os.setxattr, d, "user.x", b"y")
    if d != mnt:
        fails("rename", os.rename, d, d + "2")
f = top + "/a"
for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
    fails("open", os.open, f, flags)
fails("truncate", os.truncate, f, 0)
fails("unlink", os.unlink, f)
fails("unlink", os.unlink, mnt + "/latest")
fails("rmdir", os.rmdir, top + "/sub")
fails("rmdir", os.rmdir, mnt + "/" + token)
fails("rename", os.rename, f, top + "/b")
fails("link", os.link, f, top + "/b")
fails("chmod", os.chmod, f, 0o777)
fails("utime", os.utime, f)
fails("setxattr", os.setxattr, f, "user.x", b"y")
fails("removexattr", os.removexattr, f, "user.x")
PY
}

@test "whatever would change something is refused: read-only filesystem" {
	mounted
	run -0 change_everything "$TOP" "$T/mnt" "$TOKEN"
	assert_silent
	run ! bash -c "echo x >'$TOP/new'"
	run ! fallocate -l 10 "$TOP/a"
	if [ "$(id -u)" = 0 ]; then
		mount -i -o remount,rw "$T/mnt"
		run -0 change_everything "$TOP" "$T/mnt" "$TOKEN"
		assert_silent
	fi
	[ "$(cat "$TOP/a")" = one ]
	umbra_gone
}

@test "holes, large offsets, and the space of the store" {
	require_fuse
	mkdir "$T/data" "$T/mnt"
	truncate -s 6G "$T/data/sparse"
	echo end | dd of="$T/data/sparse" bs=1 seek=5368709120 conv=notrunc status=none
	umbra create --provider copy "$T/data" >/dev/null
	umbra mount "$T/mnt" >/dev/null
	run -0 python3 - "$T/mnt/latest$T/data/sparse" <<'PY'
import os, sys
f = os.open(sys.argv[1], os.O_RDONLY)
at = os.lseek(f, 0, os.SEEK_DATA)
print(os.pread(f, 3, 5368709120), at > 5000000000, os.lseek(f, 0, os.SEEK_HOLE),
      os.lseek(f, at, os.SEEK_HOLE) > at)
PY
	[ "$output" = "b'end' True 0 True" ]
	[ "$(stat -fc %b "$T/mnt/latest$T/data")" = "$(stat -fc %b "$T")" ]
	[ "$(stat -fc %b "$T/mnt")" = "$(stat -fc %b "$T")" ]
	umbra_gone
}

@test "a damaged copy is an error at its own directory, the others work" {
	mounted
	umbra_gone
	mkdir "$T/other"
	echo fine >"$T/other/file"
	umbra create --provider copy "$T/other" "$T/data" >/dev/null
	local lost
	lost=$(umbra list --json | jq -r --arg p "$T/data" \
		'.sets[-1].volumes[] | select(.path == $p).shadow')
	mv "$UMBRA_STATE/copies/$lost" "$T/lost"
	umbra mount "$T/mnt" >/dev/null
	run ! ls "$T/mnt/latest$T/data"
	[[ $output == *"Input/output error"* ]]
	run ! ls "$T/mnt/by-volume/$VOLUME/$(readlink "$T/mnt/latest")"
	[[ $output == *"Input/output error"* ]]
	[ "$(cat "$T/mnt/latest$T/other/file")" = fine ]
	[ "$(cat "$TOP/a")" = one ]
	mv "$T/lost" "$UMBRA_STATE/copies/$lost"
	[ "$(cat "$T/mnt/latest$T/data/a")" = one ]
	umbra_gone
}

@test "names are refused as mount points with the reason" {
	require_fuse
	tree
	ln -s mnt "$T/link"
	run umbra mount "$T/none"
	assert_error 1 "'$T/none' does not exist"
	run umbra mount "$T/data/a"
	assert_error 1 "'$T/data/a' is not a directory"
	run umbra mount "$UMBRA_STATE/copies"
	assert_error 1 "lies in umbra's own state directory"
	run umbra mount "$T"
	assert_error 1 "would hide umbra's state directory '$UMBRA_STATE'"
	run umbra mount /proc
	assert_error 1 "'/proc' is a mount point already, of proc \(proc\)|would hide what is mounted"
	umbra mount "$T/link"
	mountpoint -q "$T/mnt"
	run umbra mount "$T/mnt"
	assert_error 1 "the shadow copies are mounted on '$T/mnt' already"
	run umbra mount "$T/mnt/latest"
	assert_error 1 "lies in a tree of shadow copies itself"
	umbra --state "$T/other" create --provider copy "$T/data"
	run umbra --state "$T/other" mount "$T/mnt"
	assert_error 1 "of another state directory mounted on it, '$UMBRA_STATE'"
	umbra umount "$T/link"
	run ! mountpoint -q "$T/mnt"
}

# A process that has a file open there.
use() {
	# shellcheck disable=SC2217 # only to have it open
	sleep 60 <"$TOP/a" 3>&- 4>&- &
	USING=$!
	eventually [ "/proc/$USING/fd/0" -ef "$TOP/a" ]
}

@test "umount refuses what is no tree, says who uses it, and can be lazy" {
	mounted
	run umbra umount "$T/data"
	assert_error 1 "no tree of shadow copies is mounted on '$T/data'"
	run umbra umount "$T/nowhere/tree"
	assert_error 1 "no tree of shadow copies is mounted on '$T/nowhere/tree'"
	run umbra umount /proc
	assert_error 1 "is no tree of shadow copies but proc"
	use
	run umbra umount "$T/mnt"
	kill "$USING"
	wait "$USING" || true
	assert_error 1 "the tree on '$T/mnt' is in use by sleep \(pid [0-9]+\)"
	use
	umbra umount --lazy "$T/mnt"
	run ! mountpoint -q "$T/mnt"
	kill "$USING"
	wait "$USING" || true
}

@test "a tree that was taken away lazily ends without the one that is there now" {
	mounted
	local old
	old=$(daemon)
	use
	umbra umount --lazy "$T/mnt"
	umbra mount "$T/mnt"
	kill "$old"
	eventually bash -c "! kill -0 $old 2>/dev/null"
	[ "$(cat "$TOP/a")" = one ]
	kill "$USING"
	wait "$USING" || true
	umbra_gone
}

@test "when umount returns the daemon is done with the state directory" {
	require_root
	make_ext4 "$T/store"
	UMBRA_STATE=$T/store/state
	mounted
	# On a frozen filesystem the daemon cannot remove its socket, and has to wait.
	fsfreeze -f "$T/store"
	(
		sleep 2
		fsfreeze -u "$T/store"
	) 3>&- 4>&- &
	umbra umount "$T/mnt"
	ls "$UMBRA_STATE/mounts" >"$T/left"
	wait $!
	[ ! -s "$T/left" ]
	run ! mountpoint -q "$T/mnt"
	umount "$T/store"
}

@test "umount does not wait for ever for a daemon that hangs" {
	mounted
	local pid
	pid=$(daemon)
	kill -STOP "$pid"
	run timeout 20 "$UMBRA" umount "$T/mnt"
	kill -CONT "$pid"
	assert_ok
	run ! mountpoint -q "$T/mnt"
}

@test "mount and umount print JSON" {
	require_fuse
	tree
	umbra mount --json "$T/mnt" | jq -e --arg d "$T/mnt" --arg s "$UMBRA_STATE" \
		'. == {mounted: $d, state_dir: $s}'
	umbra umount --json "$T/mnt" | jq -e --arg d "$T/mnt" '. == {unmounted: $d}'
}

@test "options: what mount(8) says is accepted, what nobody knows is refused" {
	require_fuse
	tree
	mount.umbra "$UMBRA_STATE" "$T/mnt" -n -o \
		rw,ro,nosuid,nodev,noexec,noatime,_netdev,noauto,defaults,nofail,x-systemd.automount
	[[ $(findmnt -no OPTIONS "$T/mnt") == *noexec* ]]
	umbra_gone
	POSIXLY_CORRECT=1 mount.umbra "$UMBRA_STATE" "$T/mnt" -o noexec
	umbra_gone
	run mount.umbra umbra "$T/mnt" -o ro,bogus
	assert_error 2 "there is no mount option 'bogus'"
	run mount.umbra umbra "$T/mnt" -o suid
	assert_error 2 "always nosuid and nodev"
	run mount.umbra umbra "$T/mnt" -o 'context=a\,suid\,dev'
	assert_error 2 "cannot have a comma"
	mount.umbra umbra "$T/mnt" -s -o bogus
	run mount.umbra "$UMBRA_STATE" "$T/mnt" -s -o remount,rw
	assert_error 1 "cannot be remounted.*unmount it"
	umbra_gone
	run mount.umbra umbra
	assert_error 2 "give what to mount"
	run mount.umbra device "$T/mnt"
	assert_error 2 "'device' is not a path"
	run mount.umbra "$T/x" "$T/mnt" -o "state=$T/y"
	assert_error 2 "say different things"
	run -0 mount.umbra -f umbra "$T/mnt"
	run ! mountpoint -q "$T/mnt"
	mkdir "$T/a,b"
	umbra --state "$T/a,b/state" create --provider copy "$T/data"
	umbra --state "$T/a,b/state" mount "$T/mnt"
	[ "$(findmnt -no SOURCE "$T/mnt")" = "$T/a,b/state" ]
	umbra_gone
	mount.umbra umbra "$T/mnt" -o "state=$T/a\\,b/state"
	[ "$(findmnt -no SOURCE "$T/mnt")" = "$T/a,b/state" ]
	umbra_gone
}

@test "what a directory has is hidden only when told so" {
	require_fuse
	tree
	ln -s data "$T/link"
	run umbra mount "$T/data"
	assert_error 1 "'$T/data' is not empty, .*--nonempty"
	run umbra mount "$T/link/"
	assert_error 1 "'$T/data' is not empty"
	run mount.umbra "$UMBRA_STATE" "$T/data"
	assert_error 1 "-o nonempty"
	[ "$(cat "$T/data/a")" = one ]
	umbra mount --nonempty -o noexec "$T/data"
	[[ $(findmnt -no OPTIONS "$T/data") == *noexec* ]]
	[ -d "$T/data/by-volume" ]
	umbra umount "$T/data"
	mount.umbra "$UMBRA_STATE" "$T/data" -o nonempty
	umbra umount "$T/data"
	[ "$(cat "$T/data/a")" = one ]
}

# as_user, with the default state directory.
by_default() { as_user env -u UMBRA_STATE "$@"; }

@test "the default state directory is made, so that later sets are seen" {
	require_fuse
	by_default mkdir -p "$T/user/mnt" "$T/user/data"
	by_default "$UMBRA" mount "$T/user/mnt"
	[ -d "$T/user/.local/state/umbra" ]
	[ "$(by_default ls "$T/user/mnt")" = by-volume ]
	by_default "$UMBRA" create --provider copy "$T/user/data"
	by_default test -d "$T/user/mnt/latest$T/user/data"
	by_default "$UMBRA" umount "$T/user/mnt"
}

@test "umount without a directory, and without a tree, names the default one" {
	run as_user env XDG_RUNTIME_DIR="$T/nowhere" "$UMBRA" umount
	assert_error 1 "no tree of shadow copies is mounted on '$T/nowhere/umbra/shadows'"
}

@test "a mistyped state directory is neither made nor mounted" {
	require_fuse
	mkdir "$T/mnt" "$T/plain"
	local typo=$T/none/state
	run umbra --state "$typo" mount "$T/mnt"
	assert_error 1 "there is no umbra state in '$typo': No such file"
	UMBRA_STATE=$typo run umbra mount "$T/mnt"
	assert_error 1 "there is no umbra state in '$typo'"
	run mount.umbra "$typo" "$T/mnt"
	assert_error 1 "there is no umbra state in '$typo'"
	run mount.umbra none "$T/mnt" -o "state=$typo"
	assert_error 1 "there is no umbra state in '$typo'"
	run mount.umbra "$T/plain" "$T/mnt"
	assert_error 1 "there is no umbra state in '$T/plain': the directory has no catalog"
	[ -z "$(ls -A "$T/plain")" ]
	[ ! -e "$T/none" ]
	run ! mountpoint -q "$T/mnt"
}

@test "mount -t umbra and lines of fstab" {
	require_root
	require_fuse
	tree
	mkdir "$T/umbra" # as a clone of the source is named
	cd "$T"
	[ ! -e /sbin/mount.umbra ] || unable "/sbin/mount.umbra is there already"
	printf '#!/bin/sh\nexec %q "$@"\n' "$UMBRA_RUN/bin/mount.umbra" >"$T/helper"
	chmod 755 "$T/helper"
	[ ! -e /sbin/mount.fuse.umbra ] || unable "/sbin/mount.fuse.umbra is there already"
	ln -s "$T/helper" /sbin/mount.umbra
	ln -s "$T/helper" /sbin/mount.fuse.umbra
	timeout 20 mount -t umbra "$UMBRA_STATE" "$T/mnt" 3>&- 4>&- || FAILED=1
	cat "$T/mnt/latest$T/data/a" || FAILED=1
	umount "$T/mnt" || FAILED=1
	echo "$UMBRA_STATE $T/mnt umbra nofail 0 0" >"$T/fstab"
	timeout 20 mount -aT "$T/fstab" 3>&- 4>&- || FAILED=1
	timeout 20 mount -aT "$T/fstab" 3>&- 4>&- || FAILED=1
	[ "$(grep -c " $T/mnt " /proc/self/mountinfo)" = 1 ] || FAILED=1
	umount "$T/mnt" || FAILED=1
	timeout 20 mount -t umbra umbra "$T/mnt" 2>"$T/said" 3>&- 4>&- && FAILED=1
	grep "no umbra state in '$T/umbra'" "$T/said" || FAILED=1
	cd /
	echo "umbra $T/mnt umbra state=$UMBRA_STATE,noauto,nofail,_netdev,x-test 0 0" >"$T/fstab"
	timeout 20 mount -T "$T/fstab" "$T/mnt" 3>&- 4>&- || FAILED=1
	cat "$T/mnt/latest$T/data/a" || FAILED=1
	umount "$T/mnt" || FAILED=1
	# A word that mount(8) keeps for itself, as "private", would never arrive.
	timeout 20 mount -t umbra -o noothers "$UMBRA_STATE" "$T/mnt" 3>&- 4>&- || FAILED=1
	findmnt -no FS-OPTIONS "$T/mnt" | grep -w allow_other && FAILED=1
	# With the type of the table of mounts; with that of fstab.
	for line in "" "$UMBRA_STATE $T/mnt umbra nofail 0 0"; do
		echo "$line" >"$T/fstab"
		timeout 20 mount -T "$T/fstab" -o remount,noexec "$T/mnt" 2>"$T/said" && FAILED=1
		grep "cannot be remounted" "$T/said" || FAILED=1
	done
	findmnt -no OPTIONS "$T/mnt" | grep noexec && FAILED=1
	umount "$T/mnt" || FAILED=1
	run timeout 20 mount -t umbra -o bogus "$UMBRA_STATE" "$T/mnt"
	rm /sbin/mount.umbra /sbin/mount.fuse.umbra
	[ "$status" != 0 ]
	[[ $output == *"no mount option 'bogus'"* ]]
	[ -z "${FAILED:-}" ]
}

# What systemd does for x-systemd.automount: DIR is mounted on by COMMAND when it is first used.
automounter() {
	timeout 60 python3 - "$@" <<'PY'
import ctypes, fcntl, os, struct, subprocess, sys
where, command = sys.argv[1], sys.argv[2:]
READY, FAIL = 0x9360, 0x9361
r, w = os.pipe()
os.setpgid(0, 0)
libc = ctypes.CDLL(None, use_errno=True)
options = "fd=%d,pgrp=%d,minproto=5,maxproto=5,direct" % (w, os.getpgrp())
if libc.mount(b"systemd-1", where.encode(), b"autofs", 0, options.encode()) != 0:
    sys.exit("mounting autofs: " + os.strerror(ctypes.get_errno()))
fd = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
os.close(w)
token = struct.unpack_from("3I", os.read(r, 4096))[2]
done = subprocess.run(command, timeout=20)
fcntl.ioctl(fd, FAIL if done.returncode else READY, token)
PY
}

@test "an automount mounts the tree when it is first used" {
	require_root
	require_fuse
	grep -qw autofs /proc/filesystems || modprobe autofs4 2>/dev/null || unable "no autofs in this kernel"
	tree
	automounter "$T/mnt" "$UMBRA_RUN/bin/mount.umbra" "$UMBRA_STATE" "$T/mnt" -n \
		-o rw,x-systemd.automount 3>&- 4>&- &
	eventually grep -q " $T/mnt autofs " /proc/mounts
	[ "$(timeout 20 cat "$T/mnt/latest$T/data/a")" = one ]
	wait $!
	[ "$(findmnt -no FSTYPE "$T/mnt" | tr '\n' ' ')" = "autofs fuse.umbra " ]
	run umbra mount "$T/mnt"
	assert_error 1 "the shadow copies are mounted on '$T/mnt' already"
	umbra umount "$T/mnt"
	[ "$(findmnt -no FSTYPE "$T/mnt")" = autofs ]
	# By hand: it is not looked into, which nobody would answer any more.
	umbra mount "$T/mnt"
	[ "$(cat "$T/mnt/latest$T/data/a")" = one ]
	umbra umount "$T/mnt"
	umount "$T/mnt"
}

@test "a killed daemon: an error, then unmounted or mounted again" {
	mounted
	kill -9 "$(daemon)"
	eventually bash -c "! stat -f '$T/mnt' 2>/dev/null"
	run ! stat -f "$T/mnt"
	[[ $output == *"not connected"* ]]
	umbra umount "$T/mnt"
	run ! mountpoint -q "$T/mnt"
	umbra mount "$T/mnt"
	[ "$(cat "$TOP/a")" = one ]
	kill -9 "$(daemon)"
	eventually bash -c "! stat -f '$T/mnt' 2>/dev/null"
	umbra mount "$T/mnt"
	[ "$(cat "$TOP/a")" = one ]
	[ "$(grep -c " $T/mnt " /proc/self/mountinfo)" = 1 ]
	umbra create --provider copy "$T/data" # removes the sockets of the dead
	umbra_gone
}

@test "a daemon that hangs holds up neither sets nor mount and umount" {
	mounted
	local pid
	pid=$(daemon)
	kill -STOP "$pid"
	run -0 timeout 20 "$UMBRA" create --provider copy "$T/data"
	[[ $output == *"did not answer"* ]]
	run timeout 20 "$UMBRA" mount "$T/mnt"
	kill -CONT "$pid"
	assert_error 1 "'$T/mnt' has a tree of shadow copies that does not answer"
	kill -STOP "$pid"
	timeout 20 "$UMBRA" umount --lazy "$T/mnt"
	kill -CONT "$pid"
	run ! mountpoint -q "$T/mnt"
}

@test "SIGTERM unmounts; so does SIGINT in the foreground" {
	mounted
	kill "$(daemon)"
	eventually bash -c "! mountpoint -q '$T/mnt'"
	mount.umbra --foreground "$UMBRA_STATE" "$T/mnt" &
	eventually mountpoint -q "$T/mnt"
	eventually test -e "$TOP/a"
	kill -INT "$(daemon)"
	wait $!
	run ! mountpoint -q "$T/mnt"
	[ -z "$(ls "$UMBRA_STATE/mounts")" ]
}

@test "the daemon keeps no directory, terminal, lock or mount of its caller busy" {
	mounted
	local pid
	pid=$(daemon)
	[ "$(readlink "/proc/$pid/cwd")" = / ]
	[ "$(readlink "/proc/$pid/fd/0" "/proc/$pid/fd/1" "/proc/$pid/fd/2" | sort -u)" = /dev/null ]
	umbra_gone
	(flock 9 && umbra mount "$T/mnt") 9>"$T/lock"
	flock -n "$T/lock" true
	umbra_gone
}

# bats test_tags=slow
@test "a walk over 100000 files with 300 descriptors, by handle and by path" {
	require_fuse
	mkdir "$T/data" "$T/mnt"
	python3 - "$T/data" <<'PY'
import os, sys
for i in range(1000):
    d = "%s/%d/%d" % (sys.argv[1], i % 25, i)
    os.makedirs(d)
    for k in range(100):
        os.close(os.open("%s/%d" % (d, k), os.O_CREAT))
PY
	umbra create --provider copy "$T/data" >/dev/null
	local mode
	for mode in UMBRA_TEST_HANDLES UMBRA_TEST_PATHS; do
		env "$mode=1" prlimit --nofile=300:300 "$UMBRA_RUN/bin/mount.umbra" "$UMBRA_STATE" \
			"$T/mnt" 3>&- 4>&-
		[ "$(timeout 100 find "$T/mnt/latest/" -type f | wc -l)" = 100000 ]
		[ "$(find "/proc/$(daemon)/fd" -type l | wc -l)" -lt 300 ]
		umbra_gone
	done
}

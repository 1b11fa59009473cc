# SPDX-License-Identifier: LGPL-2.1-or-later
# The state directory and the process: odd places, no room, closed descriptors, a tree that hangs.
load helper

tree() {
	mkdir -p "$T/data"
	echo one >"$T/data/a"
}

@test "a directory of something else is not taken for the state, nor closed to others" {
	tree
	mkdir -m 755 "$T/etc"
	: >"$T/etc/passwd"
	run umbra --state "$T/etc" create "$T/data"
	assert_error 1 "'$T/etc' holds other things.*--state DIR"
	[ "$(stat -c %a "$T/etc")" = 755 ]
	[ "$(ls "$T/etc")" = passwd ]
}

@test "closed standard descriptors are not mistaken for files" {
	tree
	# Its line could not be printed: status 1.
	umbra create --provider copy "$T/data" <&- >&- 2>&- || [ $? = 1 ]
	umbra create --provider copy "$T/data" <&- 2>&-
	umbra list --json | jq -e '.sets | length == 2'
	umbra check
}

@test "a set can be deleted when there is no inode left for the journal" {
	require_root
	tree
	mkdir "$T/small"
	mount -t tmpfs -o size=8m,nr_inodes=150 umbra-test "$T/small"
	umbra --state "$T/small/state" create "$T/data"
	local i=0
	while { : >"$T/small/$i"; } 2>/dev/null; do i=$((i + 1)); done
	run umbra --state "$T/small/state" delete latest
	[ "$status" = 0 ] || { umount -l "$T/small"; assert_ok; }
	run -0 umbra --state "$T/small/state" list --json
	umount "$T/small"
	jq -e '.sets == []' <<<"$output"
}

@test "a state directory on a read-only filesystem is read, and named where it must be written" {
	require_root
	tree
	mkdir "$T/small"
	mount -t tmpfs -o size=8m umbra-test "$T/small"
	umbra --state "$T/small/state" create "$T/data"
	mount -o remount,ro "$T/small"
	local listed created
	listed=$(umbra --state "$T/small/state" list --json | jq '.sets | length')
	created=$(umbra --state "$T/small/state" create "$T/data" 2>&1) && created=done
	umount "$T/small"
	[ "$listed" = 1 ]
	[[ $created == *"'$T/small/state' is on a read-only filesystem"*"--state DIR" ]]
}

@test "a mounted tree that hangs does not hang the copying of what it lies in" {
	require_root
	require_fuse
	tree
	mkdir "$T/data/shadows"
	umbra create --provider copy "$T/data"
	"$UMBRA_RUN/bin/mount.umbra" "$UMBRA_STATE" "$T/data/shadows" --foreground 3>&- 4>&- &
	local pid=$!
	eventually mountpoint -q "$T/data/shadows"
	kill -STOP $pid
	local status=0
	timeout 20 "$UMBRA" create --provider copy "$T/data" 3>&- 4>&- || status=1
	timeout 20 "$UMBRA" list "$T/data/shadows" 3>&- 4>&- || [ $? = 2 ] || status=1
	timeout 20 "$UMBRA" volumes 3>&- 4>&- || status=1
	kill -CONT $pid
	umount "$T/data/shadows"
	wait "$pid" || true
	[ "$status" = 0 ]
}

@test "a state directory that was moved is one with its copies, also without its catalog" {
	mkdir "$T/data"
	echo one >"$T/data/f"
	umbra create "$T/data" >/dev/null
	cp -a "$UMBRA_STATE" "$T/twin"
	rm "$T/twin/catalog.db"
	run umbra --state "$T/twin" check --rebuild
	assert_error 1 "belongs to the state directory '$UMBRA_STATE', which is there, too"
	[ "$(umbra --state "$T/twin" list --json | jq '.sets | length')" = 0 ]
	mv "$UMBRA_STATE" "$T/moved"
	umbra --state "$T/moved" check
	rm "$T/moved/catalog.db"
	umbra --state "$T/moved" check --rebuild
	[ "$(umbra --state "$T/moved" list --json | jq '.sets | length')" = 1 ]
	umbra --state "$T/moved" check
	# By its old name, too.
	ln -s moved "$UMBRA_STATE"
	rm "$T/moved/catalog.db"
	umbra check --rebuild
	[ "$(umbra list --json | jq '.sets | length')" = 1 ]
	umbra delete latest
}

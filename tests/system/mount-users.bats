# SPDX-License-Identifier: LGPL-2.1-or-later
# Who sees what: permissions and access control lists in a mounted tree, and ordinary users'
# own trees.
# shellcheck disable=SC2016 # what other shells run is theirs to expand
load helper

teardown() {
	local name
	for name in "${MORE_USERS[@]}"; do
		flock /run/lock/umbra-test userdel "$name" 2>/dev/null || true
	done
	umbra_teardown
}

# Two users besides root: ALICE, BOB.
users() {
	require_root
	require_fuse
	ALICE=$(test_user)
	BOB=${ALICE}b
	MORE_USERS=("$BOB")
	flock /run/lock/umbra-test useradd -M -U -s /bin/sh "$BOB"
}

as() {
	local user=$1
	shift
	timeout 20 setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups --inh-caps=-all \
		--bounding-set=-all -- "$@" 3>&- 4>&-
}

# What a user can do below a directory, as text; the same for the origin and its copy.
access_of() {
	as "$1" sh -c 'cd "$1" 2>/dev/null || { echo "no entry"; exit 0; }
		for f in $(cat "$2"); do
			printf "%s:" "$f"
			[ -r "$f" ] && cat "$f" >/dev/null 2>&1 && printf r
			[ -d "$f" ] && ls "$f" >/dev/null 2>&1 && printf l
			[ -d "$f" ] && stat "$f/." >/dev/null 2>&1 && printf s
			[ -x "$f" ] && printf x
			echo
		done' sh "$2" "$T/list"
}

@test "three users may do in a copy what they might in its origin, also with ACLs" {
	users
	mkdir "$T/data" "$T/mnt"
	chmod 755 "$T/data"
	local mode name
	for mode in 000 400 440 444 600 640 644 711 750 755 701 070 007; do
		mkdir -m 755 "$T/data/in$mode"
		echo x >"$T/data/in$mode/f"
		echo x >"$T/data/f$mode"
		chown "$ALICE:$BOB" "$T/data/f$mode" "$T/data/in$mode"
		chmod "$mode" "$T/data/f$mode" "$T/data/in$mode"
	done
	for name in deny:u:$BOB:--- grant:u:$BOB:r-x group:g:$BOB:--- mask:m::---; do
		mkdir -m 755 "$T/data/${name%%:*}"
		echo x >"$T/data/${name%%:*}/f"
		setfacl -m "${name#*:}" "$T/data/${name%%:*}" "$T/data/${name%%:*}/f"
		if [ "${name%%:*}" = grant ]; then
			chmod o= "$T/data/grant" "$T/data/grant/f"
		fi
	done
	(cd "$T/data" && find . -mindepth 1 >"$T/list")
	umbra create --provider copy "$T/data" >/dev/null
	umbra mount "$T/mnt" >/dev/null
	for name in root "$ALICE" "$BOB" nobody; do
		access_of "$name" "$T/data" >"$T/live"
		for mode in "$T/mnt/latest$T/data" "$T/mnt/by-volume"/*/@GMT-*; do
			access_of "$name" "$mode" >"$T/seen"
			diff "$T/live" "$T/seen"
			access_of "$name" "$mode" >"$T/seen" # from the kernel's caches
			diff "$T/live" "$T/seen"
		done
	done
	(cd "$T/data" && getfacl -R .) >"$T/live"
	(cd "$T/mnt/latest$T/data" && getfacl -R .) >"$T/seen"
	diff "$T/live" "$T/seen"
	umbra umount "$T/mnt"
}

@test "names of trusted attributes are for root, as live" {
	users
	mkdir "$T/data" "$T/mnt"
	echo x >"$T/data/f"
	setfattr -n user.mine -v 1 "$T/data/f"
	setfattr -n trusted.secret -v 1 "$T/data/f"
	umbra create --provider copy "$T/data" >/dev/null
	umbra mount "$T/mnt" >/dev/null
	[[ $(getfattr -d -m - "$T/mnt/latest$T/data/f") == *trusted.secret* ]]
	run -0 as "$ALICE" getfattr --absolute-names -d -m - "$T/mnt/latest$T/data/f"
	[ "${lines[*]:1}" = 'user.mine="1"' ]
	umbra umount "$T/mnt"
}

@test "a private directory above a volume protects its copies as it did live" {
	users
	mkdir "$T/mnt"
	mkdir -m 700 "$T/private"
	mkdir -m 755 "$T/private/docs"
	echo secret >"$T/private/docs/file"
	chown -R "$ALICE:$ALICE" "$T/private"
	umbra create --provider copy "$T/private/docs" >/dev/null
	umbra mount "$T/mnt" >/dev/null
	local path
	for path in "$T/mnt/latest$T/private/docs" "$T/mnt/by-volume"/*/@GMT-*; do
		[ "$(as "$ALICE" cat "$path/file")" = secret ]
		[ "$(cat "$path/file")" = secret ]
		run ! as "$BOB" cat "$path/file"
		[[ $output == *"Permission denied"* ]]
		run ! as "$BOB" ls "$path"
	done
	[ "$(stat -c '%a %U' "$T/mnt/latest$T/private")" = "700 $ALICE" ]
	umbra umount "$T/mnt"
}

@test "an ACL on a directory above a volume protects its copies too" {
	users
	mkdir "$T/mnt"
	mkdir -m 755 "$T/shared" "$T/shared/docs"
	echo secret >"$T/shared/docs/file"
	setfacl -m "u:$BOB:---" "$T/shared"
	umbra create --provider copy "$T/shared/docs" >/dev/null
	umbra mount "$T/mnt" >/dev/null
	[ "$(as "$ALICE" cat "$T/mnt/latest$T/shared/docs/file")" = secret ]
	run ! as "$BOB" cat "$T/mnt/latest$T/shared/docs/file"
	run ! as "$BOB" cat "$T/mnt/by-volume"/*/@GMT-*/file
	# A mode cannot say "all but one": by volume it is for root alone.
	run ! as "$ALICE" cat "$T/mnt/by-volume"/*/@GMT-*/file
	umbra umount "$T/mnt"
}

@test "a mount without others is for who mounts" {
	users
	mkdir "$T/data" "$T/mnt"
	umbra create --provider copy "$T/data" >/dev/null
	umbra mount -o noothers "$T/mnt" >/dev/null
	ls "$T/mnt" >/dev/null
	run ! as "$ALICE" ls "$T/mnt"
	umbra umount "$T/mnt"
}

@test "an ordinary user has a tree of his own" {
	require_fuse
	local mnt
	as_user mkdir -p "$T/user/data/sub" "$T/user/mnt"
	as_user sh -c 'echo one >"$0/data/sub/file"; chmod 640 "$0/data/sub/file"' "$T/user"
	export USER_STATE=$T/user/state
	mnt=$T/user/mnt
	as_user "$UMBRA" create --provider copy "$T/user/data"
	as_user "$UMBRA" mount "$mnt"
	[ "$(as_user cat "$mnt/latest$T/user/data/sub/file")" = one ]
	[ "$(as_user ls "$mnt/by-volume"/)" != "" ]
	[ "$(findmnt -no FSTYPE "$mnt")" = fuse.umbra ]
	as_user sh -c 'echo two >"$0/data/sub/file"' "$T/user"
	as_user "$UMBRA" create --provider copy "$T/user/data"
	[ "$(as_user cat "$mnt/latest$T/user/data/sub/file")" = two ]
	run as_user "$UMBRA" mount "$mnt"
	assert_error 1 "mounted on '$mnt' already"
	[ "$(id -u)" != 0 ] || run ! ls "$mnt"
	run as_user "$UMBRA" umount "$mnt"
	assert_ok
	run as_user "$UMBRA" mount -o allow_other "$mnt"
	assert_error 1 "only root may let others look"
	run as_user "$UMBRA" mount "$T/user/none"
	assert_error 1 "does not exist"
}

@test "a user is told that a tree is not his to take away" {
	require_root
	require_fuse
	mkdir "$T/mnt" "$T/data"
	umbra create --provider copy "$T/data"
	umbra mount "$T/mnt"
	run as_user "$UMBRA" umount "$T/mnt"
	assert_error 1 "was mounted by another user"
	umbra umount "$T/mnt"
}

@test "who stands in the tree of another state directory is told so" {
	require_root
	require_fuse
	mkdir "$T/data" "$T/mnt"
	echo one >"$T/data/a"
	umbra create --provider copy "$T/data" >/dev/null
	umbra mount "$T/mnt" >/dev/null
	local command
	cd "$T/mnt/latest$T/data"
	for command in versions diff restore; do
		run as_user "$UMBRA" "$command" a
		assert_error 2 "/data/a' is in the tree of '$UMBRA_STATE', which is not the state directory in use \('$T/user/state'\): use --state, or copy the file with cp"
	done
	umbra --state "$UMBRA_STATE" versions a
	cd /
	umbra umount "$T/mnt"
}

@test "an ordinary user's tree shows what the origin was" {
	require_fuse
	as_user mkdir -p "$T/user/mnt"
	as_user "$UMBRA_RUN/bin/umbra-hostile" "$T/user/data"
	as_user "$UMBRA" create --provider copy "$T/user/data"
	as_user "$UMBRA" mount "$T/user/mnt"
	as_user "$UMBRA_RUN/bin/umbra-compare" "$T/user/data" "$T/user/mnt/latest$T/user/data" \
		--no-atime
	as_user "$UMBRA" umount "$T/user/mnt"
}

@test "the default place is made; without XDG_RUNTIME_DIR a user must name one" {
	require_fuse
	as_user mkdir -p "$T/user/run" "$T/user/data"
	as_user "$UMBRA" create --provider copy "$T/user/data"
	XDG_RUNTIME_DIR=$T/user/run as_user "$UMBRA" mount
	mountpoint -q "$T/user/run/umbra/shadows" || as_user mountpoint -q "$T/user/run/umbra/shadows"
	XDG_RUNTIME_DIR=$T/user/run as_user "$UMBRA" umount
	[ ! -e "$T/user/run/umbra/shadows" ]
	XDG_RUNTIME_DIR='' run as_user "$UMBRA" mount
	assert_error 2 "XDG_RUNTIME_DIR is not set"
}

@test "without permission for /dev/fuse the error says what is needed" {
	require_root
	require_fuse
	as_user mkdir -p "$T/user/mnt" "$T/user/data"
	as_user "$UMBRA" create --provider copy "$T/user/data"
	# A device without permissions, seen by this command alone.
	touch "$T/device"
	chmod 600 "$T/device"
	run timeout 20 unshare -m sh -c 'mount --bind "$1" /dev/fuse && shift && exec "$@"' sh \
		"$T/device" setpriv --reuid "$(test_user)" --regid "$(test_user)" --init-groups \
		--inh-caps=-all env HOME="$T/user" UMBRA_STATE="$T/user/state" \
		"$UMBRA" mount "$T/user/mnt"
	assert_error 1 "no permission to use /dev/fuse.*package fuse3"
}

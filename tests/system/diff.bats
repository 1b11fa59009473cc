# SPDX-License-Identifier: LGPL-2.1-or-later
# umbra diff.
load helper

setup() {
	umbra_setup
	D=$T/data
	mkdir "$D"
}

create_at() { UMBRA_TEST_NOW=$1 umbra create "$D" >/dev/null; }

@test "diff: a file, from the newest set where it is different" {
	seq 20 >"$D/f"
	create_at 1000000000
	sed -i 's/^10$/ten/' "$D/f"
	create_at 1000000060
	run umbra diff "$D/f"
	assert_ok
	[ "${lines[0]}" = $'--- '"$D/f"$'\t@GMT-2001.09.09-01.46.40' ]
	[ "${lines[1]}" = $'+++ '"$D/f"$'\tlive' ]
	[[ $output == *$'\n-10\n+ten\n'* ]]
	run --separate-stderr umbra diff --from latest "$D/f"
	assert_ok
	[ -z "$output" ]
	[[ $stderr == *'is the same'* ]]
}

@test "diff: the output is a patch that works" {
	seq 20 >"$D/f"
	cp "$D/f" "$T/old"
	create_at 1000000000
	seq 5 25 >"$D/f"
	umbra diff "$D/f" >"$T/patch"
	command -v patch >/dev/null || unable "no patch"
	patch -s "$T/old" "$T/patch"
	cmp "$T/old" "$D/f"
}

@test "diff: between two sets, and of a deleted or new file" {
	echo one >"$D/f"
	create_at 1000000000
	echo two >"$D/f"
	create_at 1000000060
	rm "$D/f"
	echo new >"$D/n"
	run umbra diff --from oldest --to latest "$D/f"
	assert_ok
	[[ $output == *'-one'*'+two'* ]]
	run umbra diff "$D/f"
	[[ $output == *'latest'* || $output == *'@GMT-2001.09.09-01.47.40'*'-two'* ]]
	run umbra diff --from oldest "$D/n"
	assert_ok
	[[ $output == *'+new'* ]]
}

@test "diff: binary files are said to differ, attributes are told" {
	printf 'a\0b' >"$D/f"
	chmod 644 "$D/f"
	create_at 1000000000
	printf 'a\0c' >"$D/f"
	chmod 600 "$D/f"
	run umbra diff "$D/f"
	assert_ok
	[[ $output == *'mode 0644 -> 0600'*'Binary files differ'* ]]
}

@test "diff: a directory, one line for each change" {
	mkdir -p "$D/d/gone"
	echo 1 >"$D/d/text"
	echo 1 >"$D/d/mode"
	ln -s a "$D/d/link"
	create_at 1000000000
	echo 22 >"$D/d/text"
	chmod 600 "$D/d/mode"
	ln -sfn b "$D/d/link"
	rmdir "$D/d/gone"
	echo new >"$D/d/new"
	run umbra diff "$D/d"
	assert_ok
	[ "$output" = "removed  gone/
changed  link (content, time)
changed  mode (mode)
added    new
changed  text (content, time)" ]
	umbra diff "$D/d" --json >"$T/out"
	jq -e --arg p "$D/d/mode" '.to == "live" and (.changes | length) == 5 and
		.changes[2] == {"change":"changed","path":$p,"type":"file","differs":["mode"]}' \
		"$T/out"
}

@test "diff: what neither side has, wrong sets" {
	create_at 1000000000
	run umbra diff "$D/nothing"
	assert_error 1 "'$D/nothing' is not in the set that covers it"
	run umbra diff --from latest "$D/nothing"
	assert_error 1 'is neither in @GMT'
	run umbra diff --from latest /etc/passwd
	assert_error 1 'does not cover'
	run umbra diff --from @GMT-2001.01.01-00.00.00 "$D"
	assert_error 1 'no shadow copy set'
	run umbra diff --to latest "$D"
	assert_error 2 'needs --from'
}

@test "diff: a mount that the set does not cover is not compared" {
	require_root
	mkdir "$D/m"
	create_at 1000000000
	mount_known -t tmpfs tmpfs "$D/m"
	touch "$D/m/x"
	run umbra diff "$D"
	assert_ok
	[[ $output != *m* || $output == *'is the same'* ]]
	umount "$D/m"
}

# stopped PID: waits until it is
stopped() {
	local i
	for i in {1..50}; do
		[[ $(cat "/proc/$1/stat") != *') T '* ]] || return 0
		sleep 0.1
	done
	return 1
}

@test "diff, restore: a mount that hangs or lets nobody in is passed by" {
	require_root
	require_fuse
	command -v bindfs >/dev/null || unable "no bindfs"
	mkdir "$D/m" "$T/src"
	create_at 1000000000
	as_user true
	chown "$(test_user)" "$D/m" "$T/src"
	setpriv --reuid "$(test_user)" --clear-groups bindfs --no-allow-other -f "$T/src" "$D/m" 3>&- 4>&- &
	local pid=$! i
	for i in {1..50}; do
		! mountpoint -q "$D/m" && ! grep -q " $D/m fuse" /proc/self/mounts || break
		sleep 0.1
	done
	kill -STOP "$pid"
	stopped "$pid"
	COMMAND_LIMIT=10 run umbra diff "$D"
	local compared=$status
	COMMAND_LIMIT=10 run umbra restore "$D"
	kill -CONT "$pid"
	umount -l "$D/m"
	wait "$pid" || true
	[ "$compared" = 0 ]
	assert_ok
	[[ $output == *"left alone $D/m/"* ]]
}

@test "diff: on a terminal through \$PAGER" {
	command -v script >/dev/null || unable "no script(1)"
	echo one >"$D/f"
	create_at 1000000000
	echo two >"$D/f"
	run env PAGER="sed 's/^/paged: /'" script -qec "umbra diff '$D/f'" /dev/null
	[[ $output == *'paged: +two'* ]]
}

@test "diff: a pager that is not there loses nothing" {
	command -v script >/dev/null || unable "no script(1)"
	echo one >"$D/f"
	create_at 1000000000
	echo two >"$D/f"
	run env PAGER=no-such-pager script -qec "umbra diff '$D/f'" /dev/null
	assert_ok
	[[ $output == *"warning: there is no pager 'no-such-pager'"*'+two'* ]]
	run env PAGER=no-such-pager umbra diff "$D/f"
	[[ $output != *warning* ]]
	# Neither less nor more in PATH.
	mkdir "$T/few"
	ln -s "$(command -v diff)" "$T/few/"
	run script -qec "env -u PAGER PATH='$T/few' '$UMBRA' diff '$D/f'" /dev/null
	assert_ok
	[[ $output == *'+two'* ]]
}

@test "diff: umbra's own store in a btrfs filesystem is no difference" {
	make_btrfs "$T/vol"
	echo one >"$T/vol/file"
	umbra create "$T/vol"
	echo two >"$T/vol/file"
	run umbra diff "$T/vol"
	[[ $output != *.umbra* ]]
	[[ $output == *file* ]]
}

# SPDX-License-Identifier: LGPL-2.1-or-later
# umbra create, delete and check with the real providers.
load helper

tree() {
	mkdir -p "$T/data/sub"
	echo one >"$T/data/a"
	echo two >"$T/data/sub/b"
}

@test "create without words covers the current directory" {
	tree
	cd "$T/data"
	run -0 umbra create --provider copy
	[[ $output =~ ^@GMT-[0-9.]+-[0-9.]+\ \ fuzzy\ \ $T/data\ \(copy\)$ ]]
}

@test "create --json prints the set as documented" {
	tree
	run -0 umbra create --provider copy --comment 'before the update' --json "$T/data"
	echo "$output" | jq -e '.set and .timestamp and .consistency == "fuzzy" and .freeze_us == 0
		and .hold_us == 0 and .skew_us == 0 and .comment == "before the update"
		and (.volumes | length) == 1 and .volumes[0].provider == "copy"
		and .volumes[0].path == $path and .volumes[0].shadow and (.writers | length) == 0
		and ([.steps[].step] == ["resolve", "record", "prepare", "instant", "finish"])' \
		--arg path "$T/data"
}

@test "one set covers several directories; one inside another is copied once" {
	tree
	mkdir "$T/other"
	run -0 umbra create --provider copy "$T/other" "$T/data/sub" "$T/data"
	[[ $output == *"'$T/data/sub' is in the copy of '$T/data' already"* ]]
	umbra list --json | jq -e '[.sets[0].volumes[].path] == [$a, $b]' \
		--arg a "$T/data" --arg b "$T/other"
}

@test "two creations in a row have two names" {
	tree
	umbra create "$T/data"
	umbra create "$T/data"
	umbra list --json | jq -e '[.sets[].timestamp] | (unique | length) == 2'
}

@test "all or nothing: one volume that cannot be copied undoes the set" {
	tree
	run umbra create --provider copy "$T/data" /proc
	assert_error 1 "'/proc' lies on a pseudo filesystem"
	[ "$(umbra list --json | jq '.sets | length')" = 0 ]
	[ -z "$(ls -A "$UMBRA_STATE/copies" 2>/dev/null)" ]
}

@test "a mount below that is not covered is named, and covered with --recursive" {
	require_root
	make_ext4 "$T/data/disk"
	echo deep >"$T/data/disk/file"
	run -0 umbra create --provider copy "$T/data"
	[[ $output == *"'$T/data/disk' (ext4) is mounted below '$T/data' and not in the set"* ]]
	umbra show latest --json | jq -e '.volumes[0].notes[0].kind == "uncovered"'
	run -0 umbra create --provider copy --recursive "$T/data"
	[[ $output != *warning* ]]
	umbra list --json | jq -e '[.sets[-1].volumes[].path] == [$a, $b]' \
		--arg a "$T/data" --arg b "$T/data/disk"
}

# A tree that takes a while.
slow_tree() {
	mkdir "$T/slow"
	local i
	for i in {1..60}; do
		mkdir "$T/slow/$i"
		(cd "$T/slow/$i" && seq -f f%g 300 | xargs touch)
	done
	dd if=/dev/zero of="$T/slow/big" bs=1M count=64 status=none
}

nothing_left() {
	[ "$(umbra list --json | jq '.sets | length')" = 0 ] &&
		[ -z "$(ls -A "$UMBRA_STATE/copies" 2>/dev/null)" ]
}

copying() { [ -n "$(ls -A "$UMBRA_STATE/copies" 2>/dev/null)" ]; }

# bats test_tags=slow
@test "Ctrl-C undoes a creation" {
	slow_tree
	dd if=/dev/urandom of="$T/slow/more" bs=1M count=300 status=none
	"$UMBRA" create "$T/slow" 2>"$T/err" 3>&- &
	local pid=$!
	eventually copying
	kill -INT "$pid"
	local status=0
	wait "$pid" || status=$?
	[ "$status" = 1 ]
	grep -q interrupted "$T/err"
	nothing_left
}

# bats test_tags=slow
@test "progress is drawn on a terminal, and only there" {
	slow_tree
	COLUMNS=80 script -qec "$UMBRA create '$T/slow'" "$T/typescript" </dev/null >/dev/null 3>&-
	grep -q 'copying' "$T/typescript"
	run -0 --separate-stderr umbra create "$T/slow"
	[ -z "$stderr" ]
}

# bats test_tags=slow
@test "kill -9 of the requester, at many moments: the coordinator undoes" {
	slow_tree
	local i pid
	for i in 01 03 05 08 12 20; do
		"$UMBRA" create "$T/slow" 2>/dev/null >/dev/null 3>&- &
		pid=$!
		sleep "0.$i"
		kill -9 "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
		eventually test -z "$(processes_here)" || true
		umbra create --wait 30 "$T/data" 2>/dev/null || true
		umbra delete --all "$T/slow" --yes 2>/dev/null || true
		umbra check
		nothing_left
	done
}

# bats test_tags=slow
@test "kill -9 of everything, at many moments: the next start reconciles" {
	slow_tree
	local i pid
	for i in 01 03 05 08 12 20; do
		"$UMBRA" create "$T/slow" 2>/dev/null >/dev/null 3>&- &
		pid=$!
		sleep "0.$i"
		# shellcheck disable=SC2046
		kill -9 $(processes_here | grep -vx "$$") 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
		umbra delete --all "$T/slow" --yes --wait 30 2>/dev/null || true
		umbra check --wait 30
		nothing_left
	done
}

@test "check finds a copy that was taken away, and what rebuild can do about it" {
	tree
	umbra create "$T/data"
	umbra create "$T/data"
	run -0 umbra check
	[ "$output" = "2 sets, 0 problems" ]
	local id
	id=$(umbra show oldest --json | jq -r '.volumes[0].shadow')
	chmod -R u+w "$UMBRA_STATE/copies/$id"
	rm -rf "${UMBRA_STATE:?}/copies/${id:?}"
	run umbra check
	assert_error 1 "problem: opening the shadow copy of '$T/data' in set @GMT-[^@]*$id"
	run umbra versions "$T/data"
	[[ $output == *"warning: opening the shadow copy of '$T/data' in set @GMT-"* ]]
	run umbra check --rebuild
	assert_error 1 'problem: set @GMT-.* was in the old catalog, but no copy of it was found'
	[[ $output == *"made anew with 1 set"* ]]
	run -0 umbra check
}

@test "a damaged catalog says what to do, and doing it brings everything back" {
	tree
	umbra create --comment 'with ä and "quotes"' "$T/data"
	umbra create "$T/data"
	umbra list --json | jq -S 'del(.sets[].steps)' >"$T/before"
	dd if=/dev/urandom of="$UMBRA_STATE/catalog.db" bs=1k count=8 conv=notrunc status=none
	run umbra list
	assert_error 1 'umbra check --rebuild'
	run umbra create "$T/data"
	assert_error 1 'umbra check --rebuild'
	run umbra check
	assert_error 1 'umbra check --rebuild'
	run -0 umbra check --rebuild
	umbra list --json | jq -S 'del(.sets[].steps)' >"$T/after"
	diff "$T/before" "$T/after"
	umbra check
	umbra create "$T/data"
}

@test "a catalog of a later umbra is left alone" {
	tree
	umbra create "$T/data"
	sqlite3 "$UMBRA_STATE/catalog.db" 'PRAGMA user_version=99'
	run umbra list
	assert_error 1 'has format 99'
	run umbra create "$T/data"
	assert_error 1 'has format 99'
}

@test "a new copy is in the tree of nobody else's state directory" {
	tree
	umbra create "$T/data"
	run -0 umbra --state "$T/state2" list --json
	[ "$output" = '{"sets":[]}' ]
	[ ! -e "$T/state2" ]
}

@test "a btrfs volume that turned read-only is not copied by another provider in silence" {
	require_loop_btrfs
	make_btrfs "$T/volume"
	mkdir "$T/volume/data"
	mount -o remount,ro "$T/volume"
	run -0 umbra create "$T/volume/data"
	[[ $output == *"'$T/volume/data' is copied by 'copy', not by 'btrfs': '$T/volume' is mounted read-only"* ]]
}

@test "a chroot that is no mount point" {
	require_root
	local program=$UMBRA_RUN/bin/umbra library
	mkdir -p "$T/root/proc" "$T/root/data" "$T/root/bin" "$T/root/tmp"
	echo text >"$T/root/data/file"
	cp "$program" "$T/root/bin/"
	for library in $(ldd "$program" | grep -o '/[^ ]*'); do
		mkdir -p "$T/root$(dirname "$library")"
		cp -L "$library" "$T/root$library"
	done
	mount_known -t proc proc "$T/root/proc"
	run -0 timeout 60 chroot "$T/root" /bin/umbra --state /state create /data
	[[ $output == *"fuzzy  /data (copy)"* ]]
	run -0 timeout 60 chroot "$T/root" /bin/umbra --state /state check
}

@test "create: a volume that is not mounted is not taken for the directory below it" {
	make_btrfs "$T/vol"
	echo one >"$T/vol/file"
	umbra create "$T/vol"
	umount "$T/vol"
	run umbra create "$T/vol"
	assert_error 1 "was a volume \('btrfs'\).*nothing is mounted there.*--provider copy"
	umbra create --provider copy "$T/vol"
}

@test "create: an empty comment is none" {
	mkdir "$T/data"
	umbra create --comment '' --json "$T/data" | jq -e 'has("comment") | not'
	umbra list --json | jq -e '.sets[0] | has("comment") | not'
	run -0 umbra show latest
	[[ $output != *comment* ]]
}

@test "create: a comment has at most 1000 bytes" {
	mkdir "$T/data"
	run umbra create "$T/data" --comment "$(printf '%01001d' 0)"
	assert_error 2 "1001 bytes, and 1000 is the most"
	umbra create "$T/data" --comment "$(printf '%01000d' 0)" >/dev/null
	[ "$(umbra list --json | jq '.sets | length')" = 1 ]
}

@test "create: Ctrl-C before the coordinator has a session of its own stops it, and does not kill it" {
	local pid status=0
	mkdir "$T/data"
	set -m # a group of its own, as from a terminal
	UMBRA_TEST_FAULT=coordinator.forked:delay "$UMBRA" create "$T/data" >"$T/out" 2>"$T/err" 3>&- 4>&- &
	pid=$!
	set +m
	sleep 0.5
	kill -INT -- -$pid
	wait $pid || status=$?
	cat "$T/err"
	[ $status = 1 ]
	! grep "killed by signal" "$T/err" || return 1
	grep interrupted "$T/err"
	[ "$(umbra list --json | jq '.sets | length')" = 0 ]
}

one_set() { [ "$(umbra list --json | jq '.sets | length')" = 1 ]; }

@test "create: Ctrl-C when it is done does not keep it from saying so" {
	local pid status=0
	mkdir "$T/data"
	mkfifo "$T/out"
	exec 5<>"$T/out"
	# Whoever writes more waits.
	dd if=/dev/zero of="$T/out" bs=4096 count=4096 oflag=nonblock 2>/dev/null || true
	"$UMBRA" create "$T/data" >"$T/out" 2>"$T/err" 3>&- 4>&- 5>&- &
	pid=$!
	eventually one_set
	sleep 0.5
	kill -INT $pid
	sleep 0.2
	timeout 2 cat <&5 >"$T/said" || true
	wait $pid || status=$?
	exec 5>&-
	[ $status = 0 ]
	grep -aF "$(latest_token)" "$T/said"
}

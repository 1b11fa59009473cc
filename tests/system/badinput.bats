# SPDX-License-Identifier: LGPL-2.1-or-later
# What bad input gets: an error that names the object, status 1, and nothing left behind.
load helper

setup() {
	umbra_setup
	mkdir -p "$T/data/sub"
	echo content >"$T/data/file"
}

# No set, no copy, no half of one.
nothing_kept() {
	[ "$(umbra list --json | jq '.sets | length')" = 0 ]
	[ -z "$(find "${1:-$UMBRA_STATE/copies}" -mindepth 1 2>/dev/null)" ]
	run umbra check
	assert_ok
}

# refused PATH PATTERN: create says why, names the path, and leaves nothing.
refused() {
	run umbra create --provider copy "$1"
	assert_error 1 "$2"
	[[ $output == *"$1"* ]]
	nothing_kept
}

@test "bad path: does not exist, is a file, a dangling link, a fifo, too long a name" {
	refused "$T/nowhere" 'No such file|does not exist'
	refused "$T/data/file" '[Nn]ot a directory'
	ln -s nowhere "$T/dangling"
	refused "$T/dangling" 'No such file|does not exist'
	mkfifo "$T/fifo"
	refused "$T/fifo" '[Nn]ot a directory'
	run umbra create "$(printf '%0300d' 7)"
	assert_error 1 'too long'
	nothing_kept
}

@test "bad path: on a pseudo filesystem" {
	refused /proc 'proc'
	refused /sys 'sysfs'
	refused /dev/pts 'devpts'
}

@test "bad path: on a FUSE filesystem, umbra's own included" {
	require_fuse
	umbra create "$T/data"
	mkdir "$T/tree"
	umbra mount "$T/tree"
	run umbra create "$T/tree"
	assert_error 1 'FUSE|fuse'
	run umbra create "$T/tree/latest$T/data"
	assert_error 1 'FUSE|fuse'
	umbra umount "$T/tree"
	umbra delete --yes latest
	nothing_kept
}

@test "bad path: umbra's own store, and a directory in it" {
	umbra create "$T/data"
	run umbra create "$UMBRA_STATE"
	assert_error 1 "$UMBRA_STATE"
	run umbra create "$UMBRA_STATE/copies"
	assert_error 1 "$UMBRA_STATE"
	umbra delete --yes latest
	nothing_kept
}

@test "a directory that contains the store: the store is not in the copy" {
	UMBRA_STATE=$T/data/.state
	umbra create --provider copy "$T/data"
	umbra create --provider copy "$T/data"
	[ "$(find "$UMBRA_STATE/copies" -name file | wc -l)" = 2 ]
	[ -z "$(find "$UMBRA_STATE"/copies/*/*/tree -name .state -o -path '*/tree/.state/*')" ]
	umbra delete --yes --all "$T/data"
	nothing_kept
}

@test "a directory that contains the mountpoint: not entered, and named" {
	require_fuse
	umbra create --provider copy "$T/data"
	mkdir "$T/data/tree"
	umbra mount "$T/data/tree"
	run umbra create --provider copy --json "$T/data"
	assert_ok
	run umbra show latest --json
	jq -e --arg path "$T/data/tree" \
		'[.volumes[].notes[] | select(.kind == "uncovered").path] == [$path]' <<<"$output"
	[ -z "$(ls "$T/data/tree/latest$T/data/tree")" ]
	umbra umount "$T/data/tree"
}

@test "mountpoint: in use, not empty, missing, a file" {
	require_fuse
	umbra create "$T/data"
	mkdir "$T/tree" "$T/other"
	run umbra mount "$T/nowhere"
	assert_error 1 "$T/nowhere"
	run umbra mount "$T/data/file"
	assert_error 1 "$T/data/file"
	umbra mount "$T/tree"
	run umbra mount "$T/tree"
	assert_error 1 "mounted on '$T/tree' already"
	ls "$T/tree/latest/"
	umbra umount "$T/tree"
	run umbra umount "$T/other"
	assert_error 1 "$T/other"
}

@test "a full store: nothing half-made, the sets before stay whole" {
	require_root
	make_ext4 "$T/store" 20M
	UMBRA_STATE=$T/store/state
	umbra create --provider copy "$T/data"
	dd if=/dev/urandom of="$T/data/big" bs=1M count=30 status=none
	run umbra create --provider copy "$T/data"
	assert_error 1 'No space|full|space'
	[ "$(umbra list --json | jq '.sets | length')" = 1 ]
	[ "$(find "$UMBRA_STATE/copies" -name big | wc -l)" = 0 ]
	# And deleting works on a full disk.
	dd if=/dev/zero of="$T/store/filler" bs=64k 2>/dev/null || true
	run umbra delete --yes latest
	assert_ok
	nothing_kept
}

@test "a store on a read-only filesystem" {
	require_root
	make_ext4 "$T/store" 20M
	UMBRA_STATE=$T/store/state
	umbra create --provider copy "$T/data"
	mount -o remount,ro "$T/store"
	run umbra create --provider copy "$T/data"
	assert_error 1 "$T/store/state.*[Rr]ead-only"
	run umbra delete --yes latest
	assert_error 1 '[Rr]ead-only'
	[ "$(umbra list --json | jq '.sets | length')" = 1 ]
	mount -o remount,rw "$T/store"
	umbra delete --yes latest
}

@test "no permission: the store, the directory, a part of it" {
	require_root
	mkdir -m 0700 "$T/secret"
	mkdir "$T/data/closed"
	echo hidden >"$T/data/closed/file"
	chmod 0700 "$T/data/closed"
	USER_STATE=$T/secret/state run as_user umbra create "$T/data"
	assert_error 1 "$T/secret.*[Pp]ermission"
	run as_user umbra create "$T/secret"
	assert_error 1 "$T/secret.*[Pp]ermission"
	run as_user umbra create "$T/data"
	assert_ok
	run as_user umbra show latest
	assert_ok
	[[ $output == *"$T/data/closed"* ]]
	# Somebody else's state directory is not ours to write.
	UMBRA_STATE=$T/user/state run umbra create "$T/data"
	assert_error 1 "$T/user/state"
}

@test "a damaged catalog: said, kept, made anew" {
	umbra create --provider copy "$T/data"
	local token
	token=$(latest_token)
	dd if=/dev/urandom of="$UMBRA_STATE/catalog.db" bs=4k count=2 conv=notrunc status=none
	rm -f "$UMBRA_STATE"/catalog.db-*
	run umbra list
	assert_error 1 'catalog.*umbra check --rebuild'
	run umbra create --provider copy "$T/data"
	assert_error 1 'umbra check --rebuild'
	umbra check --rebuild
	[ "$(latest_token)" = "$token" ]
}

@test "killed in the middle of a copy: the next start tidies up" {
	local round pid requester
	for round in 1 2 3 4 5 6; do
		mkdir -p "$T/data/$round"
		split -b 1k -a 4 <(head -c 1M /dev/urandom) "$T/data/$round/"
	done
	for round in 0.02 0.05 0.1 0.2; do
		"$UMBRA" create --provider copy "$T/data" >"$T/out" 2>&1 3>&- 4>&- &
		requester=$!
		sleep "$round"
		# The requester and its coordinator, also one that it is just starting.
		while pid=$(processes_here) && [ -n "$pid" ]; do
			kill -9 $pid || true
		done
		wait "$requester" || true
	done
	# None of them is in the way of the next, which is whole.
	umbra create --provider copy "$T/data"
	run umbra-compare "$T/data" "$UMBRA_STATE/copies/$(umbra show latest --json |
		jq -r '.volumes[0].shadow')/tree" --no-atime
	assert_ok
	umbra delete --yes --all "$T/data"
	nothing_kept
}

@test "two creations at once: one waits, or says that it may" {
	local i first
	for ((i = 0; i < 3000; i++)); do echo $i >"$T/data/sub/$i"; done
	"$UMBRA" create --provider copy "$T/data" 3>&- 4>&- &
	first=$!
	eventually test -e "$UMBRA_STATE/lock"
	run umbra create --provider copy --wait 60 "$T/data"
	assert_ok
	wait "$first"
	[ "$(umbra list --json | jq '.sets | length')" = 2 ]
	# Held for certain: without --wait it fails at once, and says what to do.
	exec {lock}>"$UMBRA_STATE/lock"
	flock "$lock"
	run umbra create --provider copy "$T/data"
	assert_error 1 '(-|)-wait'
	exec {lock}>&-
	[ "$(umbra list --json | jq '.sets | length')" = 2 ]
}

@test "a clock set back: unique times, and the order of creation" {
	UMBRA_TEST_NOW=1700000000 umbra create --comment first "$T/data"
	UMBRA_TEST_NOW=1700000000 umbra create --comment second "$T/data"
	UMBRA_TEST_NOW=1600000000 umbra create --comment third "$T/data"
	run umbra list --json
	jq -e '[.sets[].comment] == ["first", "second", "third"]' <<<"$output"
	jq -e '[.sets[].timestamp] | unique | length == 3' <<<"$output"
	[ "$(jq -r '.sets[2].timestamp' <<<"$output")" = @GMT-2020.09.13-12.26.40 ]
	umbra show latest | grep -q third
	UMBRA_TEST_NOW=-5 umbra create --comment 'before 1970' "$T/data"
	UMBRA_TEST_NOW=999999999999999 umbra create --comment 'far ahead' "$T/data"
	[ "$(umbra list --json | jq '[.sets[].timestamp] | unique | length')" = 5 ]
}

@test "a clock set back to where every second has a set: nobody waits for long with the lock" {
	local now begun
	# From the second before: a quick machine has all of them within the one that begins here.
	now=$(($(date +%s) - 2))
	while [ "$now" -lt $(($(date +%s) + 20)) ]; do
		UMBRA_TEST_NOW=$((++now)) umbra create "$T/data" >/dev/null
	done
	begun=$SECONDS
	run -0 umbra create --comment late "$T/data"
	echo "$output"
	[ $((SECONDS - begun)) -lt 10 ]
	[[ $output == *"ahead of the clock"* ]]
	umbra list --json | jq -e '[.sets[].timestamp] | unique == sort'
	umbra show latest | grep -q late
}

@test "a volume that is unmounted between list and open" {
	require_root
	require_fuse
	require_loop_btrfs
	local token
	make_btrfs "$T/volume"
	btrfs -q subvolume create "$T/volume/home"
	echo there >"$T/volume/home/file"
	umbra create "$T/data"
	umbra create "$T/volume/home"
	token=$(latest_token)
	umount "$T/volume"
	umbra list | grep -q "$T/volume/home"
	run umbra versions "$T/volume/home/file"
	[ "$status" -le 1 ]
	run umbra restore "$T/volume/home/file" --from latest --to "$T/got"
	# It may find the volume by its device; if not it must say what is missing.
	[ "$status" = 0 ] || assert_error 1 "$T/volume"
	mkdir "$T/tree"
	umbra mount "$T/tree"
	ls "$T/tree" | grep -q "$token"
	run cat "$T/tree/$token$T/volume/home/file"
	[ "$output" = there ] || [[ $output == *rror* ]]
	# The other set keeps working.
	grep -q content "$T/tree/"@GMT-*"$T/data/file"
	umbra umount "$T/tree"
	mount "$(head -1 "$T/.image/loops")" "$T/volume"
	umbra delete --yes "$token"
	[ -z "$(btrfs subvolume list "$T/volume" | grep -v 'path home$' | grep -iv 'umbra$')" ]
}

@test "names of any bytes, as path of the volume too" {
	require_fuse
	local name
	mkdir "$T/tree"
	umbra create "$T/data"
	umbra mount "$T/tree"
	for name in $'new\nline' $'\xff\xfe' '-rf' '--' ' ' $'\e[31mred' "$(printf '%0255d' 7)" \
		'@GMT-2026.01.01-00.00.00' '%s%n' 'back\slash' "quote'\""; do
		mkdir "$T/data/$name"
		echo "$name" >"$T/data/$name/file"
		umbra create --provider copy --comment "$name" -- "$T/data/$name"
		cmp "$T/data/$name/file" "$T/tree/latest$T/data/$name/file"
		run umbra show latest
		assert_ok
		[[ $output != *$'\e[31m'* ]]
		umbra show latest --json | jq -e . >/dev/null
		umbra versions -- "$T/data/$name/file" >/dev/null
		run umbra restore --to "$T/restored" -- "$T/data/$name/file"
		assert_ok
		cmp "$T/data/$name/file" "$T/restored"
		rm "$T/restored"
	done
	umbra list --json | jq -e '.sets | length == 12'
	umbra umount "$T/tree"
}

@test "a set that is named wrongly: by nothing, by too little, by what is no set" {
	umbra create "$T/data"
	local word
	for word in '' abc latest~9 @GMT-2026.13.01-00.00.00 zzzzzzzz 'latest~' "$T/data"; do
		run umbra show "$word"
		[ "$status" = 1 ] || [ "$status" = 2 ]
		[ -n "$output" ]
		run umbra delete --yes "$word"
		[ "$status" = 1 ] || [ "$status" = 2 ]
	done
	[ "$(umbra list --json | jq '.sets | length')" = 1 ]
}

@test "a state directory that is none: a file, a link to nowhere, a relative one" {
	echo file >"$T/file"
	run umbra --state "$T/file" create "$T/data"
	assert_error 1 "$T/file"
	run umbra --state "$T/file" list
	assert_error 1 "$T/file"
	[ "$(cat "$T/file")" = file ]
	cd "$T"
	umbra --state relative create "$T/data"
	[ -e "$T/relative/catalog.db" ]
	[ "$(umbra --state relative list --json | jq '.sets | length')" = 1 ]
}

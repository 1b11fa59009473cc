# SPDX-License-Identifier: LGPL-2.1-or-later
# Filesystems that somebody froze: an error instead of a process that nobody can end.
load helper

setup() {
	umbra_setup
	require_root
	command -v fsfreeze >/dev/null || unable "no fsfreeze"
}

teardown() {
	thaw
	umbra_teardown
}

files() {
	mkdir -p "$T/data"
	echo one >"$T/data/file"
}

# Nobody has the lock, and another command does its work.
others_work() {
	flock -n "$UMBRA_STATE/lock" true
	umbra create --provider copy "$T/data"
	umbra delete latest
}

@test "frozen btrfs: create says so and how to go on, and leaves nothing" {
	make_btrfs "$T/volume"
	btrfs -q subvolume create "$T/volume/home"
	files
	umbra create "$T/volume/home"
	freeze "$T/volume"
	run umbra create "$T/volume/home"
	assert_error 1 "$T/volume/home': the btrfs filesystem .* is frozen.*'fsfreeze -u $T/volume/home'"
	others_work
	[ "$(umbra list --json | jq '.sets | length')" = 1 ]
	sqlite3 "$UMBRA_STATE/catalog.db" 'SELECT count(*) FROM sets' | grep -qx 1
	thaw
	# What had to try is gone, and nothing was made by it.
	eventually test -z "$(processes_here)"
	[ "$(btrfs subvolume list "$T/volume" | wc -l)" = 2 ]
	run -0 umbra check
	umbra create "$T/volume/home"
	umbra delete --yes --all "$T/volume/home"
	[ "$(btrfs subvolume list "$T/volume" | wc -l)" = 1 ]
}

@test "frozen btrfs: delete says so, others work, and it goes on afterwards" {
	make_btrfs "$T/volume"
	files
	umbra create "$T/volume"
	freeze "$T/volume"
	run umbra delete latest
	assert_error 1 "the btrfs filesystem .* is frozen.*'fsfreeze -u $T/volume'"
	run -0 umbra list --json
	jq -e '.sets == []' <<<"$output"
	others_work
	thaw
	run -0 umbra check
	[[ $output == *'half-deleted set '*' was removed'* ]]
	[ -z "$(btrfs subvolume list "$T/volume")" ]
}

@test "frozen for a moment: waited for" {
	make_btrfs "$T/volume"
	freeze "$T/volume"
	(sleep 1; fsfreeze -u "$T/volume") 3>&- 4>&- &
	run -0 umbra create "$T/volume"
	wait $!
	run -0 umbra check
}

@test "a state directory on a frozen filesystem is refused before the lock is taken" {
	make_ext4 "$T/store"
	files
	UMBRA_STATE=$T/store/state
	umbra create "$T/data"
	freeze "$T/store"
	run umbra create "$T/data"
	assert_error 1 "state directory '$UMBRA_STATE' is frozen.*'fsfreeze -u $UMBRA_STATE'"
	run umbra delete latest
	assert_error 1 "is frozen"
	run umbra check
	assert_error 1 "is frozen"
	run umbra --state "$T/store/new/state" create "$T/data"
	assert_error 1 "is frozen.*'fsfreeze -u $T/store'"
	run -0 umbra list --json
	jq -e '.sets | length == 1' <<<"$output"
	flock -n "$UMBRA_STATE/lock" true
	thaw
	eventually test -z "$(processes_here)"
	[ ! -e "$T/store/new" ]
	umbra create "$T/data"
	umbra delete --yes --all "$T/data"
	[ -z "$(ls -A "$UMBRA_STATE/copies")" ]
}

@test "a store of its own that is frozen: create and delete say so" {
	files
	umbra create "$T/data"
	umbra delete latest
	make_ext4 "$UMBRA_STATE/copies"
	umbra create "$T/data"
	freeze "$UMBRA_STATE/copies"
	run umbra create "$T/data"
	assert_error 1 "store '$UMBRA_STATE/copies' is frozen.*'fsfreeze -u $UMBRA_STATE/copies'"
	run umbra delete latest
	assert_error 1 "store '$UMBRA_STATE/copies' is frozen"
	flock -n "$UMBRA_STATE/lock" true
	thaw
	run -0 umbra check
	[ "$(ls -A "$UMBRA_STATE/copies")" = lost+found ]
}

@test "what lies on a frozen filesystem can be copied elsewhere" {
	make_ext4 "$T/volume"
	echo one >"$T/volume/file"
	freeze "$T/volume"
	run -0 umbra create --provider copy "$T/volume"
	thaw
}

@test "frozen root: a state directory of which nothing is there yet is refused, too" {
	local dir
	make_ext4 "$T/root" 64M
	mkdir -p "$T/root"{/data,/proc,/dev,"$UMBRA_RUN"}
	for dir in usr bin lib lib64 etc; do
		if [ -L "/$dir" ]; then cp -P "/$dir" "$T/root/"; elif [ -d "/$dir" ]; then mkdir "$T/root/$dir"; fi
	done
	cat >"$T/in-root" <<-'END'
		for dir in usr bin lib lib64 etc proc dev "${UMBRA_RUN#/}"; do
			[ -L "/$dir" ] || [ ! -d "/$dir" ] || mount --rbind "/$dir" "$T/root/$dir"
		done
		fsfreeze -f "$T/root"
		echo frozen
		timeout 20 chroot "$T/root" "$UMBRA" --state /state create /data
	END
	echo "$T/root" >"$T/.image/frozen"
	env -u UMBRA_TEST_TAG setsid sh -c 'sleep 30; fsfreeze -u "$1"' sh "$T/root" >/dev/null 2>&1 3>&- 4>&- &
	echo $! >"$T/.image/thawer"
	run unshare -m --propagation private bash -e "$T/in-root"
	assert_error 1 "the filesystem of umbra's state directory '/state' is frozen.*'fsfreeze -u /'"
	thaw
	[ ! -e "$T/root/state" ]
}

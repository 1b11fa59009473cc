# SPDX-License-Identifier: LGPL-2.1-or-later
# What killed processes and lost disks leave, when the catalog cannot tell about it any more.
load helper

setup() {
	umbra_setup
	mkdir -p "$T/data"
	echo content >"$T/data/file"
}

lose_catalog() { rm -f "$UMBRA_STATE/catalog.db" "$UMBRA_STATE/catalog.db-journal"; }

copies() { find "$UMBRA_STATE/copies" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l; }

# Starts a creation of $1 and kills all of it once there are $2 copies in the store, which happens
# before it is finished, as there is much to copy.
kill_creation() {
	local pid
	"$UMBRA" create --provider copy "$1" >/dev/null 2>&1 3>&- 4>&- &
	local requester=$!
	while [ "$(copies)" -lt "$2" ]; do kill -0 $requester; done
	while pid=$(processes_here) && [ -n "$pid" ]; do
		# shellcheck disable=SC2086 # several
		kill -9 $pid 2>/dev/null || true
	done
	wait $requester 2>/dev/null || true
}

# top DEVICE: the top level of a btrfs filesystem on $T/top.
top() {
	mkdir -p "$T/top"
	mount_known -o subvolid=5 "$1" "$T/top"
}

@test "leftovers of provider copy without a catalog: named by check, removed by rebuild" {
	local i kept
	for ((i = 0; i < 20000; i++)); do : >"$T/data/$i"; done
	mkdir "$T/small"
	umbra create "$T/small"
	kept=$(ls "$UMBRA_STATE/copies")
	kill_creation "$T/data" 2
	lose_catalog
	[ "$(copies)" = 2 ]
	run umbra check
	assert_error 1 'check --rebuild'
	run -0 umbra check --rebuild
	[[ $output == *"'copies/"*"the rest of a shadow copy, was removed"* ]]
	[ "$(ls "$UMBRA_STATE/copies")" = "$kept" ]
	run -0 umbra check
	[ "$output" = "1 set, 0 problems" ]
	# As when somebody lost the catalog and began anew without a rebuild.
	kill_creation "$T/data" 2
	sqlite3 "$UMBRA_STATE/catalog.db" "PRAGMA foreign_keys=ON;
		DELETE FROM sets WHERE state='preparing'"
	run umbra check
	assert_error 1 "'copies/.*' is what a killed creation or deletion left: 'umbra check --rebuild'"
	[ "$(copies)" = 2 ]
	run -0 umbra check --rebuild --json
	jq -e '.sets == 1 and .problems == [] and (.repaired | length) == 2' <<<"$output"
	[ "$(ls "$UMBRA_STATE/copies")" = "$kept" ]
}

@test "a half-deleted copy without a catalog is removed; a damaged record is kept" {
	umbra create "$T/data"
	umbra create "$T/data"
	umbra create "$T/data"
	local ids
	mapfile -t ids < <(umbra list --json | jq -r '.sets[].volumes[0].shadow')
	rm "$UMBRA_STATE/copies/${ids[0]}/shadow.json"
	truncate -s 30 "$UMBRA_STATE/copies/${ids[1]}/shadow.json"
	lose_catalog
	run umbra check --rebuild
	assert_error 1 "problem: 'copies/${ids[1]}' is left out, and left alone"
	[[ $output == *"repaired: 'copies/${ids[0]}', the rest of a shadow copy, was removed"* ]]
	[ ! -e "$UMBRA_STATE/copies/${ids[0]}" ]
	[ -e "$UMBRA_STATE/copies/${ids[1]}/tree/file" ]
	[ "$(umbra list --json | jq '.sets | length')" = 1 ]
}

@test "a leftover on btrfs is removed by its own state directory, and by no other" {
	make_btrfs "$T/volume"
	local other=$T/other id
	umbra create "$T/volume"
	umbra --state "$other" create "$T/volume"
	id=$(umbra show latest --json | jq -r '.volumes[0].shadow')
	# As a killed deletion leaves it.
	top "$(head -1 "$T/.image/loops")"
	rm "$T/top/.umbra/$id/shadow.json"
	lose_catalog
	run -0 umbra --state "$other" check
	run -0 umbra --state "$other" check --rebuild
	[ -e "$T/top/.umbra/$id/root" ]
	run -0 umbra check --rebuild
	[[ $output == *"/.umbra/$id', the rest of a shadow copy, was removed"* ]]
	[ ! -e "$T/top/.umbra/$id" ]
	run -0 umbra --state "$other" check
	[ "$output" = "1 set, 0 problems" ]
}

@test "a leftover on btrfs that does not say whose it is stays, and is named" {
	make_btrfs "$T/volume"
	umbra create "$T/volume"
	local id
	id=$(umbra show latest --json | jq -r '.volumes[0].shadow')
	top "$(head -1 "$T/.image/loops")"
	rm "$T/top/.umbra/$id/shadow.json"
	setfattr -x trusted.umbra.state_dir "$T/top/.umbra/$id"
	lose_catalog
	run umbra check --rebuild
	assert_error 1 "/.umbra/$id' is left out, and left alone: it has no record"
	[ -e "$T/top/.umbra/$id/root" ]
	btrfs -q subvolume delete "$T/top/.umbra/$id/root"
	rmdir "$T/top/.umbra/$id"
	run -0 umbra check
}

# A btrfs on $T/gone that comes and goes; its device stays known to the test.
disk() {
	make_btrfs "$T/gone"
	btrfs -q subvolume create "$T/gone/home"
	echo old >"$T/gone/home/file"
	DISK=$(tail -1 "$T/.image/loops")
}

@test "a disk that is gone for good: delete says how to forget, forget leaves nothing behind" {
	require_root
	disk
	umbra create "$T/gone" "$T/data"
	umbra create "$T/data"
	umount "$T/gone"
	local token
	token=$(umbra list --json | jq -r '.sets[0].timestamp')
	run umbra delete --forget "$token" --yes
	assert_error 1 "set $token was not deleted yet: 'umbra delete $token' does that"
	run umbra delete "$token"
	assert_error 1 "is not mounted: .*; or, if it is gone for good, 'umbra delete --forget $token'"
	run umbra create "$T/data"
	assert_ok
	[[ $output == *"--forget $token'"* ]]
	[ "$(umbra __complete delete --forget '' | cut -f1)" = "$token" ]
	run umbra delete --forget "$token" </dev/null
	assert_error 2 'say --yes if it is gone'
	run umbra delete --forget latest --yes
	assert_error 2 'by its time or id'
	run umbra delete --forget --yes
	assert_error 2 'say which SETs to forget'
	if command -v script >/dev/null; then
		run timeout 30 script -qec "'$UMBRA' delete --forget $token" /dev/null <<<n 3>&- 4>&-
		assert_error 1 "$token.*mount it instead.*gone for good\? \[y/N\].*nothing was forgotten"
	fi
	run -0 umbra delete --forget "$token" --yes
	[[ $output == *"is forgotten, not deleted ("*"is not mounted"* ]]
	[[ $output == *"forgotten $token" ]]
	run -0 umbra check
	[ "$output" = "2 sets, 0 problems" ]
	run umbra delete --forget "$token" --yes
	assert_error 1 "no shadow copy set '$token'"
	[ "$(copies)" = 2 ]
}

@test "a forgotten set does not come back with its disk, whatever becomes of the catalog" {
	require_root
	disk
	umbra create "$T/gone"
	umbra create "$T/data"
	umount "$T/gone"
	local token
	token=$(umbra list --json | jq -r '.sets[0].timestamp')
	run umbra delete "$token"
	assert_error 1 'is not mounted'
	run -0 --separate-stderr umbra delete --forget "$token" --yes --json
	jq -e --arg t "$token" '.deleted == [] and .forgotten[0].timestamp == $t' <<<"$output"
	mount "$DISK" "$T/gone"
	run umbra check
	assert_error 1 "/.umbra/.*' holds a shadow copy of a set that was forgotten.*'umbra check --rebuild' removes it"
	lose_catalog
	run -0 umbra check --rebuild
	[[ $output == *'the rest of a shadow copy, was removed'* ]]
	[ "$(umbra list --json | jq '.sets | length')" = 1 ]
	[ "$(btrfs subvolume list "$T/gone" | wc -l)" = 1 ]
	[ ! -e "$UMBRA_STATE/forgotten" ]
	run -0 umbra check
}

@test "a set that is forgotten when its disk is back is simply deleted" {
	require_root
	disk
	umbra create "$T/gone"
	umount "$T/gone"
	local token
	token=$(latest_token)
	run umbra delete "$token"
	assert_error 1 'is not mounted'
	mount "$DISK" "$T/gone"
	run -0 umbra delete --forget "$token" --yes
	[ "$output" = "deleted $token" ]
	[ "$(btrfs subvolume list "$T/gone" | wc -l)" = 1 ]
}

@test "rebuild keeps copies whose disk is not there, and what waits to be deleted" {
	require_root
	disk
	umbra create "$T/gone" "$T/data"
	umbra create "$T/gone"
	umbra list --json >"$T/before"
	local token
	token=$(latest_token)
	umount "$T/gone"
	run umbra delete "$token"
	assert_error 1 'is not mounted'
	run umbra check --rebuild
	assert_error 1 'stays in the catalog as it was: .*is not mounted'
	umbra list --json | jq -e '(.sets | length) == 1 and (.sets[0].volumes | length) == 3'
	mount "$DISK" "$T/gone"
	run -0 umbra check
	[[ $output == *"half-deleted set $token was removed"*'1 set, 0 problems' ]]
	diff <(jq '.sets[0].volumes' "$T/before") <(umbra list --json | jq '.sets[0].volumes')
}

@test "rebuild gives no index again that a mounted tree may know" {
	umbra create "$T/data"
	umbra create "$T/data"
	umbra delete latest
	umbra check --rebuild
	umbra create "$T/data"
	[ "$(sqlite3 "$UMBRA_STATE/catalog.db" 'SELECT idx FROM shadows ORDER BY idx' |
		tr '\n' ' ')" = '1 3 ' ]
}

@test "leftovers: a copy that lost its record stays through rebuilds, until its set is deleted" {
	mkdir "$T/w"
	echo x >"$T/w/file"
	umbra create --provider copy "$T/w"
	local dir
	dir=$(echo "$UMBRA_STATE"/copies/*)
	rm "$dir/shadow.json"
	local i
	for i in 1 2 3; do
		run umbra check --rebuild
		assert_error 1 "has lost its record"
		[ "$(cat "$dir/tree/file")" = x ]
	done
	umbra delete --yes latest
	[ ! -e "$dir" ]
	umbra check
}

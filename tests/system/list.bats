# SPDX-License-Identifier: LGPL-2.1-or-later
# umbra list, show and volumes without any set; with sets: see below.
load helper

@test "list: no state directory is no sets, and none is made" {
	run --separate-stderr umbra list
	assert_ok
	[ -z "$output" ]
	[[ $stderr == *"no shadow copy sets yet in '$UMBRA_STATE'"* ]]
	[ ! -e "$UMBRA_STATE" ]
}

@test "list: --json without sets is an empty list" {
	run --separate-stderr umbra list --json
	assert_ok
	[ "$output" = '{"sets":[]}' ]
	[ -z "$stderr" ]
}

@test "list: a path inside the state directory is refused" {
	mkdir -m 700 "$UMBRA_STATE"
	run umbra list "$UMBRA_STATE/copies"
	assert_error 1 "own state directory"
}

@test "list: a damaged catalog says how to make it anew" {
	mkdir -m 700 "$UMBRA_STATE"
	head -c 100000 /dev/urandom >"$UMBRA_STATE/catalog.db"
	run umbra list
	assert_error 1 'check --rebuild'
	run umbra show latest
	assert_error 1 'check --rebuild'
}

@test "show: a set that is not there" {
	run umbra show latest
	assert_error 1 "no shadow copy set 'latest'"
	run umbra show @GMT-2026.02.30-00.00.00
	assert_error 2 "is not a time"
	run umbra show
	assert_error 2 "a word is missing: 'SET'"
}

@test "volumes: the filesystem of the test is listed" {
	local mount
	mount=$(findmnt -nro TARGET --target "$T")
	umbra volumes --json | jq -e --arg m "$mount" '.volumes[] | select(.path == $m) | .fstype'
	umbra volumes | grep -q "^$mount "
	[ ! -e "$UMBRA_STATE" ]
}

@test "volumes: pseudo filesystems are not" {
	run umbra volumes
	assert_ok
	run ! grep -E '^/(proc|sys) ' <<<"$output"
}

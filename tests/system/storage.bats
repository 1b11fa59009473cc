# SPDX-License-Identifier: LGPL-2.1-or-later
# umbra storage where there are no diff areas; with some: tests/vm.
load helper

@test "nothing to list is said, and is an empty list for programs" {
	require_root
	run -0 --separate-stderr umbra storage
	[ -z "$output" ]
	[[ $stderr == *"no diff areas yet"*"umbra storage add PATH"* ]]
	run -0 --separate-stderr umbra storage list --json
	[ "$(jq -c .areas <<<"$output")" = '[]' ]
	[ -z "$stderr" ]
}

@test "an ordinary user is told that they are root's" {
	run -0 --separate-stderr as_user "$UMBRA" storage
	[ -z "$output" ]
	[[ $stderr == *"belong to root"* ]]
	run -0 as_user "$UMBRA" storage --json
	[ "$(jq -c .areas <<<"$output")" = '[]' ]
}

@test "an area that there is not cannot be given up" {
	require_root
	run -1 umbra storage remove 01234567-89ab-cdef-0123-456789abcdef
	[[ $output == *--force* ]]
	run -1 umbra storage remove --force 01234567-89ab-cdef-0123-456789abcdef
	[[ $output == *"no diff area"* ]]
}

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

@test "words that list does not take, and a volume without an area" {
	require_root
	run -2 umbra storage list --size 1G
	run -2 umbra storage --force
	run -1 umbra storage list "$T"
	[[ $output == *"'$T' has no diff area"* ]]
}

@test "an ordinary user is told that they are root's, and that is no success" {
	local words
	for words in storage "storage --json" "storage add $T" activate; do
		# shellcheck disable=SC2086 # words
		run -1 --separate-stderr as_user "$UMBRA" $words
		[ -z "$output" ]
		[[ $stderr == *"belong to root"* ]]
	done
}

@test "umbrad says once what fails at every look" {
	run as_user timeout 3 "$UMBRA_RUN/bin/umbrad"
	[ "$status" = 124 ]
	echo "$output"
	local said
	said=$(grep -c "cannot list the device-mapper devices" <<<"$output")
	# The library tells the reason the first time only.
	[ "$said" = 1 ] || [ "$said" = 2 ]
}

@test "an area that there is not cannot be given up" {
	require_root
	run -1 umbra storage remove 01234567-89ab-cdef-0123-456789abcdef
	[[ $output == *"no diff area"* ]]
	run -1 umbra storage remove --force 01234567-89ab-cdef-0123-456789abcdef
	[[ $output == *"no diff area"* ]]
}

# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
# umbra check --thaw and umbra-guard --thaw where nothing is, or can be, held.
load helper

setup() {
	umbra_setup
	export UMBRA_TEST_HELD=$T/held
}

@test "nothing is held: nothing to say" {
	require_root
	run umbra check --thaw
	assert_ok
	[ -z "$output" ]
	run umbra-guard --thaw
	assert_ok
	[ -z "$output" ]
	[ ! -e "$UMBRA_STATE" ]
}

@test "--json" {
	require_root
	run umbra check --thaw --json
	assert_ok
	[ "$(jq -cS . <<<"$output")" = '{"problems":[],"repaired":[]}' ]
}

@test "an ordinary user is told that it needs root" {
	require_root
	run as_user "$UMBRA" check --thaw
	assert_error 1 'only root'
}

@test "--thaw and --rebuild do not go together" {
	run umbra check --thaw --rebuild
	assert_error 2 'two things'
}

@test "a list where others can write is not believed" {
	require_root
	mkdir -m 777 "$T/held"
	run umbra check --thaw
	assert_error 1 'not believed'
	run umbra-guard --thaw
	assert_error 1 'not believed'
	# Other commands say so and go on.
	run umbra list
	assert_ok
	[[ $output == *'not believed'* ]]
}

@test "umbra-guard says how it is used" {
	run umbra-guard
	assert_error 2 'usage: umbra-guard --thaw'
	run umbra-guard --version
	assert_ok
	run umbra-guard --watch third
	assert_error 2 usage
}

@test "a guard that nobody watches ends" {
	require_root
	run timeout 10 umbra-guard --watch first </dev/null
	[ "$status" != 124 ]
}

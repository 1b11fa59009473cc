# SPDX-License-Identifier: LGPL-2.1-or-later
# The command line itself: help, unknown words, output that cannot be written.
load helper

@test "cli: without a command the usage is shown, status 2" {
	run umbra
	assert_error 2 'usage: umbra COMMAND'
}

@test "cli: --help, help and --version succeed on standard output" {
	local word
	for word in --help -h help --version; do
		run --separate-stderr umbra "$word"
		assert_ok
		[[ $output == *umbra* ]]
		[ -z "$stderr" ]
	done
}

@test "cli: unknown command, unknown option, missing argument, unexpected word: status 2" {
	run umbra frobnicate
	assert_error 2 "no command 'frobnicate'"
	run umbra providers --frobnicate
	assert_error 2 "no option '--frobnicate'"
	run umbra providers --state
	assert_error 2 "missing after '--state'"
	run umbra providers word
	assert_error 2 "unexpected 'word'"
}

@test "cli: every command explains itself" {
	local command
	umbra --help | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p' >"$T/commands"
	[ -s "$T/commands" ]
	while read -r command; do
		run --separate-stderr umbra "$command" --help
		assert_ok
		[[ $output == "usage: umbra $command"* ]]
	done <"$T/commands"
}

@test "cli: output that cannot be written is a failure" {
	[ -c /dev/full ] || unable "no /dev/full"
	run bash -c '"$UMBRA" --help >/dev/full'
	assert_error 1 'cannot write the output'
}

@test "cli: hostile words are shown escaped" {
	run umbra $'bad\x1b[31m\nword'
	assert_error 2 '\\x1b'
	[[ $output != *$'\x1b'* ]]
}

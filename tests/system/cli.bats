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
	run umbra providers -x
	assert_error 2 "no option '-x'"
	run umbra providers --state
	assert_error 2 "missing after '--state'"
	run umbra providers word
	assert_error 2 "unexpected 'word'"
}

# Names of all commands, one a line.
commands() { umbra --help | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p'; }

@test "cli: every command explains itself" {
	local command
	commands >"$T/commands"
	[ -s "$T/commands" ]
	while read -r command; do
		run --separate-stderr umbra "$command" --help
		assert_ok
		[[ $output == "usage: umbra $command"* ]]
		[ "$(umbra help "$command")" = "$output" ]
	done <"$T/commands"
}

@test "cli: what stands before the command" {
	run umbra --state "$T/state" list --json
	assert_ok
	run umbra --state="$T/state" list --json
	assert_ok
	run umbra --json list
	assert_error 2 "'--json'.*before the command"
	run umbra --state= list
	assert_error 2 'argument of --state cannot be empty'
	run umbra help frobnicate
	assert_error 2 "no command 'frobnicate'"
}

@test "cli: an empty word or argument is a usage error everywhere, but for a text" {
	local command option
	commands >"$T/commands"
	while read -r command; do
		run umbra "$command" ''
		assert_error 2 'cannot be empty|unexpected'
		umbra "$command" --help | sed -nE 's/^ +(-., )?--([a-z-]+) [A-Z].*/\2/p' >"$T/options"
		grep -qx state "$T/options"
		while read -r option; do
			[ "$option" != comment ] || continue
			run umbra "$command" "--$option" '' "$T"
			assert_error 2 "argument of --$option cannot be empty"
		done <"$T/options"
	done <"$T/commands"
	mkdir "$T/data"
	run umbra create --comment '' "$T/data"
	assert_ok
}

# unwritten STATUS WORD…: umbra says once that it could not write, wherever output goes.
unwritten() {
	local to
	for to in '>/dev/full' '>&-'; do
		run bash -c 'out=$1; shift; eval "\"$UMBRA\" \"\$@\" $out"' - "$to" "$@" 3>&- 4>&-
		echo "umbra $* $to"
		assert_error 1 'cannot write the output: (No space|Bad file)'
		[ "$(grep -c 'cannot write' <<<"$output")" = 1 ]
	done
}

@test "cli: output that cannot be written is a failure" {
	[ -c /dev/full ] || unable "no /dev/full"
	local words
	mkdir "$T/data"
	echo one >"$T/data/f"
	umbra create "$T/data"
	echo three >"$T/data/f"
	cd "$T"
	for words in --help --version 'list --help' list 'list --json' 'show latest' \
		'versions data/f' 'diff data' 'diff --json data' 'restore -n data' 'check' \
		'check --json' 'volumes' 'providers' 'providers --json' 'create data'; do
		# shellcheck disable=SC2086
		unwritten $words
	done
	run bash -c '"$UMBRA" diff --from oldest data/f >/dev/full'
	assert_error 1 "cannot show the difference of '$T/data/f'"
	# What nobody can read of was done all the same.
	[ "$(umbra list --json | jq '.sets | length')" = 3 ]
	unwritten delete oldest
	[ "$(umbra list --json | jq '.sets | length')" = 1 ]
}

@test "cli: longer output than a buffer, too, is missed once" {
	[ -c /dev/full ] || unable "no /dev/full"
	mkdir -m 700 "$UMBRA_STATE"
	umbra-fill-catalog "$UMBRA_STATE" 500
	unwritten list
	unwritten list --json
}

@test "cli: hostile words are shown escaped" {
	run umbra $'bad\x1b[31m\nword'
	assert_error 2 '\\x1b'
	[[ $output != *$'\x1b'* ]]
}

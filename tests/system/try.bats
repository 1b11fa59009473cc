# SPDX-License-Identifier: LGPL-2.1-or-later
# ./try: builds and runs from a directory with a blank, as root and as an ordinary user, and leaves
# nothing.
load helper

setup_file() {
	umbra_setup_file
	mkdir "$UMBRA_RUN/a blank"
	tar -C "$UMBRA_SOURCE" --exclude='./build*' --exclude=./.git -cf - . |
		tar -C "$UMBRA_RUN/a blank" -xf -
	chown -R "$(test_user)" "$UMBRA_RUN/a blank"
}

setup() {
	umbra_setup
	COMMAND_LIMIT=100
	try=$UMBRA_RUN/a\ blank/try
	# try works below TMPDIR: there we see what it leaves.
	export TMPDIR=$T/tmp
	mkdir -m 1777 "$TMPDIR"
	unset UMBRA_STATE
}

teardown() {
	export UMBRA_STATE=$T/state
	umbra_teardown
}

try() { timeout -k 10 "$COMMAND_LIMIT" "$try" "$@" 3>&- 4>&-; }

nothing_left() { [ -z "$(ls -A "$TMPDIR")" ]; }

@test "try: wrong words" {
	run try --frobnicate
	assert_error 2 usage
	run try ""
	assert_error 2 usage
	run try one two
	assert_error 2 usage
	run try "$T/nowhere"
	assert_error 1 nowhere
	run try --help
	assert_ok
	nothing_left
}

@test "try: the first half as an ordinary user" {
	require_fuse
	run as_user "$try"
	assert_ok
	[[ $output == *'all back'* ]]
	[[ $output == *'Read-only file system'* ]]
	nothing_left
}

@test "try: root, with a directory, which stays as it was" {
	require_root
	require_fuse
	require_loop_btrfs
	mkdir "$T/my files"
	echo mine >"$T/my files/file"
	cp -a "$T/my files" "$T/reference"
	run try "$T/my files"
	assert_ok
	[[ $output == *'all back'* ]]
	[[ $output == *'(btrfs)'* ]]
	umbra-compare "$T/my files" "$T/reference" --no-atime
	nothing_left
}

@test "try: --keep leaves the tree and says how to leave it" {
	require_fuse
	local how
	run as_user "$try" --keep
	assert_ok
	how=$(sed -n 's/^And afterwards: //p' <<<"$output")
	[ -n "$how" ]
	as_user sh -c 'ls "$TMPDIR"/umbra-try.*/tree/latest/'
	run as_user bash -c "$how"
	assert_ok
	nothing_left
}

@test "try: interrupted, it cleans up" {
	require_fuse
	# Not in the background of a shell: that ignores SIGINT.
	run python3 - "$try" <<-'END'
		import os, signal, subprocess, sys, time
		p = subprocess.Popen([sys.argv[1]], stdout=subprocess.PIPE, start_new_session=True, text=True,
		                     preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
		for line in p.stdout:
		    if "umbra versions" in line:
		        os.killpg(p.pid, signal.SIGINT)
		        break
		p.stdout.read()
		sys.exit(p.wait(60))
	END
	[ "$status" = 130 ] || [ "$status" = 1 ]
	nothing_left
}

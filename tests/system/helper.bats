# SPDX-License-Identifier: LGPL-2.1-or-later
# The helper itself: what must fail a test is seen to fail it.
load helper

# Runs a file with the one test given on standard input.
inner() {
	{
		echo "load '$UMBRA_SOURCE/tests/system/helper'"
		echo '@test "inner" {'
		cat
		echo '}'
	} >"$T/inner.bats"
	run env -u UMBRA_TEST_TAG -u BATS_TEST_TIMEOUT UMBRA_TEST_DIR="$T" UMBRA_BUILD="$UMBRA_BUILD" \
		TEST_LIMIT="${LIMIT:-20}" timeout 60 bats --tap "$T/inner.bats" 3>&- 4>&-
}

@test "helper: a clean test passes" {
	inner <<<'[ ! -e "$UMBRA_STATE" ] && umbra --version && run umbra nonsense && assert_error 2 nonsense'
	assert_ok
	[ -z "$(ls -d "$T"/umbra-test.* 2>/dev/null)" ]
}

@test "helper: a wrong status fails" {
	inner <<<'run umbra nonsense; assert_error 1 nonsense'
	assert_error 1 '(^|[[:space:]])not ok 1 inner'
}

@test "helper: a process left running fails and is ended" {
	inner <<<'(exec -a leftover sleep 1234) 3>&- 4>&- & true'
	assert_error 1 'left running: [0-9]+ sleep'
}

@test "helper: a mount left fails and is taken down" {
	require_root
	inner <<<'mkdir "$T/m"; mount -t tmpfs none "$T/m"'
	assert_error 1 'left mounted: .*/m \(.*tmpfs\)'
	run grep -c "$T" /proc/self/mountinfo
	[ "$output" = 0 ]
}

@test "helper: a loop device left fails and is detached" {
	require_filesystem ext4
	inner <<<'truncate -s 1M "$T/i"; losetup -f "$T/i"'
	assert_error 1 'left attached: loop'
	run grep -sl "$T" /sys/block/loop*/loop/backing_file
	[ -z "$output" ]
}

@test "helper: a socket left in the state fails" {
	inner <<<'mkdir -p "$UMBRA_STATE/mounts"; : >"$UMBRA_STATE/mounts/x.sock"'
	assert_error 1 'left in .*x.sock'
}

@test "helper: filesystems made for a test are taken down" {
	require_loop_btrfs
	inner <<<'make_btrfs "$T/b"; make_ext4 "$T/e f"; touch "$T/b/x" "$T/e f/x"; as_user true'
	assert_ok
	run grep -c "$T" /proc/self/mountinfo
	[ "$output" = 0 ]
}

@test "helper: a test that hangs is ended" {
	LIMIT=2
	inner <<<'sleep 1234 3>&-'
	assert_error 1 'not ok 1 inner'
	[[ $output == *'over 2 s: ending'* ]]
}

@test "helper: a test that loops is ended" {
	LIMIT=1
	inner <<<'while :; do read -rt 0.2 <> <(:) || true; done'
	[ "$status" != 0 ]
}

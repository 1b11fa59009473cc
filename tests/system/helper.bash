# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# shellcheck disable=SC2154 # status and output are bats'
#
# What every file of tests/system loads. Each test gets
#
#	T		a directory of its own on a real filesystem, others may enter it
#	UMBRA_STATE	a private state directory, $T/state (not made yet)
#	UMBRA		the program; `umbra` and `mount.umbra` are functions that run it with a
#			time limit and without bats' own descriptors
#
# and fails when it leaves a mount, a loop device, a process, a socket in $UMBRA_STATE/mounts or a
# sanitizer's report. What was made with make_btrfs and the like is taken down by itself. A file
# that needs a setup() or teardown() of its own calls umbra_setup or umbra_teardown in it.
#
# UMBRA_BUILD names the build directory (./build), UMBRA_TEST_DIR where to work (/var/tmp).

bats_require_minimum_version 1.5.0

UMBRA_SOURCE=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
UMBRA_BUILD=${UMBRA_BUILD:-$UMBRA_SOURCE/build}
TEST_LIMIT=${TEST_LIMIT:-120}       # seconds, one test
COMMAND_LIMIT=${COMMAND_LIMIT:-60}  # seconds, one run of a program

# --- one file of tests -------------------------------------------------------------------------

# The programs are copied to where an ordinary user can run them: the source may lie in /root.
umbra_setup_file() {
	UMBRA_RUN=$(mktemp -d "${UMBRA_TEST_DIR:-/var/tmp}/umbra-test.XXXXXX")
	UMBRA_RUN=$(realpath "$UMBRA_RUN")
	export UMBRA_RUN
	chmod 755 "$UMBRA_RUN"
	mkdir "$UMBRA_RUN/bin"
	mkfifo "$UMBRA_RUN/never"
	local program found=()
	for program in src/cli/umbra src/guard/umbra-guard src/daemon/umbrad fuse/mount.umbra tests/lib/umbra-hostile \
		tests/lib/umbra-compare tests/lib/umbra-fill-catalog tests/pit/umbra-pit \
		tests/vm/umbra-vm-files tests/vm/umbra-vm-masked; do
		[ ! -e "$UMBRA_BUILD/$program" ] || found+=("$UMBRA_BUILD/$program")
	done
	if ! [ -x "$UMBRA_BUILD/src/cli/umbra" ]; then
		echo "no program $UMBRA_BUILD/src/cli/umbra: build first, or set UMBRA_BUILD" >&2
		return 1
	fi
	cp "${found[@]}" "$UMBRA_RUN/bin/"
}

umbra_teardown_file() {
	[ -n "${UMBRA_RUN:-}" ] || return 0
	if [ -e "$UMBRA_RUN/user" ]; then
		flock /run/lock/umbra-test userdel "$(cat "$UMBRA_RUN/user")" 2>/dev/null || true
	fi
	remove "$UMBRA_RUN"
}

# --- one test ------------------------------------------------------------------------------------

# bats has bash stop before each command to note where it is. In the guest the five system calls of
# that take as long as a hundred commands, so it is spared what loops here and says itself what is
# wrong: `local -` and `set +T`, and what such a function calls is not traced.

umbra_setup() {
	local -
	set +T
	T=$UMBRA_RUN/$BATS_TEST_NUMBER
	mkdir "$T" "$T/home" "$T/.image" "$T/.sanitizer"
	chmod 1777 "$T/.sanitizer"
	UMBRA=$UMBRA_RUN/bin/umbra
	export T UMBRA UMBRA_STATE=$T/state UMBRA_TEST_TAG=$T
	export PATH=$UMBRA_RUN/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	unset LC_ALL LANG # each category would be a file to open, for every process
	export HOME=$T/home LC_CTYPE=C.UTF-8 TZ=UTC
	export ASAN_OPTIONS="log_path='$T/.sanitizer/report'":detect_stack_use_after_return=1
	export UBSAN_OPTIONS="log_path='$T/.sanitizer/report'":print_stacktrace=1
	unset XDG_STATE_HOME UMBRA_DEBUG UMBRA_TEST_NOW
	watchdog $$ 3>&- 4>&- &
	WATCHDOG=$!
}

umbra_teardown() {
	local -
	set +T
	[ -d "${T:-}" ] || return 0
	kill "$WATCHDOG" 2>/dev/null || true
	wait "$WATCHDOG" 2>/dev/null || true
	cd /
	local bad=0
	left_processes || bad=1
	left_mounts || bad=1
	left_sockets || bad=1
	left_reports || bad=1
	sweep
	left_loops || bad=1
	remove "$T" || bad=1
	return $bad
}

# Who is not root cannot empty a directory that may not be written.
remove() {
	rm -rf --one-file-system "$1" 2>/dev/null && return
	chmod -R u+rwX "$1" 2>/dev/null
	rm -rf --one-file-system "$1"
}

setup_file() { umbra_setup_file; }
teardown_file() { umbra_teardown_file; }
setup() { umbra_setup; }
teardown() { umbra_teardown; }

# --- what a test may have left -------------------------------------------------------------------

# No process is started here that need not be: in the guest that is what takes the time.

# MOUNTS: at or below T, deepest last: "MAJOR:MINOR TYPE TARGET". Nothing here touches the mounts
# themselves: a dead one would hang us.
find_mounts() {
	local dev path rest
	MOUNTS=()
	while read -r _ _ dev _ path rest; do
		printf -v path %b "$path"
		[[ $path/ == "$T"/* ]] || continue
		rest=${rest#*- }
		MOUNTS+=("$dev ${rest%% *} $path")
	done </proc/self/mountinfo
}

any_fuse() { [[ " ${MOUNTS[*]}" =~ \ [0-9]+:[0-9]+\ fuse ]]; }

# Processes that this test started, whoever their parent is by now.
processes_here() {
	local list pid
	# environ of a process that waits in a page fault cannot be read: never without a limit.
	list=$(
		unset UMBRA_TEST_TAG
		exec timeout 10 grep -lsxzF "UMBRA_TEST_TAG=$T" /proc/[0-9]*/environ
	) || true
	for pid in $list; do
		pid=${pid#/proc/}
		echo "${pid%/environ}"
	done
}

# LEFT: those that there are still.
left_processes() {
	local try pid
	for try in 05 1 1 2 2 3 4 5; do
		LEFT=$(processes_here)
		[ -n "$LEFT" ] || return 0
		# A mount's process lives as long as the mount; that is reported as a mount.
		find_mounts
		! any_fuse || return 0
		sleep "0.$try"
	done
	for pid in $LEFT; do
		echo "left running: $pid $(cat "/proc/$pid/comm" 2>/dev/null)" >&2
	done
	return 1
}

# Filesystems of make_btrfs and the like are known; the rest was left.
left_mounts() {
	local bad=0 entry target
	find_mounts
	for entry in "${MOUNTS[@]}"; do
		target=${entry#* * }
		grep -qsxzF -- "$target" "$T/.image/mounts" && continue
		printf 'left mounted: %q (%s)\n' "$target" "${entry%" $target"}" >&2
		bad=1
	done
	return $bad
}

left_sockets() {
	local names
	[ -d "$UMBRA_STATE/mounts" ] && names=$(ls -A "$UMBRA_STATE/mounts" 2>/dev/null) || return 0
	[ -n "$names" ] || return 0
	[ -z "${SOCKETS_MAY_STAY:-}" ] || return 0
	echo "left in $UMBRA_STATE/mounts: $names" >&2
	return 1
}

left_reports() {
	local report bad=0
	for report in "$T"/.sanitizer/*; do
		[ -e "$report" ] || continue
		echo "sanitizer: $report" >&2
		head -60 "$report" >&2
		bad=1
	done
	return $bad
}

# "DEVICE FILE" of each loop device on a file of this test.
loops_here() {
	local file name
	for file in /sys/block/loop*/loop/backing_file; do
		[ -e "$file" ] || continue
		read -r name <"$file" || continue
		[[ $name == "$T"/* ]] || continue
		file=${file#/sys/block/}
		echo "${file%%/*} $name"
	done
}

# A device that was detached goes when the last who has it open closes it: who looks for
# filesystems on all devices does that at any time.
left_loops() {
	local try left device name
	# A mount namespace of another test may have a copy of the mount for as long as it lives.
	for try in 0.05 0.1 0.2 0.5 1 1 2 2 4 4; do
		left=$(loops_here)
		[ -n "$left" ] || return 0
		sleep "$try"
	done
	while read -r device name; do
		echo "left attached: $device $name" >&2
		losetup -d "/dev/$device" || true
	done <<<"$left"
	return 1
}

# Lets go whatever waits for a FUSE process that will not answer any more.
abort_fuse() {
	local entry minor
	[ "$(id -u)" = 0 ] || return 0
	[ -e /sys/fs/fuse/connections/. ] && mountpoint -q /sys/fs/fuse/connections ||
		mount -t fusectl fusectl /sys/fs/fuse/connections 2>/dev/null || return 0
	find_mounts
	for entry in "${MOUNTS[@]}"; do
		[[ $entry == *' fuse'* ]] || continue
		minor=${entry%% *}
		minor=${minor#*:}
		echo 1 >"/sys/fs/fuse/connections/$minor/abort" 2>/dev/null || true
	done
}

# Takes everything down, in whatever state it is; the processes LEFT.
sweep() {
	local entry target pid device round mounts i
	for round in 1 2 3; do
		find_mounts
		mounts=("${MOUNTS[@]}")
		[ -n "$LEFT" ] || [ ${#mounts[@]} -gt 0 ] || break
		for ((i = ${#mounts[@]} - 1; i >= 0; i--)); do
			entry=${mounts[i]}
			target=${entry#* * }
			if [[ $entry == *' fuse'* ]] && [ "$round" -gt 1 ]; then
				abort_fuse
			fi
			if [ "$(id -u)" = 0 ]; then
				timeout 20 umount "$target" 2>/dev/null ||
					timeout 20 umount -l "$target" 2>/dev/null || true
			else
				timeout 20 fusermount3 -uz "$target" 2>/dev/null || true
			fi
		done
		LEFT=$(processes_here)
		for pid in $LEFT; do
			kill -9 "$pid" 2>/dev/null || true
		done
	done
	[ -e "$T/.image/loops" ] || return 0
	while read -r device; do
		losetup -d "$device" 2>/dev/null || true
	done <"$T/.image/loops"
	: >"$T/.image/loops"
	udevadm settle --timeout=5 2>/dev/null || true
}

# Ends a test that takes too long: first what it waits for, then, if need be, the test itself.
watchdog() {
	pause "$TEST_LIMIT"
	local round pid
	for round in 1 2 3; do
		abort_fuse
		for pid in $(processes_here); do
			echo "over $TEST_LIMIT s: ending $pid $(cat "/proc/$pid/comm")" >&2
			kill -9 "$pid" 2>/dev/null || true
		done
		pause 2
	done
	LEFT=$(processes_here)
	sweep
	kill "$1" 2>/dev/null || true
}

# --- programs ------------------------------------------------------------------------------------

# In the guest one more program takes as long as what most of them are asked for: there the limit of
# the test has to do.
limited() {
	if [ -n "${UMBRA_GUEST:-}" ]; then
		"$@"
	else
		timeout -k 5 "$COMMAND_LIMIT" "$@"
	fi
}

umbra() { limited "$UMBRA_RUN/bin/umbra" "$@" 3>&- 4>&-; }
mount.umbra() { limited "$UMBRA_RUN/bin/mount.umbra" "$@" 3>&- 4>&-; }

# fault_points BEGINNING…: the points at which umbra can be broken (src/common/fault.h) that begin so.
fault_points() {
	local beginning
	for beginning; do
		UMBRA_TEST_FAULT=list umbra | awk -v b="$beginning" 'index($0, b) == 1'
	done
}

# A user who is nobody special, made for this file of tests; prints the name.
test_user() {
	if [ "$(id -u)" != 0 ]; then
		id -un
		return
	fi
	if ! [ -e "$UMBRA_RUN/user" ]; then
		local name=umbra-${UMBRA_RUN##*.}
		name=${name,,}
		flock /run/lock/umbra-test useradd -M -U -d "$UMBRA_RUN" -s /bin/sh "$name" >&2
		echo "$name" >"$UMBRA_RUN/user"
	fi
	cat "$UMBRA_RUN/user"
}

# as_user COMMAND…: without root's rights, with a home of its own ($T/user).
as_user() {
	if [ "$(id -u)" != 0 ]; then
		mkdir -p "$T/user"
		HOME=$T/user UMBRA_STATE=${USER_STATE:-$T/user/state} \
			timeout -k 5 "$COMMAND_LIMIT" "$@" 3>&- 4>&-
		return
	fi
	local name
	name=$(test_user)
	[ -d "$T/user" ] || install -d -o "$name" -g "$name" -m 755 "$T/user"
	# Distributions have 0666; only where no udev ran is it otherwise.
	[ ! -c /dev/fuse ] || [ "$(stat -c %a /dev/fuse)" = 666 ] || chmod 0666 /dev/fuse
	HOME=$T/user UMBRA_STATE=${USER_STATE:-$T/user/state} USER=$name LOGNAME=$name \
		timeout -k 5 "$COMMAND_LIMIT" setpriv --reuid "$name" --regid "$name" --init-groups \
		--inh-caps=-all -- "$@" 3>&- 4>&-
}

# --- what a test needs ---------------------------------------------------------------------------

# Skips with the reason; where everything must be there (CI=true, root) that is a failure.
unable() {
	if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ]; then
		echo "cannot run here, and must: $*" >&2
		return 1
	fi
	skip "$*"
}

require_root() { [ "$(id -u)" = 0 ] || skip "needs root"; }

# require_filesystem TYPE: loop devices, mkfs.TYPE and the kernel's part.
require_filesystem() {
	require_root
	[ -e /dev/loop-control ] || modprobe loop 2>/dev/null || unable "no loop devices"
	command -v "mkfs.$1" >/dev/null || unable "no mkfs.$1"
	grep -qw "$1" /proc/filesystems || modprobe "$1" 2>/dev/null || unable "no $1 in this kernel"
}

require_loop_btrfs() { require_filesystem btrfs; }

require_fuse() {
	[ -c /dev/fuse ] || unable "no /dev/fuse"
	[ -x "$UMBRA_RUN/bin/mount.umbra" ] || unable "mount.umbra is not built"
}

# make_filesystem TYPE DIR SIZE [MKFS OPTION…]: a new filesystem on a loop device, mounted on DIR.
make_filesystem() {
	local type=$1 dir=$2 size=$3 image device
	shift 3
	require_filesystem "$type"
	image=$(mktemp "$T/.image/$type.XXXXXX")
	truncate -s "$size" "$image"
	case $type in
	btrfs) mkfs.btrfs -q "$@" "$image" >/dev/null ;;
	ext4) mkfs.ext4 -q -F -E lazy_itable_init=1,nodiscard "$@" "$image" ;;
	xfs) mkfs.xfs -q -K "$@" "$image" ;;
	*) "mkfs.$type" "$@" "$image" ;;
	esac >&2
	device=$(losetup --find --show "$image")
	echo "$device" >>"$T/.image/loops"
	mkdir -p "$dir"
	dir=$(realpath "$dir")
	printf '%s\0' "$dir" >>"$T/.image/mounts"
	mount -t "$type" -o "${MOUNT_OPTIONS:-defaults}" "$device" "$dir"
}

make_btrfs() { make_filesystem btrfs "$1" "${2:-256M}" "${@:3}"; }
make_ext4() { make_filesystem ext4 "$1" "${2:-64M}" "${@:3}"; }
make_xfs() { make_filesystem xfs "$1" "${2:-300M}" "${@:3}"; }

# The mount that a test makes itself and wants taken down like those of make_filesystem.
mount_known() {
	mount "$@"
	printf '%s\0' "$(realpath "${*: -1}")" >>"$T/.image/mounts"
}

# --- what a test asserts -------------------------------------------------------------------------

# After `run`: assert_ok, or assert_error STATUS PATTERN (an extended regular expression).
assert_ok() {
	[ "$status" = 0 ] && return 0
	printf 'status %s, expected 0; output:\n%s\n' "$status" "$output" >&2
	return 1
}

assert_error() {
	if [ "$status" != "$1" ]; then
		printf 'status %s, expected %s; output:\n%s\n' "$status" "$1" "$output" >&2
		return 1
	fi
	if ! [[ $output =~ $2 ]]; then
		printf 'no match for: %s\noutput:\n%s\n' "$2" "$output" >&2
		return 1
	fi
}

# pause SECONDS: without a process.
pause() { read -rt "$1" <>"$UMBRA_RUN/never" || true; }

# eventually COMMAND…: within five seconds.
eventually() {
	local - i
	set +T
	for ((i = 0; i < 50; i++)); do
		"$@" && return 0
		pause 0.1
	done
	echo "did not come true: $*" >&2
	return 1
}

# freeze DIR: until thaw, which belongs into teardown(); at most half a minute whatever happens.
# shellcheck disable=SC2016 # the other shell expands that
freeze() {
	fsfreeze -f "$1"
	echo "$1" >"$T/.image/frozen"
	# shellcheck disable=SC2016 # another shell expands it
	env -u UMBRA_TEST_TAG setsid sh -c 'sleep 30; fsfreeze -u "$1"' sh "$1" \
		>/dev/null 2>&1 3>&- 4>&- &
	echo $! >"$T/.image/thawer"
}

thaw() {
	[ -e "$T/.image/frozen" ] || return 0
	kill -- "-$(cat "$T/.image/thawer")" 2>/dev/null || true
	fsfreeze -u "$(cat "$T/.image/frozen")" 2>/dev/null || true
	rm "$T/.image/frozen"
}

# The newest set's token.
latest_token() { umbra list --json | jq -r '.sets[-1].timestamp'; }

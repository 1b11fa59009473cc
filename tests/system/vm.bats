# SPDX-License-Identifier: LGPL-2.1-or-later
# tests/vm/run: commands in a User-Mode Linux guest.
load helper

guest() { timeout -k 10 "$COMMAND_LIMIT" "$UMBRA_SOURCE/tests/vm/run" --mem 256M "$@" 3>&- 4>&-; }

setup_file() {
	umbra_setup_file
	local status=0
	GUEST_REASON=$(guest --fs none true 2>&1) || status=$?
	[ "$status" = 77 ] || GUEST_REASON=
	export GUEST_REASON
}

setup() {
	umbra_setup
	[ -z "$GUEST_REASON" ] || unable "$GUEST_REASON"
	cd "$T"
}

@test "vm: output, error and status are the command's" {
	run --separate-stderr guest --fs none sh -c 'echo out; printf "\r\e[0m\0" >&2; exit 7'
	[ "$status" = 7 ]
	[ "$output" = out ]
	guest --fs none printf '\r\e[0m\0\n\377' >"$T/bytes"
	printf '\r\e[0m\0\n\377' | cmp - "$T/bytes"
	run -127 guest --fs none umbra-there-is-no-such-command
	[[ $output != *kernel* ]]
}

@test "vm: much output, to a reader who takes his time" {
	guest --fs none seq 300000 | (sleep 4 && cat >"$T/seq")
	seq 300000 | cmp - "$T/seq"
}

@test "vm: the working directory, also with a blank, and chosen variables" {
	mkdir 'a blank'
	cd 'a blank'
	run env UMBRA_X='1 2' SECRET=1 "$UMBRA_SOURCE/tests/vm/run" --mem 256M \
		sh -c 'pwd; echo "$UMBRA_X$SECRET $UMBRA_GUEST"; df --output=fstype "$UMBRA_TEST_DIR"'
	assert_ok
	[ "${lines[0]}" = "$T/a blank" ]
	[ "${lines[1]}" = "1 2 1" ]
	[ "${lines[3]}" = ext4 ]
}

@test "vm: only the directory of --out can be written to for good" {
	mkdir 'out dir'
	guest --fs none --out 'out dir' \
		sh -c 'echo result >"out dir/file" && echo x >inside && cat inside && rm -rf /etc'
	[ "$(cat 'out dir/file')" = result ]
	[ ! -e inside ]
	[ -e /etc/passwd ]
}

@test "vm: filesystems and disks" {
	local fs
	for fs in xfs btrfs; do
		run guest --fs "$fs" --mem 512M --disk 32M --disk 1G sh -c \
			'df --output=fstype /scratch | tail -1; blockdev --getsize64 /dev/ubdb /dev/ubdc'
		assert_ok
		echo "$output"
		[ "$output" = "$fs"$'\n'33554432$'\n'1073741824 ]
	done
}

@test "vm: a guest that takes too long is killed, and where its processes were is shown" {
	run guest --time 15 sh -c 'echo begun; sleep 1000 & sleep 2000'
	assert_error 124 'begun.*killed after 15 s.*sleep 1000.*nanosleep'
}

@test "vm: a reader who never reads does not keep the guest" {
	local status=0
	mkfifo fifo
	sleep 60 <fifo 3>&- 4>&- &
	guest --time 5 --fs none yes >fifo || status=$?
	kill $!
	[ "$status" = 124 ]
}

@test "vm: a panic is a failure, and the kernel's messages are shown" {
	# It goes before all others; what it wrote is shown nevertheless.
	run guest --fs none --log log chrt -f 1 sh -c 'echo before; echo c >/proc/sysrq-trigger'
	assert_error 125 'before.*the guest died.*sysrq triggered crash'
	grep -q 'Kernel panic' log
}

@test "vm: a command that crashes is shown with the kernel's messages" {
	run guest --fs none sh -c 'kill -SEGV $$'
	assert_error 139 'ended with status 139'
}

@test "vm: several at once" {
	local i pids=()
	for i in 1 2 3; do
		guest --disk 32M sh -c "sleep 1; echo $i >/scratch/file; cat /scratch/file" >"$i" &
		pids+=($!)
	done
	wait "${pids[@]}"
	[ "$(cat 1 2 3)" = $'1\n2\n3' ]
}

@test "vm: killed, in any way, it leaves nothing" {
	local signal
	for signal in TERM HUP KILL; do
		mkfifo "fifo.$signal"
		"$UMBRA_SOURCE/tests/vm/run" --mem 256M sh -c 'echo running; sleep 1000' \
			>"fifo.$signal" 3>&- 4>&- &
		head -1 "fifo.$signal" | grep -q running
		kill "-$signal" $!
		if wait $!; then false; fi
		eventually eval '[ -z "$(processes_here)" ]'
	done
}

@test "vm: no room for its memory, or a kernel that does not start" {
	run guest --mem 900T true
	assert_error 77 'no guest can run here: no room'
	mkdir bin
	printf '#!/bin/sh\necho no ptrace here\nexit 1\n' >bin/linux.uml
	chmod +x bin/linux.uml
	PATH=$T/bin:$PATH run guest true
	assert_error 77 'no ptrace here.*does not start'
}

@test "vm: wrong words" {
	run guest
	assert_error 2 'no command'
	run guest --mem much true
	assert_error 2 much
	run guest --out "$T/nowhere" true
	assert_error 2 nowhere
	run -0 "$UMBRA_SOURCE/tests/vm/shell" --help
	[[ $output == *--disk* ]]
}

@test "vm: a shell on a terminal" {
	run timeout 60 script -qec "'$UMBRA_SOURCE/tests/vm/shell' --mem 256M --fs none" /dev/null <<-'END'
		echo "it is $(cat /proc/sys/kernel/hostname)"; tty; stty size
		exit 5
	END
	echo "$output"
	[[ $output == *'[guest /'*'it is guest'*/dev/tty1* ]]
	[ "$status" = 5 ]
}

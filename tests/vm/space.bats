# SPDX-License-Identifier: LGPL-2.1-or-later
# Provider dm when space runs out: who waits, for how long, and what is lost.
# vm: --time 900 --mem 768M --disk 800M --disk 800M --disk 200M
load ../system/helper
load volume

TEST_LIMIT=200
STALL_MS=2000

setup() {
	umbra_setup
	WRITER=$UMBRA_BUILD/tests/vm/umbra-vm-writer
	STOPPED=()
}

teardown() {
	local pid
	for pid in "${STOPPED[@]}"; do
		kill -CONT "$pid" 2>/dev/null || true
	done
	for pid in $(pgrep -x umbra-vm-writer); do
		kill -9 "$pid" || true
	done
	drop_volumes
	umbra_teardown
}

second() { pgrep -x umbra-standby; }

# copies N SIZE EACH: the volume gets a diff area of that size and N copies, told apart by a file;
# after each of them so many megabytes are written over. After the last that is left to the test.
copies() {
	local k
	fill_big "$BIG"
	umbra storage add --size "$2" "$T/vol" >"$T/area"
	: >"$T/tokens"
	for ((k = 1; k <= $1; k++)); do
		[ "$k" = 1 ] || fill_big "$3"
		echo "$k" >"$T/vol/which"
		create_token "$T/vol"
	done
	echo now >"$T/vol/which"
	sync -f "$T/vol"
}

# in_copy K: what the K-th copy has in it.
in_copy() { cat "$T/tree/$(sed -n "$1p" "$T/tokens")$T/vol/which"; }

# is_whole K: the K-th copy can be opened and is what it was.
is_whole() {
	mkdir -p "$T/tree"
	umbra mount "$T/tree" >/dev/null
	local said
	said=$(in_copy "$1" 2>&1) || said="nothing: $said"
	umbra umount "$T/tree"
	[ "$said" = "$1" ] || { echo "copy $1: $said"; return 1; }
}

# write_over MEGABYTES SECONDS: no error and no stall; an old file is written over.
write_over() {
	local n longest
	read -r n longest < <("$WRITER" "$T/vol/big" "$1" "$2" || echo 0 999999)
	echo "# $n writes, longest $longest ms" >&3
	[ "$n" -gt 0 ]
	[ "$longest" -le "$STALL_MS" ]
}

fill_big() { "$WRITER" "$T/vol/big" "$1" 0 >/dev/null; }

@test "the origin is filled to 100 %, with the diff area inside" {
	volume vol /dev/ubdb ext4
	BIG=540
	copies 2 160M 20
	dd if=/dev/zero of="$T/vol/fill" bs=1M status=none 2>/dev/null || true
	sync -f "$T/vol"
	[ "$(df --output=avail "$T/vol" | tail -1)" -lt 1024 ]
	is_whole 1
	is_whole 2
	create "$T/vol"
	umbra delete --yes --all "$T/vol"
	[ "$(layer vol)" = out ]
	rm "$T/vol/fill"
	umount "$T/vol"
	e2fsck -fn /dev/mapper/vol
}

fewer_sets() { [ "$(umbra list --json | grep -o '@GMT[^"]*' | sort -u | wc -l)" -lt "$1" ]; }

# exhausted FSTYPE COMMAND…: what checks the filesystem at the end.
exhausted() {
	BIG=300
	volume vol /dev/ubdb "$1"
	copies 5 96M 20
	write_over 70 8
	is_whole 5
	run ! is_whole 1
	wait_for 10 fewer_sets 5
	# What nobody can make room for.
	write_over 300 8
	[ "$(layer vol)" = out ] || wait_for 10 lost_copies
	run ! is_whole 5
	umbra delete --yes --all "$T/vol" || true
	umount "$T/vol"
	"${@:2}"
}

lost_copies() { umbra storage --json | grep -q '"copies": *0'; }

@test "the pool is exhausted at full speed: first the oldest go, then all; ext4 does not notice" {
	exhausted ext4 e2fsck -fn /dev/mapper/vol
}

@test "the pool is exhausted at full speed: first the oldest go, then all; XFS does not notice" {
	exhausted xfs xfs_repair -n /dev/mapper/vol
}

@test "umbrad is killed while writers are at it: its second takes its place" {
	local writer i
	volume vol /dev/ubdb ext4
	BIG=300
	copies 5 96M 20
	"$WRITER" "$T/vol/big" 70 8 >"$T/writes" &
	writer=$!
	for i in 1 2 3; do
		sleep 0.7
		wait_for 5 worker
		kill -9 "$(worker)"
	done
	wait $writer
	cat "$T/writes" >&3
	[ "$(cut -d ' ' -f 2 "$T/writes")" -le "$STALL_MS" ]
	is_whole 5
	wait_for 5 worker
	wait_for 5 second
}

@test "umbrad and its second are killed at once: check says so, and starts one" {
	volume vol /dev/ubdb ext4
	BIG=100
	copies 1 64M 0
	wait_for 5 second
	stop_second
	kill -9 "$(worker)" "$(second)"
	run umbra check
	[[ $output == *"umbrad"*"was not at work"* ]]
	wait_for 5 second
	run umbra check
	[[ $output != *umbrad* ]]
	fill_big 60
	nothing_suspended
}

@test "umbrad is stopped while writers are at it: it is killed, and the second takes its place" {
	volume vol /dev/ubdb ext4
	BIG=300
	copies 5 96M 20
	STOPPED=("$(worker)")
	kill -STOP "${STOPPED[0]}"
	write_over 70 6
	is_whole 5
	wait_for 5 worker
	[ "$(worker)" != "${STOPPED[0]}" ]
}

goes_on() { [[ $(ps -o stat= -p "$1") != T* ]]; }

@test "the second is killed, and stopped: there is another, or it goes on" {
	local pid
	volume vol /dev/ubdb ext4
	BIG=100
	copies 1 64M 0
	wait_for 5 second
	pid=$(second)
	kill -9 "$pid"
	wait_for 5 other_second "$pid"
	pid=$(second)
	STOPPED=("$pid")
	kill -STOP "$pid"
	wait_for 10 goes_on "$pid"
	wait_for 5 second
	is_whole 1
}

other_second() {
	local pid
	pid=$(second)
	[ -n "$pid" ] && [ "$pid" != "$1" ]
}

@test "somebody is stopped with the volume's lock: writers go on, the copies are said to be lost" {
	local lock pid
	volume vol /dev/ubdb ext4
	BIG=300
	copies 3 64M 10
	lock=$(ls -t /run/umbra/dm/*.lock | head -1)
	flock --no-fork "$lock" sleep 30 &
	pid=$!
	sleep 0.3
	write_over 300 5
	kill $pid
	wait_for 10 lost_copies
	run ! is_whole 3
	nothing_suspended
}

walls_closed() {
	dmsetup info -c --noheadings --separator ' ' -o name,suspended | awk '
		/-wall/ {n++; if ($2 != "Suspended") exit 1}
		END {if (!n) exit 1}'
}

@test "umbrad is told to end: nobody waits for it, and the copies are there as long as there is room" {
	volume vol /dev/ubdb ext4
	BIG=300
	copies 3 96M 10
	wait_for 5 walls_closed
	end_umbrad
	run ! walls_closed
	fill_big 10
	is_whole 1
	is_whole 3
	# The next one goes on with it.
	"$UMBRA_BUILD/src/daemon/umbrad" --state "$UMBRA_STATE" --syslog 3>&- &
	wait_for 5 walls_closed
	write_over 50 5
	is_whole 3
	nothing_suspended
	end_umbrad
	write_over 300 5
	run ! is_whole 3
	umbra list --json | jq -e '.sets[-1].volumes[0].lost'
	nothing_suspended
	create "$T/vol"
	wait_for 5 walls_closed
}

a_wall_closed() { dmsetup info -c --noheadings --separator ' ' -o name,suspended | grep -q -- '-wall.*Suspended'; }

@test "umbrad is told to end while a copy is made: the next one closes the wall of that copy, too" {
	volume vol /dev/ubdb ext4
	BIG=60
	copies 1 96M 20
	stopped_creation dm.unlocked
	end_umbrad
	"$UMBRA_BUILD/src/daemon/umbrad" --state "$UMBRA_STATE" --syslog 3>&- &
	wait_for 5 a_wall_closed
	kill -CONT "$MAKER"
	wait "$REQUESTER"
	wait_for 5 walls_closed
	is_whole 1
}

umbrad_stopped() { [[ $(ps -o stat= -C umbrad) == T* ]]; }

# The store that a creation is filling since its instant.
lives() { dmsetup table | grep -q -- "-snap$1: .*snapshot"; }

@test "a copy's instant comes while the next umbrad looks: its wall is closed all the same" {
	volume vol /dev/ubdb ext4
	BIG=60
	copies 1 96M 20
	stopped_creation dm.unlocked
	end_umbrad
	UMBRA_TEST_FAULT=umbrad.closed:stop "$UMBRA_BUILD/src/daemon/umbrad" --state "$UMBRA_STATE" \
		--syslog 3>&- &
	eventually umbrad_stopped
	run ! lives 2
	kill -CONT "$MAKER"
	eventually lives 2
	kill -CONT "$(worker)"
	wait "$REQUESTER"
	wait_for 5 walls_closed
	is_whole 1
}

@test "an umbrad that is slow to end opens walls when the next is at work: they are closed again" {
	local first
	volume vol /dev/ubdb ext4
	BIG=60
	copies 1 96M 20
	end_umbrad
	UMBRA_TEST_FAULT=umbrad.leaving:stop "$UMBRA_BUILD/src/daemon/umbrad" --state "$UMBRA_STATE" \
		--syslog 3>&- &
	wait_for 5 walls_closed
	first=$(worker)
	kill "$first"
	eventually umbrad_stopped
	"$UMBRA_BUILD/src/daemon/umbrad" --state "$UMBRA_STATE" --syslog 3>&- &
	wait "$first" || true # it wakes up by itself
	wait_for 5 walls_closed
	write_over 50 5
	is_whole 1
}

# cut_short STORE: it has no space besides what it has used.
cut_short() {
	local snap used
	snap=$(dmsetup ls | awk -v r="-snap$1\$" '$1 ~ r {print $1}')
	used=$(dmsetup status "$snap" | awk '{split($4, a, "/"); print a[1]}')
	dmsetup table "${snap/snap/cow}" | awk -v n="$used" '
		{end = $1 + $2}
		$1 < n {$2 = ($1 + $2 < n ? $2 : n - $1); print}
		END {print n, end - n, "error"}' >"$T/short"
	dmsetup load "${snap/snap/cow}" "$T/short"
	dmsetup resume "${snap/snap/cow}"
}

@test "a store that is full when the next one collects already costs no copy" {
	volume vol /dev/ubdb ext4
	BIG=60
	copies 1 96M 0
	fill_big 5
	echo 2 >"$T/vol/which"
	stopped_creation dm.sealing
	cut_short 1
	fill_big 20
	sync -f "$T/vol"
	dmsetup status | grep -- '-snap1: .*Invalid'
	kill -CONT "$MAKER"
	wait "$REQUESTER"
	grep -o -m1 '@GMT[^ ]*' "$T/said" >>"$T/tokens"
	is_whole 1
	is_whole 2
}

@test "a creation that is stopped before its instant keeps nobody from space, and is undone" {
	volume vol /dev/ubdb ext4
	BIG=300
	copies 5 96M 20
	stopped_creation dm.unlocked
	STOPPED=("$MAKER")
	write_over 50 5
	is_whole 5
	kill -9 "$MAKER"
	wait "$REQUESTER" || true
	create "$T/vol"
	is_whole 5
	nothing_suspended
}

@test "a creation that takes its time is given up before the only copy is" {
	volume vol /dev/ubdb ext4
	BIG=100
	copies 1 96M 20
	stopped_creation dm.unlocked
	write_over 60 4
	is_whole 1
	kill -CONT "$MAKER"
	! wait "$REQUESTER" || { echo "made"; return 1; }
	cat "$T/said"
	grep -q "given up.*umbra storage resize $T/vol" "$T/said"
	is_whole 1
	create "$T/vol"
	is_whole 1
	nothing_suspended
}

@test "a copy is made while the volume is written at full speed and the pool is nearly full" {
	local writer i
	volume vol /dev/ubdb ext4
	BIG=300
	copies 5 96M 20
	"$WRITER" "$T/vol/big" 40 12 >"$T/writes" &
	writer=$!
	for i in 1 2 3; do
		create "$T/vol"
	done
	wait $writer
	cat "$T/writes" >&3
	[ "$(cut -d ' ' -f 2 "$T/writes")" -le "$STALL_MS" ]
	umbra list >&3
	nothing_suspended
	mkdir -p "$T/tree"
	umbra mount "$T/tree"
	[ "$(cat "$T/tree/$(ls "$T/tree" | tail -1)$T/vol/which")" = now ]
	umbra umount "$T/tree"
}

used() { umbra storage --json | grep -o '"used": *[0-9]*' | grep -o '[0-9]*$'; }
used_below() { [ "$(used)" -lt "$1" ]; }

@test "what deletion leaves behind comes back by itself, also below a copy that is being read" {
	local before
	volume vol /dev/ubdb ext4
	BIG=60
	copies 4 160M 30
	mkdir "$T/tree"
	umbra mount "$T/tree"
	exec 7<"$T/tree/$(sed -n 1p "$T/tokens")$T/vol/which"
	before=$(used)
	umbra delete --yes "$(sed -n 2p "$T/tokens")" "$(sed -n 3p "$T/tokens")"
	# The 30 MiB that two stores of the first copy had.
	wait_for 30 used_below $((before - (25 << 20)))
	[ "$(in_copy 1)" = 1 ]
	[ "$(in_copy 4)" = 4 ]
	[ "$(cat <&7)" = 1 ]
	exec 7<&-
	umbra umount "$T/tree"
	nothing_suspended
}

# frees K: what show says deleting the K-th copy would free, in MiB.
frees() {
	umbra show "$(sed -n "$1p" "$T/tokens")" | awk -v path="$T/vol" '$1 == path {print $6}' | cut -d . -f 1
}

@test "show says what a deletion would free, storage what is in use" {
	local before
	volume vol /dev/ubdb ext4
	BIG=60
	copies 3 160M 30
	[ "$(frees 1)" -ge 30 ]
	[ "$(frees 2)" -ge 29 ] # both have the same 30 MiB
	before=$(used)
	[ "$before" -ge $((60 << 20)) ]
	umbra delete --yes "$(sed -n 1p "$T/tokens")"
	[ "$(used)" -le $((before - (30 << 20))) ]
}

# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Volumes on device-mapper, for suites of the guest.

# volume_again NAME DISK: a linear device of two pieces over the disk.
volume_again() {
	local sectors half
	sectors=$(blockdev --getsz "$2")
	half=$((sectors / 2 / 8 * 8))
	dmsetup create "$1" <<-END
		0 $half linear $2 $half
		$half $half linear $2 0
	END
}

# volume NAME DISK FSTYPE: such a device with a new filesystem, mounted at $T/NAME.
volume() {
	volume_again "$1" "$2"
	filesystem "$1" "$3"
}

# filesystem NAME FSTYPE: a new one on that device, mounted at $T/NAME.
filesystem() {
	case $2 in
	# Nothing that goes on writing by itself when it is mounted.
	ext4) mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "/dev/mapper/$1" ;;
	# Smaller than 300 MiB is for tests.
	xfs) mkfs.xfs -q -f --unsupported "/dev/mapper/$1" ;;
	esac
	mkdir -p "$T/$1"
	mount "/dev/mapper/$1" "$T/$1"
}

# slices DISK NAME=MEGABYTES…: linear devices, one behind the other on that disk.
slices() {
	local disk=$1 at=0 slice size
	for slice in "${@:2}"; do
		size=$((${slice#*=} * 2048))
		dmsetup create "${slice%=*}" --table "0 $size linear $disk $at"
		at=$((at + size))
	done
}

# create ARG…: `umbra create` with a clock of ours, which is in a file because this may run in a
# subshell: every set has a second of its own, and nobody waits for it.
create() {
	local now=1800000000
	[ ! -e "$T/clock" ] || read -r now <"$T/clock"
	echo $((now + 1)) >"$T/clock"
	UMBRA_TEST_NOW=$((now + 1)) umbra create "$@"
}

# create_token ARG…: the same; adds the set's name to $T/tokens.
create_token() {
	local token
	create "$@" >"$T/created"
	read -r token _ <"$T/created"
	echo "$token" >>"$T/tokens"
}

# token K: the name of the K-th set of $T/tokens.
token() {
	local all
	mapfile -t all <"$T/tokens"
	echo "${all[$1 - 1]}"
}

# Ends umbrad and takes everything down, whatever state it is in.
drop_volumes() {
	local - i
	set +T
	pkill -x umbrad || true
	[ -z "${T:-}" ] || find_mounts
	for ((i = ${#MOUNTS[@]} - 1; i >= 0; i--)); do
		umount -l "${MOUNTS[i]#* * }" 2>/dev/null || true
	done
	dmsetup remove_all --force >/dev/null 2>&1 || true
}

# What every suite does that has nothing besides of its own.
teardown() {
	drop_volumes
	umbra_teardown
}

end_umbrad() {
	local - pid i
	set +T
	for pid in $(pgrep -x umbrad); do
		kill "$pid"
		for ((i = 0; i < 50; i++)); do
			kill -0 "$pid" 2>/dev/null || break
			pause 0.1
		done
	done
}

# All device-mapper devices go, as with a restart of the machine.
forget_devices() {
	local i
	for ((i = 0; i < 20; i++)); do
		[ "$(dmsetup ls)" != "No devices found" ] || return 0
		dmsetup remove_all
		pause 0.1
	done
	dmsetup ls
	return 1
}

# sums DIR: of every file in it, by name; umbra's own place is not shown in copies.
sums() { umbra-vm-files sums "$1"; }

# scribble DIR SEED: changes about half of the files in it, adds some, removes some.
scribble() { umbra-vm-files scribble "$1" "$2"; }

is_resumed() { [[ $(dmsetup info -c --noheadings -o suspended "$1") != Suspended ]]; }

# Nobody waits for ever, but for a moment, when umbrad gives somebody space; walls are always suspended.
nothing_suspended() {
	local name
	for name in $(dmsetup ls | awk '{print $1}'); do
		[[ $name == *-wall* ]] || wait_for 1 is_resumed "$name" || return 1
	done
}

# The layer of the volume NAME: in or out.
layer() {
	if dmsetup table "$1" | grep -q snapshot-origin; then echo in; else echo out; fi
}

# view ID: the device that the shadow copy of this id is read from; it is there while it is.
view() { dmsetup ls | awk -v id="-view-${1:0:18}" 'index($1, id) {print $1}'; }

# copies N: that many copies of $T/vol, with changes between and after.
copies() {
	local k
	: >"$T/tokens"
	for ((k = 1; k <= $1; k++)); do
		copy_one
	done
	scribble "$T/vol" 99
}

copy_one() {
	SEED=$((${SEED:-0} + 1))
	scribble "$T/vol" $SEED
	create_token "$T/vol"
	sums "$T/vol" >"$T/sums.$(wc -l <"$T/tokens")"
}

# Each copy of $T/tokens is what it was.
compare() {
	local token k=0
	mkdir -p "$T/tree"
	umbra mount "$T/tree"
	while read -r token; do
		k=$((k + 1))
		sums "$T/tree/$token$T/vol" >"$T/now"
		diff "$T/now" "$T/sums.$k" || { echo "copy $k is not what it was"; return 1; }
	done <"$T/tokens"
	umbra umount "$T/tree"
	[ $k -gt 0 ]
}

# Umbrad, not its second.
worker() { pgrep -x umbrad; }

# Before both are killed: between two kills its second would take over, and begin another.
stop_second() { pkill -STOP -x umbra-standby || true; }

# wait_for SECONDS COMMAND…
wait_for() {
	local - i n=$1
	set +T
	shift
	for ((i = 0; i < n * 10; i++)); do
		"$@" && return
		pause 0.1
	done
	echo "after $n s not: $*"
	return 1
}

# The coordinator that a fault point has stopped.
stopped() { ps -C umbra -o pid=,stat= | awk '$2 ~ /^T/ {print $1}' | grep .; }

# stopped_creation POINT [COUNT]: MAKER is stopped there, REQUESTER waits for it; what that says is in $T/said.
# shellcheck disable=SC2034 # for the tests
stopped_creation() {
	UMBRA_TEST_FAULT=$1:stop:${2:-1} "$UMBRA_RUN/bin/umbra" create "$T/vol" >"$T/said" 2>&1 3>&- &
	REQUESTER=$!
	eventually stopped
	MAKER=$(stopped)
}

# replace_table NAME: the volume gets its own table back, as by `lvchange --refresh`.
replace_table() {
	local real
	real=$(dmsetup table "$1" | awk '{print $4}')
	dmsetup table -j "${real%:*}" -m "${real#*:}" >"$T/table"
	dmsetup load "$1" "$T/table"
	dmsetup resume "$1"
}

# A clean restart, as far as to the volume; umbra-activate.service has stopped after the umount.
restart() {
	umount "$T/vol"
	umbra activate
	end_umbrad
	forget_devices
	volume_again vol "${1:-/dev/ubdb}"
}

# An unclean one: the disk is copied to another, as it is at one moment, and that is used from here
# on. crash [FROM TO]
crash() {
	local real from=${1:-/dev/ubdb} to=${2:-/dev/ubdc}
	real=$(dmsetup ls | awk '/-real/ {print $1}')
	[ -z "$real" ] || dmsetup suspend --nolockfs --noflush "$real"
	dd if="$from" of="$to" bs=1M iflag=direct oflag=direct status=none
	[ -z "$real" ] || dmsetup resume "$real"
	umount -l "$T/vol" 2>/dev/null || true
	drop_volumes
	volume_again vol "$to"
}

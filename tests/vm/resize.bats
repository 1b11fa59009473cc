# SPDX-License-Identifier: LGPL-2.1-or-later
# umbra storage resize on real device-mapper: what was copied stays what it was, whoever is killed.
# UMBRA_SOAK=1: also on XFS, elsewhere, at full speed, with stores that move, and killed while it gets smaller.
# vm: --time 900 --mem 768M --disk 400M --disk 400M --disk 200M
load ../system/helper
load volume

TEST_LIMIT=300

setup() {
	umbra_setup
	WRITER=$UMBRA_BUILD/tests/vm/umbra-vm-writer
}

teardown() {
	local pid
	for pid in $(pgrep -x umbra-vm-writer); do
		kill -9 "$pid" || true
	done
	exec 6<&- 7<&-
	drop_volumes
	umbra_teardown
}

soak() { [ -n "${UMBRA_SOAK:-}" ] || skip "UMBRA_SOAK is not set"; }

# What the record says of the area of $T/vol.
record() { jq -r ".area.$1" "$UMBRA_STATE"/dm/*.json; }

# is_size MIB: the area has that size, in its record, its file, the kernel; and it is settled.
is_size() {
	local device bytes=$(($1 << 20))
	[ "$(record bytes) $(record resizing)" = "$bytes null" ] || return 1
	[ "$(umbra storage --json | jq '.areas[0].size')" = "$bytes" ] || return 1
	if [ "$(record kind)" != device ]; then
		[ "$(stat -c %s "$(record place)")" = $bytes ] || return 1
		[ "$(($(stat -c '%b * %B' "$(record place)")))" -lt $((bytes + (1 << 20))) ] || return 1
	fi
	if [ "$(record kind)" = inside ]; then
		[[ "$(lsattr "$(record place)")" == ????i* ]] || return 1
	fi
	device=$(dmsetup ls | awk '$1 ~ /-area$/ {print $1}')
	[ -z "$device" ] || [ "$(blockdev --getsize64 "/dev/mapper/$device")" = $bytes ]
}

resize() { umbra storage resize "$T/vol" --size "$1M" && is_size "$1"; }

# An open copy: the oldest one, its view, which would be closed when nobody reads it, and a file.
open_one() {
	mkdir -p "$T/open"
	umbra mount "$T/open"
	OPENED=$(awk 'NR == 1 {print $1}' "$T/sums.1")
	exec 7<"$T/open/$(sed -n 1p "$T/tokens")$T/vol/$(awk 'NR == 1 {print $2}' "$T/sums.1")"
	exec 6<"/dev/mapper/$(dmsetup ls | awk '$1 ~ /-view-/ {print $1}')"
}

still_open() {
	exec 6<&-
	echo 3 >/proc/sys/vm/drop_caches
	[ "$(umbra-vm-files sum <&7)" = "$OPENED" ]
	exec 7<&-
	umbra umount "$T/open"
}

each_filesystem() {
	volume vol /dev/ubdb "$1"
	umbra storage add --size 64M "$T/vol"
	copies 3
	open_one
	resize 128
	scribble "$T/vol" 11
	copy_one
	# More than there was room for before.
	"$WRITER" "$T/vol/big" 50 0
	"$WRITER" "$T/vol/big" 50 0
	copy_one
	rm "$T/vol/big"
	resize 112
	scribble "$T/vol" 12
	copy_one
	resize 116
	scribble "$T/vol" 13
	still_open
	compare
	umbra check
	umbra delete --yes --all "$T/vol"
	[ "$(layer vol)" = out ]
	resize 80
	umount "$T/vol"
}

@test "larger and smaller inside an ext4, with a copy that is being read" {
	each_filesystem ext4
	e2fsck -fn /dev/mapper/vol
}

@test "larger and smaller inside an XFS, with a copy that is being read" {
	soak
	each_filesystem xfs
	xfs_repair -n /dev/mapper/vol
}

elsewhere() {
	copies 3
	open_one
	resize 128
	scribble "$T/vol" 11
	copy_one
	"$WRITER" "$T/vol/big" 60 0
	rm "$T/vol/big"
	copy_one
	resize 112
	scribble "$T/vol" 12
	still_open
	compare
}

@test "larger and smaller in a file elsewhere" {
	soak
	local loop
	volume vol /dev/ubdb ext4
	umbra storage add --at "$T/area" --size 64M "$T/vol"
	elsewhere
	loop=$(losetup -nl | awk -v file="$T/area" 'index($0, file) {print $1}')
	[ "$(blockdev --getsize64 "$loop")" = $((112 << 20)) ]
}

@test "larger and smaller on a block device, as far as it reaches" {
	soak
	volume vol /dev/ubdb ext4
	umbra storage add --force --at /dev/ubdd --size 64M "$T/vol"
	elsewhere
	run -1 umbra storage resize "$T/vol" --size 201M
	[[ $output == *"'/dev/ubdd' has 200 MiB"*"larger first"* ]]
	is_size 112
}

# What the copies before have at its place is not the area's to take.
fill_but() {
	local room
	sync -f "$T/vol"
	room=$(df --output=avail -B 1M "$T/vol" | tail -1)
	fallocate -l $((room - $1))M "$T/vol/filled"
	sync -f "$T/vol"
}

has_room() { [ "$(df --output=avail -B 1M "$T/vol" | tail -1)" -ge "$1" ]; }

takes_old_blocks() {
	volume vol /dev/ubdb "$1"
	[ "$1" = xfs ] || tune2fs -m 0 /dev/mapper/vol
	umbra storage add --size 64M "$T/vol"
	head -c 60M /dev/urandom >"$T/vol/old"
	fill_but 6
	copies 2
	rm "$T/vol/old"
	sync -f "$T/vol"
	wait_for 10 has_room 62
	# All of it would need more than there is.
	run -1 umbra storage resize "$T/vol" --size 124M
	echo "$output"
	[[ $output == *"shadow copies still need"*"delete the oldest"* ]]
	is_size 64
	wait_for 10 has_room 60
	resize 94
	# Now the area has what were their blocks; what has not been used of it may hold anything.
	dd if=/dev/urandom of="/dev/mapper/$(dmsetup ls | awk '$1 ~ /-area$/ {print $1}')" bs=1M \
		seek=64 count=30 oflag=direct conv=notrunc status=none
	scribble "$T/vol" 14
	compare
	umount "$T/vol"
}

@test "blocks that copies still need are kept before an ext4's area takes them" {
	takes_old_blocks ext4
	e2fsck -fn /dev/mapper/vol
}

@test "blocks that copies still need are kept before an XFS's area takes them" {
	soak
	takes_old_blocks xfs
	xfs_repair -n /dev/mapper/vol
}

# A copy's blocks at the end of the pool move to its front.
@test "sealed stores at the end move to the front; what is being written is said to be in the way" {
	soak
	local k
	volume vol /dev/ubdb ext4
	umbra storage add --size 200M "$T/vol"
	: >"$T/tokens"
	for k in 1 2 3 4; do
		[ $k = 1 ] || "$WRITER" "$T/vol/big" 35 0
		copy_one
	done
	"$WRITER" "$T/vol/big" 20 0
	open_one
	umbra delete --yes "$(sed -n 1p "$T/tokens")"
	umbra delete --yes "$(sed -n 2p "$T/tokens")"
	exec 6<&- 7<&-
	umbra umount "$T/open"
	sed -i 1,2d "$T/tokens"
	mv "$T/sums.3" "$T/sums.1"
	mv "$T/sums.4" "$T/sums.2"
	open_one
	run -1 umbra storage resize "$T/vol" --size 120M
	[[ $output == *"no smaller than"*"next 'umbra create'"* ]]
	is_size 200
	copy_one
	resize 120
	"$WRITER" "$T/vol/big" 10 0
	still_open
	compare
	run -1 umbra storage resize "$T/vol" --size 64M
	[[ $output == *"no smaller than"*"delete some"* ]]
	is_size 120
}

@test "at full speed: no stall, no error, no copy lost" {
	soak
	local writer mib
	volume vol /dev/ubdb ext4
	umbra storage add --size 160M "$T/vol"
	"$WRITER" "$T/vol/big" 60 0
	copies 3
	"$WRITER" "$T/vol/big" 60 20 >"$T/writes" &
	writer=$!
	for mib in 176 136 168; do
		timeout 60 umbra storage resize "$T/vol" --size ${mib}M >"$T/line"
		kill -0 $writer
	done
	wait $writer
	cat "$T/writes" >&3
	[ "$(cut -d ' ' -f 2 "$T/writes")" -le 2000 ]
	is_size 168
	nothing_suspended
	compare
}

# killed FROM TO N: at each point of a resize, N at least; whoever comes next finishes or undoes it.
killed() {
	local point n=0
	for point in $(fault_points dm.resize dm.tail dm.superblock dm.granted dm.given-back \
		dm.wall-longer dm.cow-loaded dm.view-loaded) dm.superblock:2 dm.superblock:3; do
		run env UMBRA_TEST_FAULT="${point%:*}:kill$([[ $point != *:* ]] || echo ":${point#*:}")" \
			timeout 60 "$UMBRA" storage resize "$T/vol" --size "$2M"
		[ "$status" != 124 ]
		if [ "$status" = 0 ]; then
			is_size "$2"
		else
			n=$((n + 1))
			nothing_suspended
			timeout 20 dd if=/dev/urandom of="$T/vol/more" bs=64k count=8 conv=fsync status=none
			umbra check
			is_size "$1" || is_size "$2"
		fi
		[ "$(record bytes)" = $(($1 << 20)) ] || resize "$1"
	done
	echo "# $1 to $2: killed at $n points" >&3
	[ $n -ge "$3" ]
	compare
}

# crowded: there is hardly room but where older copies have something.
crowded() {
	volume vol /dev/ubdb ext4
	umbra storage add --size 100M "$T/vol"
	head -c 30M /dev/urandom >"$T/vol/old"
	fill_but 12
	copies 3
	rm "$T/vol/old"
	sync -f "$T/vol"
	open_one
}

@test "killed at each step while it gets larger: the next start finishes or undoes it" {
	crowded
	killed 100 120 12
	still_open
	umount "$T/vol"
	e2fsck -fn /dev/mapper/vol
}

@test "killed at each step while it gets smaller: the next start finishes or undoes it" {
	soak
	crowded
	killed 100 80 8
	still_open
	umount "$T/vol"
	e2fsck -fn /dev/mapper/vol
}

# stops N: so many are stopped by now.
stops() { [ "$(stopped | wc -l)" = "$1" ]; }

@test "a volume is looked at just when a resize begins: its copies are not taken for lost" {
	local resizer looker resize look
	volume vol /dev/ubdb ext4
	umbra storage add --size 64M "$T/vol"
	copies 2
	end_umbrad
	UMBRA_TEST_FAULT=dm.resize-begun:stop,dm.resize-loose:stop \
		"$UMBRA" storage resize "$T/vol" --size 80M 3>&- &
	resize=$!
	eventually stops 1
	resizer=$(stopped)
	UMBRA_TEST_FAULT=dm.opening:stop "$UMBRA" storage 3>&- &
	look=$!
	eventually stops 2
	looker=$(stopped | grep -vx " *$resizer")
	# It has read the record, and has the lock.
	kill -CONT "$resizer"
	sleep 2
	kill -CONT "$looker"
	wait "$look"
	eventually stops 1
	kill -CONT "$resizer"
	wait "$resize"
	is_size 80
	compare
}

@test "what bad input gets" {
	volume vol /dev/ubdb ext4
	run -1 umbra storage resize "$T/vol" --size 100M
	[[ $output == *"no diff area"* ]]
	umbra storage add --size 64M "$T/vol"
	run -2 umbra storage resize "$T/vol"
	[[ $output == *"--size SIZE"* ]]
	run -2 umbra storage resize --size 64M
	run -2 umbra storage resize "$T/vol" --size 3x
	run -2 umbra storage resize "$T/vol" --size 4M
	[[ $output == *"at least 32 MiB"* ]]
	run -0 umbra storage resize "$T/vol" --size 64M
	[[ $output == *"has that size already"* ]]
	run -2 umbra storage resize "$T/vol" --size 101%
	run -2 umbra storage resize "$T/vol" --size 0%
	run -1 umbra storage resize "$T/vol" --size 5G
	[[ $output == *"no room"* ]]
	run -1 umbra storage resize "$T/vol" --size 500G
	is_size 64
	create_token "$T/vol"
	run -1 umbra storage resize "$T/vol" --size 5G
	is_size 64
	umbra storage resize "$T/vol" --size 100M --json | jq -e '.areas[0].size == 104857600'
	umount "$T/vol"
	run -1 umbra storage resize "$T/vol" --size 64M
	# What FIEMAP says later than that is noticed as before.
	mount /dev/mapper/vol "$T/vol"
	is_size 100
}

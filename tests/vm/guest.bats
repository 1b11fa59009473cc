# SPDX-License-Identifier: LGPL-2.1-or-later
# What the guest has: real device-mapper, filesystems, no udev.
# vm: --time 850 --mem 512M --disk 64M --disk 64M
load ../system/helper

sectors=131072

teardown() {
	dmsetup remove_all --force
	umbra_teardown
}

fill() { dd if=/dev/urandom of="$1" bs=1M count="${2:-4}" oflag=direct status=none; }

@test "no udev, no device-mapper device of the machine's, and it is the guest" {
	[ "$(cat /proc/sys/kernel/hostname)" = guest ]
	[ -n "$UMBRA_GUEST" ]
	[ ! -e /run/udev ]
	[ "$(dmsetup ls)" = "No devices found" ]
}

@test "the targets of device-mapper" {
	local target
	for target in snapshot thin-pool crypt flakey log-writes delay mirror; do
		modprobe "dm-$target"
	done
	dmsetup targets >"$T/targets"
	for target in linear striped error snapshot snapshot-origin snapshot-merge thin-pool thin \
		crypt flakey log-writes delay mirror; do
		grep -q "^$target " "$T/targets"
	done
}

@test "a linear device has a node, and reads what was written below it and above it" {
	dmsetup create lab --table "0 65536 linear /dev/ubdb 65536"
	[ -b /dev/mapper/lab ]
	fill /dev/mapper/lab
	cmp -n 4M /dev/mapper/lab /dev/ubdb 0 32M
	dmsetup remove lab
	[ ! -e /dev/mapper/lab ]
}

@test "a snapshot keeps what its origin loses; the module comes when it is asked for" {
	fill /dev/ubdb 8
	head -c 8M /dev/ubdb >"$T/before"
	dmsetup create origin --table "0 $sectors snapshot-origin /dev/ubdb"
	# The origin learns the size of a chunk when it is resumed.
	dmsetup suspend origin
	dmsetup create copy --table "0 $sectors snapshot /dev/ubdb /dev/ubdc P 32"
	dmsetup resume origin
	fill /dev/mapper/origin 8
	cmp -n 8M /dev/mapper/copy "$T/before"
	run ! cmp -s -n 8M /dev/mapper/origin "$T/before"
}

@test "a device that fails on request" {
	dmsetup create broken --table "0 $sectors error"
	run dd if=/dev/mapper/broken of=/dev/null count=1
	[ "$status" = 1 ]
	dmsetup remove broken
	dmsetup create broken --table "0 $sectors flakey /dev/ubdb 0 0 10 1 error_writes"
	dd if=/dev/mapper/broken of=/dev/null count=1 status=none
	run dd if=/dev/zero of=/dev/mapper/broken count=1 oflag=direct
	[ "$status" = 1 ]
}

@test "a thin pool" {
	dmsetup create meta --table "0 16384 linear /dev/ubdb 0"
	dmsetup create data --table "0 65536 linear /dev/ubdc 0"
	dd if=/dev/zero of=/dev/mapper/meta bs=4k count=1 status=none
	dmsetup create pool --table "0 65536 thin-pool /dev/mapper/meta /dev/mapper/data 128 0"
	dmsetup message pool 0 "create_thin 0"
	dmsetup create thin --table "0 65536 thin /dev/mapper/pool 0"
	fill /dev/mapper/thin
}

@test "ext4, XFS and btrfs on loop devices" {
	local type
	for type in ext4 xfs btrfs; do
		"make_$type" "$T/$type"
		echo content >"$T/$type/file"
		umount "$T/$type"
	done
}

# SPDX-License-Identifier: LGPL-2.1-or-later
# What is done to a volume behind umbra's back is noticed when it is done. umbrad looks by itself
# only every eight seconds here: what it knows earlier it was told.
# vm: --time 850 --mem 768M --disk 320M --disk 320M
load ../system/helper
load volume

TEST_LIMIT=100

setup() {
	umbra_setup
	export UMBRA_TEST_LOOK_MS=8000
}

teardown() {
	kill -CONT "$(worker)" 2>/dev/null || true
	drop_volumes
	umbra_teardown
}

# soon COMMAND…: long before umbrad would look by itself, however slow this machine is.
soon() {
	local end=$((${EPOCHREALTIME/./} + 4000000))
	until "$@"; do
		[ "${EPOCHREALTIME/./}" -lt $end ] || return 1
		sleep 0.05
	done
	[ "${EPOCHREALTIME/./}" -lt $end ]
}

cleared() { ! dmsetup ls | grep -q umbra-; }
is_lost() { umbra list --json | jq -e '[.sets[].volumes[].lost // empty] | length == 2'; }

# two_copies FSTYPE: and an umbrad that has just had a look.
two_copies() {
	volume vol /dev/ubdb "$1"
	umbra storage add --size 100M "$T/vol"
	copies 2
	end_umbrad
	umbrad --state "$UMBRA_STATE" &
	wait_for 5 worker
	a_moment
}

# What umbrad does when it is told something takes less.
a_moment() { sleep 1; }

@test "the table is replaced: the layer goes, and the copies are said to be lost" {
	two_copies ext4
	replace_table vol
	soon cleared
	soon is_lost
}

@test "the table is replaced, and then the power fails: the copies are lost" {
	two_copies ext4
	replace_table vol
	soon cleared
	scribble "$T/vol" 50
	sync -f "$T/vol"
	crash
	umbra activate
	cleared
	is_lost
}

# unmounted_and_mounted FSTYPE: and each time the power fails.
unmounted_and_mounted() {
	two_copies "$1"
	umount "$T/vol"
	a_moment
	crash /dev/ubdb /dev/ubdc
	umbra activate
	mount /dev/mapper/vol "$T/vol"
	compare
	umount "$T/vol"
	a_moment
	mount /dev/mapper/vol "$T/vol"
	a_moment
	crash /dev/ubdc /dev/ubdb
	umbra activate
	mount /dev/mapper/vol "$T/vol"
	compare
}

@test "an ext4 is unmounted, and mounted, and each time the power fails: nothing is lost" {
	unmounted_and_mounted ext4
}

@test "an XFS is unmounted, and mounted, and each time the power fails: nothing is lost" {
	unmounted_and_mounted xfs
}

@test "the kernel could not tell everything: umbrad looks nevertheless" {
	two_copies ext4
	kill -STOP "$(worker)"
	yes change | dd of=/sys/block/ubdc/uevent bs=7 count=1000 iflag=fullblock conv=notrunc status=none
	replace_table vol
	kill -CONT "$(worker)"
	soon cleared
	soon is_lost
}

# SPDX-License-Identifier: LGPL-2.1-or-later
# Provider dm across a restart of the machine. What the kernel forgets then is taken away here: all
# devices, mounts and processes; what is on the disks stays.
# vm: --time 850 --mem 768M --disk 400M --disk 400M
load ../system/helper
load volume

TEST_LIMIT=200

# None of them is shown any more.
all_lost() {
	local token
	mkdir -p "$T/tree"
	umbra mount "$T/tree"
	while read -r token; do
		run ls "$T/tree/$token$T/vol"
		[ "$status" != 0 ]
	done <"$T/tokens"
	umbra umount "$T/tree"
}

clean_restart() {
	volume vol /dev/ubdb "$1"
	umbra storage add --size 100M "$T/vol"
	copies 3
	restart
	umbra storage --json | grep -q '"state": *"inactive"'
	umbra activate
	[ "$(layer vol)" = in ]
	mount /dev/mapper/vol "$T/vol"
	compare
	copy_one
	umbra delete --yes "$(sed -n 2p "$T/tokens")"
	sed -i 2d "$T/tokens"
	mv "$T/sums.3" "$T/sums.2"
	mv "$T/sums.4" "$T/sums.3"
	scribble "$T/vol" 50
	compare
	restart
	umbra activate
	mount /dev/mapper/vol "$T/vol"
	compare
	umbra delete --yes --all "$T/vol"
	[ "$(layer vol)" = out ]
	umount "$T/vol"
}

@test "a clean restart, ext4: all copies as they were, and on with it" {
	clean_restart ext4
	e2fsck -fn /dev/mapper/vol
}

@test "a clean restart, XFS: all copies as they were, and on with it" {
	clean_restart xfs
	xfs_repair -n /dev/mapper/vol
}

# signal_umbrad SIGNAL: both, as each starts the other.
signal_umbrad() {
	local pids
	mapfile -t pids < <(pgrep -x 'umbrad|umbra-standby')
	kill "-$1" "${pids[@]}"
}

# A failover script, at a time when umbrad is too late to note the unmount. The devices below the
# layer stay.
deactivated() {
	volume vol /dev/ubdb "$1"
	umbra storage add --size 100M "$T/vol"
	copies 2
	signal_umbrad STOP
	umount "$T/vol"
	umbra activate
	dmsetup remove --retry vol
	dmsetup ls | grep -- -real
	volume_again vol /dev/ubdb
	umbra activate
	signal_umbrad CONT
	[ "$(layer vol)" = in ]
	mount /dev/mapper/vol "$T/vol"
	compare
	copy_one
	compare
}

@test "unmounted, deactivated and activated again at once, ext4: no copy is lost" {
	deactivated ext4
}

@test "unmounted, deactivated and activated again at once, XFS: no copy is lost" {
	deactivated xfs
}

unclean_restart() {
	local writer
	volume vol /dev/ubdb "$1"
	umbra storage add --size 100M "$T/vol"
	copies 3
	while :; do scribble "$T/vol" $RANDOM && sleep 0.1; done &
	writer=$!
	sleep 1
	sync
	crash 2>&1 || { kill $writer; return 1; }
	kill $writer
	wait $writer || true
	umbra activate
	[ "$(layer vol)" = in ]
	mount /dev/mapper/vol "$T/vol"
	compare
	scribble "$T/vol" 60
	copy_one
	compare
}

@test "an unclean restart while an ext4 is busy" {
	unclean_restart ext4
}

@test "an unclean restart while an XFS is busy" {
	unclean_restart xfs
}

@test "mounted for writing without the layer: the copies are lost, and said to be lost" {
	local type
	for type in ext4 xfs; do
		volume vol /dev/ubdb $type
		umbra storage add --size 100M "$T/vol"
		copies 2
		restart
		mount /dev/mapper/vol "$T/vol"
		[ $type = ext4 ] || echo more >"$T/vol/more"
		umount "$T/vol"
		umbra activate --json >"$T/report"
		grep -q '"shadow"' "$T/report"
		[ "$(layer vol)" = out ]
		all_lost
		mount /dev/mapper/vol "$T/vol"
		all_lost
		umbra delete --yes --all "$T/vol"
		umbra storage remove "$T/vol"
		umount "$T/vol"
		end_umbrad
		forget_devices
		wipefs -qa /dev/ubdb
		rm -r "${T:?}/tree"
	done
}

# read_without_layer FSTYPE OPTIONS
read_without_layer() {
	volume vol /dev/ubdb "$1"
	umbra storage add --size 100M "$T/vol"
	copies 2
	restart
	mount -o "$2" /dev/mapper/vol "$T/vol"
	umbra storage --json | grep -q '"why"'
	run -1 umbra activate
	[[ $output == *"unmount it"* ]]
	umount "$T/vol"
	umbra activate
	mount /dev/mapper/vol "$T/vol"
	compare
}

@test "an ext4 is mounted for reading without the layer: nothing is lost" {
	read_without_layer ext4 ro
}

@test "an XFS is mounted for reading without the layer, and nothing is replayed: nothing is lost" {
	read_without_layer xfs ro,norecovery
}

@test "an XFS is mounted for reading without the layer, and writes to its log: the copies are lost" {
	volume vol /dev/ubdb xfs
	umbra storage add --size 100M "$T/vol"
	copies 2
	restart
	mount -o ro /dev/mapper/vol "$T/vol"
	umount "$T/vol"
	umbra activate
	[ "$(layer vol)" = out ]
	all_lost
}

@test "killed at each step of an activation, and again" {
	local point
	volume vol /dev/ubdb ext4
	umbra storage add --size 100M "$T/vol"
	copies 2
	restart
	for point in layer.made layer.loaded layer.replaced dm.wall-made dm.cow-made \
		dm.activate-loaded dm.activate-renewing dm.activate-renewed dm.activated; do
		run ! env UMBRA_TEST_FAULT=$point:kill "$UMBRA" activate
	done
	umbra activate
	mount /dev/mapper/vol "$T/vol"
	compare
	scribble "$T/vol" 70
	compare
}

@test "a copy that was being made is given up, and the older ones are exact" {
	volume vol /dev/ubdb ext4
	umbra storage add --size 100M "$T/vol"
	copies 2
	end_umbrad
	run ! env UMBRA_TEST_NOW=1800000100 UMBRA_TEST_FAULT=dm.loaded:kill "$UMBRA" create "$T/vol"
	end_umbrad
	crash
	umbra activate
	mount /dev/mapper/vol "$T/vol"
	compare
	scribble "$T/vol" 71
	copy_one
	compare
}

@test "the first copy of all was being made: it is given up, and the layer with it" {
	volume vol /dev/ubdb ext4
	umbra storage add --size 100M "$T/vol"
	stopped_creation dm.loaded
	end_umbrad # who would undo it
	kill -KILL "$MAKER"
	crash
	umbra activate
	[ "$(layer vol)" = out ]
	mount /dev/mapper/vol "$T/vol"
	umbra check
	copies 1
	compare
}

@test "what a torn write has left behind the list of exceptions is no part of it" {
	local store stale
	volume vol /dev/ubdb ext4
	wipefs -qa /dev/ubdc
	umbra storage add --force --at /dev/ubdc "$T/vol"
	copies 1
	restart
	store=$(grep -obUam 1 SnAp /dev/ubdc | cut -d : -f 1)
	stale=$((store / 16 + 1024 + 500)) # the first area lies in the second chunk
	printf '\1\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0' |
		dd of=/dev/ubdc bs=16 seek=$stale conv=notrunc,fsync status=none
	umbra activate
	blockdev --flushbufs /dev/ubdc
	[ "$(dd if=/dev/ubdc bs=16 skip=$stale count=1 status=none | tr -d '\0' | wc -c)" = 0 ]
	mount /dev/mapper/vol "$T/vol"
	compare
}

nobody_waits() { ! pgrep -x umbra; }

@test "who waits for a volume can be interrupted, and nothing waits on without him" {
	local requester
	volume vol /dev/ubdb ext4
	umbra storage add --size 100M "$T/vol"
	copies 1
	umount "$T/vol"
	umbra activate
	end_umbrad
	forget_devices
	"$UMBRA_RUN/bin/umbra" activate --wait 60 3>&- &
	requester=$!
	sleep 1
	kill "$requester"
	wait_for 5 nobody_waits
	if wait "$requester"; then false; fi
	volume_again vol /dev/ubdb
	umbra activate
	mount /dev/mapper/vol "$T/vol"
	compare
}

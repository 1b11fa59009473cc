# SPDX-License-Identifier: LGPL-2.1-or-later
# Provider dm on real device-mapper: block copies of mounted volumes.
# vm: --time 850 --mem 768M --disk 800M --disk 800M --disk 200M
load ../system/helper
load volume

TEST_LIMIT=200

# check_copies TREE VOLUME N: each of the copies 1 to N is what sums.K says.
check_copies() {
	local k token
	for ((k = 1; k <= $3; k++)); do
		token=$(sed -n "${k}p" "$T/tokens")
		sums "$1/$token$2" >"$T/now"
		diff "$T/now" "$T/sums.$k"
	done
}

# Five copies of $T/vol, with changes between.
five_copies() {
	local k
	: >"$T/tokens"
	for k in 1 2 3 4 5; do
		scribble "$T/vol" "$k"
		sums "$T/vol" >"$T/sums.$k"
		create_token "$T/vol"
	done
	scribble "$T/vol" 6
}

each_filesystem() {
	volume vol /dev/ubdb "$1"
	five_copies
	[ "$(layer vol)" = in ]
	mkdir "$T/tree"
	umbra mount "$T/tree"
	check_copies "$T/tree" "$T/vol" 5
	umbra check
	umbra umount "$T/tree"
	umbra delete --yes --all "$T/vol"
	[ "$(layer vol)" = out ]
	[ "$(dmsetup ls | wc -l)" = 1 ]
	umount "$T/vol"
}

@test "five copies of ext4, each as it was; the layer goes with the last" {
	each_filesystem ext4
	e2fsck -fn /dev/mapper/vol
}

@test "five copies of XFS, each as it was; the layer goes with the last" {
	each_filesystem xfs
	xfs_repair -n /dev/mapper/vol
}

# like_others DEVICE: a volume on it is copied as others are, and has its table back in the end.
like_others() {
	dmsetup table --showkeys "$1" >"$T/table"
	mkfs.ext4 -q -F "/dev/mapper/$1"
	mkdir -p "$T/vol"
	mount "/dev/mapper/$1" "$T/vol"
	copies 3
	[ "$(layer "$1")" = in ]
	compare
	umbra delete --yes --all "$T/vol"
	umbra storage remove "$T/vol"
	umount "$T/vol"
	dmsetup table --showkeys "$1" | diff - "$T/table"
	e2fsck -fn "/dev/mapper/$1"
	! dmsetup ls | grep umbra
}

@test "an encrypted volume whose key is in its table" {
	modprobe -a dm-crypt xts aes_generic
	dmsetup create secret --table "0 400000 crypt aes-xts-plain64 $(printf '5a%.0s' {1..32}) 0 /dev/ubdb 0"
	like_others secret
}

@test "a partition on multipath" {
	modprobe -a dm-multipath dm-round-robin
	dmsetup create mpath --table "0 $(blockdev --getsz /dev/ubdb) multipath 0 0 1 1 round-robin 0 1 1 /dev/ubdb 1"
	dmsetup create mpath-part1 --uuid part1-mpath-test --table "0 400000 linear /dev/mapper/mpath 2048"
	like_others mpath-part1
}

@test "a logical volume that is striped over two disks" {
	export DM_DISABLE_UDEV=1
	vgcreate -qq -y vg /dev/ubdb /dev/ubdc
	lvcreate -qq -y -Wn -Zn -i 2 -L 200M -n lv vg
	like_others vg-lv
	vgremove -qq -ff -y vg
}

@test "copies that are being read stay what they are through creations and deletions" {
	local k
	volume vol /dev/ubdb ext4
	five_copies
	mkdir "$T/tree"
	umbra mount "$T/tree"
	check_copies "$T/tree" "$T/vol" 5
	# A file that is open over all of it.
	local token
	token=$(sed -n 3p "$T/tokens")
	exec 7<"$T/tree/$token$T/vol/$(awk 'NR == 1 {print $2}' "$T/sums.3")"
	for k in 7 8 9; do
		create "$T/vol"
		scribble "$T/vol" $k
		check_copies "$T/tree" "$T/vol" 5
	done
	umbra delete --yes "$(sed -n 4p "$T/tokens")" "$(sed -n 1p "$T/tokens")"
	sed -i -e 4d -e 1d "$T/tokens"
	mv "$T/sums.2" "$T/sums.1"
	mv "$T/sums.3" "$T/sums.2"
	mv "$T/sums.5" "$T/sums.3"
	scribble "$T/vol" 10
	check_copies "$T/tree" "$T/vol" 3
	umbra delete --yes latest
	create "$T/vol"
	check_copies "$T/tree" "$T/vol" 3
	[ "$(umbra-vm-files sum <&7)" = "$(awk 'NR == 1 {print $1}' "$T/sums.2")" ]
	exec 7<&-
	umbra umount "$T/tree"
	umbra delete --yes --all "$T/vol"
	umount "$T/vol"
	e2fsck -fn /dev/mapper/vol
}

@test "every copy is a clean filesystem by itself" {
	volume vol /dev/ubdb ext4
	five_copies
	mkdir "$T/tree"
	umbra mount "$T/tree"
	check_copies "$T/tree" "$T/vol" 5
	local view n=0
	for view in /dev/mapper/umbra-*-view-*; do
		e2fsck -fn "$view"
		n=$((n + 1))
	done
	[ $n = 5 ]
	umbra umount "$T/tree"
}

@test "the diff area in a file elsewhere, and on a block device" {
	volume vol /dev/ubdb ext4
	umbra storage add --at "$T/area" --size 64M "$T/vol"
	five_copies
	umbra storage --json | grep -q '"kind": *"file"'
	mkdir "$T/tree"
	umbra mount "$T/tree"
	check_copies "$T/tree" "$T/vol" 5
	umbra umount "$T/tree"
	run -1 umbra storage remove "$T/vol"
	[[ $output == *"5 shadow copies"* ]]
	umbra delete --yes --all "$T/vol"
	umbra storage remove "$T/vol"
	[ ! -e "$T/area" ]

	mkfs.ext4 -q -F /dev/ubdd
	run -1 umbra storage add --at /dev/ubdd "$T/vol"
	[[ $output == *ext4*--force* ]]
	umbra storage add --force --at /dev/ubdd "$T/vol"
	five_copies
	umbra mount "$T/tree"
	check_copies "$T/tree" "$T/vol" 5
	umbra umount "$T/tree"
	umbra storage remove --force "$T/vol"
	[ "$(layer vol)" = out ]
}

@test "a set of two volumes, of which one has its diff area on the other" {
	local writer
	slices /dev/ubdb low=300 up=300
	filesystem low ext4
	filesystem up ext4
	umbra storage add --at "$T/low/area" --size 64M "$T/up"
	create "$T/low" "$T/up"
	while [ ! -e "$T/enough" ]; do
		dd if=/dev/urandom of="$T/up/busy" bs=64k count=20 conv=notrunc status=none
	done 3>&- &
	writer=$!
	# What is to be written out in the hold is written to the other volume, too.
	create "$T/low" "$T/up"
	create "$T/low" "$T/up"
	touch "$T/enough"
	wait "$writer"
	[ "$(umbra list --json | grep -o '"state":"created"' | wc -l)" = 3 ]
}

@test "of two volumes only one has its diff area on the other" {
	slices /dev/ubdb low=300 up=300
	filesystem low ext4
	filesystem up ext4
	umbra storage add --at "$T/low/area" --size 64M "$T/up"
	create "$T/up"
	run -1 umbra storage add --at "$T/up/area" --size 64M "$T/low"
	[[ $output == *"on the volume that it would protect"* ]]
	[ ! -e "$T/up/area" ]
	create "$T/low" "$T/up"
}

# Nobody can make such a thing any more: the area is made elsewhere, and carried there.
@test "diff areas that are on each other's volumes are named by check, with what to do" {
	local record
	slices /dev/ubdb low=300 up=300
	filesystem low ext4
	filesystem up ext4
	umbra storage add --at "$T/low/area" --size 160M "$T/up"
	umbra storage add --at "$T/elsewhere" --size 40M "$T/low"
	create "$T/up"
	umbra check
	record=$(grep -l elsewhere "$UMBRA_STATE"/dm/*.json)
	cp --sparse=never "$T/elsewhere" "$T/up/area"
	sed -i "s|$T/elsewhere|$T/up/area|" "$record"
	run -1 umbra check
	echo "$output"
	[[ $output == *"the diff area of '$T/low': it is on a volume that has its own on '$T/low'"*"umbra storage remove"* ]]
	umbra storage remove "$T/low"
	umbra check
}

@test "the table is put back behind our back: the copies are lost, and said to be lost" {
	volume vol /dev/ubdb ext4
	five_copies
	dmsetup table "$(dmsetup ls | awk '/-real/ {print $1}')" >"$T/table"
	# Who looks between the two would take the table away again: it could be its own.
	kill "$(pgrep -x umbrad)"
	while pgrep -x umbrad; do sleep 0.1; done
	dmsetup load vol "$T/table"
	dmsetup resume vol
	echo more >"$T/vol/more"
	mkdir "$T/tree"
	umbra mount "$T/tree"
	run ls "$T/tree/$(sed -n 1p "$T/tokens")$T/vol"
	[ "$status" != 0 ]
	umbra umount "$T/tree"
	[ "$(layer vol)" = out ]
	[ "$(cat "$T/vol/more")" = more ]
	create "$T/vol"
	[ "$(layer vol)" = in ]
}

@test "an installed tree that lies elsewhere has its umbrad and its guard in sbin" {
	volume vol /dev/ubdb ext4
	mkdir -p "$T/usr/bin" "$T/usr/sbin"
	cp "$UMBRA_RUN/bin/umbra" "$T/usr/bin"
	cp "$UMBRA_RUN/bin/umbrad" "$UMBRA_RUN/bin/umbra-guard" "$T/usr/sbin"
	"$T/usr/bin/umbra" create "$T/vol"
	[ "$(readlink "/proc/$(pgrep -x umbrad)/exe")" = "$T/usr/sbin/umbrad" ]
}

@test "what bad input gets" {
	run -1 umbra storage add "$T"
	[[ $output == *"cannot have a diff area"* ]]
	run -2 umbra storage add
	run -2 umbra storage shrink "$T"
	run -2 umbra storage add --size 3x "$T"
	volume vol /dev/ubdb ext4
	run -2 umbra storage add --size 1M "$T/vol"
	run -1 umbra storage add --size 5G "$T/vol"
	[[ $output == *"no room"* ]]
	[ -z "$(ls -A "$T/vol/.umbra")" ]
	run -1 umbra storage add --at "$T/vol/area" "$T/vol"
	[ ! -e "$T/vol/area" ]
	umbra storage add --size 64M "$T/vol"
	run -1 umbra storage add --size 64M "$T/vol"
	[[ $output == *already* ]]
	create "$T/vol"
	run -1 umbra --state "$T/other" create --provider dm "$T/vol"
	[[ $output == *"'vol' has shadow copies in another state directory"*--state* ]]
	umbra delete --yes --all "$T/vol"
	run ! rm "$T/vol/.umbra/diff-area"
	umbra storage remove "$T/vol"
	[ ! -e "$T/vol/.umbra" ]
}

@test "an XFS of which a part is on another device is refused" {
	volume_again vol /dev/ubdb
	mkdir "$T/vol"
	mkfs.xfs -q -f --unsupported -l logdev=/dev/ubdd,size=10000b /dev/mapper/vol
	mount -o logdev=/dev/ubdd /dev/mapper/vol "$T/vol"
	run -1 create --provider dm "$T/vol"
	[[ $output == *"'$T/vol' has its log on another device"* ]]
	run -1 umbra storage add "$T/vol"
	[[ $output == *"its log on another device"* ]]
	umount "$T/vol"
	mkfs.xfs -q -f --unsupported -m reflink=0,rmapbt=0 -r rtdev=/dev/ubdd /dev/mapper/vol
	mount -o rtdev=/dev/ubdd /dev/mapper/vol "$T/vol"
	run -1 create --provider dm "$T/vol"
	[[ $output == *"a realtime section on another device"* ]]
	[ "$(layer vol)" = out ]
}

@test "what is still in memory when a copy is made is more than half of the space: the older one lives" {
	volume vol /dev/ubdb ext4
	umbra storage add --size 100M "$T/vol"
	: >"$T/tokens"
	copy_one
	dd if=/dev/urandom of="$T/vol/big" bs=1M count=60 status=none
	copy_one
	compare
}

@test "who held a volume is killed with all who watched: an umbrad whose state lies there releases it" {
	volume vol /dev/ubdb ext4
	UMBRA_STATE=$T/vol/state
	create "$T/vol"
	stopped_creation create.held
	stop_second
	# shellcheck disable=SC2046 # words
	kill -9 "$REQUESTER" $(pgrep -x 'umbra-guard|umbra-second|umbrad|umbra-standby') "$MAKER"
	wait "$REQUESTER" || true
	run ! nothing_suspended
	"$UMBRA_BUILD/src/daemon/umbrad" --state "$UMBRA_STATE" --syslog 3>&- &
	wait_for 2 nothing_suspended
	create "$T/vol"
	umbra check
}

@test "somebody reads the device of the newest copy while the next one is made: nobody waits for him" {
	local name node
	volume vol /dev/ubdb ext4
	copies 2
	name=$(dmsetup ls | awk '/-snap/ {print $1}')
	node=/dev/$(dmsetup info -c --noheadings -o blkdevname "$name")
	exec 7<"$node"
	UMBRA_TEST_FAULT=dm.store-out:kill run -1 create "$T/vol"
	compare
	copy_one
	compare
	run -1 dd if="$node" of=/dev/null bs=1M count=1 iflag=direct
	exec 7<&-
	run -1 dmsetup info "$name"
	umbra delete --yes --all "$T/vol"
	[ "$(layer vol)" = out ]
	[ "$(dmsetup ls | wc -l)" = 1 ]
}

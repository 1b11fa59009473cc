# SPDX-License-Identifier: LGPL-2.1-or-later
# A diff area, or a volume with it inside, whose disk or file was cloned, and the old one is put in its
# place: it is never believed, and the right one is as good as it was.
# vm: --time 400 --mem 768M --disk 64M --disk 64M --disk 128M --disk 128M
load ../system/helper
load volume

TEST_LIMIT=100
SIDE=/dev/ubdb
CLONE=/dev/ubdc
DISK=/dev/ubdd
OTHER=/dev/ubde # what the volume is on after the power has failed

cloned() { dd if=$SIDE of=$CLONE bs=1M iflag=direct oflag=direct status=none; }

# missing ERE: the copies are said to be missing for that reason, and cannot be read.
missing() {
	umbra list --json >"$T/list"
	jq -e '[.sets[].volumes[].condition] | length > 0 and all(. == "missing")' "$T/list"
	jq -r '.sets[].volumes[].why' "$T/list" | grep -E "^diff area missing: .*$1.*umbra storage remove --force"
	umbra storage --json | jq -e '.areas[0] | .state == "missing" and .size == null and .copies == null'
	umbra storage | grep -E "^$T/vol +[0-9a-f-]{36} +- +- +- +- +missing +diff area missing"
	run -1 umbra diff --from latest "$T/vol/1"
}

# beside FSTYPE: a volume with its diff area on a device beside it.
beside() {
	volume vol $DISK "$1"
	slices $SIDE side=64
	umbra storage add --force --at /dev/mapper/side "$T/vol"
}

old_clone() {
	beside "$1"
	copies 1
	sync -f "$T/vol"
	cloned
	copy_one
	scribble "$T/vol" 98
	sync -f "$T/vol"
	end_umbrad # the area is not stopped at the same moment, and would be told of the umount
	crash $DISK $OTHER
	slices $CLONE side=64
	run -1 umbra activate
	echo "$output"
	[ "$(grep -c "'/dev/mapper/side' is an old copy of diff area" <<<"$output")" = 1 ]
	missing "an old copy"
	[ "$(layer vol)" = out ]
	dmsetup remove side
	slices $SIDE side=64
	umbra activate
	mount /dev/mapper/vol "$T/vol"
	compare
	umbra check
}

@test "after the power failed an old clone of the diff area's disk is in its place (ext4)" { old_clone ext4; }
@test "after the power failed an old clone of the diff area's disk is in its place (XFS)" { old_clone xfs; }

@test "the disk gets another name while the layer is in, and its clone has the old one" {
	beside ext4
	copies 2
	cloned
	dmsetup rename side renamed
	slices $CLONE side=64
	missing "another device now than the diff area that is in use"
	run -1 create "$T/vol"
	[[ $output == *"another device now"* ]]
	scribble "$T/vol" 97
	sync -f "$T/vol"
	nothing_suspended
	dmsetup remove side
	missing "No such file"
	dmsetup rename renamed side
	compare
	create "$T/vol"
	umbra check
}

@test "the file of a diff area is replaced by its copy while the layer is in" {
	volume vol $DISK ext4
	volume more $OTHER ext4
	umbra storage add --size 40M --at "$T/more/area" "$T/vol"
	copies 2
	cp "$T/more/area" "$T/more/copy"
	mv "$T/more/area" "$T/more/real"
	mv "$T/more/copy" "$T/more/area"
	missing "another file now than the diff area that is in use"
	scribble "$T/vol" 97
	mv "$T/more/real" "$T/more/area"
	compare
	umbra check
}

@test "an old clone is not wiped when the diff area is given up" {
	beside ext4
	copies 1
	cloned
	copy_one
	umount "$T/vol"
	umbra activate
	end_umbrad
	forget_devices
	volume_again vol $DISK
	slices $CLONE side=64
	sum=$(sha1sum $CLONE)
	run -1 umbra activate
	mount /dev/mapper/vol "$T/vol"
	run -0 umbra storage remove --force "$T/vol"
	echo "$output"
	[[ $output == *"left alone"*"an old copy"* ]]
	[ "$(sha1sum $CLONE)" = "$sum" ]
	[ -z "$(ls "$UMBRA_STATE/dm")" ]
}

@test "an old clone of a volume is in its place: what it has is right, and the rest is missing, not gone" {
	volume vol $DISK ext4
	umbra storage add --size 40M "$T/vol"
	copies 2
	umount "$T/vol"
	umbra activate
	dd if=$DISK of=$OTHER bs=1M iflag=direct oflag=direct status=none
	mount /dev/mapper/vol "$T/vol"
	copy_one
	restart $OTHER
	umbra activate
	umbra list
	[ "$(umbra list --json | jq -c '[.sets[].volumes[].condition]')" = '[null,null,"missing"]' ]
	umbra show --json latest | jq -re '.volumes[0].why | select(startswith("old volume: "))'
	run -1 umbra check
	[[ $output != *"does not know"* ]]
	mount /dev/mapper/vol "$T/vol"
	cp "$T/tokens" "$T/all"
	sed -i 3d "$T/tokens"
	compare
	cp "$T/all" "$T/tokens"
	restart $DISK
	umbra activate
	mount /dev/mapper/vol "$T/vol"
	compare
	umbra check
}

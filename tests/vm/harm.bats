# SPDX-License-Identifier: LGPL-2.1-or-later
# What disks, administrators and unlucky moments do to a diff area, and that no more is lost than
# what was harmed.
# vm: --time 850 --mem 768M --disk 400M --disk 400M --disk 128M
load ../system/helper
load volume

TEST_LIMIT=100

teardown() {
	exec 7<&-
	[ -z "${MAKER-}" ] || kill -9 "$MAKER" 2>/dev/null || true
	drop_volumes
	umbra_teardown
}

# copies N: that many, told apart by a file, with the diff area on /dev/ubdd.
copies() {
	local k
	volume vol /dev/ubdb ext4
	umbra storage add --force --at /dev/ubdd "$T/vol"
	for ((k = 1; k <= $1; k++)); do
		echo "$k" >"$T/vol/which"
		create_token "$T/vol"
	done
	echo now >"$T/vol/which"
	sync -f "$T/vol"
}

layer_is() { [ "$(layer vol)" = "$1" ]; }

in_copy() { cat "$T/tree/$(token "$1")$T/vol/which"; }

@test "a store of an older copy is damaged, and that copy is being read: the others live on" {
	local line device at
	copies 2
	mkdir "$T/tree"
	umbra mount "$T/tree"
	exec 7<"$T/tree/$(token 1)$T/vol/which"
	[ "$(in_copy 1)" = 1 ]
	end_umbrad
	# Where the store of copy 1 begins: the line of its view that is not of our making.
	line=$(dmsetup table "$(dmsetup ls | awk '/-viewcow/ {print $1}')" | tail -1)
	device=$(dmsetup ls | awk '/-area/ {print $1}')
	at=$(awk '{print $5}' <<<"$line")
	head -c 32768 /dev/urandom |
		dd of="/dev/mapper/$device" bs=512 seek="$at" oflag=direct conv=notrunc status=none
	create_token "$T/vol"
	echo after >"$T/vol/which"
	[ "$(in_copy 2)" = 2 ]
	[ "$(in_copy 3)" = now ]
	create_token "$T/vol"
	exec 7<&-
	umbra umount "$T/tree"
	umbra delete --yes --all "$T/vol"
	layer_is out
}

@test "killed in the first creation, and then the table is put back: it begins anew" {
	volume vol /dev/ubdb ext4
	umbra storage add --force --at /dev/ubdd "$T/vol"
	stopped_creation dm.loaded
	end_umbrad
	replace_table vol
	kill -9 "$MAKER"
	create_token "$T/vol"
	layer_is in
	umbra delete --yes --all "$T/vol"
	layer_is out
	[ "$(dmsetup ls | wc -l)" = 1 ]
}

@test "both superblocks are damaged: its copies can be given up, and new ones made" {
	local area
	copies 2
	end_umbrad
	dd if=/dev/zero of=/dev/ubdd bs=1M count=3 oflag=direct conv=notrunc status=none
	run umbra storage
	echo "$output"
	area=$(umbra storage --json | jq -r '.areas[0].place')
	umbra storage remove --force "$area"
	layer_is out
	[ "$(dmsetup ls | wc -l)" = 1 ]
	umbra storage add --force --at /dev/ubdd "$T/vol"
	create "$T/vol"
}

@test "the diff area's file is removed by force, and then the power fails: what lies there now is left alone" {
	local k was
	volume vol /dev/ubdb ext4
	umbra storage add --size 100M "$T/vol"
	for k in 1 2; do
		head -c 3M /dev/urandom >"$T/vol/$k"
		create_token "$T/vol"
	done
	chattr -R -i "$T/vol/.umbra"
	rm "$T/vol/.umbra/diff-area"
	eventually layer_is out
	head -c 20M /dev/urandom >"$T/vol/more"
	sync -f "$T/vol"
	dd if=/dev/ubdb of=/dev/ubdc bs=1M iflag=direct oflag=direct status=none
	umount -l "$T/vol"
	drop_volumes
	volume_again vol /dev/ubdc
	was=$(sha1sum /dev/ubdc)
	run umbra activate
	echo "$output"
	layer_is out
	[ "$(sha1sum /dev/ubdc)" = "$was" ]
	mount /dev/mapper/vol "$T/vol"
	run umbra list
	echo "$output"
}

@test "a copy that is lost while it is made is not said to have been made" {
	volume vol /dev/ubdb ext4
	umbra storage add --size 40M "$T/vol"
	head -c 48M /dev/zero >"$T/vol/big"
	create "$T/vol"
	stopped_creation dm.kept
	head -c 48M /dev/urandom | dd of="$T/vol/big" bs=1M conv=notrunc,fsync status=none
	kill -CONT "$MAKER"
	status=0
	wait "$REQUESTER" || status=$?
	cat "$T/said"
	[ "$status" = 1 ]
	grep -q 'lost while it was made' "$T/said"
	layer_is out
}

@test "the diff area gets full while a copy is made, and that is killed: it is said why the others are lost" {
	volume vol /dev/ubdb ext4
	umbra storage add --size 40M "$T/vol"
	head -c 48M /dev/zero >"$T/vol/big"
	create "$T/vol"
	stopped_creation dm.loaded
	end_umbrad
	head -c 48M /dev/urandom | dd of="$T/vol/big" bs=1M conv=notrunc,fsync status=none
	kill -9 "$MAKER"
	umbra list --json | jq -e '.sets | length == 1 and
		all(.volumes[0].why | test("^diff area full or failed: .*storage resize"))'
	umbra check || true
	layer_is out
}

@test "the file of a diff area cannot be seen for a while: nothing is lost" {
	volume vol /dev/ubdb ext4
	umbra storage add --at "$T/area" --size 64M "$T/vol"
	for k in 1 2; do
		echo "$k" >"$T/vol/which"
		create_token "$T/vol"
	done
	mv "$T/area" "$T/hidden"
	run umbra storage
	[[ $output == *"$T/area"* ]]
	echo now >"$T/vol/which"
	sync -f "$T/vol"
	layer_is in
	mv "$T/hidden" "$T/area"
	mkdir "$T/tree"
	umbra mount "$T/tree"
	[ "$(in_copy 1) $(in_copy 2)" = "1 2" ]
	umbra umount "$T/tree"
}

# new_files: twenty on the volume, read back from the disk.
new_files() {
	mkdir "$T/vol/new"
	umbra-vm-files make "$T/vol/new" 20 11000000 >"$T/written"
	[ "$(wc -l <"$T/written")" = 20 ]
	sync -f "$T/vol"
	echo 3 >/proc/sys/vm/drop_caches
	sums "$T/vol/new" | diff "$T/written" -
}

is_lost() { umbra list --json | jq -e '[.sets[].volumes[].lost // empty] | length == 2'; }

stores_no_more() { dmsetup table | grep -q -- '-area: 0 [0-9]* error'; }

# two_inside FSTYPE: two copies, in a diff area that has much of the volume.
two_inside() {
	volume vol /dev/ubdb "$1"
	umbra storage add --size 150M "$T/vol"
	head -c 40M /dev/urandom >"$T/vol/which"
	create_token "$T/vol"
	create_token "$T/vol"
}

# made_anew FSTYPE FSTYPE: the second is made where the first was.
made_anew() {
	two_inside "$1"
	umount "$T/vol"
	filesystem vol "$2"
	new_files
	eventually layer_is out
	eventually is_lost
	umount "$T/vol"
	case $2 in
	ext4) e2fsck -fn /dev/mapper/vol ;;
	xfs) xfs_repair -n /dev/mapper/vol ;;
	esac
}

@test "a new ext4 is made over a volume with copies: what is in it is right, and they are lost" {
	made_anew ext4 ext4
}

@test "a new XFS is made over a volume with copies: what is in it is right, and they are lost" {
	made_anew xfs xfs
}

@test "an ext4 is made where an XFS was: that is seen before it is mounted, and said" {
	two_inside xfs
	umount "$T/vol"
	mkfs.ext4 -q -F /dev/mapper/vol
	layer_is out
	umbra list --json | jq -e '.sets[0].volumes[0].lost | contains("another filesystem")'
	mount /dev/mapper/vol "$T/vol"
	new_files
	umbra list --json | jq -e '.sets[0].volumes[0].lost | contains("another filesystem")'
}

@test "an ext4 is made over a volume that is reverted only in part: that is seen before it is mounted" {
	two_inside ext4
	head -c 40M /dev/urandom >"$T/vol/which"
	umount "$T/vol"
	UMBRA_TEST_FAULT=dm.revert-piece:kill run -1 umbra revert --yes "$T/vol" --from "$(token 1)"
	umbra storage --json | jq -e '.areas[0].state == "reverting"'
	sleep 1
	layer_is in
	mkfs.ext4 -q -F /dev/mapper/vol
	eventually layer_is out
	mount /dev/mapper/vol "$T/vol"
	new_files
	eventually is_lost
}

@test "the diff area's directory is removed by force: new files are right, and the copies are lost" {
	two_inside ext4
	chattr -R -i "$T/vol/.umbra"
	rm -rf "$T/vol/.umbra"
	new_files
	eventually layer_is out
	eventually is_lost
	umount "$T/vol"
	e2fsck -fn /dev/mapper/vol
}

@test "it is removed while another has the volume's lock: new files are right" {
	local lock
	two_inside ext4
	lock=/run/umbra/dm/$(basename "$UMBRA_STATE"/dm/*.json .json).lock
	exec 7<>"$lock"
	flock 7
	chattr -R -i "$T/vol/.umbra"
	rm -rf "$T/vol/.umbra"
	eventually stores_no_more
	new_files
	exec 7<&-
	eventually layer_is out
	eventually is_lost
}

@test "the filesystem gets another name and UUID in use: its copies stay" {
	two_inside ext4
	tune2fs -U random -L other /dev/mapper/vol
	sleep 4
	layer_is in
	create_token "$T/vol"
	umbra check
	umount "$T/vol"
	sleep 4
	layer_is in
	mount /dev/mapper/vol "$T/vol"
	umbra check
}

minor_of() { dmsetup info -c --noheadings -o minor "$1"; }

real() { dmsetup ls | awk '/-real/ {print $1}'; }

standby() { pgrep -x umbra-standby; }

# Its second knows what there was when it was begun.
@test "umbrad is killed, and what it looked at has another number by now: nothing is lost" {
	local was
	volume vol /dev/ubdb ext4
	umbra storage add --size 100M "$T/vol"
	create "$T/vol"
	was=$(minor_of "$(real)")
	kill -9 "$(standby)"
	eventually standby
	sleep 0.5
	umbra delete --yes --all "$T/vol"
	eventually layer_is out
	dmsetup create other --table "0 8192 linear /dev/ubdd 0"
	[ "$(minor_of other)" = "$was" ]
	echo 1 >"$T/vol/which"
	create_token "$T/vol"
	umount "$T/vol"
	kill -9 "$(worker)"
	sleep 1
	eventually worker
	mount /dev/mapper/vol "$T/vol"
	echo now >"$T/vol/which"
	mkdir "$T/tree"
	umbra mount "$T/tree"
	[ "$(in_copy 1)" = 1 ]
	umbra umount "$T/tree"
}

@test "killed when the diff area has its name and is not immutable yet: the next one goes on with it" {
	volume vol /dev/ubdb ext4
	UMBRA_TEST_FAULT=dm.area-named:fail run create "$T/vol"
	[ "$status" = 1 ]
	[ ! -e "$T/vol/.umbra/diff-area" ]
	UMBRA_TEST_FAULT=dm.area-named:kill run create "$T/vol"
	[ "$status" = 1 ]
	[ -e "$T/vol/.umbra/diff-area" ]
	run umbra check
	echo "$output"
	[ "$status" = 0 ]
	create_token "$T/vol"
	[[ "$(lsattr "$T/vol/.umbra/diff-area")" == ????i* ]]
	umbra check
	umbra delete --yes --all "$T/vol"
	umbra storage remove "$T/vol"
	[ ! -e "$T/vol/.umbra" ]
}

as_other() { setpriv --reuid 1234 --regid 1234 --clear-groups "$@"; }

@test "whoever owns the root directory of a volume can neither give nor take away its diff area" {
	volume vol /dev/ubdb ext4
	chmod a+x "$T"
	chown 1234 "$T/vol"
	as_other mkdir "$T/vol/.umbra"
	run create "$T/vol"
	[ "$status" = 1 ]
	[[ "$output" == *"belongs to user 1234"* ]]
	as_other rmdir "$T/vol/.umbra"
	as_other touch "$T/vol/file"
	create_token "$T/vol"
	run as_other mv "$T/vol/.umbra" "$T/vol/mine"
	[ "$status" != 0 ]
	[ -e "$T/vol/.umbra/diff-area" ]
	umbra check
	umbra delete --yes --all "$T/vol"
	umbra storage remove "$T/vol"
	[ ! -e "$T/vol/.umbra" ]
}

@test "the volume's filesystem is shut down: its copies can be read, and are there afterwards" {
	local fstype
	for fstype in ext4 xfs; do
		two_inside $fstype
		sha1sum <"$T/vol/which" >"$T/was"
		mkdir -p "$T/tree"
		xfs_io -x -c shutdown "$T/vol"
		sleep 4 # longer than umbrad goes without a look
		layer_is in
		umbra mount "$T/tree"
		sha1sum <"$T/tree/$(token 1)$T/vol/which" | diff - "$T/was"
		umbra umount "$T/tree"
		umount "$T/vol"
		mount /dev/mapper/vol "$T/vol"
		umbra check
		umbra delete --yes --all "$T/vol"
		umount "$T/vol"
		dmsetup remove --retry vol
		rm -r "$UMBRA_STATE/dm" "$T/tokens"
	done
}

@test "the diff area's file gets holes while nobody looks: new files are right" {
	two_inside ext4
	end_umbrad
	chattr -i "$T/vol/.umbra/diff-area"
	fallocate -p -o 20M -l 100M "$T/vol/.umbra/diff-area"
	chattr +i "$T/vol/.umbra/diff-area"
	run umbra storage
	layer_is out
	new_files
}

# read_all: each device that there is, to its end; and what blkid makes of them.
read_all() {
	local device
	timeout -k 1 20 blkid -c /dev/null -l -t TYPE=ext4 >/dev/null
	for device in /dev/dm-* /dev/mapper/*; do
		[ -b "$device" ] || continue
		timeout -k 1 20 dd if="$device" of=/dev/null bs=1M status=none
	done
}

@test "who reads every device does not wait at a wall" {
	two_inside ext4
	read_all
	create_token "$T/vol"
	head -c 20M /dev/urandom >"$T/vol/more"
	umbra storage resize --size 120M "$T/vol"
	read_all
}

@test "a device that has the diff area of a volume that is not there is not taken for another's" {
	slices /dev/ubdb vol=120 other=120
	filesystem vol ext4
	filesystem other ext4
	umbra storage add --force --at /dev/ubdd "$T/vol"
	echo 1 >"$T/vol/which"
	create_token "$T/vol"
	echo now >"$T/vol/which"
	umount "$T/vol" "$T/other"
	umbra storage
	end_umbrad
	forget_devices
	slices /dev/ubdb vol=120 other=120
	mount /dev/mapper/other "$T/other"
	run umbra storage add --at /dev/ubdd "$T/other"
	[ "$status" = 1 ]
	[[ $output == *"a diff area of umbra"* ]]
	umbra activate
	mount /dev/mapper/vol "$T/vol"
	mkdir "$T/tree"
	umbra mount "$T/tree"
	[ "$(in_copy 1)" = 1 ]
	umbra umount "$T/tree"
	umbra delete --yes --all "$T/vol"
	umbra storage remove "$T/vol"
	umbra storage add --at /dev/ubdd "$T/other"
}

@test "a diff area is not put where another user could exchange it" {
	local dir
	volume vol /dev/ubdb ext4
	mkdir -p "$T/theirs/sub" "$T/open" "$T/tmp"
	chown 1234 "$T/theirs"
	chmod 0777 "$T/open"
	chmod 1777 "$T/tmp"
	for dir in theirs/sub open; do
		run umbra storage add --size 40M --at "$T/$dir/area" "$T/vol"
		[ "$status" = 1 ]
		[[ "$output" == *"could exchange"* ]]
		[ ! -e "$T/$dir/area" ]
	done
	umbra storage add --size 40M --at "$T/tmp/area" "$T/vol"
	create_token "$T/vol"
	umbra check
}

on_disk() { dd if="$1" bs=1M iflag=direct status=none | sha1sum; }

@test "the volume is moved to another disk (pvmove): the old one is not written any more" {
	local half was
	two_inside ext4
	end_umbrad
	# Something that is put right whenever it is found: one of the two superblocks.
	head -c 4096 /dev/urandom | dd of="$(echo /dev/mapper/umbra-*-area)" bs=4096 seek=384 \
		oflag=direct conv=notrunc status=none
	sync -f "$T/vol"
	dd if=/dev/ubdb of=/dev/ubdc bs=1M iflag=direct oflag=direct status=none
	half=$(($(blockdev --getsz /dev/ubdc) / 2))
	printf '%s\n' "0 $half linear /dev/ubdc $half" "$half $half linear /dev/ubdc 0" |
		dmsetup load vol
	dmsetup resume vol
	was=$(on_disk /dev/ubdb)
	umbra storage
	layer_is out
	[ "$(on_disk /dev/ubdb)" = "$was" ]
	echo 3 >/proc/sys/vm/drop_caches
	create "$T/vol"
}

@test "a directory that is mounted by itself is exchanged for a link: no live files are shown for the copy's" {
	volume vol /dev/ubdb ext4
	mkdir -p "$T/vol/a/b" "$T/live/b" "$T/bound" "$T/tree"
	echo copy >"$T/vol/a/b/which"
	echo live >"$T/live/b/which"
	mount --bind "$T/vol/a/b" "$T/bound"
	UMBRA_TEST_FAULT=dm.unlocked:stop "$UMBRA_RUN/bin/umbra" create "$T/bound" >"$T/said" 2>&1 3>&- &
	REQUESTER=$!
	eventually stopped
	MAKER=$(stopped)
	mv "$T/vol/a" "$T/vol/c"
	ln -s "$T/live" "$T/vol/a"
	kill -CONT "$MAKER"
	wait "$REQUESTER"
	umbra mount "$T/tree"
	run cat "$T/tree/latest$T/bound/which"
	[ "$output" != live ]
	umbra umount "$T/tree"
	umount "$T/bound"
}

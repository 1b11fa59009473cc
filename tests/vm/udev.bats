# SPDX-License-Identifier: LGPL-2.1-or-later
# With udev: its links to volumes stay, and it does not look for filesystems in our devices.
# vm: --time 850 --mem 768M --disk 300M
load ../system/helper
load volume

setup() {
	umbra_setup
	[ -x /lib/systemd/systemd-udevd ] || skip "no udev on this machine"
	unset DM_DISABLE_UDEV
	/lib/systemd/systemd-udevd --daemon
	udevadm trigger --subsystem-match=block --action=add
	settle
}

teardown() {
	pkill -CONT -x systemd-udevd || true
	drop_volumes
	vgchange -an >/dev/null 2>&1 || true
	pkill -KILL -x systemd-udevd || true
	rm -f /run/udev/control # it says that one runs
	umbra_teardown
}

settle() { udevadm settle --timeout=30; }

# links DEVICE: all of udev's links that lead there.
links() {
	settle
	find -H /dev/disk /dev/mapper /dev/lab -type l 2>/dev/null | while read -r link; do
		[ "$(readlink -f "$link")" != "$(readlink -f "$1")" ] || echo "$link"
	done | sort
}

# udev hears of a new filesystem when who wrote it closes the device: a settle may be earlier, and if
# it looks at the device at that moment it never hears; so it is asked to look.
has_uuid() { [[ $(links "$1") == */by-uuid/* ]]; }

copied_and_deleted() {
	local device=$1 before scanned
	settle
	udevadm trigger --action=change "$device"
	eventually has_uuid "$device"
	before=$(links "$device")
	umbra create "$T/vol"
	umbra create "$T/vol"
	diff <(links "$device") <(echo "$before")
	[ -L "$(echo /dev/mapper/umbra-*-snap2)" ]
	scanned=$(find -H /dev/disk -type l -exec readlink {} + | sort | uniq -c)
	for link in /dev/mapper/umbra-*; do
		run ! grep -q "/$(basename "$(readlink "$link")")$" <<<"$scanned"
	done
	umbra delete --yes --all "$T/vol"
	diff <(links "$device") <(echo "$before")
	[ "$(echo /dev/mapper/umbra-*)" = "/dev/mapper/umbra-*" ]
	dmsetup udevcookies | (! grep 0x)
}

@test "links to a volume stay, and our devices have none but their names" {
	volume vol /dev/ubdb ext4
	copied_and_deleted /dev/mapper/vol
}

@test "links to a logical volume stay" {
	vgcreate -qq lab /dev/ubdb
	lvcreate -qq -L 200M -n vol lab
	mkfs.ext4 -q /dev/lab/vol
	mkdir "$T/vol"
	mount /dev/lab/vol "$T/vol"
	[[ $(links /dev/lab/vol) == */dev/lab/vol* ]]
	copied_and_deleted /dev/lab/vol
	umount "$T/vol"
	vgremove -qq -ff -y lab
}

@test "a udev that has stopped keeps nobody waiting" {
	local begun
	volume vol /dev/ubdb ext4
	pkill -STOP -x systemd-udevd
	begun=$SECONDS
	umbra create "$T/vol"
	[ $((SECONDS - begun)) -lt 10 ]
}

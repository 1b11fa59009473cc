# SPDX-License-Identifier: LGPL-2.1-or-later
# Shadow copies of the root volume, and of another one, through starts and stops of a machine: the
# scripts of the initramfs, the units, systemd itself.
# vm: --time 850 --mem 768M --disk 500M --disk 300M
load ../system/helper
load volume
load boot

TEST_LIMIT=300

setup() {
	umbra_setup
	[ -x /lib/systemd/systemd-udevd ] || skip "no systemd on this machine"
	[ -e /usr/share/initramfs-tools/hook-functions ] || skip "no initramfs-tools-core here"
	command -v busybox >/dev/null || skip "no busybox here"
	modprobe -a dm-snapshot
}

# In a started machine: functions for its jobs.
common() {
	declare -f sums scribble
	cat <<-'END'
		layer() { if dmsetup table "$1" | grep -q snapshot-origin; then echo in; else echo out; fi; }
		# Copies are numbered; their tokens are in /srv/tokens.
		copy() {
			local n dir
			for dir in /srv /data; do scribble "$dir" $RANDOM; done
			n=$(($(cat /var/tokens 2>/dev/null | wc -l) + 1))
			sums /srv >/var/sums.srv.$n
			sums /data >/var/sums.data.$n
			umbra create / /data | head -1 | cut -d ' ' -f 1 >/run/token
			cat /run/token >>/var/tokens
		}
		compare() {
			local n=0 token
			mkdir -p /tree
			umbra mount /tree
			while read -r token; do
				n=$((n + 1))
				sums /tree/$token/srv | diff - /var/sums.srv.$n
				sums /tree/$token/data | diff - /var/sums.data.$n
			done </var/tokens
			umbra umount /tree
			echo "compared $n"
		}
	END
}

job() {
	{ common; cat; } | boot
	dmesg --read-clear
	cat "$T/said"
}

through_restarts() {
	make_machine "$1"
	make_initramfs
	job <<-'END'
		systemd-detect-virt -c || true
		umbra storage add --size 60M /
		umbra storage add --size 60M /data
		copy
		copy
		compare
		echo first
	END
	grep -q first "$T/said"
	job <<-'END'
		echo root $(layer root) data $(layer data)
		systemctl is-active umbra-activate.service umbrad.service
		compare
		copy
		compare
		echo second
	END
	grep -qx 'root in data in' "$T/said"
	grep -q second "$T/said"
	job <<-'END'
		echo root $(layer root) data $(layer data)
		compare
		echo third
	END
	grep -qx 'root in data in' "$T/said"
	grep -qx 'compared 3' "$T/said"
}

@test "clean restarts, ext4: copies of the root volume and of another are as they were" {
	through_restarts ext4
}

@test "clean restarts, XFS" {
	[ -n "${UMBRA_SOAK:-}" ] || skip "takes half a minute more: UMBRA_SOAK=1 has it"
	through_restarts xfs
}

# The root volume in a guest that does not start: $T/root with its state, one copy, and an
# initramfs with its record.
root_with_a_copy() {
	UMBRA_STATE=$T/root/var/lib/umbra
	volume root /dev/ubdb ext4
	mkdir -p "$T/root/var/lib" "$T/run"
	make_initramfs
	umbra storage add --size 60M "$T/root"
	create_token "$T/root"
	cp "$UMBRA_STATE"/dm/*.json "$T/initramfs/var/lib/umbra/dm"
	next_start
}

# Volumes are as after a clean shutdown.
next_start() {
	end_umbrad
	! mountpoint -q "$T/root" || umount "$T/root"
	umbra --state "$T/initramfs/var/lib/umbra" activate
	forget_devices
	volume_again root /dev/ubdb
}

# The script's own idea of a start: status 0, and the root volume can be mounted.
starts() {
	premount
	mount /dev/mapper/root "$T/root"
}

@test "the script of the initramfs: the record on root counts, else that of the initramfs" {
	root_with_a_copy
	rm "$T"/initramfs/var/lib/umbra/dm/*
	premount
	[ "$(layer root)" = in ]
	[ ! -s "$T/premount" ]
	mount /dev/mapper/root "$T/root"
	cp "$UMBRA_STATE"/dm/*.json "$T/initramfs/var/lib/umbra/dm"
	mv "$UMBRA_STATE/dm" "$UMBRA_STATE/dm.away"
	next_start
	starts
	[ "$(layer root)" = in ]
	mv "$UMBRA_STATE/dm.away" "$UMBRA_STATE/dm"
	umbra storage --json | grep -q '"copies": *1'
}

@test "the script of the initramfs never keeps a machine from starting" {
	local record
	root_with_a_copy
	record=$(basename "$T"/initramfs/var/lib/umbra/dm/*.json)

	# A volume that is gone, and a damaged record: the others get their layer.
	mount /dev/mapper/root "$T/root" -o ro
	sed 's/"name": *"root"/"name": "gone"/' "$UMBRA_STATE/dm/$record" >"$T/other"
	umount "$T/root"
	rm -r "$T/initramfs/var/lib/umbra/dm"
	starts
	[ "$(layer root)" = in ]
	mkdir "$T/initramfs/var/lib/umbra/dm"
	cp "$UMBRA_STATE/dm/$record" "$T/initramfs/var/lib/umbra/dm"
	cp "$T/other" "$UMBRA_STATE/dm/00000000-0000-4000-8000-000000000000.json"
	echo '{' >"$UMBRA_STATE/dm/00000000-0000-4000-8000-000000000001.json"
	next_start
	starts
	[ "$(layer root)" = in ]
	grep -q "is not JSON" "$T/premount"
	rm "$UMBRA_STATE"/dm/00000000-*

	# An area that is not there any more, with its record in the initramfs: first its blocks are free,
	# then another file's.
	umbra delete --yes --all "$T/root"
	umbra storage remove "$T/root"
	mv "$UMBRA_STATE/dm" "$UMBRA_STATE/dm.away"
	next_start
	starts
	[ "$(layer root)" = out ]
	yes | dd of="$T/root/full" bs=1M iflag=fullblock status=none || true
	next_start || true
	starts
	[ "$(layer root)" = out ]
	grep -q "may be lost" "$T/premount"
	[ "$(tr -d 'y\n' <"$T/root/full" | wc -c)" = 0 ]

	# A umbra that does not end.
	umount "$T/root"
	printf '#!/bin/sh\nexec sleep 1000\n' >"$T/initramfs/usr/bin/umbra"
	sed -i 's/^limit=.*/limit=10/' "$T/initramfs/scripts/local-premount/umbra"
	starts
	grep -q "too late" "$T/premount"
}

@test "the script of the initramfs leaves no process that keeps the root volume from being mounted" {
	root_with_a_copy
	mkdir "$T/initramfs/usr/lib/real"
	mv "$T/initramfs/usr/bin/umbra" "$T/initramfs/usr/lib/real"
	printf '#!/bin/sh\nUMBRA_TEST_FAULT=dm.activate-loaded:stop exec /usr/lib/real/umbra "$@"\n' \
		>"$T/initramfs/usr/bin/umbra"
	chmod +x "$T/initramfs/usr/bin/umbra"
	sed -i 's/^limit=.*/limit=50/' "$T/initramfs/scripts/local-premount/umbra"
	starts
	grep -q "too late" "$T/premount"
	mount -o remount,rw "$T/root"
	echo written >"$T/root/after"
}

@test "at the end of a machine without diff areas nothing is made, and nothing said" {
	mkdir -p "$(prefix)/bin"
	cp "$UMBRA_BUILD/src/cli/umbra" "$(prefix)/bin"
	mount -t tmpfs -o ro none /var/lib
	run -0 env -u UMBRA_STATE sh "$UMBRA_BUILD/src/boot/system-shutdown"
	umount /var/lib
	[ -z "$output" ] || { echo "$output"; return 1; }
}

@test "what could not be activated at a start is refused, but for --force" {
	volume data /dev/ubdc ext4
	export UMBRA_STATE=/var/lib/umbra
	mkdir -p "$UMBRA_STATE" "$T/elsewhere"
	run -1 umbra storage add --size 60M --at "$T/elsewhere/area" "$T/data"
	[[ $output == *"not on the root filesystem"* ]]
	mount --bind "$T/elsewhere" "$UMBRA_STATE"
	run -1 umbra create "$T/data"
	[[ $output == *"the state directory '/var/lib/umbra' is not on the root filesystem"* ]]
	umbra storage add --force --size 60M "$T/data"
	umbra create "$T/data"
	umbra delete --yes --all "$T/data"
	umbra storage remove "$T/data"
	end_umbrad
	umount "$UMBRA_STATE"
}

# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# A machine that starts and stops within the guest: the initramfs's script in a root of its own, then
# systemd as process 1 of a namespace, on a root filesystem that is a volume; at the end
# systemd-shutdown. Volumes `root` and `data`, on the disks that are named, are as a machine that is
# switched off leaves them.

# What meson installs, below the prefix that the units name.
prefix() { sed -n 's|^ExecStart=-\(.*\)/bin/umbra .*|\1|p' "$UMBRA_BUILD/src/boot/umbra-activate.service"; }

# make_machine FSTYPE: both volumes, with a system on the one. Its /usr is this machine's, and over
# it what is installed, in /local.
make_machine() {
	local root=$T/root system prefix
	prefix=$(prefix)
	[ "$prefix" = /usr/local ] || skip "built for another prefix than /usr/local: $prefix"
	volume root /dev/ubdb "$1"
	volume data /dev/ubdc "$1"
	mkdir -p "$root"/{dev,proc,sys,run,tmp,usr,data,srv,var/lib} \
		"$root"/local/{local/{bin,sbin},lib/systemd/system-shutdown} \
		"$root"/etc/systemd/system/local-fs.target.wants
	ln -s usr/bin usr/sbin usr/lib usr/lib64 "$root"
	cp "$UMBRA_BUILD"/src/cli/umbra "$UMBRA_BUILD"/tests/vm/umbra-vm-files "$root/local/local/bin"
	cp "$UMBRA_BUILD"/fuse/mount.umbra "$UMBRA_BUILD"/src/guard/umbra-guard \
		"$UMBRA_BUILD"/src/daemon/umbrad "$root/local/local/sbin"
	install "$UMBRA_BUILD/src/boot/system-shutdown" \
		"$root/local/lib/systemd/system-shutdown/umbra"
	cp /etc/{passwd,group,nsswitch.conf,ld.so.cache,mke2fs.conf} "$root/etc"
	echo guest >"$root/etc/hostname"
	echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
	printf '/dev/mapper/%s auto defaults 0 %s\n' 'root /' 1 'data /data' 2 >"$root/etc/fstab"
	system=$root/etc/systemd/system
	cp "$UMBRA_BUILD"/src/boot/umbra-activate.service "$UMBRA_BUILD"/src/daemon/umbrad.service "$system"
	ln -s ../umbra-activate.service "$system/local-fs.target.wants"
	cat >"$system/job.target" <<-END
		[Unit]
		Wants=local-fs.target systemd-udevd.service systemd-udev-trigger.service
		Wants=late.service job.service
	END
	cat >"$system/late.service" <<-END
		[Unit]
		DefaultDependencies=no
		After=systemd-udevd.service
		[Service]
		Type=oneshot
		ExecStart=/bin/bash -c "sleep 1; dmsetup create data </run/table"
		StandardError=append:/run/said
	END
	cat >"$system/job.service" <<-END
		[Unit]
		DefaultDependencies=no
		After=local-fs.target
		[Service]
		Type=oneshot
		Environment=HOME=/ PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin LC_ALL=C.UTF-8 TZ=UTC
		ExecStart=/bin/bash -e /run/job
		StandardOutput=append:/run/said
		StandardError=append:/run/said
		ExecStopPost=-systemctl start --no-block --job-mode=replace-irreversibly poweroff.target
	END
	dmsetup table data >"$T/table"
	umount "$root" "$T/data"
	forget_devices
}

# What the hook puts in, and what initramfs-tools and busybox always do.
# shellcheck disable=SC2031 # hook-functions has a `dir` of its own
make_initramfs() {
	local scripts=/usr/share/initramfs-tools/scripts dir=$T/initramfs program
	mkdir -p "$dir"/{dev,proc,sys,run,scripts/local-premount,root} "$dir"/usr/{bin,sbin,lib,lib64}
	ln -s usr/bin usr/sbin usr/lib usr/lib64 "$dir"
	mkdir -p "$(prefix)/bin"
	cp "$UMBRA_BUILD/src/cli/umbra" "$(prefix)/bin"
	(
		version=$(uname -r)
		export DESTDIR=$dir MODULESDIR=/lib/modules/$version version verbose=n
		sh "$UMBRA_BUILD/src/boot/initramfs-hook"
		# shellcheck disable=SC1091
		. /usr/share/initramfs-tools/hook-functions
		copy_exec /bin/busybox
		copy_exec /sbin/blkid
		copy_exec /sbin/modprobe
	)
	for program in sh mount umount cat mkdir readlink sleep kill; do
		ln -s busybox "$dir/bin/$program"
	done
	cp "$scripts/functions" "$dir/scripts"
	install "$UMBRA_SOURCE/src/boot/initramfs-tools/local-premount" \
		"$dir/scripts/local-premount/umbra"
}

# premount: what the initramfs does to the root volume; its output is in $T/premount.
premount() {
	local place dir=$T/initramfs status=0
	for place in dev proc sys; do
		mount --bind "/$place" "$dir/$place"
	done
	mount --bind "$T/run" "$dir/run"
	timeout 60 env -i PATH=/sbin:/usr/sbin:/bin:/usr/bin ROOT=/dev/mapper/root quiet=y \
		DM_DISABLE_UDEV=1 chroot "$dir" /scripts/local-premount/umbra >"$T/premount" 2>&1 ||
		status=$?
	umount "$dir"/{dev,proc,sys,run}
	cat "$T/premount"
	return $status
}

# init COMMAND…: as process 1, on the root volume. Its end is that of a machine: nothing is unmounted, as
# XFS would write once more; nothing reaches the disk any more.
init() {
	mount -o ro /dev/mapper/root "$T/root"
	# shellcheck disable=SC2016 # another shell expands it
	timeout -k 5 "${BOOT_LIMIT:-100}" unshare --pid --fork --mount --cgroup bash -c '
		set -e
		root=$1
		shift
		mount -t hostfs -o ro,/usr none "$root/usr"
		mount -t overlay -o "ro,lowerdir=$root/local:$root/usr" usr "$root/usr"
		mount --rbind /dev "$root/dev"
		mount --rbind /sys "$root/sys"
		mount --bind "$root/../run" "$root/run"
		mount -t proc proc "$root/proc"
		mount -t tmpfs tmpfs "$root/tmp"
		cd "$root"
		pivot_root . tmp
		umount -l tmp
		exec "$@" </dev/null
	' bash "$T/root" "$@" || true
	dmsetup wipe_table --noflush root
	umount "$T/root"
}

# boot: starts the machine, runs the script on standard input in it, and stops it. What that says is
# in $T/said, what systemd says in the kernel's log.
boot() {
	mkdir -p "$T/run"
	mount -t tmpfs -o mode=755 tmpfs "$T/run"
	cat >"$T/run/job"
	cp "$T/table" "$T/run"
	volume_again root /dev/ubdb
	premount
	init env -i TERM=linux /lib/systemd/systemd --system --unit=job.target \
		--log-target=kmsg --show-status=no
	cp "$T/run/said" "$T"
	umount "$T/run"
	forget_devices
}

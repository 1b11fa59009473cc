# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# shellcheck disable=SC2034 # the lists are used by name
#
# What umbra needs of a system: the one list that try, check and the bench use.

apt_build=(gcc libc6-dev meson ninja-build pkg-config python3 scdoc
	libblkid-dev libbtrfsutil-dev libdevmapper-dev libfuse3-dev libjansson-dev libmount-dev
	libsqlite3-dev uuid-dev zlib1g-dev)
apt_run=(acl attr btrfs-progs diffutils e2fsprogs fuse3 jq mount passwd rsync util-linux)
apt_check=(bash-completion bats bindfs clang clang-format clang-tidy cppcheck fish libcap2-bin
	libclang-rt-dev libcriterion-dev patch procps shellcheck squashfs-tools valgrind xfsprogs zsh)
apt_vm=(busybox dmsetup initramfs-tools-core kmod systemd udev user-mode-linux)

dnf_build=(gcc glibc-devel meson ninja-build pkgconf-pkg-config python3 scdoc
	btrfs-progs-devel device-mapper-devel fuse3-devel jansson-devel libblkid-devel libmount-devel
	libuuid-devel sqlite-devel zlib-devel)
dnf_run=(acl attr btrfs-progs diffutils e2fsprogs fuse3 jq rsync shadow-utils util-linux)
dnf_check=(bash-completion bats bindfs clang clang-tools-extra compiler-rt cppcheck criterion-devel fish
	libasan libcap libubsan patch procps-ng ShellCheck squashfs-tools
	util-linux-script valgrind xfsprogs zsh)
dnf_vm=(device-mapper kmod systemd-udev)

apt_missing() {
	local package
	for package; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
			echo "$package"
	done
}

apt_install() {
	local missing
	mapfile -t missing < <(apt_missing "$@")
	[ "${#missing[@]}" -gt 0 ] || return 0
	if [ "$(id -u)" != 0 ]; then
		printf 'Missing: %s\nInstall them: sudo apt-get install %s\n' \
			"${missing[*]}" "${missing[*]}" >&2
		return 1
	fi
	echo "Installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq </dev/null &&
		apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}

dnf_tell() {
	local missing
	mapfile -t missing < <(rpm -q --whatprovides "$@" 2>/dev/null |
		sed -n 's/^no package provides //p')
	[ "${#missing[@]}" -gt 0 ] || return 0
	printf 'Missing: %s\nInstall them: sudo dnf install %s\n' "${missing[*]}" "${missing[*]}" >&2
	return 1
}

# need build|run|check …: installs what is missing (apt, root), or says what to install and fails.
need() {
	local list packages=() ref
	for list; do
		if command -v dpkg-query >/dev/null; then
			ref="apt_${list}[@]"
		else
			ref="dnf_${list}[@]"
		fi
		packages+=("${!ref}")
	done
	if command -v dpkg-query >/dev/null; then
		apt_install "${packages[@]}"
	elif command -v rpm >/dev/null; then
		dnf_tell "${packages[@]}"
	else
		echo "Neither apt nor dnf here; umbra needs what these packages have:" "${packages[@]}" >&2
		return 0
	fi
}

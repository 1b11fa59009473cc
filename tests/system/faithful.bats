# SPDX-License-Identifier: LGPL-2.1-or-later
# A shadow copy of the hostile tree, seen through the mounted tree, is the tree as it was: by
# rsync, by tar and by umbra-compare, after the origin has changed and another copy was taken.
#
# What it must equal is made without umbra: a copy of the filesystem's image, or a bare snapshot.
load helper

setup() {
	# Fifty thousand entries, gigabytes of holes, several times over.
	TEST_LIMIT=900
	COMMAND_LIMIT=450
	umbra_setup
	require_root
	require_fuse
}

# origin TYPE SIZE [MKFS OPTION…]: $T/origin/data is the hostile tree, $T/reference/data the same.
origin() {
	local type=$1 image
	make_filesystem "$type" "$T/origin" "${@:2}"
	umbra-hostile "$T/origin/data"
	# A test in a mount namespace of its own may keep what is unmounted here alive for a while.
	sync -f "$T/origin"
	umount "$T/origin"
	image=$(ls "$T/.image/$type".*)
	cp --sparse=always "$image" "$T/reference.image"
	mount "$(losetup -n -O NAME -j "$image")" "$T/origin"
	mkdir "$T/reference"
	# Writable first: then its journal may be replayed.
	if [ "$type" = xfs ]; then
		mount_known -o loop,nouuid "$T/reference.image" "$T/reference"
	else
		mount_known -o loop "$T/reference.image" "$T/reference"
	fi
	mount -o remount,ro "$T/reference"
}

# Everything that a writer can do to files whose copies share blocks or inodes with them.
change() {
	local d=$T/origin/data
	printf CHANGED | dd of="$d/sizes/131072" bs=1 seek=70000 conv=notrunc status=none
	echo appended >>"$d/links/one/file"
	truncate -s 5 "$d/sizes/65537"
	truncate -s 100 "$d/holes/6GiB"
	fallocate -p -o 0 -l 65536 "$d/holes/punched"
	chmod 0600 "$d"/modes/file-*
	chown 7:7 "$d/owners/mine"
	setfattr -n user.text -v other "$d/xattrs/file"
	setfacl -b "$d/acls/grant"
	touch "$d"/times/file-*
	ln -f "$d/names/plain" "$d/links/two/twin"
	rm "$d/links/one/many" "$d/types/fifo"
	rm -r "$d/depth" "$d/crowd/empty"
	find "$d/crowd/many" -name '*7' -delete
	mv "$d/names/directories" "$d/moved"
	echo new >"$d/new"
}

# tar of a tree, as a sum: names, contents, holes, modes, owners, times, links, ACLs.
tar_sum() {
	tar -C "$1" --sort=name --format=posix --sparse --sparse-version=0.0 --acls --numeric-owner --warning=no-file-ignored \
		--pax-option='exthdr.name=%d/%f,delete=atime,delete=ctime' -cf - . | sha256sum
}

# same DIR: DIR is the reference.
same() {
	run umbra-compare "$T/reference/data" "$1" --no-atime
	assert_ok
	# Paths beyond PATH_MAX are too long for rsync, and it would read all of 6 GiB, which tar does not.
	run rsync -aHAXn --checksum --delete --itemize-changes --exclude=/beyond --exclude=/holes/6GiB \
		"$T/reference/data/" "$1/"
	assert_ok
	[ -z "$output" ]
	[ "$(tar_sum "$T/reference/data")" = "$(tar_sum "$1")" ]
}

# faithful PROVIDER
faithful() {
	local first tree=$T/tree
	run umbra create --provider "$1" --json "$T/origin/data"
	assert_ok
	first=$(jq -r .timestamp <<<"$output")
	umbra show "$first" --json | jq -e '[.volumes[].notes[]?] == []'
	change
	umbra create --provider "$1" "$T/origin/data"
	mkdir "$tree"
	umbra mount "$tree"
	same "$tree/$first$T/origin/data"
	run umbra-compare "$T/origin/data" "$tree/latest$T/origin/data" --no-atime
	assert_ok
	umbra delete --yes latest
	run umbra-compare "$T/reference/data" "$tree/$first$T/origin/data" --no-atime
	assert_ok
	umbra umount "$tree"
	umbra delete --yes latest
}

@test "faithful: copy, from ext4 to ext4" {
	origin ext4 600M -N 120000
	make_ext4 "$T/store" 600M -N 200000
	UMBRA_STATE=$T/store/state
	faithful copy
}

@test "faithful: copy, from ext4 to btrfs" {
	origin ext4 600M -N 120000
	make_btrfs "$T/store" 800M
	UMBRA_STATE=$T/store/state
	faithful copy
}

@test "faithful: copy, within one XFS" {
	origin xfs 1G
	UMBRA_STATE=$T/origin/state
	faithful copy
}

@test "faithful: copy, within one btrfs" {
	make_btrfs "$T/origin" 1G
	btrfs -q subvolume create "$T/origin/data"
	umbra-hostile "$T/origin/data"
	btrfs -q subvolume snapshot -r "$T/origin/data" "$T/origin/reference"
	mkdir "$T/reference"
	ln -s "$T/origin/reference" "$T/reference/data"
	UMBRA_STATE=$T/origin/state
	faithful copy
}

@test "faithful: btrfs" {
	make_btrfs "$T/origin" 1G
	btrfs -q subvolume create "$T/origin/data"
	umbra-hostile "$T/origin/data"
	btrfs -q subvolume snapshot -r "$T/origin/data" "$T/origin/reference"
	mkdir "$T/reference"
	ln -s "$T/origin/reference" "$T/reference/data"
	faithful btrfs
}

@test "faithful: copy, by an ordinary user" {
	local first user=$T/user data=$T/user/data
	as_user umbra-hostile "$data" --user
	cp -a "$data/." "$T/reference" 2>/dev/null || true
	# What cp cannot carry is left out of the comparison, on both sides.
	rm -rf "$T/reference/beyond" "$data/beyond" "$T/reference/holes" "$data/holes"
	touch -r "$data" "$T/reference"
	as_user umbra create "$data"
	as_user sh -c "echo changed >>'$data/sizes/4096' && rm -r '$data/names' && chmod 0 '$data/sizes/1'"
	as_user mkdir "$user/tree"
	as_user umbra mount "$user/tree"
	run as_user umbra-compare "$T/reference" "$user/tree/latest$data" --no-atime
	assert_ok
	as_user umbra umount "$user/tree"
}

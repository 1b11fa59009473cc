# SPDX-License-Identifier: LGPL-2.1-or-later
# Reading a copy changes nothing of it: the access times of its files are those that were copied.
load helper

# A tree with files of every type that is read, in DIR.
fill() {
	mkdir -p "$1/sub/deep"
	echo one >"$1/file"
	seq 100000 >"$1/sub/big"
	ln -s file "$1/link"
	ln -s ../file "$1/sub/deep/link"
	setfattr -n user.x -v y "$1/file" "$1/sub"
	find "$1" -exec touch -h -d '2001-02-03 04:05:06.789' {} +
}

# The access times of everything below DIR, on a filesystem of its own mounted on MOUNT.
times_in() {
	mount -o remount,noatime "$1"
	find "$2" -printf '%A+ %y %P\n' | LC_ALL=C sort
	mount -o remount,strictatime "$1"
}

# Everything that reads, twice: from the store, and from what the kernel has kept.
read_all() {
	find "$1" -type f -exec cat {} + >/dev/null
	ls -lR "$1" >/dev/null
	find "$1" -type l -exec readlink {} +
	getfattr -hRd -m - "$1" >/dev/null
	getfacl -RP "$1" >/dev/null
	echo 3 >/proc/sys/vm/drop_caches || true
	find "$1" -type l -exec readlink {} +
	tar -C "$1" -cf - . | wc -c
}

# An ext4 that notes every access, for the state directory.
strict_state() {
	require_root
	require_fuse
	MOUNT_OPTIONS=strictatime make_ext4 "$T/store"
	UMBRA_STATE=$T/store/state
	mkdir "$T/mnt"
}

# Where the newest copy is kept.
tree_of_latest() {
	echo "$UMBRA_STATE/copies/$(umbra show latest --json | jq -r '.volumes[0].shadow')/tree"
}

@test "reading through the tree changes no access time, by handle and by path" {
	strict_state
	fill "$T/data"
	umbra create --provider copy "$T/data" >/dev/null
	local mode store
	store=$(tree_of_latest)
	times_in "$T/store" "$store" >"$T/before"
	grep -q '^2001-02-03+04:05:06.789.* l link$' "$T/before"
	for mode in UMBRA_TEST_HANDLES UMBRA_TEST_PATHS; do
		env "$mode=1" "$UMBRA_RUN/bin/mount.umbra" "$UMBRA_STATE" "$T/mnt" 3>&- 4>&-
		read_all "$T/mnt/latest$T/data"
		read_all "$T/mnt/by-volume"
		[ "$(stat -c %X "$T/mnt/latest$T/data/link")" = "$(date -d "2001-02-03 04:05:06" +%s)" ]
		umbra umount "$T/mnt"
		times_in "$T/store" "$store" >"$T/after"
		diff "$T/before" "$T/after"
	done
}

@test "versions, diff and restore change no access time of a copy" {
	strict_state
	fill "$T/data"
	umbra create --provider copy "$T/data" >/dev/null
	local store
	store=$(tree_of_latest)
	times_in "$T/store" "$store" >"$T/before"
	echo two >>"$T/data/sub/big"
	ln -sf elsewhere "$T/data/link"
	umbra versions "$T/data/link" >/dev/null
	umbra diff "$T/data" >/dev/null
	umbra restore --to "$T/restored" "$T/data"
	[ "$(readlink "$T/restored/link")" = file ]
	times_in "$T/store" "$store" >"$T/after"
	diff "$T/before" "$T/after"
}

@test "reading a btrfs copy through the tree changes no access time" {
	require_loop_btrfs
	require_fuse
	MOUNT_OPTIONS=strictatime make_btrfs "$T/vol"
	mkdir "$T/mnt" "$T/top"
	mount_known -o subvolid=5,strictatime "$(findmnt -no SOURCE "$T/vol" | sed 's/\[.*//')" "$T/top"
	fill "$T/vol/data"
	umbra create "$T/vol" >/dev/null
	local store
	store=$(echo "$T/top/.umbra"/*/root)
	times_in "$T/top" "$store" >"$T/before"
	umbra mount "$T/mnt" >/dev/null
	read_all "$T/mnt/latest$T/vol"
	umbra umount "$T/mnt"
	times_in "$T/top" "$store" >"$T/after"
	diff "$T/before" "$T/after"
	umount "$T/top" "$T/vol"
}

# The one thing that has no O_NOATIME is a symbolic link: mount.umbra(8) says so.
@test "an ordinary user's tree changes no access time but those of symbolic links" {
	strict_state
	local name
	name=$(test_user)
	install -d -o "$name" -g "$name" "$T/store/user"
	export USER_STATE=$T/store/user/state
	as_user mkdir -p "$T/user/mnt" "$T/user/data"
	fill "$T/user/data"
	chown -R "$name" "$T/user/data"
	as_user "$UMBRA" create --provider copy "$T/user/data"
	times_in "$T/store" "$USER_STATE/copies" | grep -v ' l ' >"$T/before"
	as_user "$UMBRA" mount "$T/user/mnt"
	as_user bash -c "$(declare -f read_all); read_all '$T/user/mnt/latest$T/user/data'" 2>&1
	as_user "$UMBRA" umount "$T/user/mnt"
	times_in "$T/store" "$USER_STATE/copies" | grep -v ' l ' >"$T/after"
	diff <(grep tree "$T/before") <(grep tree "$T/after")
}

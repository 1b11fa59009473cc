# SPDX-License-Identifier: LGPL-2.1-or-later
# umbra-compare and umbra-hostile themselves: whatever is changed is seen.
load helper

# A tree and its true copy, small enough to copy for every test.
setup() {
	umbra_setup
	mkdir -p "$T/a/one" "$T/a/two"
	echo content >"$T/a/one/file"
	ln "$T/a/one/file" "$T/a/two/link"
	echo content >"$T/a/one/twin"
	ln -s target "$T/a/one/symlink"
	mkfifo "$T/a/one/fifo"
	setfattr -n user.key -v value "$T/a/one/twin"
	setfacl -m u:65534:r "$T/a/one/twin"
	truncate -s 1M "$T/a/sparse"
	printf data | dd of="$T/a/sparse" bs=1 seek=500000 conv=notrunc status=none
	touch -d '1969-07-20 20:17:40.123456789Z' "$T/a/two"
	cp -a --sparse=always "$T/a" "$T/b"
}

# changed PATTERN: one difference at least, and one that says this.
changed() {
	run umbra-compare "$T/a" "$T/b" --no-atime
	assert_error 1 "$1"
}

@test "compare: equal trees are equal" {
	run umbra-compare "$T/a" "$T/b" --no-atime
	assert_ok
	[ -z "$output" ]
}

@test "compare: wrong use and a missing tree are not 'equal'" {
	run umbra-compare "$T/a"
	assert_error 2 usage
	run umbra-compare "$T/a" "$T/nowhere"
	assert_error 2 'No such file'
}

@test "compare: a mode" {
	chmod 4644 "$T/b/one/file"
	changed 'one/file: mode 4644, not 0644'
}

@test "compare: a nanosecond" {
	touch -d '1969-07-20 20:17:40.123456788Z' "$T/b/two"
	changed 'two: mtime -14182940.123456788|two: mtime -14182941'
	[ "$(wc -l <<<"$output")" = 1 ]
}

@test "compare: an access time, when asked" {
	touch -a -d 2001-01-01Z "$T/b/one/symlink" -h
	run umbra-compare "$T/a" "$T/b"
	assert_error 1 'one/symlink: atime 978307200'
}

@test "compare: an owner" {
	require_root
	chown -h 1:2 "$T/b/one/symlink"
	changed 'one/symlink: uid 1, not 0'
	[[ $output == *'one/symlink: gid 2, not 0'* ]]
}

@test "compare: attributes" {
	setfattr -n user.key -v other "$T/b/one/twin"
	changed 'one/twin: attribute user.key differs'
	setfattr -x user.key "$T/b/one/twin"
	changed 'one/twin: attribute user.key is missing'
	setfattr -n user.more -v x "$T/b/one"
	changed 'one: attribute user.more is new'
}

@test "compare: an ACL" {
	setfacl -m u:65534:- "$T/b/one/twin"
	changed 'one/twin: attribute system.posix_acl_access differs'
}

@test "compare: a byte" {
	local time
	time=$(stat -c %y "$T/b/sparse")
	printf D | dd of="$T/b/sparse" bs=1 seek=500000 conv=notrunc status=none
	touch -d "$time" "$T/b/sparse"
	changed 'sparse: content differs at byte 500000'
	[ "$(wc -l <<<"$output")" = 1 ]
}

@test "compare: a size" {
	echo more >>"$T/b/one/twin"
	changed 'one/twin: size 13, not 8'
}

@test "compare: a filled hole, and a new one" {
	dd if=/dev/zero of="$T/b/sparse" bs=4k seek=200 count=1 conv=notrunc status=none
	touch -r "$T/a/sparse" "$T/b/sparse"
	changed 'sparse: data at .*holes differ'
	fallocate -p -o 496k -l 4k "$T/b/sparse" && fallocate -p -o 484k -l 16k "$T/b/sparse"
	changed 'sparse: data at .*holes differ'
}

@test "compare: a broken link" {
	cp -p "$T/b/two/link" "$T/b/two/new"
	mv "$T/b/two/new" "$T/b/two/link"
	touch -r "$T/a/two" "$T/b/two"
	changed "two/link: is one file with 'one/file' and should still be"
	[[ $output == *'two/link: link count 1, not 2'* ]]
}

@test "compare: a link too many" {
	ln -f "$T/b/one/file" "$T/b/one/twin"
	changed "one/twin: has the inode of 'one/file', another file"
}

@test "compare: a link's target" {
	ln -sfn other "$T/b/one/symlink"
	touch -h -r "$T/a/one/symlink" "$T/b/one/symlink"
	changed 'one/symlink: link target differs'
}

@test "compare: a file more, a file less, another type" {
	touch "$T/b/one/more"
	rm "$T/b/one/twin" "$T/b/one/fifo"
	mkdir "$T/b/one/fifo"
	changed 'one/more: new'
	[[ $output == *'one/twin: missing'* ]]
	[[ $output == *'one/fifo: another type of file'* ]]
}

@test "compare: a device number" {
	require_root
	mknod "$T/a/device" c 1 3
	mknod "$T/b/device" c 1 5
	touch -r "$T/a/device" "$T/b/device"
	changed 'device: device 261, not 259'
}

@test "hostile: a copier that loses something is caught" {
	umbra-hostile "$T/hostile"
	run umbra-compare "$T/hostile" "$T/hostile"
	assert_ok
	rm -rf "$T/hostile/beyond" "$T/hostile/crowd"
	cp -r "$T/hostile" "$T/copy" 2>"$T/complaints" || true
	run umbra-compare "$T/hostile" "$T/copy" --no-atime
	[ "$status" = 1 ]
	local loss
	for loss in 'mode ' 'mtime ' 'link count ' 'attribute user' 'attribute system.posix_acl'; do
		[[ $output == *": $loss"* ]]
	done
}

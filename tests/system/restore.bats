# SPDX-License-Identifier: LGPL-2.1-or-later
# umbra restore.
load helper

setup() {
	umbra_setup
	D=$T/data
	mkdir "$D"
}

create_at() { UMBRA_TEST_NOW=$1 umbra create "$D" >/dev/null; }

leftovers() { find "$T" -path "$UMBRA_STATE" -prune -o -name '.umbra-restore-*' -print; }

@test "restore: a spoiled file, from the newest set; twice is as once" {
	echo old >"$D/f"
	create_at 1000000000
	echo good >"$D/f"
	create_at 1000000060
	echo spoiled >"$D/f"
	run umbra restore "$D/f"
	assert_ok
	[ "${lines[0]}" = "replaced   $D/f" ]
	[[ ${lines[1]} == "restored '$D/f' from @GMT-2001.09.09-01.47.40: 0 made, 1 replaced"* ]]
	run umbra restore "$D/f"
	assert_ok
	[ "$output" = "'$D/f' is already as in the newest set @GMT-2001.09.09-01.47.40; the newest other version: --from @GMT-2001.09.09-01.46.40" ]
	[ "$(cat "$D/f")" = good ]
	umbra restore "$D/f" --from @GMT-2001.09.09-01.46.40
	[ "$(cat "$D/f")" = old ]
}

@test "restore: one deleted file of many: its neighbours are not rolled back" {
	echo older >"$D/a"
	echo older >"$D/b"
	create_at 1000000000
	echo newer >"$D/a"
	create_at 1000000060
	rm "$D/b"
	create_at 1000000120
	run umbra restore "$D/a" "$D/b"
	assert_ok
	[ "$(cat "$D/a" "$D/b" | tr '\n' ' ')" = "newer older " ]
	[[ ${lines[0]} == "'$D/a' is already as in the newest set @GMT-2001.09.09-01.48.40; "*01.46.40 ]]
	[[ $output == *"restored '$D/b' from @GMT-2001.09.09-01.47.40: 1 made"* ]]
}

@test "restore: a device, a fifo or a socket is not replaced by a file" {
	echo good >"$D/f"
	mkfifo "$T/fifo"
	ln -s fifo "$T/link"
	create_at 1000000000
	run umbra restore "$D/f" --to "$T/fifo"
	assert_error 1 "is a fifo now, the copy has a file"
	[ -p "$T/fifo" ]
	run umbra restore "$D/f" --to "$T/link"
	assert_error 1 "symbolic link"
	[ -L "$T/link" ]
	[ "$(id -u)" = 0 ] || return 0
	mknod "$T/null" c 1 3
	run umbra restore "$D/f" --to "$T/null"
	assert_error 1 "is a char-device now"
	[ -c "$T/null" ]
}

@test "restore: what has its content needs nothing" {
	echo good >"$D/f"
	create_at 1000000000
	create_at 1000000060
	run umbra restore "$D/f"
	assert_ok
	[ "$output" = "'$D/f' is already as in the newest set @GMT-2001.09.09-01.47.40" ]
	run umbra restore "$D/f" --from oldest
	assert_ok
	[[ $output == *'0 made, 0 replaced, 1 there already'* ]]
}

@test "restore: a deleted tree comes back as it was" {
	umbra-hostile "$D" $([ "$(id -u)" = 0 ] || echo --user)
	create_at 1000000000
	mv "$D" "$T/truth"
	run umbra restore "$D" --json
	assert_ok
	jq -e '.restored[0].made > 1000 and .restored[0].failed == 0' <<<"${lines[-1]}"
	run umbra-compare "$T/truth" "$D" --no-atime
	assert_ok
	[ -z "$(leftovers)" ]
}

@test "restore: a subvolume comes back as a directory, which is said; an empty one is filled" {
	make_btrfs "$D"
	btrfs -q subvolume create "$D/sub"
	btrfs -q subvolume create "$D/sub/deep"
	mkdir "$D/plain"
	echo content | tee "$D/sub/f" "$D/sub/deep/g" >"$D/plain/h"
	create_at 1000000000
	rm -r "$D/plain"
	btrfs -q subvolume delete "$D/sub/deep" "$D/sub"
	run umbra restore -n "$D"
	assert_ok
	[[ $output == *"made       $D/sub/ (was a subvolume)"* ]]
	run umbra restore --json "$D"
	assert_ok
	[[ $output == *"warning: '$D/sub' and 1 more: a subvolume in the set, a plain directory now"* ]]
	jq -e '[.restored[].actions[] | select(.was == "subvolume").path] == [$a, $b]' \
		--arg a "$D/sub" --arg b "$D/sub/deep" < <(grep '^{' <<<"$output")
	[ "$(cat "$D/sub/deep/g")" = content ]
	rm -r "$D/sub"
	btrfs -q subvolume create "$D/sub"
	btrfs -q subvolume create "$D/sub/deep"
	run umbra restore "$D/sub"
	assert_ok
	[[ $output != *'was a'* && $output != *warning* ]]
	btrfs subvolume show "$D/sub/deep" >/dev/null
	[ "$(cat "$D/sub/deep/g")" = content ]
	umbra delete latest
}

@test "restore: a deleted tree from btrfs shares its blocks" {
	make_btrfs "$D"
	mkdir "$D/d"
	head -c 20M /dev/urandom >"$D/d/big"
	create_at 1000000000
	rm -r "$D/d"
	umbra restore "$D/d"
	[ -s "$D/d/big" ]
	run filefrag -v "$D/d/big"
	[[ $output == *shared* ]]
	umbra delete latest
}

@test "restore: merges, keeps what is new, and says so" {
	mkdir "$D/d"
	echo 1 >"$D/d/a"
	echo 1 >"$D/d/b"
	create_at 1000000000
	rm "$D/d/a"
	echo changed >"$D/d/b"
	echo new >"$D/d/new"
	run umbra restore "$D/d"
	assert_ok
	[[ $output == *'1 made, 1 replaced'*'1 kept that the copy does not have'* ]]
	[ "$(cat "$D/d/a" "$D/d/b" "$D/d/new" | tr '\n' ' ')" = "1 1 new " ]
}

@test "restore: --dry-run says the same and does nothing" {
	mkdir -p "$D/d/sub"
	echo 1 >"$D/d/sub/a"
	echo 1 >"$D/d/b"
	create_at 1000000000
	rm -r "$D/d/sub"
	echo 2 >"$D/d/b"
	run umbra restore -n "$D/d"
	assert_ok
	local dry=$output
	[ ! -e "$D/d/sub" ]
	[ "$(cat "$D/d/b")" = 2 ]
	run umbra restore "$D/d"
	[ "${output/restored/would restore}" = "$dry" ]
}

@test "restore: --to a directory, to a new name, several" {
	echo one >"$D/f"
	echo two >"$D/g"
	create_at 1000000000
	echo now >"$D/f"
	mkdir "$T/out"
	umbra restore "$D/f" "$D/g" --to "$T/out"
	[ "$(cat "$T/out/f" "$T/out/g" | tr '\n' ' ')" = "one two " ]
	umbra restore "$D/f" --to "$T/out/f.old"
	[ "$(cat "$T/out/f.old")" = one ]
	[ "$(cat "$D/f")" = now ]
	run umbra restore "$D/f" "$D/g" --to "$T/out/nothing"
	assert_error 2 'only be restored to a directory'
	run umbra restore "$D/f" --to "$T/no/where"
	assert_error 1 "'$T/no' does not exist"
}

@test "restore: parents that are gone are made again as they were" {
	mkdir -p "$D/a/b"
	chmod 751 "$D/a"
	chmod 1770 "$D/a/b"
	echo x >"$D/a/b/f"
	create_at 1000000000
	rm -r "$D/a"
	cd "$D"
	umbra restore a/b/f
	[ "$(stat -c %a "$D/a" "$D/a/b" | tr '\n' ' ')" = "751 1770 " ]
	rm -r "$D"
	cd /
	umbra restore "$D/a/b/f"
	[ "$(cat "$D/a/b/f")" = x ]
}

@test "restore: names of any bytes" {
	local name=$'new\nline\xff\x1b[31m -e'
	echo x >"$D/$name"
	create_at 1000000000
	rm "$D/$name"
	run umbra restore "$D/$name"
	assert_ok
	[ "$(cat "$D/$name")" = x ]
	[[ $output != *$'\x1b'* ]]
}

@test "restore: links are not followed out of the place" {
	mkdir -p "$D/d/sub" "$T/victim"
	echo from-copy >"$D/d/sub/f"
	create_at 1000000000
	rm -r "$D/d/sub"
	ln -s "$T/victim" "$D/d/sub"
	run umbra restore "$D/d"
	assert_error 1 "'$D/d/sub' is a symlink now, the copy has a directory"
	[ -z "$(ls -A "$T/victim")" ]
	[ -L "$D/d/sub" ]
}

@test "restore: --to refuses umbra's state directory" {
	echo x >"$D/f"
	create_at 1000000000
	run umbra restore "$D/f" --to "$UMBRA_STATE/f"
	assert_error 1 "into umbra's state directory"
	run umbra restore "$D/f" --to "$UMBRA_STATE"
	assert_error 1 "into umbra's state directory"
}

@test "restore: what no set has; no set; wrong set" {
	run umbra restore "$D/f"
	assert_error 1 'no shadow copy set covers'
	create_at 1000000000
	run umbra restore "$D/f"
	assert_error 1 'is not in the set that covers it'
	run umbra restore "$D/f" --from latest
	assert_error 1 "'$D/f' is not in @GMT-2001.09.09-01.46.40"
	run umbra restore
	assert_error 2 "a word is missing: 'PATH…'"
}

@test "restore: what cannot be restored does not keep the others from it" {
	echo one >"$D/a"
	echo two >"$D/b"
	create_at 1000000000
	rm "$D/a" "$D/b"
	run umbra restore "$D/a" "$D/none" "$D/b"
	assert_error 1 "'$D/none' is not in the set that covers it"
	[[ $output == *"made       $D/a"*"made       $D/b"* ]]
	[ "$(cat "$D/a" "$D/b")" = $'one\ntwo' ]
	rm "$D/a" "$D/b"
	run --separate-stderr umbra restore --json "$D/none" "$D/a"
	[ "$status" = 1 ]
	jq -e '[.restored[].path] == [$a]' --arg a "$D/a" <<<"$output"
	run --separate-stderr umbra restore --json "$D/none"
	[ "$status" = 1 ]
	[ -z "$output" ]
	# A set that there is not is said once.
	run umbra restore --from latest~7 "$D/a" "$D/b"
	assert_error 1 "no shadow copy set 'latest~7'"
	[ "${#lines[@]}" = 1 ]
}

@test "restore: a full disk leaves the old file, and says so" {
	require_filesystem ext4
	make_ext4 "$T/small" 8M
	head -c 3M /dev/urandom >"$T/small/f"
	umbra create "$T/small"
	local sum
	echo other >"$T/small/f"
	head -c 20M /dev/zero >"$T/small/fill" || true
	run umbra restore "$T/small/f"
	assert_error 1 'No space left'
	[ "$(cat "$T/small/f")" = other ]
	[ -z "$(leftovers)" ]
}

@test "restore: a read-only filesystem" {
	require_root
	make_ext4 "$T/ro"
	echo x >"$T/ro/f"
	umbra create "$T/ro"
	rm "$T/ro/f"
	mount -o remount,ro "$T/ro"
	run umbra restore "$T/ro/f"
	assert_error 1 "[Rr]ead-only"
}

@test "restore: killed at any time leaves the old or the new file, and the next one tidies up" {
	head -c 30M /dev/urandom >"$D/f"
	create_at 1000000000
	local new old delay sum
	new=$(md5sum <"$D/f")
	echo old >"$D/f"
	old=$(md5sum <"$D/f")
	for delay in 0.005 0.01 0.015 0.02 0.03 0.04; do
		"$UMBRA_RUN/bin/umbra" restore "$D/f" >/dev/null 2>&1 3>&- 4>&- &
		sleep "$delay"
		kill -9 $! 2>/dev/null || true
		wait $! 2>/dev/null || true
		sum=$(md5sum <"$D/f")
		[ "$sum" = "$new" ] || [ "$sum" = "$old" ]
		[ "$sum" = "$old" ] || break
	done
	umbra restore "$D/f" --from latest
	[ "$(md5sum <"$D/f")" = "$new" ]
	[ -z "$(leftovers)" ]
}

@test "restore: interrupted, nothing half-made is left" {
	local i
	mkdir "$D/d"
	for i in 1 2 3 4 5 6; do head -c 20M /dev/urandom >"$D/d/$i"; done
	create_at 1000000000
	mv "$D/d" "$T/truth"
	"$UMBRA_RUN/bin/umbra" restore "$D/d" >"$T/out" 2>&1 3>&- 4>&- &
	sleep 0.05
	kill -INT $! 2>/dev/null || true
	wait $! || true
	[ -z "$(leftovers)" ]
	for i in "$D"/d/*; do
		[ ! -e "$i" ] || cmp "$i" "$T/truth/${i##*/}"
	done
	umbra restore "$D/d"
	diff -r "$D/d" "$T/truth"
}

# Its output fills a pipe that nobody reads: there the signal meets it.
@test "restore: interrupted, it says what it had restored" {
	local name i pid
	name=$(printf '%0200d' 0)
	mkdir "$D/d"
	for i in {1..1500}; do : >"$D/d/$name$i"; done
	create_at 1000000000
	rm -r "$D/d"
	mkfifo "$T/pipe"
	env --default-signal=INT "$UMBRA_RUN/bin/umbra" restore "$D/d" >"$T/pipe" 2>"$T/err" 3>&- 4>&- &
	pid=$!
	exec 7<"$T/pipe"
	for i in {1..100}; do
		[[ $(cat "/proc/$pid/wchan" 2>/dev/null) != *pipe_write ]] || break
		sleep 0.1
	done
	kill -INT "$pid"
	cat <&7 >/dev/null
	exec 7<&-
	local status=0
	wait "$pid" || status=$?
	[ "$status" = 1 ]
	i=$(find "$D/d" -type f | wc -l)
	[ "$i" -gt 0 ] && [ "$i" -lt 1500 ]
	grep -q "interrupted: of '$D/d' $((i + 1)) were made and 0 replaced" "$T/err"
}

@test "restore: an ordinary user, own files, own rights" {
	as_user mkdir "$T/user/d"
	as_user sh -c 'cd "$HOME/d"; echo x >f; chmod 600 f; ln f g; ln -s f l; mkdir s; chmod 500 s'
	as_user umbra create "$T/user/d"
	as_user mv "$T/user/d" "$T/user/truth"
	run as_user umbra restore "$T/user/d"
	assert_ok
	[[ $output != *warning* ]]
	run umbra-compare "$T/user/truth" "$T/user/d" --no-atime
	assert_ok
	as_user chmod 700 "$T/user/d/s" "$T/user/truth/s"
	require_root
	mkdir -m 755 "$T/roots"
	run as_user umbra restore "$T/user/d/f" --to "$T/roots/f"
	assert_error 1 'Permission denied'
}

@test "restore: a live file that cannot be read" {
	as_user mkdir "$T/user/d"
	as_user sh -c 'cd "$HOME/d"; echo x >f; touch -d @1000 f'
	as_user umbra create "$T/user/d"
	as_user chmod 0 "$T/user/d/f"
	as_user umbra versions "$T/user/d/f" --json | jq -e '.versions | length == 1'
	run as_user umbra restore "$T/user/d/f"
	assert_ok
	[[ $output != *warning* && $output == *'1 replaced'* ]]
	[ "$(as_user cat "$T/user/d/f")" = x ]
	# What differs cannot be said.
	as_user chmod 0 "$T/user/d/f"
	run as_user umbra diff "$T/user/d/f"
	assert_error 1 'cannot read the live file'
}

@test "restore: a file in a mounted tree names its set" {
	require_fuse
	echo one >"$D/f"
	create_at 1000000000
	echo two >"$D/f"
	create_at 1000000060
	echo three >"$D/f"
	mkdir "$T/mnt"
	umbra mount "$T/mnt"
	run umbra restore "$T/mnt/@GMT-2001.09.09-01.46.40$D/f"
	local first=$status
	run umbra restore "$D/f" --to "$T/mnt/@GMT-2001.09.09-01.46.40$D"
	umbra umount "$T/mnt"
	[ "$first" = 0 ]
	[ "$(cat "$D/f")" = one ]
	assert_error 1 'read-only, as mounted trees of umbra always are'
}

@test "restore, diff: a set of several volumes is one tree; what it does not cover is left alone" {
	require_root
	mkdir "$D/uncovered" "$D/disk"
	make_ext4 "$D/disk"
	mkdir "$D/disk/d"
	echo one >"$D/disk/d/f"
	umbra create --recursive "$D" >/dev/null
	mount_known -t tmpfs tmpfs "$D/uncovered"
	chmod 700 "$D/uncovered"
	echo two >"$D/disk/d/f"
	rmdir "$D/disk/lost+found"
	run umbra diff "$D"
	assert_ok
	[[ $output == *$'changed  disk/d/f (content, time)\nremoved  disk/lost+found/'* ]]
	[[ $output != *uncovered* ]]
	run umbra restore "$D"
	assert_ok
	[ "$(cat "$D/disk/d/f")" = one ]
	[ -d "$D/disk/lost+found" ]
	[ "$(stat -c %a "$D/uncovered")" = 700 ]
	[[ $output == *"left alone $D/uncovered/"* ]]
	umount "$D/uncovered"
}

@test "restore: not into the directory underneath a volume that is not mounted" {
	make_btrfs "$T/vol"
	mkdir "$T/vol/sub"
	echo old >"$T/vol/sub/f"
	umbra create "$T/vol" >/dev/null
	mkdir "$T/else"
	umount "$T/vol"
	mount_known "$(tail -1 "$T/.image/loops")" "$T/else" # else the copies cannot be read either
	run umbra restore "$T/vol/sub/f"
	assert_error 1 "was a volume .'btrfs'.*nothing is mounted there.*--to '$T/vol/sub/f'"
	run umbra restore "$T/vol"
	assert_error 1 "nothing is mounted there"
	[ -z "$(ls -A "$T/vol")" ]
	# A subvolume that is gone from a volume that is there is another thing.
	mount "$(tail -1 "$T/.image/loops")" "$T/vol"
	rm -r "$T/vol/sub"
	umbra restore "$T/vol/sub/f"
	[ "$(cat "$T/vol/sub/f")" = old ]
}

@test "restore, diff: latest, oldest and latest~N count the sets that cover PATH" {
	local n=1000000000 i
	mkdir "$T/other"
	for i in 1 2 3; do
		echo "$i" >"$D/f"
		UMBRA_TEST_NOW=$((n += 60)) umbra create "$D" >/dev/null
		echo "other $i" >"$T/other/f"
		UMBRA_TEST_NOW=$((n += 60)) umbra create "$T/other" >/dev/null
	done
	for i in latest:3 latest~1:2 latest~2:1 oldest:1; do
		umbra restore --from "${i%:*}" --to "$T/got" "$D/f" >/dev/null
		[ "$(cat "$T/got")" = "${i#*:}" ]
		rm "$T/got"
	done
	run -1 umbra restore --from latest~3 "$D/f"
	[[ $output == *"no shadow copy set 'latest~3'"* ]]
	umbra diff --json --from oldest --to latest "$T/other" |
		jq -e '.from == "@GMT-2001.09.09-01.48.40" and .to == "@GMT-2001.09.09-01.52.40"'
	# Both at once, each as it was.
	rm "$D/f" "$T/other/f"
	umbra restore --from latest~1 "$D/f" "$T/other/f" >/dev/null
	[ "$(cat "$D/f" "$T/other/f")" = $'2\nother 2' ]
}

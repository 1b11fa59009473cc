# SPDX-License-Identifier: LGPL-2.1-or-later
# umbra versions.
load helper

setup() {
	umbra_setup
	D=$T/data
	mkdir "$D"
}

# A set at second $1 of a test's own time.
create_at() { UMBRA_TEST_NOW=$1 umbra create "$D" >/dev/null; }

two_versions() {
	echo one >"$D/f"
	create_at 1000000000
	create_at 1000000060
	echo longer >"$D/f"
	create_at 1000000120
}

@test "versions: different ones, newest first, with the sets that have them" {
	two_versions
	run umbra versions "$D/f"
	assert_ok
	[ "${#lines[@]}" = 3 ]
	[[ ${lines[1]} == '@GMT-2001.09.09-01.48.40 '*' 1 '*' 7B file as now'* ]]
	[[ ${lines[2]} == '@GMT-2001.09.09-01.47.40 @GMT-2001.09.09-01.46.40 '*' 2 '*' 4B file'* ]]
}

@test "versions: --json" {
	two_versions
	umbra versions "$D/f" --json >"$T/out"
	jq -e --arg p "$D/f" '.path == $p and .exists and (.versions | length) == 2 and
		.versions[0].timestamp == "@GMT-2001.09.09-01.48.40" and .versions[0].live and
		.versions[1].sets == ["@GMT-2001.09.09-01.47.40", "@GMT-2001.09.09-01.46.40"] and
		.versions[1].size == 4 and .versions[1].type == "file"' "$T/out"
	[ "$(jq '.versions[0].mtime' "$T/out")" = "$(stat -c %Y "$D/f")" ]
}

@test "versions: --all has a line for every set" {
	two_versions
	[ "$(umbra versions --all --json "$D/f" | jq '.versions | length')" = 3 ]
}

@test "versions: a deleted file, deleted parents, a relative path, a deleted directory to stand in" {
	mkdir -p "$D/a/b"
	echo x >"$D/a/b/f"
	create_at 1000000000
	rm "$D/a/b/f"
	cd "$D/a/b"
	rmdir "$D/a/b"
	umbra versions f --json | jq -e '.versions | length == 1'
	cd "$D"
	rmdir a
	umbra versions a/b/f --json | jq -e '.exists == false and .versions[0].live == false'
	umbra versions ./a/../a/b --json | jq -e '.versions[0].type == "directory"'
}

@test "versions: the last link is listed itself, links above are followed" {
	mkdir "$D/real"
	ln -s f "$D/real/link"
	ln -s real "$D/dir"
	create_at 1000000000
	umbra versions "$D/dir/link" --json |
		jq -e --arg p "$D/real/link" '.path == $p and .versions[0].type == "symlink"'
}

@test "versions: names of any bytes" {
	local name=$'new\nline\xff\x1b[31m'
	echo x >"$D/$name"
	create_at 1000000000
	run umbra versions "$D/$name"
	assert_ok
	rm "$D/$name"
	umbra versions --json "$D/$name" >"$T/out"
	[ "$(jq -r .path_hex "$T/out")" = "$(printf %s "$D/$name" | od -An -v -tx1 | tr -d ' \n')" ]
	run umbra versions "$D/$name.x"
	assert_error 1 'new\\x0aline\\xff\\x1b\[31m\.x'
}

@test "versions: what no set has" {
	echo x >"$D/f"
	run umbra versions "$D/f"
	assert_error 1 "no shadow copy set covers '$D/f'"
	create_at 1000000000
	run umbra versions "$T"
	assert_error 1 "covers all of '$T': name '$D' below it"
	run umbra versions "$D/g"
	assert_error 1 "'$D/g' is not in the set that covers it"
	run umbra versions ''
	assert_error 2 'cannot be empty'
	run umbra versions "$UMBRA_STATE/copies"
	assert_error 1 'own state directory'
}

@test "versions: a damaged copy is a warning, the others are shown" {
	two_versions
	local id
	id=$(umbra show --json latest~1 | jq -r '.volumes[0].shadow')
	find "$UMBRA_STATE" -depth -path "*$id*" -exec chattr -i {} + 2>/dev/null || true
	find "$UMBRA_STATE" -name "$id*" -prune -exec rm -rf {} +
	run --separate-stderr umbra versions "$D/f"
	assert_ok
	[ "${#lines[@]}" = 3 ]
	[[ $stderr == *'@GMT-2001.09.09-01.47.40'* ]]
}

@test "versions: of an ordinary user, in his own state only" {
	as_user mkdir "$T/user/d"
	as_user sh -c 'echo x >"$HOME/d/f"'
	as_user umbra create "$T/user/d"
	as_user umbra versions "$T/user/d/f" --json | jq -e '.versions | length == 1'
	run umbra versions "$T/user/d/f"
	assert_error 1 'no shadow copy set covers'
}

@test "versions: on btrfs, through a nested subvolume" {
	make_btrfs "$D"
	btrfs -q subvolume create "$D/sub" || btrfs subvolume create "$D/sub"
	echo one >"$D/sub/f"
	create_at 1000000000
	create_at 1000000060
	echo two >"$D/sub/f"
	umbra versions "$D/sub/f" --json |
		jq -e '.versions | length == 1 and (.[0].sets | length) == 2 and (.[0].live | not)'
	umbra delete --yes latest latest~1 || umbra delete --yes latest
}

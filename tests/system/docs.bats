# SPDX-License-Identifier: LGPL-2.1-or-later
# The manual tells what the programs do.
load helper

@test "docs: commands, options, environment, formats are as the manual says" {
	run python3 "$UMBRA_SOURCE/tests/docs.py" "$UMBRA_SOURCE" "$UMBRA" \
		"$UMBRA_RUN/bin/mount.umbra"
	assert_ok
}

# keys COMMAND…: every member of the documents it prints; those in "data" are a provider's own.
keys() { umbra "$@" --json | jq -r '[paths[] | strings] | unique[]'; }

@test "docs: every member of the JSON documents is told" {
	local mounted=
	[ ! -c /dev/fuse ] || mounted=yes
	mkdir "$T/work" "$T/mnt"
	echo one >"$T/work/a"
	{
		keys create "$T/work" --comment x
		echo two >"$T/work/a"
		keys create "$T/work"
		keys list
		keys show latest
		keys versions "$T/work/a"
		keys diff "$T/work"
		keys restore "$T/work/a"
		if [ -n "$mounted" ]; then
			umbra mount "$T/mnt" --json
			umbra umount "$T/mnt" --json
		fi | jq -r keys[]
		keys volumes
		keys providers
		keys check
		keys delete latest
	} | sort -u >"$T/keys"
	[ "$(wc -l <"$T/keys")" -gt 40 ]
	sed -n '/^# JSON/,/^# EXAMPLES/p' "$UMBRA_SOURCE/man/umbra.1.scd" >"$T/page"
	local key
	while read -r key; do
		grep -qw -- "$key" "$T/page" || { echo "umbra(1) does not tell: $key"; false; }
	done <"$T/keys"
}

@test "docs: the transcript in README is what happens" {
	require_fuse
	mkdir "$T/ann"
	run timeout 110 python3 "$UMBRA_SOURCE/tests/transcript.py" "$UMBRA_SOURCE/README.md" "$T/ann"
	assert_ok
}

@test "docs: the transcript in README happens to an ordinary user, too" {
	require_root
	require_fuse
	as_user true
	cp "$UMBRA_SOURCE/README.md" "$UMBRA_SOURCE/tests/transcript.py" "$T"
	as_user mkdir "$T/user/ann"
	run as_user python3 "$T/transcript.py" "$T/README.md" "$T/user/ann"
	assert_ok
}

@test "docs: what is installed is complete" {
	[ -w "$UMBRA_BUILD/meson-logs" ] || skip "$UMBRA_BUILD is somebody else's"
	DESTDIR=$T/root meson install --no-rebuild -C "$UMBRA_BUILD" >"$T/log" || { cat "$T/log" && false; }
	local page file
	for page in "$UMBRA_SOURCE"/man/*.scd; do
		page=$(basename "$page" .scd)
		echo "/man${page##*.}/$page"
	done >"$T/wanted"
	printf '%s\n' /bin/umbra /sbin/mount.umbra /completions/umbra /site-functions/_umbra \
		/umbra.fish /doc/umbra/README.md /doc/umbra/LICENSE >>"$T/wanted"
	find "$T/root" -type f >"$T/there"
	while read -r file; do
		grep -q -- "$file\$" "$T/there" || { echo "not installed: $file"; false; }
	done <"$T/wanted"
}

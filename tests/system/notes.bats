# SPDX-License-Identifier: LGPL-2.1-or-later
# What is not in a copy as it was in the origin is said, with its live path.
load helper

# notes COMMAND…: of the document that it prints
notes() { "$@" --json | jq -r '.volumes[].notes[] | "\(.kind) \(.path)"'; }

@test "notes: what cannot be read" {
	require_root
	as_user mkdir -p "$T/user/w/shut"
	echo x >"$T/user/w/secret"
	chmod 600 "$T/user/w/secret"
	chmod 700 "$T/user/w/shut"
	chown root "$T/user/w/shut"
	run as_user umbra create "$T/user/w"
	assert_ok
	[[ $output == *"'$T/user/w/"*"could not be read"* || $output == *"and 1 more in '$T/user/w'"* ]]
	run notes as_user umbra show latest
	assert_ok
	[[ $output == *"unreadable $T/user/w/secret"* ]]
	[[ $output == *"unreadable $T/user/w/shut"* ]]
}

@test "notes: a directory that could not be listed comes back empty, and that is said" {
	require_root
	as_user mkdir -p "$T/user/w/shut"
	as_user touch "$T/user/w/shut/file"
	as_user chmod 000 "$T/user/w/shut"
	run as_user umbra create "$T/user/w"
	assert_ok
	as_user chmod 700 "$T/user/w/shut"
	rm -r "$T/user/w"
	run as_user umbra restore "$T/user/w"
	assert_error 1 "w/shut' was not readable when .* was made and is not in it"
	[ -d "$T/user/w/shut" ]
}

@test "notes: what is mounted below" {
	mkdir -p "$T/w/below"
	make_ext4 "$T/w/below"
	run umbra create "$T/w" --provider copy
	assert_ok
	[[ $output == *"'$T/w/below' (ext4) is mounted below '$T/w'"* ]]
	run notes umbra show latest
	[[ $output == *"uncovered $T/w/below"* ]]
}

@test "notes: diff and restore say what could not be read when it was copied" {
	require_root
	as_user mkdir -p "$T/user/w"
	echo x >"$T/user/w/secret"
	chmod 600 "$T/user/w/secret"
	UMBRA_TEST_NOW=1000000000 as_user umbra create "$T/user/w"
	local words="'$T/user/w/secret' was not readable when @GMT-2001.09.09-01.46.40 was made and is not in it"
	run as_user umbra diff "$T/user/w"
	assert_error 1 "the content of '$T/user/w/secret' is not in the copy"
	[[ $output != *'is the same'* ]]
	as_user rm -f "$T/user/w/secret"
	run as_user umbra diff "$T/user/w/secret"
	assert_error 1 "the content of $words"
	run as_user umbra restore "$T/user/w"
	assert_error 1 "the content of $words"
	[ ! -e "$T/user/w/secret" ]
}

@test "what somebody's own umbra keeps is left out of root's copies, and noted" {
	mkdir "$T/home/data"
	echo mine >"$T/home/data/f"
	UMBRA_STATE=$T/home/.umbra umbra create "$T/home/data" >/dev/null
	mkdir "$T/home/copies" # of that name alone
	echo other >"$T/home/copies/g"
	umbra create "$T/home" --provider copy >/dev/null
	[ -e "$UMBRA_STATE"/copies/*/tree/copies/g ]
	[ -z "$(ls -A "$UMBRA_STATE"/copies/*/tree/.umbra/copies)" ]
	[ -e "$UMBRA_STATE"/copies/*/tree/.umbra/catalog.db ]
	umbra show latest --json | jq -e --arg path "$T/home/.umbra/copies" \
		'.volumes[0].notes == [{kind: "uncovered", path: $path,
			text: "shadow copies of another state directory: not copied again"}]'
}

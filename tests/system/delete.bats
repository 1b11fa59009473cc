# SPDX-License-Identifier: LGPL-2.1-or-later
# umbra delete: which sets, the question, and who is told what.
load helper

tree() {
	mkdir -p "$T/data/sub"
	echo one >"$T/data/a"
	echo two >"$T/data/sub/b"
}

# on_terminal ANSWER WORD…: umbra on a terminal, where somebody types the answer.
on_terminal() {
	command -v script >/dev/null || unable "no script(1)"
	local answer=$1
	shift
	run timeout 30 script -qec "stty -echo cols 100; '$UMBRA' $*" /dev/null <<<"$answer" 3>&- 4>&-
	output=${output//$'\r'/}
}

sets_left() { umbra list --json | jq '.sets | length'; }

@test "delete: one, the oldest, all; many only with --yes" {
	tree
	local i tokens
	for i in 1 2 3 4; do umbra create "$T/data"; done
	mapfile -t tokens < <(umbra list --json | jq -r '.sets[].timestamp')
	run -0 umbra delete "${tokens[1]}"
	[ "$output" = "deleted ${tokens[1]}" ]
	run -0 umbra delete --oldest "$T/data/sub"
	[ "$output" = "deleted ${tokens[0]}" ]
	run umbra delete --all "$T/data" </dev/null
	assert_error 2 'this deletes 2 sets: say --yes'
	run umbra delete --all "$T/data/sub" </dev/null
	assert_error 2 'this deletes 2 sets: say --yes'
	run -0 umbra delete --all "$T/data" --yes --json
	echo "$output" | jq -e '[.deleted[].timestamp] == [$a, $b]' --arg a "${tokens[2]}" --arg b "${tokens[3]}"
	[ -z "$(ls -A "$UMBRA_STATE/copies")" ]
}

@test "delete: all of a part of what is copied is asked for, if it is one set, too" {
	tree
	umbra create --provider copy "$T/data"
	run umbra delete --all "$T/data/subb" </dev/null
	assert_error 2 "deletes a set of '$T/data', of which '$T/data/subb' is only a part: say --yes"
	on_terminal n delete --all "$T/data/subb"
	assert_error 1 "'$T/data/subb' is only a part of what is copied there.*Delete this set.*nothing was deleted"
	[ "$(sets_left)" = 1 ]
	run -0 umbra delete --all "$T/data" </dev/null
	umbra create --provider copy "$T/data"
	run -0 umbra delete --yes --all "$T/data/sub" </dev/null
	[ "$(sets_left)" = 0 ]
}

@test "delete says what is wrong" {
	run umbra delete
	assert_error 2 'say what to delete'
	run umbra delete latest
	assert_error 1 "no shadow copy set 'latest'"
	run umbra delete --all "$T" --oldest "$T"
	assert_error 2 'say what to delete'
	run umbra delete --all "$T" --yes
	assert_error 1 "no shadow copy set covers '$T'"
}

@test "delete: the question shows what would go; only yes is yes" {
	tree
	mkdir "$T/other"
	UMBRA_TEST_NOW=1000000000 umbra create --provider copy "$T/data" "$T/other" --comment nightly
	UMBRA_TEST_NOW=1000000060 umbra create --provider copy "$T/data"
	UMBRA_TEST_NOW=1000000120 umbra create --provider copy "$T/other"
	on_terminal n delete --all "$T/data"
	assert_error 1 'Delete these 2 sets\? \[y/N\] umbra: nothing was deleted'
	[[ $output == *'@GMT-2001.09.09-01.46.40 2001-09-09 01:46:40 fuzzy '*"$T/data, $T/other"*nightly* ]]
	[[ $output == *'@GMT-2001.09.09-01.47.40'* && $output != *'@GMT-2001.09.09-01.48.40'* ]]
	[[ $output == *"No shadow copy of '$T/data' will be left."* ]]
	[[ $output != *"'$T/other' will be left"* && $output != *'In use'* ]]
	on_terminal '' delete --all "$T/data"
	assert_error 1 'nothing was deleted'
	# Named in any order, twice: each once, oldest first.
	on_terminal n delete latest oldest latest~1 latest
	assert_error 1 'There are no other sets\..Delete these 3 sets'
	[ "$(sets_left)" = 3 ]
	on_terminal yes delete --all "$T/data"
	assert_ok
	[ "$(sets_left)" = 1 ]
}

@test "delete: of many sets the question shows the ends" {
	mkdir -m 700 "$UMBRA_STATE"
	umbra-fill-catalog "$UMBRA_STATE" 500
	on_terminal n delete --all "$(umbra list --json | jq -r '.sets[0].volumes[0].path')"
	assert_error 1 'Delete these 500 sets'
	[[ $output == *'… 494 more …'* ]]
	[ "$(grep -c '^@GMT-' <<<"$output")" = 6 ]
	run umbra delete latest oldest </dev/null
	assert_error 2 'deletes 2 sets.*--yes'
	[ "$(sets_left)" = 500 ]
}

@test "delete: who reads in a set is named; one that is read is asked for" {
	require_fuse
	tree
	umbra create --provider copy "$T/data"
	umbra create --provider copy "$T/data"
	mkdir "$T/mnt"
	umbra mount "$T/mnt"
	local token reader
	token=$(latest_token)
	sleep 60 <"$T/mnt/$token$T/data/a" 3>&- 4>&- &
	reader=$!
	on_terminal n delete oldest
	assert_ok # nobody reads in that one
	on_terminal n delete latest
	assert_error 1 "In use by [a-z]+ \\(pid $reader\\).*Delete this set\?.*nothing was deleted"
	run umbra delete latest </dev/null
	assert_ok
	[[ $output == *"warning: the set is in use by "*"(pid $reader)"* ]]
	kill "$reader"
	wait "$reader" || true
	[ "$(sets_left)" = 0 ]
	umbra umount "$T/mnt"
}

@test "delete: a reader is seen below by-volume and where a part is mounted elsewhere" {
	require_root
	require_fuse
	tree
	umbra create --provider copy "$T/data"
	mkdir "$T/mnt" "$T/part"
	umbra mount "$T/mnt"
	local volume reader
	volume=$(ls "$T/mnt/by-volume")
	cd "$T/mnt/by-volume/$volume/$(latest_token)"
	sleep 60 3>&- 4>&- &
	reader=$!
	cd "$T"
	in_use_by "$reader"
	kill "$reader"
	wait "$reader" || true
	mount_known --bind "$T/mnt/latest$T/data" "$T/part"
	sleep 60 <"$T/part/a" 3>&- 4>&- &
	reader=$!
	in_use_by "$reader"
	kill "$reader"
	wait "$reader" || true
	umount "$T/part"
	umbra umount "$T/mnt"
}

in_use_by() {
	on_terminal n delete latest
	assert_error 1 "In use by [a-z]+ \\(pid $1\\)"
}

@test "delete: copies of what a volume is mounted in are of another one" {
	require_root
	mkdir -p "$T/data/volume"
	mount -t tmpfs none "$T/data/volume"
	umbra create --provider copy "$T/data"
	umbra create --provider copy "$T/data/volume"
	umbra create --provider copy "$T/data/volume"
	run umbra delete --oldest "$T/data/volume"
	umount "$T/data/volume"
	assert_ok
	[[ $output == *"warning: copies of '$T/data' in the same set go, too"* ]]
	run -0 umbra delete --yes --all "$T/data/volume"
	[[ $output != *warning* ]]
}

@test "delete: an option in the place of an argument is named, and nothing is deleted" {
	mkdir -p "$T/data"
	umbra create "$T/data" >/dev/null
	run umbra delete --all --yes "$T/data"
	assert_error 2 "--all wants PATH right behind it, and not the option --yes"
	run umbra delete --all=--yes
	assert_error 1 "no shadow copy set covers '.*/--yes'"
	umbra delete --yes --all "$T/data"
}

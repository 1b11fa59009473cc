# SPDX-License-Identifier: LGPL-2.1-or-later
# Lost copies: who is told, where, and how one gets rid of them.
# vm: --time 300 --mem 768M --disk 320M --disk 320M --disk 128M
load ../system/helper
load volume

TEST_LIMIT=120

teardown() {
	drop_volumes
	umbra_teardown
}

lost() { umbra list --json | jq -r '.sets[].volumes[] | select(.lost) | .path' | sort -u; }
is_lost() { [ "$(lost)" = "$1" ]; }

# two_copies: of a volume that is called vol.
two_copies() {
	volume vol /dev/ubdb ext4
	echo one >"$T/vol/file"
	create_token "$T/vol"
	create_token "$T/vol"
}

token() { sed -n "${1}p" "$T/tokens"; }

@test "list, show, storage and check say which copies are lost, and why; the tree does not have them" {
	two_copies
	mkdir "$T/tree"
	umbra mount "$T/tree"
	[ "$(cat "$T/tree/latest$T/vol/file")" = one ]
	replace_table vol
	eventually is_lost "$T/vol"
	run -0 umbra list
	[[ $output == *WHY* && $output == *" lost "*"written without umbra's layer"* ]]
	run -0 umbra show "$(token 1)"
	[[ $output == *"WHY LOST"* && $output == *"written without umbra's layer"* ]]
	umbra show --json "$(token 2)" | jq -e '.volumes[0].lost | contains("without umbra")'
	run -0 umbra storage
	[[ $output == *"2 copies are lost: "*"written without umbra's layer"* ]]
	umbra storage --json | jq -e '.areas[0] | .lost == 2 and .copies == 0'
	# The tree was told, and so is one that begins.
	[ "$(ls "$T/tree")" = by-volume ]
	[ -z "$(ls -A "$T/tree/by-volume")" ] || [ -z "$(ls -A "$T"/tree/by-volume/*)" ]
	umbra umount "$T/tree"
	umbra mount "$T/tree"
	[ "$(ls "$T/tree")" = by-volume ]
	umbra umount "$T/tree"
	run -1 umbra check
	[ "$(grep -c "$(token 1)" <<<"$output")" = 1 ]
	[ "$(grep -c 'is lost' <<<"$output")" = 2 ]
	[[ $output == *"written without umbra's layer"*"umbra delete"* ]]
	umbra delete --yes "$(token 1)" "$(token 2)"
	umbra check
	[ ! -e "$UMBRA_STATE/lost" ]
	umbra storage --json | jq -e '.areas[0].lost == 0'
}

@test "umbrad is killed before it could say anything: the next one says it" {
	two_copies
	while pkill -9 -x '(umbrad|umbra-standby)'; do sleep 0.1; done # each starts the other
	replace_table vol
	umbra storage >"$T/line" # finds it out
	[ -z "$(lost)" ]
	umbra storage add "$T/vol" 2>"$T/err" || true
	umbrad --state "$UMBRA_STATE" &
	eventually is_lost "$T/vol"
	umbra delete --yes --all "$T/vol"
	umbra check
}

@test "a catalog that is made anew has lost copies, too" {
	two_copies
	replace_table vol
	eventually is_lost "$T/vol"
	rm "$UMBRA_STATE/catalog.db"
	umbra check --rebuild
	[ "$(lost)" = "$T/vol" ]
	[ "$(umbra list --json | jq '.sets | length')" = 2 ]
	umbra delete --yes --all "$T/vol"
	umbra check
}

@test "a set of two volumes, of which one lost its copy: what is there can be read" {
	two_copies
	volume more /dev/ubdc ext4
	echo two >"$T/more/file"
	create_token "$T/vol" "$T/more"
	replace_table vol
	eventually is_lost "$T/vol"
	run -0 umbra list
	[[ $output == *"$T/vol (lost)"* ]]
	mkdir "$T/tree"
	umbra mount "$T/tree"
	set -- "$T/tree"/@GMT*
	[ $# = 1 ]
	[ "$(cat "$T/tree/latest$T/more/file")" = two ]
	run ! ls "$T/tree/latest$T/vol"
	umbra umount "$T/tree"
	umbra delete --yes --all "$T/vol"
}

@test "a volume that is gone for good: it is said how to give up its copies, and that works" {
	local area
	two_copies
	umount "$T/vol"
	drop_volumes
	run -1 umbra check
	[[ $output == *"the volume 'vol' of diff area"*"is not there"*"umbra storage remove --force"* ]]
	is_lost "$T/vol"
	run -0 umbra storage
	[[ $output == *missing*"is not there"* ]]
	area=$(umbra storage --json | jq -r '.areas[0].place')
	run -1 umbra storage remove "$area"
	[[ $output == *--force* ]]
	umbra storage remove --force "$area"
	[ "$(umbra list --json | jq '.sets | length')" = 0 ]
	umbra check
	run -0 umbra storage
	[[ $output == *"no diff areas"* ]]
}

@test "a volume that is there again has its copies again" {
	two_copies
	umount "$T/vol"
	umbra activate
	end_umbrad
	forget_devices
	run -1 umbra check
	[ "$(grep -c '^umbra: warning: .*is not there' <<<"$output")" -le 1 ]
	is_lost "$T/vol"
	volume_again vol /dev/ubdb
	umbra activate
	eventually is_lost ""
	mount /dev/mapper/vol "$T/vol"
	umbra check
}

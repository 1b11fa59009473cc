# SPDX-License-Identifier: LGPL-2.1-or-later
# Copies that cannot be read: all commands say the same of them, and how one gets rid of them, or has
# them again.
# vm: --time 850 --mem 768M --disk 320M --disk 320M --disk 128M
load ../system/helper
load volume

TEST_LIMIT=120

lost() { umbra list --json | jq -r '.sets[].volumes[] | select(.lost) | .path' | sort -u; }
is_lost() { [ "$(lost)" = "$1" ]; }

# conditions [SET]: of all copies, each once.
conditions() {
	umbra list --json | jq -r '.sets[].volumes[] | .condition // "good"' | sort -u | paste -sd ' '
}
are() { [ "$(conditions)" = "$1" ]; }

# agreed CONDITION TERM: list, show, storage, check and activate say this of all copies of $T/vol, and
# give one reason.
agreed() {
	local why state
	are "$1"
	why=$(umbra list --json | jq -r '.sets[].volumes[].why' | sort -u)
	[[ $why = "$2: "* ]] || { echo "list says $why"; return 1; }
	[ "$(umbra show --json latest | jq -r '.volumes[0].why')" = "$why" ]
	state=$(umbra storage --json)
	[ "$(jq -r '.areas[0].why' <<<"$state")" = "$why" ] || { echo "storage says $state"; return 1; }
	umbra list >"$T/list"
	grep "^@.* $1  *$T/vol  *$2 *\$" "$T/list"
	umbra show latest >"$T/show"
	grep "^consistency  *$1\$" "$T/show"
	grep -F "$T/vol: $why" "$T/show"
	umbra storage >"$T/storage"
	grep "^$T/vol .* $2\$" "$T/storage"
	grep -F "$T/vol: $why" "$T/storage"
	run -1 umbra check
	grep -F "$why" <<<"$output"
}

# two_copies: of a volume that is called vol.
two_copies() {
	volume vol /dev/ubdb ext4
	echo one >"$T/vol/file"
	create_token "$T/vol"
	create_token "$T/vol"
}

@test "list, show, storage and check say which copies are lost, and why; the tree does not have them" {
	two_copies
	mkdir "$T/tree"
	umbra mount "$T/tree"
	[ "$(cat "$T/tree/latest$T/vol/file")" = one ]
	replace_table vol
	eventually is_lost "$T/vol"
	agreed lost "table replaced"
	umbra storage --json | jq -e '.areas[0] | .lost == 2 and .copies == 0 and .state == "idle"'
	umbra activate --json | jq -e --arg why "$(umbra list --json | jq -r '.sets[0].volumes[0].why')" \
		'(.lost | length == 2 and all(.why == $why)) and .areas[0].why == $why'
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
	[[ $output == *"table replaced"*"umbra delete"* ]]
	umbra delete --yes "$(token 1)" "$(token 2)"
	umbra check
	[ ! -e "$UMBRA_STATE/conditions" ]
	umbra storage --json | jq -e '.areas[0].lost == 0'
}

@test "umbrad is killed before it could say anything: who asks first is told" {
	local pids
	two_copies
	# Both at once, as each starts the other.
	while pids=$(pgrep -x umbrad; pgrep -x umbra-standby); [ -n "$pids" ]; do
		stop_second
		# shellcheck disable=SC2086 # words
		kill -9 $pids || true
		sleep 0.1
	done
	replace_table vol
	agreed lost "table replaced"
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
	local also
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
	# Who is told to delete the set is told what else is in it.
	also="'umbra delete $(token 3)' removes the set; its copy of '$T/more' can still be read, and goes too"
	run -1 umbra check
	[ "$(grep -c "removes the set$" <<<"$output")" = 2 ]
	[ "$(grep -cF "'$T/vol' is lost: table replaced" <<<"$output")" = 3 ]
	[ "$(grep -cF "$also" <<<"$output")" = 1 ]
	run -1 umbra diff --from "$(token 3)" "$T/vol/file"
	[[ $output == *"$also" ]]
	run -1 umbra versions "$T/vol/file"
	[ "$(grep -cF "$also" <<<"$output")" = 1 ]
	run -0 umbra delete --yes --all "$T/vol"
	[ "$(grep -c "warning: copies of '$T/more' in the same sets go, too" <<<"$output")" = 1 ]
	[ "$(umbra list --json | jq '.sets | length')" = 0 ]
}

# told TERM: what list says of the first set's copy of $T/vol, who reads it is told, too.
told() {
	local why
	why=$(umbra list --json | jq -r --arg vol "$T/vol" '.sets[0].volumes[] | select(.path == $vol).why')
	[[ $why == "$1: "* ]] || { echo "list says $why"; return 1; }
	run -1 umbra versions "$T/vol/gone"
	[ "$(grep -cF "the shadow copy of '$T/vol' is lost: $why; 'umbra delete $(token 1)'" <<<"$output")" = 1 ]
	run -1 umbra diff --from "$(token 1)" "$T/vol/big"
	grep -F "is lost: $why; " <<<"$output"
	umount "$T/vol"
	run -1 umbra revert --yes "$T/vol" --from "$(token 1)"
	mount /dev/mapper/vol "$T/vol"
	grep -F "is lost: $why; " <<<"$output"
}

@test "a copy that was given up, or whose diff area was removed: who reads it is told that" {
	local k
	volume vol /dev/ubdb ext4
	volume more /dev/ubdc ext4
	umbra storage add --size 40M "$T/vol"
	create_token "$T/more" "$T/vol"
	for k in 1 2 3 4; do
		head -c 14M /dev/urandom | dd of="$T/vol/big" bs=1M conv=notrunc,fsync status=none
		create_token "$T/vol"
	done
	told "given up"
	umbra storage remove --force "$T/vol"
	told "diff area removed"
	umbra delete --yes "$(token 1)"
}

@test "a set with one copy lost and one missing: all say both, and what can be deleted is" {
	local area why="volume missing, table replaced"
	volume vol /dev/ubdb ext4
	volume more /dev/ubdc ext4
	create_token "$T/more" "$T/vol"
	umount "$T/more"
	umbra activate
	dmsetup remove more
	replace_table vol
	eventually is_lost "$T/vol"
	umbra list | grep -F "$T/more, $T/vol (lost) $why"
	umbra show latest >"$T/show"
	grep -F "$T/more: volume missing: " "$T/show"
	grep -F "$T/vol: table replaced: " "$T/show"
	run -1 umbra check
	grep -E "problem: .*'$T/more' cannot be read now: volume missing" <<<"$output"
	grep -E "problem: .*'$T/vol' is lost: table replaced" <<<"$output"
	run -1 umbra delete latest
	[[ $output == *"shadow copy of '$T/more' in set $(token 1): the volume 'more'"*"is not there"* ]]
	umbra storage list "$T/vol" --json | jq -e '.areas[0].lost == 0'
	# What is warned of on the way is over when the area is gone.
	area=$(umbra storage --json | jq -r '.areas[] | select(.state == "missing").place')
	run -0 umbra storage remove --force "$area"
	[ -z "$output" ]
	umbra check
}

given_up() { umbra list | grep -qF "$T/vol (lost)"; }

@test "a copy that was given up is lost for storage, too, as long as its set is there" {
	local i
	volume vol /dev/ubdb ext4
	volume more /dev/ubdc ext4
	umbra storage add --size 32M "$T/vol"
	create_token "$T/more" "$T/vol"
	head -c 6M /dev/urandom >"$T/vol/first"
	create_token "$T/more" "$T/vol"
	for ((i = 0; i < 20; i++)); do
		head -c 1M /dev/urandom >"$T/vol/more.$i"
		sync -f "$T/vol"
		sleep 0.3
		! given_up || break
	done
	umbra list | grep -F "$T/more, $T/vol (lost) given up"
	umbra storage list --json "$T/vol" | jq -e '.areas[0] | .lost == 1 and .copies == 1 and .state == "active"'
	umbra storage list "$T/more" --json | jq -e '.areas[0] | .lost == 0 and .copies == 2'
	umbra delete "$(token 1)"
	umbra storage list --json "$T/vol" | jq -e '.areas[0] | .lost == 0 and .copies == 1'
	umbra delete --yes --all "$T/vol"
}

@test "copies that are lost are named by their set, and a failure is told once" {
	two_copies
	replace_table vol
	eventually is_lost "$T/vol"
	run -0 umbra activate
	[ "$(grep -cE "warning: the shadow copy of '$T/vol' in set $(token 1) is lost: " <<<"$output")" = 1 ]
	run -1 umbra diff --from latest "$T/vol/file"
	[[ $output == *"the shadow copy of '$T/vol' is lost: table replaced"*"'umbra delete $(token 2)' removes the set" ]]
	umount "$T/vol"
	dmsetup remove --retry vol
	run -1 umbra activate
	[ "$(grep -c "is not there" <<<"$(grep ^umbra: <<<"$output")")" = 1 ]
}

@test "a table that is replaced while the volume is not mounted: not activated, and not for a restart" {
	two_copies
	umount "$T/vol"
	umbra activate
	replace_table vol
	agreed inactive "not activated"
	[[ $(umbra show --json latest | jq -r '.volumes[0].why') == *"or since its table was replaced"* ]]
	umbra activate
	mount /dev/mapper/vol "$T/vol"
	are good
	umbra check
}

@test "a volume that is gone for good: it is said how to give up its copies, and that works" {
	local area
	two_copies
	umount "$T/vol"
	drop_volumes
	run -1 umbra check
	[[ $output == *"the volume 'vol' of diff area"*"is not there"*"umbra storage remove --force"* ]]
	agreed missing "volume missing"
	area=$(umbra storage --json | jq -r '.areas[0].place')
	run -1 umbra storage remove "$area"
	[[ $output == *--force* ]]
	run -0 umbra storage remove --force "$area"
	[ "$output" = "$(sed 's/^/deleted /' "$T/tokens")" ]
	[ "$(umbra list --json | jq '.sets | length')" = 0 ]
	umbra check
	run -0 umbra storage
	[[ $output == *"no diff areas"* ]]
}

@test "what is lost stays lost while its volume is missing" {
	local why
	two_copies
	replace_table vol
	eventually is_lost "$T/vol"
	why=$(umbra list --json | jq -r '.sets[].volumes[].why' | sort -u)
	umount "$T/vol"
	dmsetup remove --retry vol
	umbra storage --json | jq -e '.areas[0].state == "missing"'
	are lost
	[ "$(umbra show --json latest | jq -r '.volumes[0].why')" = "$why" ]
	run -1 umbra check
	[ "$(grep -c 'is lost' <<<"$output")" = 2 ]
	volume_again vol /dev/ubdb
	are lost
	agreed lost "table replaced"
	[ "$(umbra show --json latest | jq -r '.volumes[0].why')" = "$why" ]
}

@test "a volume that is there again has its copies again" {
	local used
	two_copies
	umount "$T/vol"
	umbra activate
	used=$(umbra storage --json | jq '.areas[0].used')
	end_umbrad
	forget_devices
	run -1 umbra check
	[ "$(grep -c '^umbra: warning: .*is not there' <<<"$output")" -le 1 ]
	agreed missing "volume missing"
	volume_again vol /dev/ubdb
	agreed inactive "not activated"
	run -0 umbra storage --json
	[ "$(jq '.areas[0].used' <<<"$output")" -le "$used" ]
	umbra activate
	are good
	umbra storage --json | jq -e '.areas[0] | .state == "active" and .copies == 2 and (has("why") | not)'
	mount /dev/mapper/vol "$T/vol"
	umbra check
}

# lost_is N: so many copies are lost, by what storage, activate and check say.
lost_is() {
	umbra storage --json | jq -e --argjson n "$1" '.areas[0].lost == $n'
	umbra activate --json | jq -e --argjson n "$1" '.lost | length == $n'
	run umbra check
	[ "$(grep -c 'is lost' <<<"$output")" = "$1" ]
	[[ $output != *"does not know"* ]]
}

@test "lost copies that are deleted while their volume is not mounted: nobody is told of them again" {
	local record
	two_copies
	record=$(echo "$UMBRA_STATE"/dm/*.json)
	restart
	mount /dev/mapper/vol "$T/vol"
	echo two >"$T/vol/file"
	umount "$T/vol"
	lost_is 2
	umbra delete --yes "$(token 1)"
	lost_is 1
	umbra delete --yes --all "$T/vol"
	lost_is 0
	jq -e '.deleted | length == 2' "$record"
	end_umbrad
	mount /dev/mapper/vol "$T/vol"
	run -0 umbra check
	[[ $output != *lost* ]]
	jq -e 'has("deleted") | not' "$record"
	umount "$T/vol"
	lost_is 0
	mount /dev/mapper/vol "$T/vol"
	create "$T/vol"
	are good
	umbra delete --yes --all "$T/vol"
}

# What is on the disk, whoever has what of it in memory.
disk() { dd if=/dev/ubdb bs=1M iflag=direct status=none | sha1sum; }

@test "copies that were lost before their volume was unmounted are deleted without writing to it" {
	local record before
	two_copies
	record=$(echo "$UMBRA_STATE"/dm/*.json)
	replace_table vol
	eventually is_lost "$T/vol"
	end_umbrad
	umount "$T/vol"
	before=$(disk)
	agreed lost "table replaced"
	umbra delete --yes "$(token 1)"
	lost_is 1
	umbra delete --yes --all "$T/vol"
	lost_is 0
	jq -e '.deleted | length == 2' "$record"
	[ "$(disk)" = "$before" ]
	mount /dev/mapper/vol "$T/vol"
	run -0 umbra check
	[[ $output != *lost* ]]
	jq -e 'has("deleted") | not' "$record"
	create "$T/vol"
	are good
	umbra delete --yes --all "$T/vol"
}

@test "somebody changed the diff area's file: one reason, also after it cannot be looked at any more" {
	local why
	two_copies
	chattr -R -i "$T/vol/.umbra"
	cp "$T/vol/.umbra/diff-area" "$T/vol/.umbra/another"
	mv "$T/vol/.umbra/another" "$T/vol/.umbra/diff-area"
	eventually is_lost "$T/vol"
	agreed lost "diff area unusable"
	why=$(umbra list --json | jq -r '.sets[0].volumes[0].why')
	[[ $why == *"not where it was"* ]]
	umount "$T/vol"
	umbra activate || true
	umbra list --json | jq -e '.sets | all(.volumes[0].why | contains("not where it was"))'
	umbra storage --json | jq -e '.areas[0].why | contains("not where it was")'
}

@test "somebody has the volume's lock for long: list says what was known, and that it may be more" {
	local begun
	two_copies
	umbra list >"$T/before"
	exec 7<>"/run/umbra/dm/$(basename "$UMBRA_STATE"/dm/*.json .json).lock"
	flock 7
	begun=$SECONDS
	run -0 --separate-stderr umbra list
	[ $((SECONDS - begun)) -lt 10 ]
	exec 7<&-
	[ "$output" = "$(cat "$T/before")" ]
	[[ $stderr == *"not known at this time"*"did not answer within 2 s"* ]]
	run -0 --separate-stderr umbra list
	[ -z "$stderr" ]
}

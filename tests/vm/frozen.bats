# SPDX-License-Identifier: LGPL-2.1-or-later
# A volume, or what has its diff area's file, is frozen: nobody gets stuck there with a lock.
# vm: --time 400 --mem 768M --disk 320M --disk 200M
load ../system/helper
load volume

TEST_LIMIT=120

teardown() {
	thaw
	drop_volumes
	umbra_teardown
}

# elsewhere: the volume's diff area is a file on another filesystem, $T/more.
elsewhere() {
	volume vol /dev/ubdb ext4
	volume more /dev/ubdc ext4
	umbra storage add --at "$T/more/area" --size 64M "$T/vol"
	AREA=$(basename "$UMBRA_STATE"/dm/*.json .json)
}

# Neither the state directory nor the volume is kept from anybody.
nobody_has_a_lock() {
	flock -w 2 "$UMBRA_STATE/lock" true && flock -w 2 "/run/umbra/dm/$AREA.lock" true
}

# refused COMMAND…: at once, as that is frozen.
refused() {
	local begun=$SECONDS
	run umbra "$@"
	assert_error 1 "the filesystem of the diff area '$T/more/area' is frozen.*'fsfreeze -u $T/more'"
	[ $((SECONDS - begun)) -lt 15 ]
	nobody_has_a_lock
}

@test "what has the diff area's file is frozen: whatever would change it is refused" {
	elsewhere
	create "$T/vol"
	create "$T/vol"
	freeze "$T/more"
	refused storage resize "$T/vol" --size 80M
	refused storage remove --force "$T/vol"
	refused create "$T/vol"
	refused delete latest
	# What only looks works.
	[ "$(umbra list --json | jq '.sets | length')" = 1 ]
	umbra storage list --json | jq -e '.areas[0].state == "active"'
	thaw
	umbra check
	umbra storage resize "$T/vol" --size 80M
	umbra delete --yes --all "$T/vol"
	umbra storage remove "$T/vol"
}

# The child of umbrad that tries.
stuck() { ps -C umbrad -o pid=,stat= | awk '$2 ~ /^D/ {print $1}'; }

are_lost() { umbra storage --json | jq -e '.areas[0] | .lost == 2 and .copies == 0'; }

@test "umbrad does not keep the volume while what has its diff area's file is frozen" {
	local i
	elsewhere
	create "$T/vol"
	create "$T/vol"
	end_umbrad
	replace_table vol
	freeze "$T/more"
	# It would have to say there that the copies are lost.
	"$UMBRA_RUN/bin/umbrad" --state "$UMBRA_STATE" --stay 2>"$T/umbrad" 3>&- &
	eventually grep -q "looking after '$T/vol': .*'$T/more/area' is frozen" "$T/umbrad"
	for ((i = 0; i < 6; i++)); do
		nobody_has_a_lock
		sleep 0.5
	done
	# It asks again and again, and says it once; nor do those pile up who ask.
	[ "$(grep -c 'is frozen' "$T/umbrad")" = 1 ]
	[ "$(stuck | wc -l)" = 1 ]
	umbra storage list
	thaw
	wait_for 10 are_lost
	eventually test -z "$(stuck)"
	umbra delete --yes --all "$T/vol"
	umbra check
}

@test "a killed resize is finished after the volume is thawed, and keeps nobody waiting before" {
	local record
	volume vol /dev/ubdb ext4
	umbra storage add --size 80M "$T/vol"
	AREA=$(basename "$UMBRA_STATE"/dm/*.json .json)
	record=$UMBRA_STATE/dm/$AREA.json
	UMBRA_TEST_FAULT=dm.resize-recorded:kill run umbra storage resize "$T/vol" --size 64M
	[ "$status" != 0 ]
	jq -e '.area.resizing' "$record"
	freeze "$T/vol"
	run -0 umbra check
	nobody_has_a_lock
	jq -e '.area.resizing' "$record"
	[ "$(stat -c %s "$T/vol/.umbra/diff-area")" = $((80 << 20)) ]
	thaw
	run -0 umbra check
	jq -e '.area | has("resizing") | not' "$record"
	[ "$(stat -c %s "$T/vol/.umbra/diff-area")" = $((64 << 20)) ]
	create "$T/vol"
	umbra delete --yes --all "$T/vol"
}

nothing_is_stored() { dmsetup table | grep -q -- '-area: .*error'; }
area_is_lost() { umbra storage --json | jq -e '.areas[0].state == "lost"'; }

@test "umbrad does not keep the volume while it cannot note in the state directory what is lost" {
	volume vol /dev/ubdb ext4
	volume store /dev/ubdc ext4
	UMBRA_STATE=$T/store/state
	create "$T/vol"
	AREA=$(basename "$UMBRA_STATE"/dm/*.json .json)
	freeze "$T/store"
	chattr -R -i "$T/vol/.umbra"
	mv "$T/vol/.umbra/diff-area" "$T/vol/.umbra/another"
	# The blocks are another's by now.
	eventually nothing_is_stored
	sleep 2
	flock -w 5 "/run/umbra/dm/$AREA.lock" true
	nothing_is_stored
	thaw
	wait_for 10 area_is_lost
	[ "$(layer vol)" = out ]
	umbra storage remove --force "$AREA"
}

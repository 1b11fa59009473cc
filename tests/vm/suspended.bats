# SPDX-License-Identifier: LGPL-2.1-or-later
# Somebody else has suspended a volume, as for a snapshot of the disk below: it stays as it is, and
# nobody gets stuck in it.
# vm: --time 400 --mem 768M --disk 320M
load ../system/helper
load volume

TEST_LIMIT=120

teardown() {
	dmsetup resume vol 2>/dev/null || true
	drop_volumes
	umbra_teardown
}

# suspend_volume [OPTION…]
suspend_volume() {
	sync
	dmsetup suspend "$@" vol
}

is_suspended() { [ "$(dmsetup info -c --noheadings -o suspended vol)" = Suspended ]; }

# Neither the state directory nor the volume is kept from anybody, nor is it resumed.
left_alone() {
	local lock
	is_suspended
	for lock in "$UMBRA_STATE/lock" /run/umbra/dm/*.lock; do
		[ ! -e "$lock" ] || flock -w 2 "$lock" true
	done
	[ -z "$(ps -eo stat=,comm= | awk '$1 ~ /^D/ && $2 ~ /umbra/')" ]
}

# refused COMMAND…: within bounds, as the volume is suspended.
refused() {
	local begun=$SECONDS
	run timeout -s KILL 40 "$UMBRA_RUN/bin/umbra" "$@"
	assert_error 1 "'vol' is suspended.*'dmsetup resume vol'"
	[ $((SECONDS - begun)) -lt 20 ]
	left_alone
}

# It is said, and nothing is done.
told() {
	run -1 timeout -s KILL 40 "$UMBRA_RUN/bin/umbra" check
	[[ $output == *"'vol' is suspended"* ]]
	umbra storage --json >"$T/storage"
	jq -e '.areas[0] | .state == "unknown" and (.why | contains("dmsetup resume vol"))' "$T/storage"
	left_alone
}

@test "a suspended volume that has copies is left alone, by umbrad too, and everybody says so" {
	volume vol /dev/ubdb ext4
	copies 2
	end_umbrad
	"$UMBRA_RUN/bin/umbrad" --state "$UMBRA_STATE" --stay 2>"$T/umbrad" 3>&- &
	suspend_volume
	wait_for 20 grep -q "looking after '$T/vol': 'vol' is suspended" "$T/umbrad"
	refused create "$T/vol"
	refused delete latest
	refused storage resize "$T/vol" --size 80M
	refused storage remove --force "$T/vol"
	refused revert --yes --force --from latest "$T/vol"
	told
	[ "$(grep -c 'is suspended' "$T/umbrad")" = 1 ]
	dmsetup resume vol
	umbra check # finishes the deletion
	sed -i '$d' "$T/tokens"
	compare
	create "$T/vol"
	umbra delete --yes --all "$T/vol"
	[ "$(layer vol)" = out ]
}

@test "an idle diff area within a suspended volume keeps nobody waiting" {
	local pid
	volume vol /dev/ubdb ext4
	create "$T/vol"
	umbra delete latest
	end_umbrad
	[ "$(layer vol)" = out ]
	suspend_volume
	echo 3 >/proc/sys/vm/drop_caches
	refused create "$T/vol"
	refused create --provider copy "$T/vol"
	refused storage resize "$T/vol" --size 80M
	told
	umbra volumes >/dev/null
	# Whoever waits can be ended.
	"$UMBRA_RUN/bin/umbra" create "$T/vol" 3>&- &
	pid=$!
	sleep 1
	kill "$pid"
	wait_for 5 eval "! kill -0 $pid 2>/dev/null"
	left_alone
	dmsetup resume vol
	# Without the filesystem, as LVM does below others.
	suspend_volume --nolockfs
	refused create "$T/vol"
	told
	dmsetup resume vol
	umbra check
	create "$T/vol"
	umbra delete --yes --all "$T/vol"
}

@test "a suspended volume without a diff area is not copied by another provider" {
	volume vol /dev/ubdb xfs
	suspend_volume
	refused create "$T/vol"
	[ ! -e "$UMBRA_STATE/dm" ] || [ -z "$(ls "$UMBRA_STATE/dm")" ]
	dmsetup resume vol
	run -0 create "$T/vol"
	[[ $output == *"(dm)"* ]]
	umbra delete --yes --all "$T/vol"
}

@test "what a creation holds is not called suspended" {
	volume vol /dev/ubdb ext4
	copies 1
	stopped_creation create.held
	is_suspended
	umbra storage --json | jq -e '.areas[0].state == "active"'
	kill -CONT "$MAKER"
	wait "$REQUESTER" || cat "$T/said"
	nothing_suspended
	umbra check
}

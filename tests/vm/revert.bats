# SPDX-License-Identifier: LGPL-2.1-or-later
# umbra revert on real device-mapper: the volume becomes what it was, all copies stay what they are.
# vm: --time 900 --mem 768M --disk 160M --disk 128M
load ../system/helper
load volume

TEST_LIMIT=400

teardown() {
	exec 8<&- 9<&-
	drop_volumes
	umbra_teardown
}

# copies N: N copies of $T/vol, with changes between and after; $T/tokens has their names.
copies() {
	local k
	: >"$T/tokens"
	for ((k = 1; k <= $1; k++)); do
		scribble "$T/vol" "$k"
		sums "$T/vol" >"$T/sums.$k"
		create_token "$T/vol"
	done
	scribble "$T/vol" 99
}

# A sum of all blocks of each copy 1 to N, but those of the diff area; a line each.
blocks() {
	local k trees list devices=()
	mapfile -t -n "$1" trees <"$T/tokens"
	trees=("${trees[@]/#/$T/tree/}")
	mkdir -p "$T/tree"
	umbra mount "$T/tree" >"$T/line"
	# A copy has a device when it was looked into.
	ls "${trees[@]/%/$T/vol}" >"$T/line"
	list=$(dmsetup ls)
	for ((k = 1; k <= $1; k++)); do
		shadow "$k"
		[[ $list =~ [^[:space:]]+-view-${SHADOW:0:18}[^[:space:]]* ]]
		devices+=("/dev/mapper/${BASH_REMATCH[0]}")
	done
	masked "${devices[@]}"
	umbra umount "$T/tree"
}

masked() { umbra-vm-masked "$UMBRA_STATE"/dm/*.json "$@"; }

# SHADOW: the id of copy K, which it keeps.
shadow() {
	[ -e "$T/shadow.$1" ] || umbra show --json "$(token "$1")" | jq -r '.volumes[0].shadow' >"$T/shadow.$1"
	read -r SHADOW <"$T/shadow.$1"
}

# The volume is what copy K was, to the block, and the filesystem is clean.
is_copy() {
	local was
	mapfile -t was <"$T/blocks"
	[ "$(masked /dev/mapper/vol)" = "${was[$1 - 1]}" ]
	case $2 in
	ext4) e2fsck -fn /dev/mapper/vol ;;
	xfs) mount /dev/mapper/vol "$T/vol" && umount "$T/vol" && xfs_repair -n /dev/mapper/vol ;;
	esac
	mount /dev/mapper/vol "$T/vol"
	sums "$T/vol" >"$T/now"
	diff "$T/now" "$T/sums.$1"
	umount "$T/vol"
}

# Sets up: a volume of filesystem $1 with $2 copies (on disk $3), unmounted; $T/blocks has what they are.
reverted_volume() {
	volume vol "${3:-/dev/ubdb}" "$1"
	copies "$2"
	blocks "$2" >"$T/blocks"
	umount "$T/vol"
}

each_filesystem() {
	local k
	reverted_volume "$1" 4
	for k in 1 4 2; do
		run -0 umbra revert --yes "$T/vol" --from "$(token $k)"
		[[ $output == "reverted '$T/vol' to $(token $k): "*"'mount /dev/mapper/vol $T/vol'"* ]]
		is_copy $k "$1"
		blocks 4 | diff - "$T/blocks"
	done
	umbra check
	# What it is now can be copied like anything else.
	mount /dev/mapper/vol "$T/vol"
	create_token "$T/vol"
	blocks 4 | diff - "$T/blocks"
	umbra delete --yes --all "$T/vol"
	[ "$(layer vol)" = out ]
}

@test "ext4 goes back to the oldest, the newest and one between; all copies stay" {
	each_filesystem ext4
}

@test "XFS goes back to the oldest, the newest and one between; all copies stay" {
	each_filesystem xfs
}

@test "by the block device, with a diff area elsewhere, and unmounted first" {
	volume vol /dev/ubdb ext4
	umbra storage add --force --at /dev/ubdc "$T/vol"
	copies 3
	run -1 umbra revert --yes "$T/vol" --from "$(token 2)"
	[[ $output == *"is mounted at '$T/vol'"*--unmount* ]]
	exec 9<"$T/vol"
	run -1 umbra revert --yes --unmount "$T/vol" --from "$(token 2)"
	[[ $output == *"'$T/vol' is in use"* ]]
	exec 9<&-
	# "latest" is that of the volume, also when there are newer sets of others.
	mkdir "$T/data"
	create "$T/data" >"$T/line"
	run -0 umbra revert --yes --json --unmount /dev/mapper/vol --from latest~1
	jq -e --arg path "$T/vol" --arg from "$(token 2)" \
		'.path == $path and .device == "/dev/mapper/vol" and .from == $from and .bytes > 0 and .given_up == [] and
		 .resumed == false' <<<"$output"
	run ! mountpoint -q "$T/vol"
	mount /dev/mapper/vol "$T/vol"
	sums "$T/vol" | diff - "$T/sums.2"
}

@test "killed at any point it goes on; meanwhile it is named, and nothing is made or lost" {
	local point verb n=0
	reverted_volume ext4 3 /dev/ubdc
	# Counting is for newer copies, of which there are none.
	for point in $(fault_points dm.revert revert.begun dm.superblock | grep -v counting); do
		n=$((n + 1))
		UMBRA_TEST_FAULT=$point:kill run -1 umbra revert --yes "$T/vol" --from "$(token 1)"
		if [ "$point" != dm.superblock ] && [ "$point" != dm.reverted ]; then
			run -1 umbra check
			[[ $output == *"'$T/vol' is reverted only in part"*"'umbra revert $T/vol --from $(token 1)'"* ]]
			[ "$(grep -c 'only in part' <<<"$output")" = 1 ]
			umbra storage --json | jq -e '.areas[0].state == "reverting"'
			umbra list | grep "^$(token 1) .* filesystem .*$T/vol (reverting)  *half reverted"
			umbra show "$(token 1)" | grep "'umbra revert $T/vol --from $(token 1)'"
			umbra show --json "$(token 2)" | jq -e '.volumes[0].condition != "reverting"'
			run -1 umbra delete --yes "$(token 1)"
			[[ $output == *"is reverted to set $(token 1)"* ]]
			case $point in
			dm.revert-marked | revert.begun | dm.revert-shown)
				mount /dev/mapper/vol "$T/vol"
				run -1 umbra create "$T/vol"
				[[ $output == *"reverted only in part"* ]]
				umount "$T/vol"
				;;
			*)
				run ! mount /dev/mapper/vol "$T/vol"
				for verb in create "storage remove" "storage resize --size 50M"; do
					# shellcheck disable=SC2086 # words
					run -1 umbra $verb "$T/vol"
					[[ $output == *"'$T/vol' is reverted only in part"*"'umbra revert $T/vol --from $(token 1)'"* ]]
				done
				;;
			esac
		fi
		umbra revert --yes "$T/vol" --from "$(token 1)"
		umbra check
		is_copy 1 ext4
		blocks 3 | diff - "$T/blocks"
		# There and back, so that there is something to write.
		umbra revert --yes "$T/vol" --from "$(token 3)"
		is_copy 3 ext4
	done
	[ $n -ge 6 ]
}

@test "the power fails at any point: it goes on" {
	local point
	reverted_volume ext4 3
	for point in hidden piece flushed shown; do
		UMBRA_TEST_FAULT=dm.revert-$point:kill run -1 umbra revert --yes "$T/vol" --from "$(token 1)"
		end_umbrad
		forget_devices
		volume_again vol /dev/ubdb
		umbra activate
		[ "$(layer vol)" = in ]
		umbra revert --yes "$T/vol" --from "$(token 1)"
		is_copy 1 ext4
		blocks 3 | diff - "$T/blocks"
		umbra revert --yes "$T/vol" --from "$(token 3)"
	done
}

@test "failing at any point, and going on to another copy" {
	local point
	reverted_volume ext4 3 /dev/ubdc
	for point in dm.revert-marked dm.revert-wrote dm.revert-flushed; do
		UMBRA_TEST_FAULT=$point:fail run -1 umbra revert --yes "$T/vol" --from "$(token 1)"
		[[ $output == *$point* ]]
		run -0 umbra revert --yes --json "$T/vol" --from "$(token 2)"
		jq -e .resumed <<<"$output"
		is_copy 2 ext4
		blocks 3 | diff - "$T/blocks"
		umbra revert --yes "$T/vol" --from "$(token 3)"
	done
}

@test "written between two halves: it still becomes the copy" {
	reverted_volume xfs 3
	UMBRA_TEST_FAULT=dm.revert-wrote:kill:3 run -1 umbra revert --yes "$T/vol" --from "$(token 1)"
	dd if=/dev/urandom of=/dev/mapper/vol bs=64k count=20 seek=37 oflag=direct conv=notrunc
	umbra revert --yes "$T/vol" --from "$(token 1)"
	is_copy 1 xfs
	blocks 3 | diff - "$T/blocks"
}

@test "interrupted by the terminal's Ctrl-C" {
	reverted_volume ext4 2 /dev/ubdc
	UMBRA_TEST_FAULT=dm.revert-wrote:delay "$UMBRA" revert --yes "$T/vol" --from "$(token 1)" \
		2>"$T/err" 3>&- 4>&- &
	local pid=$! status=0
	# Its superblock goes first.
	while blkid -p /dev/mapper/vol >/dev/null; do kill -0 $pid; done
	kill -INT $pid
	wait $pid || status=$?
	[ $status = 1 ]
	grep 'reverted only in part' "$T/err"
	umbra revert --yes "$T/vol" --from "$(token 1)"
	is_copy 1 ext4
}

# Four copies, the last two of which cannot be kept when the volume goes back to the second.
no_room() {
	volume vol /dev/ubdb ext4
	mount -o remount,noinit_itable "$T/vol" # which would take room, sooner or later
	umbra storage add --size 48M "$T/vol"
	head -c 12M /dev/urandom >"$T/vol/big"
	copies 2
	dd if=/dev/urandom of="$T/vol/big" bs=1M count=12 conv=notrunc,fsync status=none
	create_token "$T/vol"
	dd if=/dev/urandom of="$T/vol/other" bs=1M count=10 conv=fsync status=none
	mkdir "$T/with"
	create_token "$T/vol" "$T/with"
	blocks 4 >"$T/blocks"
	umount "$T/vol"
}

@test "no room to keep newer copies: refused, with what to do; or they are given up" {
	no_room
	run -1 umbra revert --yes "$T/vol" --from "$(token 2)"
	[[ $output == *"no room"*"2 newer shadow copies"*"older"*--force* ]]
	# A larger one inside would not lie where the copy has it.
	[[ $output != *resize* ]]
	umbra check
	blocks 4 | diff - "$T/blocks"
	run -0 umbra revert --yes --force "$T/vol" --from "$(token 2)"
	[[ $output == *"given up: $(token 3)"*"given up: $(token 4)"* ]]
	is_copy 2 ext4
	umbra check
	# The fourth set has something else, which stays.
	umbra list --json | jq -e --arg more "$T/with" --arg token "$(token 4)" '(.sets | length) == 3 and
		.sets[2].timestamp == $token and [.sets[2].volumes[].path] == [$more]'
	umbra delete --yes "$(token 4)"
	blocks 2 | diff - <(head -2 "$T/blocks")
}

@test "as long as it is counted what there is no room for, writers get the space that they need" {
	no_room
	mount /dev/mapper/vol "$T/vol"
	UMBRA_TEST_FAULT=dm.revert-counting:stop "$UMBRA" revert --yes --unmount "$T/vol" --from "$(token 2)" \
		>"$T/said" 2>&1 3>&- 4>&- &
	local pid=$!
	eventually stopped
	[ "$(timeout 10 umbra storage list --json "$T/vol" | jq -r '.areas[0].state')" = active ]
	kill -CONT "$(stopped)"
	! wait $pid || { cat "$T/said"; return 1; }
	grep "no room" "$T/said"
	umount "$T/vol"
	blocks 4 | diff - "$T/blocks"
}

@test "killed when newer copies were given up: the volume is what it was, and goes back the next time" {
	local before
	no_room
	before=$(masked /dev/mapper/vol)
	UMBRA_TEST_FAULT=revert.given-up:kill run -1 umbra revert --yes --force "$T/vol" --from "$(token 2)"
	[ "$(umbra list --json | jq '.sets | length')" = 3 ]
	[ "$(masked /dev/mapper/vol)" = "$before" ]
	blocks 2 | diff - <(head -2 "$T/blocks")
	umbra revert --yes "$T/vol" --from "$(token 2)"
	is_copy 2 ext4
}

@test "killed when a set has lost one copy for it: the others of that set are there, and it goes on" {
	no_room
	UMBRA_TEST_FAULT=revert.cleared:kill run -1 umbra revert --yes --force "$T/vol" --from "$(token 2)"
	umbra show "$(token 4)"
	umbra revert --yes --force "$T/vol" --from "$(token 2)"
	is_copy 2 ext4
	# Nothing says of what was given up that it is lost, or still there.
	umbra list --json | jq -e --arg more "$T/with" --arg token "$(token 4)" '.sets[-1].timestamp == $token and
		[.sets[-1].volumes[].path] == [$more]'
	umbra check
	umbra delete --yes "$(token 4)"
	umbra check
}

@test "a copy in which the diff area lies elsewhere is not reverted to" {
	local record
	reverted_volume ext4 2 /dev/ubdc
	record=$(echo "$UMBRA_STATE"/dm/*.json)
	cp "$record" "$T/record"
	jq '.area.bytes -= 4096 | .area.extents[-1][2] -= 4096' "$T/record" >"$record"
	run -1 umbra revert --yes "$T/vol" --from "$(token 1)"
	[[ $output == *"does not lie where it lies now"*"umbra restore"* ]]
	cp "$T/record" "$record"
	umbra check
	umbra revert --yes "$T/vol" --from "$(token 1)"
	is_copy 1 ext4
}

@test "the diff area was made larger since: it is said how large it was, and that size again helps" {
	local advice
	volume vol /dev/ubdb ext4
	umbra storage add --size 48M "$T/vol"
	copies 1
	umbra storage resize --size 64M "$T/vol"
	create_token "$T/vol"
	umount "$T/vol"
	run -1 umbra revert --yes "$T/vol" --from "$(token 1)"
	[[ $output == *"has 64 MiB, and had 48 when"*"umbra restore"* ]]
	advice=$(grep -o "umbra storage resize [^']*" <<<"$output")
	mount /dev/mapper/vol "$T/vol"
	$advice
	umount "$T/vol"
	umbra revert --yes "$T/vol" --from "$(token 1)"
	e2fsck -fn /dev/mapper/vol
	mount /dev/mapper/vol "$T/vol"
	sums "$T/vol" | diff - "$T/sums.1"
	umbra check
}

@test "no room to keep newer copies in a diff area elsewhere: that can be made larger" {
	volume vol /dev/ubdb ext4
	umbra storage add --size 32M --at /dev/ubdc "$T/vol"
	head -c 14M /dev/urandom >"$T/vol/big"
	copies 1
	dd if=/dev/urandom of="$T/vol/big" bs=1M count=14 conv=notrunc,fsync status=none
	create_token "$T/vol"
	umount "$T/vol"
	run -1 umbra revert --yes "$T/vol" --from "$(token 1)"
	[[ $output == *"no room"*"make it larger"*--force* ]]
	mount /dev/mapper/vol "$T/vol"
	umbra storage resize --size 64M "$T/vol"
	umount "$T/vol"
	umbra revert --yes "$T/vol" --from "$(token 1)"
}

@test "what bad input gets" {
	reverted_volume ext4 2 /dev/ubdc
	run -2 umbra revert "$T/vol"
	[[ $output == *--from* ]]
	run -2 umbra revert --from latest
	run -2 umbra revert "$T/vol" --from latest
	[[ $output == *--yes* ]]
	run -1 umbra revert --yes "$T/vol" --from @GMT-2001.01.01-01.01.01
	run -1 umbra revert --yes "$T/vol/sub" --from latest
	[[ $output == *"umbra restore"*"all of '$T/vol'"* ]]
	run -1 umbra revert --yes /usr --from latest
	[[ $output == *"no volume of set"* ]]
	run -1 umbra revert --yes /dev/nope --from latest
	[[ $output == "umbra: '/dev/nope' does not exist" ]]
	run -1 as_user "$UMBRA" revert "$T/vol" --from latest
	[[ $output == *"by root only"* ]]
	run -1 umbra revert --yes /dev/ubdb --from latest
	[[ $output == *"no volume of set"* ]]
	mkdir "$T/data"
	create_token "$T/data"
	run -1 umbra revert --yes "$T/data" --from latest
	[[ $output == *"umbra restore"* ]]
	# Another device is on it.
	dmsetup create over --table "0 8 linear /dev/mapper/vol 0"
	run -1 umbra revert --yes "$T/vol" --from oldest
	[[ $output == *"in use"* ]]
	dmsetup remove over
	# Without the layer.
	dmsetup table "$(dmsetup ls | awk '/-real/ {print $1}')" >"$T/table"
	dmsetup load vol "$T/table"
	dmsetup resume vol
	run -1 umbra revert --yes "$T/vol" --from oldest
	[[ $output == *"not activated"*"its table was replaced"*"umbra activate"* ]] ||
		{ echo "$output"; false; }
	umbra activate
	umbra revert --yes "$T/vol" --from oldest
	is_copy 1 ext4
}

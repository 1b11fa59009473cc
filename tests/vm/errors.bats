# SPDX-License-Identifier: LGPL-2.1-or-later
# Provider dm when devices fail, in part or whole, for a time or for good. An error of the diff area is
# none of the volume's: it goes on, copies are exact or lost, and what failed is said.
# vm: --time 900 --mem 768M --disk 128M --disk 64M
load ../system/helper
load volume

TEST_LIMIT=200
DISK=/dev/ubdb # of the volume
SIDE=/dev/ubdc

setup() {
	umbra_setup
	WRITER=$UMBRA_BUILD/tests/vm/umbra-vm-writer
}

# --- what fails --------------------------------------------------------------------------------

# fail_at NAME HOW FROM SECTORS…: of the device NAME, which is linear over the whole of its disk, all
# that is asked of these sectors fails (HOW is error), or what is written there (writes).
fail_at() {
	local name=$1 how=$2 at=0 end disk=${DISKS[$1]}
	shift 2
	end=$(blockdev --getsz "$disk")
	while [ $# -gt 0 ]; do
		[ "$1" -le $at ] || echo "$at $(($1 - at)) linear $disk $at"
		case $how in
		error) echo "$1 $2 error" ;;
		writes) echo "$1 $2 flakey $disk $1 0 60 1 error_writes" ;;
		esac
		at=$(($1 + $2))
		shift 2
	done >"$T/table"
	[ $at -ge "$end" ] || echo "$at $((end - at)) linear $disk $at" >>"$T/table"
	dmsetup reload "$name" "$T/table"
	dmsetup suspend --noflush --nolockfs "$name"
	dmsetup resume "$name"
}

# part FROM TO: where these KiB of the diff area are, in sectors of its disk.
part() {
	jq -r --argjson from $(($1 << 10)) --argjson to $(($2 << 10)) '.area |
		if .kind == "inside" then .extents[] else [0, 0, .bytes] end |
		[([.[0], $from] | max), ([.[0] + .[2], $to] | min), .[1] - .[0]] |
		select(.[0] < .[1]) | "\((.[0] + .[2]) / 512) \((.[1] - .[0]) / 512)"' \
		"$UMBRA_STATE"/dm/*.json | sort -n
}

# area_fails HOW [FROM TO]: these KiB of the diff area, or all of it. umbra-dm-store(5): the first
# superblock has 0 to 1536, the second ends at 3072, records end at 8192.
area_fails() {
	# shellcheck disable=SC2046 # words
	fail_at "$AREA_DISK" "$1" $(part "${2:-0}" "${3:-1000000}")
}

mend() {
	fail_at under none
	fail_at side none
}

# --- what there is -----------------------------------------------------------------------------

# place WHERE: a volume with an ext4 and a diff area, inside or beside it; umbrad says what it has to
# say in $T/log.
place() {
	declare -gA DISKS=([under]=$DISK [side]=$SIDE)
	slices $DISK under=128
	slices $SIDE side=64
	slices /dev/mapper/under vol=128
	filesystem vol ext4
	case $1 in
	inside)
		AREA_DISK=under
		umbra storage add --size 48M "$T/vol"
		PLACE=$T/vol/.umbra/diff-area
		;;
	beside)
		AREA_DISK=side
		umbra storage add --force --at /dev/mapper/side "$T/vol"
		PLACE=/dev/mapper/side
		;;
	esac
	umbrad --state "$UMBRA_STATE" --stay 2>"$T/log" 3>&- 4>&- &
	: >"$T/tokens"
	COPIES=0
}

# copies N: so many more, with changes between and after.
copies() {
	local k
	for ((k = 0; k < $1; k++)); do
		COPIES=$((COPIES + 1))
		scribble "$T/vol" $COPIES
		sums "$T/vol" >"$T/sums.$COPIES"
		create_token "$T/vol"
	done
	scribble "$T/vol" 99
	sync -f "$T/vol"
}

# look: EXACT and LOST have the numbers of copies; none is wrong.
look() {
	local k
	EXACT='' LOST=''
	mkdir -p "$T/tree"
	umbra mount "$T/tree" >"$T/line"
	for ((k = 1; k <= COPIES; k++)); do
		if ! sums "$T/tree/$(token $k)$T/vol" >"$T/now" 2>"$T/why" || [ ! -s "$T/now" ] ||
			[ -s "$T/why" ]; then
			LOST+=$k
		elif diff "$T/now" "$T/sums.$k"; then
			EXACT+=$k
		else
			echo "copy $k is wrong"
			return 1
		fi
	done
	umbra umount "$T/tree"
	echo "exact: $EXACT, lost: $LOST"
}

logged() { grep -q "$@" "$T/log" || { tail "$T/log"; return 1; }; }

write_over() {
	local n longest
	read -r n longest < <("$WRITER" "$T/vol/big" 16 "$1" || echo 0 999999)
	echo "# $n writes, longest $longest ms" >&3
	[ "$n" -gt 0 ]
	[ "$longest" -le 2000 ]
}

volume_is_whole() {
	umount "$T/vol"
	e2fsck -fn /dev/mapper/vol
}

# list and check say that all copies are lost.
said_lost() {
	local n
	n=$(umbra list --json | jq '[.sets[].volumes[] | select(.lost)] | length')
	run umbra check
	[ "$n" = $COPIES ] && [ "$status" = 1 ] && [[ $output == *lost* ]] || {
		echo "$n of $COPIES are listed as lost; ${output:0:300}"
		return 1
	}
}

# refused COMMAND…: it fails and says where.
refused() {
	run "$@"
	echo "$output"
	[ "$status" = 1 ] && [[ $output == *"$PLACE"* ]]
}

# reboot: the machine stops, and starts again with all devices whole, and without the volume mounted.
reboot() {
	fail_at under error 0 "$(blockdev --getsz $DISK)"
	umount -l "$T/vol"
	end_umbrad
	drop_volumes
	slices $DISK under=128
	slices $SIDE side=64
	slices /dev/mapper/under vol=128
}

# --- while it is written -----------------------------------------------------------------------

while_written() {
	place "$1"
	"$WRITER" "$T/vol/big" 16 0 >"$T/line"
	copies 2
	area_fails "$2" 20480 1000000 # where it comes to when it has written some megabytes
	write_over 1
	eventually logged "shadow copies of .* are lost"
	eventually said_lost
	look
	[ "$LOST" = 12 ]
	mend
	look
	[ "$LOST" = 12 ]
	umbra delete --yes --all "$T/vol"
	[ "$(layer vol)" = out ]
	copies 1
	look
	[ "$EXACT" = 3 ]
	volume_is_whole
}

@test "writes to the diff area beside fail while the volume is written: it goes on" {
	while_written beside writes
}

@test "writes to the diff area inside fail while the volume is written: it goes on" {
	while_written inside writes
}

@test "the diff area's device is gone while the volume is written: it goes on, also after a crash" {
	place beside
	"$WRITER" "$T/vol/big" 16 0 >"$T/line"
	copies 2
	area_fails error
	write_over 1
	eventually logged "shadow copies of .* are lost: .*$PLACE"
	eventually said_lost
	# What would not help is not advised.
	run umbra check
	echo "$output"
	[ "$(grep -c "copy of .* is lost: .*'umbra storage remove --force [0-9a-f-]*' gives it up)$" <<<"$output")" = 2 ]
	[[ $output != *"umbra delete"* ]]
	run umbra versions "$T/vol/line"
	[[ $output == *"is lost: "*"'umbra storage remove --force "* && $output != *"umbra delete"* ]]
	look
	[ "$LOST" = 12 ]
	[ "$(layer vol)" = out ]
	# The machine stops; the device is there again.
	scribble "$T/vol" 50
	sync -f "$T/vol"
	reboot
	run -0 umbra activate --early
	mount /dev/mapper/vol "$T/vol"
	look
	[ "$LOST" = 12 ]
	umbra delete --yes --all "$T/vol"
	volume_is_whole
}

@test "the diff area's device is gone for good: the volume can be had without it" {
	place beside
	copies 2
	area_fails error
	run -1 umbra storage remove "$T/vol"
	[[ $output == *"$PLACE"* ]]
	run -0 umbra storage remove --force "$T/vol"
	[ "$(layer vol)" = out ]
	scribble "$T/vol" 50
	umbra storage add --size 40M "$T/vol"
	copies 1
	look
	[ "$EXACT" = 3 ]
}

# --- what umbra itself reads and writes --------------------------------------------------------

@test "one superblock fails: all can be read, changes are refused; both: nothing is shown until they are back" {
	place beside
	copies 2
	area_fails error 0 1536
	look
	[ "$EXACT" = 12 ]
	refused create "$T/vol"
	refused umbra delete --yes "$(token 2)"
	area_fails error 1536 3072
	look
	[ "$EXACT" = 1 ] # the other is deleted as soon as that can be
	refused create "$T/vol"
	area_fails error 0 3072
	look
	[ "$LOST" = 12 ]
	refused create "$T/vol"
	refused umbra check
	scribble "$T/vol" 50
	mend
	nothing_suspended
	umbra check || umbra check # which deletes what had to wait
	copies 1
	look
	[ "$EXACT" = 13 ]
}

# create_failing POINT: a creation, from which on at that point nothing can be written to the diff area.
create_failing() {
	local maker
	UMBRA_TEST_FAULT=$1:stop "$UMBRA" create "$T/vol" >"$T/created" 2>&1 3>&- 4>&- &
	maker=$!
	eventually stopped
	area_fails writes
	kill -CONT "$(stopped)"
	! wait $maker || { echo "made"; return 1; }
	cat "$T/created"
	grep -q "$PLACE" "$T/created"
}

# Who thaws an ext4 writes to it, so that from its instant on a creation may cost the others.
each_step() {
	local point
	place "$1"
	copies 2
	for point in dm.entered dm.zeroed dm.loaded dm.unlocked dm.kept; do
		create_failing $point
		mend
		look
		eventually nothing_suspended
		if [ -n "$LOST" ]; then
			eventually said_lost
			umbra delete --yes --all "$T/vol"
			[ "$(layer vol)" = out ]
			COPIES=0
			: >"$T/tokens"
			copies 2
		fi
	done
	look
	[ "$EXACT" = 12 ]
	umbra check
}

@test "the diff area beside fails at each step of a creation: it is undone, no copy is wrong" {
	each_step beside
}

@test "the diff area inside fails at each step of a creation: it is undone, no copy is wrong" {
	each_step inside
}

@test "what a copy has cannot be read: it says so, and is exact when it can" {
	place inside
	copies 3
	area_fails error 8192 1000000
	look
	[[ $LOST == 12* ]]
	mend
	look
	[ "$EXACT" = 123 ]
	umbra delete --yes "$(token 2)"
	area_fails error 8192 1000000
	sleep 1 # umbrad compacts
	mend
	look
	[ "$EXACT" = 13 ]
}

@test "a revert fails, and goes on when the diff area can be read" {
	place beside
	copies 2
	umount "$T/vol"
	area_fails error 8192 1000000
	refused umbra revert --yes --from "$(token 1)" "$T/vol"
	mend
	run -0 umbra revert --yes --from "$(token 1)" "$T/vol"
	mount /dev/mapper/vol "$T/vol"
	sums "$T/vol" >"$T/now"
	diff "$T/now" "$T/sums.1"
	look
	[ "$EXACT" = 12 ]
}

@test "a diff area that fails when the machine starts is not activated until it is whole" {
	place beside
	copies 2
	reboot
	for part in "0 3072" "8192 1000000"; do
		# shellcheck disable=SC2086 # words
		area_fails error $part
		refused umbra activate --early
		[ "$(layer vol)" = out ]
	done
	mend
	run -0 umbra activate --early
	mount /dev/mapper/vol "$T/vol"
	look
	[ "$EXACT" = 12 ]
}

# --- the volume itself -------------------------------------------------------------------------

@test "the volume's own errors reach who writes it; copies are exact or lost" {
	local how
	place beside
	for how in writes error; do
		copies 2
		fail_at under $how 0 "$(blockdev --getsz $DISK)"
		run ! "$WRITER" "$T/vol/more" 1 0
		umbra list >"$T/line"
		run umbra check
		nothing_suspended
		reboot
		umbra activate --early
		fsck.ext4 -p /dev/mapper/vol || [ $? = 1 ]
		mount /dev/mapper/vol "$T/vol"
		look
		umbra delete --yes --all "$T/vol"
		[ "$(layer vol)" = out ]
		umbrad --state "$UMBRA_STATE" --stay 2>>"$T/log" 3>&- 4>&- &
		: >"$T/tokens"
		COPIES=0
	done
}

@test "a file on sectors that fail is restored from a copy that is elsewhere" {
	local first n
	declare -gA DISKS=([under]=$DISK)
	slices $DISK under=128
	slices /dev/mapper/under vol=128
	filesystem vol ext4
	mkdir "$T/vol/d"
	head -c 64K /dev/urandom >"$T/vol/d/f"
	cp -p "$T/vol/d/f" "$T/was"
	create --provider copy "$T/vol/d"
	sync -f "$T/vol"
	read -r first n < <(filefrag -b1024 -e "$T/vol/d/f" | awk -F '[:. ]+' '$2 == "0" {print $5 * 2, $7 * 2}')
	[ "$n" = 128 ]
	fail_at under error "$first" "$n"
	echo 3 >/proc/sys/vm/drop_caches
	run ! cat "$T/vol/d/f"
	umbra versions --json "$T/vol/d/f" | jq -e '.versions | length == 1'
	run -0 umbra restore "$T/vol/d/f"
	cmp "$T/vol/d/f" "$T/was"
	fail_at under none
	volume_is_whole
}

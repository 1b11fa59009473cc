# SPDX-License-Identifier: LGPL-2.1-or-later
# Provider dm when the power is cut. A run of creations, deletions and writes is recorded, with the
# state directory on the same disk (target log-writes); then, for many moments of it, the disk is made
# as it may have been at that moment: what was flushed is there, what was not may be missing. After
# `umbra activate` each shadow copy is exact or not there, and one that was complete is there.
#
# All is on one disk, so that whoever flushes it flushes all: a flush of the diff area that is left
# out is seen where that has a cache of its own, tests/vm/test_power.c.
#
# UMBRA_SOAK=N: N moments of each run instead of the usual ones; UMBRA_SOAK=all: every flush.
# UMBRA_SEED: others than the usual ones.
# vm: --time 3600 --mem 768M --disk 160M --disk 800M --disk 160M --disk 160M
load ../system/helper
load volume

TEST_LIMIT=${UMBRA_SOAK:+3000}
TEST_LIMIT=${TEST_LIMIT:-200}
DISK=/dev/ubdb
LOG=/dev/ubdc
BASE=/dev/ubdd  # the disk as it was at the last flush before a moment
SINCE=/dev/ubde # what the moment and the look at it change on it

setup() {
	umbra_setup
	REPLAY=$UMBRA_BUILD/tests/vm/umbra-vm-replay
	export UMBRA_STATE=$T/var/state
	mkdir "$T/tree" "$T/saved"
}

teardown() {
	end_writer
	drop_volumes
	umbra_teardown
}

# --- the run -----------------------------------------------------------------------------------

# mark NAME: here is the beginning or the end of something.
mark() {
	rm -rf "$T/saved/$1"
	mkdir "$T/saved/$1"
	cp -a "$UMBRA_STATE/." "$T/saved/$1/"
	dmsetup message disk 0 mark "$1"
}

# step NAME COMMAND…
step() {
	mark "$1-begun"
	"${@:2}"
	mark "$1-done"
}

end_writer() {
	[ -n "${WRITER:-}" ] || return 0
	kill "$WRITER" 2>/dev/null || true
	wait "$WRITER" 2>/dev/null || true
	WRITER=
}

write_on() {
	while :; do
		scribble "$T/vol" "$RANDOM"
		sync -f "$T/vol"
		sleep 0.2
	done
}

# add K: the K-th copy, of which is noted what it has.
add() {
	step "add-$1" create_token "$T/vol"
	sums "$T/tree/$(tail -1 "$T/tokens")$T/vol" >"$T/sums.$1"
	[ -s "$T/sums.$1" ]
}

drop() { step "drop-$1" umbra delete --yes "$(sed -n "$1p" "$T/tokens")"; }

# record FSTYPE [STORAGE OPTION…]
record() {
	local k
	TYPE=$1
	dmsetup create disk --table "0 $(blockdev --getsz $DISK) log-writes $DISK $LOG"
	slices /dev/mapper/disk "${SLICES[@]}"
	filesystem var ext4
	filesystem vol "$TYPE"
	umbra storage add "${@:2}" "$T/vol"
	umbra mount "$T/tree"
	scribble "$T/vol" 1
	write_on &
	WRITER=$!
	for k in 1 2 3; do add $k; done
	drop 2 # of which the first has to keep what it had
	add 4
	sleep 1
	drop 4 # the newest
	drop 1
	add 5
	sleep 1
	end_writer
	mark end
	umbra umount "$T/tree"
	umount "$T/vol"
	sleep 1
	mark noted # by umbrad
	end_umbrad
	umount "$T/var"
	forget_devices
	"$REPLAY" $LOG >"$T/log"
	read_log
}

# --- what is known of it -----------------------------------------------------------------------

# MARKS, a number by name; FLUSHES, those of all flushes after the first step began; TOKENS, by number.
read_log() {
	local number kind name
	declare -gA MARKS=()
	FLUSHES=()
	while read -r number kind name; do
		case $kind in
		mark) MARKS[$name]=$number ;;
		flush) [ -z "${MARKS[add-1-begun]:-}" ] || FLUSHES+=("$number") ;;
		esac
	done <"$T/log"
	mapfile -t -O 1 TOKENS <"$T/tokens"
	echo "# ${#FLUSHES[@]} flushes" >&3
}

# before NUMBER MARK: had it been reached when the power was cut before that entry?
before() { [ -n "${MARKS[$2]:-}" ] && [ "${MARKS[$2]}" -lt "$1" ]; }

# last_mark NUMBER: the last one before it.
last_mark() {
	local name found=add-1-begun
	for name in "${!MARKS[@]}"; do
		[ ! -d "$T/saved/$name" ] || [ "${MARKS[$name]}" -ge "$1" ] ||
			[ "${MARKS[$name]}" -le "${MARKS[$found]}" ] || found=$name
	done
	echo "$found"
}

# --- a moment ----------------------------------------------------------------------------------

# All that is not written in a run is zero.
wipe() { dd if=/dev/zero of=$BASE bs=1M count=$(($(blockdev --getsz $BASE) / 2048)) status=none; }

# disk_at FLUSH NUMBER SEED: all up to that flush is on the disk; of what came then, up to the entry
# NUMBER, what may be.
disk_at() {
	"$REPLAY" $LOG $BASE "$AT" $(($1 + 1))
	AT=$(($1 + 1))
	dmsetup create disk --table "0 $(blockdev --getsz $BASE) snapshot $BASE $SINCE N 8"
	"$REPLAY" $LOG /dev/mapper/disk "$AT" "$2" "$3"
	slices /dev/mapper/disk "${SLICES[@]}"
}

# What the machine finds of the state directory: what was on the disk, or no catalog, or what it was
# when the last step began or ended, from a copy.
state_at() {
	mount /dev/mapper/var "$T/var"
	case $2 in
	same) ;;
	none) rm -f "$UMBRA_STATE"/catalog.db* ;;
	older)
		find "$UMBRA_STATE" -mindepth 1 -delete
		cp -a "$T/saved/$(last_mark "$1")/." "$UMBRA_STATE/"
		;;
	esac
	rm -rf "$UMBRA_STATE/mounts"
}

# shown K: does the tree have that copy, and what is it?
shown() {
	local dir=$T/tree/${TOKENS[$1]}
	[ -d "$dir" ] && sums "$dir$T/vol" >"$T/now" 2>/dev/null && [ -s "$T/now" ]
}

# Was the volume held or unmounted, as it looks on the disk? A held ext4 is clean, as an unmounted one;
# before umbrad has noted that, it cannot be proved that nobody wrote it since, and all copies are lost.
clean() {
	case $TYPE in
	ext4) ! dumpe2fs -h /dev/mapper/vol 2>&1 | grep -q needs_recovery ;;
	xfs) xfs_logprint -t /dev/mapper/vol 2>&1 | grep -q '<CLEAN>' ;;
	esac
}

# judge K NUMBER: each copy is what it was or is not shown; one that was complete is.
judge() {
	if shown "$1"; then
		diff "$T/sums.$1" "$T/now" || { echo "copy $1 is wrong"; return 1; }
		! before "$2" "drop-$1-done" || { echo "copy $1 was deleted"; return 1; }
		before "$2" "add-$1-begun" || { echo "copy $1 was not made yet"; return 1; }
		EXACT=$((EXACT + 1))
	elif before "$2" "add-$1-done" && ! before "$2" "drop-$1-begun"; then
		LOST=$((LOST + 1))
		! $CLEAN || before "$2" noted || return 0
		echo "copy $1 is lost"
		return 1
	fi
}

# moment FLUSH NUMBER SEED STATE
moment() {
	local k bad=0 lost=$LOST rebuilt=0
	disk_at "$1" "$2" "$3"
	state_at "$2" "$4"
	CLEAN=false
	! clean || CLEAN=true
	umbra activate --early || bad=1
	mount /dev/mapper/vol "$T/vol" || bad=1
	[ "$4" != none ] || umbra check --rebuild >"$T/rebuilt" || rebuilt=1
	umbra mount "$T/tree" || bad=1
	for k in "${!TOKENS[@]}"; do
		judge "$k" "$2" || bad=1
	done
	# What is lost is a problem to it, and here it may be no failure.
	[ $rebuilt = 0 ] || [ "$LOST" -gt "$lost" ] || { cat "$T/rebuilt"; bad=1; }
	[ $bad = 0 ] || umbra check || true
	umbra umount "$T/tree" || bad=1
	end_umbrad
	umount "$T/vol" || bad=1
	fsck_clean || bad=1
	umount "$T/var" || bad=1
	forget_devices || bad=1
	[ $bad = 0 ] || echo "moment $*, after $(last_mark "$2")"
	return $bad
}

fsck_clean() {
	case $TYPE in
	ext4) e2fsck -fn /dev/mapper/vol >"$T/fsck" 2>&1 ;;
	xfs) xfs_repair -n /dev/mapper/vol >"$T/fsck" 2>&1 ;;
	esac || { cat "$T/fsck"; return 1; }
}

# moments N: so many of them, or UMBRA_SOAK, from the first flush to the last, in order: just after a flush, or
# before the next one.
moments() {
	local n=${UMBRA_SOAK:-$1} i f next states=(same same same older none) bad=0
	RANDOM=${UMBRA_SEED:-7}
	AT=0 EXACT=0 LOST=0
	[ "$n" != all ] || n=$((${#FLUSHES[@]} - 1))
	wipe
	for ((i = 0; i < n && bad < 3; i++)); do
		f=$(((${#FLUSHES[@]} - 1) * i / n + RANDOM % ((${#FLUSHES[@]} - 1) / n)))
		next=${FLUSHES[f + 1]}
		f=${FLUSHES[f]}
		moment "$f" $((f + 1 + RANDOM % (next - f))) "$RANDOM" "${states[RANDOM % 5]}" ||
			bad=$((bad + 1))
	done
	echo "# $n moments: $EXACT copies exact, $LOST lost" >&3
	[ $bad = 0 ] && [ $EXACT -gt 0 ]
}

@test "ext4, the diff area inside" {
	SLICES=(vol=96 var=24)
	record ext4 --size 32M
	moments 10
}

@test "ext4, the diff area on another device" {
	SLICES=(vol=64 side=32 var=24)
	record ext4 --force --at /dev/mapper/side
	moments 8
}

@test "XFS, the diff area inside" {
	SLICES=(vol=96 var=24)
	record xfs --size 32M
	moments 4
}

# SPDX-License-Identifier: LGPL-2.1-or-later
# The volumes of a set are of one instant: a process writes 1 to the one, 1 to the other, 2 to the
# one, and so on, as fast as it can; no set ever has the later write without the earlier.
# vm: --time 850 --mem 768M --disk 400M --disk 400M
load ../system/helper
load volume

TEST_LIMIT=280
SETS=24

teardown() {
	local pid
	for pid in $(pgrep -x umbra-vm-altern); do
		kill -9 "$pid" || true
	done
	drop_volumes
	umbra_teardown
}

# number_in FILE OFFSET: what the writer wrote there last; nothing that is in memory counts.
number_in() {
	dd if="$1" bs=4096 skip=$(($2 / 4096)) count=1 iflag=direct status=none | head -n 1
}

# together A B: A was written first, so it is as far as B or one ahead.
together() {
	[ -n "$1" ] && [ -n "$2" ] && [ "$2" -le "$1" ] && [ "$1" -le $(($2 + 1)) ] && return
	echo "one has $1, the other $2"
	return 1
}

# Behind the filesystem of each volume there is room for a block.
short_volume() {
	volume_again "$1" "$2"
	case $3 in
	ext4) mkfs.ext4 -q -F "/dev/mapper/$1" 380M ;;
	xfs) mkfs.xfs -q -f -d size=380m "/dev/mapper/$1" ;;
	esac
	mkdir "$T/$1"
	mount "/dev/mapper/$1" "$T/$1"
	head -c 4096 /dev/zero >"$T/$1/number"
	umbra storage add --size 64M "$T/$1"
}

start_writer() {
	"$UMBRA_BUILD/tests/vm/umbra-vm-alternate" "$1" "$2" "$3" >"$T/$4" 3>&- 4>&- &
}

@test "two volumes, written in turn through ext4 and XFS, and below them" {
	local i tail=$((390 << 20)) token a b files raw first last
	short_volume one /dev/ubdb ext4
	short_volume two /dev/ubdc xfs
	sync
	start_writer "$T/one/number" "$T/two/number" 0 last.files
	files=$!
	start_writer /dev/mapper/one /dev/mapper/two $tail last.raw
	raw=$!
	: >"$T/tokens"
	for ((i = 0; i < SETS; i++)); do
		create_token "$T/one" "$T/two"
	done
	kill $files $raw
	wait $files $raw
	[ "$(wc -l <"$T/tokens")" = $SETS ]
	mkdir "$T/tree"
	umbra mount "$T/tree"
	while read -r token; do
		a=$(head -n 1 "$T/tree/$token$T/one/number")
		b=$(head -n 1 "$T/tree/$token$T/two/number")
		together "$a" "$b"
		first=${first:-$a} last=$a
		mapfile -t views < <(umbra show --json "$token" | jq -r '.volumes[].shadow')
		a=$(number_in "/dev/mapper/$(view "${views[0]}")" $tail)
		b=$(number_in "/dev/mapper/$(view "${views[1]}")" $tail)
		together "$a" "$b"
	done <"$T/tokens"
	umbra umount "$T/tree"
	# It was written all the time.
	echo "# $first to $last of $(cat "$T/last.files"), $(cat "$T/last.raw")" >&3
	[ "$last" -gt $((first + SETS)) ]
}

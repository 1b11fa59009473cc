# SPDX-License-Identifier: LGPL-2.1-or-later
# umbrad looks at diff areas in their volumes, which can be unmounted all the same.
# vm: --time 300 --mem 768M --disk 320M
load ../system/helper
load volume

TEST_LIMIT=120

opens() { "$BATS_TEST_DIRNAME/opens.py" "$1" "$T/vol/.umbra"; }
is_left_alone() { [ "$(opens 1)" = 0 ]; }

# never_busy FSTYPE
never_busy() {
	local i
	volume vol /dev/ubdb "$1"
	create "$T/vol"
	# It looks, and opens nothing for that.
	wait_for 10 is_left_alone
	[ "$(opens 4)" = 0 ]
	for ((i = 0; i < 100; i++)); do
		umount "$T/vol"
		mount /dev/mapper/vol "$T/vol"
		[ $((i % 20)) != 0 ] || echo "$i" >"$T/vol/file"
	done
	# What is mounted by now is looked at.
	wait_for 10 is_left_alone
	[ "$(opens 4)" = 0 ]
	umbra check
	chattr -R -i "$T/vol/.umbra"
	mv "$T/vol/.umbra/diff-area" "$T/vol/.umbra/another"
	eventually is_lost
}

is_lost() { umbra list --json | jq -e '.sets[0].volumes[0].lost'; }

@test "an ext4 is never busy because umbrad looks at it" { never_busy ext4; }

@test "an XFS is never busy because umbrad looks at it" { never_busy xfs; }

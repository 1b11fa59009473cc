# SPDX-License-Identifier: LGPL-2.1-or-later
# What block copies say when something cannot be done: what, why, and what to do about it.
# vm: --time 850 --mem 768M --disk 320M --disk 160M
load ../system/helper
load volume

TEST_LIMIT=100
DISK=/dev/ubdb
SIDE=/dev/ubdc

teardown() {
	fsfreeze -u "$T/vol" 2>/dev/null || true
	fsfreeze -u "$T/more" 2>/dev/null || true
	drop_volumes
	umbra_teardown
}

# says STATUS ERE COMMAND…: it ends so, and says that, once.
says() {
	local status_=$1 what=$2
	shift 2
	run "$@"
	echo "$output"
	[ "$status" = "$status_" ] && [ "$(grep -cE -- "$what" <<<"$output")" = 1 ]
}

@test "creations on a damaged diff area leave nothing behind, and say why once" {
	local i
	volume vol $DISK ext4
	umbra storage add --at $SIDE "$T/vol"
	create "$T/vol"
	end_umbrad
	dd if=/dev/zero of=$SIDE bs=1M count=4 conv=fsync status=none
	for i in 1 2 3; do
		says 1 "superblock.*damaged" create "$T/vol"
	done
	run -1 umbra check
	[[ $output != *unfinished* && $output == *"1 set, "* ]]
	[[ $output == *"umbra storage remove --force"* ]]
	umbra storage remove --force "$T/vol"
	[ "$(umbra list --json | jq '.sets | length')" = 0 ]
	create "$T/vol"
	umbra check
}

@test "a diff area whose file is gone, or whose volume is mounted elsewhere, is given up in silence" {
	volume vol $DISK ext4
	umbra storage add --size 40M "$T/vol"
	chattr -R -i "$T/vol/.umbra"
	rm -r "$T/vol/.umbra"
	run -0 umbra storage remove --force "$T/vol"
	[ -z "$output" ]
	umbra storage add --size 40M "$T/vol"
	umount "$T/vol"
	mkdir "$T/elsewhere"
	mount /dev/mapper/vol "$T/elsewhere"
	run -0 umbra storage remove --force "$T/elsewhere"
	[ -z "$output" ]
	[ ! -e "$T/elsewhere/.umbra" ]
	umbra check
}

@test "a diff area whose disk is not there is not exchanged for another" {
	local area verb
	volume vol $DISK ext4
	dmsetup create beside --table "0 $((48 << 11)) linear $SIDE 0"
	umbra storage add --at /dev/mapper/beside "$T/vol"
	area=$(basename "$UMBRA_STATE"/dm/*.json .json)
	dmsetup remove --retry beside
	for verb in "create $T/vol" "storage add --size 40M $T/vol"; do
		# shellcheck disable=SC2086 # words
		says 1 "/dev/mapper/beside', which is not there.*umbra storage remove --force $area" umbra $verb
	done
	[ -e "$UMBRA_STATE/dm/$area.json" ]
	[ ! -e "$T/vol/.umbra" ]
	dmsetup create beside --table "0 $((48 << 11)) linear $SIDE 0"
	umbra create "$T/vol"
	umbra delete --yes --all "$T/vol"
	dmsetup remove --retry beside
	run -0 umbra storage remove --force "$area"
	umbra storage add --size 40M "$T/vol"
}

@test "a file that has taken the place of a diff area is nobody's to remove" {
	volume vol $DISK ext4
	volume more $SIDE ext4
	umbra storage add --at "$T/more/area" --size 40M "$T/vol"
	rm "$T/more/area"
	head -c 41M /dev/urandom >"$T/more/area"
	sha1sum "$T/more/area" >"$T/sum"
	says 1 "superblock.*damaged" umbra storage remove "$T/vol"
	says 0 "'$T/more/area' is left alone" umbra storage remove --force "$T/vol"
	sha1sum -c "$T/sum"
	umbra check
}

@test "a diff area that cannot be made leaves nothing in the volume" {
	volume vol $DISK ext4
	fallocate -l $(($(df --output=avail -B 1M "$T/vol" | tail -1) - 20))M "$T/vol/filled"
	says 1 "needs 32 MiB" create "$T/vol"
	says 1 "has room for" umbra storage add --size 40M "$T/vol"
	[ ! -e "$T/vol/.umbra" ]
	rm "$T/vol/filled"
	UMBRA_TEST_FAULT=dm.area-made:fail run -1 umbra storage add --size 40M "$T/vol"
	UMBRA_TEST_FAULT=dm.area-named:fail run -1 umbra storage add --size 40M "$T/vol"
	[ ! -e "$T/vol/.umbra" ]
	umbra storage add --size 40M "$T/vol"
	umbra storage remove "$T/vol"
	[ ! -e "$T/vol/.umbra" ]
}

@test "a volume with a diff area that is not mounted: it is said that it has to be" {
	local verb
	volume vol $DISK ext4
	umbra storage add --size 40M "$T/vol"
	umount "$T/vol"
	for verb in remove "remove --force" "resize --size 50M"; do
		# shellcheck disable=SC2086 # words
		says 1 "'$T/vol' has a diff area.*mount it first" umbra storage $verb "$T/vol"
	done
	dmsetup remove --retry vol
	says 1 "volume 'vol' .*is not there.*umbra storage remove --force [0-9a-f-]{36}" \
		umbra storage remove "$T/vol"
}

@test "a mount point whose volume is not mounted is not copied, also when there are no copies of that" {
	volume vol $DISK ext4
	umbra storage add --size 40M "$T/vol"
	umount "$T/vol"
	says 1 "'$T/vol' was a volume \('dm'\) when it got its diff area.*mount it, or.*--provider copy" \
		create "$T/vol"
	[ "$(umbra list --json | jq '.sets | length')" = 0 ]
	run -0 create --provider copy "$T/vol"
	umbra delete latest
	mkdir "$T/elsewhere"
	mount /dev/mapper/vol "$T/elsewhere"
	run -0 create "$T/vol"
	[[ $output == *"(copy)"* ]]
}

@test "a volume was removed below its copies: check names it, and how its devices go" {
	local area
	volume vol $DISK ext4
	create "$T/vol"
	umount "$T/vol"
	dmsetup remove --retry vol # as lvremove does
	umbra delete --yes --all "$T/vol" || true
	umbra check >"$T/line" || true
	umbra delete --yes --forget "$(grep -om 1 '@GMT[0-9.-]*' "$T/line" | head -n 1)"
	dmsetup ls | grep -- -real
	area=$(umbra storage --json | jq -r '.areas[0].place')
	says 1 "problem: the diff area of '$T/vol' is missing.*umbra storage remove --force $area" umbra check
	umbra storage remove --force "$area"
	[ "$(dmsetup ls)" = "No devices found" ]
	umbra check
}

# state_of ID: of that diff area.
state_of() { umbra storage --json | jq -r --arg id "$1" '.areas[] | select(.area == $id).state'; }

@test "a diff area without copies whose volume became LUKS: named, told from its successor's, and given up" {
	local dead good
	command -v cryptsetup >/dev/null || skip "no cryptsetup"
	volume vol $DISK ext4
	create "$T/vol"
	umbra delete latest
	dead=$(basename "$UMBRA_STATE"/dm/*.json .json)
	umount "$T/vol"
	[ "$(state_of "$dead")" = idle ]
	[[ $(umbra storage) != *"$dead"* ]]
	echo -n secret >"$T/key"
	cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file "$T/key" /dev/mapper/vol
	says 1 "diff area of '$T/vol' is lost: .*volume 'vol' .*umbra storage remove --force $dead" umbra check
	says 1 "volume 'vol' .*umbra storage remove --force $dead" umbra storage remove "$T/vol"
	volume_again other $SIDE
	mkfs.ext4 -q -F /dev/mapper/other
	mount /dev/mapper/other "$T/vol"
	create "$T/vol"
	good=$(umbra storage --json | jq -r --arg dead "$dead" '.areas[].area | select(. != $dead)')
	umbra storage | grep -E "^$T/vol +$T/vol/.umbra/diff-area +$good .* active"
	umbra storage | grep -E "^$T/vol +[^ ]+ +$dead .* lost +diff area unusable"
	umbra delete latest
	says 0 "warning: removed is .* mounted at '$T/vol' now; that of another one, $dead, is left" \
		umbra storage remove "$T/vol"
	[ ! -e "$T/vol/.umbra" ]
	[ ! -e "$UMBRA_STATE/dm/$good.json" ]
	umbra storage add --size 32M "$T/vol"
	says 1 "may be there again.*--force" umbra storage remove "$dead"
	umbra storage remove --force "$dead"
	[ ! -e "$UMBRA_STATE/dm/$dead.json" ]
	umbra check
	run -0 umbra storage
	[[ $output != *ID* ]]
	cryptsetup isLuks /dev/mapper/vol
}

@test "a LUKS volume with its key in the keyring: refused, and copied by file only with a warning" {
	local table
	command -v cryptsetup >/dev/null || skip "no cryptsetup"
	echo -n secret >"$T/key"
	cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
		--key-file "$T/key" $DISK
	cryptsetup open --key-file "$T/key" $DISK vol
	table=$(dmsetup table vol)
	[[ $table == *" :64:"* ]] || skip "cryptsetup does not use the keyring here"
	filesystem vol ext4
	says 1 "keyring.*cryptsetup refresh --disable-keyring vol" create --provider dm "$T/vol"
	says 1 "keyring.*cryptsetup refresh --disable-keyring vol" umbra storage add "$T/vol"
	says 0 "warning.*not by 'dm'.*cryptsetup refresh --disable-keyring vol" create "$T/vol"
	umbra delete --yes --all "$T/vol"
	cryptsetup refresh --disable-keyring --key-file "$T/key" vol
	run -0 create "$T/vol"
	[[ $output == *"filesystem"*"(dm)" ]]
}

@test "storage list PATH has the area of that volume only" {
	volume vol $DISK ext4
	volume other $SIDE ext4
	umbra storage add --size 40M "$T/vol"
	umbra storage add --size 32M "$T/other"
	mkdir "$T/vol/below"
	[ "$(umbra storage list --json "$T/vol/below" | jq -c '[.areas[].volume]')" = "[\"$T/vol\"]" ]
	[ "$(umbra storage list "$T/other" | grep -c diff-area)" = 1 ]
}

@test "bad places and sizes of a diff area" {
	volume vol $DISK ext4
	mkdir "$T/dir"
	: >"$T/file"
	export UMBRA_STATE=/var/lib/umbra # where places that are mounted late are refused
	says 1 "something at '$T/dir' already" umbra storage add --force --at "$T/dir" "$T/vol"
	says 1 "something at '$T/file' already" umbra storage add --at "$T/file" "$T/vol"
	says 1 "something at '/dev/null' already" umbra storage add --at /dev/null "$T/vol"
	says 1 "'/dev/vg/nope': No such file or directory" umbra storage add --at /dev/vg/nope "$T/vol"
	says 1 "'/dev/mapper/nope' does not exist" umbra storage add --at /dev/mapper/nope "$T/vol"
	mkfs.ext4 -q -F $SIDE
	mount $SIDE "$T/dir"
	says 1 "'$SIDE' is in use.*lsblk" umbra storage add --force --at $SIDE "$T/vol"
	umount "$T/dir"
	says 1 "'$SIDE' has 160 MiB, less than the 200 MiB" \
		umbra storage add --force --size 200M --at $SIDE "$T/vol"
	[ ! -e /var/lib/umbra/dm ] || [ -z "$(ls /var/lib/umbra/dm)" ]
	umbra storage add --force --size 100M --at $SIDE --json "$T/vol" | jq -e '.areas[0].size == 104857600'
	umbra storage remove "$T/vol"
	umbra storage add --size 48M --json "$T/vol" | jq -e '.areas[0].size == 50331648'
	create "$T/vol"
	says 1 "umbra delete --all $T/vol'" umbra storage remove "$T/vol"
	says 0 "^deleted @GMT-" umbra storage remove --force "$T/vol"
	umbra storage add --size 48M "$T/vol"
	run -0 umbra storage remove --json "$T/vol"
	jq -e '. == {areas: [], deleted: []}' <<<"$output"
}

@test "a volume that is frozen is not held, and it is said how it thaws" {
	volume vol $DISK ext4
	umbra storage add --size 40M "$T/vol"
	fsfreeze -f "$T/vol"
	says 1 "fsfreeze --unfreeze $T/vol" create "$T/vol"
	fsfreeze -u "$T/vol"
	create "$T/vol"
}

# refused NAME ARG…: umbra says at once that $T/NAME is frozen, and nobody has the lock then.
refused() {
	local begun=$SECONDS
	says 1 "the filesystem of .* is frozen.*'fsfreeze -u $T/$1'" umbra "${@:2}"
	[ $((SECONDS - begun)) -lt 10 ]
	flock -n "$UMBRA_STATE/lock" true
}

@test "the diff area of a volume that is frozen: nobody waits for the thaw with the lock in hand" {
	volume vol $DISK ext4
	volume more $SIDE ext4
	umbra storage add --size 40M "$T/vol"
	fsfreeze -f "$T/vol"
	refused vol storage resize --size 60M "$T/vol"
	refused vol storage remove "$T/vol"
	refused vol storage remove --force "$T/vol"
	refused vol storage add --size 40M --at "$T/vol/area" "$T/more"
	fsfreeze -f "$T/more"
	refused more storage add --size 40M "$T/more"
	refused more create "$T/more"
	fsfreeze -u "$T/vol"
	fsfreeze -u "$T/more"
	[ "$(umbra storage --json | jq '.areas | length')" = 1 ]
	umbra storage resize --size 60M "$T/vol"
	umbra storage remove "$T/vol"
}

@test "a volume that is not mounted, or gone, is not copied as an empty directory; and nothing is made" {
	volume vol $DISK ext4
	volume more $SIDE ext4
	umbra storage add --size 40M "$T/vol"
	umount "$T/vol"
	says 1 "'$T/vol' was a volume \\('dm'\\).*mount it, or copy the directory" create "$T/vol"
	dmsetup remove vol
	says 1 "'$T/vol' cannot be copied, and no set was made: .*'vol' of diff area .* is not there" \
		create "$T/more" "$T/vol"
	[ "$(umbra list --json | jq '.sets | length')" = 0 ]
	create --provider copy "$T/vol"
}

@test "a creation that makes a diff area says so, and how large it is" {
	local size
	volume vol $DISK ext4
	run -0 create "$T/vol"
	size=$(($(stat -c %s "$T/vol/.umbra/diff-area") >> 20))
	[ "$(grep -c "diff area of '$T/vol' was made: $size MiB, '$T/vol/.umbra/diff-area'" <<<"$output")" = 1 ]
	run -0 create "$T/vol"
	[[ $output != *"diff area"* ]]
}

@test "a creation that fails says which diff areas it made" {
	volume vol $DISK ext4
	UMBRA_TEST_FAULT=dm.unlocked:fail says 1 "'$T/vol' has a diff area now.*umbra storage remove $T/vol'" create "$T/vol"
	UMBRA_TEST_FAULT=dm.unlocked:fail run -1 create "$T/vol"
	[[ $output != *"has a diff area now"* ]]
	umbra storage remove "$T/vol"
}

@test "a directory that is mounted by itself: the diff area is at the top of the volume" {
	volume vol $DISK ext4
	mkdir "$T/vol/sub" "$T/bind"
	echo one >"$T/vol/sub/file"
	mount --bind "$T/vol/sub" "$T/bind"
	create "$T/bind"
	[ ! -e "$T/bind/.umbra" ]
	[ -e "$T/vol/.umbra/diff-area" ]
	umbra storage --json | jq -e --arg vol "$T/vol" '.areas[0].volume == $vol'
	mkdir "$T/tree"
	umbra mount "$T/tree"
	[ "$(cat "$T/tree/latest$T/bind/file")" = one ]
	umbra umount "$T/tree"
	umbra delete --yes --all "$T/bind"
	umbra storage remove "$T/bind"
	[ ! -e "$T/vol/.umbra" ]
}

@test "an ordinary user's copy of a volume leaves out what is umbra's, without a word" {
	local copy
	volume vol $DISK ext4
	umbra storage add --size 40M "$T/vol"
	rmdir "$T/vol/lost+found"
	mkdir "$T/vol/.umbra-not" "$T/vol/sub" "$T/vol/sub/.umbra"
	chmod 755 "$T/vol"
	run -0 as_user "$UMBRA" create "$T/vol"
	[[ $output != *warning* ]]
	run -0 as_user "$UMBRA" diff "$T/vol"
	[[ $output != *added* && $output != *removed* ]]
	# Root's, too: it would be a file as large as the diff area.
	create --provider copy "$T/vol"
	umbra show --json latest | jq -e '.volumes[0].notes == []'
	copy=$UMBRA_STATE/copies/$(umbra show --json latest | jq -r '.volumes[0].shadow')/tree
	[ ! -e "$copy/.umbra" ]
	[ -d "$copy/sub/.umbra" ]
}

@test "diff areas and volumes that are not there" {
	local id=11111111-1111-4111-8111-111111111111
	volume vol $DISK ext4
	says 1 "'$T/nope' does not exist, nor was" umbra storage list "$T/nope"
	says 1 "'$T/vol' has no diff area: 'umbra storage add $T/vol'" umbra storage resize --size 40M "$T/vol"
	says 1 "'$T/vol' has no diff area: 'umbra storage add $T/vol'" umbra storage remove --force "$T/vol"
	says 1 "has no diff area $id" umbra storage remove $id
	says 1 "has no diff area $id" umbra storage remove --force $id
	says 2 "at least 32 MiB, and not 2[0-9]{3} KiB" umbra storage add --size 1% "$T/vol"
	says 2 "at least 32 MiB, and not 10240 KiB" umbra storage add --at $SIDE --size 10M "$T/vol"
}

# counted PATH: how many copies `umbra volumes` has for what is mounted there.
counted() { umbra volumes --json | jq --arg path "$1" '.volumes[] | select(.path == $path).copies'; }

@test "a volume at two places, or at another one: it is the same volume, and what is advised works" {
	local all
	volume vol $DISK ext4
	umbra storage add --size 40M "$T/vol"
	create "$T/vol"
	mkdir "$T/twice"
	mount /dev/mapper/vol "$T/twice"
	[ "$(counted "$T/vol")" = 1 ]
	[ "$(counted "$T/twice")" = 1 ]
	umount "$T/vol"
	[ "$(counted "$T/twice")" = 1 ]
	[ "$(umbra storage --json | jq -r '.areas[0].volume')" = "$T/twice" ]
	umbra list "$T/twice" | grep -F "$T/vol"
	mkdir "$T/twice/sub"
	says 0 "covers '$T/twice/sub', but some.*'umbra list $T/vol'" umbra list "$T/twice/sub"
	says 1 "covers '$T/twice/sub', but some.*mounted at '$T/vol'" umbra delete --all "$T/twice/sub"
	run -1 umbra storage remove "$T/twice"
	all=$(grep -o "umbra delete --all [^']*" <<<"$output")
	umount "$T/twice"
	[ "$(umbra volumes --json | jq '[.volumes[].copies] | add')" = 0 ]
	mount /dev/mapper/vol "$T/twice"
	umbra delete --yes --all "${all##* }"
	umbra storage remove "$T/twice"
}

# listed PATH: how many sets `umbra list` has for it.
listed() { umbra list --json "$1" | jq '.sets | length'; }

@test "copies that were made by a directory of a volume are of the whole: list and delete --all know them" {
	volume vol $DISK ext4
	volume other $SIDE ext4
	umbra storage add --size 40M "$T/vol"
	mkdir "$T/vol/sub" "$T/vol/aside" "$T/part"
	mount --bind "$T/vol/sub" "$T/part"
	create "$T/vol"
	create "$T/part"
	create --provider copy "$T/vol/aside"
	create "$T/other"
	[ "$(listed "$T/vol")" = 2 ]
	[ "$(listed "$T/part")" = 1 ]
	[ "$(listed "$T/other")" = 1 ]
	umbra delete --oldest "$T/vol"
	[ "$(listed "$T/vol")" = 1 ]
	run -0 umbra delete --yes --all "$T/vol"
	[[ $output != *"$T/part"* ]] # which is no other volume
	[ "$(umbra list --json | jq -r '.sets[].volumes[].path' | sort)" = "$(printf '%s\n' "$T/other" "$T/vol/aside" | sort)" ]
	[ "$(layer vol)" = out ]
	umount "$T/part"
}

@test "a volume that is mounted read-only: its diff area is there, and cannot be changed now" {
	local verb
	volume vol $DISK ext4
	umbra storage add --size 40M "$T/vol"
	create "$T/vol"
	mount -o remount,ro "$T/vol"
	for verb in remove "remove --force" "resize --size 50M"; do
		# shellcheck disable=SC2086 # words
		says 1 "'$T/vol' is mounted read-only.*mount -o remount,rw $T/vol'" umbra storage $verb "$T/vol"
		[[ $output != *"cannot have"* ]]
	done
	says 1 "mounted read-only" create --provider dm "$T/vol"
	umbra storage list "$T/vol" | grep -w active
	umbra delete --yes --all "$T/vol"
	mount -o remount,rw "$T/vol"
	umbra storage remove "$T/vol"
}

@test "there is no room for the smallest diff area: no smaller one is advised" {
	volume vol $DISK ext4
	fallocate -l $(($(df --output=avail -B 1 "$T/vol" | tail -n 1) - (10 << 20))) "$T/vol/full"
	says 1 "needs 32 MiB.*has room for .*--at" umbra storage add --size 32M "$T/vol"
	[[ $output != *smaller* ]]
	[ ! -e "$T/vol/.umbra" ] || [ -z "$(ls "$T/vol/.umbra")" ]
}

@test "a part of the volume is one of what df shows" {
	volume vol $DISK ext4
	umbra storage add --size 15% "$T/vol"
	[ "$(stat -c %s "$T/vol/.umbra/diff-area")" = \
		$(($(df --output=size -B 1 "$T/vol" | tail -n 1) / 100 * 15 / 4096 * 4096)) ]
}

# SPDX-License-Identifier: LGPL-2.1-or-later
# A point in time, proved: while a writer fills files with self-describing blocks, sets are taken;
# no copy holds a block newer than its instant or misses one synced before it (tests/pit/pit.h).
load helper

SETS=10

begin_writing() { # DIR
	umbra-pit write "$1" "$T/status" 100 3>&- 4>&- &
	WRITER=$!
	local i
	for i in $(seq 100); do
		case $(umbra-pit mark "$T/status" 2>/dev/null) in
		"" | "0 "*) sleep 0.05 ;;
		*) return 0 ;;
		esac
	done
	echo "the writer does not write" >&2
	return 1
}

end_writing() {
	kill "$WRITER"
	wait "$WRITER" # 0: it could write till now
}

# Prints TOKEN SYNCED ISSUED: what was synced before the set, and issued when it was made.
create_marked() { # DIR
	local synced issued token
	synced=$(umbra-pit mark "$T/status")
	token=$(umbra create --json "$1" | jq -r .timestamp)
	issued=$(umbra-pit mark "$T/status")
	echo "$token ${synced% *} ${issued#* }"
}

check_all() { # MOUNT DIR, create_marked's lines on stdin
	local token synced issued newest last=0 n=0
	while read -r token synced issued; do
		echo "$token synced $synced issued $issued" >&2
		run -0 umbra-pit check "$1/$token$2" "$T/status" "$synced" "$issued"
		newest=${output##* }
		[ "$newest" -gt "$last" ] # else the writer stood still and nothing is proved
		last=$newest
		n=$((n + 1))
	done
	[ "$n" = "$SETS" ]
}

@test "no copy of a btrfs volume is of more than one instant" {
	require_loop_btrfs
	require_fuse
	make_btrfs "$T/volume" 512M
	begin_writing "$T/volume"
	for _ in $(seq "$SETS"); do
		create_marked "$T/volume" >>"$T/marks"
	done
	end_writing
	mkdir "$T/shadows"
	umbra mount "$T/shadows"
	check_all "$T/shadows" "$T/volume" <"$T/marks"
	umbra umount "$T/shadows"
	umbra delete --yes --all "$T/volume"
	[ ! -e "$T/volume/.umbra" ]
}

@test "the same by the copies' own paths, of a subvolume mounted alone" {
	require_loop_btrfs
	make_btrfs "$T/top" 512M
	btrfs subvolume create "$T/top/@data"
	mkdir "$T/data"
	mount_known -o subvol=@data "$(findmnt -no SOURCE "$T/top")" "$T/data"
	begin_writing "$T/data"
	for _ in $(seq "$SETS"); do
		create_marked "$T/data" >>"$T/marks"
	done
	end_writing
	[ ! -e "$T/data/.umbra" ]
	mkdir "$T/by-time"
	umbra list --json >"$T/sets"
	while read -r token _; do
		mkdir -p "$T/by-time/$token$T"
		ln -s "$T/top/.umbra/$(jq -r --arg t "$token" '.sets[] | select(.timestamp == $t) |
			.volumes[0].shadow' "$T/sets")/root" "$T/by-time/$token$T/data"
	done <"$T/marks"
	check_all "$T/by-time" "$T/data" <"$T/marks"
}

@test "files copied one after another are found out" {
	mkdir "$T/volume" "$T/wrong"
	begin_writing "$T/volume"
	synced=$(umbra-pit mark "$T/status")
	for i in $(seq 0 7); do
		cp -a "$T/volume/pit-$i" "$T/wrong"
		sleep 0.1
	done
	issued=$(umbra-pit mark "$T/status")
	end_writing
	run -1 umbra-pit check "$T/wrong" "$T/status" "${synced% *}" "${issued#* }"
	[[ $output == *"misses what was synced"* ]]
}

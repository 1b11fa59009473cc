#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# units.sh UNIT PROGRAM…: systemd understands the unit, when the programs stand where it says.
set -eu
unit=$1
shift
command -v systemd-analyze >/dev/null || {
	echo "no systemd-analyze here"
	exit 77
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp "$unit" "$dir/"
copy=$dir/$(basename "$unit")
for program; do
	cp "$program" "$dir/"
	sed -i "s|=[^ ]*/$(basename "$program")\\>|=$dir/$(basename "$program")|" "$copy"
done
# Of manual pages it says when they are not installed yet.
systemd-analyze verify --man=no "$copy" >"$dir/said" 2>&1 || {
	cat "$dir/said"
	exit 1
}
if grep -F "$(basename "$unit")" "$dir/said"; then
	exit 1
fi

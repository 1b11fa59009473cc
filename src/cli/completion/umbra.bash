# SPDX-License-Identifier: LGPL-2.1-or-later
# bash completion for umbra: all knowledge is in `umbra __complete`.

_umbra() {
	local line=${COMP_LINE:0:COMP_POINT} candidate fixed
	local -a words
	read -ra words <<<"$line"
	[[ $line != *[[:space:]] ]] || words+=("")
	# Readline replaces only what follows the last of its word breaks.
	fixed=${words[-1]}
	fixed=${fixed%"${fixed##*[=:]}"}
	COMPREPLY=()
	while IFS=$'\t' read -r candidate _; do
		case $candidate in
		:path) compopt -o default ;;
		:dir) compopt -o dirnames ;;
		*) COMPREPLY+=("${candidate#"$fixed"}") ;;
		esac
	done < <("$1" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _umbra umbra

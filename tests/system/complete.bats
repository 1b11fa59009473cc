# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion: what `umbra __complete` says, and what bash, zsh and fish make of it.
load helper

COMPLETION=$UMBRA_SOURCE/src/cli/completion

# Candidates without descriptions, in one line.
candidates() { umbra __complete "$@" | cut -f1 | tr '\n' ' '; }

with_sets() {
	mkdir "$T/data"
	UMBRA_TEST_NOW=1000000000 umbra create "$T/data" --comment 'first one' >/dev/null
	UMBRA_TEST_NOW=1000000060 umbra create "$T/data" >/dev/null
}

# type_in SHELL… : standard input is typed into an interactive shell on a terminal, line by line
# after a moment; prints what the terminal shows.
type_in() {
	command -v script >/dev/null || unable "no script(1)"
	local key
	{
		sleep 0.7
		while IFS= read -r key; do
			printf '%b' "$key"
			sleep 0.7
		done
	} | timeout 30 script -qec "$*" /dev/null 3>&- 4>&-
}

@test "complete: commands" {
	[ "$(candidates ver)" = "versions " ]
	[[ $(candidates '') == *'list '*'restore '* ]]
	[[ $(candidates) == *'list '* ]]
	[[ $(candidates '') != *__complete* ]]
	[ -z "$(candidates nonsense '')" ]
}

@test "complete: options come from the command's own table" {
	[ "$(candidates diff --fr)" = "--from " ]
	[[ $(candidates create -) == *'--provider '*'--json '* ]]
	[ "$(candidates --st)" = "--state " ]
	[ -z "$(candidates diff -- --fr)" ] || [ "$(candidates diff -- --fr)" = ":path " ]
}

@test "complete: paths and directories are left to the shell" {
	[ "$(candidates versions /et)" = ":path " ]
	[ "$(candidates versions /etc /e)" = "" ]
	[ "$(candidates list --state /v)" = ":dir " ]
	[ "$(candidates restore a b c)" = ":path " ]
	[ "$(candidates diff --from latest /x)" = ":path " ]
}

@test "complete: what storage can do, then the volume" {
	[ "$(candidates storage '')" = "list add resize remove " ]
	[ "$(candidates storage re)" = "resize remove " ]
	[ "$(candidates storage resize /v)" = ":path " ]
}

@test "complete: sets, newest first, with their time and comment" {
	with_sets
	[ "$(candidates show '')" = \
		"latest oldest @GMT-2001.09.09-01.47.40 @GMT-2001.09.09-01.46.40 " ]
	[ "$(candidates diff --from=ol)" = "--from=oldest " ]
	[ "$(candidates diff -f @GMT-2001.09.09-01.46)" = "@GMT-2001.09.09-01.46.40 " ]
	[ "$(candidates diff "$T/data/x" --from @)" = \
		"@GMT-2001.09.09-01.47.40 @GMT-2001.09.09-01.46.40 " ]
	[ "$(candidates diff /elsewhere --from @)" = "" ]
	umbra __complete show @ | grep -q 'first one'
}

@test "complete: providers; the state of --state" {
	[[ $(candidates create --provider c) == *'copy '* ]]
	with_sets
	UMBRA_STATE=$T/none run umbra __complete show ''
	[ -z "$output" ]
	UMBRA_STATE=$T/none run umbra __complete --state "$T/state" show lat
	[[ $output == latest* ]]
	UMBRA_STATE=$T/none run umbra __complete show "--state=$T/state" lat
	[[ $output == latest* ]]
}

@test "complete: never fails, never complains" {
	mkdir -m 700 "$UMBRA_STATE"
	head -c 5000 /dev/urandom >"$UMBRA_STATE/catalog.db"
	run umbra __complete show ''
	assert_ok
	[ -z "$output" ]
	run umbra __complete '' '' --
	assert_ok
}

@test "complete: bash" {
	with_sets
	local rc=$T/rc
	printf 'PS1="> "\nbind "set bell-style none"\nsource %q\n' "$COMPLETION/umbra.bash" >"$rc"
	touch "$T/unique-file"
	cd "$T"
	run type_in bash --noprofile --rcfile "$rc" -i <<'END'
echo 1; umbra vers\t./uniq\t\n
umbra show @GMT-2001.09.09-01.46\t --j\t\n
umbra diff --from=lat\t uniq\t\n
umbra diff --from=@GMT-2001.09.09-01.46\t data\t\n
exit\n
END
	echo "$output"
	[[ $output == *'umbra versions ./unique-file'* ]]
	[[ $output == *'umbra show @GMT-2001.09.09-01.46.40 '*'--json'* ]]
	[[ $output == *'umbra diff --from=latest '*'unique-file'* ]]
	[[ $output == *'umbra diff --from=@GMT-2001.09.09-01.46.40 '*'data/'* ]]
	[[ $output == *'"comment"'*'first one'* ]]
}

@test "complete: zsh" {
	command -v zsh >/dev/null || unable "no zsh"
	with_sets
	mkdir "$T/zsh"
	printf 'PS1="> "\nfpath=(%q $fpath)\nautoload -U compinit\ncompinit -u -d %q\n' "$COMPLETION" \
		"$T/zsh/dump" >"$T/zsh/.zshrc"
	touch "$T/unique-file"
	cd "$T"
	run env ZDOTDIR="$T/zsh" TERM=dumb bash -c "$(declare -f type_in unable); type_in zsh -i" <<'END'
umbra vers\t./uniq\t\n
umbra show @GMT-2001.09.09-01.46\t --j\t\n
umbra diff --from lat\t uniq\t\n
exit\n
END
	echo "$output"
	[[ $output == *'umbra versions '*'./unique-file'* ]]
	[[ $output == *'umbra show @GMT-2001.09.09-01.46.40 '*'--json'* ]]
	[[ $output == *'umbra diff --from latest '*'unique-file'* ]]
	[[ $output == *'"comment"'*'first one'* ]]
}

@test "complete: fish" {
	command -v fish >/dev/null || unable "no fish"
	with_sets
	touch "$T/unique-file"
	cd "$T"
	in_fish() { fish --no-config -c "source '$COMPLETION/umbra.fish'; complete -C '$1'" 3>&- 4>&-; }
	run in_fish 'umbra vers'
	[ "$output" = $'versions\tList the different versions of a file or directory, newest first' ]
	run in_fish 'umbra show @GMT-2001.09.09-01.46'
	[[ $output == @GMT-2001.09.09-01.46.40$'\t'*'first one' ]]
	run in_fish 'umbra versions uniq'
	[[ $output == unique-file* ]]
	run in_fish 'umbra diff --fr'
	[[ $output == --from$'\t'* ]]
	run in_fish 'umbra show '
	[[ ${lines[0]} == latest* ]]
}

# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Steps of a check, run side by side: each has a log, a count, and one line of result, with how long it
# took and how long processors were busy with it.
#
#	steps_init LOGDIR
#	step NAME COMMAND…	starts it when a processor is free
#	steps_aside COMMAND…	starts it at once; it runs steps, with steps_run, that mostly wait. Its
#				place is one more, and another step's when it has ended
#	steps_run NAME COMMAND…	runs it, and returns when it has ended
#	later LIST NAME COMMAND…	adds a step to the array of that name
#	steps_alternately A B	starts the steps of two such arrays by turns, so that both end together
#	steps_wait		until all have ended
#	steps_end		prints what was skipped and the totals; status 1 when one failed

steps_init() {
	STEPS_LOGS=$1
	rm -rf "$STEPS_LOGS"
	mkdir -p "$STEPS_LOGS"
	STEPS_AT_ONCE=$(nproc)
	declare -gA STEPS_RUNNING=()
	STEPS_BEGUN=$SECONDS
	trap 'trap - INT TERM; kill $(jobs -p) 2>/dev/null; wait; exit 130' INT TERM
}

# In a step: count PASSED FAILED SKIPPED, and why something was skipped. A step that never
# counts is itself one test.
count() { echo "$@" >>"$STEP.count"; }
skipped() { printf '%s\n' "$*" >>"$STEP.skips"; }

# what_failed LOG: the tests of TAP that failed, with what they say; of anything else all of it.
what_failed() {
	if grep -qE '^not ok\b' "$1"; then
		awk '/^(not ok|only [0-9]+ of)/ {bad = 1} /^ok/ {bad = 0} bad' "$1"
	else
		cat "$1"
	fi
}

# Reads TAP from a file, of one program or of several, counts it. What was planned and never ran has failed.
count_tap() {
	local ok bad skip plan
	ok=$(grep -cE '^ok\b' "$1")
	bad=$(grep -cE '^not ok\b' "$1")
	skip=$(grep -cE '^ok\b.*# [Ss][Kk][Ii][Pp]' "$1")
	plan=$(awk -F '[. ]' '/^1\.\.[0-9]/ {n += $3; any = 1} END {if (any) print n}' "$1")
	if [ "$((ok + bad))" -lt "${plan:-1}" ]; then
		echo "only $((ok + bad)) of ${plan:-?} tests ran"
		bad=$((${plan:-ok + bad + 1} - ok))
	fi
	count $((ok - skip)) "$bad" "$skip"
	sed -nE 's/^ok( [0-9]+)?[ -]*(.*) # [Ss][Kk][Ii][Pp] ?(.*)/\2: \3/p' "$1" >>"$STEP.skips"
	[ "$bad" = 0 ]
}

steps_run() {
	local name=$1 begun=$SECONDS status=0 passed failed skip busy
	STEP=$STEPS_LOGS/${name//[^A-Za-z0-9._-]/_}
	shift
	("$@"; status=$?; times >"$STEP.busy"; exit "$status") >"$STEP.log" 2>&1 </dev/null || status=$?
	[ -e "$STEP.busy" ] || echo 0m0s 0m0s >"$STEP.busy" # it has ended itself
	busy=$(awk -F '[ms ]+' '{n += 60 * ($1 + $3) + $2 + $4} END {print int(n)}' "$STEP.busy")
	[ -e "$STEP.count" ] || count 1 0 0
	read -r passed failed skip < <(awk '{p += $1; f += $2; s += $3} END {print p, f, s}' \
		"$STEP.count")
	if [ "$status" != 0 ] && [ "$failed" = 0 ]; then
		failed=1
		[ "$passed" != 1 ] || passed=0
	fi
	echo "$passed $failed $skip" >"$STEP.total"
	if [ "$failed" = 0 ]; then
		printf 'ok    %-34s %4d s %4d s  %s passed%s\n' "$name" $((SECONDS - begun)) "$busy" \
			"$passed" "$([ "$skip" = 0 ] || echo ", $skip skipped")"
		return
	fi
	{
		printf 'FAIL  %-34s %4d s %4d s  %s failed; %s\n' "$name" $((SECONDS - begun)) \
			"$busy" "$failed" "$STEP.log"
		what_failed "$STEP.log" | tail -n "${STEPS_TAIL:-60}" | sed 's/^/      | /'
	} | cat
}

step() {
	local ended
	if [ "${#STEPS_RUNNING[@]}" -ge "$STEPS_AT_ONCE" ]; then
		wait -n -p ended "${!STEPS_RUNNING[@]}" || true
		unset "STEPS_RUNNING[$ended]"
	fi
	steps_run "$@" &
	STEPS_RUNNING[$!]=1
}

steps_aside() {
	"$@" &
	STEPS_RUNNING[$!]=1
	STEPS_AT_ONCE=$((STEPS_AT_ONCE + 1))
}

later() {
	local -n steps_list=$1
	shift
	steps_list+=("${*@Q}")
}

steps_alternately() {
	local -n steps_a=$1 steps_b=$2
	local steps_i steps_n=0 steps_of_a=${#steps_a[@]} steps_all=$((${#steps_a[@]} + ${#steps_b[@]}))
	for ((steps_i = 0; steps_i < steps_all; steps_i++)); do
		# As many of A so far as its share in all of them says.
		if ((steps_n < steps_of_a && steps_n * steps_all <= steps_i * steps_of_a)); then
			eval "step ${steps_a[steps_n++]}"
		else
			eval "step ${steps_b[steps_i - steps_n]}"
		fi
	done
}

steps_wait() {
	wait
	STEPS_RUNNING=()
}

steps_end() {
	local passed failed skip
	steps_wait
	if cat "$STEPS_LOGS"/*.skips 2>/dev/null | grep -q .; then
		echo
		echo "Skipped:"
		cat "$STEPS_LOGS"/*.skips | sort -u | sed 's/^/  /'
	fi
	read -r passed failed skip < <(cat "$STEPS_LOGS"/*.total |
		awk '{p += $1; f += $2; s += $3} END {print p + 0, f + 0, s + 0}')
	echo
	echo "Took $((SECONDS - STEPS_BEGUN)) s; logs in $STEPS_LOGS"
	echo "$passed passed, $failed failed, $skip skipped"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

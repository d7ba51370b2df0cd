#!/bin/bash
# Tries every order of events of the closed loop in tests/model/loop.pml: with all guards nothing goes wrong, without any
# single one of them spin finds the fault. And what the model says it stands for must still be there.
set -uo pipefail
source_dir=${1:?source folder}
build_dir=${2:?build folder}
model=$source_dir/tests/model/loop.pml

# The model is compiled by itself: a sanitizer's build would only do the same again.
if grep -qs '^OPSCASE_SANITIZE:STRING=..*' "$build_dir/CMakeCache.txt"; then
	echo "skipped: the release build runs it"
	exit 0
fi
for tool in spin gcc; do
	command -v $tool > /dev/null || { echo "FAIL  there is no $tool: see tools/platform/packages.txt"; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export model work

# --- in step with the code

failures=0
names() { grep -oE "$1:.*" "$model" | grep -oE "$2" | sort -u; }
rooms=("$source_dir"/{base,store,worker,orchestrator,executor,gatekeeper,wire,domain})

missing=0 count=0
for name in $(names code '[a-z_]+\(\)' | tr -d '()'); do
	count=$((count + 1))
	grep -rqE --include='*.[ch]' "(^|[^a-zA-Z_])$name\(" "${rooms[@]}" ||
		{ echo "FAIL  the model speaks of $name(), the code does not"; missing=1; }
done
for name in $(names '(code|left out)' '[A-Z]+_[A-Z_]+' | sort -u); do
	count=$((count + 1))
	grep -rqw --include='*.[ch]' --include='*.def' "$name" "${rooms[@]}" ||
		{ echo "FAIL  the model speaks of $name, the code does not"; missing=1; }
done
for name in $(grep -oE '^const char SQL_[A-Z_]+' "$source_dir/store/command.c" | cut -d' ' -f3); do
	grep -qw "$name" "$model" ||
		{ echo "FAIL  store/command.c has $name: say in the model where it belongs, or why it is left out"; missing=1; }
done
[ "$count" -ge 50 ] || { echo "FAIL  only $count names were found in the model"; missing=1; }
[ $missing -eq 0 ] && echo "ok    $count names of the model are names of the code" || failures=1

# --- every order of events

# explore WANT FLAGS...: WANT is "nothing" or a pattern of the fault that must be found. LTL among the flags asks for
# cycles, too.
explore() {
	local want=$1 dir out found pan=(-DSAFETY -DNOCLAIM) run=()
	shift
	dir=$(mktemp -d "$work/XXXXXX")
	cd "$dir" || exit 1
	[[ " $* " != *" -DLTL "* ]] || { pan=(); run=(-a); }
	if ! out=$(spin "$@" -a "$model" 2>&1) || ! out=$(gcc -w "$([ "$want" = nothing ] && echo -O1 || echo -O0)" \
		"${pan[@]}" -DCOLLAPSE -o pan pan.c 2>&1); then
		echo "FAIL  $*: $out"
		return 1
	fi
	out=$(timeout 300 ./pan -m100000 -c1 "${run[@]}" 2>&1)
	found=$(grep -oE 'pan:1: .*' <<< "$out" | head -n1)
	if [ "$want" = nothing ] && [ -z "$found" ] && grep -q 'errors: 0$' <<< "$out" && ! grep -qi 'not completed' <<< "$out"; then
		echo "ok    $*: nothing goes wrong in$(grep -oE '^ *[0-9.e+]+ states, stored' <<< "$out" | tr -s ' ' | cut -d, -f1)"
	elif [ "$want" != nothing ] && grep -qE "$want" <<< "$found"; then
		echo "ok    $*: found ${found#pan:1: }"
	else
		echo "FAIL  $*: wanted $want, found ${found:-nothing}"
		[ -n "$found" ] && spin "$@" -k loop.pml.trail -p "$model" 2>&1 | tail -n 60 | sed 's/^/      /'
		grep -E 'error|rror:|not completed|states, stored' <<< "$out" | sed 's/^/      /'
		return 1
	fi
}
export -f explore

once='effects==1'
truth='effects==[01]'
stuck='assertion violated .*status=='
epoch='epoch==(epoch|seen)'

# the longest first
xargs -P 2 -d '\n' -I{} bash -c 'explore {}' << CHECKS || failures=1
nothing -DTIMERS
nothing -DEFFECTS -DCRASHES=2
nothing -DLTL
nothing -DLTL -DEFFECTS
nothing -DEFFECTS -DTIMERS -DCRASHES=1 -DLOSSES=0 -DREPEATS=0
'$once' -DEFFECTS -DNO_LEASE
'$once' -DEFFECTS -DNO_INTENT
'$once' -DEFFECTS -DNO_PROBE
'$once' -DEFFECTS -DNO_LEASH
'$truth' -DEFFECTS -DNO_TOKEN
'n<=2' -DEFFECTS -DNO_MEMORY_OF_TRIES
'$epoch' -DNO_EPOCH_FENCE
'$epoch' -DNO_EPOCH_IN_TIMERS
'handled' -DNO_INBOX
'$stuck' -DNO_REOFFER
'$stuck' -DNO_LAST_WORD
'$stuck' -DNO_OUTBOX
'$stuck' -DNO_ONE_TRANSACTION
'$stuck' -DNO_WORD_BEFORE_THE_MARK
'$stuck' -DNO_WORD_BEFORE_GIVING_UP
'$stuck' -DNO_WAY_OUT_OF_A_REFUSAL
'acceptance cycle' -DLTL -DNO_OFFER_IN_ID
CHECKS

# every guard that the model can take out was taken out above
for guard in $(grep -oE '^#ifn?def NO_[A-Z_]+' "$model" | cut -d' ' -f2 | sort -u); do
	grep -q -- "-D$guard\$" "$0" || { echo "FAIL  nobody takes out $guard"; failures=1; }
done
exit $failures

#!/bin/bash
# test_restore.sh SOURCE_DIR BUILD_DIR - a database brought back from an older copy while cases run: effects stay off until
# `opscase restore --finish`, and nothing that happened in between happens again (docs/reliability.md).
set -u
build=$2
opscase=$build/bin/opscase
failed=0 up=
unset OPSCASE_URL OPSCASE_TOKEN OPSCASE_TENANT OPSCASE_CONFIG OPSCASE_DATA
export NO_COLOR=1
dir=$(mktemp -d /tmp/opscase-restore.XXXXXX)
chmod 755 "$dir"
data=$dir/data
mkdir "$dir/ledger" "$dir/policies" "$dir/runbooks"

check() {
	local what=$1
	shift
	if "$@"; then echo "ok    $what"; else
		echo "WRONG $what"
		failed=1
	fi
}
same() { [ "$1" = "$2" ] || { echo "      '$1' is not '$2'"; false; }; }
# shellcheck disable=SC2317
cleanup() {
	[ -z "$up" ] || kill -TERM "$up" 2> /dev/null
	wait
	[ "$failed" = 0 ] || tail -n 30 "$dir"/up.log "$data"/log/opscased.log
	rm -rf "$dir"
}
trap cleanup EXIT

cat > "$dir/policies/ledger.yaml" << 'END'
version: 1
rules:
  - id: ledger
    when: {action: ledger.append}
    answer: allow
    reason: a drill
END
cat > "$dir/runbooks/ledger.yaml" << 'END'
name: ledger
title: Two lines in the ledger
summary: For the crash suite.
params:
  file: {type: string, max: 1024, example: /tmp/ledger, help: Where the lines go.}
  after_ms: {type: int, default: 0, min: 0, max: 600000, help: After the first line.}
plan:
  title: Two lines
  steps:
    - {action: ledger.append, params: {file: "${file}", line: one, after_ms: "${after_ms}"}, timeout_s: 60, retry: 3}
    - {action: ledger.append, params: {file: "${file}", line: two}, timeout_s: 20, retry: 3}
  rollback: {}
  verify:
    deadline_s: 120
    checks:
      - {kind: probe, step: 0}
      - {kind: probe, step: 1}
END

start() {
	rm -f "$data/url"
	"$opscase" up --data "$data" --adapters.dir="$build/tests/adapters" --policies.dir="$dir/policies" \
		--runbooks.dir="$dir/runbooks" < /dev/null >> "$dir/up.log" 2>&1 &
	up=$!
	for _ in $(seq 600); do
		[ ! -e "$data/url" ] || return 0
		kill -0 "$up" 2> /dev/null || return 1
		sleep 0.1
	done
	return 1
}
# everything at once, as when the machine loses its power
power_cut() {
	kill -KILL "$up"
	wait "$up" 2> /dev/null
	for _ in $(seq 100); do
		pgrep -f "[^ ]*$data" > /dev/null || return 0
		sleep 0.1
	done
	return 1
}
ask() { "$opscase" "$@" --data "$data"; }
open() { # NAME WORDS...
	local name=$1
	shift
	ask case create "$name" --template ledger --param "file=$dir/ledger/$name" "$@" --json | jq -r .id
}
status() { ask case show "$1" --json | jq -r '.status + " " + (.park_reason // .resolution // "-")'; }
until_status() { # ID STATUS
	for _ in $(seq 300); do
		[[ $(status "$1") != "$2"* ]] || return 0
		sleep 0.1
	done
	status "$1"
	return 1
}
lines() { cat "$dir/ledger/$1" 2> /dev/null | wc -l; }
until_lines() { for _ in $(seq 200); do [ "$(lines "$1")" != "$2" ] || return 0; sleep 0.1; done; return 1; }
ledger() { (cd "$dir/ledger" && cat -- * | sort | sha256sum); }
twice() { cut -d' ' -f1 "$dir"/ledger/* | sort | uniq -d | wc -l; }

check "an installation comes up" start || exit 1
before=$(open before)
check "a case from before the backup closes" until_status "$before" CLOSED
running=$(open running --param after_ms=3000)
waiting=$(open waiting --manual)
check "one is in the middle of a step" until_lines running 1
check "the power goes" power_cut
cp -a "$data/postgres" "$dir/backup"
echo "--- the hour that will be forgotten"
check "it comes up again" start
check "the one that ran ends" until_status "$running" CLOSED
after=$(open after)
check "one that the backup does not know closes" until_status "$after" CLOSED
path=$(cat "$data/url") token=$(cat "$data/tokens/admin")
api() { # PATH BODY
	curl -sS -X POST "$path$1" -H "Authorization: Bearer $token" -H "Idempotency-Key: $RANDOM-$RANDOM" -H 'Prefer: wait=20' -d "$2"
}
for call in plan/generate gate/eval adapter/exec verify/run; do api "/$call" "{\"case_id\":\"$waiting\"}" > "$dir/answer"; done
check "one that only waited at the backup is driven to its end" until_status "$waiting" "CLOSED verified" || cat "$dir/answer"
sleep 4 # the mark of how far the database had come is written every three seconds
was=$(ledger)
check "the power goes again" power_cut

echo "--- the old copy is put back"
rm -rf "$data/postgres" && cp -a "$dir/backup" "$data/postgres"
check "it comes up on the old copy" start
check "and says that effects are off" grep -qi 'effects' "$dir/up.log"
check "restore says so, too" grep -q 'effects are off' <(ask restore)
check "the doctor finds it" grep -q 'effects' <(ask doctor 2>&1)
new=$(open while-off)
sleep 8
check "nothing has an effect while they are off" same "$(ledger)" "$was"
check "the new case says why" grep -q 'effects are off\|kill' <(ask case show "$new")
ask restore --finish --yes --actor tester > "$dir/finish" 2>&1
check "restore --finish" test $? = 0 || cat "$dir/finish"
check "effects are on" grep -q 'effects are on' <(ask restore)
check "what was closed before the backup stays so" same "$(status "$before")" "CLOSED verified"
check "nobody knows what became of the one that ran" same "$(status "$running")" "PARKED outcome_unknown"
check "nor of the one that was driven after the backup" same "$(status "$waiting")" "PARKED outcome_unknown"
sleep 8
check "nothing that happened happens again" same "$(ledger)" "$was"
api /plan/generate "{\"case_id\":\"$waiting\"}" > "$dir/answer"
check "and a person cannot send it on before somebody looked" same "$(status "$waiting")" "PARKED outcome_unknown"
check "the one that was opened since waits for a person, and is not in doubt" same "$(status "$new")" "PARKED rejected"
next=$(open next)
check "a new case goes through" until_status "$next" "CLOSED verified"
check "no effect was applied twice" same "$(twice)" 0
ask audit export > "$dir/export" 2> "$dir/answer"
check "the timelines hold" "$opscase" audit verify "$dir/export" || cat "$dir/answer"
ask case settle "$running" applied --reason "looked at the ledger" > /dev/null
check "a person settles it" same "$(status "$running")" "PARKED unverified"
exit $failed

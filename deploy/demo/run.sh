#!/bin/bash
# run.sh BUILD_DIR - watch real faults being repaired: the embedded stack, a real nginx, real traffic.
#
#   1  a backend goes bad; a case is opened, planned, let through by policy, executed, measured, closed
#   2  the same where policy stops for a person, who reads the card and approves
#   3  a change that makes it worse: measured, rolled back as a plan of its own, measured again
#
# Ends by itself; not zero if the loop did not close. Cleans up what it started, also on Ctrl-C.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(cd "${1:?usage: run.sh BUILD_DIR}" && pwd)
source=$(cd "$here/../.." && pwd)
# shellcheck source=deploy/demo/stage.sh
. "$here/stage.sh"

# --- the stage

title "opscase: the whole loop, on real PostgreSQL, NATS and nginx"
say "a site: nginx as gateway 'edge', services shop and pay, each with two backends, blue and green"
site_start
say "opscase up, with short windows, so that nobody has to wait for minutes"
bring_up --window.metric_s=5 --window.delay_s=1

say "two tenants: in staging, policy lets known repairs pass that can be taken back; in production it asks a person"
run opscase tenant create shop-staging --label env=staging --default window_s=10 --default settle_s=2
run opscase tenant create pay-prod --label env=prod --default window_s=10 --default settle_s=2
opscase token create probe-shop --role service --tenant shop-staging --save 2> /dev/null
opscase token create probe-pay --role service --tenant pay-prod --save 2> /dev/null
opscase token create alice --role approver --tenant pay-prod --save 2> /dev/null

say "a probe measures both services through nginx and sends OTLP metrics every second"
for service in shop pay; do
	port=edge_$service
	python3 "$here/probe.py" "$service" "http://127.0.0.1:${!port}/" "$url" "$work/data/tokens/probe-$service" \
		"$work/probe-$service.txt" 2> "$work/probe-$service.log" &
	pids+=($!)
done

measured() { # SERVICE
	say "measured: $(cat "$work/probe-$1.txt")"
}

open_case() { # TENANT SERVICE STANDBY TITLE MORE...
	local tenant=$1 service=$2 standby=$3 title=$4
	shift 4
	printf '%s$ %s%s\n' "$blue" "$(show opscase case create "$title" --tenant "$tenant" --label gateway=edge --label "upstream=$service" \
		--label "standby=$standby" --evidence "urn:svc:$service/http.err_rate" --evidence "urn:svc:$service/http.latency_ms" "$@")" "$plain"
	id=$(opscase case create "$title" --tenant "$tenant" --label gateway=edge --label "upstream=$service" \
		--label "standby=$standby" --evidence "urn:svc:$service/http.err_rate" --evidence "urn:svc:$service/http.latency_ms" "$@" \
		--json | jq -r .id) || broken "no case"
}

is() { # ID WANTED
	local got
	got=$(opscase case show "$1" --json | jq -r '.status + " (" + (.park_reason // .resolution // "") + ")"')
	[ "$got" = "$2" ] || broken "case $1 is $got, not $2"
}

# --- 1

title "1. A backend goes bad, and is repaired without anybody"
sleep 3
measured shop
look "$edge_shop"
say "blue goes bad: most requests fail, the others are slow"
break_backend blue shop
sleep 6
measured shop
look "$edge_shop"
open_case shop-staging shop "127.0.0.1:$green_shop" "shop: errors and latency"
first=$id
run opscase case watch "$first" --timeout 60 || broken "case 1 was not closed"
is "$first" "CLOSED (verified)"
look "$edge_shop"
measured shop
good "repaired: a plan from a runbook, let through by policy, carried out, and proven by what was measured afterwards"

# --- 2

title "2. The same in production, where policy asks a person"
break_backend blue pay
sleep 6
measured pay
open_case pay-prod pay "127.0.0.1:$green_pay" "pay: errors and latency"
second=$id
run opscase case watch "$second" --until people,PARKED,CLOSED --timeout 60 || broken "case 2 did not reach the gate"
is "$second" "WAIT_GATE ()"
say "the card that an approver reads:"
run opscase gate show "$second"
say "nobody approves what they opened themselves:"
if run opscase case approve "$second"; then broken "the opener could approve"; fi
say "alice can:"
run opscase case approve "$second" --as alice --reason "green is well, I looked" --wait 0 --watch ||
	broken "case 2 was not closed"
is "$second" "CLOSED (verified)"
look "$edge_pay"
measured pay
good "approved by a person who saw the very change, and only that change was made"

# --- 3

title "3. A change that makes it worse is taken back"
say "somebody thinks shop should go back to blue, which is still bad"
open_case shop-staging shop "127.0.0.1:$blue_shop" "shop: move back to blue"
third=$id
run opscase case watch "$third" --timeout 60 || true
is "$third" "PARKED (verify_failed)"
look "$edge_shop"
say "it was carried out, measured, and did not help: the way back is a plan like any other"
run opscase case resume "$third" --rollback --reason "blue is still bad" --watch || true
is "$third" "PARKED (rolled_back)"
look "$edge_shop"
measured shop
good "rolled back: gated, carried out and measured again"

# --- the record

title "What stays: the timelines, each a chain of hashes"
for id in "$first" "$second" "$third"; do
	run opscase case timeline "$id"
done
run opscase audit export "$first" "$second" "$third" --output "$work/audit.jsonl"
run opscase audit verify "$work/audit.jsonl" || broken "the chain does not hold"
printf '\n'
good "the loop closed, in $(now | tr -d ' ') seconds"

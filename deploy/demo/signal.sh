#!/bin/bash
# signal.sh BUILD_DIR [QUIET_S] - nobody opens a case: a real backend becomes slow, and what nginx measures of it is all there is.
#
# nginx's own access log goes in as metrics and calls; detectors learn what is usual for QUIET_S seconds (120), in which no case may
# open; then a switch makes one backend slow. The analyst has to open the case, name the backend, and the loop to close it: planned
# from a runbook, let through by policy, carried out, measured, CLOSED. Not zero if anything of that did not happen. Cleans up.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(cd "${1:?usage: signal.sh BUILD_DIR [QUIET_S]}" && pwd)
quiet_s=${2:-120}
wait_s=${OPSCASE_DEMO_WAIT_S:-120} # how long a case may take to be opened
source=$(cd "$here/../.." && pwd)
# shellcheck source=deploy/demo/stage.sh
. "$here/stage.sh"

cases() { # how many there are, whatever became of them
	opscase case list --tenant shop-staging --json | jq length
}

title "opscase: from a slow backend to a closed case, and nobody says a word"
say "a site: nginx as gateway 'edge' in front of service shop, whose backends are blue and green"
site_start
say "opscase up, with windows of a second, so that the detectors have learned in two minutes what else takes two hours"
bring_up --window.metric_s=1 --window.delay_s=1 --signal.debounce=5s
run opscase tenant create shop-staging --label env=staging --default window_s=10 --default settle_s=2
opscase token create gateway --role service --tenant shop-staging --save 2> /dev/null
say "customers come; what nginx writes of them goes in as OTLP, once a second"
python3 "$here/gateway.py" "$work/edge/seen.log" "$url" "$work/data/tokens/gateway" "http://127.0.0.1:$edge_shop/" shop edge \
	"127.0.0.1:$green_shop" "shop-blue=127.0.0.1:$blue_shop" "shop-green=127.0.0.1:$green_shop" 2> "$work/probe-gateway.log" &
pids+=($!)

title "1. A quiet while"
say "$quiet_s seconds in which the detectors learn, and in which no case may open"
for ((left = quiet_s; left > 0; left -= 10)); do
	sleep "$((left < 10 ? left : 10))"
	[ "$(cases)" = 0 ] || broken "a case was opened while nothing was wrong: $(opscase case list --tenant shop-staging)"
done
look "$edge_shop"
good "no case in $quiet_s quiet seconds"

title "2. A backend becomes slow"
fault=$(date +%s%N)
slow_backend blue shop
say "blue is slow from now on; nobody is told"
id=
for _ in $(seq $((2 * wait_s))); do
	id=$(opscase case list --tenant shop-staging --json | jq -r '.[-1].id // ""')
	[ -z "$id" ] || break
	sleep 0.5
done
[ -n "$id" ] || broken "no case was opened within $wait_s seconds of the fault"
look "$edge_shop"
after() { echo "$((($(date +%s%N) - fault) / 1000000000)) s after the fault"; }
good "a case was opened $(after): $(opscase case show "$id" --json | jq -r '"\(.title) (by \(.opened_by))"')"

title "3. The loop"
run opscase case watch "$id" --timeout 240 || broken "the case was not closed"
closed=$(after)
shown=$(opscase case show "$id" --json)
[ "$(jq -r '.status + " " + .resolution' <<< "$shown")" = "CLOSED verified" ] || broken "the case is $(jq -r .status <<< "$shown")"
[ "$(jq -r .opened_by <<< "$shown")" = service:analyst ] || broken "the case was opened by $(jq -r .opened_by <<< "$shown")"
run opscase case story "$id"
cause=$(curl -sf --noproxy '*' -H "Authorization: Bearer $(cat "$work/data/tokens/gateway")" "$url/case/$id?include=findings" |
	jq -r '.data.findings[0].body.root_cause | if .resolved then .answers[0].resource else "unresolved: \(.why)" end') || broken "the finding cannot be read"
say "root cause: $cause"
[ "$cause" = urn:svc:shop-blue ] || broken "the root cause is not shop-blue"
look "$edge_shop"
curl -s --noproxy '*' -o /dev/null -D "$work/headers" "http://127.0.0.1:$edge_shop/"
grep -q 'X-Served-By: green' "$work/headers" || broken "shop is not served by green"

title "4. And then it is quiet again"
sleep 20
[ "$(cases)" = 1 ] || broken "there is more than one case: $(opscase case list --tenant shop-staging)"
run opscase audit export "$id" --output "$work/audit.jsonl"
run opscase audit verify "$work/audit.jsonl" || broken "the chain does not hold"
good "closed by itself, $closed; one case, in $(now | tr -d ' ') seconds all in all"

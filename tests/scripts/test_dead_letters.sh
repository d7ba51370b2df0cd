#!/bin/bash
# test_dead_letters.sh SOURCE BUILD - what was given up can be looked at, mended and sent again, once.
set -u
source=$1
build=$2
# shellcheck source=tests/scripts/lib/stack.sh
. "$source/tests/scripts/lib/stack.sh"

stack_start "$build" --window.metric_s=5 --window.delay_s=1
worker=$(sed -n 's/^db.worker = "\(.*\)"$/\1/p' "$STACK/data/run/opscased.conf")
rows() { psql "$worker" -qAtc "$1"; }
until_rows() { # statement, wanted
	for _ in $(seq 200); do
		[ "$(rows "$1")" != "$2" ] || return 0
		sleep 0.1
	done
}
post() { # path, body
	curl -sS --noproxy '*' -H "Authorization: Bearer $ADMIN" -H 'Content-Type: application/json' -d "$2" "$URL$1?tenant=default"
}
metric() { # name, value
	printf '{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeMetrics":[{"metrics":[{"name":"%s","gauge":{"dataPoints":[{"timeUnixNano":"%s000000000","asDouble":%s}]}}]}]}]}' \
		"$1" "$(date +%s)" "$2"
}

# --- telemetry: rejected, refused again, mended, sent once
post /v1/metrics "$(metric broken '"NaN"')" > /dev/null
until_rows "SELECT count(*) FROM dead_letter" 1
id=$(oc deadletter list --json | jq -r '.[0].id')
same "it is listed with its reason" "$(oc deadletter list --json | jq -r '.[0] | .kind + " " + .source + " " + .reason')" \
	"telemetry otlp/metrics broken: NaN or infinite"
same "and shown whole" "$(oc deadletter show "$id" --json | jq -r '.record | fromjson | .resourceMetrics[0].scopeMetrics[0].metrics[0].name')" broken
refused=$(oc deadletter replay "$id" 2>&1)
same "as it is it would be rejected again" "$?" 65
case $refused in *"it would be rejected again: broken: NaN or infinite"*) ;; *) stack_fail "no reason in: $refused" ;; esac
same "and stays, once" "$(rows "SELECT count(*) || ' ' || count(replayed_at) FROM dead_letter")" "1 0"
metric broken 7 > "$STACK/mended.json"
same "mended it goes" "$(oc deadletter replay "$id" --record "$STACK/mended.json")" "$id sent again"
until_rows "SELECT count(*) FROM metric_1m WHERE metric = 'broken'" 1
same "into the rows" "$(rows "SELECT sum(count) || ' ' || max(avg_val) FROM metric_1m WHERE metric = 'broken'")" "1 7"
oc deadletter replay "$id" --record "$STACK/mended.json" 2> "$STACK/again"
same "a second time it does not" "$?" 75
grep -q "was sent again already, at .* by admin" "$STACK/again" || stack_fail "$(cat "$STACK/again")"
same "and is not listed any more" "$(oc deadletter list --json | jq length)" 0
same "unless one asks" "$(oc deadletter list --replayed --json | jq -r '.[0].replayed_by')" admin

# --- lines, and all at once
post /ingest/lines 'no json at all' > /dev/null
post /v1/metrics "$(metric worse '"NaN"')" > /dev/null
until_rows "SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL" 2
same "--all says what stays" "$(oc deadletter replay --all 2> /dev/null)" "0 sent again, 2 stay"

# --- an errand that was given up: all its attempts anew
case=$(oc case create drill --template noop --json | jq -r .id)
oc case watch "$case" --timeout 30 > /dev/null
until_rows "SELECT count(*) FROM outbox WHERE case_id = '$case' AND done_at IS NULL" 0
errand=$(rows "SELECT id FROM outbox WHERE case_id = '$case' AND topic = 'cmd.learn' LIMIT 1")
[ -n "$errand" ] || stack_fail "the verified case has no errand"
letter=$(rows "UPDATE outbox SET attempts = max_attempts WHERE id = $errand;
	INSERT INTO dead_letter (tenant_id, kind, source, reason, body, ref_id) SELECT tenant_id, 'command', topic, 'five attempts', '{}', id
	FROM outbox WHERE id = $errand RETURNING id" | head -1)
same "an errand is sent again" "$(oc deadletter replay "$letter")" "$letter sent again"
until_rows "SELECT (done_at IS NOT NULL)::text || ' ' || (attempts > 0) FROM outbox WHERE id = $errand" "true true"
same "and done" "$(rows "SELECT (done_at IS NOT NULL)::text || ' ' || (attempts < max_attempts) FROM outbox WHERE id = $errand")" "true true"

# --- what a state asked for goes on by the case alone: it is gated there
run=$(rows "SELECT id FROM outbox WHERE case_id = '$case' AND topic = 'cmd.exec.run'")
letter=$(rows "INSERT INTO dead_letter (tenant_id, kind, source, reason, body, ref_id) SELECT tenant_id, 'command', topic, 'five attempts', '{}', id
	FROM outbox WHERE id = $run RETURNING id" | head -1)
oc deadletter replay "$letter" 2> "$STACK/gated"
same "an execution is not sent again" "$?" 75
grep -q "the case says how it goes on" "$STACK/gated" || stack_fail "$(cat "$STACK/gated")"
same "and does not run again" "$(rows "SELECT (done_at IS NOT NULL)::text FROM outbox WHERE id = $run")" true

# --- somebody else's
oc tenant create other > /dev/null
oc deadletter show "$letter" --tenant other 2> /dev/null
same "another tenant does not see it" "$?" 66
oc deadletter replay nonsense 2> "$STACK/nonsense"
same "a wrong number is a mistake" "$?" 64

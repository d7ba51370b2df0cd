#!/bin/bash
# test_prometheus_api.sh SOURCE BUILD - Prometheus' own client asks, and is answered from the rows; and every picture of the dashboards
# has something to draw.
set -u
source=$1
build=$2
# shellcheck source=tests/scripts/lib/stack.sh
. "$source/tests/scripts/lib/stack.sh"

stack_start "$build" --window.metric_s=60 --window.delay_s=1
worker=$(sed -n 's/^db.worker = "\(.*\)"$/\1/p' "$STACK/data/run/opscased.conf")
rows() { psql "$worker" -qAtc "$1"; }
token=$(oc token create prom --role viewer --tenant default --json | jq -r .token)
[ "${#token}" -gt 20 ] || stack_fail "no token"
printf 'authorization:\n  type: Bearer\n  credentials: %s\n' "$token" > "$STACK/http.yaml"
now=$(date +%s)
minute=$((now / 60 * 60 - 600))
{
	printf '{"resourceMetrics":['
	for service in shop pay; do
		printf '%s{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"%s"}}]},"scopeMetrics":[{"metrics":[{"name":"queue.length","unit":"1","gauge":{"dataPoints":[' \
			"$([ $service = shop ] || echo ,)" "$service"
		for i in 0 1 2 3 4; do
			for v in 1 3; do
				printf '%s{"timeUnixNano":"%s000000000","asDouble":%s,"attributes":[{"key":"kind","value":{"stringValue":"%s"}}]}' \
					"$([ "$i$v" = 01 ] || echo ,)" $((minute + 60 * i + v)) "$([ $service = shop ] && echo "$((10 * i + v))" || echo "$v")" mail
			done
		done
		printf ']}}]}]}'
	done
	printf ']}'
} > "$STACK/metrics.json"
curl -fsS --noproxy '*' -H "Authorization: Bearer $ADMIN" -H 'Content-Type: application/json' --data-binary @"$STACK/metrics.json" \
	"$URL/v1/metrics?tenant=default" > /dev/null || stack_fail "the metrics were not taken"
for _ in $(seq 300); do
	[ "$(rows "SELECT coalesce(sum(count), 0) FROM metric_1m WHERE metric = 'queue.length'")" != 20 ] || break
	sleep 0.1
done

prom() { # words of promtool query, then what it asks
	env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY promtool query "$1" --http.config.file="$STACK/http.yaml" "${@:2}" 2>&1
}
same "an instant" "$(prom instant --time=$((minute + 130)) "$URL" 'queue_length{resource=~".*shop"}')" \
	"queue_length{kind=\"mail\", resource=\"urn:svc:shop\"} => 22 @[$((minute + 130))]"
same "a range, summed" "$(prom range --start=$minute --end=$((minute + 120)) --step=60s "$URL" 'sum by (kind) (queue_length)' | tr '\n' ' ')" \
	"{kind=\"mail\"} => 4 @[$minute] 14 @[$((minute + 60))] 24 @[$((minute + 120))] "
same "a function over time" "$(prom instant --time=$((minute + 240)) "$URL" 'max(max_over_time(queue_length[5m]))')" "{} => 43 @[$((minute + 240))]"
same "by the name that has dots" "$(prom instant --time=$((minute + 240)) "$URL" 'count({__name__="queue.length"})')" "{} => 2 @[$((minute + 240))]"
same "a number" "$(prom instant "$URL" '1+1' | grep -c '2')" 1
same "series" "$(prom series --match='queue_length' "$URL" | sort | tr '\n' ' ')" \
	"{__name__=\"queue_length\", kind=\"mail\", resource=\"urn:svc:pay\"} {__name__=\"queue_length\", kind=\"mail\", resource=\"urn:svc:shop\"} "
same "values of a label" "$(prom labels "$URL" resource | sort | tr '\n' ' ')" "urn:svc:pay urn:svc:shop "
case $(prom instant "$URL" 'histogram_quantile(0.9, queue_length)') in
*"not known here"*) echo "ok: what is not known is said" ;;
*) stack_fail "$(prom instant "$URL" 'histogram_quantile(0.9, queue_length)')" ;;
esac
get() { curl -sS --noproxy '*' -H "Authorization: Bearer $token" "$@"; }
same "as a form, as Grafana asks" "$(get --data-urlencode 'query=sum(queue_length)' --data-urlencode "time=$((minute + 61))" "$URL/api/v1/query" | jq -c '.data.result[0].value[1]')" '"14"'
same "an error in Prometheus' own form" "$(get -G --data-urlencode 'query=sum(' "$URL/api/v1/query" | jq -r '.status + " " + .errorType')" "error bad_data"
same "another tenant has none of it" "$(oc tenant create other > /dev/null; oc token create o --role viewer --tenant other --json | jq -r .token > "$STACK/other"
	curl -sS --noproxy '*' -H "Authorization: Bearer $(cat "$STACK/other")" -G --data-urlencode 'query=queue_length' "$URL/api/v1/query" | jq '.data.result | length')" 0

# --- the dashboards: every query of every panel is one that is known here, and some of the made-up shop is drawn by each
oc generate --past > /dev/null || stack_fail "generate"
for _ in $(seq 300); do
	[ "$(rows "SELECT count(*) > 0 FROM service_call_5m")" != t ] || break
	sleep 0.1
done
sleep 2
# --- and the command line reads the same
same "a metric is drawn, a line for each resource" "$(oc metrics query http.server.latency --aggregate p95 | grep -c '[▁▂▃▄▅▆▇█]')" 10
same "the worst calls" "$(oc calls top --json | jq length)" 5
same "slowest first" "$(oc calls top --json | jq '[.[].p95_ms] == ([.[].p95_ms] | sort | reverse)')" true
[ "$(oc logs patterns --limit 3 --json | jq length)" = 3 ] || stack_fail "$(oc logs patterns --limit 3)"
same "patterns by a word" "$(oc logs patterns --text 'health check' --json | jq -r '.[0].pattern')" "health check of <*> passed"
oc event show 00000000-0000-7000-8000-000000000000 2> /dev/null
same "an event that is not there" "$?" 66
oc logs patterns --severity BAD 2> "$STACK/severity"
same "a wrong word" "$?" 64
for file in "$source"/deploy/dashboards/*.json; do
	python3 "$source/tests/scripts/lib/dashboard.py" "$file" "$URL" "$token" || stack_fail "$file"
done

#!/bin/bash
# test_telemetry_kill.sh SOURCE BUILD - kill -9 of opscased, nats-server and PostgreSQL while telemetry comes: in the end the rows are those
# of a run that nobody disturbed, one by one. OPSCASE_SEED chooses when what is killed.
set -u
source=$1
build=$2
# shellcheck source=tests/scripts/lib/stack.sh
. "$source/tests/scripts/lib/stack.sh"
seed=${OPSCASE_SEED:-$RANDOM}
base=$(($(date +%s) / 300 * 300 - 600))
echo "seed $seed"

worker=
rows() { psql "$worker" -qAtc "$1"; }
begin() {
	stack_start "$build" --window.delay_s=1
	worker=$(sed -n 's/^db.worker = "\(.*\)"$/\1/p' "$STACK/data/run/opscased.conf")
}
end() {
	kill -TERM "$STACK_PID"
	wait "$STACK_PID"
	rm -rf "${STACK:?}"
}
# All that a row says but for when it was written: the ids of resources and templates differ, so they go by name.
what="SELECT 'metric', r.urn, m.metric, m.labels, m.bucket, m.count, m.sum, m.avg_val, m.max_val, m.min_val, m.p95_val, md5(m.sketch)
	FROM metric_1m m JOIN dim_resource r USING (tenant_id, resource_id) ORDER BY 2, 3, 4, 5;
	SELECT 'call', s.urn, d.urn, c.bucket, c.count, c.errors, c.p50_ms, c.p95_ms, c.err_rate, md5(c.sketch) FROM service_call_5m c
	JOIN dim_resource s ON s.resource_id = c.src_resource_id JOIN dim_resource d ON d.resource_id = c.dst_resource_id ORDER BY 2, 3, 4;
	SELECT 'pattern', r.urn, p.pattern, l.bucket, l.count_total, l.count_error, l.first_seen, l.last_seen FROM log_pattern_5m l
	JOIN dim_resource r USING (tenant_id, resource_id) JOIN log_pattern p USING (tenant_id, fingerprint_id) ORDER BY 2, 3, 4;
	SELECT 'dead', source, reason, md5(body), count(*) FROM dead_letter GROUP BY 1, 2, 3, 4 ORDER BY 2, 3, 4"
# until nothing is left on the stream or half of a call, and nothing has changed for two seconds
settled() {
	local last='' now=''
	for _ in $(seq 120); do
		now=$(rows "SELECT (SELECT count(*) FROM call_pending) || ' ' || (SELECT coalesce(sum(count), 0) FROM metric_1m) || ' '
			|| (SELECT coalesce(sum(count_total), 0) FROM log_pattern_5m) || ' ' || (SELECT coalesce(sum(count), 0) FROM service_call_5m)
			|| ' ' || (SELECT count(*) FROM dead_letter)" 2> /dev/null)
		if [ -n "$now" ] && [ "$now" = "$last" ] && [ "${now%% *}" = 0 ] && [ "${now#* * }" != "$now" ]; then return 0; fi
		last=$now
		sleep 2
	done
	stack_fail "the rows do not settle: $now"
}

begin
sent=$(python3 "$source/tests/scripts/lib/steady.py" "$URL" "$ADMIN" "$base" "$seed") || stack_fail "$sent"
settled
same "undisturbed: requests, and sent again" "$sent" "180 0"
rows "$what" > /tmp/opscase-undisturbed.$$
end

trap 'rm -f /tmp/opscase-undisturbed.$$ /tmp/opscase-disturbed.$$' EXIT
begin
stack_cleanup() { rm -f /tmp/opscase-undisturbed.$$ /tmp/opscase-disturbed.$$; }
python3 "$source/tests/scripts/lib/steady.py" "$URL" "$ADMIN" "$base" "$seed" > "$STACK/sent" 2>&1 &
sender=$!
RANDOM=$((seed % 32768))
kills=0
# Nine at most, the next only when the last is mended: what dies again and again is started later and later.
while [ "$kills" -lt 9 ] && kill -0 "$sender" 2> /dev/null; do
	sleep "$((RANDOM % 2 + 1)).$((RANDOM % 10))"
	victim=(opscased nats-server postgres)
	victim=${victim[$(((seed + kills) % 3))]} # each gets its turn
	if [ "$victim" = postgres ]; then
		pid=$(head -1 "$STACK"/data/postgres/17/postmaster.pid 2> /dev/null)
	else
		pid=$(pgrep -f "$victim.*$STACK/data" | while read -r p; do [ "$(cat "/proc/$p/comm" 2> /dev/null)" != "$victim" ] || echo "$p"; done | head -1)
	fi
	if [ -n "$pid" ] && kill -KILL "$pid" 2> /dev/null; then
		kills=$((kills + 1))
		echo "killed $victim"
	fi
	sleep 0.5
	for _ in $(seq 300); do
		if curl -fsS --noproxy '*' "$URL/readyz" > /dev/null 2>&1; then break; fi
		sleep 0.1
	done
done
wait "$sender" || stack_fail "$(cat "$STACK/sent")"
[ "$kills" -ge 4 ] || stack_fail "only $kills kills"
settled
rows "$what" > /tmp/opscase-disturbed.$$
echo "ok: $kills kills; requests, and sent again: $(cat "$STACK/sent")"
diff /tmp/opscase-undisturbed.$$ /tmp/opscase-disturbed.$$ > "$STACK/diff" || stack_fail "the rows differ: $(wc -l < "$STACK/diff") lines: $(head -20 "$STACK/diff")"
same "rows, one by one as without a kill" "$(wc -l < /tmp/opscase-disturbed.$$)" "$(wc -l < /tmp/opscase-undisturbed.$$)"
[ "$(wc -l < /tmp/opscase-disturbed.$$)" -gt 100 ] || stack_fail "too few rows to say anything"

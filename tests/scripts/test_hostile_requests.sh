#!/bin/bash
# test_hostile_requests.sh SOURCE_DIR BUILD_DIR - a real service under everything that a stranger may send (lib/hostile.py).
# Afterwards it is the same process, answers, has not grown, and the database has what was answered for and nothing else.
set -uo pipefail
src=$1 build=$2
. "$src/tests/scripts/lib/stack.sh"
stack_start "$build"

sql() {
	local conninfo
	conninfo=$(sed -n 's/^db\.worker = "\(.*\)"$/\1/p' "$STACK"/data/run/*.conf)
	psql -XAtq "$conninfo" -c "$1" || stack_fail "psql"
}
service() { jq -r '.[] | select(.name == "opscased") | .pid' "$STACK/data/run/children.json"; }
rss_kib() { awk '/^VmRSS/ {print $2}' "/proc/$(service)/status"; }
rows() {
	sql "select string_agg(t || '=' || n, ' ' order by t) from (
		select 'tenants' t, count(*) n from dim_tenant union all select 'tokens', count(*) from api_token
		union all select 'plans', count(*) from plan_proposed where case_id not in (select id from ops_case where title like 'nobody waits%')
		union all select 'runs', count(*) from exec_run where case_id not in (select id from ops_case where title like 'nobody waits%')
		union all select 'points', count(*) from metric_series) x"
}

# Once around, so that what is made once is there before it is measured.
oc case create "before" --template noop --watch > "$STACK/first" 2>&1 || { cat "$STACK/first"; stack_fail "no case got through before"; }
tenant=$(sql "select code from dim_tenant order by tenant_id limit 1")
before=$(rows) cases=$(sql "select count(*) from ops_case") process=$(service) rss=$(rss_kib)

python3 "$src/tests/scripts/lib/hostile.py" "$URL" "$ADMIN" "$tenant" > "$STACK/hostile.json" || { cat "$STACK/hostile.json"; stack_fail "what strangers send"; }
created=$(jq '.created | length' "$STACK/hostile.json") maybe=$(jq .maybe "$STACK/hostile.json")
echo "ok: every request was answered clearly"

same "it is the same process" "$(service)" "$process"
oc case create "after" --template noop --watch > "$STACK/last" 2>&1 || { cat "$STACK/last"; stack_fail "no case gets through any more"; }
for _ in $(seq 600); do
	busy=$(sql "select count(*) from ops_case where title like 'nobody waits%' and status not in ('CLOSED', 'PARKED')")
	[ "$busy" = 0 ] && break
	sleep 0.1
done
same "those whose sender hung up got to their end" "$(sql "select coalesce(string_agg(distinct status || ' ' || coalesce(resolution, ''), ', '), 'CLOSED verified') from ops_case where title like 'nobody waits%'")" "CLOSED verified"
heard=$(sql "select count(*) from ops_case where title like 'nobody waits%'")
[ "$heard" -le "$maybe" ] || stack_fail "$heard cases of $maybe requests"
same "there are the cases that were answered for" "$(sql "select count(*) from ops_case where title not like 'nobody waits%'")" "$((cases + created + 1))"
same "nothing was half written" "$(sql "select count(*) from ops_case c where title = 'never' or timeline_seq <> (select count(*) from case_timeline t where t.case_id = c.id)")" 0
same "and nothing else, but what the case after it needed" "$(rows)" "$(echo "$before" | sed 's/plans=1 /plans=2 /; s/runs=1 /runs=2 /')"
same "no command is left" "$(sql "select count(*) from outbox where done_at is null and kind = 'c' and created_at < now() - interval '1 minute'")" 0
oc audit export > "$STACK/export.jsonl" || stack_fail "audit export"
oc audit verify "$STACK/export.jsonl" > "$STACK/verify" || { cat "$STACK/verify"; stack_fail "audit verify"; }
echo "ok: the timelines hold: $(head -n 1 "$STACK/verify")"

# A sanitizer keeps what was freed; the product does not.
bound=65536
if grep -q '^OPSCASE_SANITIZE:[A-Z]*=.' "$build/CMakeCache.txt" 2> /dev/null; then bound=1048576; fi
now=$(rss_kib)
echo "   resident: $rss KiB before, $now KiB after"
[ $((now - rss)) -le $bound ] || stack_fail "it has grown by $((now - rss)) KiB"
if grep -E ' [EF] ' "$STACK"/data/log/opscased*; then stack_fail "the service logged errors of its own"; fi
echo "all of it"

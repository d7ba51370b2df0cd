#!/bin/bash
# The first end-to-end demonstration that the product was asked for with: six cURL calls, as they were written,
# with the base URL and a token added and the misprinted quote of the second one mended.
set -uo pipefail
src=$1 build=$2
. "$src/tests/scripts/lib/stack.sh"

stack_cleanup() {
	bash "$src/adapters/k8s/fixture.sh" stop "$STACK/k8s"
	if [ -n "${PROBE:-}" ]; then kill "$PROBE" 2> /dev/null; fi
}

pre=$(mktemp -d /tmp/opscase-test-XXXXXX)
bash "$src/adapters/k8s/fixture.sh" start "$pre/k8s" > "$pre/k8s.json" || { echo "the API server does not start"; exit 1; }
jq '{k8s: .config}' "$pre/k8s.json" > "$pre/adapters.json"
stack_start "$build" --window.metric_s=2 --window.delay_s=1 --policies.dir="$src/policies" --adapters.config="$pre/adapters.json"
mv "$pre/k8s" "$STACK/k8s"

# What the template needs and the case does not say comes from the tenant.
for tenant in t-001 t-002; do
	oc tenant create $tenant --label env=dev --default namespace=shop --default name=web --default container=app --default image=shop/web:2 \
		--default resource=urn:k8s:svc:shop/web --default window_s=4 --default min_samples=1 > /dev/null || stack_fail "tenant create"
	mkdir -p -m 700 "$STACK/data/secrets/$tenant/k8s"
	(umask 077; jq -j .secrets.token "$pre/k8s.json" > "$STACK/data/secrets/$tenant/k8s/token")
	chown -R --reference="$STACK/data/secrets" "$STACK/data/secrets"
done
rm -rf "$pre"

send_metrics() { # what the service of the canary would measure, for the tenant
	while sleep 0.4; do
		curl -s --noproxy '*' -o /dev/null -X POST "$URL/v1/metrics" -H "Authorization: Bearer $ADMIN" -H "X-Opscase-Tenant: t-001" -d '{"resourceMetrics":[{
			"resource":{"attributes":[{"key":"opscase.urn","value":{"stringValue":"urn:k8s:svc:shop/web"}}]},
			"scopeMetrics":[{"metrics":[{"name":"http.err_rate","gauge":{"dataPoints":[{"timeUnixNano":"'"$(date +%s%N)"'","asDouble":0.01}]}}]}]}]}'
	done
}
send_metrics &
PROBE=$!

api() { curl -s --noproxy '*' -H "Authorization: Bearer $ADMIN" "$@"; }

# 1) create a case
CASE=$(api -X POST "$URL/case/create" -d '{"title":"p95 spike","tenant":"t-001"}' | tee "$STACK/1" | jq -r .data.id)
same "the case has both ids" "$(jq -r .data.case_id "$STACK/1")" "$CASE"
same "it is new and driven by hand" "$(jq -r '.data.status + " " + .data.drive' "$STACK/1")" "NEW manual"

# 2) begin the analysis
api -X PATCH "$URL/case/$CASE/transition" \
	-H 'Idempotency-Key:a1' \
	-d '{"event":"start_analysis","actor":"analyst@svc"}' > "$STACK/2"
same "analysis begins" "$(jq -r .data.status "$STACK/2")" ANALYZING
same "the same key again gives the first answer" "$(api -D "$STACK/2h" -X PATCH "$URL/case/$CASE/transition" \
	-H 'Idempotency-Key:a1' -d '{"event":"start_analysis","actor":"analyst@svc"}' | jq -r .data.version)" "$(jq -r .data.version "$STACK/2")"
grep -qi '^Idempotency-Replayed: true' "$STACK/2h" || stack_fail "a replay does not say so"

# 3) make the plan
api -X POST "$URL/plan/generate" -d '{"case_id":"'"$CASE"'","template":"k8s.rollout.canary"}' > "$STACK/3"
same "the plan waits for the gate" "$(jq -r .data.status "$STACK/3")" WAIT_GATE

# 4) let the gate decide
api -X POST "$URL/gate/eval" -d '{"case_id":"'"$CASE"'"}' > "$STACK/4"
same "the gate lets it through" "$(jq -r .data.status "$STACK/4")" EXECUTING

# 5) execute: not what was approved, so a revision that is linted and gated again
api -X POST "$URL/adapter/exec" -d '{"case_id":"'"$CASE"'","adapter":"script","script":"echo ok"}' > "$STACK/5"
same "the script was carried out" "$(jq -r .data.status "$STACK/5")" VERIFYING

# 6) verify
api -X POST "$URL/verify/run" -d '{"case_id":"'"$CASE"'"}' > "$STACK/6"
same "verified on measured buckets and closed" "$(jq -r '.data.status + " " + .data.resolution' "$STACK/6")" "CLOSED verified"

lines=$(api "$URL/case/$CASE/timeline" | jq -r '[.data[].event] | join(" ")')
same "the revision stands on the timeline" "$lines" \
	"create start_analysis analysis_done ask_plan plan_ready ask_gate gate_approved plan_revised plan_ready ask_gate gate_approved ask_exec exec_done ask_verify verify_pass"
same "two decisions, each for one plan" "$(api "$URL/case/$CASE?include=decisions" | jq '[.data.decisions[].plan_id] | unique | length')" 2
same "the script printed ok" "$(api "$URL/case/$CASE?include=runs" | jq -r '.data.runs[-1].steps[0].result.stdout')" ok

# The same call in a tenant whose policy does not let scripts through.
CASE=$(api -X POST "$URL/case/create" -d '{"title":"p95 spike","tenant":"t-002"}' | jq -r .data.id)
api -X PATCH "$URL/case/$CASE/transition" -H 'Idempotency-Key:b1' -d '{"event":"start_analysis","actor":"analyst@svc"}' > /dev/null
api -X POST "$URL/plan/generate" -d '{"case_id":"'"$CASE"'","template":"k8s.rollout.canary"}' > "$STACK/b3"
same "the other tenant has a plan, too" "$(jq -r .data.status "$STACK/b3")" WAIT_GATE
before=$(api "$URL/case/$CASE" | jq -r '.data.plan_id')
code=$(api -o "$STACK/b5" -w '%{http_code}' -X POST "$URL/adapter/exec" -d '{"case_id":"'"$CASE"'","adapter":"script","script":"echo ok"}')
same "without that policy it is not acceptable" "$code" 422
same "as problem+json" "$(jq -r '.status' "$STACK/b5")" 422
echo "   $(jq -r .detail "$STACK/b5")"
same "and nothing has changed" "$(api "$URL/case/$CASE" | jq -r '.data.plan_id')" "$before"
oc audit export --tenant t-001 > "$STACK/audit.jsonl" && oc audit verify "$STACK/audit.jsonl" || stack_fail "the audit does not verify"
echo "all of it"

#!/bin/bash
# test_third_party_adapter.sh SOURCE_DIR BUILD_DIR - the worked example of docs/adapters.md as a stranger would do it:
# examples/adapters/hello is built away from the tree with nothing of it but the one header, checked, held to the
# contract suite, and then repairs something in a real case.
set -uo pipefail
src=$1 build=$2
. "$src/tests/scripts/lib/stack.sh"

made=$(mktemp -d /tmp/opscase-test-XXXXXX)
chmod 755 "$made"
stack_cleanup() { rm -rf "$made"; }
trap 'stack_cleanup' EXIT
cp -r "$src/examples/adapters/hello" "$made/hello"
mkdir -p "$made/include/opscase" "$made/adapters" "$made/policies" "$made/runbooks" "$made/world"
cp "$src/include/opscase/adapter.h" "$made/include/opscase/"

build_it() { (cd / && env -u CPATH -u C_INCLUDE_PATH -u CFLAGS OPSCASE_INCLUDE="$made/include" sh "$made/$1/build.sh"); }
build_it hello || stack_fail "it does not build outside of the tree"
echo "ok: it builds with one header"
"$build/bin/opscase" adapter check "$made/hello/hello.so" || stack_fail "adapter check"
cp -r "$made/hello" "$made/wrong"
sed -i 's/"name": "hello.put"/"name": "other.put"/' "$made/wrong/hello.json"
build_it wrong || stack_fail "the wrong one does not build"
if "$build/bin/opscase" adapter check "$made/wrong/hello.so" > "$made/said" 2>&1; then stack_fail "adapter check takes everything"; fi
echo "ok: a wrong manifest is refused: $(head -n 1 "$made/said" | sed 's/.*hello.so: //')"
"$build/tests/executor_test_contracts" "$made/hello/hello.so" "$made/hello" > "$made/contract.log" 2>&1 ||
	{ cat "$made/contract.log"; stack_fail "the contract suite"; }
same "the contract suite holds" "$(grep -c '^\[       OK \]' "$made/contract.log")" 5

# The service gets it beside the shipped ones, with a runbook and a rule of its own.
cp "$build"/lib/opscase/adapters/*.so "$made/hello/hello.so" "$made/adapters/"
cp "$src/runbooks/noop.yaml" "$made/runbooks/"
cp "$made/hello/runbook.yaml" "$made/runbooks/hello.put.yaml"
cp "$src/policies/default.yaml" "$made/policies/"
echo "under repair" > "$made/world/motd"
chmod 777 "$made/world"
printf '{"hello":{"dir":"%s"}}\n' "$made/world" > "$made/adapters.json"
settings=(--adapters.dir="$made/adapters" --adapters.config="$made/adapters.json" --runbooks.dir="$made/runbooks" --policies.dir="$made/policies")

stack_start "$build" "${settings[@]}"
same "the service has it" "$(curl -s --noproxy '*' -H "Authorization: Bearer $ADMIN" "$URL/adapter" | tee "$STACK/adapters" | jq -r '.data[] | select(.action == "hello.put") | .action')" hello.put
asked=$(oc case create "the message of the day is old" --template hello.put --param file=motd --param line="good morning" --json | jq -r .id)
oc case watch "$asked" --until people --timeout 60 > "$STACK/watch" 2>&1
same "without a rule for it people are asked" "$(oc case show "$asked" --json | jq -r .status)" WAIT_GATE
same "and nothing is written" "$(cat "$made/world/motd")" "under repair"

curl -s --noproxy '*' -X POST "$URL/case/$asked/approve" -H "Authorization: Bearer $APPROVER" -d '{"reason":"read it"}' > "$STACK/approve"
oc case watch "$asked" --timeout 60 > "$STACK/watch" 2>&1 || { cat "$STACK/watch" "$STACK/approve"; stack_fail "the approved case did not get to its end"; }
same "approved, the case closes" "$(oc case show "$asked" --json | jq -r '.status + " " + .resolution')" "CLOSED verified"
same "and the file says it" "$(cat "$made/world/motd")" "good morning"

cp "$made/hello/policy.yaml" "$made/policies/50-hello.yaml"
kill -HUP "$(jq -r '.[] | select(.name == "opscased") | .pid' "$STACK/data/run/children.json")"
for _ in $(seq 100); do
	grep -q 'policies read again' "$STACK"/data/log/opscased* && break
	sleep 0.1
done
id=$(oc case create "the message of the day is old" --label says="good evening" --label file=motd --json | jq -r .id)
oc case watch "$id" --timeout 60 > "$STACK/watch" 2>&1 || { cat "$STACK/watch"; stack_fail "the case did not get to its end"; }
same "with a rule it closes by itself" "$(oc case show "$id" --json | jq -r '.status + " " + .resolution')" "CLOSED verified"
same "the file says it" "$(cat "$made/world/motd")" "good evening"
same "its verdict is the adapter's own probe" \
	"$(curl -s --noproxy '*' -H "Authorization: Bearer $ADMIN" "$URL/case/$id?include=verdicts,runs" | tee "$STACK/case" | jq -r '[.data.verdicts[].checks[].kind] | unique | join(" ")')" probe
same "what it was before is kept for the way back" "$(jq -r '[.. | objects | .before? | objects | .info.line] | first' "$STACK/case")" "good morning"
echo "all of it"

#!/bin/bash
# Shows that the API server of the tests is faithful enough for kubectl itself: what the adapter is
# tested against is then no mirror of the adapter's own ideas.
set -uo pipefail
source_dir=${1:?source folder}
command -v kubectl > /dev/null && command -v node > /dev/null && command -v openssl > /dev/null ||
	{ echo "skipped: needs kubectl, node and openssl"; exit 0; }

work=$(mktemp -d)
server=
stop() {
	[ -z "$server" ] || kill "$server" 2> /dev/null
	rm -rf "$work"
}
trap stop EXIT

failures=0
# says NAME WANTED-CODE PATTERN COMMAND...: the command ends with that code and says that (extended regexp)
says() {
	local name=$1 code=$2 pattern=$3 out rc
	shift 3
	out=$(timeout 60 "$@" 2>&1)
	rc=$?
	if [ "$rc" -eq "$code" ] && grep -Eq -- "$pattern" <<< "$out"; then
		echo "ok    $name"
	else
		echo "FAIL  $name: code $rc (wanted $code), wanted /$pattern/ in:"
		# shellcheck disable=SC2001
		sed 's/^/      /' <<< "$out"
		failures=$((failures + 1))
	fi
}

cat > "$work/seed.json" <<'JSON'
{ "items": [
  { "kind": "Deployment", "metadata": { "name": "web", "namespace": "shop" }, "spec": { "replicas": 3, "progressDeadlineSeconds": 1,
    "selector": { "matchLabels": { "app": "web" } }, "template": { "metadata": { "labels": { "app": "web" } },
      "spec": { "containers": [ { "name": "app", "image": "shop/web:1" }, { "name": "side", "image": "shop/side:1" } ] } } } },
  { "kind": "StatefulSet", "metadata": { "name": "db", "namespace": "shop" }, "spec": { "replicas": 2, "serviceName": "db",
    "selector": { "matchLabels": { "app": "db" } }, "template": { "metadata": { "labels": { "app": "db" } },
      "spec": { "containers": [ { "name": "db", "image": "shop/db:1" } ] } } } },
  { "kind": "DaemonSet", "metadata": { "name": "agent", "namespace": "shop" }, "spec": {
    "selector": { "matchLabels": { "app": "agent" } }, "template": { "metadata": { "labels": { "app": "agent" } },
      "spec": { "containers": [ { "name": "agent", "image": "shop/agent:1" } ] } } } }
] }
JSON
cat > "$work/fresh.json" <<'JSON'
{ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "fresh" }, "spec": { "selector": { "matchLabels": { "app": "fresh" } },
  "template": { "metadata": { "labels": { "app": "fresh" } }, "spec": { "containers": [ { "name": "app", "image": "shop/fresh:1" } ] } } } }
JSON
node "$source_dir/tests/peers/k8s-apiserver/server.mjs" --dir "$work/peer" --seed "$work/seed.json" --step-ms 30 --ready-ms 60 > "$work/started" &
server=$!
for _ in $(seq 100); do
	[ -s "$work/started" ] && break
	sleep 0.1
done
[ -s "$work/started" ] || { echo "FAIL  the peer did not start"; exit 1; }
url=$(node -e 'console.log(JSON.parse(require("fs").readFileSync(process.argv[1])).server)' "$work/started")

export KUBECONFIG=$work/peer/kubeconfig HOME=$work
k=(kubectl --cache-dir="$work/cache" -n shop)
fault() { curl -fsS --cacert "$work/peer/ca.pem" -d "$1" "$url/__fault" > /dev/null; }

says "version" 0 'Server Version: v1\.32' "${k[@]}" version
says "the first rollout ends" 0 'successfully rolled out' "${k[@]}" rollout status deploy/web
says "get deploy prints the columns" 0 '^web +3/3 +3 +3 ' "${k[@]}" get deploy
says "set image" 0 'image updated' "${k[@]}" set image deploy/web app=shop/web:2
says "rollout status waits for it" 0 'Waiting for deployment "web" rollout.*|successfully rolled out' "${k[@]}" rollout status deploy/web
says "the image is there" 0 '^shop/web:2 shop/side:1$' "${k[@]}" get deploy web -o 'jsonpath={.spec.template.spec.containers[*].image}'
says "rollout history knows two revisions" 0 '^2 ' "${k[@]}" rollout history deploy/web
says "rollout history shows one" 0 'shop/web:1' "${k[@]}" rollout history deploy/web --revision=1
says "rollout undo" 0 'rolled back' "${k[@]}" rollout undo deploy/web
says "rollout status after undo" 0 'successfully rolled out' "${k[@]}" rollout status deploy/web
says "the old image is back" 0 '^shop/web:1 ' "${k[@]}" get deploy web -o 'jsonpath={.spec.template.spec.containers[*].image}'
says "revision 1 became revision 3" 0 '^3 ' "${k[@]}" rollout history deploy/web
says "rollout undo to a revision" 0 'rolled back' "${k[@]}" rollout undo deploy/web --to-revision=2
says "rollout undo to a revision that is not there" 1 'unable to find specified revision 99' "${k[@]}" rollout undo deploy/web --to-revision=99
says "rollout status after that" 0 'successfully rolled out' "${k[@]}" rollout status deploy/web
says "rollout restart" 0 'restarted' "${k[@]}" rollout restart deploy/web
says "restart leaves its annotation" 0 'T' "${k[@]}" get deploy web -o 'jsonpath={.spec.template.metadata.annotations}'
says "rollout status after restart" 0 'successfully rolled out' "${k[@]}" rollout status deploy/web
says "observedGeneration has caught up" 0 '^(.+) \1$' "${k[@]}" get deploy web -o 'jsonpath={.metadata.generation} {.status.observedGeneration}'
says "scale" 0 'scaled' "${k[@]}" scale deploy/web --replicas=5
says "scale with a wrong precondition" 1 'Expected replicas to be 4' "${k[@]}" scale deploy/web --current-replicas=4 --replicas=9
says "rollout status after scale" 0 'successfully rolled out' "${k[@]}" rollout status deploy/web
says "five pods are ready" 0 '^5$' "${k[@]}" get deploy web -o 'jsonpath={.status.availableReplicas}'
says "a server dry run" 0 'server dry run' "${k[@]}" set image deploy/web app=shop/web:9 --dry-run=server
says "leaves the image alone" 0 '^shop/web:2 ' "${k[@]}" get deploy web -o 'jsonpath={.spec.template.spec.containers[*].image}'
says "pause" 0 'paused' "${k[@]}" rollout pause deploy/web
says "a paused deployment is not restarted" 1 "can't restart paused" "${k[@]}" rollout restart deploy/web
says "resume" 0 'resumed' "${k[@]}" rollout resume deploy/web
says "set image of a statefulset" 0 'image updated' "${k[@]}" set image sts/db db=shop/db:2
says "its rollout ends" 0 'roll out complete' "${k[@]}" rollout status sts/db
says "undo of a statefulset" 0 'rolled back' "${k[@]}" rollout undo sts/db
says "its rollout ends again" 0 'roll out complete' "${k[@]}" rollout status sts/db
says "the old image is back" 0 '^shop/db:1$' "${k[@]}" get sts db -o 'jsonpath={.spec.template.spec.containers[*].image}'
says "set image of a daemonset" 0 'image updated' "${k[@]}" set image ds/agent agent=shop/agent:2
says "its rollout ends" 0 'successfully rolled out' "${k[@]}" rollout status ds/agent
says "undo of a daemonset" 0 'rolled back' "${k[@]}" rollout undo ds/agent
says "its rollout ends again" 0 'successfully rolled out' "${k[@]}" rollout status ds/agent
says "create" 0 'created' "${k[@]}" create --validate=false -f "$work/fresh.json"
says "create twice" 1 'AlreadyExists' "${k[@]}" create --validate=false -f "$work/fresh.json"
says "its rollout ends" 0 'successfully rolled out' "${k[@]}" rollout status deploy/fresh
says "delete" 0 'deleted' "${k[@]}" delete deploy fresh
says "not found" 1 'deployments.apps "fresh" not found' "${k[@]}" get deploy fresh
says "an immutable selector" 1 'field is immutable' "${k[@]}" patch deploy web --type=merge -p '{"spec":{"selector":{"matchLabels":{"app":"x"}}}}'
says "a stale resourceVersion" 1 'the object has been modified' "${k[@]}" patch deploy web --type=merge -p '{"metadata":{"resourceVersion":"7"},"spec":{"replicas":2}}'
says "a wrong token" 1 'Unauthorized|must be logged in' "${k[@]}" --token=wrong get deploy
fault '{"kind":"refuse","verbs":["PATCH"],"times":1}'
says "a refusal" 1 'is forbidden: User' "${k[@]}" set image deploy/web app=shop/web:4
fault '{"kind":"never_available","image":"web:5"}'
says "an image that never comes up" 0 'image updated' "${k[@]}" set image deploy/web app=shop/web:5
says "the progress deadline" 1 'exceeded its progress deadline' "${k[@]}" rollout status deploy/web
says "undo mends it" 0 'rolled back' "${k[@]}" rollout undo deploy/web
says "and it ends well" 0 'successfully rolled out' "${k[@]}" rollout status deploy/web

[ "$failures" -eq 0 ] || { echo "$failures failed"; exit 1; }

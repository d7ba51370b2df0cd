#!/bin/bash
# The API server of the tests, for the suite that runs over every adapter.
#   fixture.sh start DIR | stop DIR | state DIR | effects DIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
what=${1:?start, stop, state or effects}
dir=${2:?a folder of its own}

field() { node -p "JSON.parse(require('fs').readFileSync('$dir/started', 'utf8')).$1"; }
ask() { curl -fsS --noproxy '*' --cacert "$dir/peer/ca.pem" "$(field server)$1"; }

case $what in
start)
	mkdir -p "$dir"
	sed 's/"items": \[/&\
  { "kind": "Deployment", "metadata": { "name": "slow", "namespace": "shop" }, "spec": { "replicas": 1, "selector": { "matchLabels": { "app": "slow" } },\
    "template": { "metadata": { "labels": { "app": "slow" } }, "spec": { "containers": [ { "name": "app", "image": "shop\/slow:1" } ] } } } },/' \
		"$here/tests/seed.json" > "$dir/seed.json"
	: > "$dir/started"
	setsid node "$here/../../tests/peers/k8s-apiserver/server.mjs" --dir "$dir/peer" --seed "$dir/seed.json" --step-ms 15 --ready-ms 30 \
		--never-ready slow:never > "$dir/started" 2> "$dir/log" < /dev/null &
	echo $! > "$dir/pid"
	for _ in $(seq 200); do
		[ ! -s "$dir/started" ] || break
		kill -0 "$(cat "$dir/pid")" 2> /dev/null || break
		sleep 0.05
	done
	[ -s "$dir/started" ] || { cat "$dir/log" >&2; exit 1; }
	node -e '
		const s = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
		console.log(JSON.stringify({ config: { server: s.server, ca_file: s.ca_file, poll_ms: 50 }, secrets: { token: s.token },
			vars: { port: String(s.port) } }));' "$dir/started"
	;;
stop)
	[ ! -s "$dir/pid" ] || kill "$(cat "$dir/pid")" 2> /dev/null || true
	rm -f "$dir/pid"
	;;
state) ask /__state ;;
effects) ask /__effects | node -p 'JSON.parse(require("fs").readFileSync(0, "utf8")).effects' ;;
*)
	echo "start, stop, state or effects, not '$what'" >&2
	exit 2
	;;
esac

#!/bin/bash
# fixture.sh start|stop|state|effects DIR - a real HTTP service on a free loopback port (tests/peer.js).
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$2

start() {
	mkdir -p "$dir"
	node "$here/tests/peer.js" > "$dir/ports" 2> "$dir/peer.err" &
	echo $! > "$dir/peer.pid"
	for _ in $(seq 200); do
		[ -s "$dir/ports" ] && break
		sleep 0.05
	done
	read -r port _ < "$dir/ports"
	echo "{\"config\":{\"allow\":[\"127.0.0.1:$port\"]},\"secrets\":{\"token\":\"contract-secret\"},\"vars\":{\"port\":\"$port\"}}"
}

stop() {
	[ ! -s "$dir/peer.pid" ] || kill "$(cat "$dir/peer.pid")" 2> /dev/null || true
}

get() {
	read -r port _ < "$dir/ports"
	curl -s "http://127.0.0.1:$port/$1"
	echo
}

case $1 in
start | stop) "$1" ;;
state | effects) get "$1" ;;
*)
	echo "usage: fixture.sh start|stop|state|effects DIR" >&2
	exit 64
	;;
esac

#!/bin/bash
# run.sh BUILD [NAME ...] - measures, next to a peer or a limit, and prints one JSON line per figure.
# Called by ./dev bench inside the platform. Without a name it lists the benches; `all` runs each of them.
# BENCH_ROUNDS (5) and BENCH_SECONDS (the length of one round) change how long it takes; BENCH_NATS=nats-unsynced lets
# nats-server sync every two minutes instead of for each message.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
build=$(cd "${1:?usage: run.sh BUILD [NAME ...]}" && pwd -P)
shift

list() {
	echo "benches (./dev bench NAME, or all):"
	for file in "$here"/*.py; do
		printf '  %-11s %s\n' "$(basename "$file" .py)" "$(sed -n '2s/^"""[a-z_.]* - \([^"]*\).*/\1/p' "$file")"
	done
}

if [ $# = 0 ]; then
	list
	exit 0
fi
if [ "$1" = all ]; then set -- fsm gate transition relay read loop flow webhook faults; fi
code=0
for name in "$@"; do
	if [ ! -f "$here/$name.py" ]; then
		echo "there is no bench '$name'" >&2
		list >&2
		exit 64
	fi
	PYTHONPATH=$here/lib PYTHONDONTWRITEBYTECODE=1 python3 -u "$here/$name.py" "$build" || code=1
done
exit $code

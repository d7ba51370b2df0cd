#!/bin/sh
# The include check must catch what it is there for: each bad line below, put alone into an otherwise
# good tree, is reported with its place; the good tree passes.
set -eu

root=$(cd "${1:-.}" && pwd)
check=$root/tests/layout/check_includes.sh
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0

put() { # put FILE LINE...
	file=$tree/$1
	shift
	mkdir -p "$(dirname "$file")"
	printf '%s\n' "$@" > "$file"
}

fresh() {
	rm -rf "${tree:?}"/*
	mkdir -p "$tree/tests/layout"
	cp "$root/tests/layout/rooms.txt" "$tree/tests/layout/"
	put include/opscase/adapter.h '#include <stdint.h>'
	put base/text.h '#include <stddef.h>'
	put base/text.c '#include "base/text.h"' '#include "text.h"'
	put domain/case.h '#include "base/text.h"'
	put wire/pg/pg.h '#include "base/text.h"'
	put wire/pg/pg.c '#include <libpq-fe.h>' '#include "wire/pg/pg.h"'
	put wire/json/json.h '#include <jansson.h>'
	put wire/yaml/yaml.h '#include "wire/json/json.h"'
	put wire/yaml/yaml.c '#include "yaml.h"' '#include <yaml.h>'
	put store/outbox.h '#include "wire/pg/pg.h"'
	put orchestrator/transition.h '#include "domain/case.h"'
	put orchestrator/relay.h
	put planner/planner.h
	put api/routes.c '#include "orchestrator/transition.h"' '#include "generated_table.h"'
	put adapters/common/answer.h '#include <jansson.h>' '#include <opscase/adapter.h>'
	put adapters/noop/noop.c '#include "common/answer.h"' '#include <curl/curl.h>' '#include "noop_manifest.h"'
	put adapters/script/child.h
	put apps/opscased.c '#include "planner/planner.h"' '#include "orchestrator/relay.h"'
	put tests/unit/test_x.c '#include "planner/planner.h"'
}

passes() {
	if ! out=$(sh "$check" "$tree" 2>&1); then
		echo "FAILED: $1: this tree is in order, yet:"
		echo "$out"
		failed=1
	fi
}

# caught FILE LINE: the line is reported, with file and number
caught() {
	fresh
	put "$1" '/* one line above */' "$2"
	if out=$(sh "$check" "$tree" 2>&1); then
		echo "FAILED: not caught: $1: $2"
		failed=1
	elif ! echo "$out" | grep -qF "$1:2: "; then
		echo "FAILED: $1: $2: caught, but the place is not named:"
		echo "$out"
		failed=1
	fi
}

fresh
passes "the good tree"

caught base/log.c '#include "domain/case.h"'
caught base/log.c '#include "../domain/case.h"'
caught base/log.c '  #  include "domain/case.h"'
caught base/log.c '#include <domain/case.h>'
caught domain/plan.h '#include "store/outbox.h"'
caught domain/plan.h '#include "wire/json/json.h"'
caught wire/pg/more.c '#include "wire/json/json.h"'
caught wire/pg/more.c '#include "../json/json.h"'
caught store/case.c '#include <libpq-fe.h>'
caught store/case.c '#include "orchestrator/transition.h"'
caught orchestrator/fsm.c '#include "planner/planner.h"'
caught planner/lint.c '#include "orchestrator/transition.h"'
caught planner/lint.c '#include "gatekeeper/not_written_yet.h"'
caught planner/lint.c '#include <jansson.h>'
caught api/case.c '#include "orchestrator/relay.h"'
caught api/case.c '#include <microhttpd.h>'
caught executor/host.c '#include <nats.h>'
caught executor/host.c '#include <nats/nats.h>'
caught wire/json/more.c '#include <yaml.h>'
caught adapters/k8s/k8s.c '#include "base/text.h"'
caught adapters/k8s/k8s.c '#include "../../base/text.h"'
caught adapters/k8s/k8s.c '#include "script/child.h"'
caught adapters/k8s/k8s.c '#include <libpq-fe.h>'
caught adapters/common/more.h '#include "script/child.h"'
caught include/opscase/more.h '#include "base/text.h"'
caught sensor-bpf/host/main.c '#include "store/outbox.h"'
caught planner/lint.c '#include "tests/unit/helper.h"'
caught planner/lint.c '#include SOME_NAME'

fresh
put cellar/box.c '#include <stddef.h>'
if sh "$check" "$tree" > /dev/null 2>&1; then
	echo "FAILED: a file that lies in no room passed"
	failed=1
fi

fresh
echo 'room zzz : no_such_room' >> "$tree/tests/layout/rooms.txt"
if sh "$check" "$tree" > /dev/null 2>&1; then
	echo "FAILED: a row that names an unknown room passed"
	failed=1
fi

fresh
printf 'room ring_a : ring_b\nroom ring_b : ring_a\n' >> "$tree/tests/layout/rooms.txt"
if sh "$check" "$tree" > /dev/null 2>&1; then
	echo "FAILED: rows that make a circle passed"
	failed=1
fi

fresh
: > "$tree/tests/layout/rooms.txt"
if sh "$check" "$tree" > /dev/null 2>&1; then
	echo "FAILED: an empty table passed"
	failed=1
fi

[ "$failed" = 0 ] && echo "every planted line was caught"
exit "$failed"

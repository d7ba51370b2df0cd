#!/bin/bash
# test_otlp_grpc.sh SOURCE BUILD - OTLP over gRPC from a real client into the rows of a real installation.
set -u
source=$1
build=$2
# shellcheck source=tests/scripts/lib/stack.sh
. "$source/tests/scripts/lib/stack.sh"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
stack_start "$build" --grpc.port="$port" --window.metric_s=5 --window.delay_s=1
python3 "$source/tests/peers/otlp_grpc.py" "$port" "$ADMIN"
code=$?
[ $code != 77 ] || exit 77
[ $code = 0 ] || stack_fail "the client ended with $code"

worker=$(sed -n 's/^db.worker = "\(.*\)"$/\1/p' "$STACK/data/run/opscased.conf")
rows() { psql "$worker" -Atc "$1"; }
sums="SELECT (SELECT coalesce(sum(count), 0) FROM metric_1m WHERE metric = 'queue.length'),
	(SELECT coalesce(sum(count_total), 0) FROM log_pattern_5m), (SELECT count(*) FROM log_pattern)"
for _ in $(seq 300); do
	[ "$(rows "$sums")" != "50|200|1" ] || break
	sleep 0.1
done
same "points, log lines and templates in the rows" "$(rows "$sums")" "50|200|1"
same "the point without a time is a dead letter" \
	"$(for _ in $(seq 100); do [ "$(rows "SELECT count(*) FROM dead_letter")" = 0 ] || break; sleep 0.1; done; rows "SELECT count(*) FROM dead_letter")" 1

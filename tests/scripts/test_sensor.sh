#!/bin/bash
# test_sensor.sh SOURCE BUILD - the sensor on this kernel, next to real servers: what it counts is what the clients
# sent. Where the kernel takes no programs (77 for CTest: skipped), the fallback has been looked at all the same.
set -u
source=$1
build=$2
sensor=$build/bin/opscase-sensor
work=$(mktemp -d /tmp/opscase-sensor-XXXXXX)
chmod 755 "$work"
pids=()

cleanup() {
	local rc=$? pid
	for pid in "${pids[@]}"; do kill -TERM "$pid" 2> /dev/null; done
	wait 2> /dev/null
	rm -rf "$work"
	exit $rc
}
trap cleanup EXIT
fail() {
	echo "FAILED: $*" >&2
	tail -n 20 "$work"/*.log >&2
	[ ! -s "$work/sums" ] || jq -r 'to_entries[] | "\(.value) \(.key)"' "$work/sums" | head -n 80 >&2
	exit 1
}
ok() { echo "ok: $*"; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# --- without BPF: said, not hidden
"$sensor" doctor --sensor.bpf=false > "$work/doctor.log" 2>&1
grep -q 'sensor.bpf is false' "$work/doctor.log" || fail "doctor does not say why there is no BPF"
ok "without BPF: $(grep -m1 'sensor.bpf is false' "$work/doctor.log")"

"$sensor" doctor > "$work/doctor.log" 2>&1
if ! grep -q '^calls *loaded' "$work/doctor.log"; then
	echo "skipped: this kernel does not take the probe 'calls':"
	cat "$work/doctor.log"
	exit 77
fi
ok "doctor: $(grep -c ' loaded ' "$work/doctor.log") probes loaded"

# --- the stage: collector, sensor, servers
python3 "$source/tests/sensor/collector.py" "$work/sums" > "$work/collector.port" 2> "$work/collector.log" &
pids+=($!)
for _ in $(seq 100); do [ ! -s "$work/collector.port" ] || break; sleep 0.1; done
"$sensor" run --sensor.endpoint="http://127.0.0.1:$(cat "$work/collector.port")" --sensor.interval=500ms \
	--sensor.probes=tcp,calls --sensor.cpu_share=100 2> "$work/sensor.log" &
pids+=($!)
for _ in $(seq 300); do ! grep -q ' ready' "$work/sensor.log" || break; sleep 0.1; done
grep -q ' ready' "$work/sensor.log" || fail "the sensor is not ready"

web=$(free_port)
cat > "$work/nginx.conf" << END
daemon off;
worker_processes 1;
pid $work/nginx.pid;
error_log $work/nginx.log;
events { worker_connections 256; }
http {
	access_log $work/access.log;
	client_body_temp_path $work/t1; proxy_temp_path $work/t2; fastcgi_temp_path $work/t3; uwsgi_temp_path $work/t4; scgi_temp_path $work/t5;
	server { listen 127.0.0.1:$web; location / { return 200 "well\n"; } location /broken { return 503; } }
}
END
nginx -p "$work" -c "$work/nginx.conf" 2>> "$work/nginx.log" &
pids+=($!)
cache=$(free_port)
redis-server --port "$cache" --bind 127.0.0.1 --save '' --dir "$work" > "$work/redis.log" 2>&1 &
pids+=($!)
names=127.0.77.$((RANDOM % 250 + 1)) # DNS over UDP is known by its port
dnsmasq --keep-in-foreground --no-resolv --no-hosts --conf-file=/dev/null --user=root --pid-file="$work/dnsmasq.pid" \
	--listen-address="$names" --bind-interfaces --address=/example.test/192.0.2.7 > "$work/dnsmasq.log" 2>&1 &
pids+=($!)
for port in $web $cache; do
	for _ in $(seq 100); do ! (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null || break; sleep 0.1; done
done

# counted SELECTION WANTED: the sum over all keys that jq selects, as soon as it is that; never more
counted() {
	local got=
	for _ in $(seq 300); do
		if [ -s "$work/sums" ]; then
			got=$(jq "[to_entries[] | select(.key | ($1)) | .value] | add // 0" "$work/sums")
			[ "$got" != "$2" ] || return 0
		fi
		sleep 0.1
	done
	fail "$1: $got and not $2"
}
# whichever end was known first tells of a call, once
served='startswith("service.call.duration ")'

# --- HTTP: 300 requests on 3 connections, some of them failing; a route has its numbers folded
for i in 1 2 3; do
	curl -s --noproxy '*' -o /dev/null "http://127.0.0.1:$web/items/[${i}01-${i}80]" || fail "curl"
	curl -s --noproxy '*' -o /dev/null "http://127.0.0.1:$web/broken?[1-20]" || fail "curl"
done
counted "$served and contains(\"server=nginx:$web\") and contains(\"http.response.status_code=200\") and contains(\"http.route=/items/:id\")" 240
counted "$served and contains(\"server=nginx:$web\") and contains(\"http.response.status_code=503\") and contains(\"error=true\")" 60
ok "HTTP: 240 answered, 60 failed, as sent and as in nginx's own log ($(wc -l < "$work/access.log") lines)"
[ "$(wc -l < "$work/access.log")" = 300 ] || fail "nginx has $(wc -l < "$work/access.log") requests"

# --- Redis: one after the other (of what a client pipelines, 64 calls at once are followed)
redis-cli -p "$cache" -r 50 SET key value > /dev/null
redis-cli -p "$cache" -r 30 GET key > /dev/null
counted "$served and contains(\"network.protocol.name=redis\") and contains(\":$cache\") and contains(\"rpc.method=SET\")" 50
counted "$served and contains(\"network.protocol.name=redis\") and contains(\":$cache\") and contains(\"rpc.method=GET\")" 30
ok "Redis: 50 SET, 30 GET"

# --- DNS, over UDP: each end tells what it saw
for i in $(seq 12); do
	dig +short +tries=3 +time=5 "@$names" "host$i.example.test" A > "$work/dig.log" || fail "dig"
done
counted "$served and contains(\"side=server\") and contains(\"network.protocol.name=dns\") and contains(\"server=dnsmasq\")" 12
ok "DNS: 12 questions"

# --- what nobody answers is a failed connection
nobody=$(free_port)
for _ in 1 2 3; do (exec 3<> "/dev/tcp/127.0.0.1/$nobody") 2> /dev/null; done
counted "startswith(\"tcp.connects \") and contains(\":$nobody\") and (contains(\"outcome=ok\") | not)" 3
ok "TCP: 3 refused connections"

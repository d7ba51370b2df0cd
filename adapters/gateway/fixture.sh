#!/bin/bash
# fixture.sh start|stop|state|effects DIR - a real nginx and a real HAProxy on free loopback ports, private to DIR.
set -eu
dir=$2
nginx=/usr/sbin/nginx
haproxy=/usr/sbin/haproxy

free_ports() { # COUNT: that many ports that are free now, different from each other
	node -e '
		const n = Number(process.argv[1]), open = [];
		const next = () => {
			if (open.length === n) {
				console.log(open.map((s) => s.address().port).join(" "));
				open.forEach((s) => s.close());
				return;
			}
			const s = require("net").createServer().listen(0, "127.0.0.1", () => { open.push(s); next(); });
		};
		next();' "$1"
}

wait_for() { # PORT: until something answers there
	for _ in $(seq 200); do
		curl -s -o /dev/null "http://127.0.0.1:$1/" && return 0
		sleep 0.05
	done
	echo "nothing answers on port $1" >&2
	return 1
}

ask_haproxy() {
	node -e '
		const s = require("net").connect(process.argv[1], () => s.end(process.argv[2] + "\n"));
		s.on("data", (d) => process.stdout.write(d));
		s.on("error", (e) => { console.error(e.message); process.exit(1); });' "$dir/admin.sock" "$1"
}

start() {
	mkdir -p "$dir"
	dir=$(cd "$dir" && pwd)
	read -r front blue green lb lb_blue lb_green hole <<< "$(free_ports 7)"
	cat > "$dir/upstream.conf" << END
upstream pool {
	least_conn;
	server 127.0.0.1:$blue max_fails=2 fail_timeout=5s;
}
END
	cat > "$dir/nginx.conf" << END
worker_processes 1;
pid $dir/nginx.pid;
error_log $dir/error.log notice;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path $dir/t1; proxy_temp_path $dir/t2; fastcgi_temp_path $dir/t3;
	uwsgi_temp_path $dir/t4; scgi_temp_path $dir/t5;
	include $dir/upstream.conf;
	server { listen 127.0.0.1:$front; location / { proxy_pass http://pool; } }
	server { listen 127.0.0.1:$blue; location / { return 200 blue; } }
	server { listen 127.0.0.1:$green; location / { return 200 green; } }
}
END
	if [ "$(id -u)" = 0 ]; then
		sed -i '1i user root;' "$dir/nginx.conf"
	fi
	cat > "$dir/haproxy.cfg" << END
global
	stats socket $dir/admin.sock level admin mode 600
	nbthread 1
defaults
	mode http
	timeout connect 2s
	timeout client 600s
	timeout server 600s
frontend front
	bind 127.0.0.1:$lb
	default_backend web
frontend blue
	bind 127.0.0.1:$lb_blue
	http-request return status 200 content-type text/plain string blue
frontend green
	bind 127.0.0.1:$lb_green
	http-request return status 200 content-type text/plain string green
backend web
	balance roundrobin
	server blue 127.0.0.1:$lb_blue weight 100
	server green 127.0.0.1:$lb_green weight 100 disabled
frontend busy
	bind 127.0.0.1:$hole
	default_backend held
backend held
	# one session that does not end: a client waits for a server that never answers
	server only $dir/hole.sock
END
	# errors of a not yet opened log go to stderr; the notice about `user` when not root is no news
	"$nginx" -p "$dir" -c "$dir/nginx.conf" > "$dir/nginx.out" 2>&1
	"$haproxy" -q -D -p "$dir/haproxy.pid" -f "$dir/haproxy.cfg" > "$dir/haproxy.out" 2>&1
	node -e 'require("net").createServer(() => {}).listen(process.argv[1])' "$dir/hole.sock" > /dev/null 2>&1 &
	echo $! > "$dir/hole.pid"
	wait_for "$front"
	wait_for "$lb"
	for _ in $(seq 100); do
		[ -S "$dir/hole.sock" ] && break
		sleep 0.05
	done
	curl -s -m 3600 "http://127.0.0.1:$hole/" > /dev/null 2>&1 &
	echo $! > "$dir/client.pid"
	cat << END | tr -d '\n'
{"config":{"gateways":{
"edge":{"kind":"nginx","binary":"$nginx","conf":"$dir/nginx.conf","prefix":"$dir","upstream_file":"$dir/upstream.conf","pid_file":"$dir/nginx.pid"},
"lb":{"kind":"haproxy","socket":"$dir/admin.sock"}}},
"secrets":{},"vars":{"front":"$front","blue":"$blue","green":"$green","lb":"$lb"}}
END
	echo
}

stop() {
	for what in client hole haproxy nginx; do
		[ -s "$dir/$what.pid" ] || continue
		kill "$(head -1 "$dir/$what.pid")" 2> /dev/null || true
	done
}

state() {
	cat "$dir/upstream.conf"
	ask_haproxy "show servers state" | awk '$2 == "web" || $2 == "held" { print $2, $4, $7, $8 }'
}

# A flip is a reload of nginx, or a change of a server in HAProxy (which it logs nowhere, so its state is compared).
effects() {
	local reloads changed=0
	reloads=$(grep -c ', reconfiguring' "$dir/error.log" || true)
	case "$(ask_haproxy "show servers state web" | awk '$4 == "green" { print $7 }')" in
	0) changed=1 ;;
	esac
	echo $((reloads + changed))
}

case $1 in
start | stop | state | effects) "$1" ;;
*)
	echo "usage: fixture.sh start|stop|state|effects DIR" >&2
	exit 64
	;;
esac

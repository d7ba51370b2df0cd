# site.sh - the site that is repaired in the demo: a real nginx as gateway `edge`, in front of two real backends of
# two services. Sourced by stage.sh; needs $work, and keeps the pids it starts in $pids.
#
# A backend goes bad by `break_backend NAME`: it then fails most requests and is slow with the others; by `slow_backend`
# it is only slow; `mend_backend` takes that back. They rewrite a file that the backend includes, and reload it.

free_ports() { # COUNT: different ports that are free now
	python3 -c '
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in held: s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in held])' "$1"
}

nginx_head() { # DIR
	cat << END
daemon off;
worker_processes 1;
pid $1/nginx.pid;
error_log $1/error.log notice;
events { worker_connections 256; }
END
}

nginx_paths() { # DIR
	cat << END
	access_log off;
	client_body_temp_path $1/t1; proxy_temp_path $1/t2; fastcgi_temp_path $1/t3; uwsgi_temp_path $1/t4; scgi_temp_path $1/t5;
END
}

backend_conf() { # COLOUR SHOP_PORT PAY_PORT
	local dir=$work/$1
	mkdir -p "$dir/www"
	# larger than what a slowed-down backend sends in its first second
	{
		echo "<h1>served by $1</h1>"
		head -c 18000 /dev/zero | tr '\0' '.'
	} > "$dir/www/page.html"
	: > "$dir/shop.fault"
	: > "$dir/pay.fault"
	{
		nginx_head "$dir"
		echo "http {"
		nginx_paths "$dir"
		echo '	split_clients "$request_id" $unlucky { 70% 1; * ""; }'
		local service port=$2
		for service in shop pay; do
			cat << END
	server {
		listen 127.0.0.1:$port;
		add_header X-Served-By $1 always;
		location / { root $dir/www; try_files /page.html =404; default_type text/html; include $dir/$service.fault; }
	}
END
			port=$3
		done
		echo "}"
	} > "$dir/nginx.conf"
}

start_nginx() { # DIR
	nginx -p "$1" -c "$1/nginx.conf" 2>> "$1/start.log" &
	pids+=($!)
}

site_start() {
	local _
	read -r edge_shop edge_pay blue_shop blue_pay green_shop green_pay _ <<< "$(free_ports 6)"
	edge=$work/edge
	mkdir -p "$edge"
	cat > "$edge/upstreams.conf" << END
upstream shop {
	server 127.0.0.1:$blue_shop;
}
upstream pay {
	server 127.0.0.1:$blue_pay;
}
END
	{
		nginx_head "$edge"
		cat << END
http {
$(nginx_paths "$edge")
	include $edge/upstreams.conf;
	# what is measured of the gateway, where somebody reads it
	log_format seen escape=json '{"at":"\$msec","port":"\$server_port","status":"\$status","s":"\$request_time","to":"\$upstream_addr","to_status":"\$upstream_status","to_s":"\$upstream_response_time"}';
	server { listen 127.0.0.1:$edge_shop; access_log $edge/seen.log seen; location / { proxy_pass http://shop; proxy_next_upstream off; } }
	server { listen 127.0.0.1:$edge_pay; location / { proxy_pass http://pay; proxy_next_upstream off; } }
}
END
	} > "$edge/nginx.conf"
	backend_conf blue "$blue_shop" "$blue_pay"
	backend_conf green "$green_shop" "$green_pay"
	start_nginx "$work/blue"
	start_nginx "$work/green"
	start_nginx "$edge"
	# what opscase may know of it: where the gateway's files are
	cat > "$work/adapters.json" << END
{ "gateway": { "gateways": { "edge": {
	"kind": "nginx", "conf": "$edge/nginx.conf", "prefix": "$edge",
	"upstream_file": "$edge/upstreams.conf", "pid_file": "$edge/nginx.pid" } } } }
END
	local port
	for port in $edge_shop $edge_pay $green_shop $green_pay; do
		for _ in $(seq 100); do
			curl -s --noproxy '*' -o /dev/null "http://127.0.0.1:$port/" && break
			sleep 0.05
		done
	done
}

reload_backend() { kill -HUP "$(cat "$work/$1/nginx.pid")"; }

break_backend() { # COLOUR SERVICE
	printf 'limit_rate 10k;\nif ($unlucky) { return 503 "broken\\n"; }\n' > "$work/$1/$2.fault"
	reload_backend "$1"
}

slow_backend() { # COLOUR SERVICE
	echo 'limit_rate 10k;' > "$work/$1/$2.fault"
	reload_backend "$1"
}

mend_backend() { # COLOUR SERVICE
	: > "$work/$1/$2.fault"
	reload_backend "$1"
}

look() { # PORT: three requests, as a customer sees them
	local _
	for _ in 1 2 3; do
		curl -s --noproxy '*' -o /dev/null -D "$work/headers" -w '%{http_code} in %{time_total} s' "http://127.0.0.1:$1/"
		echo ", served by $(tr -d '\r' < "$work/headers" | sed -n 's/^X-Served-By: //p')"
	done | sed 's/^/      curl: /'
}

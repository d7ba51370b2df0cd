# stack.sh - an embedded installation for one test: started in a folder of its own, gone with the test.
#   . lib/stack.sh; stack_start BUILD [--name=value ...]; oc case list; ...; stack_stop (also by trap)
# Sets STACK (folder), URL, ADMIN and APPROVER (token texts).

stack_fail() {
	echo "FAILED: $*" >&2
	if [ -s "${STACK:-}/up.log" ]; then tail -n 40 "$STACK/up.log" >&2; fi
	if [ -d "${STACK:-}/data/log" ]; then tail -n 40 "$STACK"/data/log/opscased* >&2; fi
	exit 1
}

oc() { "$STACK_BUILD/bin/opscase" "$@" --data "$STACK/data"; }

stack_up() {
	"$STACK_BUILD/bin/opscase" up --data "$STACK/data" --http.port="$STACK_PORT" "${STACK_SETTINGS[@]}" > "$STACK/up.log" 2>&1 &
	STACK_PID=$!
	for _ in $(seq 600); do
		# the file is written last: before it is there, the command line does not know where the service is
		if [ -s "$STACK/data/url" ] && curl -fsS --noproxy '*' "$URL/readyz" > /dev/null 2>&1; then break; fi
		kill -0 "$STACK_PID" 2> /dev/null || stack_fail "opscase up ended at once"
		sleep 0.1
	done
	[ -s "$STACK/data/url" ] && curl -fsS --noproxy '*' "$URL/readyz" > /dev/null || stack_fail "opscase up is not ready after a minute"
}

stack_start() {
	STACK_BUILD=$1
	shift
	STACK=$(mktemp -d /tmp/opscase-test-XXXXXX)
	chmod 755 "$STACK"
	STACK_SETTINGS=("$@")
	STACK_PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	URL=http://127.0.0.1:$STACK_PORT
	trap stack_stop EXIT
	stack_up
	ADMIN=$(cat "$STACK/data/tokens/admin")
	APPROVER=$(cat "$STACK/data/tokens/approver")
	export ADMIN APPROVER URL
}

stack_stop() {
	local code=$?
	trap - EXIT
	if [ -n "${STACK_PID:-}" ]; then
		kill -TERM "$STACK_PID" 2> /dev/null
		for _ in $(seq 200); do
			kill -0 "$STACK_PID" 2> /dev/null || break
			sleep 0.1
		done
		kill -KILL "$STACK_PID" 2> /dev/null
	fi
	if [ "$(type -t stack_cleanup)" = function ]; then stack_cleanup; fi
	rm -rf "${STACK:?}"
	exit "$code"
}

same() { # what, got, wanted
	[ "$2" = "$3" ] || stack_fail "$1: got '$2', wanted '$3'"
	echo "ok: $1: $2"
}

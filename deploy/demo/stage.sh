# stage.sh - what the demos share: how they talk, how they end, and how the embedded stack comes up. Sourced with $here, $build
# and $source set; gives $work, $pids, $url.
PATH=$build/bin:$PATH:/usr/sbin:/sbin
# nothing of the caller's own installation shall be touched
unset OPSCASE_URL OPSCASE_TOKEN OPSCASE_TENANT OPSCASE_DATA OPSCASE_CONFIG
began=$(date +%s%N)
pids=()
up_pid=
work=

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' blue=$'\e[36m' plain=$'\e[0m'
else
	bold='' dim='' red='' green='' blue='' plain=''
fi

now() { printf '%5.1f' "$((($(date +%s%N) - began) / 100000000))e-1"; }
title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '%s%ss%s  %s\n' "$dim" "$(now)" "$plain" "$*"; }
good() { printf '%s%ss%s  %s%s%s\n' "$dim" "$(now)" "$plain" "$green" "$*" "$plain"; }
# what is typed is shown as it is typed
run() {
	printf '%s$ %s%s\n' "$blue" "$(show "$@")" "$plain"
	"$@"
}
show() {
	local word out=
	for word in "$@"; do
		case $word in *[!A-Za-z0-9_./:=,@-]*) word="'$word'" ;; esac
		out+="$word "
	done
	printf '%s' "${out% }"
}
broken() {
	printf '%sthe demo did not work: %s%s\n' "$red" "$*" "$plain" >&2
	if [ -d "$work/data/log" ]; then
		tail -n 25 "$work/data/log/opscased.log" >&2 || true
		cat "$work"/probe-*.log >&2 || true
	fi
	exit 1
}

# shellcheck disable=SC2317
cleanup() {
	local rc=$? pid
	trap '' INT TERM
	for pid in "${pids[@]}"; do
		kill -TERM "$pid" 2> /dev/null || true
	done
	[ -z "$up_pid" ] || kill -TERM "$up_pid" 2> /dev/null || true
	wait 2> /dev/null || true
	[ -z "$work" ] || rm -rf "$work"
	exit "$rc"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

for program in nginx curl jq python3 opscase opscased; do
	command -v "$program" > /dev/null || {
		echo "the demo needs $program" >&2
		exit 69
	}
done
work=$(mktemp -d /tmp/opscase-demo.XXXXXX)
chmod 755 "$work"
# shellcheck source=deploy/demo/site.sh
. "$here/site.sh"
export OPSCASE_DATA=$work/data

bring_up() { # SETTINGS...: opscase up in the background, until it answers
	opscase up --adapters.config="$work/adapters.json" --policies.dir="$source/policies" "$@" < /dev/null > "$work/up.log" 2>&1 &
	up_pid=$!
	for _ in $(seq 600); do
		[ ! -e "$work/data/url" ] || break
		kill -0 "$up_pid" 2> /dev/null || break
		sleep 0.1
	done
	sed 's/^/    /' "$work/up.log"
	[ -e "$work/data/url" ] || broken "opscase up did not come up"
	url=$(cat "$work/data/url")
}

# platform.sh - brings Debian 13 and runs a command inside it. Sourced by ./dev.
#
# Three ways, the first that fits: this system is Debian 13 or later (apt); a Debian 13 root beside the
# host, entered by chroot in a mount namespace of its own; a container from the Containerfile.
# Needs $project (absolute) and $cache; offers platform_run COMMAND..., which does not return.
# shellcheck shell=bash

project=${project:?}
cache=${cache:?}
platform_dir=$project/tools/platform

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then arrow=$'\033[1m==>\033[0m'; else arrow='==>'; fi
say() { printf '%s %s\n' "$arrow" "$*" >&2; }
die() {
	say "$@"
	exit 1
}

# timed "what" command...: say it, run it, say how long it took and how it ended
timed() {
	local what=$1 start=$EPOCHREALTIME rc=0
	shift
	say "$what"
	"$@" || rc=$?
	took "$what" "$start" "$rc"
	return "$rc"
}

took() {
	local ms=$(((${EPOCHREALTIME//[.,]/} - ${2//[.,]/}) / 1000)) end="done"

	[ "$3" = 0 ] || end="FAILED (exit code $3)"
	say "$(printf '%s: %s, %d.%01d s' "$1" "$end" $((ms / 1000)) $((ms % 1000 / 100)))"
}

packages() { sed 's/[[:space:]]*#.*//; /^[[:space:]]*$/d' "$platform_dir/packages.txt"; }

platform_hash() {
	{
		packages | sort
		cat "$platform_dir/setup.sh" "$platform_dir/make_root.sh"
		uname -m
	} | sha256sum | cut -c1-16
}

# logged file command...: all it says goes there
logged() {
	local log=$1
	shift
	"$@" > "$log" 2>&1 < /dev/null
}

# as_root command...: directly, or through sudo
as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo -- "$@"; fi
}

can_be_root() { [ "$(id -u)" = 0 ] || { command -v sudo && { sudo -n true || [ -t 0 ]; }; } > /dev/null 2>&1; }

os_field() { sed -n "s/^$1=\"\{0,1\}\([^\"]*\)\"\{0,1\}$/\1/p" /etc/os-release 2> /dev/null; }

# --- the environment inside: clean, so that nobody's shell decides how a build or a test behaves

platform_env() {
	local name bundle
	inside_env=(
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/17/bin"
		"LANG=C.UTF-8"
		"TERM=${TERM:-dumb}"
		"CCACHE_DIR=$1/ccache"
		"ASAN_SYMBOLIZER_PATH=/usr/bin/llvm-symbolizer-19"
		"npm_config_cache=$1/npm"
		"npm_config_update_notifier=false"
	)
	for name in CI TZ COLORTERM NO_COLOR CTEST_OUTPUT_ON_FAILURE CTEST_PARALLEL_LEVEL CMAKE_BUILD_PARALLEL_LEVEL \
		http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY SOURCE_DATE_EPOCH \
		"${!OPSCASE_@}"; do
		[ -z "${!name+x}" ] || inside_env+=("$name=${!name}")
	done
	# A host with a certificate authority of its own says so by these names.
	bundle=$(host_bundle)
	if [ -n "$bundle" ]; then
		for name in NODE_EXTRA_CA_CERTS SSL_CERT_FILE CURL_CA_BUNDLE; do
			inside_env+=("$name=/etc/ssl/certs/ca-certificates.crt")
		done
	fi
}

host_bundle() {
	local file
	for file in "${SSL_CERT_FILE:-}" "${CURL_CA_BUNDLE:-}" "${NODE_EXTRA_CA_CERTS:-}"; do
		if [ -n "$file" ] && [ -r "$file" ]; then
			realpath "$file"
			return
		fi
	done
}

# --- way 1: this system is the platform

native_fits() {
	[ "$(os_field ID)" = debian ] || return 1
	local version
	version=$(os_field VERSION_ID)
	[ "${version%%.*}" -ge 13 ] 2> /dev/null
}

native_missing() {
	local have
	# shellcheck disable=SC2046 # a list of names
	have=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' $(packages) 2> /dev/null | sed -n 's/^ii  *//p')
	packages | grep -vxF "$have" || true
}

native_install() {
	# A server that comes with a package must not start on somebody's machine because of us, nor
	# at its next boot; what was there before is left alone.
	# shellcheck disable=SC2016 # the inner shell's dollars
	as_root env DEBIAN_FRONTEND=noninteractive bash -euc '
		made=""
		undo() { [ -z "$made" ] || rm -f $made; }
		trap undo EXIT
		mkdir -p /etc/postgresql-common/createcluster.d
		if [ ! -e /usr/sbin/policy-rc.d ]; then
			printf "#!/bin/sh\nexit 101\n" > /usr/sbin/policy-rc.d
			chmod 755 /usr/sbin/policy-rc.d
			made="/usr/sbin/policy-rc.d"
		fi
		conf=/etc/postgresql-common/createcluster.d/opscase.conf
		echo "create_main_cluster = false" > $conf
		made="$made $conf"
		apt-get update -q
		apt-get install -q -y --no-install-recommends "$@"
		command -v systemctl > /dev/null && [ -d /run/systemd/system ] || exit 0
		for name in "$@"; do
			case $name in
			nginx-light) systemctl disable nginx ;;
			haproxy) systemctl disable haproxy ;;
			nats-server) systemctl disable nats-server ;;
			postgresql-17) systemctl disable postgresql ;;
			esac
		done > /dev/null 2>&1 || true
	' install "$@"
}

native_run() {
	local missing
	missing=$(native_missing)
	if [ -n "$missing" ]; then
		can_be_root || die "These packages are missing, and neither root nor sudo is at hand to install them: ${missing//$'\n'/ }"
		# shellcheck disable=SC2086 # a list of names
		timed "installing $(wc -l <<< "$missing") Debian packages" \
			logged "$cache/apt.log" native_install $missing || {
			tail -30 "$cache/apt.log" >&2
			die "the whole log: $cache/apt.log"
		}
	fi
	if [ "$(id -u)" = 0 ] && ! id opscase > /dev/null 2>&1; then
		say "adding the unprivileged user opscase (PostgreSQL refuses to run as root)"
		useradd --create-home --shell /bin/bash opscase
	fi
	mkdir -p "$cache/shared/ccache" "$cache/shared/npm"
	platform_env "$cache/shared"
	exec env -i "${inside_env[@]}" HOME="$HOME" USER="$(id -un)" OPSCASE_PLATFORM=native \
		${SSL_CERT_FILE:+SSL_CERT_FILE="$SSL_CERT_FILE"} "$@"
}

# --- way 2: a Debian 13 root beside the host

root_fits() {
	can_be_root || return 1
	command -v chroot > /dev/null && command -v flock > /dev/null || return 1
	as_root unshare --mount --propagation private true 2> /dev/null || return 1 # a container without the right to mount
	has_root_makers || command -v apt-get > /dev/null
}

has_root_makers() {
	command -v mount > /dev/null && { command -v mmdebstrap || command -v debootstrap; } > /dev/null
}

root_make() {
	local root=$1 hash=$2 log=$1.log tmp=$1.tmp.$$ rc=0

	if ! has_root_makers; then
		# shellcheck disable=SC2016 # the inner shell's dollars
		timed "installing mmdebstrap on this host" logged "$cache/host.log" \
			as_root env DEBIAN_FRONTEND=noninteractive bash -c '
				try() { apt-get install -q -y --no-install-recommends mount debian-archive-keyring "$@"; }
				try mmdebstrap || { apt-get update -q && { try mmdebstrap || try debootstrap; }; }
			' || {
			tail -20 "$cache/host.log" >&2
			return 1
		}
	fi
	as_root rm -rf --one-file-system "$root".tmp.*
	timed "making a Debian 13 root with $(packages | wc -l) packages (a minute or two, once)" \
		logged "$log" as_root bash "$platform_dir/make_root.sh" "$tmp" "$hash" || rc=$?
	if [ "$rc" != 0 ]; then
		tail -30 "$log" >&2
		say "the whole log: $log"
		as_root rm -rf --one-file-system "$tmp"
		return 1
	fi
	as_root mv -T "$tmp" "$root"
}

# Roots that nobody entered for a week go; never one that is in use, and never across a mount. The (empty) lock
# files stay: removing one under somebody who waits for it would let two in.
root_prune() {
	local lock root
	find "$cache" -maxdepth 1 -name 'root-*.lock' -mtime +7 | while IFS= read -r lock; do
		root=${lock%.lock}
		compgen -G "$root*" | grep -qvxF "$lock" || continue
		! grep -qF " $root" /proc/self/mountinfo || continue
		(
			flock -xn 8 || exit 0
			say "removing the unused root $root"
			as_root rm -rf --one-file-system "$root" "$root".tmp.* "$root.log"
		) 8< "$lock"
	done
}

root_run() {
	local hash root
	hash=$(platform_hash)
	root=$cache/root-$hash
	mkdir -p "$cache/shared/ccache" "$cache/shared/npm"

	# Whoever is inside holds the lock shared, through the descriptor that it inherits; who makes or removes a root holds it alone.
	exec 9>> "$root.lock"
	flock -sn 9 || {
		say "another ./dev is making the root; waiting for it"
		flock -s 9
	}
	while [ ! -e "$root/etc/opscase-platform" ]; do
		flock -x 9
		if [ ! -e "$root/etc/opscase-platform" ]; then
			root_make "$root" "$hash" || die "Debian 13 could not be brought to this machine; see above."
			root_prune
		fi
		flock -s 9
	done
	touch "$root.lock"

	platform_env /var/cache/opscase
	exec_as_root unshare --mount --propagation private \
		bash "$platform_dir/enter.sh" "$root" "$project" "$cache/shared" "$(host_bundle)" "$(id -u)" "$(id -g)" "$(id -un)" \
		env -i "${inside_env[@]}" OPSCASE_PLATFORM=root "$@"
}

exec_as_root() {
	if [ "$(id -u)" = 0 ]; then exec "$@"; else exec sudo -- "$@"; fi
}

# --- way 3: a container

container_engine() {
	local engine
	for engine in podman docker; do
		if command -v $engine > /dev/null && timeout 20 $engine info > /dev/null 2>&1; then
			echo $engine
			return
		fi
	done
	return 1
}

container_run() {
	local engine=$1 image tty=() mounts=()
	shift
	image=opscase-platform:$(platform_hash)
	if ! $engine image inspect "$image" > /dev/null 2>&1; then
		timed "building the image $image with $engine" "$engine" build -t "$image" --build-arg "HASH=$(platform_hash)" \
			-f "$project/Containerfile" "$project" || exit 1
	fi
	mkdir -p "$cache/shared/ccache" "$cache/shared/npm"
	[ ! -t 0 ] || [ ! -t 1 ] || tty=(-t)
	[ ! -d "$project/../shared" ] || mounts+=(-v "$(realpath "$project/../shared"):$(dirname "$project")/shared:ro")
	platform_env /var/cache/opscase
	# the host's pids: the kernel's events name processes by them, and nobody has to play init
	exec "$engine" run --rm -i "${tty[@]}" --privileged --network host --pid host \
		-v "$project:$project" -v "$cache/shared:/var/cache/opscase" "${mounts[@]}" -w "$project" "$image" \
		env -i "${inside_env[@]}" HOME=/root USER=root OPSCASE_PLATFORM=container "$@"
}

# OPSCASE_WAY=native|root|container takes only that one
way() { [ "${OPSCASE_WAY:-$1}" = "$1" ]; }

# platform_run command...: runs it inside the platform, in the project's folder; does not return
platform_run() {
	local engine
	if [ -e /etc/opscase-platform ]; then
		[ "$(cat /etc/opscase-platform)" = "$(platform_hash)" ] ||
			say "the package list changed since this shell was opened; leave it and enter again to get the new ones"
		exec "$@"
	fi
	mkdir -p "$cache"
	if way native && native_fits; then
		native_run "$@"
	elif way root && root_fits; then
		root_run "$@"
	elif way container && engine=$(container_engine); then
		container_run "$engine" "$@"
	fi
	die "opscase needs Debian 13. This is $(os_field PRETTY_NAME): run ./dev as root or as a user with sudo (a Debian 13 root is then made beside the host), or install podman or docker."
}

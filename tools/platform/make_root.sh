#!/bin/bash
# make_root.sh ROOT HASH - fill the folder ROOT with Debian 13 and the packages of packages.txt.
#
# Runs as root on a host that has mmdebstrap or debootstrap. ROOT does not exist yet; the caller
# gives a temporary name and renames it when this ends well.
set -euo pipefail

root=$1
hash=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
suite=trixie
packages=$(sed 's/[[:space:]]*#.*//; /^[[:space:]]*$/d' "$here/packages.txt" | tr '\n' ',')

# What this host had to tell its own apt to reach an archive (a proxy, a clock that is off), the new one needs too.
apt_options=()
while IFS= read -r line; do
	apt_options+=("$line")
done < <(apt-config dump 2> /dev/null |
	grep -E '^Acquire::(http|https)::(Proxy|ProxyAutoDetect|CAInfo)|^Acquire::Check-(Date|Valid-Until) ' || true)

if command -v mmdebstrap > /dev/null; then
	args=(--mode=root --variant=minbase --format=directory)
	args+=("--include=${packages%,}")
	args+=("${apt_options[@]/#/--aptopt=}")
	args+=("--essential-hook=copy-in '$here/setup.sh' /tmp")
	# shellcheck disable=SC2016 # mmdebstrap's own shell fills in the root
	args+=(
		'--essential-hook=chroot "$1" bash /tmp/setup.sh before'
		'--customize-hook=chroot "$1" bash /tmp/setup.sh after '"$hash"
		'--customize-hook=rm -f "$1/tmp/setup.sh"'
	)
	exec mmdebstrap "${args[@]}" "$suite" "$root"
fi

debootstrap --variant=minbase "$suite" "$root"
printf '%s\n' "${apt_options[@]}" > "$root/etc/apt/apt.conf.d/89host"
cp "$here/setup.sh" "$root/tmp/setup.sh"
chroot "$root" bash /tmp/setup.sh before
rm -f "$root/etc/resolv.conf"
cat /etc/resolv.conf > "$root/etc/resolv.conf"
chroot "$root" apt-get update
# shellcheck disable=SC2086 # a list of names
DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -y --no-install-recommends ${packages//,/ }
chroot "$root" bash /tmp/setup.sh after "$hash"
rm -f "$root/tmp/setup.sh"

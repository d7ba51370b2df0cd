#!/bin/bash
# enter.sh ROOT PROJECT SHARED_CACHE BUNDLE UID GID USER COMMAND... - run COMMAND inside the Debian 13 root.
#
# Runs as root in a mount namespace of its own (unshare --mount --propagation private): what is mounted
# here vanishes with the last process inside, and nobody outside ever sees it. So no clean-up walks over a
# mount, and removing a root cannot reach the project.
set -euo pipefail

root=$1 project=$2 shared_cache=$3 bundle=$4 uid=$5 gid=$6 user=$7
shift 7

fail() {
	echo "enter.sh: $*" >&2
	exit 1
}

[ "$(readlink /proc/self/ns/mnt)" != "$(readlink /proc/1/ns/mnt)" ] ||
	fail "refusing to mount in the host's own namespace; enter through ./dev"

# tracefs and the bpf filesystem first: a recursive bind takes along what is there by then
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing 2> /dev/null || true
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf 2> /dev/null || true
for dir in proc sys dev tmp; do
	mount --rbind "/$dir" "$root/$dir"
done
mount --bind "$shared_cache" "$root/var/cache/opscase"
# the host's names and certificates, to look at
for file in /etc/resolv.conf /etc/hosts; do
	[ ! -e "$file" ] || mount --bind -o ro "$file" "$root$file"
done
[ -z "$bundle" ] || mount --bind -o ro "$bundle" "$root/etc/ssl/certs/ca-certificates.crt"

# bind_here DIR [ro]: the same absolute path inside as outside
bind_here() {
	mkdir -p "$root$1"
	mount --bind "$1" "$root$1"
	[ "${2:-}" != ro ] || mount -o remount,bind,ro "$root$1"
}

bind_here "$project"
# a git worktree keeps its objects elsewhere
common=$(git -c safe.directory='*' -C "$project" rev-parse --path-format=absolute --git-common-dir 2> /dev/null || true)
case "$common" in
"" | "$project"/*) ;;
*) bind_here "$common" ;;
esac
# documents that lie beside the project may be read
shared=$(dirname "$project")/shared
[ ! -d "$shared" ] || bind_here "$shared" ro

# whoever called through sudo is the same person inside, under the same number
home=/root
if [ "$uid" != 0 ]; then
	home=/home/$user
	(
		flock -x 7
		grep -q "^[^:]*:[^:]*:$uid:" "$root/etc/passwd" || echo "$user:x:$uid:$gid::$home:/bin/bash" >> "$root/etc/passwd"
		grep -q "^[^:]*:[^:]*:$gid:" "$root/etc/group" || echo "$user:x:$gid:" >> "$root/etc/group"
	) 7>> "$root/etc/.opscase-users.lock"
	[ -d "$root$home" ] || install -d -o "$uid" -g "$gid" "$root$home"
fi

# env is first in COMMAND: its settings, then ours, then the rest
if [ "$1" != env ] || [ "$2" != -i ]; then
	fail "the command must start with env -i"
fi
shift 2
# shellcheck disable=SC2016 # the inner shell's dollars
exec chroot --userspec="$uid:$gid" "$root" /usr/bin/env -i HOME="$home" USER="$user" \
	/bin/bash -c 'cd "$0" && exec /usr/bin/env "$@"' "$project" "$@"
